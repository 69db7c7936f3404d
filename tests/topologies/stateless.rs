//! Verbs that look at one record at a time, and tables made of streams.

use crate::transcript::{check, grouped, nullable_strings, numbers, rows, stream, strings};
use streams_core::serdes::{Nullable, Utf8};
use streams_core::{
    Consumed, KStream, Materialized, Produced, Repartitioned, StreamsBuilder,
    UsePartitionTimeOnInvalidTimestamp,
};

fn nullable(builder: &StreamsBuilder) -> KStream<Option<String>, Option<String>> {
    builder.stream("a", Consumed::with(Nullable(Utf8), Nullable(Utf8)))
}

fn or_null(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("null")
}

#[test]
fn stateless() {
    check("stateless", |builder| {
        let a = nullable(builder);
        a.filter(|_, value| value.as_ref().is_some_and(|value| value.len() > 1))
            .map_values(|value| value.as_ref().map(|value| value.to_uppercase()))
            .to("upper", nullable_strings());
        a.filter_not(|_, value| value.is_none())
            .named("with-key")
            .map_values_with_key(|key, value| format!("{}:{}", or_null(key), or_null(value)))
            .peek(|_, _| {})
            .to("keyed", strings().named("keyed-sink"));
        let swapped = a.map(|key, value| (value.clone(), key.clone()));
        let doubled = a
            .named("double-key")
            .select_key(|key, _| key.as_ref().map(|key| key.repeat(2)));
        swapped.merge(&doubled).to("merged", nullable_strings());
        a.flat_map(|_, value| {
            let records = value.as_ref().map(|value| {
                ["1", "2"].map(|number| (Some(value.clone()), Some(number.to_owned())))
            });
            records.into_iter().flatten().collect::<Vec<_>>()
        })
        .to("flat", nullable_strings());
        a.flat_map_values(|value| {
            let parts = value.iter().flat_map(|value| value.split(','));
            parts.map(str::to_owned).collect::<Vec<_>>()
        })
        .to("flat-values", strings());
        a.for_each(|_, _| {});
        builder
            .stream(
                ["topic-b", "topic-a", "c3"],
                Consumed::with(Utf8, Utf8).named("several"),
            )
            .map_values(String::clone)
            .to("several-out", Produced::with(Utf8, Utf8));
    });
}

#[test]
fn split() {
    check("split", |builder| {
        let a = stream(builder, "a");
        let branches = a
            .named("by-")
            .split()
            .branch("a", |_, value| value.starts_with('a'))
            .branch("2", |_, value| value.starts_with('b'))
            .default_branch("rest");
        branches.get("by-a").to("out-a", strings());
        branches.get("2").to("out-b", strings());
        branches.get("rest").to("out-rest", strings());
        let branches = a
            .split()
            .branch("1", |_, value| value.len() == 1)
            .branch("2", |_, value| value.len() == 2)
            .no_default_branch();
        branches.get("1").to("one", strings());
        branches.get("2").to("two", strings());
        let all = a.split().default_branch("0");
        all.get("0").to("all", strings());
    });
}

#[test]
fn to_extracted() {
    check("to_extracted", |builder| {
        nullable(builder).to_extracted(
            |record| format!("out-{}", or_null(record.key)),
            nullable_strings(),
        );
    });
}

#[test]
fn repartition() {
    check("repartition", |builder| {
        let a = nullable(builder);
        let repartitioned = || Repartitioned::with(Nullable(Utf8), Nullable(Utf8));
        a.select_key(|_, value| value.clone())
            .repartition(repartitioned().named("mine").with_number_of_partitions(4))
            .map_values(|value| format!("{}!", or_null(value)))
            .to("named", strings());
        a.filter(|_, value| value.is_some())
            .repartition(repartitioned())
            .group_by_key()
            .drop_null_keys()
            .count()
            .to_stream()
            .to("unnamed", numbers());
    });
}

#[test]
fn to_table() {
    check("to_table", |builder| {
        let a = nullable(builder);
        a.to_table(Materialized::new())
            .to_stream()
            .to("plain", nullable_strings());
        a.to_table(Materialized::named("stored").with_caching_disabled())
            .to_stream()
            .to("stored-out", nullable_strings());
        a.named("tabled")
            .to_table(Materialized::new())
            .filter(|_, value: &String| value.len() > 1)
            .to_stream()
            .to("tabled-out", nullable_strings());
        let rekeyed = |key: &Option<String>, value: &Option<String>| match value {
            None => key.clone(),
            Some(_) => value.clone(),
        };
        a.select_key(rekeyed)
            .to_table(Materialized::new().with_value(Utf8))
            .to_stream()
            .to("rekeyed", nullable_strings());
        a.select_key(rekeyed)
            .named("rekeyed-named")
            .to_table(Materialized::named("rekeyed-store"))
            .to_stream()
            .to("rekeyed-named-out", nullable_strings());
    });
}

#[test]
fn extractor() {
    let by_value = |_: &Option<String>, value: &String| value.parse().expect("a number");
    check("extractor", |builder| {
        builder
            .stream("a", rows().with_timestamp_extractor(by_value))
            .group_by_key_with(grouped())
            .drop_null_keys()
            .count()
            .to_stream()
            .to("counts", numbers());
        builder
            .stream(
                "b",
                rows().with_timestamp_extractor(UsePartitionTimeOnInvalidTimestamp),
            )
            .to("b-out", strings());
        builder
            .table(
                "t",
                rows().with_timestamp_extractor(by_value),
                Materialized::new(),
            )
            .to_stream()
            .to("t-out", nullable_strings());
    });
}
