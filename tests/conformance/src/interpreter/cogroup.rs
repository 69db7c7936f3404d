//! Cogrouped streams, plain and over windows.

use super::aggregations::aggregating;
use super::grouping::Group;
use super::options::{kept, materialized, span};
use super::tables::{Table, kept_or_not};
use super::{Interpreter, Operand, Outcome, downcast, not_interpreted, returns};
use crate::functions;
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key, Keys};
use std::any::Any;
use streams_core::serdes::Utf8;
use streams_core::{
    CogroupedKStream, Deletable, KGroupedStream, Materialized, SessionWindowedCogroupedKStream,
    SessionWindows, SlidingWindows, TimeWindowedCogroupedKStream, TimeWindows, UnlimitedWindows,
};

type Cogroup<K> = CogroupedKStream<K, String, Deletable>;

/// Cogrouped streams, with and without the records whose value is null: which of them is right depends on the windows.
#[derive(Clone)]
pub struct Cogrouped<K> {
    all: Cogroup<K>,
    present: Cogroup<K>,
    keys: Keys,
}

/// Cogrouped streams over windows of time.
pub struct TimeWindowed(TimeWindowedCogroupedKStream<Key, String, Deletable>, Keys);

/// Cogrouped streams over sessions.
pub struct SessionWindowed(SessionWindowedCogroupedKStream<Key, String, Deletable>);

type Aggregator<K, V> = Box<dyn Fn(&K, &V, &mut Option<String>) + Send + Sync>;

fn of_present<K: AnyKey, V: AnyValue>(step: Step<'_>) -> Result<Aggregator<K, V>, Wrong> {
    let aggregator = aggregating::<K, V>(functions::aggregator(step.required("fn")?)?);
    Ok(Box::new(move |key, value, aggregate| {
        *aggregate = aggregator(key, Some(value), aggregate.as_deref());
    }))
}

fn of_all<K: AnyKey, V: AnyValue>(step: Step<'_>) -> Result<Aggregator<K, Option<V>>, Wrong> {
    let aggregator = aggregating::<K, V>(functions::aggregator(step.required("fn")?)?);
    Ok(Box::new(move |key, value, aggregate| {
        *aggregate = aggregator(key, value.as_ref(), aggregate.as_deref());
    }))
}

/// The first of several streams.
pub(super) fn begin<K: AnyKey, V: AnyValue>(of: &Group<K, V>, step: Step<'_>) -> Outcome {
    returns(Cogrouped {
        all: of.group.cogroup_optional(of_all(step)?),
        present: of
            .group
            .drop_null_values()
            .cogroup_optional(of_present(step)?),
        keys: of.keys,
    })
}

impl<K: AnyKey> Cogrouped<K> {
    fn and<V: AnyValue>(
        &self,
        group: &KGroupedStream<K, Option<V>>,
        step: Step<'_>,
    ) -> Result<Self, Wrong> {
        Ok(Cogrouped {
            all: self.all.cogroup(group, of_all(step)?),
            present: self
                .present
                .cogroup(&group.drop_null_values(), of_present(step)?),
            keys: self.keys,
        })
    }
}

impl<K: AnyKey> Operand for Cogrouped<K> {
    fn step(&self, op: &str, step: Step<'_>, all: &Interpreter) -> Outcome {
        match op {
            "cogroup" => {
                let other = all.handle(step.required("with")?)?;
                if let Some(other) = downcast::<Group<K, String>>(&other) {
                    returns(self.and(&other.group, step)?)
                } else if let Some(other) = downcast::<Group<K, i64>>(&other) {
                    returns(self.and(&other.group, step)?)
                } else {
                    Err(Wrong::new("'with' is no stream grouped by such keys"))
                }
            }
            "aggregate" => {
                let cogrouped = match step.text("name") {
                    Some(name) => self.present.named(name),
                    None => self.present.clone(),
                };
                let initial = functions::initial(step.required("init")?)?;
                let initial = move || initial.clone();
                returns(kept_or_not!(
                    kept::<String>(step)?,
                    self.keys,
                    cogrouped.aggregate(initial, Materialized::new().with_value(Utf8)),
                    kept => cogrouped.aggregate(initial, kept)
                ))
            }
            "windowed_by" => {
                let any: &dyn Any = self;
                match any.downcast_ref::<Cogrouped<Key>>() {
                    Some(cogrouped) => windowed_by(cogrouped, step),
                    None => not_interpreted(op, "cogrouped streams of windowed keys"),
                }
            }
            _ => not_interpreted(op, "cogrouped streams"),
        }
    }
}

fn windowed_by(of: &Cogrouped<Key>, step: Step<'_>) -> Outcome {
    let options = step.options("windows");
    let grace = span(options, "grace");
    match options.required("type")? {
        "time" => {
            let mut windows = TimeWindows::of_size_and_grace(span(options, "size"), grace);
            if let Some(advance) = options.ms("advance") {
                windows = windows.advance_by(advance);
            }
            let keys = Keys::Time(windows.size_ms());
            returns(TimeWindowed(of.all.windowed_by(windows), keys))
        }
        "unlimited" => {
            let start_ms = i64::try_from(span(options, "start").as_millis())
                .map_err(|_| Wrong::new("'start' is too late"))?;
            let windows = UnlimitedWindows::of().start_on_ms(start_ms);
            returns(TimeWindowed(
                of.all.windowed_by(windows),
                Keys::Time(i64::MAX),
            ))
        }
        "sliding" => {
            let difference = span(options, "difference");
            let windows = SlidingWindows::of_time_difference_and_grace(difference, grace);
            let keys = Keys::Time(windows.time_difference_ms());
            returns(TimeWindowed(of.present.windowed_by(windows), keys))
        }
        "session" => {
            let windows = SessionWindows::of_inactivity_gap_and_grace(span(options, "gap"), grace);
            returns(SessionWindowed(of.all.windowed_by(windows)))
        }
        other => not_interpreted("windowed_by", other),
    }
}

impl Operand for TimeWindowed {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        let windowed = match step.text("name") {
            Some(name) => self.0.named(name),
            None => self.0.clone(),
        };
        match op {
            "aggregate" => {
                let initial = functions::initial(step.required("init")?)?;
                let table = windowed.aggregate(move || initial.clone(), materialized(step)?);
                returns(Table::new(table, self.1))
            }
            _ => not_interpreted(op, "cogrouped streams over windows"),
        }
    }
}

impl Operand for SessionWindowed {
    fn step(&self, op: &str, step: Step<'_>, _: &Interpreter) -> Outcome {
        let windowed = match step.text("name") {
            Some(name) => self.0.named(name),
            None => self.0.clone(),
        };
        match op {
            "aggregate" => {
                let initial = functions::initial(step.required("init")?)?;
                let merger = functions::merger(step.required("merger")?)?;
                let table = windowed.aggregate(
                    move || initial.clone(),
                    move |key: &Key, so_far: &mut Option<String>, session: &String| {
                        *so_far = merger(key.0.as_deref(), so_far.as_deref(), Some(session));
                    },
                    materialized(step)?,
                );
                returns(Table::new(table, Keys::Session))
            }
            _ => not_interpreted(op, "cogrouped streams over sessions"),
        }
    }
}
