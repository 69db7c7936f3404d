//! Stores of the user's own, for the [Processor API](crate::processor): what to build, and how a processor uses it.

mod global;
mod key_value;
mod session;
mod timestamped_window;
mod versioned;
mod window;

#[cfg(all(test, feature = "test-driver"))]
mod tests;

pub use global::GlobalAccess;
pub use key_value::{KeyValueAccess, TimestampedKeyValueAccess};
pub use session::SessionAccess;
pub use timestamped_window::{TimestampedWindowAccess, TimestampedWindowStore};
pub use versioned::{VersionedKeyValueAccess, VersionedPut, VersionedRecord};
pub use window::WindowAccess;

use crate::error::{Error, Result};
use crate::serdes::{BoxSerde, Serde};
use crate::task::context::Context;
use crate::task::stores::{
    AnyState, Cause, KeyValueState, ScanOrder, SessionOrder, SessionState, WindowState,
};
use crate::topology::store::{ChangelogDefinition, Cleanup, StateArguments, StateFactory};
use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{
    SessionSpec, StoreBackend, StoreKind, StoreSpec, VersionedSpec, WindowOrder, WindowSpec,
};

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

    /// A value for each of the keys used last, of which there are no more than `max_entries`, in memory. Putting one more
    /// deletes the key that was read or put longest ago, in the changelog too. After a restart, keys count as used in the
    /// order of their bytes.
    ///
    /// ```
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
    /// let builder = StreamsBuilder::new();
    /// let recent = builder.add_state_store(Stores::lru_map("recent", Utf8, Utf8, 2));
    /// # builder.stream("in", Consumed::with(Utf8, Utf8)).process(|| Keep, &["recent"]);
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let mut recent = driver.store(&recent)?;
    /// recent.put_all(["a", "b", "c"].map(|key| (key.to_owned(), String::new())))?;
    /// assert_eq!(recent.get(&"a".to_owned())?, None);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn lru_map<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
        max_entries: usize,
    ) -> StoreBuilder<KeyValueStore<K, V>> {
        let mut store = Stores::key_value(name, key, value).in_memory();
        store.options.max_entries = Some(max_entries);
        store
    }

    /// A value and its timestamp for each key.
    pub fn timestamped_key_value<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> StoreBuilder<TimestampedKeyValueStore<K, V>> {
        StoreBuilder::new(name, key_value_parts(Arc::new(key), Arc::new(value), true))
    }

    /// The latest value of each key, and for a while the ones before it: what a key had at an earlier time can be asked for
    /// until `history_retention` has passed, in the time of the records. What is put later than that is rejected (KIP-889).
    ///
    /// ```
    /// use std::time::Duration;
    /// use streams_core::processor::{Processor, ProcessorContext};
    /// use streams_core::serdes::{F64, Utf8};
    /// use streams_core::stores::{StoreHandle, Stores, VersionedKeyValueStore};
    /// use streams_core::{Consumed, Produced, Record, Result, StreamsBuilder};
    /// # use streams_core::TopologyTestDriver;
    ///
    /// /// Tells how much each price has changed within a minute.
    /// struct Changes(StoreHandle<VersionedKeyValueStore<String, f64>>);
    ///
    /// impl Processor<String, f64, String, f64> for Changes {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<'_, String, f64>,
    ///         context: &mut ProcessorContext<'_, String, f64>,
    ///     ) -> Result<()> {
    ///         let mut prices = context.store(&self.0)?;
    ///         prices.put(record.key, Some(*record.value), record.timestamp)?;
    ///         let before = prices.get_as_of(record.key, record.timestamp - 60_000)?;
    ///         let change = before.map_or(0.0, |before| record.value - before.value);
    ///         context.forward(record.key, &change, record.timestamp)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let hour = Duration::from_secs(60 * 60);
    /// let prices = builder.add_state_store(Stores::versioned_key_value("prices", Utf8, F64, hour));
    /// let handle = prices.clone();
    /// builder
    ///     .stream::<String, f64>("quotes", Consumed::new())
    ///     .process(move || Changes(handle.clone()), &[prices.name()])
    ///     .to("changes", Produced::with(Utf8, F64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("quotes", Utf8, F64), driver.output("changes", Utf8, F64));
    /// driver.pipe_at(&input, "gold", &100.0, 0)?;
    /// driver.pipe_at(&input, "gold", &101.5, 70_000)?;
    /// assert_eq!(driver.read_values(&output)?, [0.0, 1.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn versioned_key_value<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
        history_retention: Duration,
    ) -> StoreBuilder<VersionedKeyValueStore<K, V>> {
        let spec = VersionedSpec::with_history_retention_ms(duration_ms(history_retention));
        StoreBuilder::new(name, versioned_parts(Arc::new(key), Arc::new(value), spec))
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

    /// A value for each key and session. Sessions that ended longer ago than the retention (behind the newest end put)
    /// disappear.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streams_core::StreamsBuilder;
    /// use streams_core::serdes::{I64, Utf8};
    /// use streams_core::stores::Stores;
    ///
    /// let builder = StreamsBuilder::new();
    /// let visits = builder.add_state_store(Stores::session("visits", Utf8, I64, Duration::from_secs(3600)));
    /// assert_eq!(visits.name(), "visits");
    /// ```
    pub fn session<K: 'static, V: 'static>(
        name: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
        retention: Duration,
    ) -> StoreBuilder<SessionStore<K, V>> {
        let spec = SessionSpec {
            retention_ms: duration_ms(retention),
            order: WindowOrder::ByKey,
        };
        StoreBuilder::new(name, session_parts(Arc::new(key), Arc::new(value), spec))
    }
}

