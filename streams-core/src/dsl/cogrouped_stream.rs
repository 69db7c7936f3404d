//! `CogroupedKStream`: several grouped streams with one aggregate for each key.

use super::aggregation::{AggregateStore, Aggregating, add_node, add_store, store_name, table};
use super::cogrouped_windows::CogroupWindows;
use super::grouped_stream::{All, KGroupedStream, beginning};
use super::options::{History, Materialized, Named, ValueSerde};
use super::session_windowed_stream::OverSessions;
use super::sliding_windowed_stream::OverSliding;
use super::table::{Deletable, KTable, OldValuesWanted, Permanent, RowState};
use super::windowed_stream::OverTime;
use super::{GraphRef, table_node};
use crate::operators::aggregate::Initial;
use crate::operators::cogroup_merge::CogroupMerge;
use crate::serdes::BoxSerde;
use crate::topology::NodeId;
use crate::topology::build::Graph;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// Several grouped streams whose records are aggregated together, each stream by an aggregator of its own: made by
/// [`KGroupedStream::cogroup`].
///
/// The streams have keys of one type and their topics the same number of partitions (KIP-150). Results are sent on updates.
///
/// ```
/// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
/// # use streams_core::serdes::{I64, Utf8};
/// let builder = StreamsBuilder::new();
/// let clicks = builder.stream::<String, String>("clicks", Consumed::new()).group_by_key();
/// let payments = builder.stream::<String, i64>("payments", Consumed::new()).group_by_key();
/// clicks
///     .cogroup(|_user, _page, points: &mut i64| *points += 1)
///     .cogroup(&payments, |_user, cents, points| *points += cents / 10)
///     .aggregate(|| 0, Materialized::named("points"))
///     .to_stream()
///     .to("points", Produced::new());
/// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// # let (clicks, payments) = (driver.input("clicks", Utf8, Utf8), driver.input("payments", Utf8, I64));
/// # let output = driver.output("points", Utf8, I64);
/// driver.pipe(&clicks, "ann", "home")?;
/// driver.pipe(&payments, "ann", &500)?;
/// assert_eq!(driver.read_values(&output)?, [1, 51]);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct CogroupedKStream<K, A, T: RowState = Permanent> {
    graph: GraphRef,
    key: BoxSerde<K>,
    members: Vec<Rc<dyn Member<K, A>>>,
    name: Option<String>,
    rows: PhantomData<fn() -> T>,
}

impl<K, A, T: RowState> Clone for CogroupedKStream<K, A, T> {
    fn clone(&self) -> Self {
        CogroupedKStream {
            graph: self.graph.clone(),
            key: self.key.clone(),
            members: self.members.clone(),
            name: self.name.clone(),
            rows: PhantomData,
        }
    }
}

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// Begins to aggregate this stream together with others; see [`CogroupedKStream`].
    ///
    /// Without windows and over sliding windows Kafka Streams leaves records without a value out, which
    /// [`KGroupedStream::drop_null_values`] does here.
    pub fn cogroup<A: 'static>(
        &self,
        aggregator: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A, Permanent> {
        CogroupedKStream::<K, A, Permanent>::empty(self).cogroup(self, aggregator)
    }

    /// As [`KGroupedStream::cogroup`], for aggregates that may end: one set to `None` deletes its row.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let added = builder.stream::<String, i64>("added", Consumed::new()).group_by_key();
    /// let paid = builder.stream::<String, String>("paid", Consumed::new()).group_by_key();
    /// added
    ///     .cogroup_optional(|_user, pieces, cart: &mut Option<i64>| *cart = Some(cart.unwrap_or(0) + pieces))
    ///     .cogroup(&paid, |_user, _receipt, cart| *cart = None)
    ///     .aggregate(|| None, Materialized::named("carts"))
    ///     .to_stream()
    ///     .to("carts", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (added, paid) = (driver.input("added", Utf8, I64), driver.input("paid", Utf8, Utf8));
    /// # let output = driver.output("carts", Utf8, Nullable(I64));
    /// driver.pipe(&added, "ann", &2)?;
    /// driver.pipe(&paid, "ann", "receipt")?;
    /// assert_eq!(driver.read_values(&output)?, [Some(2), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn cogroup_optional<A: 'static>(
        &self,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A, Deletable> {
        CogroupedKStream::<K, A, Deletable>::empty(self).cogroup(self, aggregator)
    }
}

