//! `TimeWindowedKStream`: a grouped stream over windows of time.

use super::aggregation::{Aggregating, Place, aggregate};
use super::grouped_stream::{KGroupedStream, Prefixes, aggregating, beginning, reducing};
use super::options::{Materialized, Named, ValueSerde};
use super::table::{Deletable, GetterFactory, KTable, Permanent, RowState};
use super::windows::{EmitStrategy, TimeWindows};
use crate::error::Error;
use crate::operators::aggregate::Initial;
use crate::operators::table_getter::WindowStoreGetter;
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::{Flush, StreamOperator};
use crate::serdes::{BoxSerde, DefaultSerde, TimeWindowed};
use crate::stores::{StoreParts, duration_ms, window_parts};
use crate::topology::NodeId;
use crate::topology::build::Graph;
use crate::windowed::Windowed;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use streams_state::WindowSpec;

/// A grouped stream over tumbling or hopping windows: made by [`KGroupedStream::windowed_by`].
///
/// A record later than its windows' grace is dropped and counted.
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: TimeWindows,
    emit: EmitStrategy,
}

impl<K, V> Clone for TimeWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        TimeWindowedKStream {
            grouped: self.grouped.clone(),
            windows: self.windows,
            emit: self.emit,
        }
    }
}

const AGGREGATE: Prefixes = Prefixes {
    store: "KSTREAM-AGGREGATE-STATE-STORE-",
    node: "KSTREAM-AGGREGATE-",
};

const REDUCE: Prefixes = Prefixes {
    store: "KSTREAM-REDUCE-STATE-STORE-",
    node: "KSTREAM-REDUCE-",
};

impl<K: 'static, V: 'static> TimeWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: TimeWindows) -> Self {
        TimeWindowedKStream {
            grouped,
            windows,
            emit: EmitStrategy::OnWindowUpdate,
        }
    }

    /// Names the node that the next aggregation of the returned handle adds; see
    /// [`KStream::named`](crate::KStream::named).
    pub fn named(&self, name: impl Into<Named>) -> Self {
        TimeWindowedKStream {
            grouped: self.grouped.named(name),
            ..self.clone()
        }
    }

    /// When results are forwarded.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, EmitStrategy, Produced, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, TimeWindowed, Utf8};
    ///
    /// let ten = Duration::from_millis(10);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_and_grace(ten, Duration::from_millis(5)))
    ///     .emit_strategy(EmitStrategy::on_window_close())
    ///     .count()
    ///     .to_stream()
    ///     .to("final-counts", Produced::with(TimeWindowed::new(Utf8, ten), I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("clicks", Utf8, Utf8);
    /// # let output = driver.output("final-counts", TimeWindowed::new(Utf8, ten), I64);
    /// driver.pipe_at(&input, "ann", "home", 3)?;
    /// driver.pipe_at(&input, "ann", "cart", 14)?;
    /// assert!(driver.read_values(&output)?.is_empty());
    /// driver.pipe_at(&input, "bob", "home", 15)?;
    /// assert_eq!(driver.read_values(&output)?, [1]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        self.emit = emit;
        self
    }

    /// Counts the records of each key and window; see [`KGroupedStream::windowed_by`] for an example.
    #[track_caller]
    pub fn count(&self) -> KTable<Windowed<K>, i64, Permanent> {
        self.counted(Materialized::new(), Location::caller())
    }

    /// As [`TimeWindowedKStream::count`], with a say in how the counts are kept.
    #[track_caller]
    pub fn count_with(
        &self,
        materialized: Materialized<impl ValueSerde<i64>>,
    ) -> KTable<Windowed<K>, i64, Permanent> {
        self.grouped.burn_index_for(&materialized);
        self.counted(materialized, Location::caller())
    }

    fn counted(
        &self,
        materialized: Materialized<impl ValueSerde<i64>>,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, i64, Permanent> {
        self.add(
            |_, _, count| *count.get_or_insert(0) += 1,
            Arc::new(|| Some(0)),
            materialized,
            AGGREGATE,
            location,
        )
    }

    /// Combines the values of each key and window into one, two at a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, TimeWindowed, Utf8};
    ///
    /// let hour = Duration::from_secs(3600);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("temperatures", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size(hour))
    ///     .reduce(|highest, degrees| highest.max(*degrees))
    ///     .to_stream()
    ///     .to("highest-per-hour", Produced::with(TimeWindowed::new(Utf8, hour), F64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("temperatures", Utf8, F64);
    /// # let output = driver.output("highest-per-hour", TimeWindowed::new(Utf8, hour), F64);
    /// driver.pipe_at(&input, "mosbach", &9.5, 0)?;
    /// driver.pipe_at(&input, "mosbach", &8.0, 1)?;
    /// assert_eq!(driver.read_values(&output)?, [9.5, 9.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V, Permanent>
    where
        V: Clone + DefaultSerde,
    {
        self.reduce_with(reducer, Materialized::new())
    }

    /// As [`TimeWindowedKStream::reduce`], with a say in how the results are kept.
    #[track_caller]
    pub fn reduce_with(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>>,
    ) -> KTable<Windowed<K>, V, Permanent>
    where
        V: Clone,
    {
        self.add(
            reducing(reducer),
            Arc::new(|| None),
            materialized,
            REDUCE,
            Location::caller(),
        )
    }

    /// Folds the values of each key and window into an aggregate, changed in place.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Json, TimeWindowed, Utf8};
    ///
    /// let hour = Duration::from_secs(3600);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("rain", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size(hour).advance_by(hour / 2))
    ///     .aggregate(|| 0.0, |_city, millimetres, sum| *sum += millimetres, Materialized::new())
    ///     .to_stream()
    ///     .to("rain-per-hour", Produced::with(TimeWindowed::new(Utf8, hour), F64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("rain", Utf8, F64);
    /// # let output = driver.output("rain-per-hour", TimeWindowed::new(Utf8, hour), F64);
    /// driver.pipe_at(&input, "mosbach", &0.5, 3_600_000)?;
    /// assert_eq!(driver.read_values(&output)?, [0.5, 0.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: 'static>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Permanent> {
        let initializer = Arc::new(initializer);
        let initial = initializer.clone();
        self.add(
            aggregating(move || initializer(), aggregator),
            Arc::new(move || Some(initial())),
            materialized,
            AGGREGATE,
            Location::caller(),
        )
    }

    /// As [`TimeWindowedKStream::aggregate`], for aggregates that may end: one set to `None` deletes its window.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, TimeWindowed, Utf8};
    ///
    /// let day = Duration::from_secs(86_400);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, i64>("cart-changes", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size(day))
    ///     .aggregate_optional(
    ///         || None,
    ///         |_user, pieces, cart: &mut Option<i64>| {
    ///             let pieces = cart.unwrap_or(0) + pieces;
    ///             *cart = (pieces > 0).then_some(pieces);
    ///         },
    ///         Materialized::named("carts"),
    ///     )
    ///     .to_stream()
    ///     .to("carts", Produced::with(TimeWindowed::new(Utf8, day), Nullable(I64)));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("cart-changes", Utf8, I64);
    /// # let output = driver.output("carts", TimeWindowed::new(Utf8, day), Nullable(I64));
    /// driver.pipe(&input, "ann", &2)?;
    /// driver.pipe(&input, "ann", &-2)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(2), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate_optional<A: 'static>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        let initial: Initial<A> = Arc::new(initializer);
        self.add(
            beginning(initial.clone(), aggregator),
            initial,
            materialized,
            AGGREGATE,
            Location::caller(),
        )
    }

    fn add<A: 'static, T: RowState>(
        &self,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>>,
        prefixes: Prefixes,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, A, T> {
        let over = {
            let mut graph = self.grouped.graph.borrow_mut();
            if self.emit == EmitStrategy::OnWindowClose && self.windows.is_unlimited() {
                graph.fail(Error::topology(format!(
                    "the aggregation at {location} sends results when its windows close, and unlimited windows never do"
                )));
            }
            OverTime::new(
                self.windows,
                self.emit,
                materialized.retention,
                &mut graph,
                location,
            )
        };
        aggregate(
            &self.grouped,
            &over,
            aggregator,
            initial,
            materialized,
            &prefixes,
            location,
        )
    }
}

