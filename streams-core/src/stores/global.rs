//! Stores of global tables as processors use them: for reading.

use crate::error::Result;
use crate::serdes::Serde;
use crate::task::GlobalStores;
use crate::task::stores::{Found, KeyValueState};
use std::rc::Rc;
use streams_state::Order;

/// An opened store of a global table, to be read only: it changes with its topic, at any time, for every task of the process.
///
/// What it returns are copies, so no answer changes afterwards.
pub struct GlobalAccess<'a, K, V> {
    pub(crate) globals: &'a GlobalStores,
    pub(crate) state: &'a mut KeyValueState<K, V>,
}

impl<K: 'static, V: 'static> GlobalAccess<'_, K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read or its bytes are no `V`.
    pub fn get(&mut self, key: &K) -> Result<Option<V>> {
        Ok(self.get_with_timestamp(key)?.map(|(value, _)| value))
    }

    /// The value of a key and its timestamp in milliseconds, -1 in a store without timestamps.
    ///
    /// # Errors
    /// As [`GlobalAccess::get`].
    pub fn get_with_timestamp(&mut self, key: &K) -> Result<Option<(V, i64)>> {
        let state = &mut *self.state;
        let found = self.globals.read(|io| state.get(key, io))?;
        let Some(Found { value, timestamp }) = found else {
            return Ok(None);
        };
        let value = Rc::into_inner(value).expect("there is no cache that could hold on to it");
        Ok(value.map(|value| (value, timestamp)))
    }

    /// The entries with keys between the bounds, both included, in the order of the keys' bytes.
    ///
    /// # Errors
    /// As [`GlobalAccess::get`].
    pub fn range(&mut self, from: &K, to: &K) -> Result<Vec<(K, V)>> {
        self.entries(Some(from), Some(to), Order::Forward)
    }

    /// As [`GlobalAccess::range`], the last key first.
    ///
    /// # Errors
    /// As [`GlobalAccess::get`].
    pub fn reverse_range(&mut self, from: &K, to: &K) -> Result<Vec<(K, V)>> {
        self.entries(Some(from), Some(to), Order::Backward)
    }

    /// All entries in the order of the keys' bytes.
    ///
    /// # Errors
    /// As [`GlobalAccess::get`].
    pub fn all(&mut self) -> Result<Vec<(K, V)>> {
        self.entries(None, None, Order::Forward)
    }

    /// All entries, the last key first.
    ///
    /// # Errors
    /// As [`GlobalAccess::get`].
    pub fn reverse_all(&mut self) -> Result<Vec<(K, V)>> {
        self.entries(None, None, Order::Backward)
    }

    fn entries(&mut self, from: Option<&K>, to: Option<&K>, order: Order) -> Result<Vec<(K, V)>> {
        let state = &mut *self.state;
        self.globals.read(|io| {
            state
                .range(from, to, order, io)?
                .map(|entry| entry.map(|(key, value, _)| (key, value)))
                .collect()
        })
    }

    /// The entries whose keys' bytes begin with those of a prefix, in the order of the keys' bytes.
    ///
    /// # Errors
    /// As [`GlobalAccess::get`], and when the prefix cannot be serialized.
    pub fn prefix_scan<Q: 'static>(
        &mut self,
        prefix: &Q,
        serde: impl Serde<Q>,
    ) -> Result<Vec<(K, V)>> {
        let mut bytes = Vec::new();
        serde.serialize(prefix, &mut bytes)?;
        let state = &mut *self.state;
        self.globals.read(|io| {
            state
                .prefix_scan(bytes, io)?
                .map(|entry| entry.map(|(key, value, _)| (key, value)))
                .collect()
        })
    }

    /// About how many entries there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn approximate_len(&mut self) -> Result<u64> {
        let state = &*self.state;
        self.globals.read(|io| state.approximate_len(io))
    }
}
