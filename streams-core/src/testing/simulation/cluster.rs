//! The brokers: the core of the embedded broker, asked directly, with the checks of what it keeps.

use crate::embedded::core::batch::{RecordBatch, RecordBatchBuilder};
use crate::embedded::core::changes::CommittedOffset as Stored;
use crate::embedded::core::consumer_group::Heartbeat;
use crate::embedded::core::log::PartitionLog;
use crate::embedded::core::topic_config::{SETTINGS, TopicConfig};
use crate::embedded::core::transactions::ProducerIdentity;
use crate::embedded::core::{BrokerCore, CoreConfig, RequestContext, RequestId, records};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Headers, OwnedRecord, TopicPartition};
use crate::runtime::broker::CommittedOffset;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, GroupId, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How long a transaction may be open, `transaction.timeout.ms`; Kafka Streams has 10 s.
const TRANSACTION_TIMEOUT_MS: i32 = 10_000;
/// How long a member has to give partitions up, `max.poll.interval.ms`.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// The brokers.
pub(super) struct Cluster {
    core: BrokerCore,
    /// What was answered and nobody has asked for yet.
    answers: BTreeMap<RequestId, ResponseKind>,
    /// What was committed last, as the run has seen it.
    committed: BTreeMap<TopicPartition, i64>,
}

/// A heartbeat's answer.
pub(super) struct Membership {
    pub(super) epoch: i32,
    pub(super) assigned: BTreeSet<TopicPartition>,
}

/// A record to append.
pub(super) struct NewRecord {
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

/// Which records are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    Committed,
    Uncommitted,
}

/// What reading came to.
pub(super) struct Read {
    pub(super) records: Vec<OwnedRecord>,
    /// The next offset to read, past markers and what was aborted.
    pub(super) position: i64,
}

impl Cluster {
    pub(super) fn new(seed: u64, session_timeout_ms: i64, now_ms: i64) -> Cluster {
        let mut cluster = Cluster {
            core: BrokerCore::new(CoreConfig {
                host: "simulated".to_owned(),
                port: 9092,
                default_partitions: 1,
                auto_create_topics: false,
                group_initial_rebalance_delay_ms: 0,
                consumer_session_timeout_ms: session_timeout_ms,
                // The times of the input are nobody's, and what compaction leaves out, the checks would miss.
                cleaner_interval_ms: i64::from(i32::MAX),
                seed,
                keeps_changes: false,
            }),
            answers: BTreeMap::new(),
            committed: BTreeMap::new(),
        };
        // The first time it looks for old records is now, and the next time never.
        cluster.core.tick(now_ms);
        cluster
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now_ms: i64) {
        if self
            .core
            .next_deadline_ms()
            .is_some_and(|due| due <= now_ms)
        {
            self.core.tick(now_ms);
        }
    }

    pub(super) fn create(
        &mut self,
        topic: &str,
        partition_count: usize,
        settings: &BTreeMap<String, String>,
    ) -> Result<()> {
        let mut config = TopicConfig::default();
        for (name, value) in settings {
            config.set(name, value).map_err(Error::config)?;
        }
        let id = self.core.ids.uuid();
        let changes = &mut self.core.changes;
        let topics = &mut self.core.topics;
        topics.create(id, topic, partition_count, config, changes);
        Ok(())
    }

    pub(super) fn partition_count(&self, topic: &str) -> Option<i32> {
        let topic = self.core.topics.get(topic)?;
        i32::try_from(topic.partitions.len()).ok()
    }

    pub(super) fn topic_config(&self, topic: &str) -> Option<BTreeMap<String, String>> {
        let topic = self.core.topics.get(topic)?;
        let setting =
            |name: &'static str| Some((name.to_owned(), topic.config.get(name)?.to_owned()));
        Some(SETTINGS.iter().filter_map(|s| setting(s.name)).collect())
    }

    fn log(&self, partition: &TopicPartition) -> Result<&PartitionLog, ResponseError> {
        let topics = &self.core.topics;
        topics.partition(&partition.topic, partition.partition)
    }

