//! The settings the runtime works with, as plain data: read from the configuration once, at the start.

use crate::config::{AutoOffsetReset, ClientKind, ProcessingGuarantee, StreamsConfig};
use crate::error::Result;
use crate::runtime::internal_topics::InternalTopicSettings;
use crate::runtime::memory_split::MemorySplit;
use crate::topology::OffsetReset;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the threads of one application need to know.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeSettings {
    /// `application.id`.
    pub(crate) application_id: Arc<str>,
    /// `client.id`, when set; otherwise it is made of the application's id and the process id.
    pub(crate) client_id: Option<String>,
    /// `group.instance.id`, when set; each thread appends its number.
    pub(crate) instance_id: Option<String>,
    /// `num.stream.threads`.
    pub(crate) thread_count: usize,
    /// How many restore threads the stream threads share.
    pub(crate) restore_thread_count: usize,
    /// `num.standby.replicas`.
    pub(crate) standby_replicas: usize,
    /// `acceptable.recovery.lag`: how many offsets a copy may be behind to be as good as the task itself.
    pub(crate) acceptable_lag: u64,
    /// `max.warmup.replicas`.
    pub(crate) warm_ups_max: usize,
    /// `probing.rebalance.interval.ms`: how long a copy that is warm may wait for others before its task may move.
    pub(crate) probing_interval: Duration,
    /// How often instances tell each other of themselves.
    pub(crate) member_interval: Duration,
    /// `session.timeout.ms`: after how long the group removes a member of which it hears nothing.
    pub(crate) session_timeout: Duration,
    /// `max.poll.interval.ms`: after how long the group removes a member that does not poll.
    pub(crate) poll_interval_max: Duration,
    /// `application.server`.
    pub(crate) application_server: Option<String>,
    /// How `memory.max.bytes` is shared out: a thread whose caches or uncommitted writes outgrow their part commits early.
    pub(crate) memory: MemorySplit,
    /// `processing.guarantee=exactly_once_v2`.
    pub(crate) exactly_once: bool,
    /// `commit.interval.ms`.
    pub(crate) commit_interval: Duration,
    /// `poll.ms`.
    pub(crate) poll_interval: Duration,
    /// `task.timeout.ms`.
    pub(crate) task_timeout: Duration,
    /// `request.timeout.ms`: how long one question to the cluster may take.
    pub(crate) request_timeout: Duration,
    /// How long stopping may take.
    pub(crate) close_timeout: Duration,
    /// `buffered.records.per.partition`.
    pub(crate) buffered_records_max: usize,
    /// `max.poll.records`: how many records one poll may bring.
    pub(crate) poll_records_max: usize,
    /// `auto.offset.reset`; `None` fails when there is no committed offset.
    pub(crate) offset_reset: Option<OffsetReset>,
    /// `repartition.purge.interval.ms`.
    pub(crate) purge_interval: Duration,
    /// `metadata.max.age.ms`.
    pub(crate) metadata_max_age: Duration,
    /// `state.dir`.
    pub(crate) state_dir: PathBuf,
    /// `state.cleanup.delay.ms`.
    pub(crate) cleanup_delay: Duration,
    /// How internal topics are made.
    pub(crate) internal_topics: InternalTopicSettings,
}

/// How long stopping may take; Kubernetes kills a pod after as long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often instances tell each other of themselves, at least four times in a session.
const MEMBER_INTERVAL: Duration = Duration::from_secs(3);
/// Kafka's default of `session.timeout.ms`, and of the brokers' `group.consumer.session.timeout.ms`.
const SESSION_TIMEOUT_MS: u64 = 45_000;
/// Kafka's default of `max.poll.interval.ms`.
const POLL_INTERVAL_MAX_MS: u64 = 300_000;
/// Kafka Streams' `request.timeout.ms`.
const REQUEST_TIMEOUT_MS: u64 = 40_000;

impl RuntimeSettings {
    /// Reads the configuration.
    pub(crate) fn new(config: &StreamsConfig) -> Result<Self> {
        let main = config.client_settings(ClientKind::MainConsumer);
        let request_timeout_ms = config
            .client_settings(ClientKind::Admin)
            .get("request.timeout.ms")
            .and_then(|ms| ms.parse().ok())
            .unwrap_or(REQUEST_TIMEOUT_MS);
        let milliseconds = |name: &str, default| {
            let ms = main.get(name).and_then(|ms| ms.parse().ok());
            Duration::from_millis(ms.unwrap_or(default))
        };
        let session_timeout = milliseconds("session.timeout.ms", SESSION_TIMEOUT_MS);
        let poll_interval_max = milliseconds("max.poll.interval.ms", POLL_INTERVAL_MAX_MS);
        let additional_retention = config.windowstore_changelog_additional_retention();
        let thread_count = config.num_stream_threads();
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let restore_thread_count = parallelism.clamp(1, 4);
        Ok(RuntimeSettings {
            application_id: config.application_id().into(),
            client_id: config.client_id().map(str::to_owned),
            instance_id: main.get("group.instance.id").cloned(),
            thread_count,
            restore_thread_count,
            standby_replicas: config.num_standby_replicas(),
            acceptable_lag: config.acceptable_recovery_lag(),
            warm_ups_max: config.max_warmup_replicas(),
            probing_interval: config.probing_rebalance_interval(),
            member_interval: MEMBER_INTERVAL.min(session_timeout / 4),
            session_timeout,
            poll_interval_max,
            application_server: config.application_server().map(str::to_owned),
            memory: MemorySplit::new(config, restore_thread_count),
            exactly_once: config.processing_guarantee() == ProcessingGuarantee::ExactlyOnceV2,
            commit_interval: config.commit_interval(),
            poll_interval: config.poll_interval(),
            task_timeout: config.task_timeout(),
            request_timeout: Duration::from_millis(request_timeout_ms),
            close_timeout: CLOSE_TIMEOUT,
            buffered_records_max: config.buffered_records_per_partition(),
            poll_records_max: config.max_poll_records(),
            offset_reset: match config.auto_offset_reset() {
                AutoOffsetReset::Earliest => Some(OffsetReset::Earliest),
                AutoOffsetReset::Latest => Some(OffsetReset::Latest),
                AutoOffsetReset::None => None,
            },
            purge_interval: config.repartition_purge_interval(),
            metadata_max_age: config.metadata_max_age(),
            state_dir: config.state_dir(),
            cleanup_delay: config.state_cleanup_delay(),
            internal_topics: InternalTopicSettings {
                replication_factor: config.replication_factor(),
                overrides: config.topic_overrides(),
                additional_retention_ms: i64::try_from(additional_retention.as_millis())
                    .unwrap_or(i64::MAX),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_kafka_streams() {
        let settings = RuntimeSettings::new(&StreamsConfig::new("app")).unwrap();
        assert_eq!(settings.commit_interval, Duration::from_secs(30));
        assert_eq!(settings.offset_reset, Some(OffsetReset::Earliest));
        assert_eq!(settings.buffered_records_max, 1000);
        assert_eq!(settings.standby_replicas, 0);
        assert_eq!(
            (settings.acceptable_lag, settings.warm_ups_max),
            (10_000, 2)
        );
        assert_eq!(settings.probing_interval, Duration::from_secs(600));
        assert_eq!(settings.member_interval, Duration::from_secs(3));
        assert_eq!(settings.internal_topics.replication_factor, -1);
        assert_eq!(settings.internal_topics.additional_retention_ms, 86_400_000);
    }
}
