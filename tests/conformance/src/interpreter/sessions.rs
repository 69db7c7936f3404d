//! Sessions.

use super::aggregations::{aggregating, reducing};
use super::grouping::Group;
use super::options::{materialized, span};
use super::tables::Table;
use super::windows::emit;
use super::{Interpreter, Operand, Outcome, not_interpreted, returns};
use crate::functions;
use crate::step::Step;
use crate::values::{AnyValue, Key, Keys};
use streams_core::{SessionWindowedKStream, SessionWindows};

/// A stream in sessions, with and without the records whose value is null.
pub struct SessionWindowed<V> {
    all: SessionWindowedKStream<Key, Option<V>>,
    present: SessionWindowedKStream<Key, V>,
}

pub(super) fn windowed_by<V: AnyValue>(of: &Group<Key, V>, step: Step<'_>) -> Outcome {
    let options = step.options("windows");
    let windows =
        SessionWindows::of_inactivity_gap_and_grace(span(options, "gap"), span(options, "grace"));
    let mut all = of.group.windowed_by(windows);
    let mut present = of.group.drop_null_values().windowed_by(windows);
    if let Some(strategy) = emit(step)? {
        all = all.emit_strategy(strategy);
        present = present.emit_strategy(strategy);
    }
    returns(SessionWindowed { all, present })
}

impl<V: AnyValue> Operand for SessionWindowed<V> {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        let (all, present) = match step.text("name") {
            Some(name) => (self.all.named(name), self.present.named(name)),
            None => (self.all.clone(), self.present.clone()),
        };
        match op {
            "count" if step.has("materialized") => returns(Table::new(
                all.count_with(materialized(step)?),
                Keys::Session,
            )),
            "count" => returns(Table::new(all.count(), Keys::Session)),
            "reduce" => {
                let reducer = reducing::<V>(step.required("fn")?)?;
                let kept = materialized(step)?;
                returns(Table::new(
                    present.reduce_with(reducer, kept),
                    Keys::Session,
                ))
            }
            "aggregate" => {
                let aggregator = functions::aggregator(step.required("fn")?)?;
                let aggregator = aggregating::<Key, V>(aggregator);
                let merger = functions::merger(step.required("merger")?)?;
                let initial = functions::initial(step.required("init")?)?;
                let table = all.aggregate_optional(
                    move || initial.clone(),
                    move |key: &Key, value: &Option<V>, aggregate: &mut Option<String>| {
                        *aggregate = aggregator(key, value.as_ref(), aggregate.as_deref());
                    },
                    move |key: &Key, so_far: &mut Option<String>, session: &String| {
                        *so_far = merger(key.0.as_deref(), so_far.as_deref(), Some(session));
                    },
                    materialized(step)?,
                );
                returns(Table::new(table, Keys::Session))
            }
            _ => not_interpreted(op, "a stream in sessions"),
        }
    }
}
