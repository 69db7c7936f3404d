//! Joins of streams with tables and global tables.

use crate::transcript::{check, grouped, numbers, rows, stream, strings};
use streams_core::serdes::{Nullable, Utf8};
use streams_core::{Consumed, Joined, Materialized};

fn both(x: &String, y: &String) -> String {
    format!("{x}{y}")
}

fn left(x: &String, y: Option<&String>) -> String {
    format!("{x}{}", y.map_or("null", String::as_str))
}

fn joined() -> Joined<Option<String>, String> {
    Joined::with(Nullable(Utf8), Utf8)
}

#[test]
fn stream_table() {
    check("stream_table_joins", |builder| {
        let records = stream(builder, "s");
        let table = builder.table("t", rows(), Materialized::new());
        records.join(&table, both).to("inner", strings());
        records.left_join(&table, left).to("left", strings());
        records
            .join_with(
                &table.filter(|_, value| value.len() > 2),
                both,
                joined().named("filtered"),
            )
            .to("filtered-out", strings());
        let mapped = table.map_values_with(
            |_, value| format!("{value}!"),
            Materialized::named("mapped"),
        );
        records.left_join(&mapped, left).to("mapped-out", strings());
    });
}

#[test]
fn stream_table_rekeyed() {
    check("stream_table_joins_rekeyed", |builder| {
        let records = stream(builder, "s").select_key(|key, _| key.clone());
        let table = builder.table("t", rows(), Materialized::named("table"));
        records.join(&table, both).to("inner", strings());
        records
            .select_key(|key, _| key.clone())
            .left_join_with(&table, left, joined().named("named"))
            .to("left", strings());
        records
            .map(|key, value| (key.clone(), value.clone()))
            .group_by_key_with(grouped())
            .drop_null_keys()
            .count_with(Materialized::named("counted"))
            .to_stream()
            .to("counts", numbers());
    });
}

#[test]
fn stream_aggregate() {
    check("stream_aggregate_joins", |builder| {
        let records = stream(builder, "s").drop_null_keys();
        let counts = stream(builder, "t").group_by_key().drop_null_keys().count();
        records
            .join(&counts, |x, y| format!("{x}{y}"))
            .to("inner", strings());
        records
            .left_join(&counts, |x, y| match y {
                Some(y) => format!("{x}{y}"),
                None => format!("{x}null"),
            })
            .to("left", strings());
    });
}

#[test]
fn global_table() {
    check("global_table_joins", |builder| {
        let table = builder.global_table("t", rows(), Materialized::new());
        let records = stream(builder, "s");
        records
            .join_global(
                &table,
                |_, value| Some(value[..1].to_owned()),
                |_, value, row| both(value, row),
            )
            .to("inner", strings());
        records
            .named("left-global")
            .left_join_global(
                &table,
                |key, _| key.clone(),
                |_, value, row| left(value, row),
            )
            .to("left", strings());
        let other = builder.global_table(
            "u",
            Consumed::with(Nullable(Utf8), Utf8).named("us"),
            Materialized::named("u-store"),
        );
        records
            .map(|_, value| (Some(value.clone()), value.clone()))
            .join_global(
                &other,
                |key, _| key.clone(),
                |key, value, row| format!("{}{value}{row}", key.as_deref().unwrap_or("null")),
            )
            .group_by_key()
            .drop_null_keys()
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to("counts-out", numbers());
    });
}

#[test]
fn global_table_with_nulls() {
    check("global_table_joins_with_nulls", |builder| {
        let table = builder.global_table("t", rows(), Materialized::named("global"));
        let records = stream(builder, "s");
        let text = |text: &Option<String>| text.as_deref().unwrap_or("null").to_owned();
        let all = move |key: &Option<String>, value: &String, row: Option<&String>| {
            text(key) + value + row.map_or("null", String::as_str)
        };
        let by_value =
            |_: &Option<String>, value: &String| (!value.starts_with("s1")).then(|| "k".to_owned());
        records
            .join_global(
                &table,
                |key, _| key.clone(),
                move |key, value, row| all(key, value, Some(row)),
            )
            .to("inner", strings());
        records
            .left_join_global(&table, |key, _| key.clone(), all)
            .to("left", strings());
        records
            .left_join_global(&table, by_value, all)
            .to("left-null", strings());
        records
            .join_global(&table, by_value, move |key, value, row| {
                all(key, value, Some(row))
            })
            .to("inner-null", strings());
    });
}
