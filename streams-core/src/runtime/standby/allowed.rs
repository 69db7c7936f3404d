//! Which tasks this instance lets the group give it, over time: wider at once where a task needs a home, wider together where
//! copies are ready for moves, and narrower only when that lasts, since each change is a rebalance.

use super::placement::Members;
use super::warm_up::{is_run, may_be_given};
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long changes are held back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How often instances tell each other of themselves.
    pub(super) interval: Duration,
    /// How long a copy that is ready waits for others, so that one rebalance moves the tasks of all.
    pub(super) probing_interval: Duration,
    /// How long a task may have no home because those who should take it do not.
    pub(super) session_timeout: Duration,
}

/// What is known at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) members: &'a Members,
    pub(super) own: Uuid,
    pub(super) tasks: &'a BTreeSet<TaskId>,
    /// Tasks with so little state that they can begin anywhere.
    pub(super) small: &'a BTreeSet<TaskId>,
    /// Whether more copies of this instance will be ready soon.
    pub(super) is_catching_up: bool,
    pub(super) now: Duration,
}

/// The tasks that this instance may be given.
#[derive(Debug)]
pub(super) struct Allowed {
    patience: Patience,
    /// Nothing as long as it is not known what there is to choose from.
    tasks: Option<BTreeSet<TaskId>>,
    /// Since when nobody runs a task.
    idle_since: BTreeMap<TaskId, Duration>,
    /// Since when there are tasks in here that others have the state of.
    unfit_since: BTreeMap<TaskId, Duration>,
    /// Since when copies wait for others.
    ready_since: Option<Duration>,
    narrowed_at: Option<Duration>,
}

impl Allowed {
    pub(super) fn new(patience: Patience) -> Self {
        Allowed {
            patience,
            tasks: None,
            idle_since: BTreeMap::new(),
            unfit_since: BTreeMap::new(),
            ready_since: None,
            narrowed_at: None,
        }
    }

    /// The tasks, once they are known.
    pub(super) fn tasks(&self) -> Option<&BTreeSet<TaskId>> {
        self.tasks.as_ref()
    }

    /// How long a task has been run by nobody.
    pub(super) fn idle(&self, task: TaskId, now: Duration) -> Duration {
        let since = self.idle_since.get(&task);
        since.map_or(Duration::ZERO, |since| now.saturating_sub(*since))
    }

    /// Any of these, since nothing is known of others.
    pub(super) fn allow_all(&mut self, tasks: &BTreeSet<TaskId>) {
        self.tasks = Some(tasks.clone());
    }

    /// Follows what is known by now; says whether anything has changed.
    pub(super) fn update(&mut self, view: &View<'_>) -> bool {
        let now = view.now;
        self.note_idle(view);
        let is_forsaken = |task| {
            self.idle(task, now) > self.patience.session_timeout + self.patience.interval * 2
        };
        let suits = |task: &TaskId| {
            view.small.contains(task)
                || may_be_given(view.members, view.own, *task)
                || is_forsaken(*task)
        };
        let suitable: BTreeSet<TaskId> = view.tasks.iter().copied().filter(suits).collect();
        let Some(allowed) = &mut self.tasks else {
            self.tasks = Some(suitable);
            return true;
        };
        let before = allowed.len();
        let (ready, homeless): (BTreeSet<TaskId>, BTreeSet<TaskId>) = suitable
            .difference(allowed)
            .partition(|task| is_run(view.members, **task));
        let mut is_wider = !homeless.is_empty();
        allowed.extend(homeless);
        if ready.is_empty() {
            self.ready_since = None;
        } else {
            let since = *self.ready_since.get_or_insert(now);
            if !view.is_catching_up || now >= since + self.patience.probing_interval {
                allowed.extend(ready);
                self.ready_since = None;
                is_wider = true;
            }
        }
        debug_assert!(is_wider == (allowed.len() > before));
        self.narrow(&suitable, now) || is_wider
    }

    fn note_idle(&mut self, view: &View<'_>) {
        for task in view.tasks {
            if is_run(view.members, *task) {
                self.idle_since.remove(task);
            } else {
                self.idle_since.entry(*task).or_insert(view.now);
            }
        }
    }

