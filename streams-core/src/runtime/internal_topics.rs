//! The topics the application makes for itself: their names, counts and configuration, created when missing and checked
//! when they exist. As Kafka Streams' `InternalTopicManager` and `InternalTopicConfig` do it, so that either can take over.

use crate::error::{Error, Result};
use crate::runtime::assignment::TaskTable;
use crate::runtime::broker::{Broker, NewTopic};
use crate::runtime::internal_topic_check::{check_config, check_partition_count};
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::partition_plan::PartitionPlan;
use crate::topology::{Cleanup, Topology};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How soon after its creation a topic is asked for the first time: the broker that created it knows it at once.
const FIRST_LOOK: Duration = Duration::from_millis(2);

/// The setting that says what the broker may delete.
pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";
/// The setting that says how long records stay at least.
pub(crate) const RETENTION_MS: &str = "retention.ms";
pub(crate) const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
/// How long a versioned store's changelog keeps versions beyond the history retention: a day, as in Kafka Streams
/// (`VersionedChangelogTopicConfig`).
const VERSIONED_COMPACTION_LAG_MS: i64 = 24 * 60 * 60 * 1000;

/// A topic the application needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InternalTopicSpec {
    pub(crate) name: String,
    pub(crate) partition_count: i32,
    pub(crate) kind: InternalTopicKind,
    /// Its configuration, overrides applied.
    pub(crate) config: BTreeMap<String, String>,
}

/// What an internal topic is for: decides its configuration and what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InternalTopicKind {
    Repartition,
    Changelog(Cleanup),
    /// Its partitions stand for tasks; see `assignment`.
    Tasks,
}

/// The settings that decide how internal topics look.
#[derive(Clone, Debug, Default)]
pub(crate) struct InternalTopicSettings {
    /// `replication.factor`, -1 for the broker's default.
    pub(crate) replication_factor: i32,
    /// The settings with the prefix `topic.`, without it.
    pub(crate) overrides: BTreeMap<String, String>,
    /// `windowstore.changelog.additional.retention.ms`.
    pub(crate) additional_retention_ms: i64,
}

