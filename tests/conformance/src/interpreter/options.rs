//! The options of the verbs.

use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue};
use std::time::Duration;
use streams_core::partitioner::Partitions;
use streams_core::serdes::{BoxSerde, Serde, SerdeError, default_serde};
use streams_core::{
    Consumed, ExtractorRecord, FailOnInvalidTimestamp, Given, Grouped, History,
    LogAndSkipOnInvalidTimestamp, Materialized, OffsetReset, Produced, Repartitioned, StoreBackend,
    TimestampExtractor, Unversioned, UsePartitionTimeOnInvalidTimestamp, Versioned,
    WallclockTimestampExtractor,
};

enum Own {
    /// The number behind an `@` in the value.
    Value,
    PartitionTime,
}

struct OwnExtractor<F> {
    own: Own,
    text: F,
}

impl<K, V, F: Fn(&V) -> Option<String> + Send + Sync + 'static> TimestampExtractor<K, V>
    for OwnExtractor<F>
{
    fn extract(
        &self,
        record: &ExtractorRecord<'_, K, V>,
        partition_time_ms: i64,
    ) -> streams_core::Result<i64> {
        Ok(match self.own {
            Own::Value => (self.text)(record.value)
                .and_then(|text| text.split_once('@').and_then(|(_, time)| time.parse().ok()))
                .unwrap_or(record.timestamp),
            Own::PartitionTime if partition_time_ms < 0 => record.timestamp,
            Own::PartitionTime => partition_time_ms,
        })
    }
}

/// How a topic is read; `text` is what an extractor sees of its values.
pub(super) fn consumed<K: AnyKey, V: 'static>(
    step: Step<'_>,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    text: impl Fn(&V) -> Option<String> + Send + Sync + 'static,
) -> Result<Consumed<K, V>, Wrong> {
    let options = step.options("consumed");
    let mut consumed = Consumed::with(key, value);
    if let Some(name) = options.text("name") {
        consumed = consumed.named(name);
    }
    match options.text("reset") {
        None => {}
        Some("earliest") => consumed = consumed.with_offset_reset(OffsetReset::Earliest),
        Some("latest") => consumed = consumed.with_offset_reset(OffsetReset::Latest),
        Some(other) => return Err(Wrong::not_interpreted(format!("reset '{other}'"))),
    }
    Ok(match options.text("extractor") {
        None => consumed,
        Some("fail") => consumed.with_timestamp_extractor(FailOnInvalidTimestamp),
        Some("log_and_skip") => consumed.with_timestamp_extractor(LogAndSkipOnInvalidTimestamp),
        Some("partition_time") => {
            consumed.with_timestamp_extractor(UsePartitionTimeOnInvalidTimestamp)
        }
        Some("wallclock") => consumed.with_timestamp_extractor(WallclockTimestampExtractor),
        Some("value") => consumed.with_timestamp_extractor(OwnExtractor {
            own: Own::Value,
            text,
        }),
        Some("partition_time_or_record") => consumed.with_timestamp_extractor(OwnExtractor {
            own: Own::PartitionTime,
            text,
        }),
        Some(other) => return Err(Wrong::new(format!("there is no extractor '{other}'"))),
    })
}

/// `const:1`, `multicast:0,1`, `drop`, `default`.
pub(super) fn partitions(name: &str) -> Result<Partitions, Wrong> {
    let wrong = || Wrong::new(format!("there is no partitioner '{name}'"));
    let number = |text: &str| text.parse::<i32>().map_err(|_| wrong());
    match name.split_once(':') {
        Some(("const", argument)) => Ok(Partitions::One(number(argument)?)),
        Some(("multicast", argument)) => {
            let all: Result<_, _> = argument.split(',').map(number).collect();
            Ok(Partitions::Many(all?))
        }
        None if name == "drop" => Ok(Partitions::Many(vec![])),
        None if name == "default" => Ok(Partitions::Default),
        _ => Err(wrong()),
    }
}

pub(super) fn produced<K: AnyKey, V: 'static>(
    step: Step<'_>,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
) -> Result<Produced<K, V>, Wrong> {
    let options = step.options("produced");
    let refused = |name| options.text(name).map(str::to_owned);
    let mut produced = Produced::with(
        Failing {
            serde: key,
            refused: refused("unwritable_key"),
        },
        Failing {
            serde: value,
            refused: refused("unwritable"),
        },
    );
    if let Some(name) = options.text("name") {
        produced = produced.named(name);
    }
    if let Some(name) = options.text("partitioner") {
        let chosen = partitions(name)?;
        produced = produced.with_partitioner(move |_: &str, _: &K, _: &V, _| chosen.clone());
    }
    Ok(produced)
}

/// A serde that does not write what contains a text, if that is given.
struct Failing<T> {
    serde: BoxSerde<T>,
    refused: Option<String>,
}

