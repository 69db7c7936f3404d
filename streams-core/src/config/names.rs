//! Names that are no settings: what to use instead, or which setting was meant.

use super::client_names;
use super::settings::SETTINGS;

/// Kafka Streams' settings that have no place here, and what takes their place; `*` stands for any end.
const REPLACED: &[(&str, &str)] = &[
    (
        "allow.os.group.write.access",
        "directories get the permissions the process's umask leaves; set that",
    ),
    (
        "built.in.metrics.version",
        "there is one version; leave it out",
    ),
    (
        "client.tag.*",
        "assignment knows no racks; set client.rack for fetching from the nearest replica",
    ),
    (
        "config.providers*",
        "set secrets by the environment, for instance STREAMS_SASL_PASSWORD",
    ),
    (
        "default.client.supplier",
        "clients are built in; leave it out",
    ),
    (
        "default.key.serde",
        "a serde is given in code, with Consumed, Produced, Grouped or Materialized, or by DefaultSerde",
    ),
    (
        "default.list.*",
        "a serde is given in code, for instance List(I32)",
    ),
    (
        "default.timestamp.extractor",
        "a timestamp extractor is given in code, with Consumed",
    ),
    (
        "default.value.serde",
        "a serde is given in code, with Consumed, Produced, Grouped or Materialized, or by DefaultSerde",
    ),
    (
        "dsl.store.format",
        "stores have the default format; leave it out",
    ),
    (
        "metric.reporters",
        "metrics are read by the application's own reporter; leave it out",
    ),
    (
        "metrics.num.samples",
        "rates are worked out by whoever reads the metrics; leave it out",
    ),
    (
        "metrics.sample.window.ms",
        "rates are worked out by whoever reads the metrics; leave it out",
    ),
    (
        "processor.wrapper.class",
        "wrap processors in code; leave it out",
    ),
    (
        "rack.aware.assignment.*",
        "assignment knows no racks; set client.rack for fetching from the nearest replica",
    ),
    (
        "rocksdb.config.setter",
        "RocksDB works within one memory budget; set memory.max.bytes",
    ),
    (
        "state.cleanup.dir.max.age.ms",
        "set state.cleanup.delay.ms, after which state that moved away is deleted",
    ),
    (
        "task.assignor.class",
        "tasks are assigned by the group's protocol; set group.protocol",
    ),
    (
        "topology.description.push.enabled",
        "the topology is not sent to the broker; leave it out",
    ),
    (
        "upgrade.from",
        "formats of Kafka Streams 3.5 and later are read and written; leave it out",
    ),
    (
        "window.size.ms",
        "give the size in code, with TimeWindowed::new(serde, size)",
    ),
    (
        "windowed.inner.class.serde",
        "give the serde in code, with TimeWindowed::new(serde, size)",
    ),
];

/// What to say about a name that is no setting.
#[cold]
pub(super) fn unknown(name: &str) -> String {
    if let Some(instead) = instead(REPLACED, name) {
        return format!("'{name}' is a setting of Kafka Streams in Java: {instead}");
    }
    match nearest(name, &candidates()) {
        Some(nearest) => format!("unknown setting '{name}'; did you mean '{nearest}'?"),
        None => format!(
            "unknown setting '{name}'; a setting of a client needs a prefix when it is not known here, \
             for instance 'consumer.{name}'"
        ),
    }
}

/// What takes the place of a name, in a table of names and advice.
pub(super) fn instead(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => *pattern == name,
        })
        .map(|(_, instead)| *instead)
}

/// Every name that can be meant: the settings, those of clients, and those with each prefix.
pub(super) fn candidates() -> Vec<String> {
    let prefixed = client_names::PREFIXES
        .iter()
        .flat_map(|prefix| client_names::names().map(move |name| format!("{prefix}{name}")));
    SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(client_names::names())
        .map(str::to_owned)
        .chain(prefixed)
        .collect()
}

/// The candidate that was meant, unless none is near.
pub(super) fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a str> {
    // Underscores, hyphens and capitals are the commonest slips and count for nothing.
    let name = name.to_lowercase().replace(['_', '-'], ".");
    candidates
        .iter()
        .map(|candidate| {
            let plain = candidate.to_lowercase().replace(['_', '-'], ".");
            (strsim::damerau_levenshtein(&name, &plain), candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len() / 4)
        .map(|(_, candidate)| candidate.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_suggestion(name: &str, expected: &str) {
        assert_eq!(
            unknown(name),
            format!("unknown setting '{name}'; did you mean '{expected}'?")
        );
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        check_suggestion("commit.interval", "commit.interval.ms");
        check_suggestion("commit_interval_ms", "commit.interval.ms");
        check_suggestion("Num.Stream.Threads", "num.stream.threads");
        check_suggestion("sasl.pasword", "sasl.password");
        check_suggestion(
            "consumers.max.poll.interval.ms",
            "consumer.max.poll.interval.ms",
        );
        check_suggestion("num.streams.thread", "num.stream.threads");
    }

    #[test]
    fn a_name_near_nothing_has_no_suggestion() {
        let text = unknown("colour");
        assert!(text.contains("'consumer.colour'"), "{text}");
    }

    #[test]
    fn javas_settings_say_what_to_use_instead() {
        assert_eq!(
            unknown("rocksdb.config.setter"),
            "'rocksdb.config.setter' is a setting of Kafka Streams in Java: \
             RocksDB works within one memory budget; set memory.max.bytes"
        );
        assert!(unknown("rack.aware.assignment.tags").contains("client.rack"));
        for (name, _) in REPLACED {
            assert!(super::super::settings::find(name).is_none(), "{name}");
        }
    }
}
