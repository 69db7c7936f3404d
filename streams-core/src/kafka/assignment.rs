//! What a group member has assigned in librdkafka, and why.
//!
//! A partition is assigned because the group gave it to us, because it is an input, or both. What the group gave us and is
//! no input is *parked*: assigned, since the group is told what is, but paused.

use super::fetch::{Fetcher, list};
use super::ffi::{Client, RebalanceProtocol, Refusal};
use crate::record::TopicPartition;
use crate::runtime::broker::Input;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long librdkafka may take to stop fetching a partition, which is a matter between its own threads.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What is assigned; its changes go to librdkafka first.
#[derive(Default)]
pub(super) struct Assignment {
    parked: BTreeSet<TopicPartition>,
    inputs: BTreeMap<TopicPartition, InputState>,
    /// What was assigned before: librdkafka may still be stopping it.
    stopping: BTreeSet<TopicPartition>,
    /// What librdkafka has marked as paused. It keeps the mark when a partition is unassigned.
    paused: BTreeSet<TopicPartition>,
}

struct InputState {
    start: i64,
    /// Whether the group gave it to us as well.
    is_subscribed: bool,
    is_paused: bool,
}

/// An eager group knows only whole assignments.
fn is_eager(client: &Client) -> bool {
    client.rebalance_protocol() == RebalanceProtocol::Eager
}

impl Assignment {
    /// Whether it is an input.
    pub(super) fn has_input(&self, partition: &TopicPartition) -> bool {
        self.inputs.contains_key(partition)
    }

    /// Whether it is an input that is not to be fetched for the time being.
    pub(super) fn is_paused(&self, partition: &TopicPartition) -> bool {
        let input = self.inputs.get(partition);
        input.is_some_and(|input| input.is_paused)
    }

    /// Where to go on when an error at `offset` is older than the input: it lies before the input's start, or has no offset.
    /// librdkafka gives its errors no version, so that one may wait in a partition's queue until the partition comes again. Where
    /// the position really is gone, going on brings an error at the position.
    pub(super) fn start_behind(&self, partition: &TopicPartition, offset: i64) -> Option<i64> {
        let start = self.start(partition)?;
        (offset < start).then_some(start)
    }

    /// Where an input was started, `None` when it is none.
    pub(super) fn start(&self, partition: &TopicPartition) -> Option<i64> {
        self.inputs.get(partition).map(|input| input.start)
    }

    /// Takes what the group assigned.
    pub(super) fn accept(
        &mut self,
        fetcher: &Fetcher,
        partitions: &[TopicPartition],
    ) -> Result<(), Refusal> {
        let mut new = Vec::new();
        for partition in partitions {
            if let Some(input) = self.inputs.get_mut(partition) {
                input.is_subscribed = true;
            } else if !self.parked.contains(partition) {
                new.push(partition);
            }
        }
        if is_eager(&fetcher.client) {
            self.parked.extend(new.into_iter().cloned());
            return self.assign_all(fetcher);
        }
        self.park(fetcher, &new)
    }

    /// Gives back what the group wants back, or all of it in an eager group.
    pub(super) fn release(
        &mut self,
        fetcher: &mut Fetcher,
        partitions: &[TopicPartition],
    ) -> Result<(), Refusal> {
        if is_eager(&fetcher.client) {
            fetcher.client.unassign()?;
            self.stopping.extend(std::mem::take(&mut self.parked));
            let inputs: Vec<TopicPartition> =
                std::mem::take(&mut self.inputs).into_keys().collect();
            self.stopping.extend(inputs.iter().cloned());
            fetcher.inputs.clear();
            return self.await_stop(&fetcher.client, &inputs.iter().collect::<Vec<_>>());
        }
        let assigned: Vec<&TopicPartition> = partitions
            .iter()
            .filter(|partition| self.parked.contains(partition) || self.has_input(partition))
            .collect();
        // An empty list is an answer too.
        self.unassign(&fetcher.client, &assigned)?;
        let mut read = Vec::new();
        for partition in assigned {
            fetcher.inputs.remove(partition);
            if self.inputs.remove(partition).is_some() {
                read.push(partition);
            }
        }
        self.await_stop(&fetcher.client, &read)
    }

