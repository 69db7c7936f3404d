//! The settings as the runtime reads them: numbers, durations and choices.

use std::path::PathBuf;
use std::time::Duration;

use super::StreamsConfig;
use super::allowed::OPTIMIZATIONS;
use super::choices::{
    AutoOffsetReset, DslStore, ExceptionHandler, GroupProtocol, MetricsRecordingLevel,
    ProcessingGuarantee, TopologyOptimization,
};
use super::settings;

impl StreamsConfig {
    /// `application.id`; empty when neither code nor file nor environment gave it, which
    /// [`validate`](Self::validate) refuses.
    pub fn application_id(&self) -> &str {
        self.text("application.id").unwrap_or_default()
    }

    /// `acceptable.recovery.lag`: how many offsets a copy of a task's state may be behind for the task to move to it (KIP-441).
    pub fn acceptable_recovery_lag(&self) -> u64 {
        checked(self.or_default("acceptable.recovery.lag"))
    }

    /// `bootstrap.servers`; `None` for the embedded broker.
    pub fn bootstrap_servers(&self) -> Option<&str> {
        self.text("bootstrap.servers")
    }

    /// `client.id`; `None` when it is to be made up.
    pub fn client_id(&self) -> Option<&str> {
        self.text("client.id")
    }

    /// `application.server`: the `host:port` under which other instances reach this one.
    pub fn application_server(&self) -> Option<&str> {
        self.text("application.server")
    }

    /// `auto.offset.reset`, of the main consumer.
    pub fn auto_offset_reset(&self) -> AutoOffsetReset {
        match self.consumer_text("auto.offset.reset") {
            text if text.eq_ignore_ascii_case("latest") => AutoOffsetReset::Latest,
            text if text.eq_ignore_ascii_case("none") => AutoOffsetReset::None,
            _ => AutoOffsetReset::Earliest,
        }
    }

    /// `buffered.records.per.partition`.
    pub fn buffered_records_per_partition(&self) -> usize {
        self.count("buffered.records.per.partition")
    }

    /// `statestore.cache.max.bytes`, of all threads together; `cache.max.bytes.buffering` when only that is set.
    pub fn cache_max_bytes(&self) -> usize {
        let name = "statestore.cache.max.bytes";
        let old_name = "cache.max.bytes.buffering";
        if self.text(name).is_none() && self.text(old_name).is_some() {
            return self.count(old_name);
        }
        self.count(name)
    }

    /// `commit.interval.ms`: 30 s by default, 100 ms with `exactly_once_v2`.
    pub fn commit_interval(&self) -> Duration {
        let exactly_once = self.processing_guarantee() == ProcessingGuarantee::ExactlyOnceV2;
        if exactly_once && self.text("commit.interval.ms").is_none() {
            return Duration::from_millis(100);
        }
        self.duration("commit.interval.ms")
    }

    /// `errors.dead.letter.queue.topic.name`.
    pub fn dead_letter_queue_topic(&self) -> Option<&str> {
        self.text("errors.dead.letter.queue.topic.name")
    }

    /// `deserialization.exception.handler`, or `default.deserialization.exception.handler` when only that is set.
    pub fn deserialization_exception_handler(&self) -> ExceptionHandler {
        let name = "deserialization.exception.handler";
        let text = self
            .text(name)
            .or_else(|| self.text("default.deserialization.exception.handler"))
            .unwrap_or_else(|| self.or_default(name));
        handler(&settings::DESERIALIZATION_HANDLERS, text)
    }

