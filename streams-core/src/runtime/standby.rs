//! Standby copies of tasks that run on other instances: their stores, kept up to date from the changelogs, without an end.
//!
//! `members` says who is there, `standby_placement` which copies this instance keeps. When a stream thread of this instance is
//! given such a task, the copy is left to it with its stores open (`local_tasks`), and only what is missing is restored. A task
//! that this instance gives up becomes a copy from what is on its disk. Nothing waits for a copy: whatever fails is tried again.
//!
//! [`StandbyTasks`] advances by [`StandbyTasks::turn`] and owns no thread, so that a simulation can drive it.

use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{
    Broker, ConsumerOptions, GroupConsumer, Input, InputSlot, LogReader, StartOffset,
};
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::member_record::{Member, TaskCopy};
use crate::runtime::members::{MemberList, MemberOptions};
use crate::runtime::restore::RestoreContext;
use crate::runtime::restore_pool::Next;
use crate::runtime::restore_request::OpenStores;
use crate::runtime::restoring_store::RestoringStore;
use crate::runtime::standby_listener::{StandbyUpdateListener, SuspendReason};
use crate::runtime::standby_placement::{may_drop, place};
use crate::runtime::worker::WorkerContext;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

const RECORDS_PER_POLL_MAX: usize = 8192;
/// How long one turn waits for records: a task that is given to this instance waits for its copy as long.
const POLL_TIMEOUT: Duration = Duration::from_millis(25);
/// How long after a failure copies are opened again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How often at most the group is asked how far copies of source topics may go.
const COMMITTED_INTERVAL_MIN: Duration = Duration::from_millis(100);
const COMMITTED_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// What standby copies are kept with.
pub(crate) struct StandbyContext<B: Broker> {
    pub(crate) worker: Arc<WorkerContext<B>>,
    pub(crate) restore: Arc<RestoreContext<B>>,
    pub(crate) listener: Option<Arc<dyn StandbyUpdateListener>>,
}

/// The standby copies of one instance.
pub(crate) struct StandbyTasks<B: Broker> {
    pub(super) context: Arc<StandbyContext<B>>,
    members: MemberList<B>,
    /// The tasks with stores that have a changelog.
    stateful: BTreeSet<TaskId>,
    /// Copies that are to be opened.
    pub(super) waiting: BTreeSet<TaskId>,
    /// Copies that were left to a thread which lost the task before it took them.
    pub(super) returned: BTreeMap<TaskId, OpenStores>,
    pub(super) copies: BTreeMap<TaskId, StandbyCopy>,
    reader: Option<B::Reader>,
    /// Asks what is committed; it never joins the group.
    group: Option<B::Consumer>,
    pub(super) slots: HashMap<InputSlot, (TaskId, usize)>,
    next_slot: u32,
    records: Vec<(InputSlot, B::Record)>,
    given: BTreeSet<TaskId>,
    /// Tasks whose folders were there when that was looked at last.
    kept: BTreeSet<TaskId>,
    placed_at: Option<Duration>,
    committed_at: Option<Duration>,
    ends_at: Option<Duration>,
    /// Nothing is opened before this.
    retry_at: Duration,
}

/// One copy.
pub(crate) struct StandbyCopy {
    pub(super) open: OpenStores,
    /// Those that are `done` are not read at the moment: a source topic up to what is committed.
    pub(super) changelogs: Vec<RestoringStore>,
}

impl StandbyCopy {
    /// How many offsets it is behind.
    pub(super) fn lag(&self) -> u64 {
        let behind = |store: &RestoringStore| (store.end - store.position).max(0).unsigned_abs();
        self.changelogs.iter().map(behind).sum()
    }
}

