//! Writing: an idempotent producer, and its transactions.

use super::cluster::{Cluster, NewRecord, batch};
use super::consumer::list;
use super::scheduler::Event;
use super::world::{ProcessId, world};
use crate::embedded::core::transactions::ProducerIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{CommittedOffset, LogProducer};
use crate::task::effects::ProduceRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A producer.
pub(super) struct SimulatedProducer {
    process: ProcessId,
    name: String,
    transactional_id: Option<String>,
    identity: Option<ProducerIdentity>,
    /// What was sent and is not written, in order.
    queue: Vec<(TopicPartition, NewRecord)>,
    sequences: BTreeMap<TopicPartition, i32>,
    /// The partitions of the transaction.
    enlisted: BTreeSet<TopicPartition>,
    /// Behind the last record that was acknowledged.
    next_offsets: BTreeMap<TopicPartition, i64>,
    /// Whether the brokers may know of the transaction.
    is_open: bool,
    /// Why nothing more can be written before the transaction is aborted.
    failed: Option<(ErrorKind, String)>,
    /// Whether only a successor can tell how the transaction ended.
    is_unknown: bool,
    next_partition: i32,
}

impl SimulatedProducer {
    pub(super) fn new(process: ProcessId, name: &str, transactional_id: Option<&str>) -> Self {
        SimulatedProducer {
            process,
            name: name.to_owned(),
            transactional_id: transactional_id.map(str::to_owned),
            identity: None,
            queue: Vec::new(),
            sequences: BTreeMap::new(),
            enlisted: BTreeSet::new(),
            next_offsets: BTreeMap::new(),
            is_open: false,
            failed: None,
            is_unknown: false,
            next_partition: 0,
        }
    }

    fn identity(&mut self) -> Result<ProducerIdentity> {
        if let Some(identity) = self.identity {
            return Ok(identity);
        }
        if self.transactional_id.is_some() {
            return Err(Error::fatal(
                "the producer has not begun with its transactional id",
            ));
        }
        let identity = world().tell(|cluster, now_ms| cluster.init_producer(None, now_ms))?;
        self.identity = Some(identity);
        Ok(identity)
    }

    fn check(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some((kind, text)) => Err(Error::new(*kind, text.clone())),
        }
    }

    /// Remembers an error that the transaction does not survive.
    fn watch<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && self.transactional_id.is_some()
        {
            self.failed = Some((error.kind(), error.to_string()));
        }
        result
    }

    /// Writes the first `count` records of the queue.
    fn deliver(&mut self, count: usize) -> Result<()> {
        let mut batches: Vec<(TopicPartition, Vec<NewRecord>)> = Vec::new();
        for (partition, record) in self.queue.drain(..count) {
            match batches.iter_mut().find(|(known, _)| *known == partition) {
                Some((_, records)) => records.push(record),
                None => batches.push((partition, vec![record])),
            }
        }
        for (partition, records) in batches {
            let written = self.write(&partition, &records);
            self.watch(written)?;
        }
        Ok(())
    }

    fn write(&mut self, partition: &TopicPartition, records: &[NewRecord]) -> Result<()> {
        let world = world();
        let process = self.process;
        let producer = self.identity()?;
        let count = records.len();
        world.effect(process, || {
            format!("{} writes {count} to {partition}", self.name)
        });
        if let Some(id) = &self.transactional_id {
            if world.chance(world.faults.abort * 0.1) {
                world.note(process, || "the brokers give the transaction up".to_owned());
                return Err(Error::fenced("the brokers gave the transaction up"));
            }
            if !self.enlisted.contains(partition) {
                self.is_open = true;
                world.tell(|cluster, now_ms| {
                    cluster.add_partition(id, producer, partition, now_ms)
                })?;
                self.enlisted.insert(partition.clone());
            }
        }
        let sequence = self.sequences.entry(partition.clone()).or_insert(0);
        let batch = batch(
            producer,
            self.transactional_id.is_some(),
            *sequence,
            records,
        );
        let mut written = world.tell(|cluster, now_ms| cluster.append(partition, &batch, now_ms));
        if world.chance(world.faults.duplicate) {
            world.effect(process, || format!("writes {count} to {partition} again"));
            written = world.tell(|cluster, now_ms| cluster.append(partition, &batch, now_ms));
        }
        let next = written?;
        world.note(process, || format!("{partition} ends at {next}"));
        *sequence += count as i32;
        self.next_offsets.insert(partition.clone(), next);
        Ok(())
    }

    fn transactional_id(&self) -> Result<String> {
        self.transactional_id
            .clone()
            .ok_or_else(|| Error::fatal("the producer has no transactional id"))
    }

    fn end(&mut self, is_commit: bool) -> Result<()> {
        let id = self.transactional_id()?;
        let producer = self.identity()?;
        world().tell(|cluster, now_ms| cluster.end_transaction(&id, producer, is_commit, now_ms))
    }

    fn forget_transaction(&mut self) {
        self.queue.clear();
        self.enlisted.clear();
        self.is_open = false;
        self.failed = None;
    }
}

impl LogProducer for SimulatedProducer {
    type GroupMetadata = (String, i32);

