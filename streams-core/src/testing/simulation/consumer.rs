//! Reading: as a member of the group, and outside any.

use super::world::{ProcessId, World, world};
use crate::error::{Error, Result};
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::{
    CommittedOffset, ConsumerOptions, GroupConsumer, GroupEvent, Input, InputSlot, LogReader,
    StartOffset,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is read, and how far.
#[derive(Default)]
struct Inputs(BTreeMap<TopicPartition, ReadInput>);

struct ReadInput {
    slot: InputSlot,
    position: i64,
    is_paused: bool,
    /// Whether its position is not in the log and has been told to be so.
    is_lost: bool,
}

impl Inputs {
    fn add(&mut self, inputs: &[Input]) -> Result<()> {
        let world = world();
        for input in inputs {
            let (first, end) = world.cluster.borrow().bounds(&input.partition)?;
            let position = match input.offset {
                StartOffset::At(offset) => offset,
                StartOffset::Earliest => first,
                StartOffset::Latest => end,
            };
            let added = ReadInput {
                slot: input.slot,
                position,
                is_paused: false,
                is_lost: false,
            };
            if self.0.insert(input.partition.clone(), added).is_some() {
                let partition = &input.partition;
                return Err(Error::fatal(format!("{partition} is an input already")));
            }
        }
        Ok(())
    }

    fn remove(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.0.remove(partition);
        }
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], is_paused: bool) -> Result<()> {
        for partition in partitions {
            self.0
                .get_mut(partition)
                .ok_or_else(|| Error::fatal(format!("{partition} is not an input")))?
                .is_paused = is_paused;
        }
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).map(|input| input.position)
    }

    /// Reads from every input; the inputs whose positions are not in their logs come back.
    fn read(
        &mut self,
        world: &World,
        slow: f64,
        records_max: usize,
        records: &mut Vec<(InputSlot, OwnedRecord)>,
    ) -> Vec<(TopicPartition, i64)> {
        let mut lost = Vec::new();
        if world.is_out() {
            return lost;
        }
        for (partition, input) in &mut self.0 {
            if input.is_paused || input.is_lost {
                continue;
            }
            let mut wanted = records_max.saturating_sub(records.len());
            if world.chance(slow) {
                wanted = wanted.min(world.between(0, 2) as usize);
            }
            if wanted == 0 {
                continue;
            }
            let isolation = world.isolation();
            let cluster = world.cluster.borrow();
            match cluster.read(partition, input.position, wanted, isolation) {
                Ok(read) => {
                    input.position = read.position;
                    let slot = input.slot;
                    records.extend(read.records.into_iter().map(|record| (slot, record)));
                }
                Err(_) => {
                    input.is_lost = true;
                    lost.push((partition.clone(), input.position));
                }
            }
        }
        lost
    }
}

fn offsets(process: ProcessId, partitions: &[TopicPartition]) -> Result<Vec<(i64, i64)>> {
    let what = || format!("ends of {} partitions", partitions.len());
    world().ask(process, what, |cluster, _| {
        let bounds = |partition| cluster.bounds(partition);
        partitions.iter().map(bounds).collect()
    })
}

/// Says how long the actor would have waited.
fn wait(world: &World, is_empty: bool, timeout: Duration) {
    let us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
    world.idle_us.set(is_empty.then_some(us));
}

/// A member of the group.
pub(super) struct SimulatedConsumer {
    process: ProcessId,
    number: u64,
    group: String,
    client_id: String,
    inputs: Inputs,
}

impl SimulatedConsumer {
    pub(super) fn new(process: ProcessId, options: &ConsumerOptions) -> Self {
        SimulatedConsumer {
            process,
            number: world().new_id(),
            group: options.group_id.clone(),
            client_id: options.client_id.clone(),
            inputs: Inputs::default(),
        }
    }

    fn leave(&mut self) {
        let world = world();
        // Who is dead leaves no group.
        if !world.is_alive(self.process) {
            return;
        }
        if let Some(member) = world.members.borrow_mut().remove(self.number)
            && !world.is_out()
        {
            world.note(self.process, || format!("m{} leaves", self.number));
            world.leave(&member);
        }
    }
}

impl Drop for SimulatedConsumer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl GroupConsumer for SimulatedConsumer {
    type Record = OwnedRecord;
    type GroupMetadata = (String, i32);

    fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        let world = world();
        let mut members = world.members.borrow_mut();
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        world.note(self.process, || {
            format!("m{} subscribes to {topics:?}", self.number)
        });
        let now_us = world.now_us();
        members.subscribe(self.number, self.process, &self.client_id, topics, now_us);
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, OwnedRecord)>,
    ) -> Result<Option<GroupEvent>> {
        let world = world();
        world.effect(self.process, || format!("m{} polls", self.number));
        let event = world
            .members
            .borrow_mut()
            .get(self.number)
            .and_then(|member| member.poll());
        if let Some(event) = event {
            world.note(self.process, || format!("m{}: {event:?}", self.number));
            wait(&world, false, timeout);
            return Ok(Some(event));
        }
        let before = records.len();
        let slow = world.faults.slow_fetch;
        let lost = self.inputs.read(&world, slow, records_max, records);
        let count = records.len() - before;
        wait(&world, count == 0 && lost.is_empty(), timeout);
        if count > 0 {
            world.note(self.process, || format!("m{} reads {count}", self.number));
        }
        Ok((!lost.is_empty()).then_some(GroupEvent::OutOfRange(lost)))
    }

    fn accept(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let world = world();
        let mut members = world.members.borrow_mut();
        match members.get(self.number) {
            Some(member) => member.accept(partitions, world.now_us()),
            None => Err(Error::fatal("no member")),
        }
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let world = world();
        if let Some(member) = world.members.borrow_mut().get(self.number) {
            member.release(partitions, world.now_us());
        }
        Ok(())
    }

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        self.inputs.add(inputs)
    }

    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.inputs.remove(partitions);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.inputs.set_paused(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.inputs.set_paused(partitions, false)
    }

    fn committed(
        &mut self,
        partitions: &[TopicPartition],
        _timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let world = world();
        let stable = world.setup.exactly_once;
        let what = || format!("m{} asks what is committed", self.number);
        let committed = world.ask(self.process, what, |cluster, _| {
            cluster.committed(&self.group, partitions, stable)
        });
        world.note(self.process, || match &committed {
            Ok(offsets) => {
                let offsets = offsets.iter().map(|o| o.as_ref().map(|o| o.offset));
                let pairs: Vec<String> = partitions
                    .iter()
                    .zip(offsets)
                    .map(|(partition, offset)| format!("{partition}: {offset:?}"))
                    .collect();
                format!("committed: {}", pairs.join(", "))
            }
            Err(error) => format!("not known: {error}"),
        });
        committed
    }

    fn commit(&mut self, offsets: &[(TopicPartition, CommittedOffset)]) -> Result<()> {
        let world = world();
        let member = match world.members.borrow_mut().get(self.number) {
            Some(member) => member.credentials()?,
            None => return Err(Error::fatal("no member")),
        };
        let what = || format!("commits {}", list(offsets));
        world.ask(self.process, what, |cluster, now_ms| {
            cluster.commit(&self.group, (&member.0, member.1), offsets, now_ms)
        })
    }

    fn group_metadata(&mut self) -> Result<(String, i32)> {
        let world = world();
        let mut members = world.members.borrow_mut();
        match members.get(self.number) {
            Some(member) => member.group_metadata(),
            None => Err(Error::fatal("no member")),
        }
    }

    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        _timeout: Duration,
    ) -> Result<Vec<(i64, i64)>> {
        offsets(self.process, partitions)
    }

    fn end_offset(&mut self, partition: &TopicPartition) -> Option<i64> {
        let bounds = world().cluster.borrow().bounds(partition);
        bounds.ok().map(|(_, end)| end)
    }

    fn position(&mut self, partition: &TopicPartition) -> Option<i64> {
        self.inputs.position(partition)
    }

    fn is_member(&mut self) -> bool {
        let world = world();
        let mut members = world.members.borrow_mut();
        members
            .get(self.number)
            .is_some_and(|member| member.is_member())
    }

    fn close(mut self) -> Result<()> {
        world().effect(self.process, || format!("m{} closes", self.number));
        self.leave();
        Ok(())
    }
}

/// Offsets, for the trace.
pub(super) fn list(offsets: &[(TopicPartition, CommittedOffset)]) -> String {
    let offset = |(partition, offset): &(TopicPartition, CommittedOffset)| {
        format!("{partition}: {}", offset.offset)
    };
    offsets.iter().map(offset).collect::<Vec<_>>().join(", ")
}

/// A reader of changelogs.
pub(super) struct SimulatedReader {
    process: ProcessId,
    inputs: Inputs,
}

impl SimulatedReader {
    pub(super) fn new(process: ProcessId) -> Self {
        SimulatedReader {
            process,
            inputs: Inputs::default(),
        }
    }
}

impl LogReader for SimulatedReader {
    type Record = OwnedRecord;

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        self.inputs.add(inputs)
    }

    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.inputs.remove(partitions);
        Ok(())
    }

    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        _timeout: Duration,
    ) -> Result<Vec<(i64, i64)>> {
        offsets(self.process, partitions)
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, OwnedRecord)>,
    ) -> Result<()> {
        let world = world();
        world.effect(self.process, || "reads changelogs".to_owned());
        let before = records.len();
        let slow = world.faults.slow_restore;
        let lost = self.inputs.read(&world, slow, records_max, records);
        wait(&world, records.len() == before, timeout);
        match lost.first() {
            None => Ok(()),
            Some((partition, offset)) => {
                // It is asked for again: the reader does not remember whom it has told.
                for (partition, _) in &lost {
                    if let Some(input) = self.inputs.0.get_mut(partition) {
                        input.is_lost = false;
                    }
                }
                Err(Error::data(format!("{partition} no longer has {offset}")))
            }
        }
    }

    fn position(&mut self, partition: &TopicPartition) -> Option<i64> {
        self.inputs.position(partition)
    }
}
