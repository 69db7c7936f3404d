//! One application from start to stop, over any broker: topics, global tables, threads, and what has to be done between
//! their turns.

use crate::error::{Error, Result};
use crate::runtime::assignment::TaskTable;
use crate::runtime::broker::Broker;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::commit::PurgeList;
use crate::runtime::global::{self, GlobalContext};
use crate::runtime::internal_topics::{internal_topics, make_ready};
use crate::runtime::jobs::Jobs;
use crate::runtime::lifecycle::{Lifecycle, State};
use crate::runtime::local_tasks::LocalTasks;
use crate::runtime::notices::Notices;
use crate::runtime::partition_plan::{PartitionPlan, external_topics};
use crate::runtime::restore::RestoreContext;
use crate::runtime::restore_listener::RestoreListener;
use crate::runtime::restore_pool::RestorePool;
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::shutdown::{Threads, catch};
use crate::runtime::standby::listener::StandbyUpdateListener;
use crate::runtime::standby::{self, StandbyContext, StandbyTasks};
use crate::runtime::state_directory::StateDirectory;
use crate::runtime::stream_threads::ThreadFactory;
use crate::runtime::task_layout::stateful_parts;
use crate::runtime::topic_metadata::CachedTopicMetadata;
use crate::runtime::uncaught;
use crate::runtime::worker::WorkerContext;
use crate::task::{GlobalStores, TaskOptions};
use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use streams_state::{StoreBackend, StoreResources};

