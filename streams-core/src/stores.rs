//! Stores of the user's own, for the [Processor API](crate::processor): what to build, and how a processor uses it.

use crate::error::{Error, Result};
use crate::serdes::{BoxSerde, Serde};
use crate::task::context::Context;
use crate::task::stores::{AnyState, Cause, KeyValueState, ScanOrder, WindowState};
use crate::topology::store::{ChangelogDefinition, Cleanup, StateArguments, StateFactory};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{Order, StoreBackend, StoreSpec, WindowOrder, WindowSpec};

/// Makes store builders for [`StreamsBuilder::add_state_store`](crate::StreamsBuilder::add_state_store).
///
/// Stores are kept in RocksDB, logged to a changelog topic and not cached, as Kafka Streams' `Stores` has it.
///
/// ```
/// use std::time::Duration;
/// use streams_core::StreamsBuilder;
/// use streams_core::serdes::{F64, I64, Utf8};
/// use streams_core::stores::Stores;
///
/// let builder = StreamsBuilder::new();
/// let counts = builder.add_state_store(Stores::key_value("counts", Utf8, I64));
/// let recent = builder.add_state_store(
///     Stores::window("recent", Utf8, F64, Duration::from_secs(3600), Duration::from_secs(60))
///         .in_memory()
///         .with_logging_disabled(),
/// );
/// assert_eq!((counts.name(), recent.name()), ("counts", "recent"));
/// ```
#[derive(Debug)]
pub struct Stores;

impl Stores {
    /// A value for each key.
    pub fn key_value<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> StoreBuilder<KeyValueStore<K, V>> {
        StoreBuilder::new(name, key_value_parts(Arc::new(key), Arc::new(value), false))
    }

    /// A value and its timestamp for each key.
    pub fn timestamped_key_value<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> StoreBuilder<TimestampedKeyValueStore<K, V>> {
        StoreBuilder::new(name, key_value_parts(Arc::new(key), Arc::new(value), true))
    }

    /// A value for each key and window start. Windows older than the retention (behind the newest start put) disappear.
    pub fn window<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
        retention: Duration,
        window_size: Duration,
    ) -> StoreBuilder<WindowStore<K, V>> {
        let spec = WindowSpec {
            retention_ms: duration_ms(retention),
            window_size_ms: duration_ms(window_size),
            retain_duplicates: false,
            order: WindowOrder::ByKey,
        };
        StoreBuilder::new(
            name,
            window_parts(Arc::new(key), Arc::new(value), spec, false),
        )
    }
}

pub(crate) fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Everything about a store but its name and options.
pub(crate) struct StoreParts {
    pub(crate) window: Option<WindowSpec>,
    pub(crate) timestamped: bool,
    pub(crate) state: StateFactory,
}

