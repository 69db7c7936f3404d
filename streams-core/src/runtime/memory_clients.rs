//! The clients of the cluster in memory.

use crate::error::{Error, Result};
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::{
    CommittedOffset, GroupConsumer, GroupEvent, Input, InputSlot, LogReader, StartOffset,
};
use crate::runtime::memory_broker::MemoryBroker;
use std::collections::BTreeMap;
use std::time::Duration;

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
    pub(super) fn new(broker: &MemoryBroker) -> Self {
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
            let stable = cluster.transactions.stable(&log.entries);
            let from = (input.position - log.start) as usize;
            for entry in stable.iter().skip(from) {
                if records.len() >= records_max {
                    break;
                }
                input.position += 1;
                if let Some(record) = cluster.transactions.committed(entry) {
                    records.push((input.slot, record.clone()));
                }
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
    pub(super) fn new(id: u32, broker: &MemoryBroker) -> Self {
        MemoryConsumer {
            id,
            reader: MemoryReader::new(broker),
        }
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            self.reader.inputs.get_mut(partition).unwrap().paused = paused;
        }
    }
}

impl GroupConsumer for MemoryConsumer {
    type Record = OwnedRecord;
    /// The number of the member; one that was expelled keeps it.
    type GroupMetadata = u32;

    fn group_metadata(&mut self) -> Result<u32> {
        let cluster = self.reader.broker.lock();
        let member = &cluster.members[&self.id];
        let waits = |event: &GroupEvent| !matches!(event, GroupEvent::Assigned(_));
        if member.events.iter().any(waits) {
            return Err(Error::retriable("a revocation waits"));
        }
        Ok(self.id)
    }

    fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        let mut cluster = self.reader.broker.lock();
        let member = cluster.members.entry(self.id).or_default();
        if member.topics.is_empty() {
            member.events.push_back(GroupEvent::Assigned(Vec::new()));
        }
        member.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
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
            let member = cluster.members.entry(self.id).or_default();
            member.events.pop_front()
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
            if member.revoking.remove(partition) {
                member.owned.remove(partition);
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
