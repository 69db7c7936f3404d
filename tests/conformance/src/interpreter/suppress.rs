//! `suppress`: the changes of a table held back.

use super::tables::{Rows, Table};
use super::{Outcome, not_interpreted, returns};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, WindowedKey};
use serde_json::Value;
use std::any::Any;
use streams_core::serdes::default_serde;
use streams_core::{BufferConfig, Deletable, KTable, Strict, Suppressed, UntilWindowCloses};

/// Holds the changes of a table back.
///
/// # Errors
/// When the step is wrong, or something in it has no counterpart here.
pub(super) fn step<K: AnyKey, V: AnyValue>(of: &Table<K, V>, step: Step<'_>) -> Outcome {
    let options = step.options("suppressed");
    let Rows::Deletable(table) = &of.rows else {
        return not_interpreted("suppress", "a versioned table");
    };
    match options.required("until")? {
        "time_limit" => {
            let limit = options.ms("limit").unwrap_or_default();
            let early = options.text("full") != Some("shut_down");
            let suppressed = match early && bounded(options) {
                true => Suppressed::until_time_limit(limit, buffer(options).emit_early_when_full()),
                false => Suppressed::until_time_limit(limit, buffer(options)),
            };
            let suppressed = named(suppressed, options);
            returns(Table::new(
                table.suppress_with(suppressed, default_serde::<V>()),
                of.keys,
            ))
        }
        "window_closes" => {
            let any: &dyn Any = table;
            match any.downcast_ref::<KTable<WindowedKey, V, Deletable>>() {
                Some(table) => returns(Table::new(
                    table.suppress_with(closes(options), default_serde::<V>()),
                    of.keys,
                )),
                // It does not compile.
                None => not_interpreted("suppress until windows close", "a table without windows"),
            }
        }
        other => Err(Wrong::new(format!("suppress until {other}"))),
    }
}

fn closes(options: Step<'_>) -> Suppressed<UntilWindowCloses> {
    named(Suppressed::until_window_closes(buffer(options)), options)
}

fn named<U>(suppressed: Suppressed<U>, options: Step<'_>) -> Suppressed<U> {
    match options.text("name") {
        Some(name) => suppressed.named(name),
        None => suppressed,
    }
}

fn bounded(options: Step<'_>) -> bool {
    options.has("max_records") || options.has("max_bytes")
}

fn buffer(options: Step<'_>) -> BufferConfig<Strict> {
    let mut buffer = BufferConfig::unbounded();
    let size = |field| {
        options
            .number(field)
            .and_then(|max| usize::try_from(max).ok())
    };
    if let Some(max) = size("max_records") {
        buffer = buffer.with_max_records(max);
    }
    if let Some(max) = size("max_bytes") {
        buffer = buffer.with_max_bytes(max);
    }
    match options.0.get("logging") {
        Some(Value::Bool(false)) => buffer.with_logging_disabled(),
        Some(_) => buffer.with_logging_enabled(options.map("logging")),
        None => buffer,
    }
}
