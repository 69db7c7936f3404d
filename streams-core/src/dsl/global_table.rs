//! `GlobalKTable`: a table that every instance holds whole.

use crate::serdes::BoxSerde;

/// A table made by [`StreamsBuilder::global_table`](crate::StreamsBuilder::global_table), to be joined with streams by any
/// key: see [`KStream::join_global`](crate::KStream::join_global).
pub struct GlobalKTable<K, V> {
    pub(crate) index: usize,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
}

impl<K, V> GlobalKTable<K, V> {
    pub(crate) fn new(index: usize, key: BoxSerde<K>, value: BoxSerde<V>) -> Self {
        GlobalKTable { index, key, value }
    }
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        GlobalKTable::new(self.index, self.key.clone(), self.value.clone())
    }
}
