//! Joins of streams with tables, global tables and streams.

use super::sources::Global;
use super::streams::{Stream, either};
use super::tables::{Rows, Table};
use super::{
    Handle, Interpreter, Outcome, downcast, not_interpreted, returns, stream_stream_joins,
};
use crate::functions::{self, Seen};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key};
use streams_core::serdes::default_serde;
use streams_core::{Joined, KTable, RowState};

pub(super) fn step<K: AnyKey, V: AnyValue>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    all: &Interpreter,
) -> Outcome {
    let with = all.handle(step.required("with")?)?;
    if let Some(result) = stream_stream_joins::step::<K, V, String>(of, op, step, &with)? {
        return Ok(Some(result));
    }
    if let Some(result) = stream_stream_joins::step::<K, V, i64>(of, op, step, &with)? {
        return Ok(Some(result));
    }
    if let Some(result) = table::<K, V, String>(of, op, step, &with)? {
        return Ok(Some(result));
    }
    if let Some(result) = table::<K, V, i64>(of, op, step, &with)? {
        return Ok(Some(result));
    }
    if let Some(result) = global::<K, V, String>(of, op, step, &with)? {
        return Ok(Some(result));
    }
    match global::<K, V, i64>(of, op, step, &with)? {
        Some(result) => Ok(Some(result)),
        None => not_interpreted(op, "a stream and another"),
    }
}

/// `None` if the other side is no such table.
fn table<K: AnyKey, V: AnyValue, V2: AnyValue>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    with: &Handle,
) -> Outcome {
    let Some(other) = downcast::<Table<K, V2>>(with) else {
        return Ok(None);
    };
    match &other.rows {
        Rows::Deletable(other) => with_table(of, op, step, other),
        Rows::Versioned(other) => with_table(of, op, step, other),
    }
}

fn with_table<K: AnyKey, V: AnyValue, V2: AnyValue, T: RowState>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    other: &KTable<K, V2, T>,
) -> Outcome {
    let joiner = functions::joiner(step.required("fn")?)?;
    let options = step.options("joined");
    let mut joined = Joined::with(of.key_serde(), default_serde::<V>());
    if let Some(name) = options.text("name") {
        joined = joined.named(name);
    }
    if let Some(grace) = options.ms("grace") {
        joined = joined.with_grace_period(grace);
    }
    let joiner = move |key: &K, value: &V, row: Option<&V2>| {
        let row = row.map(AnyValue::text);
        joiner(key.text().as_deref(), Some(&value.text()), row.as_deref())
    };
    returns(either!(of, step, stream => {
        // Kafka Streams joins no record without a value.
        let stream = stream.drop_null_values();
        match op {
            "join" => Stream::<K, String>::new(stream.join_with_key(other, move |key, value, row| joiner(key, value, Some(row)), joined), of.keys),
            "left_join" => Stream::new(stream.left_join_with_key(other, joiner, joined), of.keys),
            _ => return not_interpreted(op, "a stream and a table"),
        }
    }))
}

/// `None` if the other side is no such global table.
fn global<K: AnyKey, V: AnyValue, V2: AnyValue>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    with: &Handle,
) -> Outcome {
    let Some(other) = downcast::<Global<V2>>(with) else {
        return Ok(None);
    };
    let selector = functions::mapper(step.required("key_fn")?)?;
    let selector = move |key: &K, value: &V| Key(selector(&Seen::of(key, Some(value))));
    let joiner = functions::joiner(step.required("fn")?)?;
    let joiner = move |key: &K, value: &V, row: Option<&V2>| {
        let row = row.map(AnyValue::text);
        joiner(key.text().as_deref(), Some(&value.text()), row.as_deref())
    };
    returns(either!(of, step, stream => {
        let stream = stream.drop_null_values();
        let stream = match step.text("name") {
            Some(name) => stream.named(name),
            None => stream,
        };
        match op {
            "join" => Stream::<K, String>::new(stream.join_global(&other.0, selector, move |key, value, row| joiner(key, value, Some(row))), of.keys),
            "left_join" => Stream::new(stream.left_join_global(&other.0, selector, joiner), of.keys),
            _ => return Err(Wrong::new("there is no outer join with a global table")),
        }
    }))
}