    /// The first offset in the log and the one behind the last.
    pub(super) fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64)> {
        let log = self.log(partition).map_err(|error| refused(error, false))?;
        Ok((log.start_offset, log.end_offset))
    }

    /// The offset below which every transaction is decided.
    pub(super) fn stable_offset(&self, partition: &TopicPartition) -> i64 {
        self.log(partition)
            .map_or(0, PartitionLog::last_stable_offset)
    }

    /// The first offset of a transaction that is open and whose id begins like this.
    pub(super) fn first_open_offset(&self, partition: &TopicPartition, ids: &str) -> Option<i64> {
        let log = self.log(partition).ok()?;
        let of_ids = self
            .core
            .transactions
            .iter()
            .filter(|(id, _)| id.starts_with(ids));
        let producers: BTreeSet<i64> = of_ids.map(|(_, state)| state.producer_id).collect();
        let open = log.producers.list().into_iter();
        open.filter(|(producer, _)| producers.contains(producer))
            .filter_map(|(_, state)| state.transaction_first_offset)
            .min()
    }

    /// Reads up to `records_max` records from an offset on.
    pub(super) fn read(
        &self,
        partition: &TopicPartition,
        from: i64,
        records_max: usize,
        isolation: Isolation,
    ) -> Result<Read> {
        let log = self.log(partition).map_err(|error| refused(error, false))?;
        if from < log.start_offset || from > log.end_offset {
            return Err(Error::data(format!(
                "{partition} no longer has offset {from}"
            )));
        }
        let end = match isolation {
            Isolation::Committed => log.last_stable_offset(),
            Isolation::Uncommitted => log.end_offset,
        };
        let mut read = Read {
            records: Vec::new(),
            position: from,
        };
        for batch in log.batches_from(from) {
            if batch.base_offset >= end {
                break;
            }
            let hidden = batch.is_control()
                || isolation == Isolation::Committed && log.producers.is_aborted(batch);
            if !hidden {
                let opened = records::open(batch).expect("batches are not compressed");
                for record in records::walk(batch, &opened).expect("batches are well formed") {
                    if record.offset < from {
                        continue;
                    }
                    if read.records.len() == records_max {
                        return Ok(read);
                    }
                    read.position = record.offset + 1;
                    read.records.push(owned(&record));
                }
            }
            read.position = batch.last_offset + 1;
        }
        Ok(read)
    }

    /// The records below an offset that are committed: none of a transaction that is open or was aborted.
    pub(super) fn committed_records(
        &self,
        partition: &TopicPartition,
        before: i64,
    ) -> Vec<OwnedRecord> {
        let Ok(log) = self.log(partition) else {
            return Vec::new();
        };
        let open: BTreeMap<i64, i64> = log
            .producers
            .list()
            .into_iter()
            .filter_map(|(producer, state)| Some((producer, state.transaction_first_offset?)))
            .collect();
        let is_open = |batch: &RecordBatch| {
            let first = open.get(&batch.producer_id);
            batch.is_transactional() && first.is_some_and(|first| batch.base_offset >= *first)
        };
        let mut committed = Vec::new();
        for batch in log.batches_from(0) {
            if batch.is_control() || log.producers.is_aborted(batch) || is_open(batch) {
                continue;
            }
            let opened = records::open(batch).expect("batches are not compressed");
            let records = records::walk(batch, &opened).expect("batches are well formed");
            let below = records.iter().filter(|record| record.offset < before);
            committed.extend(below.map(owned));
        }
        committed
    }

    pub(super) fn delete_before(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        let (log, _) = self
            .core
            .topics
            .partition_mut(&partition.topic, partition.partition)
            .map_err(|error| refused(error, false))?;
        log.delete_before(offset, &mut self.core.changes)
            .map_err(|error| refused(error, false))?;
        Ok(())
    }

    // --- Producers

    pub(super) fn init_producer(
        &mut self,
        transactional_id: Option<&str>,
        now_ms: i64,
    ) -> Result<ProducerIdentity> {
        let Some(id) = transactional_id else {
            return Ok(ProducerIdentity {
                producer_id: self.core.transactions.new_producer_id(),
                producer_epoch: 0,
            });
        };
        let (identity, ended) = self
            .core
            .transactions
            .init(id, TRANSACTION_TIMEOUT_MS, None)
            .map_err(|error| refused(error, true))?;
        if let Some(ended) = ended {
            self.core.finish_transaction(&ended, now_ms);
        }
        Ok(identity)
    }

    pub(super) fn add_partition(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        partition: &TopicPartition,
        now_ms: i64,
    ) -> Result<()> {
        let added = [(partition.topic.clone(), partition.partition)];
        self.core
            .transactions
            .add_partitions(transactional_id, producer, added, now_ms)
            .map_err(|error| refused(error, true))
    }

    /// Appends a batch; returns the offset behind it.
    pub(super) fn append(
        &mut self,
        partition: &TopicPartition,
        batch: &RecordBatch,
        now_ms: i64,
    ) -> Result<i64> {
        let appended = self
            .core
            .append_batch(&partition.topic, partition.partition, batch.bytes(), now_ms)
            .map_err(|error| refused(error, batch.is_transactional()))?;
        Ok(appended.base_offset + i64::from(batch.record_count))
    }

    /// Adds offsets to a transaction.
    pub(super) fn add_offsets(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        group: &str,
        member: (&str, i32),
        offsets: &[(TopicPartition, CommittedOffset)],
        now_ms: i64,
    ) -> Result<()> {
        let core = &mut self.core;
        let transactions = &mut core.transactions;
        transactions
            .add_group(transactional_id, producer, group, now_ms)
            .and_then(|()| transactions.check_offsets(transactional_id, producer, group))
            .and_then(|()| {
                let group = core.groups.get_or_create(group);
                group.check_commit(member.0, None, member.1, now_ms)?;
                for (partition, offset) in offsets {
                    group.offsets.hold(
                        producer.producer_id,
                        &partition.topic,
                        partition.partition,
                        stored(offset, now_ms),
                    );
                }
                Ok(())
            })
            .map_err(|error| refused(error, true))
    }

    pub(super) fn end_transaction(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        is_commit: bool,
        now_ms: i64,
    ) -> Result<()> {
        let ended = match self
            .core
            .transactions
            .end(transactional_id, producer, is_commit)
        {
            // The question that would have opened it was lost: there is nothing to abort.
            Err(ResponseError::InvalidTxnState) if !is_commit => None,
            ended => ended.map_err(|error| refused(error, true))?,
        };
        if let Some(ended) = ended {
            self.core.finish_transaction(&ended, now_ms);
        }
        Ok(())
    }

    /// Whether no transaction is open.
    pub(super) fn is_settled(&self) -> bool {
        self.core.transactions.iter().all(|(_, t)| t.open.is_none())
    }

    // --- Groups

    pub(super) fn session_timeout_ms(&self) -> i32 {
        i32::try_from(self.core.config.consumer_session_timeout_ms).unwrap_or(i32::MAX)
    }

    /// Asks for something that may be answered later.
    pub(super) fn question(
        &mut self,
        request_id: RequestId,
        client_id: &str,
        version: i16,
        request: RequestKind,
        now_ms: i64,
    ) {
        let context = RequestContext {
            request_id,
            version,
            client_id: client_id.to_owned(),
            client_host: "simulated".to_owned(),
        };
        self.core.handle(&context, request, now_ms);
    }

    /// The answer, once there is one.
    pub(super) fn answer(&mut self, request_id: RequestId) -> Option<ResponseKind> {
        for (id, answer) in self.core.take_answers() {
            if let Some(response) = answer.into_response() {
                self.answers.insert(id, response);
            }
        }
        self.answers.remove(&request_id)
    }

    /// Joins, or says that the member is there, what it subscribes to and what it has.
    pub(super) fn heartbeat(
        &mut self,
        group: &str,
        member: (&str, i32),
        client_id: &str,
        topics: &BTreeSet<String>,
        owned: &BTreeSet<TopicPartition>,
        now_ms: i64,
    ) -> Result<Membership, ResponseError> {
        let core = &mut self.core;
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let mut by_topic: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for partition in owned {
            let topic = core.topics.get(&partition.topic);
            let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
            by_topic
                .entry(topic.id)
                .or_default()
                .push(partition.partition);
        }
        let owned = by_topic.into_iter().map(|(id, partitions)| {
            TopicPartitions::default()
                .with_topic_id(id)
                .with_partitions(partitions)
        });
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_member_id(text(member.0))
            .with_member_epoch(member.1)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_subscribed_topic_names(Some(topics.iter().map(|t| TopicName(text(t))).collect()))
            .with_topic_partitions(Some(owned.collect()));
        let heartbeat = Heartbeat {
            request: &request,
            client_id,
            client_host: "simulated",
            new_member_id: String::new(),
            session_timeout_ms: core.config.consumer_session_timeout_ms,
        };
        let outcome = core
            .groups
            .get_or_create(group)
            .become_consumer()?
            .heartbeat(&heartbeat, &core.topics, now_ms)?;
        let names: BTreeMap<Uuid, &String> = topics
            .iter()
            .filter_map(|topic| Some((core.topics.get(topic)?.id, topic)))
            .collect();
        let assigned = outcome.assignment.unwrap_or_default().into_iter();
        let named =
            |(id, partition)| Some(TopicPartition::new((*names.get(&id)?).clone(), partition));
        Ok(Membership {
            epoch: outcome.member_epoch,
            assigned: assigned.filter_map(named).collect(),
        })
    }

    /// The member is in the group no more.
    pub(super) fn leave(&mut self, group: &str, member: &str, now_ms: i64) {
        let (topics, owned) = (BTreeSet::new(), BTreeSet::new());
        // One that is out already has nothing to leave.
        let _ = self.heartbeat(group, (member, -1), "", &topics, &owned, now_ms);
    }

    pub(super) fn commit(
        &mut self,
        group: &str,
        member: (&str, i32),
        offsets: &[(TopicPartition, CommittedOffset)],
        now_ms: i64,
    ) -> Result<()> {
        let core = &mut self.core;
        let state = core.groups.get_or_create(group);
        state
            .check_commit(member.0, None, member.1, now_ms)
            .map_err(|error| match error {
                // A rebalance that is under way makes the generation old for a moment.
                ResponseError::IllegalGeneration => Error::retriable("an old generation"),
                error => refused(error, false),
            })?;
        for (partition, offset) in offsets {
            state.offsets.commit(
                group,
                &partition.topic,
                partition.partition,
                stored(offset, now_ms),
                &mut core.changes,
            );
        }
        Ok(())
    }

    /// The committed offsets, asked for by a member; refused while a transaction is about to commit others.
    pub(super) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        stable: bool,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let Some(group) = self.core.groups.get(group) else {
            return Ok(vec![None; partitions.len()]);
        };
        let offset = |partition: &TopicPartition| {
            let (topic, number) = (&partition.topic, partition.partition);
            if stable && group.offsets.is_unstable(topic, number) {
                return Err(refused(ResponseError::UnstableOffsetCommit, false));
            }
            let committed = group.offsets.get(topic, number);
            Ok(committed.map(|committed| CommittedOffset {
                offset: committed.offset,
                metadata: committed.metadata.clone(),
            }))
        };
        partitions.iter().map(offset).collect()
    }

    pub(super) fn committed_offset(&self, group: &str, partition: &TopicPartition) -> Option<i64> {
        let group = self.core.groups.get(group)?;
        let committed = group.offsets.get(&partition.topic, partition.partition)?;
        Some(committed.offset)
    }

    /// What is wrong with the offsets committed since the last call, if anything.
    pub(super) fn check_offsets(&mut self, group: &str) -> Option<String> {
        let group = self.core.groups.get(group)?;
        for ((topic, partition), committed) in group.offsets.iter() {
            let partition = TopicPartition::new(topic.clone(), *partition);
            let before = self.committed.get(&partition).copied();
            if before == Some(committed.offset) {
                continue;
            }
            if let Some(before) = before
                && committed.offset < before
            {
                return Some(format!(
                    "the committed offset of {partition} went back from {before} to {}",
                    committed.offset
                ));
            }
            self.committed.insert(partition, committed.offset);
        }
        None
    }
}

