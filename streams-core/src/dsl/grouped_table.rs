//! `KGroupedTable`: a table grouped by another key, to be aggregated.

use super::builder::{add_source, store_definition};
use super::grouped_stream::{aggregating, beginning, reducing, reducing_optional};
use super::options::{History, Materialized, Named, ValueSerde};
use super::table::{Deletable, KTable, RowState, TableParts};
use super::table_store::store_getter;
use super::{GraphRef, stream_node};
use crate::operators::sink::{Sink, Target};
use crate::operators::table_aggregate::TableAggregate;
use crate::operators::table_repartition::{GroupChange, GroupChangeSerde};
use crate::operators::{Flush, Reached, StreamOperator};
use crate::serdes::BoxSerde;
use crate::stores::table_parts;
use crate::timestamp_extractor::FailOnInvalidTimestamp;
use crate::topology::build::Graph;
use crate::topology::{NodeId, OffsetReset, TopicName};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// A grouped table: made by [`KTable::group_by`].
///
/// A change of a row reaches the aggregate as a value to subtract and one to add. When both go to different groups, the
/// two are separate records, and for a moment only one of them has arrived.
pub struct KGroupedTable<K, V> {
    graph: GraphRef,
    node: NodeId,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    /// The base name given to the repartition topic.
    name: Option<String>,
    /// Sink and source of that topic, once there is one.
    repartitioned: Rc<Cell<Option<(NodeId, NodeId)>>>,
    /// The name of the next aggregation's node.
    function: Option<String>,
}

impl<K: 'static, V: 'static> KGroupedTable<K, V> {
    pub(crate) fn new(
        graph: GraphRef,
        node: NodeId,
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        name: Option<String>,
    ) -> Self {
        KGroupedTable {
            graph,
            node,
            key,
            value,
            name,
            repartitioned: Rc::default(),
            function: None,
        }
    }

    /// Names the node that the next aggregation of the returned handle adds; see
    /// [`KStream::named`](crate::KStream::named).
    pub fn named(&self, name: impl Into<Named>) -> Self {
        KGroupedTable {
            graph: self.graph.clone(),
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            name: self.name.clone(),
            repartitioned: self.repartitioned.clone(),
            function: Some(name.into().0),
        }
    }

    /// Counts the rows of each group; see [`KTable::group_by`] for an example.
    ///
    /// A group that loses its last row has the count 0. A row that leaves a group which has no count is a deletion.
    #[track_caller]
    pub fn count(&self) -> KTable<K, i64, Deletable> {
        self.count_with(Materialized::new())
    }

    /// As [`KGroupedTable::count`], with a say in how the counts are kept.
    #[track_caller]
    pub fn count_with<H: History>(
        &self,
        materialized: Materialized<impl ValueSerde<i64>, H>,
    ) -> KTable<K, i64, H::Rows<Deletable>> {
        self.add(
            |_, _, count| *count.get_or_insert(0) += 1,
            subtracting(|_: &K, _: &V, count: &mut i64| *count -= 1),
            materialized,
            "KTABLE-AGGREGATE-",
            Location::caller(),
        )
    }

