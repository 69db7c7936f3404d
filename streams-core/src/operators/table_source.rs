//! The first node of a table: puts a stream's records into the table's store and forwards the changes.
//!
//! The rules are Kafka's `KTableSource`: a record behind its row's time is applied all the same, a null key is dropped,
//! a null value deletes.

use super::aggregate::flush_key_value;
use super::{Change, Flush, StreamOperator, TableChildren};
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{KeyValueState, Placement};
use std::rc::Rc;

const NULL_KEY: &str = "its key is null, so it is no row";
/// Why a change goes no further that a versioned store did not take.
pub(super) const EXPIRED: &str = "it is older than the history its table's store keeps";

/// A table that nobody looks into: its changes only pass.
pub(crate) struct PassingTable<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) children: TableChildren<K, V>,
}

impl<K: 'static, V> StreamOperator<K, Option<V>> for PassingTable<K, V> {
    fn process(&mut self, record: Record<'_, K, Option<V>>, context: &mut Context) -> Result<()> {
        self.bytes.clear();
        if !self.key.serialize_nullable(record.key, &mut self.bytes)? {
            context.drop_record(NULL_KEY);
            return Ok(());
        }
        self.children.forward(
            Change {
                key: record.key,
                new: record.value,
                old: &None,
                timestamp: record.timestamp,
                headers: record.headers,
                is_latest: true,
            },
            context,
        )
    }
}

/// A table with a store. The record is borrowed and the store keeps its value, so the value is copied by way of its bytes.
pub(crate) struct StoredTable<K, V> {
    pub(crate) store: usize,
    pub(crate) value: BoxSerde<V>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, V>,
}

impl<K: 'static, V: 'static> StreamOperator<K, Option<V>> for StoredTable<K, V> {
    fn process(&mut self, record: Record<'_, K, Option<V>>, context: &mut Context) -> Result<()> {
        let copy = match record.value {
            None => None,
            Some(value) => {
                self.bytes.clear();
                self.value.serialize(value, &mut self.bytes)?;
                Some(self.value.deserialize(&self.bytes)?)
            }
        };
        let cause = context.cause(record.timestamp, record.headers);
        let (state, io) = context.state::<KeyValueState<K, V>>(self.store);
        // With a cache, the flush knows what the row was before.
        let wants_old = self.sends_old_values && !state.is_cached();
        let old = match wants_old {
            true => state.get(record.key, io)?,
            false if tracing::enabled!(tracing::Level::DEBUG) => state.peek(record.key, io)?,
            false => None,
        };
        if let Some(found) = &old
            && record.timestamp < found.timestamp
        {
            tracing::debug!(
                timestamp = record.timestamp,
                stored = found.timestamp,
                "a table's row changes back in time"
            );
        }
        let placed = state.place(record.key, Rc::new(copy), cause, io)?;
        let placement = match placed {
            None => {
                context.drop_record(NULL_KEY);
                return Ok(());
            }
            Some(Placement::Expired) => {
                return context.drop_late(EXPIRED, record.timestamp, record.headers);
            }
            Some(_) if state.is_cached() => return Ok(()),
            Some(placement) => placement,
        };
        let old = old.filter(|_| wants_old);
        let old = old.map_or_else(Rc::default, |found| found.value);
        self.children.forward(
            Change {
                key: record.key,
                new: record.value,
                old: &old,
                timestamp: record.timestamp,
                headers: record.headers,
                is_latest: placement == Placement::Latest,
            },
            context,
        )
    }
}

impl<K: 'static, V: 'static> Flush for StoredTable<K, V> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        flush_key_value(
            self.store,
            self.sends_old_values,
            &mut self.children,
            context,
        )
    }
}
