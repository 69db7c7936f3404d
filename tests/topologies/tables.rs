//! Verbs of tables, and their regrouping.

use crate::transcript::{check, grouped, nullable_numbers, nullable_strings, rows, stream};
use streams_core::serdes::{I64, Nullable, Utf8};
use streams_core::{Grouped, Materialized, StreamsBuilder};

fn caching(materialized: Materialized, cached: bool) -> Materialized {
    match cached {
        true => materialized,
        false => materialized.with_caching_disabled(),
    }
}

#[expect(
    clippy::ptr_arg,
    reason = "given to the DSL, which hands out references to the value's type"
)]
fn is_long(_: &Option<String>, value: &String) -> bool {
    value.len() > 1
}

fn with_key(key: &Option<String>, value: &String) -> String {
    format!("{}{value}", key.as_deref().unwrap_or("null"))
}

#[test]
fn not_stored() {
    check("tables_not_stored", |builder| {
        let table = builder.table("t", rows(), Materialized::new());
        table.to_stream().to("all", nullable_strings());
        table
            .filter(is_long)
            .to_stream()
            .to("long", nullable_strings());
        table
            .filter_not(is_long)
            .to_stream()
            .to("short", nullable_strings());
        table
            .map_values(|value| format!("{value}!"))
            .to_stream()
            .to("mapped", nullable_strings());
        table
            .named("mapper")
            .map_values_with_key(with_key)
            .named("filterer")
            .filter(|_, value| value.len() > 2)
            .named("streamer")
            .to_stream()
            .to("chained", nullable_strings());
        table
            .to_stream()
            .select_key(|key, _| Some(format!("new-{}", key.as_deref().unwrap_or("null"))))
            .to("rekeyed", nullable_strings());
    });
}

fn stored(builder: &StreamsBuilder, cached: bool) {
    let named = |name: &str| caching(Materialized::named(name), cached);
    let table = builder.table("t", rows(), named("stored"));
    table.to_stream().to("all", nullable_strings());
    table
        .filter(is_long)
        .to_stream()
        .to("long", nullable_strings());
    table
        .filter_with(is_long, named("long"))
        .to_stream()
        .to("long-stored", nullable_strings());
    table
        .filter_not(is_long)
        .to_stream()
        .to("short", nullable_strings());
    table
        .map_values(|value| format!("{value}!"))
        .to_stream()
        .to("mapped", nullable_strings());
    table
        .map_values_with(with_key, named("mapped"))
        .to_stream()
        .to("mapped-stored", nullable_strings());
    table
        .map_values(|value| format!("{value}!"))
        .filter(|_, value| value.len() > 2)
        .to_stream()
        .to("chained", nullable_strings());
}

#[test]
fn stored_cached() {
    check("tables_stored_cached", |builder| stored(builder, true));
}

#[test]
fn stored_uncached() {
    check("tables_stored_uncached", |builder| stored(builder, false));
}

fn stored_later(builder: &StreamsBuilder, cached: bool) {
    let named = |name: &str| caching(Materialized::named(name), cached);
    let unnamed = || caching(Materialized::new(), cached);
    let table = builder.table("t", rows(), unnamed());
    table
        .filter_with(is_long, named("long"))
        .to_stream()
        .to("long-stored", nullable_strings());
    let mapped = table.map_values_with(with_key, named("mapped"));
    mapped.to_stream().to("mapped-stored", nullable_strings());
    mapped
        .filter(|_, value| value.len() > 2)
        .to_stream()
        .to("chained", nullable_strings());
    table
        .filter_with(|_, value| value.len() > 2, unnamed())
        .to_stream()
        .to("numbered", nullable_strings());
    table
        .map_values_with(|_, value| format!("{value}?"), unnamed())
        .to_stream()
        .to("numbered-map", nullable_strings());
}

#[test]
fn stored_later_cached() {
    check("tables_stored_later_cached", |builder| {
        stored_later(builder, true)
    });
}

#[test]
fn stored_later_uncached() {
    check("tables_stored_later_uncached", |builder| {
        stored_later(builder, false)
    });
}

#[expect(
    clippy::ptr_arg,
    reason = "given to the DSL, which hands out references to the value's type"
)]
fn by_first(_: &Option<String>, value: &String) -> (Option<String>, String) {
    (Some(value[..1].to_owned()), value.clone())
}

fn plus(x: &String, y: &String) -> String {
    format!("{x}+{y}")
}

fn minus(x: &String, y: &String) -> String {
    format!("{x}-{y}")
}

fn add(_: &Option<String>, value: &String, aggregate: &mut String) {
    *aggregate = plus(aggregate, value);
}

fn subtract(_: &Option<String>, value: &String, aggregate: &mut String) {
    *aggregate = minus(aggregate, value);
}

fn zero() -> String {
    "0".to_owned()
}

#[test]
fn regrouped() {
    check("tables_grouped", |builder| {
        let table = builder.table("t", rows(), Materialized::new());
        let groups = table.group_by(by_first, grouped());
        groups.count().to_stream().to("count", nullable_numbers());
        groups
            .count_with(Materialized::named("counts").with_caching_disabled())
            .to_stream()
            .to("count-stored", nullable_numbers());
        table
            .group_by(by_first, grouped().named("by-first"))
            .reduce(plus, minus)
            .to_stream()
            .to("reduce", nullable_strings());
        table
            .group_by(by_first, grouped())
            .aggregate(
                zero,
                add,
                subtract,
                Materialized::named("aggregated").with_caching_disabled(),
            )
            .to_stream()
            .to("aggregate", nullable_strings());
    });
}

#[test]
fn filtered_and_regrouped() {
    check("tables_filtered_and_grouped", |builder| {
        let table = builder.table("t", rows(), Materialized::new());
        table
            .filter(is_long)
            .map_values(|value| format!("{value}!"))
            .group_by(by_first, grouped())
            .aggregate(zero, add, subtract, Materialized::new())
            .to_stream()
            .to("aggregate", nullable_strings());
        table
            .filter_with(is_long, Materialized::named("long").with_caching_disabled())
            .group_by(by_first, grouped())
            .reduce_with(plus, minus, Materialized::new())
            .to_stream()
            .to("reduce", nullable_strings());
        table
            .filter(is_long)
            .group_by(by_first, grouped())
            .count_with(Materialized::new().with_value(I64))
            .filter(|_, count| *count > 0)
            .to_stream()
            .to("count", nullable_numbers());
    });
}

#[test]
fn of_aggregations() {
    check("tables_of_aggregations", |builder| {
        let counts = stream(builder, "t")
            .group_by_key()
            .drop_null_keys()
            .count_with(Materialized::named("counts").with_caching_disabled());
        counts
            .filter(|_, count| count % 2 == 0)
            .to_stream()
            .to("even", nullable_numbers());
        counts
            .group_by(
                |_, count| (Some(format!("n{count}")), *count),
                Grouped::with(Nullable(Utf8), I64),
            )
            .count_with(Materialized::named("by-count").with_caching_disabled())
            .to_stream()
            .to("histogram", nullable_numbers());
    });
}
