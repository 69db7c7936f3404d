//! The topics behind a test driver: every record of every partition, what was read of it, and what is committed.

use super::topics::ProducedRecord;
use crate::error::Result;
use crate::record::{Headers, OwnedRecord};
use crate::runtime::broker::CommittedOffset;
use crate::task::TopicMetadata;
use crate::task::effects::{Effects, ProduceRecord};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How many partitions each topic has.
pub(super) struct PartitionCounts {
    pub(super) counts: BTreeMap<String, i32>,
    /// Of topics that are not among them.
    pub(super) others: i32,
}

impl PartitionCounts {
    /// Every topic has one partition.
    pub(super) fn one() -> Self {
        PartitionCounts {
            counts: BTreeMap::new(),
            others: 1,
        }
    }

    pub(super) fn of(&self, topic: &str) -> i32 {
        self.counts.get(topic).copied().unwrap_or(self.others)
    }
}

impl TopicMetadata for PartitionCounts {
    fn partition_count(&self, topic: &str) -> Result<i32> {
        Ok(self.of(topic))
    }
}

/// Who reads a partition: a task by its position, and the number of its input.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub(super) task: usize,
    pub(super) input: usize,
}

#[derive(Default)]
struct PartitionLog {
    records: Vec<OwnedRecord>,
    reader: Option<Reader>,
    committed: Option<CommittedOffset>,
}

#[derive(Default)]
struct TopicLog {
    partitions: Vec<PartitionLog>,
    /// What was produced and not read yet: partition, offset, and whether the producer was to assign the timestamp.
    unread: VecDeque<(i32, usize, bool)>,
    /// Whether the topology has produced to it.
    produced: bool,
    /// Where the next record goes that may go anywhere.
    next_partition: i32,
}

/// All topics.
pub(super) struct Logs {
    pub(super) counts: Arc<PartitionCounts>,
    topics: BTreeMap<String, TopicLog>,
}

impl Logs {
    pub(super) fn new(counts: PartitionCounts) -> Self {
        Logs {
            counts: Arc::new(counts),
            topics: BTreeMap::new(),
        }
    }

    fn topic(&mut self, name: &str) -> &mut TopicLog {
        if !self.topics.contains_key(name) {
            let count = self.counts.of(name);
            let log = TopicLog {
                partitions: (0..count).map(|_| PartitionLog::default()).collect(),
                ..TopicLog::default()
            };
            self.topics.insert(name.to_owned(), log);
        }
        self.topics.get_mut(name).expect("inserted above")
    }

    /// Appends a record and returns it with its offset, for its reader.
    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        mut record: OwnedRecord,
    ) -> (Option<Reader>, OwnedRecord) {
        let log = &mut self.topic(topic).partitions[partition as usize];
        record.offset = log.records.len() as i64;
        log.records.push(record.clone());
        (log.reader, record)
    }

    /// The partition of the next record that may go to any: each in turn.
    pub(super) fn any_partition(&mut self, topic: &str) -> i32 {
        let log = self.topic(topic);
        let partition = log.next_partition;
        log.next_partition = (partition + 1) % log.partitions.len() as i32;
        partition
    }

    /// Appends what the topology produced; `now_ms` stands for a timestamp that was left to the producer.
    pub(super) fn produce(
        &mut self,
        record: &ProduceRecord<'_>,
        now_ms: i64,
    ) -> (i32, Option<Reader>, OwnedRecord) {
        let partition = match record.partition {
            Effects::ANY_PARTITION => self.any_partition(record.topic),
            partition => partition,
        };
        let owned = OwnedRecord {
            offset: 0,
            timestamp: record.timestamp.unwrap_or(now_ms),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.clone(),
        };
        let (reader, owned) = self.append(record.topic, partition, owned);
        let log = self.topic(record.topic);
        log.produced = true;
        log.unread
            .push_back((partition, owned.offset as usize, record.timestamp.is_none()));
        (partition, reader, owned)
    }

    /// Takes the next unread record of a topic, of one partition or of any.
    pub(super) fn take_unread(
        &mut self,
        topic: &str,
        partition: Option<i32>,
    ) -> Option<ProducedRecord> {
        let log = self.topics.get_mut(topic)?;
        let at = match partition {
            None => 0,
            Some(wanted) => log.unread.iter().position(|(one, ..)| *one == wanted)?,
        };
        let (partition, offset, unstamped) = log.unread.remove(at)?;
        let record = &log.partitions[partition as usize].records[offset];
        Some(ProducedRecord {
            partition,
            key: record.key.clone(),
            value: record.value.clone(),
            timestamp: (!unstamped).then_some(record.timestamp),
            headers: record.headers.clone(),
        })
    }

    pub(super) fn unread_count(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |log| log.unread.len())
    }

    pub(super) fn is_produced(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|log| log.produced)
    }

    pub(super) fn produced_names(&self) -> impl Iterator<Item = &str> {
        let produced = self.topics.iter().filter(|(_, log)| log.produced);
        produced.map(|(name, _)| name.as_str())
    }

    /// All records of a partition.
    pub(super) fn records(&self, topic: &str, partition: i32) -> &[OwnedRecord] {
        self.topics
            .get(topic)
            .and_then(|log| log.partitions.get(partition as usize))
            .map_or(&[], |log| &log.records)
    }

    /// The offset behind the last record of a partition.
    pub(super) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.records(topic, partition).len() as i64
    }

    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        let log = self.topics.get(topic)?.partitions.get(partition as usize)?;
        log.committed.as_ref()
    }

    pub(super) fn commit(&mut self, topic: &str, partition: i32, committed: CommittedOffset) {
        self.topic(topic).partitions[partition as usize].committed = Some(committed);
    }

    /// Makes a task's input the reader of a partition, if the topic has it.
    pub(super) fn set_reader(&mut self, topic: &str, partition: i32, reader: Reader) {
        if let Some(log) = self.topic(topic).partitions.get_mut(partition as usize) {
            log.reader = Some(reader);
        }
    }
}

/// Bytes to pipe.
pub(super) fn record(
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Headers,
) -> OwnedRecord {
    OwnedRecord {
        offset: 0,
        timestamp,
        key,
        value,
        headers,
    }
}