impl<B: Broker> StandbyTasks<B> {
    pub(crate) fn new(context: Arc<StandbyContext<B>>) -> Self {
        let worker = &context.worker;
        let members = MemberList::new(
            Arc::clone(&worker.broker),
            Arc::clone(&worker.clock),
            MemberOptions {
                topic: worker.tasks.topic().into(),
                process_id: worker.process_id,
                client_id: name(&worker.client_id),
                interval: worker.settings.member_interval,
            },
        );
        let has_changelog = |task: &TaskId| {
            worker
                .sub_topology(*task)
                .is_ok_and(|part| part.stores.iter().any(|store| store.changelog.is_some()))
        };
        let stateful = worker.tasks.ids().iter().copied().filter(has_changelog);
        StandbyTasks {
            stateful: stateful.collect(),
            members,
            context,
            waiting: BTreeSet::new(),
            returned: BTreeMap::new(),
            copies: BTreeMap::new(),
            reader: None,
            group: None,
            slots: HashMap::new(),
            next_slot: 0,
            records: Vec::new(),
            given: BTreeSet::new(),
            kept: BTreeSet::new(),
            placed_at: None,
            committed_at: None,
            ends_at: None,
            retry_at: Duration::ZERO,
        }
    }

    /// Keeps copies until the application stops, and tells the others then.
    pub(crate) fn run(mut self, lifecycle: &Lifecycle) {
        while !lifecycle.is_stopping() {
            if let Next::Wait(wait) = self.turn() {
                lifecycle.wait_for_stop(wait);
            }
        }
        self.close();
    }

    /// Leaves copies to the threads that need them, opens and closes others as the placement wants it, and reads once.
    pub(crate) fn turn(&mut self) -> Next {
        let given = self.context.worker.local_tasks.given();
        self.promote(&given);
        self.returned
            .extend(self.context.worker.local_tasks.take_unwanted());
        self.waiting.extend(self.returned.keys());
        let own = self.member(&given);
        let heard = self.members.turn(&own);
        let now = self.now();
        let interval = self.context.worker.settings.member_interval;
        if heard || given != self.given || is_due(self.placed_at, interval, now) {
            if is_due(self.placed_at, interval, now) {
                self.kept = self.context.restore.directory.kept_tasks();
                self.placed_at = Some(now);
            }
            self.given = given;
            self.follow_placement(&own);
        }
        if now >= self.retry_at
            && let Err(error) = self.update()
        {
            self.on_error(&error);
        }
        if self.slots.is_empty() {
            Next::Wait(POLL_TIMEOUT.min(interval / 4))
        } else {
            Next::Read
        }
    }

