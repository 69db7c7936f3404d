//! What happens to one record: one verb, one file.
//!
//! An operator gets a record by reference and hands references to the operators behind it, depth first and in the order
//! they were connected. Nothing is copied on the way, and nobody here knows of threads, clocks or networks.

pub(crate) mod aggregate;
pub(crate) mod branch;
pub(crate) mod children;
pub(crate) mod cogroup_merge;
pub(crate) mod filter;
pub(crate) mod flat_map;
pub(crate) mod foreign_key_join;
pub(crate) mod global_table_join;
pub(crate) mod map;
pub(crate) mod map_values;
pub(crate) mod merge;
pub(crate) mod peek;
pub(crate) mod present;
pub(crate) mod process;
pub(crate) mod session_aggregate;
pub(crate) mod sink;
pub(crate) mod sliding_aggregate;
pub(crate) mod stream_self_join;
pub(crate) mod stream_stream_join;
pub(crate) mod stream_table_grace_join;
pub(crate) mod stream_table_join;
pub(crate) mod table_aggregate;
pub(crate) mod table_filter;
pub(crate) mod table_getter;
pub(crate) mod table_map_values;
pub(crate) mod table_repartition;
pub(crate) mod table_source;
pub(crate) mod table_suppress;
pub(crate) mod table_table_join;
pub(crate) mod table_transform_values;
pub(crate) mod to_stream;
pub(crate) mod window_aggregate;
mod window_results;

pub(crate) use children::{StreamChildren, TableChildren};

use crate::error::Result;
use crate::record::{Headers, Record};
use crate::task::context::Context;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// A node of a stream: gets records.
pub(crate) trait StreamOperator<K, V> {
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()>;
}

/// A node of a table: gets changes.
pub(crate) trait TableOperator<K, V> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()>;
}

/// A change of a table's row: the value it has now and, where somebody downstream wants it, the one it had.
pub(crate) struct Change<'a, K, V> {
    pub(crate) key: &'a K,
    pub(crate) new: &'a Option<V>,
    pub(crate) old: &'a Option<V>,
    pub(crate) timestamp: i64,
    pub(crate) headers: &'a Headers,
    /// False for a change of a versioned table that lies behind the row's latest version (KIP-914). Operators that only
    /// care about the latest rows leave such changes out.
    pub(crate) is_latest: bool,
}

impl<K, V> Clone for Change<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Change<'_, K, V> {}

impl<'a, K, V> Change<'a, K, V> {
    /// The same change with other values.
    pub(crate) fn with_values<'b, V2>(
        self,
        new: &'b Option<V2>,
        old: &'b Option<V2>,
    ) -> Change<'b, K, V2>
    where
        'a: 'b,
    {
        Change {
            key: self.key,
            new,
            old,
            timestamp: self.timestamp,
            headers: self.headers,
            is_latest: self.is_latest,
        }
    }

    pub(crate) fn with_timestamp(self, timestamp: i64) -> Self {
        Change { timestamp, ..self }
    }
}

/// An operator that holds changes back in the record cache until a commit.
pub(crate) trait Flush {
    /// Writes and forwards what is held back, until that is all or there is much to send; says whether it was all.
    fn flush(&mut self, context: &mut Context) -> Result<bool>;

    /// Begins to make room in the record cache: the store is to keep no more than this share of what it holds. For operators
    /// that cannot leave that to the next commit.
    fn begin_eviction(&mut self, _share: Share, _context: &mut Context) {}

    /// Writes, forwards and forgets what is least likely to change again, until there is room or much to send; says whether
    /// there is room.
    fn evict(&mut self, _context: &mut Context) -> Result<bool> {
        Ok(true)
    }
}

/// A part of what the record cache holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) kept_bytes: usize,
    pub(crate) held_bytes: usize,
}

impl Share {
    /// What a full cache keeps: a little less than it may hold, so that it is not full again at once.
    pub(crate) fn of_full_cache(max_bytes: usize, held_bytes: usize) -> Self {
        Share {
            kept_bytes: max_bytes - max_bytes / 24,
            held_bytes,
        }
    }

    /// That part of so many bytes.
    pub(crate) fn of(self, bytes: usize) -> usize {
        (bytes as u128 * self.kept_bytes as u128 / self.held_bytes.max(1) as u128) as usize
    }
}

/// An operator that is called by time, and that may ask its task to wait.
pub(crate) trait Punctuate {
    /// The node's name.
    fn name(&self) -> &Arc<str>;
    fn init(&mut self, context: &mut Context) -> Result<()>;
    fn punctuate(&mut self, schedule: u64, timestamp_ms: i64, context: &mut Context) -> Result<()>;
    /// Whether it can take a record now.
    fn is_ready(&mut self) -> bool;
    /// The oldest offset of an input whose effect outside is not certain.
    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64>;
    fn close(&mut self);
}

/// A stream operator with several parents. The graph has no cycles, so it is never entered while it works.
pub(crate) struct SharedStream<K, V>(Rc<RefCell<Box<dyn StreamOperator<K, V>>>>);

impl<K, V> Clone for SharedStream<K, V> {
    fn clone(&self) -> Self {
        SharedStream(self.0.clone())
    }
}

impl<K, V> SharedStream<K, V> {
    pub(crate) fn new(operator: Box<dyn StreamOperator<K, V>>) -> Self {
        SharedStream(Rc::new(RefCell::new(operator)))
    }
}

impl<K, V> StreamOperator<K, V> for SharedStream<K, V> {
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        self.0.borrow_mut().process(record, context)
    }
}

/// A table operator with several parents.
pub(crate) struct SharedTable<K, V>(Rc<RefCell<Box<dyn TableOperator<K, V>>>>);

impl<K, V> Clone for SharedTable<K, V> {
    fn clone(&self) -> Self {
        SharedTable(self.0.clone())
    }
}

impl<K, V> SharedTable<K, V> {
    pub(crate) fn new(operator: Box<dyn TableOperator<K, V>>) -> Self {
        SharedTable(Rc::new(RefCell::new(operator)))
    }
}

impl<K, V> TableOperator<K, V> for SharedTable<K, V> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        self.0.borrow_mut().process(change, context)
    }
}

/// An operator that is reached both by records and by flushes or punctuations; the two never overlap.
pub(crate) struct Reached<T>(pub(crate) Rc<RefCell<T>>);

impl<K, V, T: StreamOperator<K, V>> StreamOperator<K, V> for Reached<T> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        self.0.borrow_mut().process(record, context)
    }
}

impl<K, V, T: TableOperator<K, V>> TableOperator<K, V> for Reached<T> {
    #[inline]
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        self.0.borrow_mut().process(change, context)
    }
}
