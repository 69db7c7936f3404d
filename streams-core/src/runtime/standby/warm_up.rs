//! Which tasks an instance may be given, and which copies prepare a move: pure functions of what the instances tell each other,
//! as KIP-441 has them decided by the leader of the group.
//!
//! The group's assignor balances tasks over whoever is subscribed to their topics. So a task goes nowhere else as long as nobody
//! else subscribes, and an instance does when it has the task's state, or when nobody has. Views that differ do no harm: the
//! group alone says who runs a task, and the worst of it is a task that is restored where another instance had its state.

use super::placement::{Members, Preference};
use crate::runtime::member_record::{Member, TaskCopy};
use crate::runtime::planted::{PlantedBug, is_planted};
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What an instance has of a task, the most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Nothing,
    CatchingUp,
    /// On disk from the time when it ran there; how far, is known when it is opened.
    Kept,
    Warm,
    Running,
}

fn standing(member: &Member, task: TaskId) -> Standing {
    if member.given.contains(&task) {
        return Standing::Running;
    }
    match member.copies.get(&task) {
        Some(TaskCopy::Open(open)) if open.is_warm => Standing::Warm,
        Some(TaskCopy::Open(_)) => Standing::CatchingUp,
        Some(TaskCopy::Kept) => Standing::Kept,
        None => Standing::Nothing,
    }
}

/// Whether an instance may be given a task: it has its state, or nobody who takes tasks has more of it.
pub(super) fn may_be_given(members: &Members, own: Uuid, task: TaskId) -> bool {
    let standing_of = |member| standing(member, task);
    let own_standing = members.get(&own).map_or(Standing::Nothing, standing_of);
    if own_standing >= Standing::Warm || is_planted(PlantedBug::TasksGoAnywhere) {
        return true;
    }
    let others = members
        .iter()
        .filter(|(id, member)| **id != own && member.threads > 0);
    let best = others.map(|(_, member)| standing_of(member)).max();
    best.is_none_or(|best| best < Standing::Warm && best <= own_standing)
}

/// Whether somebody runs a task.
pub(super) fn is_run(members: &Members, task: TaskId) -> bool {
    members.values().any(|member| member.given.contains(&task))
}

/// Whether each of these tasks is run by one instance, and none is on its way.
pub(super) fn is_settled(members: &Members, tasks: &[TaskId]) -> bool {
    let given: usize = members.values().map(|member| member.given.len()).sum();
    given == tasks.len() && tasks.iter().all(|task| is_run(members, *task))
}

/// The copies that are to be made, or kept, so that tasks can move to instances that have less to do: at most `max`, and none
/// where a standby replica is `placed`.
///
/// Tasks are thought to move as the group's assignors move them, as long as a thread of one instance has two more than one of
/// another. Where the state is there already the move is the assignor's; for the others a copy is made, and when the first have
/// moved, the next ones get theirs.
pub(super) fn warm_ups(
    members: &Members,
    stateful: &BTreeSet<TaskId>,
    placed: &BTreeMap<TaskId, BTreeSet<Uuid>>,
    max: usize,
) -> BTreeSet<(Uuid, TaskId)> {
    let mut loads: BTreeMap<Uuid, Load> = BTreeMap::new();
    for (id, member) in members.iter().filter(|(_, member)| member.threads > 0) {
        let load = Load {
            tasks: member.given.len(),
            threads: member.threads as usize,
            movable: member.given.intersection(stateful).copied().collect(),
        };
        loads.insert(*id, load);
    }
    let mut chosen = BTreeSet::new();
    while let Some((from, to, task)) = next_move(members, &loads) {
        if let Some(load) = loads.get_mut(&from) {
            load.tasks -= 1;
            load.movable.remove(&task);
        }
        if let Some(load) = loads.get_mut(&to) {
            load.tasks += 1;
        }
        let has_standby = placed.get(&task).is_some_and(|ids| ids.contains(&to));
        if !has_standby && chosen.len() < max {
            chosen.insert((to, task));
        }
    }
    chosen
}

