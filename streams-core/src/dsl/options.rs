//! Options of the verbs: one value each, where Java has overloads.

use super::table::{RowState, Versioned};
use crate::partitioner::StreamPartitioner;
use crate::serdes::{BoxSerde, DefaultSerde, Serde, default_serde};
use crate::stores::{StoreOptions, duration_ms};
use crate::timestamp_extractor::{FailOnInvalidTimestamp, TimestampExtractor};
use crate::topology::OffsetReset;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{StoreBackend, VersionedSpec};

/// A name for a node of the topology, instead of a generated one. See [`KStream::named`](crate::KStream::named).
///
/// Valid are 1 to 249 of the characters `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`; anything else is an error of
/// [`StreamsBuilder::build`](crate::StreamsBuilder::build).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(pub(crate) String);

impl Named {
    /// A name.
    pub fn new(name: impl Into<String>) -> Self {
        Named(name.into())
    }
}

impl From<&str> for Named {
    fn from(name: &str) -> Self {
        Named::new(name)
    }
}

impl From<String> for Named {
    fn from(name: String) -> Self {
        Named(name)
    }
}

/// How to read a topic.
///
/// ```
/// use streams_core::serdes::{I64, Nullable, Utf8};
/// use streams_core::{Consumed, OffsetReset, StreamsBuilder, WallclockTimestampExtractor};
///
/// let builder = StreamsBuilder::new();
/// // Types with a default serde need no other:
/// let counts = builder.stream::<String, i64>("counts", Consumed::new());
/// // Keys that may be null are options:
/// let events = builder.stream(
///     "events",
///     Consumed::with(Nullable(Utf8), I64)
///         .named("events-source")
///         .with_offset_reset(OffsetReset::Latest)
///         .with_timestamp_extractor(WallclockTimestampExtractor),
/// );
/// ```
pub struct Consumed<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) extractor: Arc<dyn TimestampExtractor<K, V>>,
    pub(crate) offset_reset: Option<OffsetReset>,
    pub(crate) name: Option<String>,
}

impl<K: 'static, V: 'static> Consumed<K, V> {
    /// With these serdes for key and value.
    pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Consumed {
            key: Arc::new(key),
            value: Arc::new(value),
            extractor: Arc::new(FailOnInvalidTimestamp),
            offset_reset: None,
            name: None,
        }
    }

    /// With the default serdes of key and value.
    pub fn new() -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        Consumed::with(K::Serde::default(), V::Serde::default())
    }

    /// Takes event time from elsewhere than the record's timestamp.
    pub fn with_timestamp_extractor(mut self, extractor: impl TimestampExtractor<K, V>) -> Self {
        self.extractor = Arc::new(extractor);
        self
    }

    /// Where to start when the group has no committed offset, instead of the setting `auto.offset.reset`.
    pub fn with_offset_reset(mut self, reset: OffsetReset) -> Self {
        self.offset_reset = Some(reset);
        self
    }

    /// Names the source node.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Default for Consumed<K, V> {
    fn default() -> Self {
        Consumed::new()
    }
}

/// How to write to a topic.
///
/// ```
/// use streams_core::partitioner;
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Produced, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// let sales = builder.stream("sales", Consumed::with(Utf8, I64));
/// sales.to("by-first-letter", Produced::with(Utf8, I64).with_partitioner(partitioner::by(
///     |post_code: &String, _sales: &i64, partitions| {
///         i32::from(post_code.as_bytes().first().copied().unwrap_or(0)) % partitions
///     },
/// )));
/// ```
pub struct Produced<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
    pub(crate) name: Option<String>,
}

impl<K: 'static, V: 'static> Produced<K, V> {
    /// With these serdes for key and value.
    pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Produced {
            key: Arc::new(key),
            value: Arc::new(value),
            partitioner: None,
            name: None,
        }
    }

    /// With the default serdes of key and value.
    pub fn new() -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        Produced::with(K::Serde::default(), V::Serde::default())
    }

    /// Chooses partitions otherwise than by Kafka's hash of the key.
    pub fn with_partitioner(mut self, partitioner: impl StreamPartitioner<K, V>) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Names the sink node.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Default for Produced<K, V> {
    fn default() -> Self {
        Produced::new()
    }
}

