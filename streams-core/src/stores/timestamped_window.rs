//! Window stores of values with timestamps, as processors use them.

use super::handle::sealed;
use super::window::WindowAccess;
use super::{
    StoreBuilder, StoreType, Stores, WindowOrder, WindowSpec, WindowStore, duration_ms,
    window_parts,
};
use crate::error::Result;
use crate::serdes::Serde;
use crate::task::context::Context;
use crate::task::stores::{Cause, WindowState};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use streams_state::Order;

impl Stores {
    /// A value and its timestamp for each key and window start: what windowed aggregations keep. Windows older than the
    /// retention (behind the newest start put) disappear.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streams_core::serdes::Utf8;
    /// use streams_core::stores::Stores;
    /// # use streams_core::processor::{Processor, ProcessorContext};
    /// use streams_core::{Consumed, Record, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// # struct Keep;
    /// # impl Processor<String, String, String, String> for Keep {
    /// #     fn process(&mut self, _: Record<'_, String, String>, _: &mut ProcessorContext<'_, String, String>) -> Result<()> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let hour = Duration::from_secs(3600);
    /// let builder = StreamsBuilder::new();
    /// let last = builder.add_state_store(Stores::timestamped_window("last", Utf8, Utf8, 24 * hour, hour));
    /// # builder.stream("in", Consumed::with(Utf8, Utf8)).process(|| Keep, &["last"]);
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let mut last = driver.store(&last)?;
    /// last.put(&"a".to_owned(), "value".to_owned(), 7, 0)?;
    /// assert_eq!(last.fetch(&"a".to_owned(), 0)?, Some(("value".to_owned(), 7)));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn timestamped_window<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
        retention: Duration,
        window_size: Duration,
    ) -> StoreBuilder<TimestampedWindowStore<K, V>> {
        let spec = WindowSpec {
            retention_ms: duration_ms(retention),
            window_size_ms: duration_ms(window_size),
            retain_duplicates: false,
            order: WindowOrder::ByKey,
        };
        StoreBuilder::new(
            name,
            window_parts(Arc::new(key), Arc::new(value), spec, true),
        )
    }
}

/// The type of a store with a value and a timestamp for each key and window start.
pub struct TimestampedWindowStore<K, V>(PhantomData<fn(K) -> V>);

impl<K, V> sealed::Sealed for TimestampedWindowStore<K, V> {}

impl<K: 'static, V: 'static> StoreType for TimestampedWindowStore<K, V> {
    type Access<'a> = TimestampedWindowAccess<'a, K, V>;
    type State = WindowState<K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> TimestampedWindowAccess<'a, K, V> {
        TimestampedWindowAccess(WindowStore::access(context, index, cause))
    }
}

/// An opened [`TimestampedWindowStore`].
pub struct TimestampedWindowAccess<'a, K, V>(WindowAccess<'a, K, V>);

impl<K: 'static, V: 'static> TimestampedWindowAccess<'_, K, V> {
    /// The value of a key's window and its timestamp in milliseconds.
    ///
    /// # Errors
    /// When the store cannot be read or its bytes are no `V`.
    pub fn fetch(&mut self, key: &K, start_ms: i64) -> Result<Option<(V, i64)>>
    where
        V: Clone,
    {
        self.0.fetch_with_timestamp(key, start_ms)
    }

    /// Sets the value of a key's window and its timestamp.
    ///
    /// # Errors
    /// When the store cannot be written or the value not serialized.
    pub fn put(&mut self, key: &K, value: V, timestamp: i64, start_ms: i64) -> Result<()> {
        let outer = self.0.cause;
        self.0.cause.timestamp = timestamp;
        let written = self.0.put(key, value, start_ms);
        self.0.cause = outer;
        written
    }

    /// Removes a key's window.
    ///
    /// # Errors
    /// As [`TimestampedWindowAccess::put`].
    pub fn delete(&mut self, key: &K, start_ms: i64) -> Result<()> {
        self.0.delete(key, start_ms)
    }

    /// The windows of a key that start between the bounds, both included, by their start: start, value, timestamp.
    ///
    /// # Errors
    /// When the store cannot be read; each entry may be an error of its own.
    pub fn fetch_range(
        &mut self,
        key: &K,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(i64, V, i64)>> + use<'_, K, V>> {
        let (state, io) = self.0.context.state::<WindowState<K, V>>(self.0.index);
        let entries = state.fetch(Some(key), from_ms, to_ms, Order::Forward, io)?;
        Ok(entries
            .map(|entry| entry.map(|(_, start_ms, value, timestamp)| (start_ms, value, timestamp))))
    }

    /// The windows of all keys that start between the bounds, both included: key, start, value, timestamp.
    ///
    /// # Errors
    /// As [`TimestampedWindowAccess::fetch_range`].
    pub fn fetch_all(
        &mut self,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'_, K, V>> {
        let (state, io) = self.0.context.state::<WindowState<K, V>>(self.0.index);
        state.fetch(None, from_ms, to_ms, Order::Forward, io)
    }

    /// All windows of all keys: key, start, value, timestamp.
    ///
    /// # Errors
    /// As [`TimestampedWindowAccess::fetch_range`].
    pub fn all(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'_, K, V>> {
        self.fetch_all(0, i64::MAX)
    }
}
