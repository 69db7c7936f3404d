//! Joins of tables with tables.

use crate::transcript::{check, grouped, nullable_strings, rows, stream, strings};
use streams_core::{KTable, Materialized, StreamsBuilder};

type Table = KTable<Option<String>, String>;

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

fn table(builder: &StreamsBuilder, topic: &str) -> Table {
    builder.table(topic, rows(), Materialized::new())
}

fn joins(this: &Table, other: &Table) {
    this.join(other, both)
        .to_stream()
        .to("inner", nullable_strings());
    this.named("left-named")
        .left_join(other, left)
        .to_stream()
        .to("left", nullable_strings());
    this.outer_join(other, outer)
        .to_stream()
        .to("outer", nullable_strings());
}

#[test]
fn joined() {
    check("table_joins", |builder| {
        joins(&table(builder, "l"), &table(builder, "r"));
    });
}

#[test]
fn joined_uncached() {
    check("table_joins_uncached", |builder| {
        let uncached = |topic: &str, store: &str| {
            builder.table(
                topic,
                rows(),
                Materialized::named(store).with_caching_disabled(),
            )
        };
        joins(&uncached("l", "left"), &uncached("r", "right"));
    });
}

#[test]
fn inner_alone() {
    check("table_inner_join_alone", |builder| {
        table(builder, "l")
            .join(&table(builder, "r"), both)
            .to_stream()
            .to("inner", nullable_strings());
    });
}

fn stored(builder: &StreamsBuilder, cached: bool) {
    let caching = |materialized: Materialized| match cached {
        true => materialized,
        false => materialized.with_caching_disabled(),
    };
    let (this, other) = (table(builder, "l"), table(builder, "r"));
    this.join_with(&other, both, caching(Materialized::named("inner")))
        .to_stream()
        .to("inner-out", nullable_strings());
    this.named("o")
        .outer_join_with(&other, outer, caching(Materialized::named("outer")))
        .to_stream()
        .to("outer-out", nullable_strings());
    this.left_join_with(&other, left, caching(Materialized::new()))
        .filter(|_, value| !value.ends_with("null"))
        .to_stream()
        .to("left-out", nullable_strings());
}

#[test]
fn stored_cached() {
    check("table_joins_stored_cached", |builder| stored(builder, true));
}

#[test]
fn stored_uncached() {
    check("table_joins_stored_uncached", |builder| {
        stored(builder, false)
    });
}

#[test]
fn chained() {
    check("table_joins_chained", |builder| {
        let (this, other) = (table(builder, "l"), table(builder, "r"));
        let joined = this
            .filter(|_, value| value != "l2")
            .left_join(&other.map_values(|value| format!("{value}!")), left);
        joined
            .outer_join(&other, |x, y| {
                let text = |side: Option<&String>| side.map_or("null", String::as_str).to_owned();
                format!("{}/{}", text(x), text(y))
            })
            .to_stream()
            .to("chained", nullable_strings());
        joined
            .group_by(|_, value| (Some("g".to_owned()), value.clone()), grouped())
            .aggregate(
                || "0".to_owned(),
                |_, value, sum| *sum = format!("{sum}+{value}"),
                |_, value, sum| *sum = format!("{sum}-{value}"),
                Materialized::named("sum"),
            )
            .to_stream()
            .to("grouped", nullable_strings());
        stream(builder, "s")
            .join(&joined, both)
            .to("joined", strings());
    });
}

/// Groups rows by their own key, so that old values show.
fn aggregate(table: &Table, name: &str) {
    table
        .group_by(|key, value| (key.clone(), value.clone()), grouped())
        .aggregate(
            || "0".to_owned(),
            |_, value, sum| *sum = format!("{sum}+{value}"),
            |_, value, sum| *sum = format!("{sum}-{value}"),
            Materialized::named(name).with_caching_disabled(),
        )
        .to_stream()
        .to(format!("{name}-out"), nullable_strings());
}

fn input(builder: &StreamsBuilder, topic: &str, store: &str, cached: bool) -> Table {
    match cached {
        true => table(builder, topic),
        false => builder.table(
            topic,
            rows(),
            Materialized::named(store).with_caching_disabled(),
        ),
    }
}

fn kept(store: &str, cached: bool) -> Materialized {
    match cached {
        true => Materialized::named(store),
        false => Materialized::named(store).with_caching_disabled(),
    }
}

fn no(letter: char) -> impl Fn(&Option<String>, &String) -> bool + Send + Sync + 'static {
    move |_, value| !value.starts_with(letter)
}

fn stored_and_grouped(builder: &StreamsBuilder, cached: bool) {
    let this = input(builder, "l", "left", cached);
    let other = input(builder, "r", "right", cached);
    aggregate(
        &this.join_with(&other, both, kept("inner", cached)),
        "inner-agg",
    );
    aggregate(
        &this
            .filter(no('a'))
            .left_join_with(&other, left, kept("leftj", cached)),
        "left-agg",
    );
    aggregate(
        &this.outer_join_with(
            &other.map_values(|value| format!("{value}!")),
            outer,
            kept("outer", cached),
        ),
        "outer-agg",
    );
    aggregate(
        &this.outer_join(&other.filter(no('b')), outer),
        "outer-plain-agg",
    );
}

#[test]
fn stored_and_grouped_cached() {
    check("table_joins_stored_and_grouped_cached", |builder| {
        stored_and_grouped(builder, true);
    });
}

#[test]
fn stored_and_grouped_uncached() {
    check("table_joins_stored_and_grouped_uncached", |builder| {
        stored_and_grouped(builder, false);
    });
}

fn of_one_table(builder: &StreamsBuilder, cached: bool) {
    let table = input(builder, "l", "left", cached);
    let joined = table.join_with(
        &table.map_values(|value| format!("{value}!")),
        both,
        kept("inner", cached),
    );
    joined.to_stream().to("inner-out", nullable_strings());
    aggregate(&joined, "inner-agg");
    let both_sides = table
        .filter(no('a'))
        .outer_join(&table.filter(no('b')), outer);
    both_sides.to_stream().to("outer-out", nullable_strings());
    aggregate(&both_sides, "outer-agg");
    table
        .filter(no('a'))
        .left_join_with(&table.filter(no('b')), left, kept("leftj", cached))
        .filter(|_, value| value.len() > 3)
        .to_stream()
        .to("left-out", nullable_strings());
}

#[test]
fn of_one_table_cached() {
    check("table_joins_of_one_table_cached", |builder| {
        of_one_table(builder, true);
    });
}

#[test]
fn of_one_table_uncached() {
    check("table_joins_of_one_table_uncached", |builder| {
        of_one_table(builder, false);
    });
}