    /// `dsl.store.suppliers.class`, or `default.dsl.store` when only that is set: where the stores of tables, aggregations and
    /// joins are that were given no place, neither each for itself nor by
    /// [`StreamsBuilder::with_store_backend`](crate::StreamsBuilder::with_store_backend). A class may be named without its
    /// package.
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    /// use streams_core::config::DslStore;
    ///
    /// let config = StreamsConfig::new("app").set("default.dsl.store", "in_memory")?;
    /// assert_eq!(config.default_dsl_store(), DslStore::InMemory);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn default_dsl_store(&self) -> DslStore {
        let text = self
            .text("dsl.store.suppliers.class")
            .unwrap_or_else(|| self.or_default("default.dsl.store"));
        let is_in_memory = text.eq_ignore_ascii_case("in_memory")
            || text
                .to_ascii_lowercase()
                .ends_with("inmemorydslstoresuppliers");
        match is_in_memory {
            true => DslStore::InMemory,
            false => DslStore::RocksDb,
        }
    }

    /// `group.protocol`.
    pub fn group_protocol(&self) -> GroupProtocol {
        match self.or_default("group.protocol") {
            text if text.eq_ignore_ascii_case("consumer") => GroupProtocol::Consumer,
            _ => GroupProtocol::Classic,
        }
    }

    /// `late.records.topic.name`: where records go that come too late. Without it they are counted and dropped, as in Kafka
    /// Streams; with it each source record that a windowed aggregation or a versioned table drops is written there once, as it was
    /// read, behind its own headers those of a [`DeadLetter`](crate::DeadLetter) that say why.
    ///
    /// A record that is late for some of its windows only counts in the others, and is written all the same. Joins of streams drop
    /// no record for being late, and a suppression holds back results only.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streams_core::serdes::Utf8;
    /// use streams_core::{
    ///     Consumed, DeadLetter, StreamsBuilder, StreamsConfig, TimeWindows, TopologyTestDriver,
    /// };
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("readings", Consumed::with(Utf8, Utf8))
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(10), Duration::ZERO))
    ///     .count();
    /// let config = StreamsConfig::new("app").set("late.records.topic.name", "late-readings")?;
    /// let mut driver = TopologyTestDriver::builder(&builder.build()?).config(config).build()?;
    /// let readings = driver.input("readings", Utf8, Utf8);
    /// let late = driver.output("late-readings", Utf8, Utf8);
    ///
    /// driver.pipe_at(&readings, "mosbach", "21.5", 12_000)?;
    /// driver.pipe_at(&readings, "mosbach", "19.0", 3_000)?;
    /// let record = driver.read_record(&late)?.expect("a late record");
    /// assert_eq!(record.value, "19.0");
    /// let why = String::from_utf8_lossy(record.headers.last(DeadLetter::MESSAGE).unwrap());
    /// assert_eq!(why, "its window is closed: its time is 3000, that of the stream 12000");
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn late_records_topic(&self) -> Option<&str> {
        self.text("late.records.topic.name")
    }

    /// `log.summary.interval.ms`; `None` for no summaries.
    pub fn log_summary_interval(&self) -> Option<Duration> {
        self.duration_or_none("log.summary.interval.ms")
    }

    /// `max.poll.records`, of the main consumer.
    pub fn max_poll_records(&self) -> usize {
        checked(self.consumer_text("max.poll.records"))
    }

    /// `max.task.idle.ms`; `None` for never wait, zero for waiting only for what the broker already has.
    pub fn max_task_idle(&self) -> Option<Duration> {
        self.duration_or_none("max.task.idle.ms")
    }

    /// `memory.max.bytes`: the budget for block cache, memtables, record caches and client queues together.
    pub fn memory_max_bytes(&self) -> usize {
        self.count("memory.max.bytes")
    }

    /// `max.warmup.replicas`: how many copies may be made at a time, over all instances and beyond the standby replicas, so that
    /// tasks can move (KIP-441).
    pub fn max_warmup_replicas(&self) -> usize {
        self.count("max.warmup.replicas")
    }

    /// `metadata.max.age.ms`.
    pub fn metadata_max_age(&self) -> Duration {
        self.duration("metadata.max.age.ms")
    }

    /// `metrics.recording.level`.
    pub fn metrics_recording_level(&self) -> MetricsRecordingLevel {
        match self.or_default("metrics.recording.level") {
            text if text.eq_ignore_ascii_case("debug") => MetricsRecordingLevel::Debug,
            text if text.eq_ignore_ascii_case("trace") => MetricsRecordingLevel::Trace,
            _ => MetricsRecordingLevel::Info,
        }
    }

    /// `num.standby.replicas`.
    pub fn num_standby_replicas(&self) -> usize {
        self.count("num.standby.replicas")
    }

    /// `num.stream.threads`.
    pub fn num_stream_threads(&self) -> usize {
        self.count("num.stream.threads")
    }

    /// `poll.ms`.
    pub fn poll_interval(&self) -> Duration {
        self.duration("poll.ms")
    }

    /// `probing.rebalance.interval.ms`: how long a copy that has caught up waits at most for others of its instance, so that one
    /// rebalance moves all their tasks. In Kafka Streams it is how often the leader of the group looks for such copies.
    pub fn probing_rebalance_interval(&self) -> Duration {
        self.duration("probing.rebalance.interval.ms")
    }

    /// `processing.exception.handler.global.enabled`.
    pub fn processing_exception_handler_global_enabled(&self) -> bool {
        self.or_default("processing.exception.handler.global.enabled")
            .eq_ignore_ascii_case("true")
    }

    /// `processing.exception.handler`.
    pub fn processing_exception_handler(&self) -> ExceptionHandler {
        handler(
            &settings::PROCESSING_HANDLERS,
            self.or_default("processing.exception.handler"),
        )
    }

    /// `processing.guarantee`.
    pub fn processing_guarantee(&self) -> ProcessingGuarantee {
        match self.or_default("processing.guarantee") {
            text if text.eq_ignore_ascii_case("exactly_once_v2") => {
                ProcessingGuarantee::ExactlyOnceV2
            }
            _ => ProcessingGuarantee::AtLeastOnce,
        }
    }

    /// `repartition.purge.interval.ms`.
    pub fn repartition_purge_interval(&self) -> Duration {
        self.duration("repartition.purge.interval.ms")
    }

    /// `replication.factor`, -1 for the broker's default.
    pub fn replication_factor(&self) -> i32 {
        checked(self.or_default("replication.factor"))
    }

    /// `state.cleanup.delay.ms`.
    pub fn state_cleanup_delay(&self) -> Duration {
        self.duration("state.cleanup.delay.ms")
    }

    /// `state.dir`: the directory that has one directory per application.
    pub fn state_dir(&self) -> PathBuf {
        self.text("state.dir")
            .map_or_else(|| std::env::temp_dir().join("kafka-streams"), PathBuf::from)
    }

    /// `task.timeout.ms`.
    pub fn task_timeout(&self) -> Duration {
        self.duration("task.timeout.ms")
    }

    /// `topology.optimization`.
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    ///
    /// let config = StreamsConfig::new("app").set("topology.optimization", "merge.repartition.topics")?;
    /// assert!(config.topology_optimization().merge_repartition_topics);
    /// assert!(!config.topology_optimization().reuse_ktable_source_topics);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn topology_optimization(&self) -> TopologyOptimization {
        let text = self.or_default("topology.optimization");
        let [
            reuse_ktable_source_topics,
            merge_repartition_topics,
            single_store_self_join,
        ] = OPTIMIZATIONS
            .map(|name| text == "all" || text.split(',').any(|part| part.trim() == name));
        TopologyOptimization {
            reuse_ktable_source_topics,
            merge_repartition_topics,
            single_store_self_join,
        }
    }

    /// `ensure.explicit.internal.resource.naming`: whether a topology with generated names of stores, changelogs or
    /// repartition topics is an error (KIP-1111). Heeded by
    /// [`StreamsBuilder::build_with`](crate::StreamsBuilder::build_with).
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    ///
    /// let config = StreamsConfig::new("app").set("ensure.explicit.internal.resource.naming", "true")?;
    /// assert!(config.ensure_explicit_internal_resource_naming());
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn ensure_explicit_internal_resource_naming(&self) -> bool {
        self.or_default("ensure.explicit.internal.resource.naming")
            .eq_ignore_ascii_case("true")
    }

    /// `windowstore.changelog.additional.retention.ms`.
    pub fn windowstore_changelog_additional_retention(&self) -> Duration {
        self.duration("windowstore.changelog.additional.retention.ms")
    }

    /// What was set, or the default of a setting that has one.
    pub(super) fn or_default(&self, name: &str) -> &str {
        self.text(name).unwrap_or_else(|| {
            settings::find(name)
                .and_then(|setting| setting.default)
                .expect("only asked for settings with a default")
        })
    }

    fn count(&self, name: &str) -> usize {
        checked(self.or_default(name))
    }

    fn duration(&self, name: &str) -> Duration {
        Duration::from_millis(checked(self.or_default(name)))
    }

    fn duration_or_none(&self, name: &str) -> Option<Duration> {
        u64::try_from(checked::<i64>(self.or_default(name)))
            .ok()
            .map(Duration::from_millis)
    }
}

