//! Which instance keeps standby copies of which tasks: a pure function of what the instances tell of each other, so that all
//! of them come to the same answer. A difference between their views does no harm: a copy changes nothing but its own disk.

use crate::runtime::member_record::{Member, OpenCopy, TaskCopy};
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Who is there.
pub(crate) type Members = BTreeMap<Uuid, Member>;

/// The instances that are to keep copies of each of these tasks, `replicas` of each as far as there are instances.
///
/// Copies stay where they are as long as no instance has more than its share; a new one is made where the state is on disk
/// already, else where the hash of task and instance is highest, so that few copies move when instances come and go. A task
/// that nobody runs is on its way from one instance to the next: its copies stay, and no new ones are made.
pub(crate) fn place(
    members: &Members,
    tasks: &BTreeSet<TaskId>,
    replicas: usize,
) -> BTreeMap<TaskId, BTreeSet<Uuid>> {
    let mut placed: BTreeMap<TaskId, BTreeSet<Uuid>> = BTreeMap::new();
    let mut candidates: BTreeMap<TaskId, Vec<(Rank, Uuid)>> = BTreeMap::new();
    let mut wanted = 0;
    for &task in tasks {
        let holders = || {
            let others = members.iter().filter(|(_, m)| !m.given.contains(&task));
            others.map(|(id, member)| (rank(*id, member, task), *id))
        };
        if members.values().any(|member| member.given.contains(&task)) {
            let mut holders: Vec<(Rank, Uuid)> = holders().collect();
            holders.sort_unstable();
            wanted += replicas.min(holders.len());
            candidates.insert(task, holders);
        } else {
            let standbys = holders().filter(|(rank, _)| rank.is_standby());
            placed.insert(task, standbys.map(|(_, id)| id).collect());
        }
    }
    let share = wanted.div_ceil(members.len().max(1));
    let mut loads: BTreeMap<Uuid, usize> = BTreeMap::new();
    // First the copies there are, then new ones, both up to an instance's share; last what is left over.
    for (standbys_alone, load_max) in [(true, share), (false, share), (false, usize::MAX)] {
        for (task, holders) in &candidates {
            let chosen = placed.entry(*task).or_default();
            for (rank, id) in holders {
                let load = loads.entry(*id).or_default();
                if chosen.len() < replicas
                    && *load < load_max
                    && (rank.is_standby() || !standbys_alone)
                    && chosen.insert(*id)
                {
                    *load += 1;
                }
            }
        }
    }
    placed
}

/// Whether an instance that is not to keep its copy of a task may let it go: as soon as enough others are warm.
pub(crate) fn may_drop(members: &Members, own: Uuid, task: TaskId, replicas: usize) -> bool {
    let is_warm = |member: &Member| matches!(member.copies.get(&task), Some(TaskCopy::Open(open)) if open.is_warm);
    let warm = members
        .iter()
        .filter(|(id, member)| **id != own && is_warm(member));
    warm.count() >= replicas
}

/// How well an instance suits as keeper of a task's copy: the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    standing: Standing,
    /// A copy that is there for a task that is to move is no reason to give up another one.
    is_warm_up: bool,
    hash: Preference,
}

/// How an instance comes before others that suit a task as well: the highest hash first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Preference(std::cmp::Reverse<u64>);

