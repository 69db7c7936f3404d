//! `group_by_key` and `group_by` of streams, and groups as operands.

use super::options::grouped;
use super::streams::{Stream, either};
use super::{
    Interpreter, Operand, Outcome, aggregations, cogroup, not_interpreted, returns, windows,
};
use crate::functions::{self, Seen};
use crate::step::Step;
use crate::values::{AnyKey, AnyValue, Key, KeySerde, Keys};
use std::any::Any;
use std::sync::Arc;
use streams_core::{KGroupedStream, KGroupedTable};

/// A grouped stream.
pub struct Group<K, V> {
    pub(super) group: KGroupedStream<K, Option<V>>,
    pub(super) keys: Keys,
}

/// A grouped table; its values are text.
pub struct TableGroup<K>(pub(super) KGroupedTable<K, String>);

pub(super) fn step<K: AnyKey, V: AnyValue>(of: &Stream<K, V>, op: &str, step: Step<'_>) -> Outcome {
    match op {
        "group_by_key" => {
            let grouped = grouped(step, of.key_serde(), of.value_serde());
            let group = either!(of, step, stream => (*stream.group_by_key_with(grouped)).clone());
            returns(Group {
                group,
                keys: of.keys,
            })
        }
        "group_by" => {
            let mapper = functions::mapper(step.required("fn")?)?;
            let mapper =
                move |key: &K, value: &Option<V>| Key(mapper(&Seen::of(key, value.as_ref())));
            let grouped = grouped(step, Arc::new(KeySerde), of.value_serde());
            let group = either!(of, step, stream => (*stream.group_by(mapper, grouped)).clone());
            returns(Group {
                group,
                keys: Keys::Text,
            })
        }
        _ => not_interpreted(op, "a stream"),
    }
}

impl<K: AnyKey, V: AnyValue> Operand for Group<K, V> {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        match op {
            "count" | "reduce" | "aggregate" => aggregations::of_stream(self, op, step),
            "cogroup" => cogroup::begin(self, step),
            "windowed_by" => {
                let any: &dyn Any = self;
                match any.downcast_ref::<Group<Key, V>>() {
                    Some(group) => windows::windowed_by(group, step),
                    None => not_interpreted(op, "a group of windowed keys"),
                }
            }
            _ => not_interpreted(op, "a group"),
        }
    }
}

impl<K: AnyKey> Operand for TableGroup<K> {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        match op {
            "count" | "reduce" | "aggregate" => aggregations::of_table(self, op, step),
            _ => not_interpreted(op, "a grouped table"),
        }
    }
}
