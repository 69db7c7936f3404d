//! Who runs which task. The group subscribes to topics whose partitions stand for tasks; whoever is given such a partition runs
//! its task. This file holds that mapping and nothing else: it is pure.
//!
//! A custom assignor cannot be had from librdkafka, `range` on the source topics is not sticky, and `cooperative-sticky` on
//! them does not keep the inputs of one task together. On topics of tasks any of the group's own strategies keeps the inputs
//! of a task together by construction, and `cooperative-sticky` and the consumer protocol of KIP-848 move as few tasks as possible.
//!
//! A task with state has a topic of its own, so that an instance can leave it out of its subscription as long as others have
//! that state and it has not. All other tasks are the partitions of one topic.

use crate::record::TopicPartition;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};

/// How many tasks have topics of their own at most. Beyond that all tasks are partitions of one topic and go where the group's
/// assignor sends them: the subscriptions of all members, with the names of all topics in them, are one record of the group's
/// coordinator, which must not be larger than `message.max.bytes`, a megabyte unless the brokers are told otherwise.
pub(crate) const OWN_TOPICS_MAX: usize = 500;

/// The tasks of a topology, and the partitions that stand for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskTable {
    topic: String,
    ids: Vec<TaskId>,
    /// In the order of the partitions of the one topic: by sub-topology, then by partition.
    shared: Vec<TaskId>,
    own_topics: BTreeMap<String, TaskId>,
}

impl TaskTable {
    /// The tasks of sub-topologies given as (id, number of tasks); those in `stateful` have state to restore.
    pub(crate) fn new(
        application_id: &str,
        task_counts: impl IntoIterator<Item = (u32, i32)>,
        stateful: &BTreeSet<u32>,
    ) -> Self {
        let mut ids: Vec<TaskId> = task_counts
            .into_iter()
            .flat_map(|(sub_topology, count)| {
                (0..count).map(move |partition| TaskId {
                    sub_topology,
                    partition,
                })
            })
            .collect();
        ids.sort_unstable();
        let (mut own, mut shared): (Vec<TaskId>, Vec<TaskId>) = ids
            .iter()
            .copied()
            .partition(|id| stateful.contains(&id.sub_topology));
        if own.len() > OWN_TOPICS_MAX {
            own.clear();
            shared.clone_from(&ids);
        }
        let own_topic = |id: TaskId| (format!("{application_id}-task-{id}"), id);
        TaskTable {
            topic: format!("{application_id}-tasks"),
            ids,
            shared,
            own_topics: own.into_iter().map(own_topic).collect(),
        }
    }

    /// The topic that all instances know: of the tasks without topics of their own, and of what instances tell each other.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// All topics with their numbers of partitions.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, i32)> {
        let shared = i32::try_from(self.shared.len()).unwrap_or(i32::MAX);
        // One without tasks is there for what instances tell each other.
        let first = (self.topic.as_str(), shared.max(1));
        let own = self.own_topics.keys().map(|topic| (topic.as_str(), 1));
        std::iter::once(first).chain(own)
    }

    /// All tasks, in order.
    pub(crate) fn ids(&self) -> &[TaskId] {
        &self.ids
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The tasks with topics of their own.
    pub(crate) fn own_topics(&self) -> impl Iterator<Item = TaskId> {
        self.own_topics.values().copied()
    }

    /// What a member subscribes to that may be given all tasks without topics of their own, and these of the others.
    pub(crate) fn subscription(&self, allowed: &BTreeSet<TaskId>) -> Vec<String> {
        let shared = (!self.shared.is_empty()).then(|| self.topic.clone());
        let own = self
            .own_topics
            .iter()
            .filter(|(_, id)| allowed.contains(id));
        let own = own.map(|(topic, _)| topic.clone());
        shared.into_iter().chain(own).collect()
    }

    /// The task a partition stands for; `None` for a partition of another topic or beyond the last task.
    pub(crate) fn task(&self, partition: &TopicPartition) -> Option<TaskId> {
        if partition.topic == self.topic {
            let index = usize::try_from(partition.partition).ok()?;
            return self.shared.get(index).copied();
        }
        let own = self.own_topics.get(&partition.topic).copied();
        own.filter(|_| partition.partition == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sub_topology: u32, partition: i32) -> TaskId {
        TaskId {
            sub_topology,
            partition,
        }
    }

    fn tasks(
        table: &TaskTable,
        topic: &str,
        partitions: std::ops::Range<i32>,
    ) -> Vec<Option<TaskId>> {
        partitions
            .map(|p| table.task(&TopicPartition::new(topic, p)))
            .collect()
    }

    #[test]
    fn partitions_stand_for_tasks_by_sub_topology_then_partition() {
        let table = TaskTable::new("app", [(1, 2), (0, 3)], &BTreeSet::new());
        assert_eq!(table.topics().collect::<Vec<_>>(), [("app-tasks", 5)]);
        assert_eq!(table.len(), 5);
        assert_eq!(
            tasks(&table, "app-tasks", -1..6),
            [
                None,
                Some(id(0, 0)),
                Some(id(0, 1)),
                Some(id(0, 2)),
                Some(id(1, 0)),
                Some(id(1, 1)),
                None
            ]
        );
        assert_eq!(tasks(&table, "input", 0..1), [None]);
        assert_eq!(table.subscription(&BTreeSet::new()), ["app-tasks"]);
    }

    #[test]
    fn a_task_with_state_has_a_topic_of_its_own() {
        let table = TaskTable::new("app", [(0, 2), (1, 2)], &BTreeSet::from([1]));
        let topics = [("app-tasks", 2), ("app-task-1_0", 1), ("app-task-1_1", 1)];
        assert_eq!(table.topics().collect::<Vec<_>>(), topics);
        assert_eq!(
            tasks(&table, "app-tasks", 0..3),
            [Some(id(0, 0)), Some(id(0, 1)), None]
        );
        assert_eq!(tasks(&table, "app-task-1_1", 0..2), [Some(id(1, 1)), None]);
        assert_eq!(table.own_topics().collect::<Vec<_>>(), [id(1, 0), id(1, 1)]);
        let allowed = BTreeSet::from([id(0, 1), id(1, 1)]);
        assert_eq!(table.subscription(&allowed), ["app-tasks", "app-task-1_1"]);
    }

    #[test]
    fn without_other_tasks_the_one_topic_is_nobodys() {
        let table = TaskTable::new("app", [(0, 2)], &BTreeSet::from([0]));
        assert_eq!(table.topics().next(), Some(("app-tasks", 1)));
        assert_eq!(tasks(&table, "app-tasks", 0..1), [None]);
        assert!(table.subscription(&BTreeSet::new()).is_empty());
    }

    #[test]
    fn too_many_tasks_share_one_topic() {
        let count = OWN_TOPICS_MAX as i32 + 1;
        let table = TaskTable::new("app", [(0, count)], &BTreeSet::from([0]));
        assert_eq!(table.topics().collect::<Vec<_>>(), [("app-tasks", count)]);
        assert_eq!(table.own_topics().count(), 0);
        let table = TaskTable::new("app", [(0, count - 1)], &BTreeSet::from([0]));
        assert_eq!(table.own_topics().count(), OWN_TOPICS_MAX);
    }
}
