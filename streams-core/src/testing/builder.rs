//! How a test driver is set up.

use super::driver::TopologyTestDriver;
use super::logs::{Logs, PartitionCounts};
use super::tasks::Layout;
use crate::config::StreamsConfig;
use crate::error::{Error, Result};
use crate::exception_handlers::{
    DeserializationExceptionHandler, ExceptionHandlers, ProcessingExceptionHandler,
    ProductionExceptionHandler,
};
use crate::runtime::partition_plan::{PartitionPlan, external_topics};
use crate::stores::duration_ms;
use crate::task::{GlobalStores, TaskOptions};
use crate::topology::Topology;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streams_state::StoreResources;

/// When a test driver commits, which is when the record cache lets go of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitMode {
    EveryRecord,
    /// By the driver's wall clock, in milliseconds.
    Every(i64),
    Explicit,
}

/// Sets up a [`TopologyTestDriver`]; made by [`TopologyTestDriver::builder`].
///
/// ```
/// use std::time::Duration;
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("words", Consumed::with(Utf8, Utf8))
///     .group_by_key()
///     .count_with(Materialized::named("counts"))
///     .to_stream()
///     .to("counts", Produced::with(Utf8, I64));
///
/// let mut driver = TopologyTestDriver::builder(&builder.build()?)
///     .partitions("words", 4)
///     .commit_interval(Duration::from_secs(30))
///     .build()?;
/// let words = driver.input("words", Utf8, Utf8);
/// let counts = driver.output("counts", Utf8, I64);
/// driver.pipe_key_values(&words, [("ape", ""), ("bee", ""), ("ape", "")])?;
/// assert!(driver.is_empty(&counts));
///
/// // The record cache has kept the last count of each word.
/// driver.advance_wall_clock(Duration::from_secs(30))?;
/// assert_eq!(driver.read_map(&counts)?["ape"], 2);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct TopologyTestDriverBuilder {
    topology: Topology,
    application_id: String,
    config: Option<StreamsConfig>,
    deserialization: Option<Arc<dyn DeserializationExceptionHandler>>,
    processing: Option<Arc<dyn ProcessingExceptionHandler>>,
    production: Option<Arc<dyn ProductionExceptionHandler>>,
    commit: CommitMode,
    wall_clock_ms: i64,
    counts: BTreeMap<String, i32>,
    default_partitions: i32,
}

impl TopologyTestDriverBuilder {
    pub(super) fn new(topology: &Topology) -> Self {
        TopologyTestDriverBuilder {
            topology: topology.clone(),
            application_id: TopologyTestDriver::APPLICATION_ID.to_owned(),
            config: None,
            deserialization: None,
            processing: None,
            production: None,
            commit: CommitMode::EveryRecord,
            wall_clock_ms: 0,
            counts: BTreeMap::new(),
            default_partitions: 1,
        }
    }

    /// The application's id, with which the names of internal topics begin;
    /// [`TopologyTestDriver::APPLICATION_ID`] if it is not set.
    #[must_use]
    pub fn application_id(mut self, application_id: &str) -> Self {
        self.application_id = application_id.to_owned();
        self
    }

    /// Takes the application's id, the exception handlers and their dead letter queue, `max.task.idle.ms` and whether the record cache is
    /// on (`statestore.cache.max.bytes` is not 0) from a configuration. Nothing else of it matters to the driver; the
    /// commit interval is the driver's own.
    #[must_use]
    pub fn config(mut self, config: StreamsConfig) -> Self {
        self.application_id = config.application_id().to_owned();
        self.config = Some(config);
        self
    }

    /// What decides about records that cannot be read.
    #[must_use]
    pub fn deserialization_exception_handler(
        mut self,
        handler: impl DeserializationExceptionHandler,
    ) -> Self {
        self.deserialization = Some(Arc::new(handler));
        self
    }

    /// What decides about records that a node fails on.
    #[must_use]
    pub fn processing_exception_handler(
        mut self,
        handler: impl ProcessingExceptionHandler,
    ) -> Self {
        self.processing = Some(Arc::new(handler));
        self
    }

    /// What decides about records that cannot be written. Here that is because they cannot be serialized.
    #[must_use]
    pub fn production_exception_handler(
        mut self,
        handler: impl ProductionExceptionHandler,
    ) -> Self {
        self.production = Some(Arc::new(handler));
        self
    }