/// How records of a stream with keys `K` and values `V` are written: a [`Produced`] of these types.
#[diagnostic::on_unimplemented(
    message = "the records of this stream have keys of type `{K}` and values of type `{V}`, which `{Self}` does not write",
    label = "serdes of other types",
    note = "give `Produced::with` a serde for `{K}` and one for `{V}`",
    note = "a windowed key takes `TimeWindowed::new(key_serde, window_size)` or `SessionWindowed::new(key_serde)`, an `Option` takes `Nullable(serde)`"
)]
pub trait Writes<K, V> {
    #[doc(hidden)]
    fn produced(self) -> Produced<K, V>;
}

#[diagnostic::do_not_recommend]
impl<K, V> Writes<K, V> for Produced<K, V> {
    fn produced(self) -> Produced<K, V> {
        self
    }
}

/// The serdes of a repartition topic that a grouping may need, and its name.
///
/// ```
/// use streams_core::serdes::{Json, Utf8};
/// use streams_core::{Consumed, Grouped, StreamsBuilder};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     customer: String,
/// }
///
/// let builder = StreamsBuilder::new();
/// let orders = builder.stream::<String, Order>("orders", Consumed::with(Utf8, Json));
/// let per_customer = orders
///     .group_by(|_id, order| order.customer.clone(), Grouped::with(Utf8, Json).named("by-customer"))
///     .count();
/// ```
pub struct Grouped<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) name: Option<String>,
}

impl<K: 'static, V: 'static> Grouped<K, V> {
    /// With these serdes for key and value.
    pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Grouped {
            key: Arc::new(key),
            value: Arc::new(value),
            name: None,
        }
    }

    /// With the default serdes of key and value.
    pub fn new() -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        Grouped::with(K::Serde::default(), V::Serde::default())
    }

    /// Names the repartition topic, `<application.id>-<name>-repartition`, and the nodes around it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Default for Grouped<K, V> {
    fn default() -> Self {
        Grouped::new()
    }
}

/// The serdes of a repartition topic that a join of a [`Rekeyed`](crate::Rekeyed) stream needs, its name, and how long a
/// stream's records wait for a table.
pub struct Joined<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) name: Option<String>,
    pub(crate) grace: Option<Duration>,
}

impl<K: 'static, V: 'static> Joined<K, V> {
    /// With these serdes for the stream's key and value.
    pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Joined {
            key: Arc::new(key),
            value: Arc::new(value),
            name: None,
            grace: None,
        }
    }

    /// With the default serdes of key and value.
    pub fn new() -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        Joined::with(K::Serde::default(), V::Serde::default())
    }

    /// Names the join and its repartition topic.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets records of the stream wait until the stream's time is `grace` ahead of them, so that rows of the table that
    /// arrive a little late are there when they are joined (KIP-923). A record that is later than that itself is joined at
    /// once.
    ///
    /// Only for a join with a [`Versioned`] table, whose history retention must be at least as long; anything else is an error
    /// of [`StreamsBuilder::build`](crate::StreamsBuilder::build). What waits is kept in a store of its own, and in its
    /// changelog.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::serdes::{F64, Utf8};
    /// # use streams_core::{Consumed, Joined, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.versioned_table::<String, f64>(
    ///     "prices",
    ///     Consumed::new(),
    ///     Materialized::versioned("prices", Duration::from_secs(60 * 60)),
    /// );
    /// builder
    ///     .stream::<String, f64>("sales", Consumed::new())
    ///     .join_with(
    ///         &prices,
    ///         |pieces, price| pieces * price,
    ///         Joined::new().with_grace_period(Duration::from_millis(5)),
    ///     )
    ///     .to("revenue", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (prices, sales) = (driver.input("prices", Utf8, F64), driver.input("sales", Utf8, F64));
    /// # let output = driver.output("revenue", Utf8, F64);
    /// driver.pipe_at(&sales, "pen", &5.0, 10)?;
    /// driver.pipe_at(&prices, "pen", &2.0, 10)?;
    /// // Time passes 15, so the sale has waited long enough.
    /// driver.pipe_at(&sales, "ink", &1.0, 15)?;
    /// assert_eq!(driver.read_values(&output)?, [10.0]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn with_grace_period(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Default for Joined<K, V> {
    fn default() -> Self {
        Joined::new()
    }
}

