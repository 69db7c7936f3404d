//! `KGroupedStream`: a stream grouped by key, to be aggregated.

use super::aggregation::{Aggregating, Place, aggregate};
use super::drop_nulls::present;
use super::options::{History, Materialized, Named, ValueSerde};
use super::repartition::{RepartitionParts, add_repartition};
use super::table::{Deletable, GetterFactory, KTable, Permanent, RowState};
use super::table_store::store_getter;
use super::windowed_by::Windows;
use super::{GraphRef, stream_node};
use crate::operators::aggregate::{Aggregate, Initial};
use crate::operators::present::PresentValues;
use crate::operators::{Flush, StreamOperator};
use crate::serdes::{BoxSerde, Nullable};
use crate::stores::{StoreParts, table_parts};
use crate::topology::NodeId;
use crate::topology::build::Graph;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::VersionedSpec;

/// A grouped stream: made by [`KStream::group_by_key`](crate::KStream::group_by_key) and
/// [`KStream::group_by`](crate::KStream::group_by).
///
pub struct KGroupedStream<K, V> {
    pub(crate) graph: GraphRef,
    pub(crate) node: NodeId,
    pub(crate) key: BoxSerde<K>,
    pub(crate) regroup: Option<Regroup<V>>,
    /// Whether the records before the aggregation still are of `Option<V>`.
    pub(crate) drops_null_values: bool,
    /// The source of the repartition topic, once there is one.
    repartition_source: Rc<Cell<Option<NodeId>>>,
    /// The name of the next aggregation's node.
    pub(crate) name: Option<String>,
}

/// The repartition topic a grouping needs.
pub(crate) struct Regroup<V> {
    pub(crate) value: BoxSerde<V>,
    pub(crate) name: Option<String>,
}

impl<V> Clone for Regroup<V> {
    fn clone(&self) -> Self {
        Regroup {
            value: self.value.clone(),
            name: self.name.clone(),
        }
    }
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        KGroupedStream {
            graph: self.graph.clone(),
            node: self.node,
            key: self.key.clone(),
            regroup: self.regroup.clone(),
            drops_null_values: self.drops_null_values,
            repartition_source: self.repartition_source.clone(),
            name: self.name.clone(),
        }
    }
}

/// What the names of an aggregation begin with.
pub(crate) struct Prefixes {
    pub(crate) store: &'static str,
    pub(crate) node: &'static str,
}

const AGGREGATE: Prefixes = Prefixes {
    store: "KSTREAM-AGGREGATE-STATE-STORE-",
    node: "KSTREAM-AGGREGATE-",
};

