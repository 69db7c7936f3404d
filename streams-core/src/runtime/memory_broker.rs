//! A cluster in memory for this module's tests: topics, one group with sticky incremental assignment, transactions
//! (`memory_transactions`), and refusals on demand. All its consumers read committed records.

use crate::error::{Error, ErrorKind, Result};
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::{
    Broker, CommittedOffset, ConsumerOptions, GroupEvent, NewTopic, ProduceRecord,
};
use crate::runtime::memory_clients::{MemoryConsumer, MemoryReader};
use crate::runtime::memory_producer::MemoryProducer;
use crate::runtime::memory_transactions::{Entry, Transactions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Cheap to clone; clones are the same cluster.
#[derive(Clone, Default)]
pub(crate) struct MemoryBroker(Arc<Mutex<Cluster>>);

#[derive(Default)]
pub(super) struct Cluster {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) members: BTreeMap<u32, Member>,
    pub(super) next_member: u32,
    pub(super) committed: BTreeMap<TopicPartition, CommittedOffset>,
    pub(super) commit_refusals: VecDeque<ErrorKind>,
    pub(super) send_faults: Vec<SendFault>,
    pub(super) transactions: Transactions,
}

/// A record that is not written.
pub(super) struct SendFault {
    topic: String,
    /// Its key or its value.
    bytes: Vec<u8>,
    error: ErrorKind,
    is_local: bool,
    /// How often.
    left: usize,
}

pub(super) struct Topic {
    pub(super) config: BTreeMap<String, String>,
    pub(super) partitions: Vec<Log>,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) entries: Vec<Entry>,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.start + self.entries.len() as i64
    }
}

#[derive(Default)]
pub(super) struct Member {
    pub(super) topics: BTreeSet<String>,
    pub(super) owned: BTreeSet<TopicPartition>,
    pub(super) revoking: BTreeSet<TopicPartition>,
    pub(super) events: VecDeque<GroupEvent>,
    /// Whether the group gave its partitions to others and it has not been told.
    pub(super) expelled: bool,
}

impl MemoryBroker {
    pub(super) fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.0.lock().unwrap()
    }

    pub(crate) fn create(&self, topic: &str, partition_count: usize) {
        let partitions = (0..partition_count).map(|_| Log::default()).collect();
        let topic_data = Topic {
            config: BTreeMap::new(),
            partitions,
        };
        self.lock().topics.insert(topic.to_owned(), topic_data);
    }

    pub(crate) fn produce(&self, topic: &str, partition: usize, key: &str, value: &str) {
        let record = OwnedRecord {
            timestamp: 1_000,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            ..OwnedRecord::default()
        };
        self.lock().append(topic, partition, record, None);
    }

    /// Everything in a topic that a reader of committed records sees, partition by partition.
    pub(crate) fn records(&self, topic: &str) -> Vec<OwnedRecord> {
        let cluster = self.lock();
        let partitions = cluster.topics.get(topic).map(|topic| &topic.partitions);
        let logs = partitions.into_iter().flatten();
        let mut records = Vec::new();
        for log in logs {
            let readable = cluster.transactions.stable(&log.entries);
            let seen = readable
                .iter()
                .filter_map(|e| cluster.transactions.committed(e));
            records.extend(seen.cloned());
        }
        records
    }

    /// How many entries the logs of a topic have, markers and what is not committed included.
    pub(crate) fn entry_count(&self, topic: &str) -> usize {
        let partitions = &self.lock().topics[topic].partitions;
        partitions.iter().map(|log| log.entries.len()).sum()
    }

    pub(crate) fn config(&self, topic: &str) -> BTreeMap<String, String> {
        self.lock().topics[topic].config.clone()
    }

    pub(crate) fn log_start(&self, topic: &str, partition: usize) -> i64 {
        self.lock().topics[topic].partitions[partition].start
    }

    pub(crate) fn truncate(&self, topic: &str, partition: usize, before: i64) {
        self.lock().truncate(topic, partition, before);
    }

    pub(crate) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        let partition = TopicPartition::new(topic, partition);
        self.lock().committed.get(&partition).map(|c| c.offset)
    }

    /// The next commits fail, each with one of these.
    pub(crate) fn refuse_commits(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.lock().commit_refusals.extend(kinds);
    }

    pub(crate) fn pending_refusals(&self) -> usize {
        self.lock().commit_refusals.len()
    }

    /// Records with this key or value are not written to the topic, the next `times` times; `is_local` says that the client refuses
    /// them, else a broker does.
    pub(crate) fn refuse_sends(
        &self,
        (topic, bytes): (&str, &[u8]),
        error: ErrorKind,
        is_local: bool,
        times: usize,
    ) {
        self.lock().send_faults.push(SendFault {
            topic: topic.to_owned(),
            bytes: bytes.to_vec(),
            error,
            is_local,
            left: times,
        });
    }

    /// How many partitions of the topics of tasks each member owns.
    pub(crate) fn ownership(&self) -> Vec<usize> {
        self.lock()
            .members
            .values()
            .map(|m| m.owned.len())
            .collect()
    }

    /// Takes everything from every member, as if their sessions had ended, and hands it out again.
    pub(crate) fn lose_all(&self) {
        let mut cluster = self.lock();
        for member in cluster.members.values_mut() {
            let lost = std::mem::take(&mut member.owned);
            member.revoking.clear();
            let lost = GroupEvent::Lost(lost.into_iter().collect());
            member.events.push_back(lost);
        }
        cluster.rebalance();
    }
}

