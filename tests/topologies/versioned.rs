//! Tables that remember earlier versions of their rows, and what is joined with them.

use crate::transcript::{
    check, grouped, nullable_numbers, nullable_strings, numbers, rows, stream, strings,
};
use std::time::Duration;
use streams_core::processor::{Processor, ProcessorContext};
use streams_core::serdes::{Nullable, Utf8};
use streams_core::stores::{
    StoreHandle, Stores, VersionedKeyValueStore, VersionedPut, VersionedRecord,
};
use streams_core::{
    ByDefault, Consumed, Joined, KTable, Materialized, Record, Result, StreamsBuilder, Versioned,
};

type Table = KTable<Option<String>, String, Versioned>;

fn versions_for(name: &str, retention_ms: u64) -> Materialized<ByDefault, Versioned> {
    Materialized::versioned(name, Duration::from_millis(retention_ms))
        .with_segment_interval(Duration::from_millis(10))
}

fn versions(name: &str) -> Materialized<ByDefault, Versioned> {
    versions_for(name, 30)
}

fn plain(name: &str) -> Materialized {
    Materialized::named(name).with_caching_disabled()
}

fn table(builder: &StreamsBuilder, topic: &str, store: &str) -> Table {
    builder.versioned_table(topic, rows(), versions(store))
}

fn no_a<K>(_: &K, value: &impl AsRef<str>) -> bool {
    !value.as_ref().starts_with('a')
}

fn first(value: &str) -> Option<String> {
    Some(value[..1].to_owned())
}

fn both(x: &String, y: &String) -> String {
    format!("{x}{y}")
}

fn left(x: &String, y: Option<&String>) -> String {
    outer(Some(x), y)
}

fn outer(x: Option<&String>, y: Option<&String>) -> String {
    let text = |side: Option<&String>| side.map_or("null", String::as_str).to_owned();
    text(x) + &text(y)
}

fn add(_: &Option<String>, value: &String, sum: &mut String) {
    *sum = format!("{sum}+{value}");
}

fn subtract(_: &Option<String>, value: &String, sum: &mut String) {
    *sum = format!("{sum}-{value}");
}

fn key_and(key: &Option<String>, value: &String) -> String {
    format!("{}{value}", key.as_deref().unwrap_or("null"))
}

#[test]
fn tables() {
    check("versioned_tables", |builder| {
        let table = table(builder, "t", "prices");
        table.to_stream().to("all", nullable_strings());
        table
            .filter(no_a)
            .to_stream()
            .to("filtered", nullable_strings());
        table
            .map_values(|value| format!("{value}!"))
            .to_stream()
            .to("mapped", nullable_strings());
        table
            .filter_with(no_a, versions("filtered-versions"))
            .to_stream()
            .to("filtered-stored", nullable_strings());
        table
            .filter_with(no_a, plain("filtered-plain"))
            .to_stream()
            .to("filtered-stored-plain", nullable_strings());
        table
            .map_values_with(key_and, versions("mapped-versions"))
            .filter(|_, value| value.contains('b'))
            .to_stream()
            .to("mapped-stored", nullable_strings());
        table
            .map_values_with(key_and, Materialized::named("mapped-plain"))
            .to_stream()
            .to("mapped-stored-plain", nullable_strings());
        table
            .filter_with(no_a, Materialized::new())
            .map_values(|value| format!("{value}?"))
            .to_stream()
            .to("numbered", nullable_strings());
    });
}

#[test]
fn tables_grouped() {
    check("versioned_tables_grouped", |builder| {
        let table = table(builder, "t", "prices");
        table
            .group_by(|_, value| (first(value), value.clone()), grouped())
            .count_with(plain("counts"))
            .to_stream()
            .to("count", nullable_numbers());
        table
            .filter(no_a)
            .group_by(|_, value| (first(value), value.clone()), grouped())
            .reduce_with(
                |x, y| format!("{x}+{y}"),
                |x, y| format!("{x}-{y}"),
                versions("reduced"),
            )
            .to_stream()
            .to("reduce", nullable_strings());
        table
            .map_values(|value| format!("{value}!"))
            .group_by(|_, value| (first(value), value.clone()), grouped())
            .aggregate(|| "0".to_owned(), add, subtract, versions("aggregated"))
            .to_stream()
            .to("aggregate", nullable_strings());
        table
            .filter_with(no_a, versions("stored"))
            .group_by(|_, value| (first(value), value.clone()), grouped())
            .count_with(versions("version-counts"))
            .filter(|_, count| *count > 0)
            .to_stream()
            .to("stored-count", nullable_numbers());
        table
            .map_values_with(|_, value| format!("{value}?"), plain("plain"))
            .group_by(|_, value| (first(value), value.clone()), grouped())
            .aggregate(|| "0".to_owned(), add, subtract, plain("plain-aggregated"))
            .to_stream()
            .to("plain-aggregate", nullable_strings());
    });
}

