//! `TimeWindowedKStream`: a grouped stream over windows of time.

use super::grouped_stream::{KGroupedStream, Prefixes, aggregating, reducing};
use super::options::{Materialized, Named, ValueSerde};
use super::stream_node;
use super::table::{KTable, Permanent, TableParts};
use super::windows::{EmitStrategy, TimeWindows};
use crate::operators::aggregate::Initial;
use crate::operators::table_getter::WindowStoreGetter;
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::{Flush, Reached, StreamOperator};
use crate::serdes::{BoxSerde, DefaultSerde, TimeWindowed};
use crate::stores::{duration_ms, window_parts};
use crate::windowed::Windowed;
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{WindowOrder, WindowSpec};

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

    fn add<A: 'static>(
        &self,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>>,
        prefixes: Prefixes,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, A, Permanent> {
        let grouped = &self.grouped;
        let needed_ms = self
            .windows
            .size_ms()
            .saturating_add(self.windows.grace_ms());
        let retention_ms = materialized.retention.map_or(needed_ms, duration_ms);
        if retention_ms < needed_ms {
            grouped.graph.borrow_mut().fail(crate::Error::topology(format!(
                "the retention of {retention_ms} ms at {location} is shorter than the windows' size and grace together, {needed_ms} ms"
            )));
        }
        let spec = WindowSpec {
            retention_ms: retention_ms.max(needed_ms),
            window_size_ms: self.windows.size_ms(),
            retain_duplicates: false,
            order: match self.emit {
                EmitStrategy::OnWindowUpdate => WindowOrder::ByKey,
                EmitStrategy::OnWindowClose => WindowOrder::ByTime,
            },
        };
        let value = materialized.value.into_serde();
        let aggregation = grouped.add_store(
            materialized.name,
            &prefixes,
            window_parts(grouped.key.clone(), value.clone(), spec, true),
            materialized.options,
            location,
        );
        let aggregator = Arc::new(aggregator);
        let (windows, emit, store) = (self.windows, self.emit, aggregation.store);
        let store_name: Arc<str> = aggregation.store_name.into();
        let node = grouped.graph.borrow_mut().add_processor(
            aggregation.name,
            vec![aggregation.parent],
            stream_node::<K, V>(move |scope, id| {
                let local = scope.local_store(store);
                let node = Rc::new(RefCell::new(WindowAggregate {
                    windows,
                    emit,
                    aggregator: aggregator.clone(),
                    initial: initial.clone(),
                    store: local,
                    store_name: store_name.clone(),
                    sends_old_values: scope.node(id).sends_old_values,
                    times: Default::default(),
                    children: scope.table_children(id)?,
                }));
                scope
                    .flushes
                    .push((local, node.clone() as Rc<RefCell<dyn Flush>>));
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, V>>)
            }),
            location,
        );
        grouped.graph.borrow_mut().connect(node, store);
        grouped
            .graph
            .borrow_mut()
            .set_grace(node, self.windows.grace_ms());
        let size = Duration::from_millis(self.windows.size_ms().unsigned_abs());
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