    /// Where the wall clock stands first, in milliseconds since the Unix epoch; 0 if it is not set.
    #[must_use]
    pub fn wall_clock(mut self, time_ms: i64) -> Self {
        self.wall_clock_ms = time_ms;
        self
    }

    /// Commits after every record, as Kafka Streams' driver does and as is the default.
    #[must_use]
    pub fn commit_every_record(mut self) -> Self {
        self.commit = CommitMode::EveryRecord;
        self
    }

    /// Commits when [`TopologyTestDriver::advance_wall_clock`] has moved the clock on by the interval, when a processor asks
    /// for it, and in [`TopologyTestDriver::commit`].
    #[must_use]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit = CommitMode::Every(duration_ms(interval));
        self
    }

    /// Commits in [`TopologyTestDriver::commit`] only.
    #[must_use]
    pub fn commit_explicitly(mut self) -> Self {
        self.commit = CommitMode::Explicit;
        self
    }

    /// How many partitions a topic has that the topology reads or writes. Repartition topics and changelogs follow from it.
    #[must_use]
    pub fn partitions(mut self, topic: &str, count: i32) -> Self {
        self.counts.insert(topic.to_owned(), count);
        self
    }

    /// How many partitions each topic has for which [`partitions`](Self::partitions) does not say it; 1 if it is not set.
    #[must_use]
    pub fn default_partitions(mut self, count: i32) -> Self {
        self.default_partitions = count;
        self
    }

    /// The driver.
    ///
    /// # Errors
    /// When the partition counts do not go together (topics that are joined need equal ones), or the topology's stores
    /// cannot be opened.
    pub fn build(mut self) -> Result<TopologyTestDriver> {
        let counts = self.counts.iter().map(|(topic, count)| (&**topic, *count));
        for (topic, count) in counts.chain([("each other topic", self.default_partitions)]) {
            if count < 1 {
                return Err(Error::config(format!(
                    "{topic} is to have {count} partitions in the test driver: it needs at least 1"
                )));
            }
        }
        if let Some(config) = &self.config {
            self.topology = self.topology.configured(config);
        }
        let config = self.config.as_ref();
        let mut handlers = config.map_or_else(ExceptionHandlers::default, ExceptionHandlers::new);
        if let Some(handler) = &self.deserialization {
            handlers.deserialization = handler.clone();
        }
        if let Some(handler) = &self.processing {
            handlers.processing = Some(handler.clone());
        }
        if let Some(handler) = &self.production {
            handlers.production = handler.clone();
        }
        let options = TaskOptions {
            application_id: self.application_id.as_str().into(),
            handlers,
            max_task_idle: config.and_then(StreamsConfig::max_task_idle),
            cache_enabled: config.is_none_or(|config| config.cache_max_bytes() > 0),
            // As Java's driver: what a record brings to light comes out with it, whatever the clock says.
            outer_join_emit_interval: Duration::ZERO,
        };
        let several = self.default_partitions > 1 || self.counts.values().any(|count| *count > 1);
        let (layout, counts) = match several {
            false => (Layout::one_task(&self.topology), PartitionCounts::one()),
            true => self.plan()?,
        };
        let globals = GlobalStores::open(
            &self.topology,
            None,
            &StoreResources::in_memory(),
            &options.handlers,
        )?;
        TopologyTestDriver::start(
            self.topology,
            layout,
            Logs::new(counts),
            globals,
            options,
            self.commit,
            self.wall_clock_ms,
        )
    }

    /// A task for each sub-topology and partition, as production has them.
    fn plan(&self) -> Result<(Layout, PartitionCounts)> {
        let count = |topic: &str| match self.counts.get(topic) {
            Some(count) => *count,
            None => self.default_partitions,
        };
        let external = external_topics(&self.topology);
        let external = external
            .into_keys()
            .map(|topic| {
                let count = count(&topic);
                (topic, count)
            })
            .collect();
        let plan = PartitionPlan::new(&self.topology, &self.application_id, &external)?;
        let mut counts = self.counts.clone();
        counts.extend(plan.counts);
        for sub_topology in self.topology.sub_topologies() {
            for store in &sub_topology.stores {
                let changelog = format!("{}-{}-changelog", self.application_id, store.name);
                counts.insert(changelog, plan.task_counts[&sub_topology.id]);
            }
        }
        let counts = PartitionCounts {
            counts,
            others: self.default_partitions,
        };
        Ok((Layout::TaskPerPartition(plan.task_counts), counts))
    }
}
