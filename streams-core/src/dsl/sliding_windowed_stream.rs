//! `SlidingWindowedKStream`: a grouped stream over sliding windows.

use super::grouped_stream::{KGroupedStream, Prefixes, aggregating, reducing};
use super::options::{Materialized, Named, ValueSerde};
use super::sliding_windows::SlidingWindows;
use super::stream_node;
use super::table::{Deletable, KTable, Permanent, RowState, TableParts};
use super::windows::EmitStrategy;
use crate::error::Error;
use crate::operators::aggregate::Initial;
use crate::operators::sliding_aggregate::SlidingAggregate;
use crate::operators::table_getter::WindowStoreGetter;
use crate::operators::{Flush, Reached, StreamOperator};
use crate::serdes::{BoxSerde, DefaultSerde, TimeWindowed};
use crate::stores::{duration_ms, indexed_window_parts};
use crate::windowed::Windowed;
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{WindowOrder, WindowSpec};

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
        let grouped = &self.grouped;
        if self.windows.time_difference_ms() < 1 {
            grouped.graph.borrow_mut().fail(Error::topology(format!(
                "the time difference of the sliding windows at {location} is less than a millisecond"
            )));
        }
        let needed_ms = self.windows.needed_ms();
        let retention_ms = materialized.retention.map_or(needed_ms, duration_ms);
        if retention_ms < needed_ms {
            grouped.graph.borrow_mut().fail(Error::topology(format!(
                "the retention of {retention_ms} ms at {location} is shorter than twice the windows' time difference and their grace together, {needed_ms} ms"
            )));
        }
        let spec = WindowSpec {
            retention_ms: retention_ms.max(needed_ms),
            window_size_ms: self.windows.time_difference_ms(),
            retain_duplicates: false,
            order: match self.emit {
                EmitStrategy::OnWindowUpdate => WindowOrder::ByKey,
                EmitStrategy::OnWindowClose => WindowOrder::ByTime,
            },
        };
        let value = materialized.value.into_serde();
        let mut options = materialized.options;
        // What is found by time has to be in the store.
        options.cached &= self.emit == EmitStrategy::OnWindowUpdate;
        let aggregation = grouped.add_store(
            materialized.name,
            &prefixes,
            indexed_window_parts(grouped.key.clone(), value.clone(), spec),
            options,
            location,
        );
        let aggregator = Arc::new(aggregator);
        let (windows, emit, store) = (self.windows, self.emit, aggregation.store);
        let (store_name, row): (Arc<str>, _) = (aggregation.store_name.into(), value.clone());
        let node = grouped.graph.borrow_mut().add_processor(
            aggregation.name,
            vec![aggregation.parent],
            stream_node::<K, V>(move |scope, id| {
                let local = scope.local_store(store);
                let node = Rc::new(RefCell::new(SlidingAggregate {
                    windows,
                    emit,
                    aggregator: aggregator.clone(),
                    initial: initial.clone(),
                    value: row.clone(),
                    store: local,
                    store_name: store_name.clone(),
                    sends_old_values: scope.node(id).sends_old_values,
                    observed_ms: -1,
                    last_close_ms: None,
                    children: scope.table_children(id)?,
                }));
                scope
                    .flushes
                    .push((local, node.clone() as Rc<RefCell<dyn Flush>>));
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, V>>)
            }),
            location,
        );
        let mut graph = grouped.graph.borrow_mut();
        graph.connect(node, store);
        graph.set_grace(node, self.windows.grace_ms());
        drop(graph);
        let size = Duration::from_millis(self.windows.time_difference_ms().unsigned_abs());
        let key: BoxSerde<Windowed<K>> = Arc::new(TimeWindowed::new(grouped.key.clone(), size));
        KTable::new(TableParts {
            graph: grouped.graph.clone(),
            node,
            key,
            value: Some(value),
            getter: Arc::new(move |scope| {
                Box::new(WindowStoreGetter {
                    store: scope.local_store(store),
                })
            }),
            stores: Rc::new(move |_| vec![store]),
            old_values: Rc::new(move |graph, _| {
                graph.send_old_values(node);
                true
            }),
        })
    }
}
