//! Stores of processors.

use super::{Interpreter, Outcome};
use crate::step::{Step, Wrong};
use crate::values::KeySerde;
use std::time::Duration;
use streams_core::StreamsBuilder;
use streams_core::serdes::{I64, Utf8};
use streams_core::stores::{StoreBuilder, StoreType, Stores};

/// Adds a store.
pub(super) fn add(step: Step<'_>, all: &Interpreter) -> Outcome {
    let store = step.options("store");
    let name = store.required("name")?;
    let kind = store.required("type")?;
    let is_long = store.text("value") == Some("long");
    let ms = |field| store.ms(field).unwrap_or(Duration::ZERO);
    let builder = &all.builder;
    if store.flag("retain_duplicates") == Some(true) {
        return Err(Wrong::not_interpreted("a store with duplicates"));
    }
    match (kind, is_long) {
        ("key_value", false) => add_built(builder, store, Stores::key_value(name, KeySerde, Utf8)),
        ("key_value", true) => add_built(builder, store, Stores::key_value(name, KeySerde, I64)),
        ("lru", false) => {
            let max_entries = store.number("max_entries").unwrap_or(1).unsigned_abs();
            let lru = Stores::lru_map(name, KeySerde, Utf8, max_entries as usize);
            add_built(builder, store, lru);
        }
        ("timestamped_key_value", false) => {
            let latest = Stores::timestamped_key_value(name, KeySerde, Utf8);
            add_built(builder, store, latest);
        }
        ("window", false) => {
            let (retention, size) = (ms("retention"), ms("window_size"));
            let window = Stores::window(name, KeySerde, Utf8, retention, size);
            add_built(builder, store, window);
        }
        ("timestamped_window", false) => {
            let (retention, size) = (ms("retention"), ms("window_size"));
            let window = Stores::timestamped_window(name, KeySerde, Utf8, retention, size);
            add_built(builder, store, window);
        }
        ("session", false) => {
            let sessions = Stores::session(name, KeySerde, Utf8, ms("retention"));
            add_built(builder, store, sessions);
        }
        ("versioned", false) => {
            let history = ms("history");
            let mut versioned = Stores::versioned_key_value(name, KeySerde, Utf8, history);
            if let Some(interval) = store.ms("segment_interval") {
                versioned = versioned.with_segment_interval(interval);
            }
            add_built(builder, store, versioned);
        }
        _ => return Err(Wrong::not_interpreted(format!("a store of type {kind}"))),
    }
    all.note_store(name, kind);
    Ok(None)
}

fn add_built<S: StoreType>(builder: &StreamsBuilder, store: Step<'_>, mut built: StoreBuilder<S>) {
    if store.text("store") == Some("in_memory") {
        built = built.in_memory();
    }
    if store.flag("caching") == Some(true) {
        built = built.with_caching_enabled();
    }
    if store.flag("logging") == Some(false) {
        built = built.with_logging_disabled();
    } else if store.has("logging") {
        built = built.with_logging_enabled(store.map("logging"));
    }
    builder.add_state_store(built);
}
