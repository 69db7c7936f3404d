//! `GlobalKTable`: a table that every instance holds whole.

use crate::serdes::BoxSerde;
use std::sync::Arc;

/// A table made by [`StreamsBuilder::global_table`](crate::StreamsBuilder::global_table), to be joined with streams by any
/// key: see [`KStream::join_global`](crate::KStream::join_global).
pub struct GlobalKTable<K, V> {
    pub(crate) index: usize,
    store: Arc<str>,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
}

impl<K, V> GlobalKTable<K, V> {
    pub(crate) fn new(index: usize, store: Arc<str>, key: BoxSerde<K>, value: BoxSerde<V>) -> Self {
        GlobalKTable {
            index,
            store,
            key,
            value,
        }
    }

    /// What the store of its rows is called, which it always has: processors read it with
    /// [`ProcessorContext::global_store`](crate::processor::ProcessorContext::global_store).
    ///
    /// `GlobalKTable#queryableStoreName`.
    ///
    /// ```
    /// use streams_core::{Consumed, GlobalKTable, Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let names: GlobalKTable<String, String> =
    ///     builder.global_table("countries", Consumed::new(), Materialized::named("names"));
    /// assert_eq!(names.queryable_store_name(), "names");
    /// ```
    pub fn queryable_store_name(&self) -> &str {
        &self.store
    }
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        GlobalKTable::new(
            self.index,
            self.store.clone(),
            self.key.clone(),
            self.value.clone(),
        )
    }
}
