//! Time windows.

use super::aggregations::{aggregating, reducing};
use super::grouping::Group;
use super::options::{materialized, span};
use super::tables::Table;
use super::{Interpreter, Operand, Outcome, not_interpreted, returns, sessions, sliding};
use crate::functions;
use crate::step::{Step, Wrong};
use crate::values::{AnyValue, Key, Keys};
use streams_core::{EmitStrategy, TimeWindowedKStream, TimeWindows, UnlimitedWindows, Windows};

/// A stream in time windows, with and without the records whose value is null.
pub struct TimeWindowed<V> {
    all: TimeWindowedKStream<Key, Option<V>>,
    present: TimeWindowedKStream<Key, V>,
    keys: Keys,
}

pub(super) fn windowed_by<V: AnyValue>(of: &Group<Key, V>, step: Step<'_>) -> Outcome {
    let options = step.options("windows");
    match options.required("type")? {
        "time" => {
            let size = span(options, "size");
            let mut windows = TimeWindows::of_size_and_grace(size, span(options, "grace"));
            if let Some(advance) = options.ms("advance") {
                windows = windows.advance_by(advance);
            }
            in_windows(of, windows, windows.size_ms(), step)
        }
        "unlimited" => {
            let start_ms = span(options, "start").as_millis();
            let start_ms =
                i64::try_from(start_ms).map_err(|_| Wrong::new("'start' is too late"))?;
            in_windows(
                of,
                UnlimitedWindows::of().start_on_ms(start_ms),
                i64::MAX,
                step,
            )
        }
        "session" => sessions::windowed_by(of, step),
        "sliding" => sliding::windowed_by(of, step),
        other => not_interpreted("windowed_by", other),
    }
}

fn in_windows<V, W>(of: &Group<Key, V>, windows: W, size_ms: i64, step: Step<'_>) -> Outcome
where
    V: AnyValue,
    W: Windows<Key, Option<V>, Windowed = TimeWindowedKStream<Key, Option<V>>>
        + Windows<Key, V, Windowed = TimeWindowedKStream<Key, V>>
        + Copy,
{
    let mut all = of.group.windowed_by(windows);
    let mut present = of.group.drop_null_values().windowed_by(windows);
    if let Some(strategy) = emit(step)? {
        all = all.emit_strategy(strategy);
        present = present.emit_strategy(strategy);
    }
    returns(TimeWindowed {
        all,
        present,
        keys: Keys::Time(size_ms),
    })
}

/// When results are sent; `None` leaves it to the library.
pub(super) fn emit(step: Step<'_>) -> Result<Option<EmitStrategy>, Wrong> {
    match step.text("emit") {
        None => Ok(None),
        Some("on_window_update") => Ok(Some(EmitStrategy::on_window_update())),
        Some("on_window_close") => Ok(Some(EmitStrategy::on_window_close())),
        Some(other) => Err(Wrong::new(format!("there is no emit strategy '{other}'"))),
    }
}

impl<V: AnyValue> Operand for TimeWindowed<V> {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        let (all, present) = match step.text("name") {
            Some(name) => (self.all.named(name), self.present.named(name)),
            None => (self.all.clone(), self.present.clone()),
        };
        match op {
            "count" if step.has("materialized") => {
                returns(Table::new(all.count_with(materialized(step)?), self.keys))
            }
            "count" => returns(Table::new(all.count(), self.keys)),
            "reduce" => {
                let reducer = reducing::<V>(step.required("fn")?)?;
                let kept = materialized(step)?;
                returns(Table::new(present.reduce_with(reducer, kept), self.keys))
            }
            "aggregate" => {
                let aggregator = functions::aggregator(step.required("fn")?)?;
                let aggregator = aggregating::<Key, V>(aggregator);
                let initial = functions::initial(step.required("init")?)?;
                let table = all.aggregate_optional(
                    move || initial.clone(),
                    move |key: &Key, value: &Option<V>, aggregate: &mut Option<String>| {
                        *aggregate = aggregator(key, value.as_ref(), aggregate.as_deref());
                    },
                    materialized(step)?,
                );
                returns(Table::new(table, self.keys))
            }
            _ => not_interpreted(op, "a windowed stream"),
        }
    }
}
