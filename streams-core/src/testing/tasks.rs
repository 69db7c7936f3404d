//! The tasks of a test driver: how they are made, and made again after a restart.

use super::logs::{Logs, Reader};
use crate::error::Result;
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::InputSlot;
use crate::runtime::restoring_store::RestoringStore;
use crate::task::{GlobalStores, Task, TaskId, TaskOptions};
use crate::topology::sub_topology::as_one;
use crate::topology::{StoreDefinition, SubTopology, Topology};
use std::collections::BTreeMap;
use std::sync::Arc;
use streams_state::{StoreResources, TaskStores};

/// Which tasks there are.
pub(super) enum Layout {
    /// One for the whole topology, as in Kafka Streams' driver; `None` if there are only global tables.
    OneTask(Option<SubTopology>),
    /// One for each sub-topology and partition; how many partitions, by the sub-topology's number.
    TaskPerPartition(BTreeMap<u32, i32>),
}

impl Layout {
    pub(super) fn one_task(topology: &Topology) -> Self {
        let any = !topology.sub_topologies().is_empty();
        Layout::OneTask(any.then(|| as_one(topology.parts())))
    }

    /// Each task's id and nodes.
    fn tasks<'a>(&'a self, topology: &'a Topology) -> Vec<(TaskId, &'a SubTopology)> {
        let id = |sub_topology, partition| TaskId {
            sub_topology,
            partition,
        };
        match self {
            Layout::OneTask(one) => one.iter().map(|nodes| (id(0, 0), nodes)).collect(),
            Layout::TaskPerPartition(counts) => topology
                .sub_topologies()
                .iter()
                .flat_map(|nodes| {
                    (0..counts[&nodes.id]).map(move |partition| (id(nodes.id, partition), nodes))
                })
                .collect(),
        }
    }
}

/// A task and what the driver must know of it.
pub(super) struct DrivenTask {
    pub(super) task: Task<OwnedRecord>,
    pub(super) id: TaskId,
    pub(super) stores: Vec<Arc<StoreDefinition>>,
    /// By store: where its changes are.
    changelogs: Vec<Option<Changelog>>,
}

struct Changelog {
    partition: TopicPartition,
    /// Whether it is a source topic, of which only what is committed counts.
    is_source: bool,
}

impl Changelog {
    /// The offset behind the last change that counts.
    fn end(&self, logs: &Logs) -> i64 {
        let TopicPartition { topic, partition } = &self.partition;
        match self.is_source {
            false => logs.end(topic, *partition),
            true => logs
                .committed(topic, *partition)
                .map_or(0, |committed| committed.offset),
        }
    }
}

impl DrivenTask {
    /// By store: the offset behind the last change.
    pub(super) fn changelog_ends(&self, logs: &Logs) -> Vec<Option<i64>> {
        let end = |changelog: &Option<Changelog>| Some(changelog.as_ref()?.end(logs));
        self.changelogs.iter().map(end).collect()
    }
}

/// What tasks are made from.
pub(super) struct TaskFactory {
    pub(super) topology: Topology,
    pub(super) layout: Layout,
    pub(super) options: TaskOptions,
}

impl TaskFactory {
    /// Makes all tasks, with what `kept` has left of their stores, restores the rest from the changelogs, and gives them what
    /// is not committed of their inputs.
    pub(super) fn open(
        &self,
        logs: &mut Logs,
        globals: &Arc<GlobalStores>,
        mut kept: BTreeMap<TaskId, TaskStores>,
    ) -> Result<Vec<DrivenTask>> {
        let resources = StoreResources::in_memory();
        let mut tasks = Vec::new();
        for (id, nodes) in self.layout.tasks(&self.topology) {
            let mut stores = match kept.remove(&id) {
                Some(stores) => stores.reopen()?,
                None => {
                    let specs: Vec<_> = nodes.stores.iter().map(|s| s.spec.clone()).collect();
                    TaskStores::open(None, &specs, &resources)?
                }
            };
            let mut changelogs = Vec::new();
            for (index, definition) in nodes.stores.iter().enumerate() {
                let changelog = self.changelog(definition, id.partition);
                if let Some(changelog) = &changelog {
                    restore(&mut stores, index, definition, changelog, logs)?;
                }
                changelogs.push(changelog);
            }
            let mut task = Task::of_nodes(
                &self.topology,
                nodes,
                id,
                stores,
                globals.clone(),
                logs.counts.clone(),
                &self.options,
            )?;
            let topics = task.input_topics().to_vec();
            for (input, topic) in topics.iter().enumerate() {
                let reader = Reader {
                    task: tasks.len(),
                    input,
                };
                logs.set_reader(topic, id.partition, reader);
                let committed = logs.committed(topic, id.partition);
                task.initialize(input, committed);
                let next = committed.map_or(0, |committed| committed.offset as usize);
                for record in &logs.records(topic, id.partition)[next..] {
                    task.add_record(input, record.clone());
                }
                // The driver has nothing that it has not handed over.
                task.set_caught_up(input, true);
            }
            tasks.push(DrivenTask {
                task,
                id,
                stores: nodes.stores.clone(),
                changelogs,
            });
        }
        Ok(tasks)
    }

    fn changelog(&self, definition: &StoreDefinition, partition: i32) -> Option<Changelog> {
        let source = definition.changelog.as_ref()?.source_topic.as_ref();
        let topic = match source {
            Some(source) => source.to_string(),
            None => format!(
                "{}-{}-changelog",
                self.options.application_id, definition.name
            ),
        };
        Some(Changelog {
            partition: TopicPartition::new(topic, partition),
            is_source: source.is_some(),
        })
    }
}

/// Brings a store to the end of its changelog.
fn restore(
    stores: &mut TaskStores,
    index: usize,
    definition: &StoreDefinition,
    changelog: &Changelog,
    logs: &Logs,
) -> Result<()> {
    let end = changelog.end(logs);
    let position = stores.position(index).unwrap_or(0).min(end);
    let slot = InputSlot(0);
    let TopicPartition { topic, partition } = &changelog.partition;
    let run: Vec<_> = logs.records(topic, *partition)[position as usize..end as usize]
        .iter()
        .map(|record| (slot, record.clone()))
        .collect();
    let mut restoring = RestoringStore {
        start: 0,
        index,
        name: definition.name.clone(),
        form: definition.changelog_form(),
        changelog: changelog.partition.clone(),
        slot,
        position,
        end,
        bounded: changelog.is_source,
        records_total: 0,
        done: false,
    };
    restoring.apply(stores, &run)?;
    Ok(())
}
