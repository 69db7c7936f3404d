//! Aggregations without windows, of streams and of tables.

use super::grouping::{Group, TableGroup};
use super::options::kept;
use super::tables::kept_or_not;
use super::{Outcome, not_interpreted, returns};
use crate::functions::{self, Joiner};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Keys};
use std::any::Any;
use streams_core::Materialized;
use streams_core::serdes::{I64, Utf8, default_serde};

/// Functions of the library change an aggregate in place, the grammar's make a new one.
pub(super) fn aggregating<K: AnyKey, V: AnyValue>(
    aggregator: Joiner,
) -> impl Fn(&K, Option<&V>, Option<&str>) -> Option<String> + Send + Sync + 'static {
    move |key, value, before| {
        let (key, value) = (key.text(), value.map(AnyValue::text));
        aggregator(key.as_deref(), value.as_deref(), before)
    }
}

/// A reducer of two texts that may come to nothing.
pub(super) fn reducing_to_null<V: AnyValue>(
    name: &str,
) -> Result<impl Fn(&V, &V) -> Option<V> + Send + Sync + 'static, Wrong> {
    if !default_is_text::<V>() {
        return Err(Wrong::new("longs are reduced by 'value' and 'aggregate'"));
    }
    let reducer = functions::aggregator(name)?;
    Ok(move |before: &V, value: &V| {
        let reduced = reducer(None, Some(&value.text()), Some(&before.text()))?;
        let reduced: Box<dyn Any> = Box::new(reduced);
        Some(*reduced.downcast::<V>().expect("a reduced text is a text"))
    })
}

/// A reducer of two values of a type; texts only, but that those that choose one of the two take any.
pub(super) fn reducing<V: AnyValue>(
    name: &str,
) -> Result<impl Fn(&V, &V) -> V + Send + Sync + 'static, Wrong> {
    let reducer = functions::aggregator(name)?;
    let chooses_new = name == "value";
    if functions::may_be_null(name) {
        return Err(Wrong::not_interpreted("a reducer that may be null"));
    }
    let is_text = default_is_text::<V>();
    if !is_text && !matches!(name, "value" | "aggregate") {
        return Err(Wrong::new("longs are reduced by 'value' and 'aggregate'"));
    }
    Ok(move |before: &V, value: &V| {
        let any: &dyn Any = before;
        match any.downcast_ref::<String>() {
            Some(before) => {
                let reduced = reducer(None, Some(&value.text()), Some(before)).unwrap_or_default();
                let reduced: Box<dyn Any> = Box::new(reduced);
                *reduced.downcast::<V>().expect("a reduced text is a text")
            }
            None if chooses_new => value.clone(),
            None => before.clone(),
        }
    })
}

fn default_is_text<V: AnyValue>() -> bool {
    std::any::TypeId::of::<V>() == std::any::TypeId::of::<String>()
}

pub(super) fn of_stream<K: AnyKey, V: AnyValue>(
    of: &Group<K, V>,
    op: &str,
    step: Step<'_>,
) -> Outcome {
    let group = of.group.drop_null_values();
    let group = match step.text("name") {
        Some(name) => group.named(name),
        None => group,
    };
    match op {
        "count" => returns(kept_or_not!(
            kept::<i64>(step)?,
            of.keys,
            group.count(),
            kept => group.count_with(kept)
        )),
        "reduce" if functions::may_be_null(step.required("fn")?) => {
            let reducer = reducing_to_null::<V>(step.required("fn")?)?;
            returns(kept_or_not!(
                kept::<V>(step)?,
                of.keys,
                group.reduce_optional(reducer, Materialized::new().with_value(default_serde::<V>())),
                kept => group.reduce_optional(reducer, kept)
            ))
        }
        "reduce" => {
            let reducer = reducing::<V>(step.required("fn")?)?;
            returns(kept_or_not!(
                kept::<V>(step)?,
                of.keys,
                group.reduce_with(reducer, Materialized::new().with_value(default_serde::<V>())),
                kept => group.reduce_with(reducer, kept)
            ))
        }
        "aggregate" => {
            let name = step.required("fn")?;
            let aggregator = aggregating::<K, V>(functions::aggregator(name)?);
            let initial = match functions::initial(step.required("init")?)? {
                Some(initial) if !functions::may_be_null(name) => initial,
                initial => {
                    let initializer = move || initial.clone();
                    let aggregator = move |key: &K, value: &V, aggregate: &mut Option<String>| {
                        *aggregate = aggregator(key, Some(value), aggregate.as_deref());
                    };
                    return returns(kept_or_not!(
                        kept::<String>(step)?,
                        of.keys,
                        group.aggregate_optional(initializer, aggregator, Materialized::new().with_value(Utf8)),
                        kept => group.aggregate_optional(initializer, aggregator, kept)
                    ));
                }
            };
            let aggregator = move |key: &K, value: &V, aggregate: &mut String| {
                *aggregate = aggregator(key, Some(value), Some(aggregate)).unwrap_or_default();
            };
            let initializer = move || initial.clone();
            returns(kept_or_not!(
                kept::<String>(step)?,
                of.keys,
                group.aggregate(initializer, aggregator, Materialized::new().with_value(Utf8)),
                kept => group.aggregate(initializer, aggregator, kept)
            ))
        }
        _ => not_interpreted(op, "a group"),
    }
}

pub(super) fn of_table<K: AnyKey>(of: &TableGroup<K>, op: &str, step: Step<'_>) -> Outcome {
    let named = step.text("name").map(|name| of.0.named(name));
    let group = named.as_ref().unwrap_or(&of.0);
    match op {
        "count" => returns(kept_or_not!(
            kept::<i64>(step)?,
            Keys::Text,
            group.count_with(Materialized::new().with_value(I64)),
            kept => group.count_with(kept)
        )),
        "reduce" => {
            let adder = reducing_to_null::<String>(step.required("fn")?)?;
            let subtractor = reducing_to_null::<String>(step.required("subtractor")?)?;
            let unnamed = Materialized::new().with_value(Utf8);
            returns(kept_or_not!(
                kept::<String>(step)?,
                Keys::Text,
                group.reduce_optional(adder, subtractor, unnamed),
                kept => group.reduce_optional(adder, subtractor, kept)
            ))
        }
        "aggregate" => {
            let change = |name: &str| -> Result<_, Wrong> {
                let aggregator = aggregating::<K, String>(functions::aggregator(name)?);
                Ok(
                    move |key: &K, value: &String, aggregate: &mut Option<String>| {
                        *aggregate = aggregator(key, Some(value), aggregate.as_deref());
                    },
                )
            };
            let adder = change(step.required("fn")?)?;
            let subtractor = change(step.required("subtractor")?)?;
            let initial = functions::initial(step.required("init")?)?;
            let initializer = move || initial.clone();
            let unnamed = Materialized::new().with_value(Utf8);
            returns(kept_or_not!(
                kept::<String>(step)?,
                Keys::Text,
                group.aggregate_optional(initializer, adder, subtractor, unnamed),
                kept => group.aggregate_optional(initializer, adder, subtractor, kept)
            ))
        }
        _ => not_interpreted(op, "a grouped table"),
    }
}