impl<K: 'static, A: 'static> CogroupedKStream<K, A, Permanent> {
    /// Aggregates another grouped stream as well. One that is in already gets this aggregator instead of its own.
    pub fn cogroup<V: 'static>(
        &self,
        grouped: &KGroupedStream<K, V>,
        aggregator: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
    ) -> Self {
        self.and(grouped, move |key, value, aggregate: &mut Option<A>| {
            // The operators begin with what the initializer makes, and here that is never nothing.
            if let Some(aggregate) = aggregate {
                aggregator(key, value, aggregate);
            }
        })
    }

    /// The table of what all streams' records of a key come to; a key's aggregate begins with what `initializer` makes.
    #[track_caller]
    pub fn aggregate<H: History>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, H>,
    ) -> KTable<K, A, H::Rows<Permanent>> {
        self.aggregated(
            Arc::new(move || Some(initializer())),
            materialized,
            Location::caller(),
        )
    }
}

impl<K: 'static, A: 'static> CogroupedKStream<K, A, Deletable> {
    /// Aggregates another grouped stream as well. One that is in already gets this aggregator instead of its own.
    pub fn cogroup<V: 'static>(
        &self,
        grouped: &KGroupedStream<K, V>,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    ) -> Self {
        self.and(grouped, aggregator)
    }

    /// The table of what all streams' records of a key come to; a key's aggregate begins with what `initializer` makes.
    #[track_caller]
    pub fn aggregate<H: History>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, H>,
    ) -> KTable<K, A, H::Rows<Deletable>> {
        self.aggregated(Arc::new(initializer), materialized, Location::caller())
    }
}

impl<K: 'static, A: 'static, T: RowState> CogroupedKStream<K, A, T> {
    fn empty<V>(first: &KGroupedStream<K, V>) -> Self {
        CogroupedKStream {
            graph: first.graph.clone(),
            key: first.key.clone(),
            members: Vec::new(),
            name: None,
            rows: PhantomData,
        }
    }

    /// Names the nodes that the next aggregation adds: `<name>-cogroup-agg-<number>` for each stream and
    /// `<name>-cogroup-merge`.
    pub fn named(&self, name: impl Into<Named>) -> Self {
        CogroupedKStream {
            name: Some(name.into().0),
            ..self.clone()
        }
    }

    /// Aggregates each key over windows, those of [`KGroupedStream::windowed_by`].
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, TimeWindowed, Utf8};
    ///
    /// let minute = Duration::from_secs(60);
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks", Consumed::new()).group_by_key();
    /// let payments = builder.stream::<String, i64>("payments", Consumed::new()).group_by_key();
    /// clicks
    ///     .cogroup(|_user, _page, points: &mut i64| *points += 1)
    ///     .cogroup(&payments, |_user, cents, points| *points += cents / 10)
    ///     .windowed_by(TimeWindows::of_size(minute))
    ///     .aggregate(|| 0, Materialized::named("points"))
    ///     .to_stream()
    ///     .to("points-per-minute", Produced::with(TimeWindowed::new(Utf8, minute), I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (clicks, payments) = (driver.input("clicks", Utf8, Utf8), driver.input("payments", Utf8, I64));
    /// # let output = driver.output("points-per-minute", TimeWindowed::new(Utf8, minute), I64);
    /// driver.pipe_at(&clicks, "ann", "home", 1_000)?;
    /// driver.pipe_at(&payments, "ann", &500, 2_000)?;
    /// driver.pipe_at(&payments, "ann", &500, 60_000)?;
    /// assert_eq!(driver.read_values(&output)?, [1, 51, 50]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn windowed_by<W: CogroupWindows<K, A, T>>(&self, windows: W) -> W::Windowed {
        windows.windowed(self.clone())
    }

    fn and<V: 'static>(
        &self,
        grouped: &KGroupedStream<K, V>,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    ) -> Self {
        let member = Rc::new(Grouped {
            grouped: grouped.clone(),
            aggregator: Arc::new(aggregator),
            lead_in: Cell::new(None),
        });
        let mut with = self.clone();
        match with
            .members
            .iter_mut()
            .find(|known| known.identity() == member.identity())
        {
            Some(known) => *known = member,
            None => with.members.push(member),
        }
        with
    }

    fn aggregated<H: History>(
        &self,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>, H>,
        location: &'static Location<'static>,
    ) -> KTable<K, A, H::Rows<T>> {
        let over = All {
            history: materialized.history.clone(),
        };
        self.add(
            over,
            |over| OverAll::Keys(over.clone()),
            initial,
            materialized,
            location,
        )
    }

    pub(crate) fn graph(&self) -> &GraphRef {
        &self.graph
    }

    /// Adds the store, an aggregation of each stream, and what puts their results together.
    pub(crate) fn add<O: Aggregating<K, A>, T2: RowState>(
        &self,
        over: O,
        erased: impl Fn(&O) -> OverAll<K, A>,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>, impl Sized>,
        location: &'static Location<'static>,
    ) -> KTable<O::Key, A, T2> {
        let queryable = materialized.name.as_deref().map(Arc::from);
        let mut graph = self.graph.borrow_mut();
        let store_name = store_name(&mut graph, materialized.name, STORE);
        let store = add_store(
            &mut graph,
            &over,
            self.key.clone(),
            materialized.value.into_serde(),
            (store_name.clone(), initial),
            materialized.options,
            location,
        );
        drop(graph);
        let parents: Vec<NodeId> = self
            .members
            .iter()
            .map(|member| member.lead_in(&store_name, location))
            .collect();
        let mut graph = self.graph.borrow_mut();
        graph.copartition(&parents);
        let name = self.name.as_deref();
        let mut nodes = Vec::new();
        for (number, (member, parent)) in self.members.iter().zip(parents).enumerate() {
            let suffix = format!("-cogroup-agg-{number}");
            let name = graph.name_with_suffix_or(name, &suffix, AGGREGATE);
            nodes.push(member.add(&mut graph, &erased(&over), parent, name, &store, location));
        }
        let merge_name = graph.name_with_suffix_or(name, "-cogroup-merge", MERGE);
        let merge = graph.add_processor(
            merge_name,
            nodes.clone(),
            table_node::<O::Key, A>(|scope, id| {
                Ok(Box::new(CogroupMerge {
                    children: scope.table_children(id)?,
                }))
            }),
            location,
        );
        over.describe(&mut graph, merge);
        drop(graph);
        nodes.push(merge);
        let old_values: OldValuesWanted = Rc::new(move |graph, _| {
            for node in &nodes {
                graph.send_old_values(*node);
            }
            true
        });
        table(
            &self.graph,
            &over,
            self.key.clone(),
            store,
            merge,
            old_values,
        )
        .queryable(queryable)
    }
}

