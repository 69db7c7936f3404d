//! The producer of the cluster in memory.

use crate::error::{Error, Result};
use crate::record::{Headers, OwnedRecord, TopicPartition};
use crate::runtime::broker::{CommittedOffset, FailedSend, LogProducer};
use crate::runtime::memory_broker::{Cluster, MemoryBroker};
use crate::task::effects::ProduceRecord;
use std::collections::BTreeMap;
use std::time::Duration;

/// Appends at once.
pub(crate) struct MemoryProducer {
    broker: MemoryBroker,
    next_offsets: BTreeMap<TopicPartition, i64>,
    transactional_id: Option<String>,
    epoch: u32,
    /// What was not written and nobody has taken.
    failures: Vec<FailedSend>,
    /// Whether what failed spoils the transaction.
    is_spoilt: bool,
}

impl MemoryProducer {
    pub(super) fn new(broker: &MemoryBroker, transactional_id: Option<&str>) -> Self {
        MemoryProducer {
            broker: broker.clone(),
            next_offsets: BTreeMap::new(),
            transactional_id: transactional_id.map(str::to_owned),
            epoch: 0,
            failures: Vec::new(),
            is_spoilt: false,
        }
    }

    /// Does something with the transactions of this producer.
    fn transact<T>(
        &mut self,
        action: impl FnOnce(&mut Cluster, &str, u32) -> Result<T>,
    ) -> Result<T> {
        let id = self
            .transactional_id
            .as_deref()
            .expect("a transactional id");
        action(&mut self.broker.lock(), id, self.epoch)
    }
}

impl LogProducer for MemoryProducer {
    type GroupMetadata = u32;

    fn init_transactions(&mut self, _timeout: Duration) -> Result<()> {
        self.epoch = self.transact(|cluster, id, _| Ok(cluster.init_transactions(id)))?;
        Ok(())
    }

    fn begin_transaction(&mut self) -> Result<()> {
        self.transact(Cluster::begin_transaction)
    }

    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &u32,
    ) -> Result<()> {
        self.transact(|cluster, id, epoch| cluster.add_offsets(id, epoch, offsets, *group))
    }

    fn commit_transaction(&mut self) -> Result<()> {
        if self.is_spoilt {
            return Err(Error::fenced("a record of the transaction was not written"));
        }
        let commit_time = self.broker.lock().transactions.commit_time;
        std::thread::sleep(commit_time);
        self.transact(Cluster::commit_transaction)
    }

    fn abort_transaction(&mut self) -> Result<()> {
        self.failures.clear();
        self.is_spoilt = false;
        self.transact(Cluster::abort_transaction)
    }

    fn send(&mut self, records: &mut dyn Iterator<Item = ProduceRecord<'_>>) -> Result<()> {
        self.send_tagged(&mut records.map(|record| (record, 0)))
    }

    fn send_tagged(
        &mut self,
        records: &mut dyn Iterator<Item = (ProduceRecord<'_>, u64)>,
    ) -> Result<()> {
        let mut cluster = self.broker.lock();
        for (record, tag) in records {
            if let Some((error, is_local)) = cluster.refusal(&record) {
                self.is_spoilt |= !is_local;
                self.failures.push(FailedSend {
                    tag,
                    topic: record.topic.to_string(),
                    partition: record.partition,
                    record: record.to_owned(),
                    error,
                    is_local,
                });
                continue;
            }
            let owned = OwnedRecord {
                offset: 0,
                timestamp: record.timestamp.unwrap_or_default(),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: Headers::clone(record.headers),
            };
            let partition = TopicPartition::new(&**record.topic, record.partition.max(0));
            let transaction = match &self.transactional_id {
                None => None,
                Some(id) => Some(cluster.enlist(id, self.epoch, partition.clone())?),
            };
            let number = partition.partition as usize;
            let next = cluster.append(record.topic, number, owned, transaction);
            self.next_offsets.insert(partition, next);
        }
        Ok(())
    }

    fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    fn take_failures(&mut self) -> Vec<FailedSend> {
        std::mem::take(&mut self.failures)
    }

    fn flush(&mut self, _timeout: Duration) -> Result<()> {
        match self.failures.first() {
            None => Ok(()),
            Some(failed) => Err(Error::new(failed.error.kind(), failed.error.message())),
        }
    }

    fn next_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.next_offsets.get(partition).copied()
    }
}