    /// Closes all copies and tells the others that this instance is gone.
    pub(crate) fn close(&mut self) {
        self.members.leave();
        for task in self.copies.keys().copied().collect::<Vec<_>>() {
            self.close_copy(task, SuspendReason::Migrated);
        }
        let now = self.now();
        let returned = std::mem::take(&mut self.returned);
        for (task, open) in returned
            .into_iter()
            .chain(self.context.worker.local_tasks.take_all_warm())
        {
            open.close(task, now);
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.context.worker.clock.elapsed()
    }

    /// What this instance tells the others.
    fn member(&self, given: &BTreeSet<TaskId>) -> Member {
        let kept = self.kept.iter().filter(|task| !given.contains(task));
        let mut copies: BTreeMap<TaskId, TaskCopy> =
            kept.map(|task| (*task, TaskCopy::Kept)).collect();
        for (task, copy) in &self.copies {
            copies.insert(*task, TaskCopy::Standby(copy.lag()));
        }
        Member {
            host: self.context.worker.settings.application_server.clone(),
            given: given.clone(),
            copies,
        }
    }

    fn follow_placement(&mut self, own: &Member) {
        let Some(members) = self.members.all(own) else {
            return;
        };
        let id = self.context.worker.process_id;
        let replicas = self.context.worker.settings.standby_replicas;
        let placed = place(&members, &self.stateful, replicas);
        let is_wanted = |task: &TaskId| placed.get(task).is_some_and(|ids| ids.contains(&id));
        let wanted = self.stateful.iter().copied().filter(is_wanted);
        let (returned, copies) = (&self.returned, &self.copies);
        self.waiting = wanted
            .filter(|task| !copies.contains_key(task))
            .chain(returned.keys().copied())
            .collect();
        let unwanted: Vec<TaskId> = copies
            .keys()
            .copied()
            .filter(|task| !is_wanted(task) && may_drop(&members, id, *task, replicas))
            .collect();
        for task in unwanted {
            self.close_copy(task, SuspendReason::Migrated);
        }
    }

    /// Leaves the copies of tasks that this instance runs now to the threads that open these.
    fn promote(&mut self, given: &BTreeSet<TaskId>) {
        self.waiting.retain(|task| !given.contains(task));
        let promoted = self.copies.keys().copied();
        for task in promoted.filter(|t| given.contains(t)).collect::<Vec<_>>() {
            if let Some(open) = self.stop_copy(task, SuspendReason::Promoted) {
                self.context.worker.local_tasks.put_warm(task, open);
            }
        }
    }

    fn close_copy(&mut self, task: TaskId, reason: SuspendReason) {
        let now = self.now();
        if let Some(open) = self.stop_copy(task, reason) {
            open.close(task, now);
        }
    }

    /// Stops to read for a copy. Its stores stand where the log says they do, behind markers and gaps, too.
    fn stop_copy(&mut self, task: TaskId, reason: SuspendReason) -> Option<OpenStores> {
        let mut copy = self.copies.remove(&task)?;
        if let Err(error) = self.settle(&mut copy) {
            tracing::debug!(%task, %error, "the copy stands further back");
        }
        let reading: Vec<TopicPartition> = copy
            .changelogs
            .iter()
            .filter(|store| !store.done)
            .map(|store| {
                self.slots.remove(&store.slot);
                store.changelog.clone()
            })
            .collect();
        if let Some(reader) = &mut self.reader
            && !reading.is_empty()
            && let Err(error) = reader.remove_inputs(&reading)
        {
            // A new one is made for what is still read.
            tracing::debug!(%error, "reader dropped");
            self.reader = None;
        }
        let lag = copy.lag();
        match reason {
            SuspendReason::Promoted => tracing::info!(%task, lag, "standby copy is promoted"),
            SuspendReason::Migrated => tracing::info!(%task, lag, "standby copy is closed"),
        }
        if let Some(listener) = &self.context.listener {
            for store in &copy.changelogs {
                let end = store.end.max(store.position);
                let (name, changelog) = (&store.name, &store.changelog);
                listener.on_update_suspended(name, changelog, store.position, end, reason);
            }
        }
        Some(copy.open)
    }

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

    fn update(&mut self) -> Result<()> {
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
    fn settle(&mut self, copy: &mut StandbyCopy) -> Result<()> {
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
        let committed = group.committed(&bounded, worker.settings.request_timeout)?;
        let ends: BTreeMap<TopicPartition, i64> = bounded
            .into_iter()
            .zip(committed)
            .filter_map(|(partition, committed)| Some((partition, committed?.offset)))
            .collect();
        let mut inputs = Vec::new();
        for (task, copy) in &mut self.copies {
            for store in copy.changelogs.iter_mut().filter(|store| store.bounded) {
                let Some(end) = ends.get(&store.changelog) else {
                    continue;
                };
                store.end = store.end.max(*end);
                if store.done && store.end > store.position {
                    store.done = false;
                    let slot = InputSlot(self.next_slot);
                    self.next_slot = self.next_slot.wrapping_add(1);
                    store.slot = slot;
                    self.slots.insert(slot, (*task, store.index));
                    inputs.push(Input {
                        partition: store.changelog.clone(),
                        slot,
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
        let timeout = self.context.restore.request_timeout;
        let bounds = self.reader()?.offsets(&partitions, timeout)?;
        let mut copies = std::mem::take(&mut self.copies);
        let stores = copies.values_mut().flat_map(|copy| &mut copy.changelogs);
        for (store, (_, end)) in stores.filter(|store| !store.bounded).zip(bounds) {
            store.end = end;
        }
        let settled = copies.values_mut().try_for_each(|copy| self.settle(copy));
        self.copies = copies;
        settled
    }

    fn on_error(&mut self, error: &Error) {
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
        let timeout = self.context.restore.request_timeout;
        let mut gone = BTreeSet::new();
        if let Some(reader) = &mut self.reader
            && let Ok(bounds) = reader.offsets(&partitions, timeout)
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

/// What the thread is called that keeps the standby copies, and its clients.
pub(crate) fn name(client_id: &str) -> String {
    format!("{client_id}-StandbyUpdater")
}

fn is_due(last: Option<Duration>, interval: Duration, now: Duration) -> bool {
    last.is_none_or(|last| now >= last + interval)
}
