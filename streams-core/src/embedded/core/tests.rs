//! The core driven directly: requests and the time in, answers and changes out.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, CreateTopicsRequest, EndTxnRequest,
    FetchRequest, GroupId, InitProducerIdRequest, ProduceRequest, ProducerId, TopicName,
    TransactionalId, TxnOffsetCommitRequest,
};

use super::batch::{RecordBatch, RecordBatchBuilder};
use super::durable::DurableState;
use super::*;

fn config() -> CoreConfig {
    CoreConfig {
        host: "127.0.0.1".to_owned(),
        port: 9092,
        default_partitions: 1,
        auto_create_topics: true,
        group_initial_rebalance_delay_ms: 0,
        consumer_session_timeout_ms: 45_000,
        cleaner_interval_ms: 1_000,
        seed: 7,
        keeps_changes: true,
    }
}

fn context(request: u64, version: i16) -> RequestContext {
    RequestContext {
        request_id: RequestId(request),
        version,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(owned(topic))
}

fn create(topic: &str) -> RequestKind {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(1)
        .with_replication_factor(1);
    RequestKind::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic]))
}

fn produce(topic: &str, batch: &RecordBatch, acks: i16) -> RequestKind {
    let partition = PartitionProduceData::default().with_records(Some(batch.bytes().clone()));
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![partition]);
    RequestKind::Produce(
        ProduceRequest::default()
            .with_acks(acks)
            .with_topic_data(vec![topic]),
    )
}

fn fetch(topic: &str, offset: i64, max_wait_ms: i32, isolation_level: i8) -> RequestKind {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_isolation_level(isolation_level)
        .with_topics(vec![topic]);
    RequestKind::Fetch(request)
}

fn plain(value: &[u8]) -> RecordBatch {
    RecordBatchBuilder::new()
        .record(0, Some(b"key"), Some(value))
        .build()
}

/// Hands a request over and returns its answer, if it has one already.
fn ask(
    core: &mut BrokerCore,
    request: u64,
    version: i16,
    body: RequestKind,
    now_ms: i64,
) -> Option<Answer> {
    core.handle(&context(request, version), body, now_ms);
    let mut answers = core.take_answers();
    let index = answers
        .iter()
        .position(|(id, _)| *id == RequestId(request))?;
    Some(answers.swap_remove(index).1)
}

fn fetched(answer: Answer) -> Vec<Bytes> {
    let Some(ResponseKind::Fetch(response)) = answer.into_response() else {
        panic!("not a fetch")
    };
    let partitions = response
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions);
    partitions
        .filter_map(|partition| partition.records)
        .filter(|records| !records.is_empty())
        .collect()
}

#[test]
fn a_fetch_waits_for_records_or_for_its_time() {
    let mut core = BrokerCore::new(config());
    ask(&mut core, 1, 7, create("t"), 0).unwrap();
    assert!(ask(&mut core, 2, 12, fetch("t", 0, 500, 0), 0).is_none());
    assert!(ask(&mut core, 3, 12, fetch("t", 0, 200, 0), 0).is_none());
    core.tick(0);
    assert_eq!(core.next_deadline_ms(), Some(200));
    core.tick(200);
    let answers = core.take_answers();
    assert_eq!(answers.len(), 1);
    assert!(fetched(answers.into_iter().next().unwrap().1).is_empty());
    core.handle(&context(4, 9), produce("t", &plain(b"v"), 1), 300);
    let answers = core.take_answers();
    assert_eq!(
        answers.iter().map(|(id, _)| id.0).collect::<Vec<_>>(),
        [4, 2]
    );
    assert_eq!(fetched(answers.into_iter().nth(1).unwrap().1).len(), 1);
}

#[test]
fn a_waiting_fetch_learns_of_a_deleted_topic() {
    let mut core = BrokerCore::new(config());
    ask(&mut core, 1, 7, create("t"), 0).unwrap();
    assert!(ask(&mut core, 2, 12, fetch("t", 0, 500, 0), 0).is_none());
    let delete =
        kafka_protocol::messages::DeleteTopicsRequest::default().with_topic_names(vec![name("t")]);
    core.handle(&context(3, 5), RequestKind::DeleteTopics(delete), 0);
    assert!(core.take_answers().iter().any(|(id, _)| id.0 == 2));
}

#[test]
fn no_acknowledgement_means_no_answer() {
    let mut core = BrokerCore::new(config());
    ask(&mut core, 1, 7, create("t"), 0).unwrap();
    let answer = ask(&mut core, 2, 9, produce("t", &plain(b"v"), 0), 0).unwrap();
    assert!(answer.into_response().is_none());
    assert_eq!(core.topics.partition("t", 0).unwrap().end_offset, 1);
}

#[test]
fn records_from_the_future_are_refused() {
    let mut core = BrokerCore::new(config());
    ask(&mut core, 1, 7, create("t"), 0).unwrap();
    let hour_ms = 3_600_000;
    let at = |timestamp| {
        RecordBatchBuilder::new()
            .record(timestamp, Some(b"k"), None)
            .build()
    };
    assert!(core.append_batch("t", 0, at(hour_ms).bytes(), 0).is_ok());
    assert_eq!(
        core.append_batch("t", 0, at(hour_ms + 1).bytes(), 0),
        Err(ResponseError::InvalidTimestamp)
    );
}

