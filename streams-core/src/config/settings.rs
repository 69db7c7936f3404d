//! The settings of the library itself: their names, defaults and what their values may be.

use super::allowed::{Allowed, count, milliseconds};
use super::client_names;
use super::names;

/// One setting.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// The default, `None` where there is none or the getter works it out.
    pub(super) default: Option<&'static str>,
    allowed: Allowed,
}

const fn setting(name: &'static str, default: Option<&'static str>, allowed: Allowed) -> Setting {
    Setting {
        name,
        default,
        allowed,
    }
}

/// Java's names of the two handlers of records that cannot be read, in the order they are written in a configuration.
pub(super) const DESERIALIZATION_HANDLERS: [&str; 4] = [
    "LogAndFail",
    "LogAndContinue",
    "org.apache.kafka.streams.errors.LogAndFailExceptionHandler",
    "org.apache.kafka.streams.errors.LogAndContinueExceptionHandler",
];
/// The same for records an operator fails on.
pub(super) const PROCESSING_HANDLERS: [&str; 4] = [
    "LogAndFail",
    "LogAndContinue",
    "org.apache.kafka.streams.errors.LogAndFailProcessingExceptionHandler",
    "org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler",
];
/// The same for records that cannot be written.
pub(super) const PRODUCTION_HANDLERS: [&str; 2] = [
    "Default",
    "org.apache.kafka.streams.errors.DefaultProductionExceptionHandler",
];
/// Where stores can be, as Java's classes.
pub(super) const DSL_STORE_SUPPLIERS: [&str; 4] = [
    "RocksDBDslStoreSuppliers",
    "InMemoryDslStoreSuppliers",
    "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$RocksDBDslStoreSuppliers",
    "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers",
];
/// Every setting, with Kafka Streams' names and defaults (`StreamsConfig`, 4.3), by name.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "acceptable.recovery.lag",
        Some("10000"),
        count("offsets", 0, i64::MAX),
    ),
    setting("application.id", None, Allowed::ApplicationId),
    setting("application.server", None, Allowed::Server),
    setting(
        "auto.offset.reset",
        Some("earliest"),
        Allowed::Words(&["earliest", "latest", "none"]),
    ),
    setting("bootstrap.servers", None, Allowed::Servers),
    setting(
        "buffered.records.per.partition",
        Some("1000"),
        count("records", 1, i32::MAX as i64),
    ),
    setting(
        "cache.max.bytes.buffering",
        None,
        count("bytes", 0, i64::MAX),
    ),
    setting("client.id", None, Allowed::Text),
    setting("commit.interval.ms", Some("30000"), milliseconds(0, None)),
    setting(
        "default.deserialization.exception.handler",
        None,
        Allowed::Handler(&DESERIALIZATION_HANDLERS),
    ),
    setting(
        "default.dsl.store",
        Some("rocksDB"),
        Allowed::Words(&["rocksDB", "in_memory"]),
    ),
    setting(
        "default.production.exception.handler",
        None,
        Allowed::ProductionHandler,
    ),
    setting(
        "deserialization.exception.handler",
        Some("LogAndFail"),
        Allowed::Handler(&DESERIALIZATION_HANDLERS),
    ),
    setting(
        "dsl.store.suppliers.class",
        None,
        Allowed::Words(&DSL_STORE_SUPPLIERS),
    ),
    setting(
        "ensure.explicit.internal.resource.naming",
        Some("false"),
        Allowed::Words(&["true", "false"]),
    ),
    setting("errors.dead.letter.queue.topic.name", None, Allowed::Topic),
    setting(
        "group.protocol",
        Some("classic"),
        Allowed::Words(&["classic", "consumer"]),
    ),
    setting("late.records.topic.name", None, Allowed::Topic),
    setting(
        "log.summary.interval.ms",
        Some("120000"),
        milliseconds(1, Some((-1, "no summaries"))),
    ),
    setting(
        "max.poll.records",
        Some("1000"),
        count("records", 1, i32::MAX as i64),
    ),
    setting(
        "max.task.idle.ms",
        Some("0"),
        milliseconds(0, Some((-1, "never wait"))),
    ),
    setting("max.warmup.replicas", Some("2"), count("replicas", 1, 1000)),
    setting(
        "memory.max.bytes",
        Some("536870912"),
        count("bytes", 16 * 1024 * 1024, i64::MAX),
    ),
    setting("metadata.max.age.ms", Some("300000"), milliseconds(1, None)),
    setting(
        "metrics.recording.level",
        Some("INFO"),
        Allowed::Words(&["INFO", "DEBUG", "TRACE"]),
    ),
    setting(
        "num.standby.replicas",
        Some("0"),
        count("replicas", 0, 1000),
    ),
    setting("num.stream.threads", Some("1"), count("threads", 1, 10_000)),
    setting("poll.ms", Some("100"), milliseconds(0, None)),
    setting(
        "probing.rebalance.interval.ms",
        Some("600000"),
        milliseconds(60_000, None),
    ),
    setting(
        "processing.exception.handler",
        Some("LogAndFail"),
        Allowed::Handler(&PROCESSING_HANDLERS),
    ),
    setting(
        "processing.exception.handler.global.enabled",
        Some("false"),
        Allowed::Words(&["true", "false"]),
    ),
    setting(
        "processing.guarantee",
        Some("at_least_once"),
        Allowed::Words(&["at_least_once", "exactly_once_v2"]),
    ),
    setting(
        "production.exception.handler",
        Some("Default"),
        Allowed::ProductionHandler,
    ),
    setting(
        "repartition.purge.interval.ms",
        Some("30000"),
        milliseconds(0, None),
    ),
    setting(
        "replication.factor",
        Some("-1"),
        Allowed::Number {
            unit: "replicas",
            min: 1,
            max: i16::MAX as i64,
            special: Some((-1, "the broker's default")),
        },
    ),
    setting(
        "state.cleanup.delay.ms",
        Some("600000"),
        milliseconds(0, None),
    ),
    setting("state.dir", None, Allowed::Text),
    setting(
        "statestore.cache.max.bytes",
        Some("10485760"),
        count("bytes", 0, i64::MAX),
    ),
    setting("task.timeout.ms", Some("300000"), milliseconds(0, None)),
    setting(
        "topology.optimization",
        Some("none"),
        Allowed::Optimizations,
    ),
    setting(
        "windowstore.changelog.additional.retention.ms",
        Some("86400000"),
        milliseconds(0, None),
    ),
];

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Whether a setting may be set to a value; if not, why and what to do.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    if let Some(setting) = find(name) {
        return check_value(name, setting, value);
    }
    match client_names::check(name, value)? {
        true => Ok(()),
        false => Err(names::unknown(name)),
    }
}

/// As [`check`], of a known setting that was called `name`, which may have a client's prefix.
pub(super) fn check_value(name: &str, setting: &Setting, value: &str) -> Result<(), String> {
    match setting.allowed.accepts(value) {
        true => Ok(()),
        false => Err(format!("{name} must be {}; got '{value}'", setting.allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sorted_and_their_defaults_are_allowed() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                assert_eq!(check(setting.name, default), Ok(()));
            }
        }
    }

    #[test]
    fn every_setting_is_documented_with_its_default() {
        let documentation = include_str!("../config.rs");
        for setting in SETTINGS {
            let row = match setting.default {
                Some(default) => format!("//! | `{}` | `{default}` |", setting.name),
                None if setting.name.starts_with("default.") => continue,
                None if setting.name == "cache.max.bytes.buffering" => continue,
                None => format!("//! | `{}` |", setting.name),
            };
            assert!(documentation.contains(&row), "{row}");
        }
    }
}
