//! Sliding windows.

use super::aggregations::{aggregating, reducing};
use super::grouping::Group;
use super::options::{materialized, span};
use super::tables::Table;
use super::windows::emit;
use super::{Interpreter, Operand, Outcome, not_interpreted, returns};
use crate::functions;
use crate::step::Step;
use crate::values::{AnyValue, Key, Keys};
use streams_core::{SlidingWindowedKStream, SlidingWindows};

/// A stream in sliding windows, of the records that have a value: Kafka Streams leaves out the others.
pub struct SlidingWindowed<V> {
    stream: SlidingWindowedKStream<Key, V>,
    keys: Keys,
}

pub(super) fn windowed_by<V: AnyValue>(of: &Group<Key, V>, step: Step<'_>) -> Outcome {
    let options = step.options("windows");
    let windows = SlidingWindows::of_time_difference_and_grace(
        span(options, "difference"),
        span(options, "grace"),
    );
    let mut stream = of.group.drop_null_values().windowed_by(windows);
    if let Some(strategy) = emit(step)? {
        stream = stream.emit_strategy(strategy);
    }
    returns(SlidingWindowed {
        stream,
        keys: Keys::Time(windows.time_difference_ms()),
    })
}

impl<V: AnyValue> Operand for SlidingWindowed<V> {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        let stream = match step.text("name") {
            Some(name) => self.stream.named(name),
            None => self.stream.clone(),
        };
        match op {
            "count" if step.has("materialized") => returns(Table::new(
                stream.count_with(materialized(step)?),
                self.keys,
            )),
            "count" => returns(Table::new(stream.count(), self.keys)),
            "reduce" => {
                let reducer = reducing::<V>(step.required("fn")?)?;
                let kept = materialized(step)?;
                returns(Table::new(stream.reduce_with(reducer, kept), self.keys))
            }
            "aggregate" => {
                let aggregator = functions::aggregator(step.required("fn")?)?;
                let aggregator = aggregating::<Key, V>(aggregator);
                let initial = functions::initial(step.required("init")?)?;
                let table = stream.aggregate_optional(
                    move || initial.clone(),
                    move |key: &Key, value: &V, aggregate: &mut Option<String>| {
                        *aggregate = aggregator(key, Some(value), aggregate.as_deref());
                    },
                    materialized(step)?,
                );
                returns(Table::new(table, self.keys))
            }
            _ => not_interpreted(op, "a stream in sliding windows"),
        }
    }
}
