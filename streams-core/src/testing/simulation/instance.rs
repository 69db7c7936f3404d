//! An instance of the application: a disk that outlives its processes, and the process that runs on it, put together as
//! `runtime/application.rs` does it, with actors in the place of threads.

use super::broker::SimulatedBroker;
use super::scheduler::{Actor, Event, Slot};
use super::world::{Process, ProcessId, SimulatedClock, World, world};
use crate::error::Result;
use crate::exception_handlers::ExceptionHandlers;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, NewTopic};
use crate::runtime::simulated::{
    CachedTopicMetadata, Clock, Jobs, Lifecycle, LocalTasks, Notices, PartitionPlan, PurgeList,
    RestoreContext, RestorePool, RuntimeSettings, StandbyContext, StandbyTasks, State,
    StateDirectory, TaskTable, WorkerContext, changelog_topic, external_topics, internal_topics,
    make_ready, stateful_parts,
};
use crate::task::{GlobalStores, TaskOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use streams_state::{DiskOperation, SimulatedDisk, StoreError, StoreResources};
use uuid::Uuid;

/// How often instances tell each other of themselves: runs are short.
pub(super) const MEMBER_INTERVAL: Duration = Duration::from_millis(300);

/// An instance.
pub(super) struct Instance {
    pub(super) disk: SimulatedDisk,
    process_id: Uuid,
    pub(super) process: Option<ProcessId>,
    /// Until when its disk is full.
    pub(super) full_until_us: u64,
}

impl Instance {
    pub(super) fn new(world: &World, number: usize) -> Instance {
        let process_id = {
            let mut random = world.random.borrow_mut();
            Uuid::from_u64_pair(random.next_u64(), random.next_u64())
        };
        Instance {
            disk: SimulatedDisk::new(move |operation| world_of_disk(number, operation)),
            process_id,
            process: None,
            full_until_us: 0,
        }
    }
}

fn world_of_disk(instance: usize, operation: &DiskOperation<'_>) -> streams_state::Result<()> {
    world().disk_operation(instance, operation)
}

impl World {
    /// Creates the topics of the application.
    pub(super) fn create_topics(&self) -> Result<()> {
        for (topic, count) in &self.setup.topics {
            let count = usize::try_from(*count).unwrap_or(0);
            let mut cluster = self.cluster.borrow_mut();
            cluster.create(topic, count, &Default::default())?;
        }
        let settings = RuntimeSettings::new(&self.setup.config)?;
        let (plan, tasks) = self.plan(&settings)?;
        self.warmth.borrow_mut().set_table(tasks.clone());
        let topics = internal_topics(
            &self.setup.topology,
            &settings.application_id,
            &plan,
            &tasks,
            &settings.internal_topics,
        );
        // Asked to, brokers create topics with a delay; these are there at once.
        let broker = SimulatedBroker { process: 0 };
        let new: Vec<NewTopic> = topics
            .iter()
            .map(|topic| NewTopic {
                name: topic.name.clone(),
                partition_count: topic.partition_count,
                replication_factor: settings.internal_topics.replication_factor,
                config: topic.config.clone(),
            })
            .collect();
        broker.create_topics(&new, settings.request_timeout)?;
        make_ready(
            &broker,
            &topics,
            settings.internal_topics.replication_factor,
            settings.request_timeout,
            &Lifecycle::new(1),
        )
    }

    pub(super) fn plan(&self, settings: &RuntimeSettings) -> Result<(PartitionPlan, TaskTable)> {
        let counts = self.setup.topics.iter().cloned().collect();
        let id = &settings.application_id;
        let sources = external_topics(&self.setup.topology);
        let counts: std::collections::BTreeMap<String, i32> = counts;
        let counts = counts
            .into_iter()
            .filter(|(topic, _)| sources.contains_key(topic))
            .collect();
        let plan = PartitionPlan::new(&self.setup.topology, id, &counts)?;
        let stateful = stateful_parts(&self.setup.topology);
        let tasks = TaskTable::new(id, plan.task_counts.clone(), &stateful);
        Ok((plan, tasks))
    }

    /// Starts a process of an instance.
    pub(super) fn start(&self, number: usize) -> Result<()> {
        let mut settings = RuntimeSettings::new(&self.setup.config)?;
        settings.member_interval = MEMBER_INTERVAL;
        let session_timeout_ms = self.cluster.borrow().session_timeout_ms();
        settings.session_timeout = Duration::from_millis(session_timeout_ms as u64);
        let settings = Arc::new(settings);
        let process = self.new_id();
        let (disk, process_id) = {
            let mut instances = self.instances.borrow_mut();
            let instance = &mut instances[number];
            instance.process = Some(process);
            (instance.disk.clone(), instance.process_id)
        };
        self.note(process, || format!("a process of instance {number} starts"));
        let lifecycle = Lifecycle::new(settings.thread_count);
        lifecycle.set(State::Rebalancing);
        let started = Process {
            instance: number,
            lifecycle: Arc::clone(&lifecycle),
            held: 0,
        };
        self.processes.borrow_mut().insert(process, started);

        let application_id = Arc::clone(&settings.application_id);
        let client_id = format!("{application_id}-{process_id}");
        let broker = Arc::new(SimulatedBroker { process });
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock);
        let root = PathBuf::from(&*application_id);
        let directory = StateDirectory::simulated(root, &disk, process_id);
        let resources = StoreResources::simulated(&disk);
        let (plan, tasks) = self.plan(&settings)?;
        let task_options = TaskOptions {
            application_id,
            handlers: ExceptionHandlers::new(&self.setup.config),
            max_task_idle: self.setup.config.max_task_idle(),
            cache_enabled: self.setup.config.cache_max_bytes() > 0,
            outer_join_emit_interval: crate::task::OUTER_JOIN_EMIT_INTERVAL,
        };
        let globals = GlobalStores::open(
            &self.setup.topology,
            None,
            &resources,
            &task_options.handlers,
        )?;
        let metadata = Arc::new(CachedTopicMetadata::new(
            Arc::clone(&broker),
            plan.counts.clone(),
            settings.request_timeout,
            Arc::clone(&lifecycle),
        ));
        let purge = Arc::new(PurgeList::default());
        let sources = plan.counts.keys().cloned().collect();
        let (restore, workers) =
            RestorePool::new(settings.restore_thread_count, &client_id, &lifecycle);
        let local_tasks = Arc::<LocalTasks>::default();
        let notices = Arc::new(Notices {
            broker: Arc::clone(&broker),
            topic: Some(tasks.topic().into()),
            client_id: client_id.clone(),
            process_id,
            lifecycle: Arc::clone(&lifecycle),
        });
        let restoring = Arc::new(RestoreContext {
            opened_at_once: 1,
            broker: Arc::clone(&broker),
            directory: Arc::clone(&directory),
            local_tasks: Arc::clone(&local_tasks),
            resources,
            listener: None,
            clock: Arc::clone(&clock),
            request_timeout: settings.request_timeout,
            task_timeout: settings.task_timeout,
        });
        for worker in workers {
            let restorer = worker.restorer(Arc::clone(&restoring));
            self.add(process, Actor::Restore(worker, Box::new(restorer)));
        }
        let context = Arc::new(WorkerContext {
            broker: Arc::clone(&broker),
            topology: self.setup.topology.clone(),
            settings: Arc::clone(&settings),
            task_options,
            client_id,
            process_id,
            tasks,
            partition_counts: plan.counts,
            repartition_topics: plan.repartition_topics.into_iter().collect(),
            metadata: Arc::clone(&metadata),
            globals,
            restore,
            local_tasks,
            purge: Arc::clone(&purge),
            notices: Arc::clone(&notices),
            lifecycle: Arc::clone(&lifecycle),
            clock: Arc::clone(&clock),
        });
        let takes_any_task = context.takes_any_task();
        if takes_any_task {
            context.take_any_task();
        }
        if settings.standby_replicas > 0 || !takes_any_task {
            let standbys = StandbyTasks::new(Arc::new(StandbyContext {
                worker: Arc::clone(&context),
                restore: restoring,
                listener: None,
            }));
            self.add(process, Actor::Standby(Box::new(standbys)));
        }
        for thread in 1..=settings.thread_count {
            self.add(process, Actor::Starting(Arc::clone(&context), thread));
        }
        let jobs = Jobs {
            broker,
            settings,
            lifecycle,
            purge,
            notices,
            metadata,
            directory,
            clock,
            sources,
        };
        let done = jobs.started();
        self.add(process, Actor::Jobs(Box::new(jobs), done));
        Ok(())
    }

    fn add(&self, process: ProcessId, actor: Actor) {
        let due_us = self.now_us() + self.between(0, 20_000);
        let slot = Slot {
            process,
            due_us,
            actor: Some(actor),
        };
        self.slots.borrow_mut().insert(self.new_id(), slot);
    }

    /// A process dies at once, and is started again after a while.
    pub(super) fn kill(&self, process: ProcessId, how: &str) {
        self.note(process, || how.to_owned());
        self.crashes.set(self.crashes.get() + 1);
        self.bury(process);
    }

    /// A process is gone, for whatever reason: what it had not flushed may be lost.
    pub(super) fn bury(&self, process: ProcessId) {
        let Some(dead) = self.processes.borrow_mut().remove(&process) else {
            return;
        };
        self.members.borrow_mut().forget(process);
        self.warmth.borrow_mut().forget(process);
        let disk = {
            let mut instances = self.instances.borrow_mut();
            instances[dead.instance].process = None;
            instances[dead.instance].disk.clone()
        };
        disk.crash(|unflushed| self.between(0, unflushed as u64) as usize);
        self.check_stores(&disk);
        if self.chance(self.faults.lost_disk) {
            self.note(process, || "its disk is lost".to_owned());
            let empty = Instance::new(self, dead.instance);
            self.instances.borrow_mut()[dead.instance] = empty;
        }
        let dead_slots: Vec<Slot> = {
            let mut slots = self.slots.borrow_mut();
            let ids: Vec<u64> = slots
                .iter()
                .filter(|(_, slot)| slot.process == process)
                .map(|(id, _)| *id)
                .collect();
            ids.into_iter().filter_map(|id| slots.remove(&id)).collect()
        };
        drop(dead_slots);
        let after_us = if self.is_harsh.get() {
            self.between(10_000, 3_000_000)
        } else {
            10_000
        };
        if !self.is_ending.get() {
            self.schedule(after_us, Event::Start(dead.instance));
        }
    }

    /// Something is about to be done to a disk.
    fn disk_operation(
        &self,
        instance: usize,
        operation: &DiskOperation<'_>,
    ) -> streams_state::Result<()> {
        let process = self.current();
        self.effect(process, || format!("disk: {operation:?}"));
        let full_until_us = self.instances.borrow()[instance].full_until_us;
        let needs_space = matches!(
            operation,
            DiskOperation::Write { .. } | DiskOperation::Flush(_)
        );
        if needs_space && self.is_harsh.get() && self.now_us() < full_until_us {
            self.note(process, || "the disk is full".to_owned());
            return Err(StoreError::io("no space left on the simulated disk"));
        }
        if let DiskOperation::Write {
            directory,
            positions,
        } = operation
        {
            let process_id = self.instances.borrow()[instance].process_id;
            let ids = format!("{}-{process_id}-", self.setup.group);
            for (store, position) in *positions {
                self.check_position(&ids, directory, store, *position);
            }
        }
        Ok(())
    }

    /// A store must hold nothing that is not committed: its position is behind nothing undecided.
    fn check_position(&self, ids: &str, directory: &Path, store: &str, position: i64) {
        let Some((changelog, is_source)) = self.changelog(directory, store) else {
            return;
        };
        let cluster = self.cluster.borrow();
        let (limit, what) = if is_source {
            let committed = cluster.committed_offset(&self.setup.group, &changelog);
            (committed.unwrap_or(0), "the committed offset")
        } else {
            // Transactions of others may be open: those of zombies, which will not commit.
            let open = cluster.first_open_offset(&changelog, ids);
            let end = cluster.bounds(&changelog).map_or(0, |(_, end)| end);
            (open.unwrap_or(end), "what is decided,")
        };
        drop(cluster);
        if position > limit {
            self.violate(format!(
                "store {store} in {} is written at position {position}, beyond {what} {limit} of {changelog}",
                directory.display()
            ));
        }
    }

    /// What a store is restored from, and whether that is an input.
    pub(super) fn changelog(
        &self,
        directory: &Path,
        store: &str,
    ) -> Option<(TopicPartition, bool)> {
        let name = directory.file_name()?.to_str()?;
        let (sub_topology, partition) = name.split_once('_')?;
        let sub_topology: u32 = sub_topology.parse().ok()?;
        let partition = partition.parse().ok()?;
        let sub_topologies = self.setup.topology.sub_topologies();
        let of_task = sub_topologies.iter().find(|s| s.id == sub_topology)?;
        let definition = of_task.stores.iter().find(|s| s.name == store)?;
        let source = definition.changelog.as_ref()?.source_topic.as_ref();
        let topic = match source {
            Some(topic) => topic.to_string(),
            None => changelog_topic(&self.setup.group, store),
        };
        Some((TopicPartition::new(topic, partition), source.is_some()))
    }
}

/// How long a regular job may wait.
pub(super) const JOBS_EVERY: Duration = Duration::from_millis(200);