/// An explicit repartition topic: see [`KStream::repartition`](crate::KStream::repartition).
pub struct Repartitioned<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) name: Option<String>,
    pub(crate) partition_count: Option<i32>,
    pub(crate) partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
}

impl<K: 'static, V: 'static> Repartitioned<K, V> {
    /// With these serdes for key and value.
    pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Repartitioned {
            key: Arc::new(key),
            value: Arc::new(value),
            name: None,
            partition_count: None,
            partitioner: None,
        }
    }

    /// With the default serdes of key and value.
    pub fn new() -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        Repartitioned::with(K::Serde::default(), V::Serde::default())
    }

    /// Names the topic, `<application.id>-<name>-repartition`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many partitions the topic gets; otherwise as many as the topics it is fed from.
    pub fn with_number_of_partitions(mut self, count: i32) -> Self {
        self.partition_count = Some(count);
        self
    }

    /// Chooses partitions otherwise than by Kafka's hash of the key.
    pub fn with_partitioner(mut self, partitioner: impl StreamPartitioner<K, V>) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Default for Repartitioned<K, V> {
    fn default() -> Self {
        Repartitioned::new()
    }
}

/// Where the serde of a store's values comes from: [`ByDefault`] or [`Given`].
///
/// A value without a default serde needs one given:
///
/// ```compile_fail,E0277
/// # use streams_core::{Consumed, Materialized, StreamsBuilder};
/// #[derive(Default)]
/// struct Mean(f64, u64);
///
/// StreamsBuilder::new()
///     .stream::<String, f64>("temperatures", Consumed::new())
///     .group_by_key()
///     .aggregate(Mean::default, |_, t, mean| mean.0 += t, Materialized::new());
/// ```
#[diagnostic::on_unimplemented(
    message = "the store of this table needs a serde for its values of type `{V}`",
    label = "no serde for the values",
    note = "add `.with_value(serde)` to the `Materialized`, for instance `.with_value(Json)`, or implement `DefaultSerde` for `{V}`"
)]
pub trait ValueSerde<V> {
    #[doc(hidden)]
    fn into_serde(self) -> BoxSerde<V>;
}

/// The default serde of the value's type.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByDefault;

/// A serde given by the caller.
pub struct Given<V>(BoxSerde<V>);

#[diagnostic::do_not_recommend]
impl<V: DefaultSerde> ValueSerde<V> for ByDefault {
    fn into_serde(self) -> BoxSerde<V> {
        default_serde()
    }
}

impl<V> ValueSerde<V> for Given<V> {
    fn into_serde(self) -> BoxSerde<V> {
        self.0
    }
}

/// A store that has the latest value of each row only: the default.
#[derive(Clone, Copy, Debug)]
pub enum Unversioned {}

/// What a store remembers: [`Unversioned`], or [`Versioned`](crate::Versioned) for one with a history.
pub trait History: sealed::Sealed + 'static {
    /// What a table is whose rows are kept in such a store, and would otherwise be `T`.
    type Rows<T: RowState>: RowState;
}

/// What a store may remember where no history can be kept: [`Unversioned`].
#[diagnostic::on_unimplemented(
    message = "this store would remember earlier versions of its rows",
    label = "a versioned store",
    note = "use `StreamsBuilder::versioned_table` for a table with a history; a global table has none"
)]
pub trait NoHistory: History {}

impl NoHistory for Unversioned {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Unversioned {}
    impl Sealed for super::Versioned {}
}

impl History for Unversioned {
    type Rows<T: RowState> = T::Stored;
}

