//! Copies of tasks that run on other instances: their stores, kept up to date from the changelogs, without an end. They are
//! standby replicas, or prepare a move.
//!
//! `members` says who is there, `placement` and `warm_up` which copies this instance keeps, and `allowed` which tasks it may be
//! given with what it has. When a stream thread of this instance is
//! given such a task, the copy is left to it with its stores open (`local_tasks`), and only what is missing is restored. A task
//! that this instance gives up becomes a copy from what is on its disk. Nothing waits for a copy: whatever fails is tried again.
//!
//! [`StandbyTasks`] advances by [`StandbyTasks::turn`] and owns no thread, so that a simulation can drive it.

mod allowed;
pub(crate) mod listener;
mod open;
pub(crate) mod placement;
mod subscription;
mod update;
mod warm_up;

use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, InputSlot, LogReader};
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::member_record::{Member, OpenCopy, TaskCopy};
use crate::runtime::members::{MemberList, MemberOptions};
use crate::runtime::restore::RestoreContext;
use crate::runtime::restore_pool::Next;
use crate::runtime::restore_request::OpenStores;
use crate::runtime::restoring_store::RestoringStore;
use crate::runtime::standby::allowed::{Allowed, Patience};
use crate::runtime::standby::listener::{StandbyUpdateListener, SuspendReason};
use crate::runtime::standby::placement::{may_drop, place};
use crate::runtime::standby::subscription::{Sizes, member_id};
use crate::runtime::standby::warm_up::{is_run, is_settled, warm_ups};
use crate::runtime::worker::WorkerContext;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long one turn waits for records: a task that is given to this instance waits for its copy as long.
const POLL_TIMEOUT: Duration = Duration::from_millis(25);
/// How long one turn waits when there is no copy.
const IDLE_TIMEOUT: Duration = Duration::from_millis(100);
/// After how many intervals without a record an instance is gone, unless the group waits longer for it.
const INTERVALS_MAX: u32 = 4;
/// How many times further than a copy may be behind to become warm it may fall behind and stay so: what is read from a changelog
/// comes in batches.
const WARM_LAG_FACTOR: u64 = 10;

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
    /// By what the others know this instance.
    id: Uuid,
    started_at: Duration,
    allowed: Allowed,
    sizes: Sizes,
    /// The tasks that go only to instances which subscribe to them.
    movable: BTreeSet<TaskId>,
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
    /// The tasks of which this instance is to keep standby replicas.
    placed: BTreeSet<TaskId>,
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
    /// Whether it is known how far it is behind.
    is_measured: bool,
    /// Whether the task could go on from it at once.
    is_warm: bool,
    /// Whether it is there for a task that is to move, and no standby replica.
    is_warm_up: bool,
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
        let warm_up = self.is_warm_up;
        tracing::info!(%task, records, seconds, warm_up, "standby copy has caught up");
        self.catching_up = None;
    }

    /// Notes whether the task could go on from it at once.
    fn note_warmth(&mut self, acceptable_lag: u64) {
        let lag = self.lag();
        self.is_warm = self.is_measured
            && (lag <= acceptable_lag
                || self.is_warm && lag <= acceptable_lag.saturating_mul(WARM_LAG_FACTOR));
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
        let settings = &worker.settings;
        let id = member_id(worker.process_id, settings.instance_id.as_deref());
        let members = MemberList::new(
            Arc::clone(&worker.broker),
            Arc::clone(&worker.clock),
            MemberOptions {
                topic: worker.tasks.topic().into(),
                id,
                client_id: name(&worker.client_id),
                interval: settings.member_interval,
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
            movable: worker.tasks.own_topics().collect(),
            allowed: Allowed::new(Patience {
                interval: settings.member_interval,
                probing_interval: settings.probing_interval,
                session_timeout: settings.session_timeout,
            }),
            sizes: Sizes::default(),
            started_at: worker.clock.elapsed(),
            members,
            id,
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
            placed: BTreeSet::new(),
            kept: BTreeSet::new(),
            placed_at: None,
            committed_at: None,
            ends_at: None,
            retry_at: Duration::ZERO,
        }
    }

    /// Keeps copies until the application stops, and tells the others then, unless the group keeps its place.
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
        let now = self.now();
        let settings = &self.context.worker.settings;
        let (interval, acceptable_lag) = (settings.member_interval, settings.acceptable_lag);
        let is_due = is_due(self.placed_at, interval, now);
        if is_due {
            self.kept = self.context.restore.directory.kept_tasks();
            self.placed_at = Some(now);
        }
        let mut is_new = given != self.given || is_due;
        for copy in self.copies.values_mut() {
            let before = copy.is_warm;
            copy.note_warmth(acceptable_lag);
            is_new |= copy.is_warm != before;
        }
        let own = self.member(&given);
        is_new |= self.members.hear();
        if is_new {
            self.given = given;
            self.follow_placement(&own);
        }
        if is_new || self.allowed.tasks().is_none() {
            self.follow_members(&own);
        }
        // A start does not wait for it.
        self.members.tell_if_due(&own);
        if now >= self.retry_at
            && let Err(error) = self.update()
        {
            self.on_error(&error);
        }
        if !self.slots.is_empty() {
            return Next::Read;
        }
        let is_idle = self.copies.is_empty() && self.allowed.tasks().is_some();
        let wait = if is_idle { IDLE_TIMEOUT } else { POLL_TIMEOUT };
        Next::Wait(wait.min(interval / 4))
    }

    /// Closes all copies and tells the others that this instance is gone, unless the group keeps its place.
    pub(crate) fn close(&mut self) {
        let worker = &self.context.worker;
        if worker.settings.instance_id.is_none() && worker.lifecycle.leaves_group() {
            self.members.leave();
        }
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
            let open = OpenCopy {
                lag: copy.lag(),
                is_warm: copy.is_warm,
                is_warm_up: copy.is_warm_up,
            };
            copies.insert(*task, TaskCopy::Open(open));
        }
        let worker = &self.context.worker;
        let settings = &worker.settings;
        let silence_max = settings.poll_interval_max;
        let held = worker.local_tasks.held(self.now(), silence_max);
        Member {
            host: settings.application_server.clone(),
            threads: u32::try_from(worker.lifecycle.thread_count()).unwrap_or(u32::MAX),
            // The group keeps the place of a static member for as long.
            patience: match settings.instance_id {
                Some(_) => settings.session_timeout,
                None => settings.member_interval * INTERVALS_MAX,
            },
            given: given.intersection(&held).copied().collect(),
            copies,
        }
    }

    fn follow_placement(&mut self, own: &Member) {
        let Some(members) = self.members.all(own) else {
            return;
        };
        let (id, now) = (self.id, self.now());
        let settings = &self.context.worker.settings;
        let replicas = settings.standby_replicas;
        let placed = place(&members, &self.stateful, replicas);
        let is_placed = |task: &TaskId| placed.get(task).is_some_and(|ids| ids.contains(&id));
        // While tasks are on their way it is not known who will have how many.
        let is_settled = is_settled(&members, self.context.worker.tasks.ids());
        let warm_ups = match is_settled {
            true => warm_ups(&members, &self.movable, &placed, settings.warm_ups_max),
            false => BTreeSet::new(),
        };
        let (copies, kept, allowed) = (&self.copies, &self.kept, &self.allowed);
        let prepares = |task: &TaskId| match copies.get(task) {
            Some(copy) if !is_settled => copy.is_warm_up,
            _ => warm_ups.contains(&(id, *task)),
        };
        // A task that is at home nowhere may have it where its state is; whether that is worth anything is known once it is open.
        let reclaims = |task: &TaskId| {
            let is_homeless = allowed.idle(*task, now) >= settings.member_interval;
            let has_state = kept.contains(task) || copies.contains_key(task);
            is_homeless && has_state && members.len() > 1 && !is_run(&members, *task)
        };
        let is_wanted = |task: &TaskId| is_placed(task) || prepares(task) || reclaims(task);
        let wanted = self.stateful.iter().copied().filter(is_wanted);
        let waiting = wanted.filter(|task| !own.given.contains(task) && !copies.contains_key(task));
        self.waiting = waiting.chain(self.returned.keys().copied()).collect();
        let is_dispensable = |task: &TaskId, copy: &StandbyCopy| {
            !is_wanted(task) && (copy.is_warm_up || may_drop(&members, id, *task, replicas))
        };
        let unwanted: Vec<TaskId> = copies
            .iter()
            .filter(|(task, copy)| is_dispensable(task, copy))
            .map(|(task, _)| *task)
            .collect();
        self.placed = self.stateful.iter().copied().filter(is_placed).collect();
        for (task, copy) in &mut self.copies {
            copy.is_warm_up = !self.placed.contains(task);
        }
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
