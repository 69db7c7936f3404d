//! What the instance subscribes to: what it may be given with the copies it has, as far as it knows the others.

use super::StandbyTasks;
use super::allowed::View;
use super::update::QUESTION_TIMEOUT;
use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, LogReader};
use crate::runtime::member_record::Member;
use crate::runtime::rebalance::list;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long this instance waits to hear of others, in intervals, before it takes any task.
const DEAF_INTERVALS_MAX: u32 = 4;
/// How often it is looked how much there is to restore of tasks without much state, in intervals.
const SIZES_INTERVALS: u32 = 4;

/// How much there is to restore of tasks.
#[derive(Default)]
pub(super) struct Sizes {
    /// Tasks with no more than a warm copy may be behind.
    small: BTreeSet<TaskId>,
    /// Tasks that had more once: they are not asked for again.
    large: BTreeSet<TaskId>,
    looked_at: Option<Duration>,
}

/// By what the others know an instance: a static member is the same one also after it has lost its disk.
pub(super) fn member_id(process_id: Uuid, instance_id: Option<&str>) -> Uuid {
    let Some(instance_id) = instance_id else {
        return process_id;
    };
    // FNV-1a with 128 bits.
    let hash = instance_id.bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        },
    );
    Uuid::from_u128(hash)
}

impl<B: Broker> StandbyTasks<B> {
    /// Lets the threads subscribe to what suits what is known of the others by now.
    pub(super) fn follow_members(&mut self, own: &Member) {
        let now = self.now();
        let Some(members) = self.members.all(own) else {
            let settings = &self.context.worker.settings;
            let deaf_max = settings.member_interval * DEAF_INTERVALS_MAX;
            if self.allowed.tasks().is_none() && now >= self.started_at + deaf_max {
                tracing::warn!("other instances are not heard; this one takes any task");
                self.allowed.allow_all(&self.movable);
                self.subscribe();
            }
            return;
        };
        if members.len() > 1
            && let Err(error) = self.look_at_sizes(own)
        {
            tracing::debug!(%error, "it is not known how much there is to restore");
        }
        let is_changed = self.allowed.update(&View {
            members: &members,
            own: self.id,
            tasks: &self.movable,
            small: &self.sizes.small,
            is_catching_up: self.copies.values().any(|copy| copy.catching_up.is_some()),
            now,
        });
        if is_changed {
            self.subscribe();
        }
    }

    fn subscribe(&self) {
        let Some(allowed) = self.allowed.tasks() else {
            return;
        };
        let worker = &self.context.worker;
        let (count, all) = (allowed.len(), self.movable.len());
        tracing::info!(client = %worker.client_id, count, all, tasks = %list(allowed), "may be given");
        let topics = worker.tasks.subscription(allowed);
        worker.local_tasks.subscribe(&topics);
    }

    /// Looks how much there is to restore of the tasks that are not known to have much.
    fn look_at_sizes(&mut self, own: &Member) -> Result<()> {
        let now = self.now();
        let settings = &self.context.worker.settings;
        let interval = settings.member_interval * SIZES_INTERVALS;
        let acceptable_lag = settings.acceptable_lag;
        if !super::is_due(self.sizes.looked_at, interval, now) {
            return Ok(());
        }
        // When there is no answer it is asked again with the next record.
        self.sizes.looked_at = Some(now.saturating_sub(interval - settings.member_interval));
        let mut changelogs: Vec<(TaskId, TopicPartition)> = Vec::new();
        let unknown = self
            .movable
            .iter()
            .filter(|task| !self.sizes.large.contains(task) && !own.given.contains(task));
        for task in unknown {
            let worker = &self.context.worker;
            let inputs = worker.input_partitions(*task)?;
            let committed = vec![None; inputs.len()];
            let stores = worker.stores_to_restore(*task, &inputs, &committed)?;
            let partitions = stores.into_iter().filter_map(|store| store.changelog);
            changelogs.extend(partitions.map(|partition| (*task, partition)));
        }
        if changelogs.is_empty() {
            return Ok(());
        }
        let partitions: Vec<TopicPartition> = changelogs.iter().map(|(_, p)| p.clone()).collect();
        let bounds = self.reader()?.offsets(&partitions, QUESTION_TIMEOUT)?;
        self.sizes.looked_at = Some(now);
        let mut sizes: BTreeMap<TaskId, u64> = BTreeMap::new();
        for ((task, _), (first, end)) in changelogs.into_iter().zip(bounds) {
            *sizes.entry(task).or_default() += (end - first).max(0).unsigned_abs();
        }
        for (task, size) in sizes {
            if size <= acceptable_lag {
                self.sizes.small.insert(task);
            } else {
                self.sizes.small.remove(&task);
                self.sizes.large.insert(task);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_member_keeps_its_id() {
        let process = Uuid::new_v4;
        assert_ne!(member_id(process(), None), member_id(process(), None));
        assert_eq!(
            member_id(process(), Some("a")),
            member_id(process(), Some("a"))
        );
        assert_ne!(
            member_id(process(), Some("a")),
            member_id(process(), Some("b"))
        );
    }
}
