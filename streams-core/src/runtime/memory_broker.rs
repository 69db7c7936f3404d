//! A cluster in memory for this module's tests: topics, one group with sticky incremental assignment, and refusals on demand.

use crate::error::{Error, ErrorKind, Result};
use crate::record::{Headers, OwnedRecord, TopicPartition};
use crate::runtime::broker::{
    Broker, CommittedOffset, ConsumerOptions, GroupConsumer, GroupEvent, Input, InputSlot,
    LogProducer, LogReader, NewTopic, StartOffset,
};
use crate::task::effects::ProduceRecord;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Cheap to clone; clones are the same cluster.
#[derive(Clone, Default)]
pub(crate) struct MemoryBroker(Arc<Mutex<Cluster>>);

#[derive(Default)]
struct Cluster {
    topics: BTreeMap<String, Topic>,
    members: BTreeMap<u32, Member>,
    next_member: u32,
    committed: BTreeMap<TopicPartition, CommittedOffset>,
    commit_refusals: VecDeque<ErrorKind>,
    refuse_sends_to: Option<String>,
}

struct Topic {
    config: BTreeMap<String, String>,
    partitions: Vec<Log>,
}

#[derive(Default)]
struct Log {
    start: i64,
    records: Vec<OwnedRecord>,
}

impl Log {
    fn end(&self) -> i64 {
        self.start + self.records.len() as i64
    }
}

#[derive(Default)]
struct Member {
    topic: Option<String>,
    owned: BTreeSet<i32>,
    revoking: BTreeSet<i32>,
    events: VecDeque<GroupEvent>,
}

impl MemoryBroker {
    fn lock(&self) -> MutexGuard<'_, Cluster> {
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
        self.lock().append(topic, partition, record);
    }

    /// Everything in a topic, partition by partition.
    pub(crate) fn records(&self, topic: &str) -> Vec<OwnedRecord> {
        let cluster = self.lock();
        let partitions = cluster.topics.get(topic).map(|topic| &topic.partitions);
        let logs = partitions.into_iter().flatten();
        logs.flat_map(|log| log.records.clone()).collect()
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

    pub(crate) fn refuse_sends_to(&self, topic: &str) {
        self.lock().refuse_sends_to = Some(topic.to_owned());
    }

    /// How many partitions of the task topic each member owns.
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
            let topic = member.topic.clone().unwrap_or_default();
            let lost = std::mem::take(&mut member.owned);
            member.revoking.clear();
            let lost = lost
                .into_iter()
                .map(|p| TopicPartition::new(topic.clone(), p));
            member.events.push_back(GroupEvent::Lost(lost.collect()));
        }
        cluster.rebalance();
    }
}

impl Cluster {
    fn log(&self, partition: &TopicPartition) -> &Log {
        &self.topics[&partition.topic].partitions[partition.partition as usize]
    }

    fn append(&mut self, topic: &str, partition: usize, mut record: OwnedRecord) -> i64 {
        let log = &mut self.topics.get_mut(topic).unwrap().partitions[partition];
        record.offset = log.end();
        log.records.push(record);
        log.end()
    }

    fn truncate(&mut self, topic: &str, partition: usize, before: i64) {
        let log = &mut self.topics.get_mut(topic).unwrap().partitions[partition];
        let gone = usize::try_from(before - log.start).unwrap_or(0);
        log.records.drain(..gone);
        log.start = log.start.max(before);
    }

