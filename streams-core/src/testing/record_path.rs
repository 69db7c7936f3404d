//! One task by itself: what a benchmark of the record path drives.

use crate::error::{Error, Result};
use crate::exception_handlers::ExceptionHandlers;
use crate::operators::Share;
use crate::record::FetchedRecord;
use crate::task::{GlobalStores, Task, TaskId, TaskOptions};
use crate::topology::Topology;
use std::path::Path;
use std::sync::Arc;
use streams_state::{StoreResources, TaskStores};

/// `statestore.cache.max.bytes` by default.
const CACHE_BYTES_MAX: usize = 10 << 20;
/// What one thread's uncommitted writes may take by default: a 32nd of `memory.max.bytes` without the record cache.
const UNCOMMITTED_BYTES_MAX: usize = (502 << 20) / 32;

/// The only task of a topology with one sub-topology, fed and committed by the caller.
///
/// Unlike the [`TopologyTestDriver`](crate::TopologyTestDriver) it commits only when told, or when it holds as much as a
/// thread may by default, so the record cache works as in production.
pub struct RecordPath<R> {
    task: Task<R>,
    store_count: usize,
    produced: Produced,
}

/// How many records a task has asked to be produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    /// To topics of the topology.
    pub outputs: usize,
    /// To changelogs.
    pub changes: usize,
}

impl<R: FetchedRecord> RecordPath<R> {
    /// The task of a topology, with its stores in memory.
    ///
    /// # Errors
    /// When the topology has more than one sub-topology or its stores cannot be opened.
    pub fn new(topology: &Topology) -> Result<Self> {
        Self::open(topology, None, &StoreResources::in_memory())
    }

    /// The task of a topology, with its stores where they are in production: on disk, in this directory, within this
    /// memory.
    ///
    /// # Errors
    /// As [`RecordPath::new`]; also when there is no RocksDB in this build.
    pub fn on_disk(
        topology: &Topology,
        directory: &Path,
        resources: &StoreResources,
    ) -> Result<Self> {
        Self::open(topology, Some(directory), resources)
    }

    fn open(
        topology: &Topology,
        directory: Option<&Path>,
        resources: &StoreResources,
    ) -> Result<Self> {
        let [sub_topology] = topology.sub_topologies() else {
            return Err(Error::topology(
                "a record path has one sub-topology: leave repartition topics out",
            ));
        };
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
            TaskStores::open(directory, &specs, resources)?,
            GlobalStores::open(topology, None, resources, &handlers)?,
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
            produced: Produced::default(),
        })
    }

    /// Processes these records of the first input and returns how many there were.
    ///
    /// # Errors
    /// When an operator fails.
    pub fn process(&mut self, records: impl Iterator<Item = R>, now_ms: i64) -> Result<usize> {
        self.process_inputs(records.map(|record| (0, record)), now_ms)
    }

    /// Processes these records, each of the input of that number, and returns how many there were. What they produce is
    /// counted and dropped; then as much is written as keeps to the memory that a thread has by default.
    ///
    /// # Errors
    /// When an operator or a store fails.
    pub fn process_inputs(
        &mut self,
        records: impl Iterator<Item = (usize, R)>,
        now_ms: i64,
    ) -> Result<usize> {
        for (input, record) in records {
            self.task.add_record(input, record);
        }
        let processed = self.task.process(usize::MAX, now_ms)?;
        self.drop_effects();
        let mut cache_full = self.task.cache_bytes() > CACHE_BYTES_MAX;
        if cache_full {
            let share = Share::of_full_cache(CACHE_BYTES_MAX, self.task.cache_bytes());
            self.task.begin_eviction(share);
            let mut has_room = false;
            while !has_room {
                has_room = self.task.evict(now_ms)?;
                self.drop_effects();
            }
            cache_full = self.task.cache_bytes() > CACHE_BYTES_MAX;
        }
        if cache_full || self.task.uncommitted_bytes() > UNCOMMITTED_BYTES_MAX {
            self.commit(now_ms)?;
        }
        if cache_full {
            self.task.forget_clean();
        }
        Ok(processed)
    }

    /// Flushes the record cache, commits the stores, drops what would have been produced and returns how much that was.
    ///
    /// # Errors
    /// When an operator or a store fails.
    pub fn commit(&mut self, now_ms: i64) -> Result<usize> {
        let mut produced = 0;
        let mut is_all = false;
        while !is_all {
            is_all = self.task.prepare_commit(now_ms)?;
            produced += self.drop_effects();
        }
        let offsets = self.task.offsets(&|_| None);
        self.task
            .commit_stores(&offsets, &vec![None; self.store_count])?;
        Ok(produced)
    }

    /// How much was produced so far.
    pub fn produced(&self) -> Produced {
        self.produced
    }

    fn drop_effects(&mut self) -> usize {
        let effects = self.task.effects();
        let records = effects.records();
        let all = records.len();
        let changes = records
            .filter(|record| record.topic.ends_with("-changelog"))
            .count();
        effects.clear();
        self.produced.changes += changes;
        self.produced.outputs += all - changes;
        all
    }
}
