//! The face of the runtime: an application that is started, watched and stopped.

use crate::config::{ClientKind, StreamsConfig};
use crate::error::{Error, Result};
use crate::exception_handlers::{
    DeserializationExceptionHandler, ExceptionHandlers, ProcessingExceptionHandler,
    ProductionExceptionHandler,
};
use crate::kafka::{KafkaBroker, KafkaSettings};
use crate::runtime::application::Application;
use crate::runtime::handle::KafkaStreamsHandle;
use crate::runtime::lifecycle::{Lifecycle, State};
use crate::runtime::memory_split::MemorySplit;
use crate::runtime::restore_listener::RestoreListener;
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::shutdown::SignalWatch;
use crate::runtime::standby::listener::StandbyUpdateListener;
use crate::runtime::uncaught::StreamThreadExceptionResponse;
use crate::task::TaskOptions;
use crate::topology::Topology;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// An application: a topology that runs against a Kafka cluster and shares the work with every other instance of the same
/// `application.id`.
///
/// Stream threads are threads of the operating system; [`run`](Self::run) is a future that waits for them under any
/// executor. It resolves when the application has stopped: `Ok` after SIGTERM, SIGINT or [`KafkaStreamsHandle::close`],
/// the first unhandled error otherwise. Return that error from `main` and the process ends with a non-zero code. A second
/// SIGTERM or SIGINT while the application stops ends the process at once, with code 143 or 130: what was not committed is
/// processed again at the next start.
///
/// ```no_run
/// use streams_core::serdes::Utf8;
/// use streams_core::{Consumed, KafkaStreams, Produced, StreamsBuilder, StreamsConfig};
///
/// # async fn start() -> streams_core::Result<()> {
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("in", Consumed::with(Utf8, Utf8))
///     .to("out", Produced::with(Utf8, Utf8));
///
/// let config = StreamsConfig::new("copy").set("bootstrap.servers", "localhost:9092")?;
/// KafkaStreams::new(builder.build()?, config)?.run().await
/// # }
/// ```
///
/// # Topics
///
/// Input topics must exist; the application waits up to 30 seconds for them, since their producer may start at the same
/// moment. Repartition and changelog topics are created with Kafka Streams' names and configuration, and checked when they
/// exist. More are this library's own: `<application.id>-tasks`, with one partition for each task without state, and
/// `<application.id>-task-<task>` for each task with state. The group subscribes to those alone, which keeps the inputs of a
/// task together, moves as few tasks as possible when instances come and go, and those with state only to where that is; the
/// offsets committed are those of the real input partitions. They are compacted and hold no data of yours: in the first one
/// the instances tell each other every three seconds which tasks and copies they have.
pub struct KafkaStreams {
    topology: Topology,
    broker: KafkaBroker,
    settings: Arc<RuntimeSettings>,
    lifecycle: Arc<Lifecycle>,
    task_options: TaskOptions,
    listener: Option<Arc<dyn RestoreListener>>,
    standby_listener: Option<Arc<dyn StandbyUpdateListener>>,
}

impl KafkaStreams {
    /// An application that is not started yet. Nothing is connected to and nothing is created before [`run`](Self::run).
    ///
    /// # Errors
    /// When the configuration lacks `bootstrap.servers`, has settings that do not go together
    /// ([`StreamsConfig::validate`]), asks for something this version does not offer, or has a setting the Kafka client
    /// refuses.
    pub fn new(topology: Topology, config: StreamsConfig) -> Result<Self> {
        if config.bootstrap_servers().is_none() {
            return Err(Error::config(
                "bootstrap.servers is not set: set it to the brokers of your cluster, `config.set(\"bootstrap.servers\", \
                 \"localhost:9092\")`, or the variable KAFKA_BOOTSTRAP_SERVERS; without a cluster, start the broker of \
                 `streams_core::embedded` and set its address",
            ));
        }
        config.validate()?;
        let settings = Arc::new(RuntimeSettings::new(&config)?);
        let lifecycle = Lifecycle::new(settings.thread_count);
        let task_options = TaskOptions {
            application_id: Arc::clone(&settings.application_id),
            handlers: ExceptionHandlers::new(&config),
            max_task_idle: config.max_task_idle(),
            cache_enabled: config.cache_max_bytes() > 0,
            outer_join_emit_interval: crate::task::OUTER_JOIN_EMIT_INTERVAL,
        };
        Ok(KafkaStreams {
            topology: topology.configured(&config),
            broker: KafkaBroker::new(client_settings(&config, &settings.memory))?,
            settings,
            lifecycle,
            task_options,
            listener: None,
            standby_listener: None,
        })
    }

    /// Calls `listener` with the new and the old state at every change, one change after the other, on a thread that changed
    /// it; it must not block.
    #[must_use]
    pub fn with_state_listener(
        self,
        listener: impl Fn(State, State) + Send + Sync + 'static,
    ) -> Self {
        self.lifecycle.set_listener(Arc::new(listener));
        self
    }

    /// Asks `handler` what to do with records that cannot be read, instead of the one that
    /// `deserialization.exception.handler` names.
    #[must_use]
    pub fn with_deserialization_exception_handler(
        mut self,
        handler: impl DeserializationExceptionHandler,
    ) -> Self {
        self.task_options.handlers.deserialization = Arc::new(handler);
        self
    }

    /// Asks `handler` what to do with records that a node fails on, instead of the one that `processing.exception.handler`
    /// names.
    #[must_use]
    pub fn with_processing_exception_handler(
        mut self,
        handler: impl ProcessingExceptionHandler,
    ) -> Self {
        self.task_options.handlers.processing = Some(Arc::new(handler));
        self
    }

