//! `StreamJoined`: serdes, stores and names of a stream-stream join.

use super::join_windows::JoinWindows;
use crate::error::Error;
use crate::serdes::{BoxSerde, DefaultSerde, Serde};
use crate::stores::duration_ms;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streams_state::StoreBackend;

/// A window store for one side of a stream-stream join, made by the caller: its name, its place and its measures, which
/// must be those of the join's windows.
///
/// Kafka Streams' `WindowBytesStoreSupplier`, as made by `Stores.inMemoryWindowStore` and `Stores.persistentWindowStore`.
#[derive(Clone, Debug)]
pub struct WindowBytesStoreSupplier {
    pub(crate) name: String,
    pub(crate) backend: StoreBackend,
    pub(crate) retention_ms: i64,
    pub(crate) window_size_ms: i64,
    pub(crate) retain_duplicates: bool,
}

impl WindowBytesStoreSupplier {
    /// In memory: rebuilt from its changelog at every start.
    pub fn in_memory(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Self {
        let backend = StoreBackend::Memory;
        WindowBytesStoreSupplier::new(name, backend, retention, window_size, retain_duplicates)
    }

    /// In RocksDB.
    pub fn persistent(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Self {
        let backend = StoreBackend::RocksDb;
        WindowBytesStoreSupplier::new(name, backend, retention, window_size, retain_duplicates)
    }

    /// In any place, one of the user's own for instance.
    pub fn new(
        name: impl Into<String>,
        backend: StoreBackend,
        retention: Duration,
        window_size: Duration,
        retain_duplicates: bool,
    ) -> Self {
        WindowBytesStoreSupplier {
            name: name.into(),
            backend,
            retention_ms: duration_ms(retention),
            window_size_ms: duration_ms(window_size),
            retain_duplicates,
        }
    }

    /// Kafka's `KStreamImplJoin#assertWindowSettings`.
    fn check(&self, windows: &JoinWindows) -> Result<(), Error> {
        if !self.retain_duplicates {
            return Err(Error::topology(format!(
                "the store '{}' of a join must retain duplicates: make its supplier with `retain_duplicates` true",
                self.name
            )));
        }
        let given = (self.retention_ms, self.window_size_ms);
        let needed = (windows.retention_ms(), windows.size_ms());
        if given != needed {
            return Err(Error::topology(format!(
                "the store '{}' of a join has a retention of {} ms and windows of {} ms, but the join's windows need {} ms and {} ms: make its supplier with those",
                self.name, given.0, given.1, needed.0, needed.1
            )));
        }
        Ok(())
    }
}

/// The serdes of a stream-stream join, how its stores are kept and what it is called.
///
/// ```
/// use std::time::Duration;
/// use streams_core::serdes::{F64, Json, Utf8};
/// use streams_core::{Consumed, JoinWindows, StreamJoined, StreamsBuilder};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     amount: f64,
/// }
///
/// let builder = StreamsBuilder::new();
/// let orders = builder.stream::<String, Order>("orders", Consumed::with(Utf8, Json));
/// let payments = builder.stream::<String, f64>("payments", Consumed::new());
/// orders.join_stream_with(
///     &payments,
///     |order, paid| order.amount - paid,
///     JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(3600)),
///     StreamJoined::with(Utf8, Json, F64).named("open-amounts").with_store_name("open-amounts"),
/// );
/// let described = builder.build()?.describe();
/// assert!(described.contains("open-amounts-this-join (stores: [open-amounts-other-join-store])"));
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct StreamJoined<K, V, V2> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) other_value: BoxSerde<V2>,
    pub(crate) name: Option<String>,
    pub(crate) store_name: Option<String>,
    pub(crate) backend: Option<StoreBackend>,
    pub(crate) this_store: Option<WindowBytesStoreSupplier>,
    pub(crate) other_store: Option<WindowBytesStoreSupplier>,
    /// `None`: not logged.
    pub(crate) logging: Option<BTreeMap<String, String>>,
}