/// A batch of records.
pub(super) fn batch(
    producer: ProducerIdentity,
    is_transactional: bool,
    base_sequence: i32,
    new: &[NewRecord],
) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new().producer(
        producer.producer_id,
        producer.producer_epoch,
        base_sequence,
    );
    if is_transactional {
        builder = builder.transactional();
    }
    for record in new {
        let mut headers = Vec::new();
        for header in record.headers.iter() {
            headers.push((header.key.as_str(), header.value.as_deref()));
        }
        let headers = records::encode_headers(&headers);
        builder = builder.record_with_headers(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.build()
}

fn owned(record: &records::Record<'_>) -> OwnedRecord {
    let mut headers = Headers::new();
    for (name, value) in record.read_headers().expect("headers are well formed") {
        headers.add(name, value);
    }
    OwnedRecord {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
    }
}

fn stored(offset: &CommittedOffset, now_ms: i64) -> Stored {
    Stored {
        offset: offset.offset,
        leader_epoch: -1,
        metadata: offset.metadata.clone(),
        commit_timestamp_ms: now_ms,
    }
}

/// A refusal as the client over librdkafka has it.
pub(super) fn refused(error: ResponseError, in_transaction: bool) -> Error {
    use ResponseError as R;
    let kind = match error {
        R::IllegalGeneration
        | R::UnknownMemberId
        | R::FencedMemberEpoch
        | R::ProducerFenced
        | R::InvalidProducerEpoch => ErrorKind::Fenced,
        R::StaleMemberEpoch
        | R::RebalanceInProgress
        | R::UnstableOffsetCommit
        | R::ConcurrentTransactions
        | R::CoordinatorNotAvailable => match in_transaction {
            true => ErrorKind::Fenced,
            false => ErrorKind::Retriable,
        },
        R::UnknownProducerId
        | R::InvalidProducerIdMapping
        | R::OutOfOrderSequenceNumber
        | R::InvalidTxnState
            if in_transaction =>
        {
            ErrorKind::Fenced
        }
        R::OffsetOutOfRange | R::InvalidRecord | R::InvalidTimestamp => ErrorKind::Data,
        _ => ErrorKind::Fatal,
    };
    Error::new(kind, format!("the broker refuses: {error}"))
}
