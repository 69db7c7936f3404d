//! Whether internal topics that exist already are what the application needs.

use crate::error::{Error, Result};
use crate::runtime::internal_topics::{
    CLEANUP_POLICY, InternalTopicKind, InternalTopicSpec, MIN_COMPACTION_LAG_MS, RETENTION_MS,
};
use crate::topology::Cleanup;
use std::collections::BTreeMap;

const RETENTION_BYTES: &str = "retention.bytes";

/// An internal topic of another size would send keys to partitions their state is not in.
pub(crate) fn check_partition_count(topic: &InternalTopicSpec, actual: i32) -> Result<()> {
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

/// A configuration that loses records or state is refused, as Kafka Streams' `InternalTopicManager#validateCleanupPolicy` does.
pub(crate) fn check_config(
    topic: &InternalTopicSpec,
    actual: &BTreeMap<String, String>,
) -> Result<()> {
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
        InternalTopicKind::Changelog(Cleanup::CompactLate { .. }) => {
            if policy.contains("delete") && !allows_delete(topic) {
                return wrong(format!(
                    "Cleanup policy ({CLEANUP_POLICY}) of existing internal topic {name} should not contain \"delete\", it would lose state"
                ));
            }
            let needed = topic
                .config
                .get(MIN_COMPACTION_LAG_MS)
                .and_then(|ms| ms.parse::<i64>().ok())
                .unwrap_or(i64::MAX);
            match number(MIN_COMPACTION_LAG_MS) {
                Some(actual) if actual < needed => wrong(format!(
                    "Min compaction lag ({MIN_COMPACTION_LAG_MS}) of existing internal topic {name} is {actual} but should be {needed} or larger"
                )),
                _ => Ok(()),
            }
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

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    fn spec(kind: InternalTopicKind) -> InternalTopicSpec {
        InternalTopicSpec {
            name: "app-x".to_owned(),
            partition_count: 4,
            kind,
            config: map(&[(RETENTION_MS, "1000")]),
        }
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

        let mut versioned = spec(InternalTopicKind::Changelog(Cleanup::CompactLate {
            history_retention_ms: 1000,
        }));
        versioned.config = map(&[("min.compaction.lag.ms", "86401000")]);
        let lag = |ms| map(&[("cleanup.policy", "compact"), ("min.compaction.lag.ms", ms)]);
        check_config(&versioned, &lag("86401000")).unwrap();
        assert!(check_config(&versioned, &lag("0")).is_err());
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