impl<K: 'static, V: 'static, V2: 'static> StreamJoined<K, V, V2> {
    /// With these serdes for the key and the values of both streams.
    pub fn with(key: impl Serde<K>, value: impl Serde<V>, other_value: impl Serde<V2>) -> Self {
        StreamJoined::of(Arc::new(key), Arc::new(value), Arc::new(other_value))
    }

    /// With the default serdes of the key and the values.
    pub fn new() -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
        V2: DefaultSerde,
    {
        StreamJoined::with(
            K::Serde::default(),
            V::Serde::default(),
            V2::Serde::default(),
        )
    }

    pub(crate) fn of(key: BoxSerde<K>, value: BoxSerde<V>, other_value: BoxSerde<V2>) -> Self {
        StreamJoined {
            key,
            value,
            other_value,
            name: None,
            store_name: None,
            backend: None,
            this_store: None,
            other_store: None,
            logging: Some(BTreeMap::new()),
        }
    }

    /// Names the nodes of the join, and with `-left` and `-right` its repartition topics, should they be needed.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names the stores, and with them their changelogs: `<name>-this-join-store`, `<name>-other-join-store` and so on.
    pub fn with_store_name(mut self, name: impl Into<String>) -> Self {
        self.store_name = Some(name.into());
        self
    }

    /// Keeps the stores in memory: rebuilt from their changelogs at every start.
    pub fn in_memory(self) -> Self {
        self.with_backend(StoreBackend::Memory)
    }

    /// Keeps the stores there; those given with [`StreamJoined::with_this_store`] and [`StreamJoined::with_other_store`]
    /// have places of their own.
    pub fn with_backend(mut self, backend: StoreBackend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// A store for the records of this stream. It is logged whatever [`StreamJoined::with_logging_disabled`] says, as in Kafka
    /// Streams.
    pub fn with_this_store(mut self, store: WindowBytesStoreSupplier) -> Self {
        self.this_store = Some(store);
        self
    }

    /// A store for the records of the other stream; see [`StreamJoined::with_this_store`].
    pub fn with_other_store(mut self, store: WindowBytesStoreSupplier) -> Self {
        self.other_store = Some(store);
        self
    }

    /// Logs the stores to changelog topics with these settings on top of Kafka Streams' own, except for `cleanup.policy`,
    /// which stays `delete` for the records of the streams.
    pub fn with_logging_enabled<N: Into<String>, T: Into<String>>(
        mut self,
        topic_config: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        self.logging = Some(
            topic_config
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        self
    }

    /// Makes no changelogs: what waits for a match is lost when the task moves or its directory does.
    pub fn with_logging_disabled(mut self) -> Self {
        self.logging = None;
        self
    }

    /// Kafka's `KStreamImplJoin#assertUniqueStoreNames` and `#assertWindowSettings`.
    pub(crate) fn check(&self, windows: &JoinWindows) -> Result<(), Error> {
        if let (Some(this), Some(other)) = (&self.this_store, &self.other_store)
            && this.name == other.name
        {
            return Err(Error::topology(format!(
                "both stores of a join are called '{}': give each a name of its own",
                this.name
            )));
        }
        self.this_store
            .iter()
            .chain(&self.other_store)
            .try_for_each(|store| store.check(windows))
    }
}

impl<K: DefaultSerde, V: DefaultSerde, V2: DefaultSerde> Default for StreamJoined<K, V, V2> {
    fn default() -> Self {
        StreamJoined::new()
    }
}

/// A key or value that a stream-stream join can keep without being given a serde: any type with a
/// [default serde](DefaultSerde).
#[diagnostic::on_unimplemented(
    message = "a join of two streams keeps their records, which needs a serde for `{Self}`",
    label = "no serde for `{Self}`",
    note = "use `join_stream_with`, `left_join_stream_with` or `outer_join_stream_with` and `StreamJoined::with(key_serde, value_serde, other_value_serde)`, or implement `DefaultSerde` for `{Self}`"
)]
pub trait StoredByDefault: Sized + 'static {
    #[doc(hidden)]
    fn default_serde() -> BoxSerde<Self>;
}

#[diagnostic::do_not_recommend]
impl<T: DefaultSerde> StoredByDefault for T {
    fn default_serde() -> BoxSerde<Self> {
        crate::serdes::default_serde()
    }
}