#[test]
fn the_same_requests_give_the_same_answers() {
    let run = || {
        let mut core = BrokerCore::new(config());
        let mut seen = Vec::new();
        for (request, body) in [
            create("t"),
            produce("t", &plain(b"v"), 1),
            fetch("t", 0, 0, 0),
        ]
        .into_iter()
        .enumerate()
        {
            core.handle(&context(request as u64, 7), body, 10);
            seen.push(format!("{:?}", core.take_answers()));
        }
        (seen, core.take_changes())
    };
    assert_eq!(run(), run());
}

/// A core with an open transaction of producer 0 on `t` and of group `g`.
fn with_open_transaction() -> BrokerCore {
    let mut core = BrokerCore::new(config());
    ask(&mut core, 1, 7, create("t"), 0).unwrap();
    let id = || TransactionalId(owned("tx"));
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(1_000);
    ask(&mut core, 2, 4, RequestKind::InitProducerId(init), 0).unwrap();
    let partitions = AddPartitionsToTxnTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![0]);
    let add = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(ProducerId(0))
        .with_v3_and_below_topics(vec![partitions]);
    ask(&mut core, 3, 3, RequestKind::AddPartitionsToTxn(add), 0).unwrap();
    let batch = RecordBatchBuilder::new()
        .producer(0, 0, 0)
        .transactional()
        .record(0, Some(b"k"), Some(b"v"))
        .build();
    ask(&mut core, 4, 9, produce("t", &batch, -1), 0).unwrap();
    let add = AddOffsetsToTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(0))
        .with_group_id(GroupId(owned("g")));
    ask(&mut core, 5, 3, RequestKind::AddOffsetsToTxn(add), 0).unwrap();
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(42);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition]);
    let commit = TxnOffsetCommitRequest::default()
        .with_transactional_id(id())
        .with_group_id(GroupId(owned("g")))
        .with_producer_id(ProducerId(0))
        .with_topics(vec![topic]);
    ask(&mut core, 6, 3, RequestKind::TxnOffsetCommit(commit), 0).unwrap();
    core
}

fn commit_transaction() -> RequestKind {
    let end = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(owned("tx")))
        .with_producer_id(ProducerId(0))
        .with_committed(true);
    RequestKind::EndTxn(end)
}

#[test]
fn a_fetch_of_committed_records_waits_for_the_marker() {
    let mut core = with_open_transaction();
    assert!(ask(&mut core, 7, 12, fetch("t", 0, 500, 1), 0).is_none());
    core.handle(&context(8, 3), commit_transaction(), 1);
    let (_, answer) = core
        .take_answers()
        .into_iter()
        .find(|(id, _)| id.0 == 7)
        .unwrap();
    assert_eq!(fetched(answer).len(), 1);
    assert_eq!(
        core.groups
            .get("g")
            .unwrap()
            .offsets
            .get("t", 0)
            .unwrap()
            .offset,
        42
    );
}

/// What a disk holds after the first `kept` of `changes` were written: the state, and the segments replayed.
fn recover(changes: &[Change], now_ms: i64) -> BrokerCore {
    let mut state = DurableState::default();
    let mut segments = std::collections::HashMap::new();
    for change in changes {
        if let Change::Log {
            topic_id,
            partition,
            change,
        } = change
        {
            let segments: &mut Vec<log::Segment> =
                segments.entry((*topic_id, *partition)).or_default();
            match change {
                changes::LogChange::SegmentStarted { base_offset } => {
                    segments.push(log::Segment::new(*base_offset))
                }
                changes::LogChange::Appended { batch, .. } => {
                    segments
                        .last_mut()
                        .unwrap()
                        .push(RecordBatch::parse(batch).unwrap(), 0);
                }
                other => panic!("{other:?}"),
            }
        }
        state.apply(change.clone());
    }
    BrokerCore::recovered(config(), state, segments, now_ms)
}

#[test]
fn a_commit_that_was_decided_is_finished_after_a_crash_and_one_that_was_not_is_aborted() {
    let mut core = with_open_transaction();
    let before = core.take_changes();
    core.handle(&context(8, 3), commit_transaction(), 1);
    let commit = core.take_changes();
    assert!(commit.len() > 3);
    for kept in 0..=commit.len() {
        let changes: Vec<Change> = before.iter().chain(&commit[..kept]).cloned().collect();
        let mut core = recover(&changes, 2);
        core.tick(5_000);
        let log = core.topics.partition("t", 0).unwrap();
        assert_eq!(
            (log.end_offset, log.last_stable_offset()),
            (2, 2),
            "one record and one marker, {kept} changes kept"
        );
        let is_aborted = log.producers.aborted_between(0, 2).count() == 1;
        let offset = core
            .groups
            .get("g")
            .and_then(|group| group.offsets.get("t", 0))
            .map(|offset| offset.offset);
        assert_eq!(
            (is_aborted, offset),
            if kept == 0 {
                (true, None)
            } else {
                (false, Some(42))
            }
        );
    }
}