    /// Gives up tasks that others have the state of, once that has lasted, and then all of them together.
    fn narrow(&mut self, suitable: &BTreeSet<TaskId>, now: Duration) -> bool {
        let interval = self.patience.interval;
        let Some(allowed) = &mut self.tasks else {
            return false;
        };
        self.unfit_since
            .retain(|task, _| allowed.contains(task) && !suitable.contains(task));
        for task in allowed.difference(suitable) {
            self.unfit_since.entry(*task).or_insert(now);
        }
        let first = self.unfit_since.values().min();
        let lasts = first.is_some_and(|since| now >= *since + interval * 2);
        let is_early = self.narrowed_at.is_some_and(|at| now < at + interval * 4);
        if !lasts || is_early {
            return false;
        }
        allowed.retain(|task| suitable.contains(task));
        self.unfit_since.clear();
        self.narrowed_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::member_record::{Member, OpenCopy, TaskCopy};

    const SECOND: Duration = Duration::from_secs(1);
    const OWN: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn task(partition: i32) -> TaskId {
        TaskId {
            sub_topology: 0,
            partition,
        }
    }

    fn set(tasks: impl IntoIterator<Item = i32>) -> BTreeSet<TaskId> {
        tasks.into_iter().map(task).collect()
    }

    /// Two instances and four tasks.
    struct Scene {
        allowed: Allowed,
        members: Members,
        small: BTreeSet<TaskId>,
        is_catching_up: bool,
        now: Duration,
    }

    impl Scene {
        fn new() -> Scene {
            let member = || Member {
                threads: 1,
                ..Member::default()
            };
            Scene {
                allowed: Allowed::new(Patience {
                    interval: SECOND,
                    probing_interval: SECOND * 60,
                    session_timeout: SECOND * 10,
                }),
                members: [(OWN, member()), (OTHER, member())].into(),
                small: BTreeSet::new(),
                is_catching_up: false,
                now: SECOND,
            }
        }

        fn give(&mut self, id: Uuid, tasks: impl IntoIterator<Item = i32>) {
            self.members.get_mut(&id).unwrap().given = set(tasks);
        }

        fn copy(&mut self, task_number: i32, is_warm: bool) {
            let copy = OpenCopy {
                is_warm,
                ..OpenCopy::default()
            };
            let copies = &mut self.members.get_mut(&OWN).unwrap().copies;
            copies.insert(task(task_number), TaskCopy::Open(copy));
        }

        /// Whether it changed, and what it is then.
        fn after(&mut self, time: Duration) -> (bool, BTreeSet<TaskId>) {
            self.now += time;
            let changed = self.allowed.update(&View {
                members: &self.members,
                own: OWN,
                tasks: &set(0..4),
                small: &self.small,
                is_catching_up: self.is_catching_up,
                now: self.now,
            });
            (changed, self.allowed.tasks().unwrap().clone())
        }
    }

    #[test]
    fn at_first_everything_is_for_everybody() {
        let mut scene = Scene::new();
        assert_eq!(scene.after(SECOND), (true, set(0..4)));
        // They are shared out, and what the other one runs is given up after a while.
        scene.give(OWN, [0, 1]);
        scene.give(OTHER, [2, 3]);
        assert_eq!(scene.after(SECOND), (false, set(0..4)));
        assert_eq!(scene.after(SECOND), (false, set(0..4)));
        assert_eq!(scene.after(SECOND), (true, set(0..2)));
        assert_eq!(scene.after(SECOND), (false, set(0..2)));
    }

    #[test]
    fn little_state_is_no_reason_to_stay() {
        let mut scene = Scene::new();
        scene.give(OTHER, 0..4);
        scene.small = set(1..3);
        assert_eq!(scene.after(SECOND), (true, set(1..3)));
        scene.small = set(2..3);
        scene.after(SECOND);
        assert_eq!(scene.after(SECOND * 2), (true, set(2..3)));
        // The next time it takes longer.
        scene.small.clear();
        scene.after(SECOND);
        assert_eq!(scene.after(SECOND * 2), (false, set(2..3)));
        assert_eq!(scene.after(SECOND), (true, set([])));
    }

    #[test]
    fn a_task_without_a_home_is_taken_at_once() {
        let mut scene = Scene::new();
        scene.give(OTHER, 0..4);
        assert_eq!(scene.after(SECOND), (true, set([])));
        scene.copy(0, false);
        scene.is_catching_up = true;
        scene.members.remove(&OTHER);
        assert_eq!(scene.after(SECOND), (true, set(0..4)));
    }

    #[test]
    fn copies_wait_for_each_other() {
        let mut scene = Scene::new();
        scene.give(OTHER, 0..4);
        scene.after(SECOND);
        scene.copy(0, true);
        scene.copy(1, false);
        scene.is_catching_up = true;
        assert_eq!(scene.after(SECOND), (false, set([])));
        scene.copy(1, true);
        scene.is_catching_up = false;
        assert_eq!(scene.after(SECOND), (true, set(0..2)));

        scene.copy(2, true);
        scene.is_catching_up = true;
        assert_eq!(scene.after(SECOND), (false, set(0..2)));
        assert_eq!(scene.after(SECOND * 59), (false, set(0..2)));
        assert_eq!(scene.after(SECOND), (true, set(0..3)));
    }

    #[test]
    fn a_task_that_its_heirs_do_not_take_is_for_everybody() {
        let mut scene = Scene::new();
        let copies = &mut scene.members.get_mut(&OTHER).unwrap().copies;
        copies.insert(task(0), TaskCopy::Kept);
        assert_eq!(scene.after(SECOND), (true, set(1..4)));
        assert_eq!(scene.after(SECOND * 12), (false, set(1..4)));
        assert_eq!(scene.allowed.idle(task(0), scene.now), SECOND * 12);
        assert_eq!(scene.after(SECOND), (true, set(0..4)));
        scene.give(OTHER, [0]);
        scene.after(SECOND);
        assert_eq!(scene.allowed.idle(task(0), scene.now), Duration::ZERO);
        assert_eq!(scene.after(SECOND * 2), (true, set(1..4)));
    }
}