pub(crate) fn key_value_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    timestamped: bool,
) -> StoreParts {
    StoreParts {
        window: None,
        timestamped,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = KeyValueState::new(key.clone(), value.clone(), timestamped, arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

pub(crate) fn window_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: WindowSpec,
    timestamped: bool,
) -> StoreParts {
    let scan_order = match spec.order {
        WindowOrder::ByTime => ScanOrder::ByTime,
        WindowOrder::ByKey => ScanOrder::BySegment {
            segment_ms: spec.segment_interval_ms(),
        },
    };
    StoreParts {
        window: Some(spec),
        timestamped,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = WindowState::new(
                key.clone(),
                value.clone(),
                timestamped,
                scan_order,
                arguments,
            );
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

/// How a store is kept and logged.
#[derive(Clone)]
pub(crate) struct StoreOptions {
    pub(crate) backend: StoreBackend,
    pub(crate) cached: bool,
    /// `None`: not logged.
    pub(crate) logging: Option<BTreeMap<String, String>>,
}

/// A store to be: see [`Stores`].
pub struct StoreBuilder<S> {
    pub(crate) name: String,
    pub(crate) parts: StoreParts,
    pub(crate) options: StoreOptions,
    kind: PhantomData<fn() -> S>,
}

impl<S> StoreBuilder<S> {
    fn new(name: &str, parts: StoreParts) -> Self {
        StoreBuilder {
            name: name.to_owned(),
            parts,
            options: StoreOptions {
                backend: StoreBackend::RocksDb,
                cached: false,
                logging: Some(BTreeMap::new()),
            },
            kind: PhantomData,
        }
    }

    /// Keeps it in memory: rebuilt from the changelog at every start.
    pub fn in_memory(mut self) -> Self {
        self.options.backend = StoreBackend::Memory;
        self
    }

    /// Keeps it in a store of the user's own.
    pub fn with_backend(mut self, backend: StoreBackend) -> Self {
        self.options.backend = backend;
        self
    }

    /// Collects changes in the record cache, so that a key changed often is written once a commit.
    pub fn with_caching_enabled(mut self) -> Self {
        self.options.cached = true;
        self
    }

    /// Logs to a changelog topic with these settings on top of Kafka Streams' own.
    pub fn with_logging_enabled<N: Into<String>, T: Into<String>>(
        mut self,
        topic_config: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        self.options.logging = Some(
            topic_config
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        self
    }

    /// Makes no changelog: the state is lost when the task moves or its directory does.
    pub fn with_logging_disabled(mut self) -> Self {
        self.options.logging = None;
        self
    }
}

impl StoreParts {
    /// What to open.
    pub(crate) fn spec(&self, name: &str, backend: StoreBackend) -> StoreSpec {
        match &self.window {
            None => StoreSpec::key_value(name, backend),
            Some(spec) => StoreSpec::window(name, spec.clone(), backend),
        }
    }

    /// What is logged.
    pub(crate) fn changelog(
        &self,
        logging: Option<&BTreeMap<String, String>>,
    ) -> Option<ChangelogDefinition> {
        logging.map(|config| ChangelogDefinition {
            source_topic: None,
            config: config.clone(),
            cleanup: match &self.window {
                None => Cleanup::Compact,
                Some(spec) => Cleanup::CompactDelete {
                    retention_ms: spec.retention_ms,
                },
            },
        })
    }
}

/// Names a store of a topology with its type, for [`ProcessorContext::store`](crate::processor::ProcessorContext::store).
pub struct StoreHandle<S> {
    name: Arc<str>,
    kind: PhantomData<fn() -> S>,
}

impl<S> StoreHandle<S> {
    /// A handle for the store of that name and type, for instance of a table named with `Materialized`.
    pub fn named(name: &str) -> Self {
        StoreHandle {
            name: name.into(),
            kind: PhantomData,
        }
    }

    /// The store's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<S> Clone for StoreHandle<S> {
    fn clone(&self) -> Self {
        StoreHandle {
            name: self.name.clone(),
            kind: PhantomData,
        }
    }
}

impl<S> std::fmt::Debug for StoreHandle<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreHandle({})", self.name)
    }
}

/// A kind of store, and what a processor gets when it opens one.
pub trait StoreType: sealed::Sealed + 'static {
    /// The opened store.
    type Access<'a>;

    #[doc(hidden)]
    fn access<'a>(context: &'a mut Context, index: usize, cause: Cause<'a>) -> Self::Access<'a>;
}

mod sealed {
    pub trait Sealed {}
}

/// The type of a store with a value for each key.
pub struct KeyValueStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value and a timestamp for each key.
pub struct TimestampedKeyValueStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value for each key and window start.
pub struct WindowStore<K, V>(PhantomData<fn(K) -> V>);

impl<K, V> sealed::Sealed for KeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for TimestampedKeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for WindowStore<K, V> {}

impl<K: 'static, V: 'static> StoreType for KeyValueStore<K, V> {
    type Access<'a> = KeyValueAccess<'a, K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> KeyValueAccess<'a, K, V> {
        KeyValueAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

impl<K: 'static, V: 'static> StoreType for TimestampedKeyValueStore<K, V> {
    type Access<'a> = TimestampedKeyValueAccess<'a, K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> TimestampedKeyValueAccess<'a, K, V> {
        TimestampedKeyValueAccess(KeyValueStore::access(context, index, cause))
    }
}

impl<K: 'static, V: 'static> StoreType for WindowStore<K, V> {
    type Access<'a> = WindowAccess<'a, K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> WindowAccess<'a, K, V> {
        WindowAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

/// An opened [`KeyValueStore`].
pub struct KeyValueAccess<'a, K, V> {
    context: &'a mut Context,
    index: usize,
    cause: Cause<'a>,
    types: PhantomData<fn(K) -> V>,
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

    /// All entries in the order of the keys' bytes.
    ///
    /// # Errors
    /// As [`KeyValueAccess::range`].
    pub fn all(&mut self) -> Result<impl Iterator<Item = Result<(K, V)>> + use<'_, K, V>> {
        self.entries(None, None, Order::Forward)
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
fn null_key() -> Error {
    Error::data("a store takes no null key: filter such records out first")
}

/// An opened [`TimestampedKeyValueStore`].
pub struct TimestampedKeyValueAccess<'a, K, V>(KeyValueAccess<'a, K, V>);

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
}

/// An opened [`WindowStore`].
pub struct WindowAccess<'a, K, V> {
    context: &'a mut Context,
    index: usize,
    cause: Cause<'a>,
    types: PhantomData<fn(K) -> V>,
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