/// A number that was checked when it was set.
pub(super) fn checked<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str) -> T {
    text.parse().expect("numbers are checked when they are set")
}

/// The handlers of a table are in the order fail, continue, and the same with Java's names.
fn handler(handlers: &[&str; 4], text: &str) -> ExceptionHandler {
    match handlers.iter().position(|handler| *handler == text) {
        Some(1 | 3) => ExceptionHandler::LogAndContinue,
        _ => ExceptionHandler::LogAndFail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> StreamsConfig {
        StreamsConfig::new("app").set(name, value).expect("setting")
    }

    #[test]
    fn defaults_are_kafka_streams() {
        let config = StreamsConfig::new("app");
        let second = Duration::from_secs(1);
        assert_eq!(config.application_id(), "app");
        assert_eq!(config.bootstrap_servers(), None);
        assert_eq!(config.client_id(), None);
        assert_eq!(config.application_server(), None);
        assert_eq!(config.auto_offset_reset(), AutoOffsetReset::Earliest);
        assert_eq!(config.buffered_records_per_partition(), 1000);
        assert_eq!(config.cache_max_bytes(), 10 * 1024 * 1024);
        assert_eq!(config.commit_interval(), 30 * second);
        assert_eq!(config.dead_letter_queue_topic(), None);
        assert_eq!(config.default_dsl_store(), DslStore::RocksDb);
        assert_eq!(
            config.deserialization_exception_handler(),
            ExceptionHandler::LogAndFail
        );
        assert_eq!(config.group_protocol(), GroupProtocol::Classic);
        assert_eq!(config.log_summary_interval(), Some(120 * second));
        assert_eq!(config.max_poll_records(), 1000);
        assert_eq!(config.max_task_idle(), Some(Duration::ZERO));
        assert_eq!(config.memory_max_bytes(), 512 * 1024 * 1024);
        assert_eq!(config.metadata_max_age(), 300 * second);
        assert_eq!(
            config.metrics_recording_level(),
            MetricsRecordingLevel::Info
        );
        assert_eq!(config.num_standby_replicas(), 0);
        assert_eq!(config.acceptable_recovery_lag(), 10_000);
        assert_eq!(config.max_warmup_replicas(), 2);
        assert_eq!(
            config.probing_rebalance_interval(),
            Duration::from_secs(600)
        );
        assert_eq!(config.num_stream_threads(), 1);
        assert_eq!(config.poll_interval(), second / 10);
        assert_eq!(
            config.processing_exception_handler(),
            ExceptionHandler::LogAndFail
        );
        assert_eq!(
            config.processing_guarantee(),
            ProcessingGuarantee::AtLeastOnce
        );
        assert_eq!(config.repartition_purge_interval(), 30 * second);
        assert_eq!(config.replication_factor(), -1);
        assert_eq!(config.state_cleanup_delay(), 600 * second);
        assert!(config.state_dir().ends_with("kafka-streams"));
        assert_eq!(config.task_timeout(), 300 * second);
        assert_eq!(
            config.topology_optimization(),
            TopologyOptimization::default()
        );
        assert_eq!(
            config.windowstore_changelog_additional_retention(),
            86_400 * second
        );
    }

    #[test]
    fn exactly_once_commits_oftener_unless_told() {
        let config = with("processing.guarantee", "exactly_once_v2");
        assert_eq!(config.commit_interval(), Duration::from_millis(100));
        let config = config.set("commit.interval.ms", 5).expect("setting");
        assert_eq!(config.commit_interval(), Duration::from_millis(5));
    }

    #[test]
    fn handlers_have_names_and_javas_names() {
        for (name, value) in [
            ("deserialization.exception.handler", "LogAndContinue"),
            (
                "default.deserialization.exception.handler",
                "org.apache.kafka.streams.errors.LogAndContinueExceptionHandler",
            ),
        ] {
            let handler = with(name, value).deserialization_exception_handler();
            assert_eq!(handler, ExceptionHandler::LogAndContinue);
        }
        let class = "org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler";
        let handler = with("processing.exception.handler", class).processing_exception_handler();
        assert_eq!(handler, ExceptionHandler::LogAndContinue);
        let class = "org.apache.kafka.streams.errors.LogAndFailProcessingExceptionHandler";
        let handler = with("processing.exception.handler", class).processing_exception_handler();
        assert_eq!(handler, ExceptionHandler::LogAndFail);
    }

    #[test]
    fn the_old_name_of_the_cache_counts_when_alone() {
        let config = with("cache.max.bytes.buffering", "7");
        assert_eq!(config.cache_max_bytes(), 7);
        let config = config
            .set("statestore.cache.max.bytes", 8)
            .expect("setting");
        assert_eq!(config.cache_max_bytes(), 8);
    }

    #[test]
    fn minus_one_is_never() {
        assert_eq!(with("max.task.idle.ms", "-1").max_task_idle(), None);
        assert_eq!(
            with("log.summary.interval.ms", "-1").log_summary_interval(),
            None
        );
    }

    #[test]
    fn stores_are_chosen_by_word_and_by_class() {
        let class =
            "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers";
        for (name, value, store) in [
            ("default.dsl.store", "rocksDB", DslStore::RocksDb),
            ("default.dsl.store", "in_memory", DslStore::InMemory),
            ("dsl.store.suppliers.class", class, DslStore::InMemory),
            (
                "dsl.store.suppliers.class",
                "RocksDBDslStoreSuppliers",
                DslStore::RocksDb,
            ),
        ] {
            assert_eq!(with(name, value).default_dsl_store(), store, "{value}");
        }
        let both = with("default.dsl.store", "in_memory")
            .set("dsl.store.suppliers.class", "RocksDBDslStoreSuppliers");
        let both = both.expect("settings");
        assert_eq!(both.default_dsl_store(), DslStore::RocksDb);
        let own = StreamsConfig::new("app").set("dsl.store.suppliers.class", "com.example.Own");
        assert!(own.is_err());
    }

    #[test]
    fn all_optimizations_are_all() {
        let all = with("topology.optimization", "all").topology_optimization();
        let each = with("topology.optimization", &OPTIMIZATIONS.join(", ")).topology_optimization();
        assert_eq!(all, each);
        assert!(all.single_store_self_join);
    }

    #[test]
    fn words_are_read_in_any_case() {
        assert_eq!(
            with("group.protocol", "Consumer").group_protocol(),
            GroupProtocol::Consumer
        );
        let level = with("metrics.recording.level", "debug").metrics_recording_level();
        assert_eq!(level, MetricsRecordingLevel::Debug);
        let reset = with("main.consumer.auto.offset.reset", "Latest").auto_offset_reset();
        assert_eq!(reset, AutoOffsetReset::Latest);
    }
}
