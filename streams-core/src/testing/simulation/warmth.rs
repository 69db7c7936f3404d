//! Whether instances keep off tasks whose state others have: what they tell each other is looked at beside what they
//! subscribe to.

use super::instance::MEMBER_INTERVAL;
use super::world::{ProcessId, World};
use crate::record::TopicPartition;
use crate::runtime::simulated::{Member, TaskCopy, TaskTable, decode_key};
use crate::task::TaskId;
use std::collections::BTreeMap;

/// How long everybody has to hear of something and to follow it.
const DELAY_US: u64 = 20 * MEMBER_INTERVAL.as_micros() as u64;

/// What all processes have told, and since when.
#[derive(Default)]
pub(super) struct Warmth {
    table: Option<TaskTable>,
    told: BTreeMap<ProcessId, Told>,
    /// Since when there is too much to restore of a task for it to go anywhere.
    large_since_us: BTreeMap<TaskId, u64>,
    /// When each was last run, as far as anybody told, and since when it has not been idle for so long that it is for everybody.
    run_us: BTreeMap<TaskId, (u64, u64)>,
    /// Until when something may have been told or heard late.
    disturbed_until_us: u64,
    pub(super) checks: u64,
}

/// What a process has told.
struct Told {
    takes_tasks: bool,
    /// Tasks that it runs or could go on with, since when; and since when it has not.
    has: BTreeMap<TaskId, u64>,
    has_not: BTreeMap<TaskId, u64>,
    runs: BTreeMap<TaskId, u64>,
}

impl Warmth {
    pub(super) fn set_table(&mut self, table: TaskTable) {
        self.table = Some(table);
    }

    pub(super) fn disturb_until(&mut self, us: u64) {
        self.disturbed_until_us = self.disturbed_until_us.max(us);
    }

    pub(super) fn forget(&mut self, process: ProcessId) {
        self.told.remove(&process);
    }

    /// A process writes a record.
    pub(super) fn told(
        &mut self,
        process: ProcessId,
        topic: &str,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        (now_us, idle_max_us): (u64, u64),
    ) {
        let is_meant = self
            .table
            .as_ref()
            .is_some_and(|table| table.topic() == topic);
        if !is_meant || key.and_then(decode_key).is_none() {
            return;
        }
        let Some(member) = value.and_then(Member::decode) else {
            self.told.remove(&process);
            return;
        };
        let told = self.told.entry(process).or_insert_with(|| Told {
            takes_tasks: false,
            has: BTreeMap::new(),
            has_not: BTreeMap::new(),
            runs: BTreeMap::new(),
        });
        told.takes_tasks = member.threads > 0;
        let tasks = self.table.iter().flat_map(|table| table.own_topics());
        for task in tasks {
            let runs = member.given.contains(&task);
            let copy = member.copies.get(&task);
            let has = runs || matches!(copy, Some(TaskCopy::Open(open)) if open.is_warm);
            let note = |which: &mut BTreeMap<TaskId, u64>, is_so| match is_so {
                true => _ = which.entry(task).or_insert(now_us),
                false => _ = which.remove(&task),
            };
            note(&mut told.runs, runs);
            note(&mut told.has, has);
            note(&mut told.has_not, !has);
            if runs {
                let (last, since) = self.run_us.entry(task).or_insert((now_us, now_us));
                if now_us > *last + idle_max_us {
                    *since = now_us;
                }
                *last = now_us;
            }
        }
    }

    /// Whether a process is without the state of a task that another one has, and both should know by now.
    fn is_cold(&self, process: ProcessId, task: TaskId, now_us: u64, idle_max_us: u64) -> bool {
        let lasts = |since: Option<&u64>| since.is_some_and(|since| since + DELAY_US <= now_us);
        let Some(told) = self.told.get(&process) else {
            return false;
        };
        if !lasts(told.has_not.get(&task)) || !lasts(self.large_since_us.get(&task)) {
            return false;
        }
        // A task that nobody runs for long is for everybody.
        let (run_us, since_us) = self.run_us.get(&task).copied().unwrap_or_default();
        let is_idle = now_us > run_us + idle_max_us || now_us < since_us + DELAY_US;
        self.told.iter().any(|(other, told)| {
            let has = lasts(told.runs.get(&task)) || !is_idle && lasts(told.has.get(&task));
            *other != process && told.takes_tasks && has
        })
    }
}

impl World {
    /// Looks whether anybody has subscribed to a task for too long whose state it has not, while another one has.
    pub(super) fn check_warmth(&self, acceptable_lag: u64) {
        let now_us = self.now_us();
        let warmth = &mut *self.warmth.borrow_mut();
        let Some(table) = &warmth.table else { return };
        for task in table.own_topics() {
            let size = self.size(task);
            if size > acceptable_lag {
                warmth.large_since_us.entry(task).or_insert(now_us);
            }
        }
        if now_us < warmth.disturbed_until_us + DELAY_US {
            return;
        }
        let idle_max_us = self.idle_max_us();
        let members = self.members.borrow();
        for (number, member) in members.iter() {
            for topic in &member.topics {
                let Some(task) = table.task(&TopicPartition::new(topic.clone(), 0)) else {
                    continue;
                };
                if !table.own_topics().any(|own| own == task) {
                    continue;
                }
                // A rebalance that takes long hands out by what members subscribed to when it began.
                let is_given = members.iter().any(|(_, other)| {
                    other.process == member.process && other.owned.iter().any(|p| p.topic == *topic)
                });
                if is_given {
                    continue;
                }
                warmth.checks += 1;
                if warmth.is_cold(member.process, task, now_us, idle_max_us) {
                    let process = member.process;
                    self.violate(format!(
                        "m{number} of p{process} may be given task {task}, of which it has nothing and another one has the state"
                    ));
                    return;
                }
            }
        }
    }

    /// How long a task may be run by nobody until it is for everybody: a session, of which those who have not noticed that
    /// somebody ran it for a moment count the half as well.
    pub(super) fn idle_max_us(&self) -> u64 {
        self.cluster.borrow().session_timeout_ms() as u64 * 1000 / 2
    }

    /// How much there is to restore of a task.
    fn size(&self, task: TaskId) -> u64 {
        let parts = self.setup.topology.sub_topologies();
        let part = parts.iter().find(|part| part.id == task.sub_topology);
        let stores = part.into_iter().flat_map(|part| &part.stores);
        let folder = std::path::PathBuf::from(task.to_string());
        let size = |name: &str| {
            let (changelog, _) = self.changelog(&folder, name)?;
            let (first, end) = self.cluster.borrow().bounds(&changelog).ok()?;
            Some((end - first).max(0).unsigned_abs())
        };
        stores.filter_map(|store| size(&store.name)).sum()
    }
}
