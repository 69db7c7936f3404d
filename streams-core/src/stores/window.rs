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
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        Ok(state
            .get(key, start_ms, io)?
            .and_then(|found| match Rc::try_unwrap(found.value) {
                Ok(value) => value,
                Err(shared) => shared.as_ref().clone(),
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
        match state.put(key, start_ms, Rc::new(value), self.cause, io)? {
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
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        let entries = state.fetch(Some(key), from_ms, to_ms, Order::Forward, io)?;
        Ok(entries.map(|entry| entry.map(|(_, start_ms, value, _)| (start_ms, value))))
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
        let (state, io) = self.context.state::<WindowState<K, V>>(self.index);
        let entries = state.fetch(None, from_ms, to_ms, Order::Forward, io)?;
        Ok(entries.map(|entry| entry.map(|(key, start_ms, value, _)| (key, start_ms, value))))
    }
}
