//! `map_values` of a table, and the store behind any table operator that was given one.

use super::aggregate::flush_key_value;
use super::table_source::EXPIRED;
use super::{Change, Flush, TableChildren, TableOperator};
use crate::error::Result;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{KeyValueState, Placement};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) struct TableMapValues<F, K, V2> {
    pub(crate) mapper: Arc<F>,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, V2>,
}

impl<K, V, V2, F: Fn(&K, &V) -> V2> TableOperator<K, V> for TableMapValues<F, K, V2> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let map = |value: &Option<V>| value.as_ref().map(|value| (self.mapper)(change.key, value));
        let new = map(change.new);
        let old = match self.sends_old_values {
            true => map(change.old),
            false => None,
        };
        self.children
            .forward(change.with_values(&new, &old), context)
    }
}

/// Keeps the rows of a computed table in a store of its own, and takes old values from there.
pub(crate) struct Materialize<K, V> {
    pub(crate) store: usize,
    pub(crate) value: BoxSerde<V>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sends_old_values: bool,
    /// Whether a deletion of what is not there goes no further, as behind a filter.
    pub(crate) skips_absent: bool,
    /// Whether the old values of the changes are handed on, as a join computes them, instead of those of the store. They
    /// differ where both sides of a join come from one table. With a cache they are the store's all the same.
    pub(crate) old_values_arrive: bool,
    pub(crate) children: TableChildren<K, V>,
}

impl<K: 'static, V: 'static> TableOperator<K, V> for Materialize<K, V> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let copy = match change.new {
            None => None,
            Some(value) => {
                self.bytes.clear();
                self.value.serialize(value, &mut self.bytes)?;
                Some(self.value.deserialize(&self.bytes)?)
            }
        };
        let cause = context.cause(change.timestamp, change.headers);
        let (state, io) = context.state::<KeyValueState<K, V>>(self.store);
        let from_store = self.sends_old_values && !self.old_values_arrive;
        let old = match from_store || self.skips_absent {
            true => state.get(change.key, io)?.map(|found| found.value),
            false => None,
        };
        if self.skips_absent && copy.is_none() && old.is_none() {
            return Ok(());
        }
        let placement = state.place(change.key, Rc::new(copy), cause, io)?;
        if state.is_cached() {
            return Ok(());
        }
        if placement == Some(Placement::Expired) {
            return context.drop_late(EXPIRED, change.timestamp, change.headers);
        }
        let stored = old.unwrap_or_default();
        let old = match self.sends_old_values {
            true if self.old_values_arrive => change.old,
            true => stored.as_ref(),
            false => &None,
        };
        let mut change = change.with_values(change.new, old);
        change.is_latest = placement == Some(Placement::Latest);
        self.children.forward(change, context)
    }
}

impl<K: 'static, V: 'static> Flush for Materialize<K, V> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        flush_key_value(
            self.store,
            self.sends_old_values,
            &mut self.children,
            context,
        )
    }
}
