//! Stores of the user's own, for the [Processor API](crate::processor): what to build, and how a processor uses it.

mod builder;
mod global;
mod handle;
mod key_value;
mod parts;
mod session;
mod timestamped_window;
mod versioned;
mod window;

#[cfg(all(test, feature = "test-driver"))]
mod tests;

pub use builder::StoreBuilder;
pub(crate) use builder::StoreOptions;
pub use global::GlobalAccess;
pub use handle::{
    KeyValueStore, SessionStore, StoreHandle, StoreType, TimestampedKeyValueStore,
    VersionedKeyValueStore, WindowStore,
};
pub(crate) use handle::{open, wrong_type};
pub use key_value::{KeyValueAccess, TimestampedKeyValueAccess};
pub(crate) use parts::{
    StoreParts, duration_ms, indexed_window_parts, key_value_parts, session_parts, table_parts,
    versioned_parts, window_parts,
};
pub use session::SessionAccess;
pub use timestamped_window::{TimestampedWindowAccess, TimestampedWindowStore};
pub use versioned::{VersionedKeyValueAccess, VersionedPut, VersionedRecord};
pub use window::WindowAccess;

use std::sync::Arc;
use std::time::Duration;

use streams_state::{SessionSpec, VersionedSpec, WindowOrder, WindowSpec};

use crate::serdes::Serde;

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
