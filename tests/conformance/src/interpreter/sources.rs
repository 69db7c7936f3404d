//! Where topologies begin: topics as streams and tables, and stores.

use super::options::{Kept, consumed, kept, materialized};
use super::streams::Stream;
use super::tables::Table;
use super::{Interpreter, Operand, Outcome, not_interpreted, returns, store_sources, stores};
use crate::step::{Step, Wrong};
use crate::values::{AnyValue, Key, KeySerde, Keys};
use std::sync::Arc;
use streams_core::serdes::{Nullable, default_serde};
use streams_core::{GlobalKTable, Materialized};

/// A global table.
pub struct Global<V>(pub(super) GlobalKTable<Key, V>);

impl<V: AnyValue> Operand for Global<V> {
    fn step(&self, op: &str, _: Step<'_>, _: &Interpreter) -> Outcome {
        not_interpreted(op, "a global table")
    }
}

/// `None` if the operation is none of these.
pub(super) fn step(op: &str, step: Step<'_>, all: &Interpreter) -> Option<Outcome> {
    let is_long = step.text("value") == Some("long");
    match op {
        "stream" if is_long => Some(stream::<i64>(step, all)),
        "stream" => Some(stream::<String>(step, all)),
        "table" if is_long => Some(table::<i64>(step, all)),
        "table" => Some(table::<String>(step, all)),
        "global_table" if is_long => Some(global_table::<i64>(step, all)),
        "global_table" => Some(global_table::<String>(step, all)),
        "add_store" => Some(stores::add(step, all)),
        "add_global_store" => Some(store_sources::add_global(step, all)),
        "read_only_store" => Some(Ok(None)),
        _ => None,
    }
}

fn stream<V: AnyValue>(step: Step<'_>, all: &Interpreter) -> Outcome {
    if step.has("pattern") {
        return Err(Wrong::not_interpreted("a pattern of topics"));
    }
    let consumed = consumed(
        step,
        Arc::new(KeySerde),
        Arc::new(Nullable(default_serde::<V>())),
        |value: &Option<V>| value.as_ref().map(AnyValue::text),
    )?;
    let topics = match step.has("topics") {
        true => step.texts("topics"),
        false => vec![step.required("topic")?],
    };
    let stream = all.builder.stream(topics, consumed);
    returns(Stream::<Key, V>::new(stream, Keys::Text))
}

fn table<V: AnyValue>(step: Step<'_>, all: &Interpreter) -> Outcome {
    let topic = step.required("topic")?;
    let consumed = consumed(
        step,
        Arc::new(KeySerde),
        default_serde::<V>(),
        |value: &V| Some(value.text()),
    )?;
    returns(match kept::<V>(step)? {
        None => Table::new(
            all.builder.table(topic, consumed, Materialized::new()),
            Keys::Text,
        ),
        Some(Kept::Latest(kept)) => {
            Table::new(all.builder.table(topic, consumed, kept), Keys::Text)
        }
        Some(Kept::History(kept)) => Table::new(
            all.builder.versioned_table(topic, consumed, kept),
            Keys::Text,
        ),
    })
}

fn global_table<V: AnyValue>(step: Step<'_>, all: &Interpreter) -> Outcome {
    let topic = step.required("topic")?;
    let consumed = consumed(
        step,
        Arc::new(KeySerde),
        default_serde::<V>(),
        |value: &V| Some(value.text()),
    )?;
    if step.options("materialized").text("supplier") == Some("versioned") {
        return Err(Wrong::refused("a versioned store of a global table"));
    }
    let kept = materialized::<V>(step)?;
    returns(Global(all.builder.global_table(topic, consumed, kept)))
}
