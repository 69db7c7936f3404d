//! Key-value stores as processors use them.

use crate::error::{Error, Result};
use crate::serdes::Serde;
use crate::task::context::Context;
use crate::task::stores::{Cause, KeyValueState};
use std::marker::PhantomData;
use std::rc::Rc;
use streams_state::Order;

/// An opened [`KeyValueStore`](super::KeyValueStore).
pub struct KeyValueAccess<'a, K, V> {
    pub(super) context: &'a mut Context,
    pub(super) index: usize,
    pub(super) cause: Cause<'a>,
    pub(super) types: PhantomData<fn(K) -> V>,
}

impl<K: 'static, V: 'static> KeyValueAccess<'_, K, V> {
    /// The value of a key, a copy of the store's.
    ///
    /// # Errors
    /// When the store cannot be read or its bytes are no `V`.
    pub fn get(&mut self, key: &K) -> Result<Option<V>>
    where
        V: Clone,
    {
        Ok(self.get_with_timestamp(key)?.map(|(value, _)| value))
    }

    fn get_with_timestamp(&mut self, key: &K) -> Result<Option<(V, i64)>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        Ok(state.get(key, io)?.and_then(|found| {
            let value = match Rc::try_unwrap(found.value) {
                Ok(value) => value,
                Err(shared) => shared.as_ref().clone(),
            };
            value.map(|value| (value, found.timestamp))
        }))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// When the store cannot be written or the value not serialized.
    pub fn put(&mut self, key: &K, value: V) -> Result<()> {
        self.write(key, Some(value))
    }

    /// Sets the values of several keys, one after the other.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn put_all(&mut self, entries: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        for (key, value) in entries {
            self.put(&key, value)?;
        }
        Ok(())
    }

    /// Sets the value of a key that has none yet, and returns what it had.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn put_if_absent(&mut self, key: &K, value: V) -> Result<Option<V>>
    where
        V: Clone,
    {
        let found = self.get(key)?;
        if found.is_none() {
            self.put(key, value)?;
        }
        Ok(found)
    }

    /// Removes a key and returns the value it had.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn delete(&mut self, key: &K) -> Result<Option<V>>
    where
        V: Clone,
    {
        let found = self.get(key)?;
        self.write(key, None)?;
        Ok(found)
    }

    fn write(&mut self, key: &K, value: Option<V>) -> Result<()> {
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        match state.put(key, Rc::new(value), self.cause, io)? {
            true => Ok(()),
            false => Err(null_key()),
        }
    }

    /// The entries with keys between the bounds, both included, in the order of the keys' bytes.
    ///
    /// # Errors
    /// When the store cannot be read; each entry may be an error of its own.
    pub fn range(
        &mut self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(Some(from), Some(to), Order::Forward)
    }

    /// As [`KeyValueAccess::range`], the last key first.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn reverse_range(
        &mut self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(Some(from), Some(to), Order::Backward)
    }

    /// The entries with this key and those behind it.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn range_from(
        &mut self,
        from: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(Some(from), None, Order::Forward)
    }

    /// The entries up to this key, which is included.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn range_to(
        &mut self,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(None, Some(to), Order::Forward)
    }

    /// All entries in the order of the keys' bytes.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn all(&mut self) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(None, None, Order::Forward)
    }

    /// All entries, the last key first.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn reverse_all(&mut self) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(None, None, Order::Backward)
    }

    /// The entries whose keys' bytes begin with those of a prefix, in the order of the keys' bytes.
    ///
    /// ```
    /// use streams_core::serdes::Utf8;
    /// use streams_core::stores::Stores;
    /// # use streams_core::processor::{Processor, ProcessorContext};
    /// # use streams_core::stores::{KeyValueStore, StoreHandle};
    /// use streams_core::{Consumed, Record, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// # struct Keep;
    /// # impl Processor<String, String, String, String> for Keep {
    /// #     fn process(&mut self, _: Record<'_, String, String>, _: &mut ProcessorContext<'_, String, String>) -> Result<()> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let builder = StreamsBuilder::new();
    /// let streets = builder.add_state_store(Stores::key_value("streets", Utf8, Utf8));
    /// # builder.stream("in", Consumed::with(Utf8, Utf8)).process(|| Keep, &["streets"]);
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let mut streets = driver.store(&streets)?;
    /// streets.put_all(["DE-1", "DE-2", "FR-1"].map(|key| (key.to_owned(), String::new())))?;
    /// let german: Vec<_> = streets.prefix_scan(&"DE".to_owned(), Utf8)?.collect::<Result<_>>()?;
    /// assert_eq!(german.len(), 2);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`], and when the prefix cannot be serialized.
    pub fn prefix_scan<Q: 'static, S: Serde<Q>>(
        &mut self,
        prefix: &Q,
        serde: S,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V, Q, S>> {
        let entries = self.prefixed_with_timestamp(prefix, &serde)?;
        Ok(entries.map(|entry| entry.map(|(key, value, _)| (key, value))))
    }

    fn prefixed_with_timestamp<Q: 'static, S: Serde<Q>>(
        &mut self,
        prefix: &Q,
        serde: &S,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V, Q, S>> {
        let mut bytes = Vec::new();
        serde.serialize(prefix, &mut bytes)?;
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        state.prefix_scan(bytes, io)
    }

    fn entries(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        let entries = self.entries_with_timestamp(from, to, order)?;
        Ok(entries.map(|entry| entry.map(|(key, value, _)| (key, value))))
    }

    fn entries_with_timestamp(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V>> {
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        state.range(from, to, order, io)
    }

    /// About how many entries there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn approximate_len(&mut self) -> Result<u64> {
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        state.approximate_len(io)
    }
}

