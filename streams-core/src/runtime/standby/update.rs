//! Keeping standby copies up to date: reading their changelogs, as far as they may.

use super::{POLL_TIMEOUT, StandbyCopy, StandbyTasks, is_due, name};
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{
    Broker, ConsumerOptions, GroupConsumer, Input, InputSlot, LogReader, StartOffset,
};
use crate::runtime::standby::listener::SuspendReason;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const RECORDS_PER_POLL_MAX: usize = 8192;
/// How long one question to the brokers may take: as long as promotions may have to wait for the answer.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after a failure copies are opened again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How often the group is asked how far copies of source topics may go, at most and at least.
const COMMITTED_INTERVAL_MIN: Duration = Duration::from_millis(100);
const COMMITTED_INTERVAL_MAX: Duration = Duration::from_secs(5);

impl<B: Broker> StandbyTasks<B> {
    /// The reader of all copies, made when it is needed: from where they stand, should they have had another one.
    pub(super) fn reader(&mut self) -> Result<&mut B::Reader> {
        if self.reader.is_none() {
            let client_id = format!("{}-restore-consumer", name(&self.context.worker.client_id));
            let mut reader = self.context.worker.broker.reader(&client_id)?;
            let stores = self.copies.values().flat_map(|copy| &copy.changelogs);
            let inputs: Vec<Input> = stores
                .filter(|store| !store.done)
                .map(|store| Input {
                    partition: store.changelog.clone(),
                    slot: store.slot,
                    offset: StartOffset::At(store.position),
                })
                .collect();
            if !inputs.is_empty() {
                reader.add_inputs(&inputs)?;
            }
            self.reader = Some(reader);
        }
        self.reader
            .as_mut()
            .ok_or_else(|| Error::fatal("the reader was just made"))
    }

    pub(super) fn new_slot(&mut self) -> InputSlot {
        let slot = InputSlot(self.next_slot);
        self.next_slot = self.next_slot.wrapping_add(1);
        slot
    }

    /// A new copy is not kept waiting for what is committed.
    pub(super) fn look_at_committed_soon(&mut self) {
        self.committed_at = None;
    }

    /// Opens what waits and reads once.
    pub(super) fn update(&mut self) -> Result<()> {
        self.open_waiting()?;
        let settings = &self.context.worker.settings;
        let (commit_interval, member_interval) =
            (settings.commit_interval, settings.member_interval);
        let now = self.now();
        let interval = commit_interval.clamp(COMMITTED_INTERVAL_MIN, COMMITTED_INTERVAL_MAX);
        if is_due(self.committed_at, interval, now) {
            self.committed_at = Some(now);
            self.follow_committed()?;
        }
        if is_due(self.ends_at, member_interval, now) {
            self.ends_at = Some(now);
            self.look_at_ends()?;
        }
        if self.slots.is_empty() {
            return Ok(());
        }
        let timeout = POLL_TIMEOUT.min(member_interval / 4);
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let polled = self
            .reader()?
            .poll(timeout, RECORDS_PER_POLL_MAX, &mut records);
        // Other partitions may have delivered beside one that fails, and go on from behind these records.
        self.apply(&records);
        records.clear();
        self.records = records;
        polled?;
        self.stop_at_committed()
    }

