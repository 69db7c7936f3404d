//! Tables as operands, and their verbs but for the joins.

use super::grouping::TableGroup;
use super::options::{grouped, kept};
use super::streams::Stream;
use super::{Interpreter, Operand, Outcome, not_interpreted, returns, table_joins, transformers};
use crate::functions::{self, Seen};
use crate::step::Step;
use crate::values::{AnyKey, AnyValue, Key, KeySerde, Keys};
use std::sync::Arc;
use streams_core::serdes::Utf8;
use streams_core::{Deletable, KTable, Permanent, Versioned};

/// A table.
pub struct Table<K, V> {
    pub(super) rows: Rows<K, V>,
    pub(super) keys: Keys,
}

/// Whether rows are remembered, which is a type in the library.
pub enum Rows<K, V> {
    Deletable(KTable<K, V, Deletable>),
    Versioned(KTable<K, V, Versioned>),
}

impl<K, V> From<KTable<K, V, Deletable>> for Rows<K, V> {
    fn from(table: KTable<K, V, Deletable>) -> Self {
        Rows::Deletable(table)
    }
}

impl<K: 'static, V: 'static> From<KTable<K, V, Permanent>> for Rows<K, V> {
    fn from(table: KTable<K, V, Permanent>) -> Self {
        Rows::Deletable(table.deletable())
    }
}

impl<K, V> From<KTable<K, V, Versioned>> for Rows<K, V> {
    fn from(table: KTable<K, V, Versioned>) -> Self {
        Rows::Versioned(table)
    }
}

/// The same for a table of either kind, which is named as the step says.
macro_rules! either_rows {
    ($self:expr, $step:expr, $table:ident => $result:expr) => {
        match &$self.rows {
            $crate::interpreter::tables::Rows::Deletable(table) => {
                let $table = $crate::interpreter::tables::named(table, $step);
                $result
            }
            $crate::interpreter::tables::Rows::Versioned(table) => {
                let $table = $crate::interpreter::tables::named(table, $step);
                $result
            }
        }
    };
}
pub(super) use either_rows;

/// One call without a store of its own, and the same with one, of either kind.
macro_rules! kept_or_not {
    ($kept:expr, $keys:expr, $without:expr, $kind:ident => $with:expr) => {
        match $kept {
            None => $crate::interpreter::tables::Table::new($without, $keys),
            Some($crate::interpreter::options::Kept::Latest($kind)) => {
                $crate::interpreter::tables::Table::new($with, $keys)
            }
            Some($crate::interpreter::options::Kept::History($kind)) => {
                $crate::interpreter::tables::Table::new($with, $keys)
            }
        }
    };
}
pub(super) use kept_or_not;

/// The table, with the name that the step gives its node.
pub fn named<K: 'static, V: 'static, T: streams_core::RowState>(
    table: &KTable<K, V, T>,
    step: Step<'_>,
) -> KTable<K, V, T> {
    match step.text("name") {
        Some(name) => table.named(name),
        None => table.clone(),
    }
}

impl<K: AnyKey, V: AnyValue> Table<K, V> {
    /// A table with these keys.
    pub fn new(rows: impl Into<Rows<K, V>>, keys: Keys) -> Self {
        Table {
            rows: rows.into(),
            keys,
        }
    }
}

impl<K: AnyKey, V: AnyValue> Operand for Table<K, V> {
    fn step(&self, op: &str, step: Step<'_>, all: &Interpreter) -> Outcome {
        match op {
            "filter" | "filter_not" => filter(self, op, step),
            "map_values" => {
                let name = step.required("fn")?;
                if functions::makes_null(name) {
                    return not_interpreted(name, "a table");
                }
                let mapper = functions::mapper(name)?;
                let mapper = move |key: &K, value: &V| mapper(&Seen::of(key, Some(value)));
                map_values(self, mapper, step)
            }
            "transform_values" => transformers::step(self, step),
            "to_stream" => to_stream(self, step),
            "suppress" => super::suppress::step(self, step),
            "group_by" => group_by(self, step),
            "join" | "left_join" | "outer_join" => table_joins::step(self, op, step, all),
            _ => not_interpreted(op, "a table"),
        }
    }
}

fn filter<K: AnyKey, V: AnyValue>(of: &Table<K, V>, op: &str, step: Step<'_>) -> Outcome {
    let predicate = functions::predicate(step.required("fn")?)?;
    let is = op == "filter";
    let holds = move |key: &K, value: &V| predicate(&Seen::of(key, Some(value)));
    returns(either_rows!(of, step, table => match is {
        true => kept_or_not!(kept::<V>(step)?, of.keys, table.filter(holds), kept => table.filter_with(holds, kept)),
        false => kept_or_not!(kept::<V>(step)?, of.keys, table.filter_not(holds), kept => table.filter_not_with(holds, kept)),
    }))
}

fn map_values<K: AnyKey, V: AnyValue>(
    of: &Table<K, V>,
    mapper: impl Fn(&K, &V) -> Option<String> + Send + Sync + 'static,
    step: Step<'_>,
) -> Outcome {
    let mapper = move |key: &K, value: &V| mapper(key, value).unwrap_or_default();
    returns(either_rows!(of, step, table => {
        kept_or_not!(kept::<String>(step)?, of.keys, table.map_values_with_key(mapper), kept => table.map_values_with(mapper, kept))
    }))
}

fn to_stream<K: AnyKey, V: AnyValue>(of: &Table<K, V>, step: Step<'_>) -> Outcome {
    if step.has("key_fn") {
        let mapper = functions::mapper(step.required("key_fn")?)?;
        let mapper = move |key: &K, value: &Option<V>| Key(mapper(&Seen::of(key, value.as_ref())));
        return returns(either_rows!(of, step, table => {
            Stream::<Key, V>::new(table.to_stream_with_key(mapper), Keys::Text)
        }));
    }
    returns(either_rows!(of, step, table => Stream::new(table.to_stream(), of.keys)))
}

fn group_by<K: AnyKey, V: AnyValue>(of: &Table<K, V>, step: Step<'_>) -> Outcome {
    if functions::makes_null(step.required("value_fn")?) {
        return not_interpreted("group_by", "a table whose values become null");
    }
    let keys = functions::mapper(step.required("key_fn")?)?;
    let values = functions::mapper(step.required("value_fn")?)?;
    let selector = move |key: &K, value: &V| {
        let seen = Seen::of(key, Some(value));
        (Key(keys(&seen)), values(&seen).unwrap_or_default())
    };
    let grouped = grouped(step, Arc::new(KeySerde), Arc::new(Utf8));
    returns(TableGroup(
        either_rows!(of, step, table => table.group_by(selector, grouped)),
    ))
}