/// How long input topics may be missing: their producer often starts at the same moment as the application.
const MISSING_TOPIC_WAIT: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long a starting application waits for one answer, before it says so and asks again.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The stores of how many tasks a restore thread opens at the same time.
const OPENED_AT_ONCE: usize = 4;
/// How often a starting application looks whether it is to stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Everything an application is made of.
pub(crate) struct Application<B: Broker> {
    pub(crate) broker: Arc<B>,
    pub(crate) topology: Topology,
    pub(crate) settings: Arc<RuntimeSettings>,
    pub(crate) task_options: TaskOptions,
    pub(crate) listener: Option<Arc<dyn RestoreListener>>,
    pub(crate) standby_listener: Option<Arc<dyn StandbyUpdateListener>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl<B: Broker> Application<B> {
    /// Runs until it is asked to stop or something fails.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) fn run(&self) -> Result<()> {
        self.lifecycle.set(State::Rebalancing);
        let mut threads = Threads::default();
        match self.start(&mut threads) {
            Ok(Some(jobs)) => jobs.run(),
            // Asked to stop before it had started.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the application cannot start");
                self.lifecycle.fail(error);
            }
        }
        self.lifecycle.request_stop();
        self.lifecycle.set(State::PendingShutdown);
        self.lifecycle.set_factory(None);
        let timeout = self.lifecycle.close_timeout();
        if let Err(error) = threads.join(timeout.unwrap_or(self.settings.close_timeout)) {
            self.lifecycle.set_overdue();
            self.lifecycle.fail(error);
        }
        match self.lifecycle.take_failure() {
            None => {
                self.lifecycle.set(State::NotRunning);
                Ok(())
            }
            Some(error) => {
                self.lifecycle.set(State::Error);
                Err(error)
            }
        }
    }

    fn start(&self, threads: &mut Threads) -> Result<Option<Jobs<B>>> {
        let settings = &self.settings;
        let application_id = &settings.application_id;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        settings.memory.log();
        let directory = self.state_directory()?;
        let client_id = settings
            .client_id
            .clone()
            .unwrap_or_else(|| format!("{application_id}-{}", directory.process_id()));

        let Some((counts, global_counts)) = self.wait_for_topics()? else {
            return Ok(None);
        };
        let plan = PartitionPlan::new(&self.topology, application_id, &counts)?;
        let stateful = stateful_parts(&self.topology);
        let tasks = TaskTable::new(application_id, plan.task_counts.clone(), &stateful);
        if tasks.len() > 0 {
            self.make_topics_ready(&plan, &tasks)?;
        }

        let resources = StoreResources::new(settings.memory.stores_bytes);
        let notices = Arc::new(Notices {
            broker: Arc::clone(&self.broker),
            topic: (tasks.len() > 0).then(|| tasks.topic().into()),
            client_id: client_id.clone(),
            process_id: directory.process_id(),
            lifecycle: Arc::clone(&self.lifecycle),
        });
        let Some(globals) =
            self.start_globals(&notices, &directory, &resources, global_counts, threads)?
        else {
            return Ok(None);
        };
        let metadata = Arc::new(CachedTopicMetadata::new(
            Arc::clone(&self.broker),
            plan.counts.clone(),
            settings.request_timeout,
            Arc::clone(&self.lifecycle),
        ));
        let purge = Arc::new(PurgeList::default());
        let sources = plan.counts.keys().cloned().collect();
        if tasks.len() > 0 {
            let local_tasks = Arc::<LocalTasks>::default();
            let restoring = Arc::new(RestoreContext {
                opened_at_once: OPENED_AT_ONCE,
                broker: Arc::clone(&self.broker),
                directory: Arc::clone(&directory),
                local_tasks: Arc::clone(&local_tasks),
                resources,
                listener: self.listener.clone(),
                clock: Arc::clone(&clock),
                request_timeout: settings.request_timeout,
                task_timeout: settings.task_timeout,
            });
            let restore = RestorePool::start(
                settings.restore_thread_count,
                &restoring,
                &client_id,
                &self.lifecycle,
                threads,
            )?;
            let context = Arc::new(WorkerContext {
                broker: Arc::clone(&self.broker),
                topology: self.topology.clone(),
                settings: Arc::clone(settings),
                task_options: self.task_options.clone(),
                client_id,
                process_id: directory.process_id(),
                tasks,
                partition_counts: plan.counts,
                repartition_topics: plan.repartition_topics.into_iter().collect(),
                metadata: Arc::clone(&metadata),
                globals,
                restore,
                local_tasks,
                purge: Arc::clone(&purge),
                notices: Arc::clone(&notices),
                lifecycle: Arc::clone(&self.lifecycle),
                clock: Arc::clone(&clock),
            });
            self.start_standbys(&context, restoring, threads)?;
            self.start_workers(&context, threads)?;
        } else {
            // A topology of global tables alone has nothing to share out.
            self.lifecycle.set(State::Running);
        }
        Ok(Some(Jobs {
            broker: Arc::clone(&self.broker),
            settings: Arc::clone(settings),
            lifecycle: Arc::clone(&self.lifecycle),
            purge,
            notices,
            metadata,
            directory,
            clock,
            sources,
        }))
    }

    fn state_directory(&self) -> Result<Arc<StateDirectory>> {
        let stores = self
            .topology
            .sub_topologies()
            .iter()
            .flat_map(|sub_topology| &sub_topology.stores)
            .chain(self.topology.global_stores().iter().map(|g| &g.store));
        let on_disk = stores
            .into_iter()
            .any(|store| !matches!(store.spec.backend, StoreBackend::Memory));
        if on_disk {
            StateDirectory::open(&self.settings.state_dir, &self.settings.application_id)
        } else {
            Ok(StateDirectory::in_memory())
        }
    }

    /// Repeats a question to the cluster while it does not answer, as long as `task.timeout.ms` allows; `None` when the
    /// application is to stop meanwhile.
    fn ask<T>(&self, mut question: impl FnMut() -> Result<T>) -> Result<Option<T>> {
        let deadline = Instant::now() + self.settings.task_timeout;
        loop {
            match question() {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    tracing::warn!(%error, "asking the brokers again");
                }
                Err(error) => return Err(error),
            }
            if self.lifecycle.wait_for_stop(RETRY_INTERVAL) {
                return Ok(None);
            }
        }
    }

    /// The partition counts of the user's topics: those that tasks read and those of global tables.
    #[expect(
        clippy::type_complexity,
        reason = "two maps of one kind, taken apart at once"
    )]
    fn wait_for_topics(&self) -> Result<Option<(BTreeMap<String, i32>, BTreeMap<String, i32>)>> {
        let sources = external_topics(&self.topology);
        let globals: BTreeSet<String> = self
            .topology
            .global_stores()
            .iter()
            .map(|global| global.topic.to_string())
            .collect();
        let names: Vec<&str> = sources.keys().chain(&globals).map(String::as_str).collect();
        let deadline = Instant::now() + MISSING_TOPIC_WAIT;
        let mut said = false;
        loop {
            let timeout = self.settings.request_timeout.min(QUESTION_TIMEOUT);
            let Some(counts) = self.ask(|| self.broker.partition_counts(&names, timeout))? else {
                return Ok(None);
            };
            let found: BTreeMap<String, i32> = names
                .iter()
                .zip(&counts)
                .filter_map(|(name, count)| Some(((*name).to_owned(), (*count)?)))
                .collect();
            let missing: Vec<&str> = names
                .iter()
                .copied()
                .filter(|name| !found.contains_key(*name))
                .collect();
            if missing.is_empty() {
                let of = |keep: &dyn Fn(&String) -> bool| {
                    let found = found.iter().filter(|(name, _)| keep(name));
                    found.map(|(name, count)| (name.clone(), *count)).collect()
                };
                return Ok(Some((
                    of(&|name| sources.contains_key(name)),
                    of(&|name| globals.contains(name)),
                )));
            }
            if Instant::now() >= deadline {
                let places: Vec<String> = missing
                    .iter()
                    .map(|name| match sources.get(*name) {
                        Some(ids) => format!("{name} (sub-topology {})", join(ids)),
                        None => format!("{name} (global table)"),
                    })
                    .collect();
                return Err(Error::fatal(format!(
                    "Missing source topics: {}; they were not there {} s after the start: create them, check their names, and start again",
                    places.join(", "),
                    MISSING_TOPIC_WAIT.as_secs()
                )));
            }
            if !said {
                tracing::warn!(?missing, "waiting for source topics to be created");
                said = true;
            }
            if self.lifecycle.wait_for_stop(RETRY_INTERVAL) {
                return Ok(None);
            }
        }
    }

    fn make_topics_ready(&self, plan: &PartitionPlan, tasks: &TaskTable) -> Result<()> {
        let settings = &self.settings;
        let topics = internal_topics(
            &self.topology,
            &settings.application_id,
            plan,
            tasks,
            &settings.internal_topics,
        );
        self.ask(|| {
            make_ready(
                &*self.broker,
                &topics,
                settings.internal_topics.replication_factor,
                settings.request_timeout,
                &self.lifecycle,
            )
        })?;
        Ok(())
    }

    /// Waits until global tables are complete; `None` when the application is to stop meanwhile.
    fn start_globals(
        &self,
        notices: &Arc<Notices<B>>,
        directory: &Arc<StateDirectory>,
        resources: &StoreResources,
        partition_counts: BTreeMap<String, i32>,
        threads: &mut Threads,
    ) -> Result<Option<Arc<GlobalStores>>> {
        if self.topology.global_stores().is_empty() {
            let handlers = &self.task_options.handlers;
            let none = GlobalStores::open(&self.topology, None, resources, handlers)?;
            return Ok(Some(none));
        }
        let context = GlobalContext {
            broker: Arc::clone(&self.broker),
            topology: self.topology.clone(),
            application_id: Arc::clone(&self.settings.application_id),
            client_id: format!("{}-global-consumer", notices.client_id),
            directory: directory.global()?,
            resources: resources.clone(),
            handlers: self.task_options.handlers.clone(),
            partition_counts,
            request_timeout: self.settings.request_timeout,
            task_timeout: self.settings.task_timeout,
            poll_interval: self.settings.poll_interval,
            lifecycle: Arc::clone(&self.lifecycle),
        };
        let (ready, complete) = channel();
        let name = format!("{}-GlobalStreamThread", notices.client_id);
        let notices = Arc::clone(notices);
        threads.spawn(name.clone(), move || {
            uncaught::run_once(&name, &notices, || global::run(&context, &ready));
        })?;
        loop {
            match complete.recv_timeout(STOP_CHECK_INTERVAL) {
                Ok(stores) => return Ok(Some(stores)),
                Err(RecvTimeoutError::Timeout) if !self.lifecycle.is_stopping() => {}
                // The thread has ended: it left its error with the lifecycle.
                Err(_) => return Ok(None),
            }
        }
    }

    /// Finds out which tasks this instance may be given, and keeps copies of other instances' tasks.
    fn start_standbys(
        &self,
        worker: &Arc<WorkerContext<B>>,
        restore: Arc<RestoreContext<B>>,
        threads: &mut Threads,
    ) -> Result<()> {
        if worker.takes_any_task() {
            worker.take_any_task();
            if self.settings.standby_replicas == 0 {
                return Ok(());
            }
        }
        let context = Arc::new(StandbyContext {
            worker: Arc::clone(worker),
            restore,
            listener: self.standby_listener.clone(),
        });
        let name = standby::name(&worker.client_id);
        let lifecycle = Arc::clone(&self.lifecycle);
        threads.spawn(name.clone(), move || {
            catch(&name, &lifecycle, || {
                StandbyTasks::new(context).run(&lifecycle);
                Ok(())
            });
        })
    }

    fn start_workers(&self, context: &Arc<WorkerContext<B>>, threads: &Threads) -> Result<()> {
        let (client_id, context) = (context.client_id.clone(), Arc::clone(context));
        let threads = threads.clone();
        let start = move |number| {
            let context = Arc::clone(&context);
            threads.spawn(context.thread_name(number), move || {
                uncaught::run_stream_thread(&context, number);
            })
        };
        for number in 1..=self.settings.thread_count {
            start(number)?;
        }
        let start = Box::new(start);
        self.lifecycle
            .set_factory(Some(ThreadFactory { client_id, start }));
        Ok(())
    }
}

fn join(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    ids.join(", ")
}
