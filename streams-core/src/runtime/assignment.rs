//! Who runs which task. The group subscribes to one internal topic with a partition per task; whoever is given partition
//! *i* runs task *i*. This file holds that mapping and nothing else: it is pure.
//!
//! A custom assignor cannot be had from librdkafka, `range` on the source topics is not sticky, and `cooperative-sticky` on
//! them does not keep the inputs of one task together. On the task topic any of the group's own strategies keeps the inputs
//! of a task together by construction, and `cooperative-sticky` and the consumer protocol of KIP-848 move as few tasks as possible.

use crate::record::TopicPartition;
use crate::task::TaskId;

/// The tasks of a topology in the order of the task topic's partitions: by sub-topology, then by partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskTable {
    topic: String,
    ids: Vec<TaskId>,
}

impl TaskTable {
    /// The tasks of sub-topologies given as (id, number of tasks).
    pub(crate) fn new(
        application_id: &str,
        task_counts: impl IntoIterator<Item = (u32, i32)>,
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
        TaskTable {
            topic: format!("{application_id}-tasks"),
            ids,
        }
    }

    /// The topic whose partitions stand for tasks.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The tasks, in the order of the partitions.
    pub(crate) fn ids(&self) -> &[TaskId] {
        &self.ids
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The task a partition of the task topic stands for; `None` for a partition of another topic or beyond the last task.
    pub(crate) fn task(&self, partition: &TopicPartition) -> Option<TaskId> {
        if partition.topic != self.topic {
            return None;
        }
        let index = usize::try_from(partition.partition).ok()?;
        self.ids.get(index).copied()
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

    #[test]
    fn partitions_stand_for_tasks_by_sub_topology_then_partition() {
        let table = TaskTable::new("app", [(1, 2), (0, 3)]);
        assert_eq!(table.topic(), "app-tasks");
        assert_eq!(table.len(), 5);
        let tasks: Vec<_> = (0..6)
            .map(|p| table.task(&TopicPartition::new("app-tasks", p)))
            .collect();
        assert_eq!(
            tasks,
            [
                Some(id(0, 0)),
                Some(id(0, 1)),
                Some(id(0, 2)),
                Some(id(1, 0)),
                Some(id(1, 1)),
                None
            ]
        );
        assert_eq!(table.task(&TopicPartition::new("input", 0)), None);
        assert_eq!(table.task(&TopicPartition::new("app-tasks", -1)), None);
    }
}
