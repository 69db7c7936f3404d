//! Joins of two streams.

use super::options::span;
use super::streams::{Stream, either};
use super::{Handle, Outcome, downcast, not_interpreted, returns};
use crate::functions;
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue};
use streams_core::{JoinWindows, KStream, Partitioning, StreamJoined, WindowBytesStoreSupplier};

/// `None` if the other side is no such stream.
pub(super) fn step<K: AnyKey, V: AnyValue, V2: AnyValue>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    with: &Handle,
) -> Outcome {
    let Some(with) = downcast::<Stream<K, V2>>(with) else {
        return Ok(None);
    };
    let joined = joined(of, with, step);
    either!(of, step, this => either!(with, step, other => join(of, &this, &other, op, step, joined)))
}

fn join<K: AnyKey, V: AnyValue, V2: AnyValue, P: Partitioning, P2: Partitioning>(
    of: &Stream<K, V>,
    this: &KStream<K, Option<V>, P>,
    other: &KStream<K, Option<V2>, P2>,
    op: &str,
    step: Step<'_>,
    joined: StreamJoined<K, Option<V>, Option<V2>>,
) -> Outcome {
    let windows = windows(step)?;
    let joiner = functions::joiner(step.required("fn")?)?;
    let joiner = move |key: &K, this: Option<&Option<V>>, other: Option<&Option<V2>>| {
        let this = this.and_then(Option::as_ref).map(AnyValue::text);
        let other = other.and_then(Option::as_ref).map(AnyValue::text);
        joiner(key.text().as_deref(), this.as_deref(), other.as_deref())
    };
    let stream = match op {
        "join" => this.join_stream_with_key(
            other,
            move |key, this, other| joiner(key, Some(this), Some(other)),
            windows,
            joined,
        ),
        "left_join" => this.left_join_stream_with_key(
            other,
            move |key, this, other| joiner(key, Some(this), other),
            windows,
            joined,
        ),
        "outer_join" => this.outer_join_stream_with_key(other, joiner, windows, joined),
        _ => return not_interpreted(op, "two streams"),
    };
    returns(Stream::<K, String>::new(stream, of.keys))
}

fn windows(step: Step<'_>) -> Result<JoinWindows, Wrong> {
    let options = step.options("windows");
    let mut windows = JoinWindows::of_time_difference_and_grace(
        span(options, "difference"),
        span(options, "grace"),
    );
    let (before, after) = (options.number("before"), options.number("after"));
    let size_ms = before.unwrap_or(windows.before_ms()) + after.unwrap_or(windows.after_ms());
    if size_ms < 0 {
        return Err(Wrong::new("a join window ends before it begins"));
    }
    if let Some(before_ms) = before {
        windows = windows.with_before_ms(before_ms);
    }
    if let Some(after_ms) = after {
        windows = windows.with_after_ms(after_ms);
    }
    Ok(windows)
}

fn joined<K: AnyKey, V: AnyValue, V2: AnyValue>(
    of: &Stream<K, V>,
    with: &Stream<K, V2>,
    step: Step<'_>,
) -> StreamJoined<K, Option<V>, Option<V2>> {
    let options = step.options("stream_joined");
    let mut joined = StreamJoined::with(of.key_serde(), of.value_serde(), with.value_serde());
    if let Some(name) = options.text("name") {
        joined = joined.named(name);
    }
    if let Some(name) = options.text("store_name") {
        joined = joined.with_store_name(name);
    }
    if options.text("store") == Some("in_memory") {
        joined = joined.in_memory();
    }
    if options.has("this_store") {
        joined = joined.with_this_store(supplier(options.options("this_store")));
    }
    if options.has("other_store") {
        joined = joined.with_other_store(supplier(options.options("other_store")));
    }
    match options.flag("logging") {
        Some(false) => joined.with_logging_disabled(),
        _ if options.has("logging") => joined.with_logging_enabled(options.map("logging")),
        _ => joined,
    }
}

fn supplier(options: Step<'_>) -> WindowBytesStoreSupplier {
    let name = options.text("name").unwrap_or_default();
    let (retention, size) = (span(options, "retention"), span(options, "window_size"));
    let duplicates = options.flag("retain_duplicates") == Some(true);
    match options.text("store") {
        Some("in_memory") => WindowBytesStoreSupplier::in_memory(name, retention, size, duplicates),
        _ => WindowBytesStoreSupplier::persistent(name, retention, size, duplicates),
    }
}