    /// Starts reading inputs at these offsets.
    pub(super) fn add(
        &mut self,
        fetcher: &mut Fetcher,
        inputs: &[Input],
        starts: &[i64],
    ) -> Result<(), Refusal> {
        for input in inputs {
            fetcher
                .inputs
                .insert(&fetcher.client, &input.partition, input.slot)?;
        }
        let partitions: Vec<&TopicPartition> =
            inputs.iter().map(|input| &input.partition).collect();
        let promoted: BTreeSet<&TopicPartition> = partitions
            .iter()
            .copied()
            .filter(|partition| self.parked.contains(*partition))
            .collect();
        let is_eager = is_eager(&fetcher.client);
        if !is_eager {
            let promoted: Vec<&TopicPartition> = promoted.iter().copied().collect();
            if !promoted.is_empty() {
                self.unassign(&fetcher.client, &promoted)?;
            }
            self.prepare(fetcher, &partitions)?;
            let listed = start_list(partitions.iter().copied().zip(starts.iter().copied()))?;
            fetcher.client.incremental_assign(&listed)?;
        }
        for (partition, start) in partitions.into_iter().zip(starts) {
            self.parked.remove(partition);
            let input = InputState {
                start: *start,
                is_subscribed: promoted.contains(partition),
                is_paused: false,
            };
            self.inputs.insert(partition.clone(), input);
        }
        if is_eager {
            self.assign_all(fetcher)?;
        }
        Ok(())
    }

    /// Stops reading inputs. `is_revoking` says that the group is about to get everything back, so that an eager group need
    /// not be assigned the rest once more.
    pub(super) fn remove(
        &mut self,
        fetcher: &mut Fetcher,
        partitions: &[TopicPartition],
        is_revoking: bool,
    ) -> Result<(), Refusal> {
        let known: Vec<&TopicPartition> = partitions
            .iter()
            .filter(|partition| self.has_input(partition))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let is_eager = is_eager(&fetcher.client);
        if !is_eager {
            // It may have been unassigned before, and not have stopped in time.
            let assigned: Vec<&TopicPartition> = known
                .iter()
                .copied()
                .filter(|partition| !self.stopping.contains(*partition))
                .collect();
            self.unassign(&fetcher.client, &assigned)?;
            self.await_stop(&fetcher.client, &known)?;
        }
        let mut still_ours = Vec::new();
        for partition in known {
            fetcher.inputs.remove(partition);
            let input = self.inputs.remove(partition);
            if input.is_some_and(|input| input.is_subscribed) {
                still_ours.push(partition);
            }
        }
        if is_eager {
            self.parked.extend(still_ours.into_iter().cloned());
            return if is_revoking {
                Ok(())
            } else {
                self.assign_all(fetcher)
            };
        }
        if still_ours.is_empty() {
            return Ok(());
        }
        self.park(fetcher, &still_ours)
    }

