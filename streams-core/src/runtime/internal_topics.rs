//! The topics the application makes for itself: their names, counts and configuration, created when missing and checked
//! when they exist. As Kafka Streams' `InternalTopicManager` and `InternalTopicConfig` do it, so that either can take over.

use crate::error::{Error, Result};
use crate::runtime::assignment::TaskTable;
use crate::runtime::broker::{Broker, NewTopic};
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::partition_plan::PartitionPlan;
use crate::topology::{Cleanup, Topology};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const RETRY_INTERVAL: Duration = Duration::from_millis(100);

const CLEANUP_POLICY: &str = "cleanup.policy";
const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";

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
    /// One partition per task; see `assignment`.
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

/// All topics the application needs, in the order of the topology, the task topic last.
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
    topics.push(InternalTopicSpec {
        name: tasks.topic().to_owned(),
        partition_count: i32::try_from(tasks.len()).unwrap_or(i32::MAX),
        kind: InternalTopicKind::Tasks,
        config: topic_config(InternalTopicKind::Tasks, &none, settings),
    });
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
        InternalTopicKind::Changelog(Cleanup::Compact) | InternalTopicKind::Tasks => {
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
        std::thread::sleep(RETRY_INTERVAL);
    }
    for topic in topics {
        if topic.kind != InternalTopicKind::Tasks && !created.contains(&topic.name.as_str()) {
            check_config(topic, &broker.topic_config(&topic.name, timeout)?)?;
        }
    }
    Ok(())
}

fn check_partition_count(topic: &InternalTopicSpec, actual: i32) -> Result<()> {
    if actual == topic.partition_count {
        return Ok(());
    }
    let (name, expected) = (&topic.name, topic.partition_count);
    Err(Error::fatal(match topic.kind {
        InternalTopicKind::Tasks => format!(
            "topic {name} has {actual} partitions, but there are {expected} tasks now: the topology or the partition count of \
             an input topic has changed; stop every instance of the application, delete topic {name} (none of your data is \
             in it) and start again"
        ),
        _ => format!(
            "Existing internal topic {name} has invalid partitions: expected: {expected}; actual: {actual}. The partition \
             count of an input topic has changed, so records and state no longer meet: put the old count back, or reset the \
             application (kafka-streams-application-reset) to process everything again"
        ),
    }))
}

fn check_config(topic: &InternalTopicSpec, actual: &BTreeMap<String, String>) -> Result<()> {
    let name = &topic.name;
    let get = |key: &str| actual.get(key).map_or("", String::as_str);
    let policy = get(CLEANUP_POLICY);
    let number = |key: &str| get(key).parse::<i64>().ok();
    let wrong = |what: String| {
        Err(Error::config(format!(
            "{what}: correct it with kafka-configs --alter --topic {name}"
        )))
    };
    // -1 is the broker's way of saying that no bound is set.
    let bytes_bounded = !matches!(get(RETENTION_BYTES), "" | "-1");
    match topic.kind {
        InternalTopicKind::Tasks => Ok(()),
        InternalTopicKind::Changelog(Cleanup::Compact) => {
            if policy.contains("delete") && !allows_delete(topic) {
                return wrong(format!(
                    "Cleanup policy ({CLEANUP_POLICY}) of existing internal topic {name} should not contain \"delete\", it would lose state"
                ));
            }
            Ok(())
        }
        InternalTopicKind::Changelog(Cleanup::CompactDelete { .. }) => {
            if !policy.contains("delete") {
                return Ok(());
            }
            let needed = topic
                .config
                .get(RETENTION_MS)
                .and_then(|ms| ms.parse::<i64>().ok())
                .unwrap_or(i64::MAX);
            match number(RETENTION_MS) {
                Some(actual) if actual >= 0 && actual < needed => {
                    return wrong(format!(
                        "Retention time ({RETENTION_MS}) of existing internal topic {name} is {actual} but should be {needed} or larger"
                    ));
                }
                _ => {}
            }
            if bytes_bounded {
                return wrong(format!(
                    "Retention byte ({RETENTION_BYTES}) of existing internal topic {name} is set but it should be unset"
                ));
            }
            Ok(())
        }
        InternalTopicKind::Repartition => {
            if policy.contains("compact") {
                return wrong(format!(
                    "Cleanup policy ({CLEANUP_POLICY}) of existing internal topic {name} should not contain \"compact\", it would lose records"
                ));
            }
            if let Some(actual) = number(RETENTION_MS)
                && actual != -1
            {
                return wrong(format!(
                    "Retention time ({RETENTION_MS}) of existing internal topic {name} is {actual} but should be -1"
                ));
            }
            if bytes_bounded {
                return wrong(format!(
                    "Retention byte ({RETENTION_BYTES}) of existing internal topic {name} is set but it should be unset"
                ));
            }
            Ok(())
        }
    }
}

/// Whether the user asked for that policy: then it is no mistake.
fn allows_delete(topic: &InternalTopicSpec) -> bool {
    topic
        .config
        .get(CLEANUP_POLICY)
        .is_some_and(|policy| policy.contains("delete"))
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
    }

    #[test]
    fn what_the_user_sets_for_a_store_wins() {
        let own = map(&[("retention.ms", "5"), ("min.insync.replicas", "1")]);
        let kind = InternalTopicKind::Changelog(Cleanup::CompactDelete { retention_ms: 1000 });
        let config = topic_config(kind, &own, &settings());
        assert_eq!(config["retention.ms"], "5");
        assert_eq!(config["min.insync.replicas"], "1");
    }

    #[test]
    fn existing_topics_that_would_lose_data_are_refused() {
        let changelog = spec(InternalTopicKind::Changelog(Cleanup::Compact));
        let error = check_config(&changelog, &map(&[("cleanup.policy", "delete")])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("should not contain \"delete\", it would lose state"),
            "{error}"
        );
        check_config(&changelog, &map(&[("cleanup.policy", "compact")])).unwrap();

        let repartition = spec(InternalTopicKind::Repartition);
        for (key, value) in [
            ("cleanup.policy", "compact"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "1000"),
        ] {
            assert!(check_config(&repartition, &map(&[(key, value)])).is_err());
        }
        check_config(
            &repartition,
            &map(&[
                ("cleanup.policy", "delete"),
                ("retention.ms", "-1"),
                ("retention.bytes", "-1"),
            ]),
        )
        .unwrap();

        let windowed = spec(InternalTopicKind::Changelog(Cleanup::CompactDelete {
            retention_ms: 1000,
        }));
        let short = map(&[("cleanup.policy", "compact,delete"), ("retention.ms", "99")]);
        assert!(check_config(&windowed, &short).is_err());
    }

    #[test]
    fn a_wrong_partition_count_says_what_to_do() {
        let tasks = spec(InternalTopicKind::Tasks);
        check_partition_count(&tasks, 4).unwrap();
        let error = check_partition_count(&tasks, 6).unwrap_err().to_string();
        assert!(error.contains("delete topic app-x"), "{error}");
        let changelog = spec(InternalTopicKind::Changelog(Cleanup::Compact));
        let error = check_partition_count(&changelog, 6)
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected: 4; actual: 6"), "{error}");
    }
}