    /// Applies records run by run. A copy that fails is closed and opened again later.
    fn apply(&mut self, records: &[(InputSlot, B::Record)]) {
        for run in records.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(task, index)) = self.slots.get(&run[0].0) else {
                continue;
            };
            let Some(copy) = self.copies.get_mut(&task) else {
                continue;
            };
            let Some(store) = copy.changelogs.iter_mut().find(|s| s.index == index) else {
                continue;
            };
            match store.apply(&mut copy.open.stores, run) {
                Ok(records) => {
                    if let Some(listener) = &self.context.listener {
                        let (name, changelog) = (&store.name, &store.changelog);
                        let end = store.end.max(store.position);
                        listener.on_batch_loaded(
                            name,
                            changelog,
                            task,
                            store.position,
                            records,
                            end,
                        );
                    }
                }
                Err(error) => {
                    tracing::warn!(%task, store = %store.name, %error, "standby copy cannot be kept up to date");
                    self.close_copy(task, SuspendReason::Migrated);
                    self.retry_at = self.now() + RETRY_INTERVAL;
                }
            }
        }
    }

    /// Takes over how far the reader is, past markers and gaps, where everything before has been applied.
    pub(super) fn settle(&mut self, copy: &mut StandbyCopy) -> Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let stores = &mut copy.open.stores;
        for store in &mut copy.changelogs {
            let read = match reader.position(&store.changelog) {
                Some(read) if !store.done => read,
                _ => continue,
            };
            // Records from the end of a bounded one on were read and not applied.
            let position = if store.bounded {
                read.min(store.end)
            } else {
                read
            };
            if position > store.position {
                stores.restore(store.index, &[], position)?;
                store.position = position;
            }
        }
        Ok(())
    }

    /// Stops to read source topics where the group's committed offset was.
    fn stop_at_committed(&mut self) -> Result<()> {
        let mut finished = Vec::new();
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        for copy in self.copies.values_mut() {
            let stores = &mut copy.open.stores;
            let bounded = copy.changelogs.iter_mut().filter(|s| s.bounded && !s.done);
            for store in bounded {
                let read = reader.position(&store.changelog).unwrap_or(store.position);
                if read.max(store.position) < store.end {
                    continue;
                }
                if store.position < store.end {
                    stores.restore(store.index, &[], store.end)?;
                    store.position = store.end;
                }
                store.done = true;
                self.slots.remove(&store.slot);
                finished.push(store.changelog.clone());
            }
        }
        if finished.is_empty() {
            return Ok(());
        }
        reader.remove_inputs(&finished)
    }

    /// Reads on in source topics that serve as changelogs, up to what the group has committed by now: what is behind that is
    /// not part of any task's state yet.
    fn follow_committed(&mut self) -> Result<()> {
        let bounded: Vec<TopicPartition> = self
            .copies
            .values()
            .flat_map(|copy| &copy.changelogs)
            .filter(|store| store.bounded)
            .map(|store| store.changelog.clone())
            .collect();
        if bounded.is_empty() {
            return Ok(());
        }
        let worker = &self.context.worker;
        let group = match &mut self.group {
            Some(group) => group,
            none => none.insert(worker.broker.consumer(&ConsumerOptions {
                group_id: worker.settings.application_id.to_string(),
                client_id: format!("{}-consumer", name(&worker.client_id)),
                instance_id: None,
                auto_offset_reset: "none".to_owned(),
            })?),
        };
        let committed = group.committed(&bounded, QUESTION_TIMEOUT)?;
        let ends: BTreeMap<TopicPartition, i64> = bounded
            .into_iter()
            .zip(committed)
            .filter_map(|(partition, committed)| Some((partition, committed?.offset)))
            .collect();
        let mut inputs = Vec::new();
        for (task, copy) in &mut self.copies {
            copy.is_measured = true;
            for store in copy.changelogs.iter_mut().filter(|store| store.bounded) {
                let Some(end) = ends.get(&store.changelog) else {
                    continue;
                };
                store.end = store.end.max(*end);
                if store.done && store.end > store.position {
                    store.done = false;
                    store.slot = InputSlot(self.next_slot);
                    self.next_slot = self.next_slot.wrapping_add(1);
                    self.slots.insert(store.slot, (*task, store.index));
                    inputs.push(Input {
                        partition: store.changelog.clone(),
                        slot: store.slot,
                        offset: StartOffset::At(store.position),
                    });
                }
            }
        }
        self.add_inputs(&inputs)
    }

    pub(super) fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        if inputs.is_empty() {
            return Ok(());
        }
        // A reader that is made now begins with everything that is to be read.
        match &mut self.reader {
            None => self.reader().map(|_| ()),
            Some(reader) => reader
                .add_inputs(inputs)
                .inspect_err(|_| self.reader = None),
        }
    }

    /// Looks how far the changelogs go by now, so that the others know how far the copies are behind.
    fn look_at_ends(&mut self) -> Result<()> {
        let partitions: Vec<TopicPartition> = self
            .copies
            .values()
            .flat_map(|copy| &copy.changelogs)
            .filter(|store| !store.bounded)
            .map(|store| store.changelog.clone())
            .collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let bounds = self.reader()?.offsets(&partitions, QUESTION_TIMEOUT)?;
        let mut copies = std::mem::take(&mut self.copies);
        let stores = copies.values_mut().flat_map(|copy| &mut copy.changelogs);
        for (store, (_, end)) in stores.filter(|store| !store.bounded).zip(bounds) {
            store.end = end;
        }
        let settled = copies.values_mut().try_for_each(|copy| self.settle(copy));
        let now = self.now();
        for (task, copy) in &mut copies {
            copy.note_caught_up(*task, now);
        }
        self.copies = copies;
        settled
    }

    pub(super) fn on_error(&mut self, error: &Error) {
        match error.kind() {
            ErrorKind::Retriable => tracing::debug!(%error, "standby copies wait for the broker"),
            // What was to be read next is deleted: look again at what there is, from the start if need be.
            ErrorKind::Data => {
                tracing::warn!(%error, "standby copies are looked at again");
                for task in self.tasks_out_of_range() {
                    self.close_copy(task, SuspendReason::Migrated);
                    self.waiting.insert(task);
                }
                self.reader = None;
            }
            _ => {
                tracing::warn!(%error, "standby copies are closed and opened again later");
                for task in self.copies.keys().copied().collect::<Vec<_>>() {
                    self.close_copy(task, SuspendReason::Migrated);
                }
                self.reader = None;
                self.group = None;
                self.retry_at = self.now() + RETRY_INTERVAL;
            }
        }
    }

    /// The tasks with a changelog that no longer holds what is to be read next; all when the broker does not say.
    fn tasks_out_of_range(&mut self) -> BTreeSet<TaskId> {
        let mut stores = Vec::new();
        for (task, copy) in &self.copies {
            for store in copy.changelogs.iter().filter(|store| !store.done) {
                stores.push((*task, store.changelog.clone(), store.position));
            }
        }
        let partitions: Vec<TopicPartition> = stores.iter().map(|(_, p, _)| p.clone()).collect();
        let mut gone = BTreeSet::new();
        if let Some(reader) = &mut self.reader
            && let Ok(bounds) = reader.offsets(&partitions, QUESTION_TIMEOUT)
        {
            for ((task, partition, applied), (first, end)) in stores.into_iter().zip(bounds) {
                let position = reader.position(&partition).unwrap_or(applied);
                if position < first || position > end {
                    gone.insert(task);
                }
            }
        }
        if gone.is_empty() {
            gone.extend(self.copies.keys());
        }
        gone
    }
}
