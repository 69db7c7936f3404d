//! One task by itself: what a benchmark of the record path drives.

use crate::error::{Error, Result};
use crate::exception_handlers::ExceptionHandlers;
use crate::record::FetchedRecord;
use crate::task::{GlobalStores, Task, TaskId, TaskOptions};
use crate::topology::Topology;
use std::sync::Arc;
use streams_state::{StoreResources, TaskStores};

/// The only task of a topology with one sub-topology and one input, fed and committed by the caller.
///
/// Unlike the [`TopologyTestDriver`](crate::TopologyTestDriver) it commits only when told, so the record cache works as in
/// production.
pub struct RecordPath<R> {
    task: Task<R>,
    store_count: usize,
}

impl<R: FetchedRecord> RecordPath<R> {
    /// The task of a topology, with its stores in memory.
    ///
    /// # Errors
    /// When the topology has more than one sub-topology or its stores cannot be opened.
    pub fn new(topology: &Topology) -> Result<Self> {
        let [sub_topology] = topology.sub_topologies() else {
            return Err(Error::topology(
                "a record path has one sub-topology: leave repartition topics out",
            ));
        };
        let resources = StoreResources::in_memory();
        let handlers = ExceptionHandlers::default();
        let specs: Vec<_> = sub_topology
            .stores
            .iter()
            .map(|store| store.spec.clone())
            .collect();
        let id = TaskId {
            sub_topology: sub_topology.id,
            partition: 0,
        };
        let task = Task::new(
            topology,
            id,
            TaskStores::open(None, &specs, &resources)?,
            GlobalStores::open(topology, None, &resources, &handlers)?,
            Arc::new(super::logs::PartitionCounts::one()),
            &TaskOptions {
                application_id: "record-path".into(),
                handlers,
                max_task_idle: None,
                cache_enabled: true,
                outer_join_emit_interval: crate::task::OUTER_JOIN_EMIT_INTERVAL,
            },
        )?;
        Ok(RecordPath {
            task,
            store_count: specs.len(),
        })
    }

    /// Processes these records of the first input and returns how many there were.
    ///
    /// # Errors
    /// When an operator fails.
    pub fn process(&mut self, records: impl Iterator<Item = R>, now_ms: i64) -> Result<usize> {
        for record in records {
            self.task.add_record(0, record);
        }
        self.task.process(usize::MAX, now_ms)
    }

    /// Flushes the record cache, commits the stores, drops what would have been produced and returns how much that was.
    ///
    /// # Errors
    /// When an operator or a store fails.
    pub fn commit(&mut self, now_ms: i64) -> Result<usize> {
        self.task.prepare_commit(now_ms)?;
        let produced = self.task.effects().records().len();
        self.task.effects().clear();
        let offsets = self.task.offsets(&|_| None);
        self.task
            .commit_stores(&offsets, &vec![None; self.store_count])?;
        Ok(produced)
    }
}