impl<T: 'static> Failing<T> {
    fn check(&self, bytes: &[u8]) -> Result<(), SerdeError> {
        match &self.refused {
            Some(text) if String::from_utf8_lossy(bytes).contains(text) => {
                Err(SerdeError::new("it is one that cannot be written"))
            }
            _ => Ok(()),
        }
    }
}

impl<T: 'static> Serde<T> for Failing<T> {
    fn serialize(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        let start = bytes.len();
        self.serde.serialize(value, bytes)?;
        self.check(&bytes[start..])
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.serde.deserialize(bytes)
    }

    fn serialize_nullable(&self, value: &T, bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        let start = bytes.len();
        let present = self.serde.serialize_nullable(value, bytes)?;
        self.check(&bytes[start..])?;
        Ok(present)
    }

    fn partition_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.serde.partition_bytes(bytes)
    }
}

pub(super) fn repartitioned<K: AnyKey, V: 'static>(
    step: Step<'_>,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
) -> Result<Repartitioned<K, V>, Wrong> {
    let options = step.options("repartitioned");
    let mut repartitioned = Repartitioned::with(key, value);
    if let Some(name) = options.text("name") {
        repartitioned = repartitioned.named(name);
    }
    if let Some(count) = options.number("partitions") {
        let count = i32::try_from(count).map_err(|_| Wrong::new("too many partitions"))?;
        repartitioned = repartitioned.with_number_of_partitions(count);
    }
    if let Some(name) = options.text("partitioner") {
        let chosen = partitions(name)?;
        repartitioned =
            repartitioned.with_partitioner(move |_: &str, _: &K, _: &V, _| chosen.clone());
    }
    Ok(repartitioned)
}

pub(super) fn grouped<K: 'static, V: 'static>(
    step: Step<'_>,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
) -> Grouped<K, V> {
    let grouped = Grouped::with(key, value);
    match step.options("grouped").text("name") {
        Some(name) => grouped.named(name),
        None => grouped,
    }
}

/// How a table is kept, with a history or without one, which are two types in the library.
pub(super) enum Kept<V> {
    Latest(Materialized<Given<V>, Unversioned>),
    History(Materialized<Given<V>, Versioned>),
}

/// `None` where the step has no "materialized".
pub(super) fn kept<V: AnyValue>(step: Step<'_>) -> Result<Option<Kept<V>>, Wrong> {
    if !step.has("materialized") {
        return Ok(None);
    }
    let options = step.options("materialized");
    if options.text("supplier") != Some("versioned") {
        return materialized(step).map(Kept::Latest).map(Some);
    }
    let history = options.ms("history").unwrap_or_default();
    let mut kept = Materialized::versioned(options.required("name")?, history);
    if let Some(interval) = options.ms("segment_interval") {
        kept = kept.with_segment_interval(interval);
    }
    let kept = common(kept.with_value(default_serde::<V>()), options);
    Ok(Some(Kept::History(kept)))
}

/// A store without history; the default one where the step has no "materialized".
pub(super) fn materialized<V: AnyValue>(
    step: Step<'_>,
) -> Result<Materialized<Given<V>, Unversioned>, Wrong> {
    let options = step.options("materialized");
    let mut kept = match options.text("name") {
        Some(name) if options.text("supplier") == Some("lru") => {
            let max_entries = options.number("max_entries").unwrap_or(1).unsigned_abs();
            Materialized::lru_map(name, max_entries as usize)
        }
        Some(name) => Materialized::named(name),
        None => Materialized::new(),
    };
    match options.text("supplier") {
        None | Some("lru") => {}
        Some("rocksdb") => kept = kept.with_backend(StoreBackend::RocksDb),
        Some("rocksdb_plain") => kept = kept.without_timestamps(),
        Some("in_memory") => kept = kept.in_memory(),
        Some("versioned") => return Err(Wrong::refused("a versioned store of windows")),
        Some(other) => return Err(Wrong::new(format!("there is no supplier '{other}'"))),
    }
    match options.text("store") {
        Some("in_memory") => kept = kept.in_memory(),
        Some(_) => kept = kept.with_backend(StoreBackend::RocksDb),
        None => {}
    }
    if let Some(retention) = options.ms("retention") {
        kept = kept.with_retention(retention);
    }
    Ok(common(kept.with_value(default_serde::<V>()), options))
}

fn common<V, H: History>(
    mut kept: Materialized<Given<V>, H>,
    options: Step<'_>,
) -> Materialized<Given<V>, H> {
    match options.flag("caching") {
        Some(true) => kept = kept.with_caching_enabled(),
        Some(false) => kept = kept.with_caching_disabled(),
        None => {}
    }
    match options.flag("logging") {
        Some(false) => kept = kept.with_logging_disabled(),
        _ if options.has("logging") => kept = kept.with_logging_enabled(options.map("logging")),
        _ => {}
    }
    kept
}

/// A span in milliseconds that may be missing: none.
pub(super) fn span(options: Step<'_>, field: &str) -> Duration {
    options.ms(field).unwrap_or_default()
}