/// The name of a store's changelog topic.
pub(crate) fn changelog_topic(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

/// All topics the application needs, in the order of the topology, those of tasks last.
pub(crate) fn internal_topics(
    topology: &Topology,
    application_id: &str,
    plan: &PartitionPlan,
    tasks: &TaskTable,
    settings: &InternalTopicSettings,
) -> Vec<InternalTopicSpec> {
    let none = BTreeMap::new();
    let mut topics: Vec<InternalTopicSpec> = plan
        .repartition_topics
        .iter()
        .map(|name| InternalTopicSpec {
            name: name.clone(),
            partition_count: plan.counts[name],
            kind: InternalTopicKind::Repartition,
            config: topic_config(InternalTopicKind::Repartition, &none, settings),
        })
        .collect();
    for sub_topology in topology.sub_topologies() {
        for store in &sub_topology.stores {
            if let Some(changelog) = &store.changelog
                && changelog.source_topic.is_none()
            {
                let kind = InternalTopicKind::Changelog(changelog.cleanup);
                topics.push(InternalTopicSpec {
                    name: changelog_topic(application_id, &store.name),
                    partition_count: plan.task_counts[&sub_topology.id],
                    kind,
                    config: topic_config(kind, &changelog.config, settings),
                });
            }
        }
    }
    topics.extend(
        tasks
            .topics()
            .map(|(name, partition_count)| InternalTopicSpec {
                name: name.to_owned(),
                partition_count,
                kind: InternalTopicKind::Tasks,
                config: topic_config(InternalTopicKind::Tasks, &none, settings),
            }),
    );
    topics
}

/// Library defaults, then the `topic.` settings, then what the user set for this topic.
fn topic_config(
    kind: InternalTopicKind,
    own: &BTreeMap<String, String>,
    settings: &InternalTopicSettings,
) -> BTreeMap<String, String> {
    let mut config = BTreeMap::from([("message.timestamp.type", "CreateTime")]);
    match kind {
        InternalTopicKind::Repartition => config.extend([
            (CLEANUP_POLICY, "delete"),
            ("segment.bytes", "52428800"),
            (RETENTION_MS, "-1"),
        ]),
        InternalTopicKind::Changelog(Cleanup::Compact | Cleanup::CompactLate { .. })
        | InternalTopicKind::Tasks => {
            config.extend([(CLEANUP_POLICY, "compact")]);
        }
        InternalTopicKind::Changelog(Cleanup::CompactDelete { .. }) => {
            config.extend([(CLEANUP_POLICY, "compact,delete")]);
        }
    }
    let mut config: BTreeMap<String, String> = config
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    config.extend(settings.overrides.clone());
    config.extend(own.clone());
    if let InternalTopicKind::Changelog(Cleanup::CompactDelete { retention_ms }) = kind
        && !own.contains_key(RETENTION_MS)
    {
        let retention_ms = retention_ms.saturating_add(settings.additional_retention_ms);
        config.insert(RETENTION_MS.to_owned(), retention_ms.to_string());
    }
    if let InternalTopicKind::Changelog(Cleanup::CompactLate {
        history_retention_ms,
    }) = kind
        && !own.contains_key(MIN_COMPACTION_LAG_MS)
    {
        let lag_ms = history_retention_ms.saturating_add(VERSIONED_COMPACTION_LAG_MS);
        config.insert(MIN_COMPACTION_LAG_MS.to_owned(), lag_ms.to_string());
    }
    config
}

/// Creates what is missing, waits until the cluster knows it, and checks what was there already. Instances may do this at
/// the same time.
pub(crate) fn make_ready<B: Broker>(
    broker: &B,
    topics: &[InternalTopicSpec],
    replication_factor: i32,
    timeout: Duration,
    lifecycle: &Lifecycle,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let mut created: Vec<&str> = Vec::new();
    let mut wait = FIRST_LOOK;
    loop {
        let counts = broker.partition_counts(&names, timeout)?;
        let mut missing = Vec::new();
        for (topic, count) in topics.iter().zip(&counts) {
            match count {
                None => missing.push(topic),
                Some(count) => check_partition_count(topic, *count)?,
            }
        }
        if missing.is_empty() {
            break;
        }
        if lifecycle.is_stopping() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let names: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
            return Err(Error::retriable(format!(
                "the internal topics {names:?} were not there {} s after their creation was asked for: check the brokers, then start again",
                timeout.as_secs()
            )));
        }
        let new: Vec<NewTopic> = missing
            .iter()
            .filter(|topic| !created.contains(&topic.name.as_str()))
            .map(|topic| NewTopic {
                name: topic.name.clone(),
                partition_count: topic.partition_count,
                replication_factor,
                config: topic.config.clone(),
            })
            .collect();
        if !new.is_empty() {
            broker.create_topics(&new, timeout)?;
            for topic in &missing {
                tracing::info!(topic = %topic.name, partitions = topic.partition_count, "created internal topic");
                created.push(&topic.name);
            }
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(RETRY_INTERVAL);
    }
    for topic in topics {
        if topic.kind != InternalTopicKind::Tasks && !created.contains(&topic.name.as_str()) {
            check_config(topic, &broker.topic_config(&topic.name, timeout)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> InternalTopicSettings {
        InternalTopicSettings {
            replication_factor: -1,
            overrides: BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]),
            additional_retention_ms: 86_400_000,
        }
    }

    fn spec(kind: InternalTopicKind) -> InternalTopicSpec {
        InternalTopicSpec {
            name: "app-x".to_owned(),
            partition_count: 4,
            kind,
            config: topic_config(kind, &BTreeMap::new(), &settings()),
        }
    }

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn configurations_are_those_of_kafka_streams() {
        let of = |kind| spec(kind).config;
        assert_eq!(
            of(InternalTopicKind::Repartition),
            map(&[
                ("cleanup.policy", "delete"),
                ("message.timestamp.type", "CreateTime"),
                ("min.insync.replicas", "2"),
                ("retention.ms", "-1"),
                ("segment.bytes", "52428800"),
            ])
        );
        assert_eq!(
            of(InternalTopicKind::Changelog(Cleanup::Compact))["cleanup.policy"],
            "compact"
        );
        let windowed = of(InternalTopicKind::Changelog(Cleanup::CompactDelete {
            retention_ms: 1000,
        }));
        assert_eq!(windowed["cleanup.policy"], "compact,delete");
        assert_eq!(windowed["retention.ms"], "86401000");
        let forever = of(InternalTopicKind::Changelog(Cleanup::CompactDelete {
            retention_ms: i64::MAX,
        }));
        assert_eq!(forever["retention.ms"], i64::MAX.to_string());
        let versioned = of(InternalTopicKind::Changelog(Cleanup::CompactLate {
            history_retention_ms: 1000,
        }));
        assert_eq!(versioned["cleanup.policy"], "compact");
        assert_eq!(versioned["min.compaction.lag.ms"], "86401000");
    }

    #[test]
    fn what_the_user_sets_for_a_store_wins() {
        let own = map(&[("retention.ms", "5"), ("min.insync.replicas", "1")]);
        let kind = InternalTopicKind::Changelog(Cleanup::CompactDelete { retention_ms: 1000 });
        let config = topic_config(kind, &own, &settings());
        assert_eq!(config["retention.ms"], "5");
        assert_eq!(config["min.insync.replicas"], "1");
    }
}