    /// Takes from members that own too much and gives what is free to those that own least.
    fn rebalance(&mut self) {
        let Some(topic) = self.members.values().find_map(|m| m.topic.clone()) else {
            return;
        };
        let count = self.topics[&topic].partitions.len();
        let share = count.div_ceil(self.members.len());
        for member in self.members.values_mut() {
            let surplus: Vec<i32> = member
                .owned
                .difference(&member.revoking)
                .copied()
                .skip(share)
                .collect();
            if !surplus.is_empty() {
                member.revoking.extend(&surplus);
                let partitions = surplus.iter().map(|&p| TopicPartition::new(&*topic, p));
                member
                    .events
                    .push_back(GroupEvent::Revoked(partitions.collect()));
            }
        }
        let owned: BTreeSet<i32> = self
            .members
            .values()
            .flat_map(|m| m.owned.clone())
            .collect();
        for partition in (0..count as i32).filter(|p| !owned.contains(p)) {
            let least = self.members.values_mut().min_by_key(|m| m.owned.len());
            let member = least.unwrap();
            member.owned.insert(partition);
            let partitions = vec![TopicPartition::new(&*topic, partition)];
            member.events.push_back(GroupEvent::Assigned(partitions));
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
        Ok(MemoryConsumer {
            id,
            reader: MemoryReader::new(self),
        })
    }

    fn reader(&self, _client_id: &str) -> Result<MemoryReader> {
        Ok(MemoryReader::new(self))
    }

    fn producer(&self, _client_id: &str, _transactional: Option<&str>) -> Result<MemoryProducer> {
        Ok(MemoryProducer {
            broker: self.clone(),
            next_offsets: BTreeMap::new(),
        })
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

/// Reads inputs one after the other.
pub(crate) struct MemoryReader {
    broker: MemoryBroker,
    inputs: BTreeMap<TopicPartition, ReaderInput>,
}

struct ReaderInput {
    slot: InputSlot,
    position: i64,
    paused: bool,
}

impl MemoryReader {
    fn new(broker: &MemoryBroker) -> Self {
        MemoryReader {
            broker: broker.clone(),
            inputs: BTreeMap::new(),
        }
    }

    /// Reads; the partitions whose positions are gone come back with them.
    fn read(
        &mut self,
        records_max: usize,
        records: &mut Vec<(InputSlot, OwnedRecord)>,
    ) -> Vec<(TopicPartition, i64)> {
        let cluster = self.broker.lock();
        let mut gone = Vec::new();
        for (partition, input) in self.inputs.iter_mut().filter(|(_, input)| !input.paused) {
            let log = cluster.log(partition);
            if input.position < log.start || input.position > log.end() {
                gone.push((partition.clone(), input.position));
                continue;
            }
            let from = (input.position - log.start) as usize;
            let room = records_max.saturating_sub(records.len());
            for record in log.records[from..].iter().take(room) {
                input.position = record.offset + 1;
                records.push((input.slot, record.clone()));
            }
        }
        gone
    }

    fn wait_if_empty(records: &[(InputSlot, OwnedRecord)], timeout: Duration) {
        if records.is_empty() {
            std::thread::sleep(timeout.min(Duration::from_millis(1)));
        }
    }
}

impl LogReader for MemoryReader {
    type Record = OwnedRecord;

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        for input in inputs {
            let position = {
                let cluster = self.broker.lock();
                let log = cluster.log(&input.partition);
                match input.offset {
                    StartOffset::At(offset) => offset,
                    StartOffset::Earliest => log.start,
                    StartOffset::Latest => log.end(),
                }
            };
            let added = ReaderInput {
                slot: input.slot,
                position,
                paused: false,
            };
            self.inputs.insert(input.partition.clone(), added);
        }
        Ok(())
    }

    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.inputs
            .retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        _timeout: Duration,
    ) -> Result<Vec<(i64, i64)>> {
        let cluster = self.broker.lock();
        let bounds = |partition| {
            let log = cluster.log(partition);
            (log.start, log.end())
        };
        Ok(partitions.iter().map(bounds).collect())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, OwnedRecord)>,
    ) -> Result<()> {
        let gone = self.read(records_max, records);
        Self::wait_if_empty(records, timeout);
        match gone.first() {
            None => Ok(()),
            Some((partition, offset)) => {
                Err(Error::data(format!("{partition} no longer has {offset}")))
            }
        }
    }

    fn position(&mut self, partition: &TopicPartition) -> Option<i64> {
        self.inputs.get(partition).map(|input| input.position)
    }
}