#[test]
fn aggregations() {
    check("versioned_aggregations", |builder| {
        let records = stream(builder, "s").group_by_key().drop_null_keys();
        let counts = records.count_with(versions("counts"));
        counts.to_stream().to("count", nullable_numbers());
        counts
            .filter(|_, count| count % 2 == 0)
            .to_stream()
            .to("even", nullable_numbers());
        let reduced = records.reduce_with(
            |x, y| match y.starts_with('a') {
                true => y.clone(),
                false => format!("{x}{y}"),
            },
            versions("reduced"),
        );
        reduced.to_stream().to("reduce", nullable_strings());
        let aggregated = records.aggregate_optional(
            || None,
            |_, value, aggregate: &mut Option<String>| {
                *aggregate = match value.starts_with('b') {
                    true => None,
                    false => Some(aggregate.take().unwrap_or_default() + value),
                };
            },
            versions("aggregated"),
        );
        aggregated.to_stream().to("aggregate", nullable_strings());
        reduced
            .group_by(
                |_, value| (Some("all".to_owned()), value.clone()),
                grouped(),
            )
            .count_with(plain("aggregates"))
            .to_stream()
            .to("aggregate-count", nullable_numbers());
        builder
            .stream("u", Consumed::with(Nullable(Utf8), Nullable(Utf8)))
            .to_table(versions("upserted"))
            .to_stream()
            .to("table", nullable_strings());
        builder
            .stream("u2", Consumed::with(Nullable(Utf8), Nullable(Utf8)))
            .select_key(|key: &Option<String>, _: &Option<String>| key.clone())
            .named("to-table")
            .to_table(versions("rekeyed"))
            .to_stream()
            .to("rekeyed-table", nullable_strings());
    });
}

#[test]
fn stream_table_joins() {
    check("versioned_stream_table_joins", |builder| {
        let records = stream(builder, "s");
        let table = table(builder, "t", "prices");
        records.join(&table, both).to("inner", strings());
        records.left_join(&table, left).to("left", strings());
        records
            .left_join(&table.filter(no_a), left)
            .to("filtered-left", strings());
        records
            .left_join(&table.map_values(|value| format!("{value}!")), left)
            .to("mapped-left", strings());
        records
            .join(
                &table.map_values_with(|_, value| format!("{value}!"), plain("plain")),
                both,
            )
            .to("plain-inner", strings());
        let stored =
            table.map_values_with(|_, value| format!("{value}!"), versions_for("stored", 10));
        records.join(&stored, both).to("stored-inner", strings());
        records
            .left_join(&table.filter_with(no_a, Materialized::new()), left)
            .to("numbered-left", strings());
        let other = builder.table("u", rows(), Materialized::new());
        records
            .join(&table.join(&other, both), both)
            .to("joined-inner", strings());
    });
}

#[test]
fn table_joins() {
    check("versioned_table_joins", |builder| {
        let (this, other) = (table(builder, "l", "left"), table(builder, "r", "right"));
        this.join(&other, both)
            .to_stream()
            .to("inner", nullable_strings());
        this.left_join(&other, left)
            .to_stream()
            .to("left-out", nullable_strings());
        this.outer_join(&other, outer)
            .to_stream()
            .to("outer", nullable_strings());
        this.outer_join_with(&other, outer, versions("outer-versions"))
            .to_stream()
            .to("outer-stored", nullable_strings());
        this.filter(no_a)
            .left_join_with(
                &other.map_values(|value| format!("{value}!")),
                left,
                plain("left-plain"),
            )
            .to_stream()
            .to("left-stored", nullable_strings());
        this.join(&other, both)
            .group_by(
                |_, value| (Some("all".to_owned()), value.clone()),
                grouped(),
            )
            .count_with(plain("counts"))
            .to_stream()
            .to("count", nullable_numbers());
    });
}

