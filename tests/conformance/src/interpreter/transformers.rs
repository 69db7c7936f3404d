//! `transform_values` of tables: the transformers of `Processors.java`.

use super::options::kept;
use super::tables::{Table, either_rows, kept_or_not};
use super::{Outcome, returns};
use crate::functions::{self, Mapper, Seen, shown};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key};
use std::sync::Arc;
use streams_core::Result;
use streams_core::processor::{ValueTransformerContext, ValueTransformerWithKey};
use streams_core::stores::{KeyValueStore, StoreHandle};

/// What a transformer does, as its name says.
#[derive(Clone)]
enum Transformer {
    Map(Arc<Mapper>),
    /// Shows the value, and what is known of the change.
    Context,
    /// Counts the calls of each key in a store of this name.
    Calls(String),
}

impl<K: AnyKey, V: AnyValue> ValueTransformerWithKey<K, V, String> for Transformer {
    fn transform(
        &mut self,
        key: &K,
        value: Option<&V>,
        context: &mut ValueTransformerContext<'_>,
    ) -> Result<Option<String>> {
        let seen = Seen::of(key, value);
        match self {
            Transformer::Map(mapper) => Ok(mapper(&seen)),
            Transformer::Context => {
                let place = context.record_metadata();
                let topic = place.as_ref().map_or("null", |place| place.topic);
                let offset = place.as_ref().map_or(-1, |place| place.offset);
                let value = shown(seen.value.as_deref());
                let timestamp = context.timestamp();
                Ok(Some(format!("{value} {timestamp} {topic} {offset}")))
            }
            Transformer::Calls(store) => {
                let calls: StoreHandle<KeyValueStore<Key, i64>> = StoreHandle::named(store);
                let mut calls = context.store(&calls)?;
                let key = Key(key.text());
                let now = calls.get(&key)?.unwrap_or(0) + 1;
                calls.put(&key, now)?;
                Ok(seen.value.map(|value| format!("{value}#{now}")))
            }
        }
    }
}

/// `transform_values`.
pub(super) fn step<K: AnyKey, V: AnyValue>(of: &Table<K, V>, step: Step<'_>) -> Outcome {
    let stores = step.texts("stores");
    let name = step.required("transformer")?;
    let transformer = match name.split_once(':') {
        Some(("map", mapper)) => Transformer::Map(Arc::new(functions::mapper(mapper)?)),
        None if name == "context" => Transformer::Context,
        None if name == "calls" => {
            Transformer::Calls(stores.first().copied().unwrap_or_default().to_owned())
        }
        _ => return Err(Wrong::new(format!("there is no transformer '{name}'"))),
    };
    let supplier = move || transformer.clone();
    returns(either_rows!(of, step, table => {
        kept_or_not!(
            kept::<String>(step)?,
            of.keys,
            table.transform_values(supplier, &stores),
            kept => table.transform_values_with(supplier, &stores, kept)
        )
    }))
}