/// Aggregates the values of each window.
#[derive(Clone, Copy)]
pub(crate) struct OverTime {
    windows: TimeWindows,
    emit: EmitStrategy,
    retention_ms: i64,
}

impl OverTime {
    pub(crate) fn new(
        windows: TimeWindows,
        emit: EmitStrategy,
        retention: Option<Duration>,
        graph: &mut Graph,
        location: &'static Location<'static>,
    ) -> Self {
        let needed_ms = windows.size_ms().saturating_add(windows.grace_ms());
        let retention_ms = retention.map_or(needed_ms, duration_ms);
        if retention_ms < needed_ms {
            graph.fail(Error::topology(format!(
                "the retention of {retention_ms} ms at {location} is shorter than the windows' size and grace together, {needed_ms} ms"
            )));
        }
        OverTime {
            windows,
            emit,
            retention_ms: retention_ms.max(needed_ms),
        }
    }
}

impl<K: 'static, A: 'static> Aggregating<K, A> for OverTime {
    type Key = Windowed<K>;

    fn store(&self, key: BoxSerde<K>, value: BoxSerde<A>) -> StoreParts {
        let spec = WindowSpec {
            retention_ms: self.retention_ms,
            window_size_ms: self.windows.size_ms(),
            retain_duplicates: false,
            order: self.emit.store_order(),
        };
        window_parts(key, value, spec, true)
    }

    fn operator<V, F>(
        &self,
        aggregator: Arc<F>,
        place: Place<Windowed<K>, A>,
    ) -> impl StreamOperator<K, V> + Flush + 'static
    where
        V: 'static,
        F: Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    {
        WindowAggregate {
            windows: self.windows,
            emit: self.emit,
            aggregator,
            initial: place.initial,
            store: place.store,
            store_name: place.store_name,
            sends_old_values: place.sends_old_values,
            times: Default::default(),
            written: Vec::new(),
            children: place.children,
        }
    }

    fn table_key(&self, key: BoxSerde<K>) -> BoxSerde<Windowed<K>> {
        let size = Duration::from_millis(self.windows.size_ms().unsigned_abs());
        Arc::new(TimeWindowed::new(key, size))
    }

    fn getter(&self, store: usize) -> GetterFactory<Windowed<K>, A> {
        window_getter(store)
    }

    fn describe(&self, graph: &mut Graph, node: NodeId) {
        graph.set_grace(node, self.windows.grace_ms());
    }
}

/// Looks windows up in a store of windows.
pub(crate) fn window_getter<K: 'static, A: 'static>(store: usize) -> GetterFactory<Windowed<K>, A> {
    Arc::new(move |scope| {
        Box::new(WindowStoreGetter {
            store: scope.local_store(store),
        })
    })
}
