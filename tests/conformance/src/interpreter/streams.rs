//! Streams as operands.

use super::{
    Interpreter, Operand, Outcome, grouping, not_interpreted, processors, stateless, stream_joins,
    topics,
};
use crate::step::Step;
use crate::values::{AnyKey, AnyValue, Keys};
use std::sync::Arc;
use streams_core::serdes::{BoxSerde, Nullable, default_serde};
use streams_core::{KStream, Partitioned, Rekeyed};

/// A stream whose values may be null.
pub struct Stream<K, V> {
    pub(super) stream: Partitioning<K, V>,
    pub(super) keys: Keys,
}

/// Whether the keys may have changed, which is a type in the library.
pub enum Partitioning<K, V> {
    Partitioned(KStream<K, Option<V>, Partitioned>),
    Rekeyed(KStream<K, Option<V>, Rekeyed>),
}

impl<K, V> From<KStream<K, Option<V>, Partitioned>> for Partitioning<K, V> {
    fn from(stream: KStream<K, Option<V>, Partitioned>) -> Self {
        Partitioning::Partitioned(stream)
    }
}

impl<K, V> From<KStream<K, Option<V>, Rekeyed>> for Partitioning<K, V> {
    fn from(stream: KStream<K, Option<V>, Rekeyed>) -> Self {
        Partitioning::Rekeyed(stream)
    }
}

/// The same for a stream of either kind, which is named as the step says.
macro_rules! either {
    ($self:expr, $step:expr, $stream:ident => $result:expr) => {
        match &$self.stream {
            $crate::interpreter::streams::Partitioning::Partitioned(stream) => {
                let $stream = $crate::interpreter::streams::named(stream, $step);
                $result
            }
            $crate::interpreter::streams::Partitioning::Rekeyed(stream) => {
                let $stream = $crate::interpreter::streams::named(stream, $step);
                $result
            }
        }
    };
}
pub(super) use either;

/// The stream, with the name that the step gives its node.
pub fn named<K: 'static, V: 'static, P: streams_core::Partitioning>(
    stream: &KStream<K, V, P>,
    step: Step<'_>,
) -> KStream<K, V, P> {
    match step.text("name") {
        Some(name) => stream.named(name),
        None => stream.clone(),
    }
}

impl<K: AnyKey, V: AnyValue> Stream<K, V> {
    /// A stream with these keys.
    pub fn new(stream: impl Into<Partitioning<K, V>>, keys: Keys) -> Self {
        Stream {
            stream: stream.into(),
            keys,
        }
    }

    /// Serde of the keys.
    pub fn key_serde(&self) -> BoxSerde<K> {
        K::serde(self.keys)
    }

    /// Serde of the values.
    pub fn value_serde(&self) -> BoxSerde<Option<V>> {
        Arc::new(Nullable(default_serde::<V>()))
    }
}

impl<K: AnyKey, V: AnyValue> Operand for Stream<K, V> {
    fn step(&self, op: &str, step: Step<'_>, all: &Interpreter) -> Outcome {
        match op {
            "filter" | "filter_not" | "map" | "map_values" | "flat_map" | "flat_map_values"
            | "select_key" | "peek" | "for_each" | "merge" | "split" => {
                stateless::step(self, op, step, all)
            }
            "to" | "to_extracted" | "repartition" | "to_table" => topics::step(self, op, step),
            "group_by_key" | "group_by" => grouping::step(self, op, step),
            "join" | "left_join" | "outer_join" => stream_joins::step(self, op, step, all),
            "process" | "process_values" => processors::step(self, op, step, all),
            _ => not_interpreted(op, "a stream"),
        }
    }
}