/// What an instance has to do.
struct Load {
    tasks: usize,
    threads: usize,
    /// Its tasks that can be made to move by a copy, and have not been made to.
    movable: BTreeSet<TaskId>,
}

impl Load {
    /// What its thread with the most tasks has.
    fn most(&self) -> usize {
        self.tasks.div_ceil(self.threads)
    }

    /// What its thread with the fewest tasks has.
    fn fewest(&self) -> usize {
        self.tasks / self.threads
    }
}

/// A task that is better somewhere else: from who has most to who has least, and there one whose state is there already, or is
/// soonest.
fn next_move(members: &Members, loads: &BTreeMap<Uuid, Load>) -> Option<(Uuid, Uuid, TaskId)> {
    let mut from: Vec<(&Uuid, &Load)> = loads.iter().collect();
    let mut to = from.clone();
    from.sort_by_key(|(id, load)| (std::cmp::Reverse(load.most()), **id));
    to.sort_by_key(|(id, load)| (load.fewest(), **id));
    for (from, load) in from {
        for (to, other) in &to {
            if load.most() < other.fewest() + 2 {
                break;
            }
            let suits = |task: &TaskId| {
                let standing = match standing(&members[*to], *task) {
                    Standing::Running | Standing::Warm => 0,
                    // What has begun is brought to its end.
                    Standing::CatchingUp => 1,
                    Standing::Kept => 2,
                    Standing::Nothing => 3,
                };
                (standing, Preference::of(**to, *task))
            };
            if let Some(task) = load.movable.iter().min_by_key(|task| suits(task)) {
                return Some((*from, **to, *task));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::member_record::OpenCopy;
    use proptest::prelude::*;

    fn task(partition: i32) -> TaskId {
        TaskId {
            sub_topology: 0,
            partition,
        }
    }

    fn id(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    fn copy(is_warm: bool) -> TaskCopy {
        TaskCopy::Open(OpenCopy {
            is_warm,
            ..OpenCopy::default()
        })
    }

    fn member(given: impl IntoIterator<Item = i32>) -> Member {
        Member {
            threads: 1,
            given: given.into_iter().map(task).collect(),
            ..Member::default()
        }
    }

    fn all(count: i32) -> BTreeSet<TaskId> {
        (0..count).map(task).collect()
    }

    /// Moves tasks as the group's assignors do between members that may be given them; says how many moved.
    fn balance(members: &mut Members, tasks: &BTreeSet<TaskId>) -> usize {
        let mut moved = 0;
        loop {
            let load = |id: &Uuid| members[id].given.len();
            let better = members.keys().find_map(|from| {
                let to = members.keys().filter(|to| load(to) + 1 < load(from));
                to.flat_map(|to| tasks.iter().map(move |task| (from, to, task)))
                    .find(|(from, to, task)| {
                        members[*from].given.contains(task) && may_be_given(members, **to, **task)
                    })
                    .map(|(from, to, task)| (*from, *to, *task))
            });
            let Some((from, to, task)) = better else {
                return moved;
            };
            members.get_mut(&from).unwrap().given.remove(&task);
            let to = members.get_mut(&to).unwrap();
            to.copies.remove(&task);
            to.given.insert(task);
            moved += 1;
        }
    }

    #[test]
    fn a_task_is_for_those_who_have_its_state() {
        let mut members = Members::from([
            (id(0), member([0])),
            (id(1), member([])),
            (id(2), member([])),
        ]);
        let allowed =
            |members: &Members| [0, 1, 2].map(|number| may_be_given(members, id(number), task(0)));
        let set = |members: &mut Members, number: usize, copy: Option<TaskCopy>| {
            let copies = &mut members.get_mut(&id(number)).unwrap().copies;
            copies.clear();
            copies.extend(copy.map(|copy| (task(0), copy)));
        };
        assert_eq!(allowed(&members), [true, false, false]);
        set(&mut members, 1, Some(copy(false)));
        assert_eq!(allowed(&members), [true, false, false]);
        set(&mut members, 1, Some(copy(true)));
        assert_eq!(allowed(&members), [true, true, false]);

        // Its instance is gone.
        members.get_mut(&id(0)).unwrap().given.clear();
        assert_eq!(allowed(&members), [false, true, false]);
        // One without threads takes no tasks, so it keeps nobody from them.
        members.get_mut(&id(1)).unwrap().threads = 0;
        assert_eq!(allowed(&members), [true, true, true]);
        members.get_mut(&id(1)).unwrap().threads = 1;

        // Nobody is warm: who has most of it.
        set(&mut members, 1, Some(copy(false)));
        assert_eq!(allowed(&members), [false, true, false]);
        set(&mut members, 2, Some(TaskCopy::Kept));
        assert_eq!(allowed(&members), [false, false, true]);
        set(&mut members, 2, Some(copy(false)));
        assert_eq!(allowed(&members), [false, true, true]);
        // Nobody has anything.
        set(&mut members, 1, None);
        set(&mut members, 2, None);
        assert_eq!(allowed(&members), [true, true, true]);
    }

    #[test]
    fn a_new_instance_gets_its_share_a_few_at_a_time() {
        let mut members = Members::from([
            (id(0), member(0..4)),
            (id(1), member(4..8)),
            (id(2), member(8..12)),
            (id(3), member([])),
        ]);
        let tasks = all(12);
        let none = BTreeMap::new();
        let mut rounds = 0;
        loop {
            let chosen = warm_ups(&members, &tasks, &none, 2);
            if chosen.is_empty() {
                break;
            }
            rounds += 1;
            assert!(chosen.len() <= 2 && chosen.iter().all(|(to, _)| *to == id(3)));
            assert_eq!(chosen, warm_ups(&members, &tasks, &none, 2));
            // Nothing moves before the copies are warm, and they stay the same.
            let copies = |members: &mut Members, is_warm| {
                for (to, task) in &chosen {
                    let copies = &mut members.get_mut(to).unwrap().copies;
                    copies.insert(*task, copy(is_warm));
                }
            };
            copies(&mut members, false);
            assert_eq!(balance(&mut members, &tasks), 0);
            assert_eq!(chosen, warm_ups(&members, &tasks, &none, 2));
            copies(&mut members, true);
            assert_eq!(chosen, warm_ups(&members, &tasks, &none, 2));
            assert_eq!(balance(&mut members, &tasks), chosen.len());
        }
        assert_eq!(rounds, 2);
        assert!(members.values().all(|member| member.given.len() == 3));
    }

    #[test]
    fn a_standby_replica_is_as_good_and_threads_count() {
        let mut members = Members::from([(id(0), member(0..6)), (id(1), member([]))]);
        let tasks = all(6);
        let standbys: BTreeMap<TaskId, BTreeSet<Uuid>> =
            tasks.iter().map(|task| (*task, [id(1)].into())).collect();
        assert!(warm_ups(&members, &tasks, &standbys, 9).is_empty());
        let count = |members: &Members| warm_ups(members, &tasks, &BTreeMap::new(), 9).len();
        assert_eq!(count(&members), 3);
        members.get_mut(&id(0)).unwrap().threads = 2;
        assert_eq!(count(&members), 2);
        members.get_mut(&id(1)).unwrap().threads = 0;
        assert_eq!(count(&members), 0);
        // Tasks without state are the group's alone.
        members.get_mut(&id(1)).unwrap().threads = 1;
        assert!(warm_ups(&members, &BTreeSet::new(), &BTreeMap::new(), 9).is_empty());
    }

    #[test]
    fn a_view_in_transition_is_known_as_such() {
        let tasks: Vec<TaskId> = all(2).into_iter().collect();
        let mut members = Members::from([(id(0), member(0..2)), (id(1), member([]))]);
        assert!(is_settled(&members, &tasks));
        members.get_mut(&id(1)).unwrap().given.insert(task(1));
        assert!(!is_settled(&members, &tasks));
        members.get_mut(&id(0)).unwrap().given.remove(&task(1));
        assert!(is_settled(&members, &tasks));
        members.get_mut(&id(0)).unwrap().given.clear();
        assert!(!is_settled(&members, &tasks));
    }

    fn views() -> impl Strategy<Value = Members> {
        let copy = prop_oneof![
            3 => Just(None),
            1 => Just(Some(TaskCopy::Kept)),
            1 => Just(Some(copy(false))),
            1 => Just(Some(copy(true))),
        ];
        let copies = prop::collection::vec(copy, 12);
        let owners = prop::collection::vec(prop::option::weighted(0.9, 0..4_usize), 12);
        let members = prop::collection::vec((copies, 0..4_u32), 1..5);
        (members, owners).prop_map(|(members, owners)| {
            let count = members.len();
            let mut view = Members::new();
            for (number, (copies, threads)) in members.into_iter().enumerate() {
                let mine = |owner: &Option<usize>| owner.is_some_and(|o| o % count == number);
                let given = owners.iter().enumerate().filter(|(_, owner)| mine(owner));
                let mut member = member(given.map(|(task, _)| task as i32));
                // Who takes no tasks has none.
                member.threads = threads.max(u32::from(!member.given.is_empty()));
                let copies = copies.into_iter().enumerate();
                let copies = copies.filter_map(|(number, copy)| Some((task(number as i32), copy?)));
                member.copies = copies.filter(|(t, _)| !member.given.contains(t)).collect();
                view.insert(id(number), member);
            }
            view
        })
    }

    proptest! {
        #[test]
        fn every_task_has_a_home_and_none_is_cold_where_one_is_warm(view in views()) {
            for task in all(12) {
                let takers = view.iter().filter(|(_, member)| member.threads > 0);
                let takers: Vec<&Uuid> = takers.map(|(id, _)| id).collect();
                let homes: Vec<&Uuid> = takers
                    .iter()
                    .copied()
                    .filter(|id| may_be_given(&view, **id, task))
                    .collect();
                prop_assert!(takers.is_empty() || !homes.is_empty());
                let has_state = |id: &&Uuid| standing(&view[*id], task) >= Standing::Warm;
                if takers.iter().any(has_state) {
                    prop_assert!(homes.iter().all(has_state));
                }
            }
        }

        #[test]
        fn moves_are_few_make_a_balance_and_then_there_are_no_more(view in views(), max in 1..5_usize) {
            let tasks = all(12);
            let chosen = warm_ups(&view, &tasks, &BTreeMap::new(), max);
            prop_assert!(chosen.len() <= max);
            for (to, task) in &chosen {
                prop_assert!(view[to].threads > 0);
                prop_assert!(standing(&view[to], *task) < Standing::Running);
                prop_assert!(is_run(&view, *task));
            }
            // All moves at once make a balance that leaves nothing to be moved.
            let mut after = view.clone();
            for (to, task) in warm_ups(&view, &tasks, &BTreeMap::new(), usize::MAX) {
                for member in after.values_mut() {
                    member.given.remove(&task);
                }
                after.get_mut(&to).unwrap().given.insert(task);
            }
            prop_assert!(warm_ups(&after, &tasks, &BTreeMap::new(), max).is_empty());
            let takers = after.values().filter(|member| member.threads > 0);
            let loads: Vec<(usize, usize)> = takers
                .map(|member| {
                    let threads = member.threads as usize;
                    (member.given.len() / threads, member.given.len().div_ceil(threads))
                })
                .collect();
            let fewest = loads.iter().map(|(fewest, _)| *fewest).min().unwrap_or(0);
            prop_assert!(loads.iter().all(|(_, most)| *most <= fewest + 1));
        }
    }
}