#[test]
fn table_inner_join_alone() {
    check("versioned_table_inner_join_alone", |builder| {
        table(builder, "l", "left")
            .join(&table(builder, "r", "right"), both)
            .to_stream()
            .to("inner", nullable_strings());
    });
}

#[test]
fn joins_with_plain_tables() {
    check("versioned_and_plain_table_joins", |builder| {
        let this = table(builder, "l", "left");
        let other = builder.table("r", rows(), plain("right"));
        this.join(&other, both)
            .to_stream()
            .to("inner", nullable_strings());
        this.left_join(&other, left)
            .to_stream()
            .to("left-out", nullable_strings());
        other
            .left_join(&this, left)
            .to_stream()
            .to("right-out", nullable_strings());
        this.outer_join(&other, outer)
            .to_stream()
            .to("outer", nullable_strings());
        other
            .outer_join_with(&this, outer, Materialized::named("merged"))
            .to_stream()
            .to("outer-turned", nullable_strings());
    });
}

fn waiting(grace_ms: u64) -> Joined<Option<String>, String> {
    Joined::with(Nullable(Utf8), Utf8).with_grace_period(Duration::from_millis(grace_ms))
}

#[test]
fn grace_joins() {
    check("grace_joins", |builder| {
        let records = stream(builder, "s");
        let table: Table = builder.versioned_table("t", rows(), versions_for("prices", 100));
        records
            .join_with(&table, both, waiting(5).named("named"))
            .to("inner", strings());
        records
            .filter(|key, _| key.is_some())
            .left_join_with(&table, left, waiting(10))
            .to("left", strings());
        records
            .join_with(&table.filter(no_a), both, waiting(0))
            .to("filtered", strings());
        records
            .select_key(|key, _| key.clone())
            .join_with(
                &table.map_values(|value| format!("{value}!")),
                both,
                waiting(100).named("rekeyed"),
            )
            .to("mapped", strings());
        records
            .join_with(&table, both, waiting(7).named("counted"))
            .group_by_key_with(grouped())
            .drop_null_keys()
            .count_with(plain("counts"))
            .to_stream()
            .to("count", numbers());
    });
}

/// Says what a versioned store makes of each record.
struct Teller(StoreHandle<VersionedKeyValueStore<Option<String>, String>>);

fn show(version: Option<VersionedRecord<String>>) -> String {
    version.map_or("null".to_owned(), |version| {
        format!("{}@{}", version.value, version.timestamp)
    })
}

impl Processor<Option<String>, String, Option<String>, String> for Teller {
    fn process(
        &mut self,
        record: Record<'_, Option<String>, String>,
        context: &mut ProcessorContext<'_, Option<String>, String>,
    ) -> Result<()> {
        if record.key.is_none() {
            return Ok(());
        }
        let mut store = context.store(&self.0)?;
        let mut said = match record.value.starts_with('a') {
            true => format!(
                "deleted {}",
                show(store.delete(record.key, record.timestamp)?)
            ),
            false => match store.put(record.key, Some(record.value.clone()), record.timestamp)? {
                VersionedPut::Latest => "latest",
                VersionedPut::Older { .. } => "older",
                VersionedPut::Rejected => "rejected",
            }
            .to_owned(),
        };
        said += &format!(" now {}", show(store.get(record.key)?));
        for back in (0..50).step_by(7) {
            let version = store.get_as_of(record.key, record.timestamp - back)?;
            said += &format!(" {back} {}", show(version));
        }
        context.forward_record(record.with_value(&said))
    }
}

#[test]
fn processor() {
    check("versioned_processor", |builder| {
        let store = builder.add_state_store(
            Stores::versioned_key_value("store", Nullable(Utf8), Utf8, Duration::from_millis(30))
                .with_segment_interval(Duration::from_millis(10)),
        );
        let handle = store.clone();
        stream(builder, "s")
            .process(move || Teller(handle.clone()), &[store.name()])
            .to("out", strings());
    });
}