const REDUCE: Prefixes = Prefixes {
    store: "KSTREAM-REDUCE-STATE-STORE-",
    node: "KSTREAM-REDUCE-",
};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    pub(crate) fn new(
        graph: GraphRef,
        node: NodeId,
        key: BoxSerde<K>,
        regroup: Option<Regroup<V>>,
    ) -> Self {
        KGroupedStream {
            graph,
            node,
            key,
            regroup,
            drops_null_values: false,
            repartition_source: Rc::default(),
            name: None,
        }
    }

    /// Names the node that the next aggregation of the returned handle adds; see
    /// [`KStream::named`](crate::KStream::named).
    ///
    /// ```
    /// use streams_core::{Consumed, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks", Consumed::new());
    /// clicks.group_by_key().named("count-clicks").count();
    /// assert!(builder.build()?.describe().contains("Processor: count-clicks"));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn named(&self, name: impl Into<Named>) -> Self {
        KGroupedStream {
            name: Some(name.into().0),
            ..self.clone()
        }
    }

    /// Counts the records of each key.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .count()
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("clicks", Utf8, Utf8), driver.output("clicks-per-user", Utf8, I64));
    /// driver.pipe(&input, "ann", "home")?;
    /// driver.pipe(&input, "bob", "home")?;
    /// driver.pipe(&input, "ann", "cart")?;
    /// assert_eq!(driver.read_map(&output)?["ann"], 2);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn count(&self) -> KTable<K, i64, Permanent> {
        self.counted(Materialized::new(), Location::caller())
    }

    /// As [`KGroupedStream::count`], with a say in how the counts are kept.
    #[track_caller]
    pub fn count_with<H: History>(
        &self,
        materialized: Materialized<impl ValueSerde<i64>, H>,
    ) -> KTable<K, i64, H::Rows<Permanent>> {
        self.burn_index_for(&materialized);
        self.counted(materialized, Location::caller())
    }

    /// Java makes a name for an unnamed store of a count twice, and keeps doing so for the sake of existing topologies.
    pub(crate) fn burn_index_for<S, H>(&self, materialized: &Materialized<S, H>) {
        if materialized.name.is_none() {
            self.graph.borrow_mut().burn_index();
        }
    }

    fn counted<H: History>(
        &self,
        materialized: Materialized<impl ValueSerde<i64>, H>,
        location: &'static Location<'static>,
    ) -> KTable<K, i64, H::Rows<Permanent>> {
        self.add(
            |_, _, count| *count.get_or_insert(0) += 1,
            Arc::new(|| Some(0)),
            materialized,
            AGGREGATE,
            location,
        )
    }

    /// Combines the values of each key into one, two at a time; the first value is taken as it is.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("temperatures", Consumed::new())
    ///     .group_by_key()
    ///     .reduce(|highest, temperature| highest.max(*temperature))
    ///     .to_stream()
    ///     .to("highest", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("temperatures", Utf8, F64), driver.output("highest", Utf8, F64));
    /// for degrees in [9.0, 21.5, 14.0] {
    ///     driver.pipe(&input, "mosbach", &degrees)?;
    /// }
    /// assert_eq!(driver.read_values(&output)?, [9.0, 21.5, 21.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
    ) -> KTable<K, V, Permanent>
    where
        V: Clone + crate::serdes::DefaultSerde,
    {
        self.reduce_with(reducer, Materialized::new())
    }

    /// As [`KGroupedStream::reduce`], with a say in how the results are kept.
    #[track_caller]
    pub fn reduce_with<H: History>(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>, H>,
    ) -> KTable<K, V, H::Rows<Permanent>>
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

    /// As [`KGroupedStream::reduce_with`], for results that may end: a reducer that returns `None` deletes the row, and the next
    /// value begins anew.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, i64>("cart-changes", Consumed::new())
    ///     .group_by_key()
    ///     .reduce_optional(
    ///         |cart, pieces| Some(cart + pieces).filter(|pieces| *pieces > 0),
    ///         Materialized::named("carts"),
    ///     )
    ///     .to_stream()
    ///     .to("carts", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("cart-changes", Utf8, I64), driver.output("carts", Utf8, Nullable(I64)));
    /// driver.pipe(&input, "ann", &2)?;
    /// driver.pipe(&input, "ann", &-2)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(2), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_optional<H: History>(
        &self,
        reducer: impl Fn(&V, &V) -> Option<V> + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>, H>,
    ) -> KTable<K, V, H::Rows<Deletable>>
    where
        V: Clone,
    {
        self.add(
            reducing_optional(reducer),
            Arc::new(|| None),
            materialized,
            REDUCE,
            Location::caller(),
        )
    }

    /// Folds the values of each key into an aggregate, changed in place.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Json, Utf8};
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// struct Mean {
    ///     sum: f64,
    ///     count: u64,
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("temperatures", Consumed::new())
    ///     .group_by_key()
    ///     .aggregate(
    ///         Mean::default,
    ///         |_city, degrees, mean| {
    ///             mean.sum += degrees;
    ///             mean.count += 1;
    ///         },
    ///         Materialized::named("means").with_value(Json),
    ///     )
    ///     .to_stream()
    ///     .map_values(|mean| mean.sum / mean.count as f64)
    ///     .to("mean-temperatures", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("temperatures", Utf8, F64), driver.output("mean-temperatures", Utf8, F64));
    /// driver.pipe(&input, "mosbach", &9.0)?;
    /// driver.pipe(&input, "mosbach", &10.0)?;
    /// assert_eq!(driver.read_values(&output)?, [9.0, 9.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: 'static, H: History>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, H>,
    ) -> KTable<K, A, H::Rows<Permanent>> {
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

    /// As [`KGroupedStream::aggregate`], for aggregates that may end: one set to `None` deletes the row. The next value begins again with what
    /// `initializer` makes.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, i64>("cart-changes", Consumed::new())
    ///     .group_by_key()
    ///     .aggregate_optional(
    ///         || None,
    ///         |_user, pieces, cart: &mut Option<i64>| {
    ///             let pieces = cart.unwrap_or(0) + pieces;
    ///             *cart = (pieces > 0).then_some(pieces);
    ///         },
    ///         Materialized::named("carts"),
    ///     )
    ///     .to_stream()
    ///     .to("carts", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("cart-changes", Utf8, I64), driver.output("carts", Utf8, Nullable(I64)));
    /// driver.pipe(&input, "ann", &2)?;
    /// driver.pipe(&input, "ann", &-2)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(2), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate_optional<A: 'static, H: History>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, H>,
    ) -> KTable<K, A, H::Rows<Deletable>> {
        let initial: Initial<A> = Arc::new(initializer);
        self.add(
            beginning(initial.clone(), aggregator),
            initial,
            materialized,
            AGGREGATE,
            Location::caller(),
        )
    }

    /// Aggregates each key over windows: [`TimeWindows`](crate::TimeWindows), [`SlidingWindows`](crate::SlidingWindows),
    /// [`SessionWindows`](crate::SessionWindows) or [`UnlimitedWindows`](crate::UnlimitedWindows).
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, TimeWindowed, Utf8};
    ///
    /// let minute = Duration::from_secs(60);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size(minute))
    ///     .count()
    ///     .to_stream()
    ///     .to("clicks-per-minute", Produced::with(TimeWindowed::new(Utf8, minute), I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("clicks", Utf8, Utf8);
    /// # let output = driver.output("clicks-per-minute", TimeWindowed::new(Utf8, minute), I64);
    /// driver.pipe_at(&input, "ann", "home", 59_999)?;
    /// driver.pipe_at(&input, "ann", "cart", 60_000)?;
    /// let counts = driver.read_key_values(&output)?;
    /// assert_eq!((counts[1].0.window.start_ms, counts[1].1), (60_000, 1));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn windowed_by<W: Windows<K, V>>(&self, windows: W) -> W::Windowed {
        windows.windowed(self.clone())
    }

    /// Adds store and aggregation, with a repartition topic in front when one is needed.
    fn add<A: 'static, T: RowState>(
        &self,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>, impl Sized>,
        prefixes: Prefixes,
        location: &'static Location<'static>,
    ) -> KTable<K, A, T> {
        let over = All {
            history: materialized.history.clone(),
        };
        aggregate(
            self,
            &over,
            aggregator,
            initial,
            materialized,
            &prefixes,
            location,
        )
    }

    /// The same for all handles of one grouping.
    pub(crate) fn identity(&self) -> *const () {
        Rc::as_ptr(&self.repartition_source).cast()
    }

    /// The node to aggregate behind: that of the stream, or the source of a repartition topic named after the grouping or
    /// else `base`.
    pub(crate) fn lead_in(&self, base: &str, location: &'static Location<'static>) -> NodeId {
        if !self.drops_null_values {
            return self.repartitioned(base, BoxSerde::clone, location);
        }
        // Nulls travel through the topic, as in Kafka Streams, and are dropped behind it.
        let parent = self.repartitioned::<Option<V>>(
            base,
            |value| Arc::new(Nullable(value.clone())),
            location,
        );
        self.graph.borrow_mut().add_hidden(
            parent,
            stream_node::<K, Option<V>>(|scope, id| {
                Ok(Box::new(PresentValues {
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        )
    }

    fn repartitioned<V2: 'static>(
        &self,
        base: &str,
        serde: impl Fn(&BoxSerde<V>) -> BoxSerde<V2>,
        location: &'static Location<'static>,
    ) -> NodeId {
        let Some(regroup) = &self.regroup else {
            return self.node;
        };
        // A topic that the user named serves all aggregations of a grouping.
        if let (Some(_), Some(source)) = (&regroup.name, self.repartition_source.get()) {
            self.graph.borrow_mut().repeat_repartition(source);
            return source;
        }
        let source = add_repartition(
            &self.graph,
            self.node,
            regroup.name.as_deref().unwrap_or(base),
            RepartitionParts {
                key: self.key.clone(),
                value: serde(&regroup.value),
                partition_count: None,
                partitioner: None,
            },
            location,
        );
        self.repartition_source.set(Some(source));
        source
    }
}

impl<K: 'static, V: 'static> KGroupedStream<K, Option<V>> {
    /// Leaves out records without a value and counts them, as Kafka Streams does in aggregations without windows and over
    /// sliding windows. They are dropped where they are aggregated, behind a repartition topic if there is one.
    ///
    /// It adds no node to the topology: numbers and names of what follows stay those of Kafka Streams.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("payments", Consumed::with(Utf8, Nullable(I64)))
    ///     .group_by(|user, _| user.clone(), Grouped::with(Utf8, Nullable(I64)))
    ///     .drop_null_values()
    ///     .reduce(|sum, cents| sum + cents)
    ///     .to_stream()
    ///     .to("sums", Produced::with(Utf8, I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("payments", Utf8, Nullable(I64));
    /// # let output = driver.output("sums", Utf8, I64);
    /// driver.pipe(&input, "ann", Some(100))?;
    /// driver.pipe(&input, "ann", None)?;
    /// assert_eq!(driver.read_values(&output)?, [100]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn drop_null_values(&self) -> KGroupedStream<K, V> {
        let location = Location::caller();
        let regroup = self.regroup.as_ref().map(|regroup| Regroup {
            value: present(
                &mut self.graph.borrow_mut(),
                regroup.value.clone(),
                location,
            ),
            name: regroup.name.clone(),
        });
        KGroupedStream {
            graph: self.graph.clone(),
            node: self.node,
            key: self.key.clone(),
            regroup,
            drops_null_values: true,
            repartition_source: self.repartition_source.clone(),
            name: self.name.clone(),
        }
    }
}

/// Aggregates everything of a key.
#[derive(Clone)]
pub(crate) struct All {
    pub(crate) history: Option<VersionedSpec>,
}

impl<K: 'static, A: 'static> Aggregating<K, A> for All {
    type Key = K;

    fn store(&self, key: BoxSerde<K>, value: BoxSerde<A>) -> StoreParts {
        table_parts(key, value, self.history.clone())
    }

    fn operator<V, F>(
        &self,
        aggregator: Arc<F>,
        place: Place<K, A>,
    ) -> impl StreamOperator<K, V> + Flush + 'static
    where
        V: 'static,
        F: Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    {
        Aggregate {
            aggregator,
            initial: place.initial,
            store: place.store,
            sends_old_values: place.sends_old_values,
            children: place.children,
        }
    }

    fn table_key(&self, key: BoxSerde<K>) -> BoxSerde<K> {
        key
    }

    fn getter(&self, store: usize) -> GetterFactory<K, A> {
        store_getter(store, self.history.is_some())
    }

    fn describe(&self, graph: &mut Graph, node: NodeId) {
        graph.set_versioned(node, self.history.is_some());
    }
}

/// A reducer as the operators take it.
pub(crate) fn reducing<K, V: Clone>(
    reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut Option<V>) + Send + Sync + 'static {
    move |_, value, reduced| {
        *reduced = Some(match reduced {
            None => value.clone(),
            Some(before) => reducer(before, value),
        });
    }
}

/// A reducer whose results may end, as the operators take it.
pub(crate) fn reducing_optional<K, V: Clone>(
    reducer: impl Fn(&V, &V) -> Option<V> + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut Option<V>) + Send + Sync + 'static {
    move |_, value, reduced| {
        *reduced = match reduced {
            None => Some(value.clone()),
            Some(before) => reducer(before, value),
        };
    }
}

/// Initializer and aggregator as the operators take them.
pub(crate) fn aggregating<K, V, A>(
    initializer: impl Fn() -> A + Send + Sync + 'static,
    aggregator: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static {
    move |key, value, aggregate| {
        aggregator(key, value, aggregate.get_or_insert_with(&initializer));
    }
}

/// An aggregator whose aggregates may end, and begin with what an initializer makes.
pub(crate) fn beginning<K, V, A: 'static>(
    initial: Initial<A>,
    aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static {
    move |key, value, aggregate| {
        if aggregate.is_none() {
            *aggregate = initial();
        }
        aggregator(key, value, aggregate);
    }
}