    /// Asks `handler` what to do with records that cannot be written, instead of the one that `production.exception.handler`
    /// names.
    #[must_use]
    pub fn with_production_exception_handler(
        mut self,
        handler: impl ProductionExceptionHandler,
    ) -> Self {
        self.task_options.handlers.production = Arc::new(handler);
        self
    }

    /// Asks `handler` what to do when an error ends a thread: replace the thread, stop this instance, or stop all of them
    /// (Kafka Streams' `StreamsUncaughtExceptionHandler`). It is asked on the thread that failed, when that has closed its
    /// tasks and left the group; without a handler, and when it panics, this instance stops.
    ///
    /// ```no_run
    /// use streams_core::{ErrorKind, KafkaStreams, StreamThreadExceptionResponse};
    ///
    /// # fn with_handler(streams: KafkaStreams) -> KafkaStreams {
    /// streams.with_uncaught_exception_handler(|error| match error.kind() {
    ///     // The disk of this machine alone.
    ///     ErrorKind::State => StreamThreadExceptionResponse::ShutdownClient,
    ///     // A record that nobody can process stops everybody.
    ///     ErrorKind::Data => StreamThreadExceptionResponse::ShutdownApplication,
    ///     _ => StreamThreadExceptionResponse::ReplaceThread,
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn with_uncaught_exception_handler(
        self,
        handler: impl Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync + 'static,
    ) -> Self {
        self.lifecycle.set_uncaught_handler(Arc::new(handler));
        self
    }

    /// Tells `listener` how the restoration of stores goes.
    #[must_use]
    pub fn with_restore_listener(mut self, listener: impl RestoreListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Tells `listener` how the [standby copies](StreamsConfig#standby-copies) of this instance follow their changelogs.
    #[must_use]
    pub fn with_standby_update_listener(mut self, listener: impl StandbyUpdateListener) -> Self {
        self.standby_listener = Some(Arc::new(listener));
        self
    }

    /// To watch and stop the application from elsewhere.
    pub fn handle(&self) -> KafkaStreamsHandle {
        KafkaStreamsHandle {
            lifecycle: Arc::clone(&self.lifecycle),
            settings: Arc::clone(&self.settings),
        }
    }

    /// What the application is doing.
    pub fn state(&self) -> State {
        self.lifecycle.state()
    }

    /// Deletes the local state of the application, `<state.dir>/<application.id>`; the next start restores it from the
    /// changelogs.
    ///
    /// # Errors
    /// When another process uses the directory or it cannot be deleted.
    pub fn clean_up(&self) -> Result<()> {
        self.handle().clean_up()
    }

    /// Runs until the application is asked to stop, by SIGTERM, SIGINT or the handle, or fails. The threads commit, close
    /// their stores and leave the group before it returns, within 30 seconds. Dropping the future asks it to stop.
    ///
    /// # Errors
    /// The first error that nothing handled; the message names the thread and the task, the topic, partition and offset.
    pub async fn run(self) -> Result<()> {
        let stop_on_drop = StopOnDrop(self.handle());
        let (done, finished) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("{}-main", self.settings.application_id))
            .spawn(move || {
                // Nobody is left to tell when the future was dropped.
                let _ = done.send(self.run_blocking());
            })
            .map_err(|error| {
                Error::fatal(format!(
                    "the application's thread could not be started: {error}"
                ))
            })?;
        let result = finished.await.unwrap_or_else(|_| {
            Err(Error::fatal(
                "the application's main thread panicked: see its message on standard error",
            ))
        });
        drop(stop_on_drop);
        result
    }

    /// [`run`](Self::run) for a program without an executor: blocks until the application has stopped.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_blocking(self) -> Result<()> {
        let _signals = SignalWatch::start(Arc::clone(&self.lifecycle))?;
        Application {
            broker: Arc::new(self.broker),
            task_options: self.task_options,
            topology: self.topology,
            settings: self.settings,
            listener: self.listener,
            standby_listener: self.standby_listener,
            lifecycle: self.lifecycle,
        }
        .run()
    }
}

impl fmt::Debug for KafkaStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStreams")
            .field("application_id", &self.settings.application_id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Asks the application to stop when the future that runs it is dropped.
struct StopOnDrop(KafkaStreamsHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What each kind of client is set to. Their queues take their part of the memory the application may use, unless the user
/// sets their sizes.
fn client_settings(config: &StreamsConfig, memory: &MemorySplit) -> KafkaSettings {
    let mut settings = KafkaSettings {
        consumer: config.client_settings(ClientKind::MainConsumer),
        restore_consumer: config.client_settings(ClientKind::RestoreConsumer),
        global_consumer: config.client_settings(ClientKind::GlobalConsumer),
        producer: config.client_settings(ClientKind::Producer),
        admin: config.client_settings(ClientKind::Admin),
        ..KafkaSettings::default()
    };
    let fetched = "queued.max.messages.kbytes";
    for (client, name, bytes) in [
        (
            &mut settings.consumer,
            fetched,
            memory.consumer_bytes_per_thread,
        ),
        (
            &mut settings.restore_consumer,
            fetched,
            memory.reader_bytes_each,
        ),
        (
            &mut settings.global_consumer,
            fetched,
            memory.reader_bytes_each,
        ),
        (
            &mut settings.producer,
            "queue.buffering.max.kbytes",
            memory.producer_bytes_per_thread,
        ),
    ] {
        client
            .entry(name.to_owned())
            .or_insert_with(|| (bytes / 1024).to_string());
    }
    settings
}
