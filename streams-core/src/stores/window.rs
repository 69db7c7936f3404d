//! Window stores as processors use them.

use super::key_value::null_key;
use crate::error::Result;
use crate::task::context::Context;
use crate::task::stores::{Cause, WindowState};
use std::marker::PhantomData;
use std::rc::Rc;
use streams_state::Order;

/// An opened [`WindowStore`](super::WindowStore).
pub struct WindowAccess<'a, K, V> {
    pub(super) context: &'a mut Context,
    pub(super) index: usize,
    pub(super) cause: Cause<'a>,
    pub(super) types: PhantomData<fn(K) -> V>,
}

impl<K: 'static, V: 'static> WindowAccess<'_, K, V> {
    /// The value of a key's window.
    ///
    /// # Errors
    /// When the store cannot be read or its bytes are no `V`.
    pub fn fetch(&mut self, key: &K, start_ms: i64) -> Result<Option<V>>
    where
        V: Clone,
    {
        Ok(self
            .fetch_with_timestamp(key, start_ms)?
            .map(|(value, _)| value))
    }

    pub(super) fn fetch_with_timestamp(
        &mut self,
        key: &K,
        start_ms: i64,
    ) -> Result<Option<(V, i64)>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        Ok(state.get(key, start_ms, io)?.and_then(|found| {
            let value = match Rc::try_unwrap(found.value) {
                Ok(value) => value,
                Err(shared) => shared.as_ref().clone(),
            };
            value.map(|value| (value, found.timestamp))
        }))
    }

    /// Sets the value of a key's window.
    ///
    /// # Errors
    /// When the store cannot be written or the value not serialized.
    pub fn put(&mut self, key: &K, value: V, start_ms: i64) -> Result<()> {
        self.write(key, Some(value), start_ms)
    }

    /// Removes a key's window.
    ///
    /// # Errors
    /// As [`WindowAccess::put`].
    pub fn delete(&mut self, key: &K, start_ms: i64) -> Result<()> {
        self.write(key, None, start_ms)
    }

    fn write(&mut self, key: &K, value: Option<V>, start_ms: i64) -> Result<()> {
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        match state.put(key, start_ms, value, self.cause, io)? {
            true => Ok(()),
            false => Err(null_key()),
        }
    }

    /// The windows of a key that start between the bounds, both included, by their start.
    ///
    /// # Errors
    /// When the store cannot be read; each entry may be an error of its own.
    pub fn fetch_range(
        &mut self,
        key: &K,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(i64, V)>> + use<'_, K, V>> {
        self.windows_of(key, from_ms, to_ms, Order::Forward)
    }

    /// As [`WindowAccess::fetch_range`], the last window first.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn backward_fetch_range(
        &mut self,
        key: &K,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(i64, V)>> + use<'_, K, V>> {
        self.windows_of(key, from_ms, to_ms, Order::Backward)
    }

    fn windows_of(
        &mut self,
        key: &K,
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(i64, V)>> + use<'_, K, V>> {
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        let entries = state.fetch(Some(key), from_ms, to_ms, order, io)?;
        Ok(entries.map(|entry| entry.map(|(_, start_ms, value, _)| (start_ms, value))))
    }

    /// The windows of the keys between bounds that start between bounds, all included, `None` being open. They come by
    /// segment of the store, key and start.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn fetch_keys(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        self.windows((from, to), from_ms, to_ms, Order::Forward)
    }

    /// As [`WindowAccess::fetch_keys`], the other way round.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn backward_fetch_keys(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        self.windows((from, to), from_ms, to_ms, Order::Backward)
    }

    /// The windows of all keys that start between the bounds, both included.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn fetch_all(
        &mut self,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        self.windows((None, None), from_ms, to_ms, Order::Forward)
    }

    /// As [`WindowAccess::fetch_all`], the other way round.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn backward_fetch_all(
        &mut self,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        self.windows((None, None), from_ms, to_ms, Order::Backward)
    }

    /// All windows of all keys.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn all(&mut self) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        self.windows((None, None), 0, i64::MAX, Order::Forward)
    }

    /// All windows of all keys, the other way round.
    ///
    /// # Errors
    /// As [`WindowAccess::fetch_range`].
    pub fn backward_all(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        self.windows((None, None), 0, i64::MAX, Order::Backward)
    }

    fn windows(
        &mut self,
        keys: (Option<&K>, Option<&K>),
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V)>> + use<'_, K, V>> {
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        let entries = state.fetch_keys(keys, from_ms, to_ms, order, io)?;
        Ok(entries.map(|entry| entry.map(|(key, start_ms, value, _)| (key, start_ms, value))))
    }
}
