//! Aggregations over windows of time.

use crate::transcript::{check, grouped, numbers, stream};
use std::time::Duration;
use streams_core::serdes::{I64, Nullable, Serde, TimeWindowed, Utf8};
use streams_core::windowed::Windowed;
use streams_core::{EmitStrategy, Materialized, Produced, StreamsBuilder, TimeWindows};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn produced<V: 'static>(size_ms: u64, value: impl Serde<V>) -> Produced<Windowed<String>, V> {
    Produced::with(TimeWindowed::new(Utf8, ms(size_ms)), value)
}

fn materialized(name: &str, cached: bool) -> Materialized {
    match cached {
        true => Materialized::named(name),
        false => Materialized::named(name).with_caching_disabled(),
    }
}

#[expect(
    clippy::ptr_arg,
    reason = "given to the DSL, which hands out references to the value's type"
)]
fn append(_: &String, value: &String, aggregate: &mut String) {
    aggregate.push_str(value);
}

fn windows(builder: &StreamsBuilder, cached: bool) {
    let grouped = stream(builder, "a")
        .group_by_key_with(grouped())
        .drop_null_keys();
    grouped
        .windowed_by(TimeWindows::of_size_and_grace(ms(10), ms(5)))
        .count_with(materialized("tumbling", cached))
        .to_stream()
        .to("tumbling-out", produced(10, I64));
    grouped
        .windowed_by(TimeWindows::of_size(ms(12)).advance_by(ms(5)))
        .aggregate(String::new, append, materialized("hopping", cached))
        .to_stream()
        .to("hopping-out", produced(12, Utf8));
    grouped
        .windowed_by(TimeWindows::of_size(ms(20)).advance_by(ms(10)))
        .reduce_with(
            |x, y| format!("{x},{y}"),
            materialized("reduced", cached).with_retention(ms(100_000)),
        )
        .to_stream()
        .to("reduced-out", produced(20, Utf8));
}

#[test]
fn windows_cached() {
    check("windows_cached", |builder| windows(builder, true));
}

#[test]
fn windows_uncached() {
    check("windows_uncached", |builder| windows(builder, false));
}

#[test]
fn windows_emit_on_close() {
    check("windows_emit_on_close", |builder| {
        let grouped = stream(builder, "a")
            .group_by_key_with(grouped())
            .drop_null_keys();
        grouped
            .windowed_by(TimeWindows::of_size_and_grace(ms(10), ms(5)))
            .emit_strategy(EmitStrategy::on_window_close())
            .count_with(Materialized::named("tumbling"))
            .to_stream()
            .to("tumbling-out", produced(10, I64));
        grouped
            .windowed_by(TimeWindows::of_size_and_grace(ms(12), ms(1)).advance_by(ms(5)))
            .emit_strategy(EmitStrategy::on_window_close())
            .aggregate(String::new, append, Materialized::named("hopping"))
            .to_stream()
            .to("hopping-out", produced(12, Utf8));
    });
}

#[test]
fn windows_in_memory() {
    check("windows_in_memory", |builder| {
        stream(builder, "a")
            .group_by_key()
            .drop_null_keys()
            .windowed_by(TimeWindows::of_size_and_grace(ms(10), ms(5)))
            .count_with(Materialized::named("tumbling").in_memory())
            .to_stream()
            .to("tumbling-out", produced(10, I64));
    });
}

#[test]
fn windowed_tables() {
    check("windows_values_and_joins", |builder| {
        let counts = stream(builder, "a")
            .group_by(|_, value| Some(value.clone()), grouped())
            .drop_null_keys()
            .windowed_by(TimeWindows::of_size_and_grace(ms(10), ms(5)))
            .count();
        counts
            .filter(|_, count| *count > 1)
            .map_values(|count| count * 10)
            .to_stream()
            .to("filtered", produced(10, Nullable(I64)));
        counts
            .to_stream()
            .select_key(|key, _| format!("{}@{}", key.key, key.window.start_ms))
            .to("rekeyed", numbers());
    });
}
