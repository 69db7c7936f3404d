//! Standby copies of tasks that run on other instances: their stores, kept up to date from the changelogs, without an end.
//!
//! `members` says who is there, `placement` which copies this instance keeps. When a stream thread of this instance is
//! given such a task, the copy is left to it with its stores open (`local_tasks`), and only what is missing is restored. A task
//! that this instance gives up becomes a copy from what is on its disk. Nothing waits for a copy: whatever fails is tried again.
//!
//! [`StandbyTasks`] advances by [`StandbyTasks::turn`] and owns no thread, so that a simulation can drive it.

pub(crate) mod listener;
mod open;
pub(crate) mod placement;
mod update;

use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, InputSlot, LogReader};
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::member_record::{Member, TaskCopy};
use crate::runtime::members::{MemberList, MemberOptions};
use crate::runtime::restore::RestoreContext;
use crate::runtime::restore_pool::Next;
use crate::runtime::restore_request::OpenStores;
use crate::runtime::restoring_store::RestoringStore;
use crate::runtime::standby::listener::{StandbyUpdateListener, SuspendReason};
use crate::runtime::standby::placement::{may_drop, place};
use crate::runtime::worker::WorkerContext;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How long one turn waits for records: a task that is given to this instance waits for its copy as long.
const POLL_TIMEOUT: Duration = Duration::from_millis(25);

/// What standby copies are kept with.
pub(crate) struct StandbyContext<B: Broker> {
    pub(crate) worker: Arc<WorkerContext<B>>,
    pub(crate) restore: Arc<RestoreContext<B>>,
    pub(crate) listener: Option<Arc<dyn StandbyUpdateListener>>,
}

/// The standby copies of one instance.
pub(crate) struct StandbyTasks<B: Broker> {
    context: Arc<StandbyContext<B>>,
    members: MemberList<B>,
    /// The tasks with stores that have a changelog.
    stateful: BTreeSet<TaskId>,
    /// Copies that are to be opened.
    waiting: BTreeSet<TaskId>,
    /// Copies that were left to a thread which lost the task before it took them.
    returned: BTreeMap<TaskId, OpenStores>,
    copies: BTreeMap<TaskId, StandbyCopy>,
    reader: Option<B::Reader>,
    /// Asks what is committed; it never joins the group.
    group: Option<B::Consumer>,
    slots: HashMap<InputSlot, (TaskId, usize)>,
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
    open: OpenStores,
    /// Those that are `done` are not read at the moment: a source topic up to what is committed.
    changelogs: Vec<RestoringStore>,
    /// How far its changelogs went when it was opened, until it has come there.
    catching_up: Option<CatchingUp>,
}

/// What a copy had to catch up with.
pub(crate) struct CatchingUp {
    /// By changelog of the copy.
    ends: Vec<i64>,
    since: Duration,
}

impl StandbyCopy {
    /// Says once that it has everything that was there when it was opened.
    fn note_caught_up(&mut self, task: TaskId, now: Duration) {
        let Some(CatchingUp { ends, since }) = &self.catching_up else {
            return;
        };
        let stores = self.changelogs.iter();
        if stores.zip(ends).any(|(store, end)| store.position < *end) {
            return;
        }
        let records: u64 = self.changelogs.iter().map(|s| s.records_total).sum();
        let seconds = now.saturating_sub(*since).as_secs_f64();
        tracing::info!(%task, records, seconds, "standby copy has caught up");
        self.catching_up = None;
    }

    /// How many offsets it is behind.
    fn lag(&self) -> u64 {
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

    fn now(&self) -> Duration {
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
}

/// What the thread is called that keeps the standby copies, and its clients.
pub(crate) fn name(client_id: &str) -> String {
    format!("{client_id}-StandbyUpdater")
}

fn is_due(last: Option<Duration>, interval: Duration, now: Duration) -> bool {
    last.is_none_or(|last| now >= last + interval)
}
