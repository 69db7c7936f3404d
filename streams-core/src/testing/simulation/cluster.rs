//! The brokers: the core of the embedded broker, asked directly, with the checks of what it keeps.

mod groups;
mod producers;

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;

pub(super) use self::producers::batch;
use crate::embedded::core::batch::RecordBatch;
use crate::embedded::core::changes::CommittedOffset as Stored;
use crate::embedded::core::log::PartitionLog;
use crate::embedded::core::topic_config::{SETTINGS, TopicConfig};
use crate::embedded::core::{BrokerCore, CoreConfig, RequestId, records};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Headers, OwnedRecord, TopicPartition};
use crate::runtime::broker::CommittedOffset;

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