const STORE: &str = "COGROUPKSTREAM-AGGREGATE-STATE-STORE-";
const AGGREGATE: &str = "COGROUPKSTREAM-AGGREGATE-";
const MERGE: &str = "COGROUPKSTREAM-MERGE-";

/// Makes one aggregate of two sessions'.
pub(crate) type Merger<K, A> = dyn Fn(&K, &mut Option<A>, &A) + Send + Sync;

/// What cogrouped streams are aggregated over.
pub(crate) enum OverAll<K, A> {
    Keys(All),
    Time(OverTime),
    Sliding(OverSliding),
    Sessions(OverSessions<Box<Merger<K, A>>>),
}

/// One of the streams, whatever its values are.
pub(crate) trait Member<K, A> {
    /// Two handles of one grouped stream have the same.
    fn identity(&self) -> *const ();

    fn lead_in(&self, base: &str, location: &'static Location<'static>) -> NodeId;

    fn add(
        &self,
        graph: &mut Graph,
        over: &OverAll<K, A>,
        parent: NodeId,
        name: String,
        store: &AggregateStore<A>,
        location: &'static Location<'static>,
    ) -> NodeId;
}

struct Grouped<K, V, F> {
    grouped: KGroupedStream<K, V>,
    aggregator: Arc<F>,
    /// All aggregations of one cogrouped stream share its repartition topics, as in Kafka Streams.
    lead_in: Cell<Option<NodeId>>,
}

impl<K, V, A, F> Member<K, A> for Grouped<K, V, F>
where
    K: 'static,
    V: 'static,
    A: 'static,
    F: Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
{
    fn identity(&self) -> *const () {
        self.grouped.identity()
    }

    fn lead_in(&self, base: &str, location: &'static Location<'static>) -> NodeId {
        if let Some(parent) = self.lead_in.get() {
            if self.grouped.regroup.is_some() {
                let mut graph = self.grouped.graph.borrow_mut();
                for source in graph.sources_of(parent) {
                    graph.repeat_repartition(source);
                }
            }
            return parent;
        }
        let parent = self.grouped.lead_in(base, location);
        self.lead_in.set(Some(parent));
        parent
    }

    fn add(
        &self,
        graph: &mut Graph,
        over: &OverAll<K, A>,
        parent: NodeId,
        name: String,
        store: &AggregateStore<A>,
        location: &'static Location<'static>,
    ) -> NodeId {
        let aggregator = self.aggregator.clone();
        // These operators leave it to the aggregator to begin.
        let begins = {
            let aggregator = aggregator.clone();
            Arc::new(beginning(
                store.initial.clone(),
                move |key: &K, value: &V, aggregate: &mut Option<A>| {
                    aggregator(key, value, aggregate);
                },
            ))
        };
        match over {
            OverAll::Keys(over) => add_node(graph, over, parent, name, store, begins, location),
            OverAll::Time(over) => add_node(graph, over, parent, name, store, begins, location),
            OverAll::Sliding(over) => {
                add_node(graph, over, parent, name, store, aggregator, location)
            }
            OverAll::Sessions(over) => {
                add_node(graph, over, parent, name, store, aggregator, location)
            }
        }
    }
}