    /// Stops or continues fetching inputs that stay assigned.
    pub(super) fn set_paused(
        &mut self,
        client: &Client,
        partitions: &[TopicPartition],
        is_paused: bool,
    ) -> Result<(), Refusal> {
        let changed: Vec<&TopicPartition> = partitions
            .iter()
            .filter(|partition| {
                self.inputs
                    .get(partition)
                    .is_some_and(|input| input.is_paused != is_paused)
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let listed = list(changed.iter().copied());
        if is_paused {
            client.pause(&listed)?;
        } else {
            client.resume(&listed)?;
        }
        for partition in changed {
            if is_paused {
                self.paused.insert(partition.clone());
            } else {
                self.paused.remove(partition);
            }
            if let Some(input) = self.inputs.get_mut(partition) {
                input.is_paused = is_paused;
            }
        }
        Ok(())
    }

    /// Assigns partitions paused before they start: nothing is asked of the brokers about them, and their offset does not
    /// matter.
    fn park(&mut self, fetcher: &Fetcher, partitions: &[&TopicPartition]) -> Result<(), Refusal> {
        self.mark_paused(fetcher, partitions)?;
        let parked = start_list(partitions.iter().map(|partition| (*partition, 0)))?;
        // An empty list is an answer to the group too.
        fetcher.client.incremental_assign(&parked)?;
        self.parked
            .extend(partitions.iter().map(|partition| (*partition).clone()));
        Ok(())
    }

    /// Pauses partitions that need not be assigned yet.
    fn mark_paused(
        &mut self,
        fetcher: &Fetcher,
        partitions: &[&TopicPartition],
    ) -> Result<(), Refusal> {
        if partitions.is_empty() {
            return Ok(());
        }
        for partition in partitions {
            // Makes librdkafka know a partition that it has not met: it passes over a pause of one it does not know.
            fetcher
                .records
                .take_partition(&partition.topic, partition.partition)?;
        }
        fetcher.client.pause(&list(partitions.iter().copied()))?;
        self.paused
            .extend(partitions.iter().map(|partition| (*partition).clone()));
        Ok(())
    }

    /// Takes partitions out of the assignment and remembers that they are being stopped.
    fn unassign(&mut self, client: &Client, partitions: &[&TopicPartition]) -> Result<(), Refusal> {
        client.incremental_unassign(&list(partitions.iter().copied()))?;
        for partition in partitions {
            self.parked.remove(*partition);
            self.stopping.insert((*partition).clone());
        }
        Ok(())
    }

    /// Waits until partitions that have been read, and are unassigned now, have stopped. A poll that takes a record of one
    /// while it stops can note its position behind librdkafka's forgetting it, and that position would then be taken for the
    /// next assignment's, whose records it skips or repeats when it is committed.
    fn await_stop(
        &mut self,
        client: &Client,
        partitions: &[&TopicPartition],
    ) -> Result<(), Refusal> {
        client.wait_until_stopped(&list(partitions.iter().copied()), STOP_MAX)?;
        for partition in partitions {
            self.stopping.remove(*partition);
        }
        Ok(())
    }

    /// Prepares partitions that are not assigned for being read: waits until they have stopped, takes their pause mark away,
    /// and sends what is fetched for them to the queue of records. All of this must come before they are assigned.
    fn prepare(
        &mut self,
        fetcher: &Fetcher,
        partitions: &[&TopicPartition],
    ) -> Result<(), Refusal> {
        let take = |from: &mut BTreeSet<TopicPartition>| {
            list(
                partitions
                    .iter()
                    .copied()
                    .filter(|partition| from.remove(*partition)),
            )
        };
        // librdkafka takes the forwarding back when it stops a partition, so that must be over first.
        let stopping = take(&mut self.stopping);
        fetcher.client.wait_until_stopped(&stopping, STOP_MAX)?;
        let paused = take(&mut self.paused);
        if paused.count() > 0 {
            fetcher.client.resume(&paused)?;
        }
        for partition in partitions {
            fetcher
                .records
                .take_partition(&partition.topic, partition.partition)?;
        }
        Ok(())
    }

    /// Assigns everything anew, each input where it stands.
    fn assign_all(&mut self, fetcher: &Fetcher) -> Result<(), Refusal> {
        let client = &fetcher.client;
        for position in client.positions(&list(self.inputs.keys()))? {
            let partition = TopicPartition::new(position.topic, position.partition);
            if let Some(input) = self.inputs.get_mut(&partition)
                && position.offset >= 0
            {
                input.start = position.offset;
            }
        }
        client.assign(&TopicPartitionList::new())?;
        let all: Vec<(TopicPartition, i64)> = self
            .inputs
            .iter()
            .map(|(partition, input)| (partition.clone(), input.start))
            .chain(self.parked.iter().map(|partition| (partition.clone(), 0)))
            .collect();
        let partitions: Vec<&TopicPartition> = all.iter().map(|(partition, _)| partition).collect();
        self.stopping
            .extend(partitions.iter().map(|partition| (*partition).clone()));
        self.prepare(fetcher, &partitions)?;
        let stay_paused: Vec<&TopicPartition> = partitions
            .into_iter()
            .filter(|partition| {
                self.inputs
                    .get(*partition)
                    .is_none_or(|input| input.is_paused)
            })
            .collect();
        self.mark_paused(fetcher, &stay_paused)?;
        client.assign(&start_list(
            all.iter().map(|(partition, start)| (partition, *start)),
        )?)
    }
}

/// A list of partitions with the offsets to start at.
fn start_list<'a>(
    starts: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
) -> Result<TopicPartitionList, Refusal> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in starts {
        list.add_partition_offset(
            &partition.topic,
            partition.partition,
            Offset::Offset(offset),
        )
        .map_err(|_| Refusal::of(RDKafkaErrorCode::InvalidArgument))?;
    }
    Ok(list)
}
