//! `count`, `reduce` and `aggregate` of grouped streams.

use crate::transcript::{check, grouped, nullable_strings, numbers, stream, strings};
use std::time::Duration;
use streams_core::serdes::{I64, Nullable, Utf8};
use streams_core::{Grouped, Materialized, StreamsBuilder, TimeWindows};

fn materialized(name: &str, cached: bool) -> Materialized {
    match cached {
        true => Materialized::named(name),
        false => Materialized::named(name).with_caching_disabled(),
    }
}

fn aggregations(builder: &StreamsBuilder, cached: bool) {
    let grouped = stream(builder, "a")
        .group_by_key_with(grouped())
        .drop_null_keys();
    grouped
        .count_with(materialized("counts", cached))
        .to_stream()
        .to("count-out", numbers());
    grouped
        .reduce_with(|x, y| x.clone() + y, materialized("reduced", cached))
        .to_stream()
        .to("reduce-out", strings());
    grouped
        .aggregate_optional(
            || None,
            |_, value, aggregate: &mut Option<String>| match value.as_str() {
                "-" => *aggregate = None,
                value => aggregate.get_or_insert_default().push_str(value),
            },
            materialized("optional", cached),
        )
        .to_stream()
        .to("optional-out", nullable_strings());
}

#[test]
fn aggregations_cached() {
    check("aggregations_cached", |builder| aggregations(builder, true));
}

#[test]
fn aggregations_uncached() {
    check("aggregations_uncached", |builder| {
        aggregations(builder, false)
    });
}

#[test]
fn aggregation_with_nulls() {
    check("aggregation_with_nulls", |builder| {
        stream(builder, "a")
            .group_by_key()
            .drop_null_keys()
            .count_with(Materialized::named("c"))
            .to_stream()
            .to("o", numbers());
    });
}

#[test]
fn names_by_number() {
    let ten = || TimeWindows::of_size(Duration::from_millis(10));
    let append = |_: &String, value: &String, aggregate: &mut String| {
        aggregate.push_str(value);
    };
    let value_of = |_: &Option<String>, value: &String| Some(value.clone());
    check("aggregations_named_by_number", |builder| {
        let a = stream(builder, "a");
        let by_key = a.group_by_key().drop_null_keys();
        by_key.count().to_stream().to("o1", numbers());
        by_key
            .count_with(Materialized::new().with_value(I64))
            .to_stream()
            .to("o2", numbers());
        by_key
            .reduce(|_, y| y.clone())
            .to_stream()
            .to("o3", strings());
        by_key
            .reduce_with(|_, y| y.clone(), Materialized::new().with_value(Utf8))
            .to_stream()
            .to("o4", strings());
        by_key
            .aggregate(String::new, append, Materialized::new())
            .to_stream()
            .to("o5", strings());
        a.group_by(value_of, grouped())
            .drop_null_keys()
            .count()
            .to_stream()
            .to("o6", numbers());
        a.group_by(value_of, grouped())
            .drop_null_keys()
            .count_with(Materialized::named("named"))
            .to_stream()
            .to("o7", numbers());
        a.group_by(value_of, grouped().named("by-value"))
            .drop_null_keys()
            .count_with(Materialized::new().with_value(I64))
            .to_stream()
            .to("o8", numbers());
        let mapped = || a.map(|_, value| (Some(value.clone()), value.clone()));
        mapped()
            .group_by_key()
            .drop_null_keys()
            .reduce(|x, y| x.clone() + y)
            .to_stream()
            .to("o9", strings());
        mapped()
            .group_by_key_with(Grouped::with(Nullable(Utf8), Utf8).named("mapped"))
            .drop_null_keys()
            .aggregate(String::new, append, Materialized::new())
            .named("streamed")
            .to_stream()
            .to("oA", strings());
        let twice = a
            .group_by(|_, value| Some(value.repeat(2)), grouped())
            .drop_null_keys();
        twice.count().to_stream().to("oB", numbers());
        twice
            .reduce(|x, _| x.clone())
            .to_stream()
            .to("oC", strings());
        let windowed = a.group_by_key().drop_null_keys().windowed_by(ten());
        windowed
            .count()
            .to_stream()
            .select_key(|key, _| key.key.clone())
            .to("oD", numbers());
        windowed
            .count_with(Materialized::new().with_value(I64))
            .to_stream()
            .select_key(|key, _| key.key.clone())
            .to("oE", numbers());
        windowed
            .reduce(|_, y| y.clone())
            .to_stream()
            .select_key(|key, _| key.key.clone())
            .to("oF", strings());
    });
}