pub(crate) fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Everything about a store but its name and options.
#[derive(Clone)]
pub(crate) struct StoreParts {
    pub(crate) kind: StoreKind,
    pub(crate) timestamped: bool,
    pub(crate) state: StateFactory,
}

pub(crate) fn key_value_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    timestamped: bool,
) -> StoreParts {
    StoreParts {
        kind: StoreKind::KeyValue,
        timestamped,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = KeyValueState::new(key.clone(), value.clone(), arguments);
            let state = match arguments.max_entries {
                Some(max_entries) => state.limited(max_entries),
                None => state,
            };
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

/// A store that remembers earlier versions.
pub(crate) fn versioned_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: VersionedSpec,
) -> StoreParts {
    StoreParts {
        kind: StoreKind::Versioned(spec),
        timestamped: false,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = KeyValueState::versioned(key.clone(), value.clone(), arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

/// The store of a table: with a history if it is to have one.
pub(crate) fn table_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    history: Option<VersionedSpec>,
) -> StoreParts {
    match history {
        Some(spec) => versioned_parts(key, value, spec),
        None => key_value_parts(key, value, true),
    }
}

/// A window store with timestamps whose windows of one key are found in the cache as well.
pub(crate) fn indexed_window_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: WindowSpec,
) -> StoreParts {
    let scan_order = scan_order(&spec);
    StoreParts {
        kind: StoreKind::Window(spec),
        timestamped: true,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = WindowState::new(key.clone(), value.clone(), scan_order, arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

fn scan_order(spec: &WindowSpec) -> ScanOrder {
    match spec.order {
        WindowOrder::ByTime => ScanOrder::ByTime,
        WindowOrder::ByKey => ScanOrder::BySegment {
            segment_ms: spec.segment_interval_ms(),
        },
    }
}

pub(crate) fn session_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: SessionSpec,
) -> StoreParts {
    let segment_ms = spec.segment_interval_ms();
    StoreParts {
        kind: StoreKind::Session(spec),
        timestamped: false,
        state: Arc::new(move |arguments: &StateArguments| {
            let order = match arguments.window_order {
                Some(WindowOrder::ByTime) => SessionOrder::ByEnd,
                _ => SessionOrder::BySegment { segment_ms },
            };
            let state = SessionState::new(key.clone(), value.clone(), order, arguments);
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
    let segment_ms = spec.segment_interval_ms();
    StoreParts {
        kind: StoreKind::Window(spec),
        timestamped,
        state: Arc::new(move |arguments: &StateArguments| {
            let scan_order = match arguments.window_order {
                Some(WindowOrder::ByTime) => ScanOrder::ByTime,
                _ => ScanOrder::BySegment { segment_ms },
            };
            let state = WindowState::new(key.clone(), value.clone(), scan_order, arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

/// How a store is kept and logged.
#[derive(Clone)]
pub(crate) struct StoreOptions {
    /// `None`: where stores are by default.
    pub(crate) backend: Option<StoreBackend>,
    pub(crate) cached: bool,
    /// `None`: not logged.
    pub(crate) logging: Option<BTreeMap<String, String>>,
    /// Whether values go without their timestamps where a table's store would have them.
    pub(crate) plain: bool,
    /// How many keys it may have; `None` for any number.
    pub(crate) max_entries: Option<usize>,
}

impl StoreOptions {
    /// Of a store without a cache in this place.
    pub(crate) fn of(backend: StoreBackend, logging: Option<BTreeMap<String, String>>) -> Self {
        StoreOptions {
            backend: Some(backend),
            ..StoreOptions::anywhere(logging)
        }
    }

    /// Of a store without a cache where stores are by default.
    pub(crate) fn anywhere(logging: Option<BTreeMap<String, String>>) -> Self {
        StoreOptions {
            backend: None,
            cached: false,
            logging,
            plain: false,
            max_entries: None,
        }
    }
}

/// A store to be: see [`Stores`].
pub struct StoreBuilder<S> {
    pub(crate) name: String,
    pub(crate) parts: StoreParts,
    pub(crate) options: StoreOptions,
    kind: PhantomData<fn() -> S>,
}

impl<S> Clone for StoreBuilder<S> {
    /// The same store: it can be brought along by several suppliers, see
    /// [`ProcessorSupplier`](crate::processor::ProcessorSupplier).
    fn clone(&self) -> Self {
        StoreBuilder {
            name: self.name.clone(),
            parts: self.parts.clone(),
            options: self.options.clone(),
            kind: PhantomData,
        }
    }
}

impl<S> StoreBuilder<S> {
    fn new(name: &str, parts: StoreParts) -> Self {
        StoreBuilder {
            name: name.to_owned(),
            parts,
            options: StoreOptions::of(StoreBackend::RocksDb, Some(BTreeMap::new())),
            kind: PhantomData,
        }
    }

    /// Keeps it in memory: rebuilt from the changelog at every start. A window store in memory is scanned by start and key,
    /// as Kafka Streams' is, where one on disk is scanned by segment, key and start.
    pub fn in_memory(mut self) -> Self {
        self.options.backend = Some(StoreBackend::Memory);
        if let StoreKind::Window(window) = &mut self.parts.kind {
            window.order = WindowOrder::ByTime;
        }
        self
    }

    /// Keeps it in a store of the user's own.
    pub fn with_backend(mut self, backend: StoreBackend) -> Self {
        self.options.backend = Some(backend);
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
        StoreSpec {
            name: name.to_owned(),
            kind: self.kind.clone(),
            backend,
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
            cleanup: match &self.kind {
                StoreKind::KeyValue => Cleanup::Compact,
                StoreKind::Window(spec) => Cleanup::CompactDelete {
                    retention_ms: spec.retention_ms,
                },
                StoreKind::Session(spec) => Cleanup::CompactDelete {
                    retention_ms: spec.retention_ms,
                },
                StoreKind::Versioned(spec) => Cleanup::CompactLate {
                    history_retention_ms: spec.history_retention_ms,
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

    /// How a task keeps it.
    #[doc(hidden)]
    type State: AnyState;

    /// Whether a task's store is one of these.
    #[doc(hidden)]
    fn fits(state: &mut dyn Any) -> bool {
        state.is::<Self::State>()
    }

    #[doc(hidden)]
    fn access<'a>(context: &'a mut Context, index: usize, cause: Cause<'a>) -> Self::Access<'a>;
}

/// Opens a store for code that knows it by a handle.
///
/// # Errors
/// When the store is of another type than the handle, which a handle by name alone can be.
pub(crate) fn open<'a, S: StoreType>(
    context: &'a mut Context,
    index: usize,
    store: &StoreHandle<S>,
    cause: Cause<'a>,
) -> Result<S::Access<'a>> {
    if !S::fits(context.states[index].as_any_mut()) {
        return Err(wrong_type(store));
    }
    Ok(S::access(context, index, cause))
}

#[cold]
pub(crate) fn wrong_type<S>(store: &StoreHandle<S>) -> Error {
    Error::topology(format!(
        "store '{}' is no `{}`: a handle made by name must have the types of the store's keys and values",
        store.name(),
        std::any::type_name::<S>()
    ))
}

/// Whether a store is a key-value store of these types, with or without versions.
fn is_key_value<K: 'static, V: 'static>(state: &mut dyn Any, versioned: bool) -> bool {
    let state = state.downcast_ref::<KeyValueState<K, V>>();
    state.is_some_and(|state| state.is_versioned() == versioned)
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

/// The type of a store with a value for each key and time.
pub struct VersionedKeyValueStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value for each key and session.
pub struct SessionStore<K, V>(PhantomData<fn(K) -> V>);

impl<K, V> sealed::Sealed for SessionStore<K, V> {}

impl<K: 'static, V: 'static> StoreType for SessionStore<K, V> {
    type Access<'a> = SessionAccess<'a, K, V>;
    type State = SessionState<K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> SessionAccess<'a, K, V> {
        SessionAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

impl<K, V> sealed::Sealed for VersionedKeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for KeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for TimestampedKeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for WindowStore<K, V> {}

impl<K: 'static, V: 'static> StoreType for KeyValueStore<K, V> {
    type Access<'a> = KeyValueAccess<'a, K, V>;
    type State = KeyValueState<K, V>;

    fn fits(state: &mut dyn Any) -> bool {
        is_key_value::<K, V>(state, false)
    }

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
    type State = KeyValueState<K, V>;

    fn fits(state: &mut dyn Any) -> bool {
        is_key_value::<K, V>(state, false)
    }

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
    type State = WindowState<K, V>;

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
impl<K: 'static, V: 'static> StoreType for VersionedKeyValueStore<K, V> {
    type Access<'a> = VersionedKeyValueAccess<'a, K, V>;
    type State = KeyValueState<K, V>;

    fn fits(state: &mut dyn Any) -> bool {
        is_key_value::<K, V>(state, true)
    }

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> VersionedKeyValueAccess<'a, K, V> {
        VersionedKeyValueAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

impl<K, V> StoreBuilder<VersionedKeyValueStore<K, V>> {
    /// How much time one segment of the history spans, at least a millisecond: see
    /// [`Materialized::with_segment_interval`](crate::Materialized::with_segment_interval).
    pub fn with_segment_interval(mut self, segment_interval: Duration) -> Self {
        if let StoreKind::Versioned(spec) = &mut self.parts.kind {
            spec.segment_interval_ms = duration_ms(segment_interval).max(1);
        }
        self
    }
}