impl Preference {
    pub(super) fn of(id: Uuid, task: TaskId) -> Preference {
        Preference(std::cmp::Reverse(hash(id, task)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Warm,
    CatchingUp,
    Kept,
    Nothing,
}

impl Rank {
    fn is_standby(&self) -> bool {
        self.standing <= Standing::CatchingUp
    }
}

fn rank(id: Uuid, member: &Member, task: TaskId) -> Rank {
    let (standing, is_warm_up) = match member.copies.get(&task) {
        Some(TaskCopy::Open(OpenCopy {
            is_warm,
            is_warm_up,
            ..
        })) => match is_warm {
            true => (Standing::Warm, *is_warm_up),
            false => (Standing::CatchingUp, *is_warm_up),
        },
        Some(TaskCopy::Kept) => (Standing::Kept, false),
        None => (Standing::Nothing, false),
    };
    Rank {
        standing,
        is_warm_up,
        hash: Preference::of(id, task),
    }
}

/// The same on every machine and in every version: FNV-1a, mixed once more since the last bytes differ least.
fn hash(id: Uuid, task: TaskId) -> u64 {
    let task = (u64::from(task.sub_topology) << 32) | u64::from(task.partition.unsigned_abs());
    let bytes = id.as_bytes().iter().copied().chain(task.to_be_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(partition: i32) -> TaskId {
        TaskId {
            sub_topology: 0,
            partition,
        }
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn copy(is_warm: bool) -> TaskCopy {
        TaskCopy::Open(OpenCopy {
            lag: 5,
            is_warm,
            is_warm_up: false,
        })
    }

    /// `count` instances that share `tasks` tasks.
    fn cluster(count: usize, tasks: i32) -> (Members, BTreeSet<TaskId>) {
        let mut members = Members::new();
        for number in 0..count {
            members.insert(id(number as u128), Member::default());
        }
        let tasks: BTreeSet<TaskId> = (0..tasks).map(task).collect();
        for (number, task) in tasks.iter().enumerate() {
            let owner = id((number % count) as u128);
            members.get_mut(&owner).unwrap().given.insert(*task);
        }
        (members, tasks)
    }

    /// Everybody does as told and catches up.
    fn settle(members: &mut Members, tasks: &BTreeSet<TaskId>, replicas: usize) {
        let placed = place(members, tasks, replicas);
        for (id, member) in members {
            member.copies = tasks
                .iter()
                .filter(|task| placed[task].contains(id))
                .map(|task| (*task, copy(true)))
                .collect();
        }
    }

    #[test]
    fn copies_are_elsewhere_as_many_as_asked_for_and_shared_out() {
        for (count, replicas) in [(1, 1), (2, 1), (2, 3), (3, 2), (5, 1), (8, 2)] {
            let (members, tasks) = cluster(count, 40);
            let placed = place(&members, &tasks, replicas);
            let expected = replicas.min(count - 1);
            let mut loads: BTreeMap<Uuid, usize> = BTreeMap::new();
            for (task, ids) in &placed {
                assert_eq!(ids.len(), expected, "{count} {replicas} {task}");
                for id in ids {
                    assert!(!members[id].given.contains(task));
                    *loads.entry(*id).or_default() += 1;
                }
            }
            let share = (40 * expected).div_ceil(count);
            // The last tasks may find that only an instance with its share does not run them.
            assert!(
                loads.values().all(|load| *load <= share + 2),
                "{count} {replicas}: {loads:?}"
            );
        }
    }

    #[test]
    fn a_copy_stays_where_it_is() {
        let (mut members, tasks) = cluster(4, 40);
        settle(&mut members, &tasks, 1);
        let before = place(&members, &tasks, 1);
        settle(&mut members, &tasks, 1);
        assert_eq!(place(&members, &tasks, 1), before);
        // A fifth one takes no more than its share of copies from the others.
        members.insert(id(99), Member::default());
        let after = place(&members, &tasks, 1);
        let moved = tasks.iter().filter(|task| before[task] != after[task]);
        assert_eq!(moved.count(), 8);
    }

    #[test]
    fn state_that_is_on_disk_already_is_used_before_an_empty_disk() {
        let (mut members, tasks) = cluster(4, 4);
        for keeper in 1..4 {
            let mut members = members.clone();
            let copies = &mut members.get_mut(&id(keeper)).unwrap().copies;
            copies.insert(task(0), TaskCopy::Kept);
            assert!(place(&members, &tasks, 1)[&task(0)].contains(&id(keeper)));
        }
        // And a copy that follows before both.
        let copies = |m: &mut Members, at: u128, copy| {
            let copies = &mut m.get_mut(&id(at)).unwrap().copies;
            copies.insert(task(0), copy);
        };
        copies(&mut members, 1, TaskCopy::Kept);
        copies(&mut members, 2, copy(false));
        assert!(place(&members, &tasks, 1)[&task(0)].contains(&id(2)));
        copies(&mut members, 3, copy(true));
        assert!(place(&members, &tasks, 1)[&task(0)].contains(&id(3)));
    }

    #[test]
    fn a_copy_for_a_task_that_is_to_move_replaces_no_other() {
        let (mut members, tasks) = cluster(6, 1);
        let warm_up = TaskCopy::Open(OpenCopy {
            is_warm: true,
            is_warm_up: true,
            lag: 0,
        });
        for number in 2..6 {
            let copies = &mut members.get_mut(&id(number)).unwrap().copies;
            copies.insert(task(0), warm_up);
        }
        let copies = &mut members.get_mut(&id(1)).unwrap().copies;
        copies.insert(task(0), copy(true));
        assert_eq!(place(&members, &tasks, 1)[&task(0)], [id(1)].into());
    }

    #[test]
    fn a_task_on_its_way_keeps_its_copies_and_gets_no_new_ones() {
        let (mut members, tasks) = cluster(3, 3);
        settle(&mut members, &tasks, 1);
        let before = place(&members, &tasks, 1);
        members.remove(&id(0));
        let after = place(&members, &tasks, 1);
        let expected: BTreeSet<Uuid> = before[&task(0)].clone();
        assert_eq!(after[&task(0)], expected);
        for member in members.values_mut() {
            member.copies.clear();
        }
        assert!(place(&members, &tasks, 1)[&task(0)].is_empty());
    }

    #[test]
    fn a_copy_is_let_go_when_others_are_warm() {
        let (mut members, _) = cluster(3, 1);
        assert!(!may_drop(&members, id(1), task(0), 1));
        let mut set = |is_warm| {
            let copies = &mut members.get_mut(&id(2)).unwrap().copies;
            copies.insert(task(0), copy(is_warm));
            (
                may_drop(&members, id(1), task(0), 1),
                may_drop(&members, id(2), task(0), 1),
                may_drop(&members, id(1), task(0), 2),
            )
        };
        assert_eq!(set(false), (false, false, false));
        assert_eq!(set(true), (true, false, false));
    }
}