impl History for Versioned {
    type Rows<T: RowState> = Versioned;
}

/// How a table is kept: its store's name, the serde of its values, cache, changelog and place.
///
/// By default a store is in RocksDB, cached, and logged to a changelog topic.
///
/// ```
/// use streams_core::serdes::{Json, Utf8};
/// use streams_core::{Consumed, Materialized, StreamsBuilder};
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// struct Mean {
///     sum: f64,
///     count: u64,
/// }
///
/// let builder = StreamsBuilder::new();
/// let means = builder
///     .stream::<String, f64>("temperatures", Consumed::new())
///     .group_by_key()
///     .aggregate(
///         Mean::default,
///         |_city, temperature, mean| {
///             mean.sum += temperature;
///             mean.count += 1;
///         },
///         Materialized::named("means")
///             .with_value(Json)
///             .with_logging_enabled([("min.insync.replicas", "2")]),
///     );
/// ```
pub struct Materialized<S = ByDefault, H = Unversioned> {
    pub(crate) name: Option<String>,
    pub(crate) value: S,
    pub(crate) options: StoreOptions,
    pub(crate) retention: Option<Duration>,
    /// What is remembered of earlier versions: set for a [`Versioned`] store, and only for one.
    pub(crate) history: Option<VersionedSpec>,
    pub(crate) kind: PhantomData<fn() -> H>,
}

impl Materialized<ByDefault> {
    /// With a generated name.
    pub fn new() -> Self {
        Materialized {
            name: None,
            value: ByDefault,
            options: StoreOptions {
                cached: true,
                ..StoreOptions::anywhere(Some(BTreeMap::new()))
            },
            retention: None,
            history: None,
            kind: PhantomData,
        }
    }

    /// With a name for the store; its changelog is `<application.id>-<name>-changelog`.
    pub fn named(name: impl Into<String>) -> Self {
        Materialized {
            name: Some(name.into()),
            ..Materialized::new()
        }
    }
}

impl Materialized<ByDefault> {
    /// With a name for the store, in memory, and with no more than `max_entries` rows: one more takes the place of the row that
    /// was read or changed longest ago, which is deleted in the changelog too, though nobody behind the table hears of it.
    ///
    /// As `Materialized.as(Stores.lruMap(name, maxCacheSize))` in Kafka Streams. For tables without windows; anything else is
    /// an error of [`StreamsBuilder::build`](crate::StreamsBuilder::build).
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .count_with(Materialized::lru_map("recent-users", 1).with_caching_disabled())
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("clicks", Utf8, Utf8), driver.output("clicks-per-user", Utf8, I64));
    /// for user in ["ann", "ann", "bob", "ann"] {
    ///     driver.pipe(&input, user, "home")?;
    /// }
    /// assert_eq!(driver.read_values(&output)?, [1, 2, 1, 1]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn lru_map(name: impl Into<String>, max_entries: usize) -> Self {
        let mut kept = Materialized::named(name).in_memory();
        kept.options.max_entries = Some(max_entries);
        kept
    }
}

impl Materialized<ByDefault, Versioned> {
    /// With a name for the store, and with the versions of each row that were replaced no longer than `history_retention`
    /// ago, in the time of the records. A record that is late by more is not applied.
    ///
    /// As `Materialized.as(Stores.persistentVersionedKeyValueStore(name, historyRetention))` in Kafka Streams (KIP-889); its
    /// record cache is always off.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Utf8};
    ///
    /// let hour = Duration::from_secs(60 * 60);
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.versioned_table::<String, f64>(
    ///     "prices",
    ///     Consumed::new(),
    ///     Materialized::versioned("prices", hour),
    /// );
    /// builder
    ///     .stream::<String, f64>("sales", Consumed::new())
    ///     .join(&prices, |pieces, price| pieces * price)
    ///     .to("revenue", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (prices, sales) = (driver.input("prices", Utf8, F64), driver.input("sales", Utf8, F64));
    /// # let output = driver.output("revenue", Utf8, F64);
    /// driver.pipe_at(&prices, "pen", &2.0, 10)?;
    /// driver.pipe_at(&prices, "pen", &3.0, 20)?;
    /// // A sale meets the price of its own time.
    /// driver.pipe_at(&sales, "pen", &5.0, 19)?;
    /// assert_eq!(driver.read_values(&output)?, [10.0]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn versioned(name: impl Into<String>, history_retention: Duration) -> Self {
        let plain = Materialized::named(name);
        let history_retention_ms = duration_ms(history_retention);
        Materialized {
            name: plain.name,
            value: plain.value,
            options: plain.options,
            retention: None,
            history: Some(VersionedSpec::with_history_retention_ms(
                history_retention_ms,
            )),
            kind: PhantomData,
        }
    }
}

