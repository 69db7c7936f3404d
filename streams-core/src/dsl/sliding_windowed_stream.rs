//! `SlidingWindowedKStream`: a grouped stream over sliding windows.

use super::aggregation::{Aggregating, Place, aggregate};
use super::grouped_stream::{KGroupedStream, Prefixes, aggregating, reducing};
use super::options::{Materialized, Named, ValueSerde};
use super::sliding_windows::SlidingWindows;
use super::table::{Deletable, GetterFactory, KTable, Permanent, RowState};
use super::windowed_stream::window_getter;
use super::windows::EmitStrategy;
use crate::error::Error;
use crate::operators::aggregate::Initial;
use crate::operators::sliding_aggregate::SlidingAggregate;
use crate::operators::{Flush, StreamOperator};
use crate::serdes::{BoxSerde, DefaultSerde, TimeWindowed};
use crate::stores::{StoreOptions, StoreParts, duration_ms, indexed_window_parts};
use crate::topology::NodeId;
use crate::topology::build::Graph;
use crate::windowed::Windowed;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use streams_state::WindowSpec;

/// A grouped stream over sliding windows: made by [`KGroupedStream::windowed_by`].
///
/// A record later than its windows' grace is dropped and counted. Kafka Streams also drops records without a value, which
/// [`KGroupedStream::drop_null_values`] does here.
pub struct SlidingWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SlidingWindows,
    emit: EmitStrategy,
}

impl<K, V> Clone for SlidingWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        SlidingWindowedKStream {
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

impl<K: 'static, V: 'static> SlidingWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: SlidingWindows) -> Self {
        SlidingWindowedKStream {
            grouped,
            windows,
            emit: EmitStrategy::OnWindowUpdate,
        }
    }

    /// When results are forwarded; see [`TimeWindowedKStream::emit_strategy`](crate::TimeWindowedKStream::emit_strategy).
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        self.emit = emit;
        self
    }

    /// Names the node that the next aggregation adds; see [`KStream::named`](crate::KStream::named).
    pub fn named(&self, name: impl Into<Named>) -> Self {
        SlidingWindowedKStream {
            grouped: self.grouped.named(name),
            ..self.clone()
        }
    }

    /// Counts the records of each key and window.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Produced, SlidingWindows, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, TimeWindowed, Utf8};
    ///
    /// let ten = Duration::from_millis(10);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("logins", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(SlidingWindows::of_time_difference(ten))
    ///     .count()
    ///     .to_stream()
    ///     .to("logins-at-once", Produced::with(TimeWindowed::new(Utf8, ten), I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("logins", Utf8, Utf8);
    /// # let output = driver.output("logins-at-once", TimeWindowed::new(Utf8, ten), I64);
    /// driver.pipe_at(&input, "ann", "here", 100)?;
    /// driver.pipe_at(&input, "ann", "there", 107)?;
    /// let counts: Vec<_> = driver
    ///     .read_key_values(&output)?
    ///     .into_iter()
    ///     .map(|(key, logins)| (key.window.start_ms, key.window.end_ms, logins))
    ///     .collect();
    /// assert_eq!(counts, [(90, 100, 1), (101, 111, 1), (97, 107, 2)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn count(&self) -> KTable<Windowed<K>, i64, Permanent> {
        self.counted(Materialized::new(), Location::caller())
    }

    /// As [`SlidingWindowedKStream::count`], with a say in how the counts are kept.
    #[track_caller]
    pub fn count_with(
        &self,
        materialized: Materialized<impl ValueSerde<i64>>,
    ) -> KTable<Windowed<K>, i64, Permanent> {
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

    /// As [`SlidingWindowedKStream::reduce`], with a say in how the results are kept.
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

    /// Folds the values of each key and window into an aggregate, changed in place. A window that begins with the records of
    /// another one begins with a copy of its aggregate.
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

    /// As [`SlidingWindowedKStream::aggregate`], for aggregates that may end: one set to `None` deletes its window.
    #[track_caller]
    pub fn aggregate_optional<A: 'static>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        self.add(
            aggregator,
            Arc::new(initializer),
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
        let over = OverSliding::new(
            self.windows,
            self.emit,
            materialized.retention,
            &mut self.grouped.graph.borrow_mut(),
            location,
        );
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

/// Aggregates the values of each sliding window.
#[derive(Clone, Copy)]
pub(crate) struct OverSliding {
    windows: SlidingWindows,
    emit: EmitStrategy,
    retention_ms: i64,
}

impl OverSliding {
    pub(crate) fn new(
        windows: SlidingWindows,
        emit: EmitStrategy,
        retention: Option<Duration>,
        graph: &mut Graph,
        location: &'static Location<'static>,
    ) -> Self {
        if windows.time_difference_ms() < 1 {
            graph.fail(Error::topology(format!(
                "the time difference of the sliding windows at {location} is less than a millisecond"
            )));
        }
        let needed_ms = windows.needed_ms();
        let retention_ms = retention.map_or(needed_ms, duration_ms);
        if retention_ms < needed_ms {
            graph.fail(Error::topology(format!(
                "the retention of {retention_ms} ms at {location} is shorter than twice the windows' time difference and their grace together, {needed_ms} ms"
            )));
        }
        OverSliding {
            windows,
            emit,
            retention_ms: retention_ms.max(needed_ms),
        }
    }
}

impl<K: 'static, A: 'static> Aggregating<K, A> for OverSliding {
    type Key = Windowed<K>;

    fn store(&self, key: BoxSerde<K>, value: BoxSerde<A>) -> StoreParts {
        let spec = WindowSpec {
            retention_ms: self.retention_ms,
            window_size_ms: self.windows.time_difference_ms(),
            retain_duplicates: false,
            order: self.emit.store_order(),
        };
        indexed_window_parts(key, value, spec)
    }

    fn options(&self, mut wanted: StoreOptions) -> StoreOptions {
        // What is found by time has to be in the store.
        wanted.cached &= self.emit == EmitStrategy::OnWindowUpdate;
        wanted
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
        SlidingAggregate {
            windows: self.windows,
            emit: self.emit,
            aggregator,
            initial: place.initial,
            store: place.store,
            store_name: place.store_name,
            sends_old_values: place.sends_old_values,
            observed_ms: -1,
            last_close_ms: None,
            found: Vec::new(),
            written: Vec::new(),
            children: place.children,
        }
    }

    fn table_key(&self, key: BoxSerde<K>) -> BoxSerde<Windowed<K>> {
        let size = Duration::from_millis(self.windows.time_difference_ms().unsigned_abs());
        Arc::new(TimeWindowed::new(key, size))
    }

    fn getter(&self, store: usize) -> GetterFactory<Windowed<K>, A> {
        window_getter(store)
    }

    fn describe(&self, graph: &mut Graph, node: NodeId) {
        graph.set_grace(node, self.windows.grace_ms());
    }
}