#[cold]
pub(super) fn null_key() -> Error {
    Error::data("a store takes no null key: filter such records out first")
}

/// An opened [`TimestampedKeyValueStore`](super::TimestampedKeyValueStore).
pub struct TimestampedKeyValueAccess<'a, K, V>(pub(super) KeyValueAccess<'a, K, V>);

impl<K: 'static, V: 'static> TimestampedKeyValueAccess<'_, K, V> {
    /// The value of a key and its timestamp in milliseconds.
    ///
    /// # Errors
    /// As [`KeyValueAccess::get`].
    pub fn get(&mut self, key: &K) -> Result<Option<(V, i64)>>
    where
        V: Clone,
    {
        self.0.get_with_timestamp(key)
    }

    /// Sets the value of a key and its timestamp.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn put(&mut self, key: &K, value: V, timestamp: i64) -> Result<()> {
        let outer = self.0.cause;
        self.0.cause.timestamp = timestamp;
        let written = self.0.put(key, value);
        self.0.cause = outer;
        written
    }

    /// Removes a key.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn delete(&mut self, key: &K) -> Result<()> {
        self.0.write(key, None)
    }

    /// The entries with keys between the bounds, both included, in the order of the keys' bytes, with their timestamps.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn range(
        &mut self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V>> {
        self.0
            .entries_with_timestamp(Some(from), Some(to), Order::Forward)
    }

    /// As [`TimestampedKeyValueAccess::range`], the last key first.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn reverse_range(
        &mut self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V>> {
        self.0
            .entries_with_timestamp(Some(from), Some(to), Order::Backward)
    }

    /// All entries in the order of the keys' bytes, with their timestamps.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn all(&mut self) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V>> {
        self.0.entries_with_timestamp(None, None, Order::Forward)
    }

    /// All entries, the last key first, with their timestamps.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn reverse_all(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V>> {
        self.0.entries_with_timestamp(None, None, Order::Backward)
    }

    /// As [`KeyValueAccess::prefix_scan`], with timestamps.
    ///
    /// # Errors
    /// As [`KeyValueAccess::prefix_scan`].
    pub fn prefix_scan<Q: 'static, S: Serde<Q>>(
        &mut self,
        prefix: &Q,
        serde: S,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'_, K, V, Q, S>> {
        self.0.prefixed_with_timestamp(prefix, &serde)
    }

    /// Sets the value and timestamp of a key that has none yet, and returns what it had.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn put_if_absent(&mut self, key: &K, value: V, timestamp: i64) -> Result<Option<(V, i64)>>
    where
        V: Clone,
    {
        let found = self.get(key)?;
        if found.is_none() {
            self.put(key, value, timestamp)?;
        }
        Ok(found)
    }

    /// Sets the values and timestamps of several keys, one after the other.
    ///
    /// # Errors
    /// As [`KeyValueAccess::put`].
    pub fn put_all(&mut self, entries: impl IntoIterator<Item = (K, V, i64)>) -> Result<()> {
        for (key, value, timestamp) in entries {
            self.put(&key, value, timestamp)?;
        }
        Ok(())
    }

    /// About how many entries there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn approximate_len(&mut self) -> Result<u64> {
        self.0.approximate_len()
    }
}