/// A member of the group.
pub(crate) struct MemoryConsumer {
    id: u32,
    reader: MemoryReader,
}

impl MemoryConsumer {
    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            self.reader.inputs.get_mut(partition).unwrap().paused = paused;
        }
    }
}

impl GroupConsumer for MemoryConsumer {
    type Record = OwnedRecord;

    fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        let mut cluster = self.reader.broker.lock();
        let member = cluster.members.entry(self.id).or_default();
        member.topic = Some(topics[0].to_owned());
        member.events.push_back(GroupEvent::Assigned(Vec::new()));
        cluster.rebalance();
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, OwnedRecord)>,
    ) -> Result<Option<GroupEvent>> {
        let event = {
            let mut cluster = self.reader.broker.lock();
            cluster
                .members
                .get_mut(&self.id)
                .unwrap()
                .events
                .pop_front()
        };
        if event.is_some() {
            return Ok(event);
        }
        let gone = self.reader.read(records_max, records);
        MemoryReader::wait_if_empty(records, timeout);
        Ok((!gone.is_empty()).then_some(GroupEvent::OutOfRange(gone)))
    }

    fn accept(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut cluster = self.reader.broker.lock();
        let member = cluster.members.get_mut(&self.id).unwrap();
        for partition in partitions {
            // What was lost has another owner already, perhaps this one again.
            if member.revoking.remove(&partition.partition) {
                member.owned.remove(&partition.partition);
            }
        }
        cluster.rebalance();
        Ok(())
    }

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        self.reader.add_inputs(inputs)
    }

    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.reader.remove_inputs(partitions)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true);
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false);
        Ok(())
    }

    fn committed(
        &mut self,
        partitions: &[TopicPartition],
        _timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let cluster = self.reader.broker.lock();
        let committed = |partition| cluster.committed.get(partition).cloned();
        Ok(partitions.iter().map(committed).collect())
    }

    fn commit(&mut self, offsets: &[(TopicPartition, CommittedOffset)]) -> Result<()> {
        let mut cluster = self.reader.broker.lock();
        if let Some(kind) = cluster.commit_refusals.pop_front() {
            return Err(Error::new(kind, "refused"));
        }
        cluster.committed.extend(offsets.iter().cloned());
        Ok(())
    }

    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<(i64, i64)>> {
        self.reader.offsets(partitions, timeout)
    }

    fn end_offset(&mut self, partition: &TopicPartition) -> Option<i64> {
        Some(self.reader.broker.lock().log(partition).end())
    }

    fn position(&mut self, partition: &TopicPartition) -> Option<i64> {
        self.reader.position(partition)
    }

    fn close(self) -> Result<()> {
        let mut cluster = self.reader.broker.lock();
        cluster.members.remove(&self.id);
        cluster.rebalance();
        Ok(())
    }
}

/// Appends at once.
pub(crate) struct MemoryProducer {
    broker: MemoryBroker,
    next_offsets: BTreeMap<TopicPartition, i64>,
}

impl LogProducer for MemoryProducer {
    fn send(&mut self, records: &mut dyn Iterator<Item = ProduceRecord<'_>>) -> Result<()> {
        let mut cluster = self.broker.lock();
        for record in records {
            if cluster.refuse_sends_to.as_deref() == Some(record.topic) {
                return Err(Error::data(format!("{} refuses this record", record.topic)));
            }
            let owned = OwnedRecord {
                offset: 0,
                timestamp: record.timestamp.unwrap_or_default(),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: Headers::clone(record.headers),
            };
            let partition = record.partition.max(0);
            let next = cluster.append(record.topic, partition as usize, owned);
            let partition = TopicPartition::new(&**record.topic, partition);
            self.next_offsets.insert(partition, next);
        }
        Ok(())
    }

    fn flush(&mut self, _timeout: Duration) -> Result<()> {
        Ok(())
    }

    fn next_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.next_offsets.get(partition).copied()
    }
}