impl Cluster {
    /// Why a record is not written, if it is not, and whether its client refuses it.
    pub(super) fn refusal(&mut self, record: &ProduceRecord<'_>) -> Option<(Error, bool)> {
        let fault = self.send_faults.iter_mut().find(|fault| {
            let is_meant = [record.key, record.value].contains(&Some(&*fault.bytes));
            is_meant && *fault.topic == **record.topic && fault.left > 0
        })?;
        fault.left -= 1;
        let error = Error::new(fault.error, format!("{} refuses this record", record.topic));
        Some((error, fault.is_local))
    }

    /// Takes everything from a member without telling it, and gives it to the others.
    pub(super) fn expel(&mut self, id: u32) {
        let member = self.members.get_mut(&id).unwrap();
        member.expelled = true;
        member.owned.clear();
        member.revoking.clear();
        self.rebalance();
    }

    pub(super) fn log(&self, partition: &TopicPartition) -> &Log {
        &self.topics[&partition.topic].partitions[partition.partition as usize]
    }

    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: usize,
        mut record: OwnedRecord,
        transaction: Option<usize>,
    ) -> i64 {
        let log = &mut self.topics.get_mut(topic).unwrap().partitions[partition];
        record.offset = log.end();
        log.entries.push(Entry::Record(record, transaction));
        log.end()
    }

    fn truncate(&mut self, topic: &str, partition: usize, before: i64) {
        let log = &mut self.topics.get_mut(topic).unwrap().partitions[partition];
        let gone = usize::try_from(before - log.start).unwrap_or(0);
        log.entries.drain(..gone);
        log.start = log.start.max(before);
    }

    /// Takes from members what they do not subscribe to or have too much of, and gives what is free to those that own least.
    pub(super) fn rebalance(&mut self) {
        let subscribed = |member: &Member, partition: &TopicPartition| {
            !member.expelled && member.topics.contains(&partition.topic)
        };
        let topics: BTreeSet<&String> = self.members.values().flat_map(|m| &m.topics).collect();
        let mut partitions = Vec::new();
        for topic in topics {
            let count = self.topics[topic].partitions.len() as i32;
            partitions.extend((0..count).map(|p| TopicPartition::new(topic.clone(), p)));
        }
        // Who is to have what: as it is, where that can stay, and then better.
        let mut plan: BTreeMap<TopicPartition, u32> = BTreeMap::new();
        for partition in &partitions {
            let owner = self.members.iter().find(|(_, member)| {
                subscribed(member, partition)
                    && member.owned.contains(partition)
                    && !member.revoking.contains(partition)
            });
            plan.extend(owner.map(|(id, _)| (partition.clone(), *id)));
        }
        loop {
            let load = |id: u32| plan.values().filter(|owner| **owner == id).count();
            let better = |partition: &TopicPartition| {
                let takers = self
                    .members
                    .iter()
                    .filter(|(_, m)| subscribed(m, partition));
                let (id, least) = takers.map(|(id, _)| (*id, load(*id))).min_by_key(|t| t.1)?;
                let is_better = match plan.get(partition) {
                    None => true,
                    Some(owner) => load(*owner) > least + 1,
                };
                is_better.then(|| (partition.clone(), id))
            };
            let free = partitions.iter().filter(|p| !plan.contains_key(*p));
            // The first ones stay.
            let better = free.chain(partitions.iter().rev()).find_map(better);
            let Some((partition, id)) = better else { break };
            plan.insert(partition, id);
        }
        for (id, member) in &mut self.members {
            let stays = |partition: &&TopicPartition| {
                plan.get(*partition) == Some(id) || member.revoking.contains(*partition)
            };
            let surplus: Vec<TopicPartition> =
                member.owned.iter().filter(|p| !stays(p)).cloned().collect();
            if !surplus.is_empty() && !member.expelled {
                member.revoking.extend(surplus.iter().cloned());
                member.events.push_back(GroupEvent::Revoked(surplus));
            }
        }
        for (partition, id) in plan {
            if self.members.values().any(|m| m.owned.contains(&partition)) {
                continue;
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.owned.insert(partition.clone());
                member
                    .events
                    .push_back(GroupEvent::Assigned(vec![partition]));
            }
        }
    }
}

impl Broker for MemoryBroker {
    type Record = OwnedRecord;
    type Consumer = MemoryConsumer;
    type Reader = MemoryReader;
    type Producer = MemoryProducer;

    fn consumer(&self, _options: &ConsumerOptions) -> Result<MemoryConsumer> {
        let mut cluster = self.lock();
        let id = cluster.next_member;
        cluster.next_member += 1;
        Ok(MemoryConsumer::new(id, self))
    }

    fn reader(&self, _client_id: &str) -> Result<MemoryReader> {
        Ok(MemoryReader::new(self))
    }

    fn producer(&self, _client_id: &str, transactional: Option<&str>) -> Result<MemoryProducer> {
        Ok(MemoryProducer::new(self, transactional))
    }

    fn partition_counts(&self, topics: &[&str], _timeout: Duration) -> Result<Vec<Option<i32>>> {
        let cluster = self.lock();
        let count = |topic: &&str| Some(cluster.topics.get(*topic)?.partitions.len() as i32);
        Ok(topics.iter().map(count).collect())
    }

    fn create_topics(&self, topics: &[NewTopic], _timeout: Duration) -> Result<()> {
        for topic in topics {
            if !self.lock().topics.contains_key(&topic.name) {
                self.create(&topic.name, topic.partition_count as usize);
                let mut cluster = self.lock();
                cluster.topics.get_mut(&topic.name).unwrap().config = topic.config.clone();
            }
        }
        Ok(())
    }

    fn topic_config(&self, topic: &str, _timeout: Duration) -> Result<BTreeMap<String, String>> {
        Ok(self.config(topic))
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)], _timeout: Duration) -> Result<()> {
        for (partition, offset) in before {
            self.truncate(&partition.topic, partition.partition as usize, *offset);
        }
        Ok(())
    }
}