impl<S> Materialized<S, Versioned> {
    /// How much time one segment of the history spans, at least a millisecond. The versions of a row in one segment are read
    /// and written together, and segments are forgotten as a whole; answers do not depend on it.
    ///
    /// The default is Kafka Streams' own: from a third of a short history retention to a 24th of a long one.
    pub fn with_segment_interval(mut self, segment_interval: Duration) -> Self {
        if let Some(history) = &mut self.history {
            history.segment_interval_ms = duration_ms(segment_interval).max(1);
        }
        self
    }
}

impl Default for Materialized<ByDefault> {
    fn default() -> Self {
        Materialized::new()
    }
}

impl<S, H> Materialized<S, H> {
    /// With this serde for the values.
    pub fn with_value<V: 'static>(self, serde: impl Serde<V>) -> Materialized<Given<V>, H> {
        Materialized {
            name: self.name,
            value: Given(Arc::new(serde)),
            options: self.options,
            retention: self.retention,
            history: self.history,
            kind: PhantomData,
        }
    }

    /// Keeps the store in memory: rebuilt from its changelog at every start.
    pub fn in_memory(self) -> Self {
        self.with_backend(StoreBackend::Memory)
    }

    /// Keeps the store there: on disk, in memory, or in one of the user's own. Otherwise it is where
    /// [`StreamsBuilder::with_store_backend`](crate::StreamsBuilder::with_store_backend) or the setting `default.dsl.store` has
    /// stores, and in RocksDB where neither says anything.
    pub fn with_backend(mut self, backend: StoreBackend) -> Self {
        self.options.backend = Some(backend);
        self
    }

    /// Keeps rows or windows in RocksDB without their timestamps, eight bytes shorter each, as a store made with
    /// `Stores.persistentKeyValueStore` or `Stores.persistentWindowStore` is for Kafka Streams (which has timestamps since 2.3):
    /// to go on with what such a store has, on disk or in its changelog.
    ///
    /// Values read from it count as having the timestamp -1, so that what is computed from them has the time of the other
    /// side. In memory, and in stores of sessions and of versions, it changes nothing, as in Kafka Streams.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .count_with(Materialized::named("counts").without_timestamps().with_caching_disabled())
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("clicks", Utf8, Utf8), driver.output("clicks-per-user", Utf8, I64));
    /// driver.pipe_at(&input, "ann", "home", 20)?;
    /// driver.pipe_at(&input, "ann", "cart", 10)?;
    /// let times: Vec<i64> = driver.read_records(&output)?.iter().map(|count| count.timestamp).collect();
    /// // With timestamps both would be 20.
    /// assert_eq!(times, [20, 10]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn without_timestamps(mut self) -> Self {
        self.options.plain = true;
        self.options.backend.get_or_insert(StoreBackend::RocksDb);
        self
    }

    /// Collects changes of a key until the next commit: the default.
    pub fn with_caching_enabled(mut self) -> Self {
        self.options.cached = true;
        self
    }

    /// Writes, logs and forwards every single change.
    pub fn with_caching_disabled(mut self) -> Self {
        self.options.cached = false;
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

    /// How long a window stays readable behind the newest one; at least the window's size and grace, which is the
    /// default. Without meaning for stores without windows.
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }
}