    fn init_transactions(&mut self, _timeout: Duration) -> Result<()> {
        let id = self.transactional_id()?;
        let world = world();
        let what = || format!("{id} begins");
        let identity = world.ask(self.process, what, |cluster, now_ms| {
            cluster.init_producer(Some(&id), now_ms)
        })?;
        self.identity = Some(identity);
        self.sequences.clear();
        Ok(())
    }

    fn begin_transaction(&mut self) -> Result<()> {
        self.check()?;
        self.identity().map(|_| ())
    }

    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &(String, i32),
    ) -> Result<()> {
        self.check()?;
        let id = self.transactional_id()?;
        let producer = self.identity()?;
        let world = world();
        let what = || format!("adds offsets {}", list(offsets));
        self.is_open = true;
        let added = world.ask(self.process, what, |cluster, now_ms| {
            let member = (group.0.as_str(), group.1);
            cluster.add_offsets(&id, producer, &world.setup.group, member, offsets, now_ms)
        });
        self.watch(added)
    }

    fn commit_transaction(&mut self) -> Result<()> {
        self.check()?;
        self.deliver(self.queue.len())?;
        let world = world();
        let process = self.process;
        world.effect(process, || format!("{} commits its transaction", self.name));
        if world.chance(world.faults.abort) {
            world.note(process, || "the brokers give the transaction up".to_owned());
            return self.watch(Err(Error::fenced("the brokers gave the transaction up")));
        }
        // Nobody but a successor finds out whether a commit without an answer was done.
        let is_lost = world.is_out() || world.chance(world.faults.lost_answer);
        let fate = world.between(0, 2);
        if is_lost && (world.is_out() || fate > 0) {
            self.is_unknown = true;
            if fate == 1 {
                world.note(process, || "the commit is late".to_owned());
                let (id, producer) = (self.transactional_id()?, self.identity()?);
                let arrive = move |cluster: &mut Cluster, now_ms| {
                    // Whoever has the id by now keeps it out.
                    let _ = cluster.end_transaction(&id, producer, true, now_ms);
                };
                let us = world.between(1_000, 5_000_000);
                world.schedule(us, Event::Arrive(Box::new(arrive)));
            } else {
                world.note(process, || "the commit is lost".to_owned());
            }
            return self.watch(Err(Error::retriable("the commit was not answered")));
        }
        let committed = self.end(true);
        self.watch(committed)?;
        world.note(process, || "committed".to_owned());
        if is_lost {
            world.note(process, || "the answer is lost".to_owned());
            self.is_unknown = true;
            return self.watch(Err(Error::retriable("the commit was not answered")));
        }
        // It may die before it hears of it.
        world.effect(process, || "hears that it has committed".to_owned());
        self.forget_transaction();
        Ok(())
    }

    fn abort_transaction(&mut self) -> Result<()> {
        let world = world();
        world.effect(self.process, || {
            format!("{} aborts its transaction", self.name)
        });
        if self.is_unknown || world.is_out() || world.chance(world.faults.lost_answer) {
            return Err(Error::retriable("the abort was not answered"));
        }
        if !self.is_open {
            self.forget_transaction();
            return Ok(());
        }
        self.end(false)?;
        self.forget_transaction();
        Ok(())
    }

    fn send(&mut self, records: &mut dyn Iterator<Item = ProduceRecord<'_>>) -> Result<()> {
        self.check()?;
        let world = world();
        for record in records {
            let partition = if record.partition < 0 {
                let count = world.cluster.borrow().partition_count(record.topic);
                self.next_partition += 1;
                self.next_partition % count.unwrap_or(1)
            } else {
                record.partition
            };
            let content = (record.key, record.value);
            let mut warmth = world.warmth.borrow_mut();
            let times = (world.now_us(), world.idle_max_us());
            warmth.told(self.process, record.topic, content, times);
            drop(warmth);
            let new = NewRecord {
                timestamp: record.timestamp.unwrap_or_else(|| world.now_ms()),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.clone(),
            };
            let partition = TopicPartition::new(&**record.topic, partition);
            self.queue.push((partition, new));
        }
        // Records leave in the background.
        if world.is_harsh.get() && !world.is_out() && world.between(0, 2) == 0 {
            let count = world.between(0, self.queue.len() as u64);
            self.deliver(count as usize)?;
        }
        Ok(())
    }

    fn flush(&mut self, _timeout: Duration) -> Result<()> {
        let world = world();
        let is_out = || world.is_out();
        // It waits as long as it takes.
        while is_out() {
            let us = world.outage_until_us.get() - world.now_us();
            world.pause(self.process, us, false);
        }
        self.deliver(self.queue.len())
    }

    fn next_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.next_offsets.get(partition).copied()
    }
}

impl Drop for SimulatedProducer {
    fn drop(&mut self) {
        // Without transactions what is queued is still written, unless the process is dead. What goes wrong now is nobody's.
        let is_dead = std::thread::panicking() || !world().is_alive(self.process);
        let Some(producer) = self.identity else {
            return;
        };
        if self.transactional_id.is_some() || is_dead {
            return;
        }
        for (partition, record) in self.queue.drain(..) {
            let sequence = self.sequences.entry(partition.clone()).or_insert(0);
            let batch = batch(producer, false, *sequence, &[record]);
            *sequence += 1;
            let _ = world().tell(|cluster, now_ms| cluster.append(&partition, &batch, now_ms));
        }
    }
}