    /// Combines the rows of each group into one value: `adder` for a value that enters, `subtractor` for one that leaves.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, i64>("pieces-in-store", Consumed::new(), Materialized::new())
    ///     .group_by(|_store, pieces| ("all".to_owned(), *pieces), Grouped::new())
    ///     .reduce(|sum, pieces| sum + pieces, |sum, pieces| sum - pieces)
    ///     .to_stream()
    ///     .to("pieces", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("pieces-in-store", Utf8, I64), driver.output("pieces", Utf8, Nullable(I64)));
    /// driver.pipe(&input, "berlin", &5)?;
    /// driver.pipe(&input, "mosbach", &2)?;
    /// driver.pipe(&input, "berlin", &1)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(5), Some(7), Some(3)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        adder: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        subtractor: impl Fn(&V, &V) -> V + Send + Sync + 'static,
    ) -> KTable<K, V, Deletable>
    where
        V: Clone,
    {
        let (value, materialized) = (self.value.clone(), Materialized::new());
        self.reduce_with(adder, subtractor, materialized.with_value(value))
    }

    /// As [`KGroupedTable::reduce`], with a say in how the results are kept.
    #[track_caller]
    pub fn reduce_with<H: History>(
        &self,
        adder: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        subtractor: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>, H>,
    ) -> KTable<K, V, H::Rows<Deletable>>
    where
        V: Clone,
    {
        self.add(
            reducing(adder),
            subtracting(move |_: &K, value: &V, reduced: &mut V| {
                *reduced = subtractor(reduced, value);
            }),
            materialized,
            "KTABLE-REDUCE-",
            Location::caller(),
        )
    }

    /// Folds the rows of each group into an aggregate, changed in place: `adder` for a value that enters, `subtractor` for
    /// one that leaves.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, f64>("balances", Consumed::new(), Materialized::new())
    ///     .group_by(|account, balance| (account[..2].to_owned(), *balance), Grouped::new())
    ///     .aggregate(
    ///         || 0.0,
    ///         |_bank, balance, sum| *sum += balance,
    ///         |_bank, balance, sum| *sum -= balance,
    ///         Materialized::new(),
    ///     )
    ///     .to_stream()
    ///     .to("balances-by-bank", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("balances", Utf8, F64), driver.output("balances-by-bank", Utf8, Nullable(F64)));
    /// driver.pipe(&input, "de-1", &10.0)?;
    /// driver.pipe(&input, "de-1", &7.5)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(10.0), Some(7.5)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: 'static, H: History>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        adder: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
        subtractor: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, H>,
    ) -> KTable<K, A, H::Rows<Deletable>> {
        self.add(
            aggregating(initializer, adder),
            subtracting(subtractor),
            materialized,
            "KTABLE-AGGREGATE-",
            Location::caller(),
        )
    }

    /// As [`KGroupedTable::reduce_with`], for results that may end: `None` of either closure deletes the row, and the next
    /// value begins anew.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, i64>("pieces-in-store", Consumed::new(), Materialized::new())
    ///     .group_by(|_store, pieces| ("all".to_owned(), *pieces), Grouped::new())
    ///     .reduce_optional(
    ///         |sum, pieces| Some(sum + pieces),
    ///         |sum, pieces| Some(sum - pieces).filter(|left| *left > 0),
    ///         Materialized::named("pieces"),
    ///     )
    ///     .to_stream()
    ///     .to("pieces", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("pieces-in-store", Utf8, Nullable(I64)), driver.output("pieces", Utf8, Nullable(I64)));
    /// driver.pipe(&input, "berlin", Some(5))?;
    /// driver.pipe(&input, "berlin", None)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(5), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_optional<H: History>(
        &self,
        adder: impl Fn(&V, &V) -> Option<V> + Send + Sync + 'static,
        subtractor: impl Fn(&V, &V) -> Option<V> + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>, H>,
    ) -> KTable<K, V, H::Rows<Deletable>>
    where
        V: Clone,
    {
        self.add(
            reducing_optional(adder),
            move |_: &K, value: &V, reduced: &mut Option<V>| {
                *reduced = reduced.take().and_then(|before| subtractor(&before, value));
            },
            materialized,
            "KTABLE-REDUCE-",
            Location::caller(),
        )
    }

    /// As [`KGroupedTable::aggregate`], for aggregates that may end: one set to `None` deletes the row. The next value that
    /// enters begins again with what `initializer` makes.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, String>("seats", Consumed::new(), Materialized::new())
    ///     .group_by(|seat, guest| (guest.clone(), seat.clone()), Grouped::new())
    ///     .aggregate_optional(
    ///         || Some(0),
    ///         |_guest, _seat, seats| *seats = seats.map(|seats: i64| seats + 1),
    ///         |_guest, _seat, seats| *seats = seats.map(|seats| seats - 1).filter(|seats| *seats > 0),
    ///         Materialized::named("seats-of-guests"),
    ///     )
    ///     .to_stream()
    ///     .to("seats-of-guests", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("seats", Utf8, Nullable(Utf8)), driver.output("seats-of-guests", Utf8, Nullable(I64)));
    /// driver.pipe(&input, "1a", Some("ann".to_owned()))?;
    /// driver.pipe(&input, "1a", None)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(1), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate_optional<A: 'static, H: History>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        adder: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        subtractor: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, H>,
    ) -> KTable<K, A, H::Rows<Deletable>> {
        self.add(
            beginning(Arc::new(initializer), adder),
            subtractor,
            materialized,
            "KTABLE-AGGREGATE-",
            Location::caller(),
        )
    }

    fn add<A: 'static, T: RowState>(
        &self,
        adder: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        subtractor: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>, impl Sized>,
        prefix: &str,
        location: &'static Location<'static>,
    ) -> KTable<K, A, T> {
        let mut graph = self.graph.borrow_mut();
        let queryable = materialized.name.as_deref().map(Arc::from);
        let store_name = match materialized.name {
            Some(name) => {
                graph.check_name(&name);
                name
            }
            // Java calls the store of a reduce so, too.
            None => graph.new_name("KTABLE-AGGREGATE-STATE-STORE-"),
        };
        let function = self.function.as_deref();
        let sink_name = graph.name_with_suffix_or(function, "-sink", "KSTREAM-SINK-");
        let source_name = graph.name_with_suffix_or(function, "-source", "KSTREAM-SOURCE-");
        let name = graph.name_or(self.function.as_deref(), prefix);
        let known = self.name.as_ref().and(self.repartitioned.get());
        let source = match known {
            // A topic that the user named serves all aggregations of this grouping.
            Some((sink, source)) => {
                graph.come_later(&[sink, source]);
                source
            }
            None => {
                let base = self.name.as_deref().unwrap_or(&store_name);
                self.repartition(&mut graph, base, (sink_name, source_name), location)
            }
        };
        let value = materialized.value.into_serde();
        let versioned = materialized.history.is_some();
        let definition = store_definition(
            store_name,
            table_parts(self.key.clone(), value.clone(), materialized.history),
            materialized.options,
            location,
        );
        let store = graph.add_store(definition, Rc::new(Cell::new(true)));
        let (adder, subtractor) = (Arc::new(adder), Arc::new(subtractor));
        let node = graph.add_processor(
            name,
            vec![source],
            stream_node::<K, GroupChange<V>>(move |scope, id| {
                let local = scope.local_store(store);
                let node = Rc::new(RefCell::new(TableAggregate {
                    adder: adder.clone(),
                    subtractor: subtractor.clone(),
                    store: local,
                    sends_old_values: scope.node(id).sends_old_values,
                    children: scope.table_children(id)?,
                }));
                scope
                    .flushes
                    .push((local, node.clone() as Rc<RefCell<dyn Flush>>));
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, GroupChange<V>>>)
            }),
            location,
        );
        graph.connect(node, store);
        graph.set_versioned(node, versioned);
        KTable::new(TableParts {
            graph: self.graph.clone(),
            node,
            key: self.key.clone(),
            value: Some(value),
            getter: store_getter(store, versioned),
            stores: Rc::new(move |_| vec![store]),
            old_values: Rc::new(move |graph, _| {
                graph.send_old_values(node);
                true
            }),
        })
        .queryable(queryable)
    }

    /// Adds sink and source of the topic the table is grouped by, and returns the source.
    fn repartition(
        &self,
        graph: &mut Graph,
        base: &str,
        (sink_name, source_name): (String, String),
        location: &'static Location<'static>,
    ) -> NodeId {
        let topic = TopicName::Internal(graph.internal_topic(base, None));
        let change: BoxSerde<GroupChange<V>> = Arc::new(GroupChangeSerde(self.value.clone()));
        let (key, value, target) = (self.key.clone(), change.clone(), topic.clone());
        let sink = graph.add_sink(
            sink_name,
            vec![self.node],
            Some(topic.clone()),
            stream_node::<K, GroupChange<V>>(move |scope, id| {
                Ok(Box::new(Sink {
                    name: scope.node(id).name.clone(),
                    target: Target::Topic(target.full_name(scope.application_id)),
                    key: key.clone(),
                    value: value.clone(),
                    partitioner: None,
                    partition_count: None,
                    exactly_one: false,
                    skip_null_keys: true,
                }))
            }),
            location,
        );
        let source = add_source(
            graph,
            source_name,
            vec![topic],
            self.key.clone(),
            change,
            Arc::new(FailOnInvalidTimestamp),
            Some(OffsetReset::Earliest),
            location,
        );
        self.repartitioned.set(Some((sink, source)));
        source
    }
}

/// A subtractor that never ends an aggregate; operators call it only where there is one.
fn subtracting<K, V, A>(
    subtractor: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
) -> impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static {
    move |key, value, aggregate| {
        if let Some(aggregate) = aggregate {
            subtractor(key, value, aggregate);
        }
    }
}
