//! `KTable`: a table of rows and its verbs, but for the joins.

use super::builder::store_definition;
use super::grouped_table::KGroupedTable;
use super::options::{Grouped, History, Materialized, Named, ValueSerde};
use super::table_store::{ResultStore, result_children, store_getter};
use super::{GraphRef, table_node};
use crate::operators::table_filter::TableFilter;
use crate::operators::table_getter::{FilterGetter, MapValuesGetter, TableGetter};
use crate::operators::table_map_values::TableMapValues;
use crate::operators::table_repartition::TableRepartition;
use crate::serdes::BoxSerde;
use crate::stores::table_parts;
use crate::topology::build::Graph;
use crate::topology::{NodeId, Scope};
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// Rows of the table can be deleted: its stream has `Option` values, a deletion being `None`.
#[derive(Clone, Copy, Debug)]
pub enum Deletable {}

/// Rows of the table only change: its stream has plain values.
#[derive(Clone, Copy, Debug)]
pub enum Permanent {}

/// The table remembers earlier versions of its rows for a while (KIP-889). Rows can be deleted, as in a [`Deletable`] table.
///
/// A stream joined with it meets the version that was valid at the record's own time. Changes that arrive out of order are
/// forwarded as they come, but aggregations and table-table joins leave them out, so that their results are those of the
/// latest versions (KIP-914). Tables that are filtered or mapped without a store of their own stay versioned.
#[derive(Clone, Copy, Debug)]
pub enum Versioned {}

/// [`Deletable`], [`Permanent`] or [`Versioned`].
pub trait RowState: sealed::Sealed + 'static {
    /// What the table is once rows have been filtered out of it.
    type Filtered: RowState;
    /// What a table computed from it is in a store of its own that keeps no history.
    type Stored: RowState;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Deletable {}
    impl Sealed for super::Permanent {}
    impl Sealed for super::Versioned {}
}

impl RowState for Deletable {
    type Filtered = Deletable;
    type Stored = Deletable;
}

impl RowState for Permanent {
    type Filtered = Deletable;
    type Stored = Permanent;
}

impl RowState for Versioned {
    type Filtered = Versioned;
    type Stored = Deletable;
}

/// A table whose changes can be held back: any but a [`Versioned`] one, as Kafka Streams has it.
#[diagnostic::on_unimplemented(
    message = "a versioned table cannot be suppressed",
    label = "this table remembers earlier versions of its rows",
    note = "keep it in a store without history: `Materialized::named(..)` instead of `Materialized::versioned(..)`, also on a `filter_with` or `map_values_with` in between"
)]
pub trait Suppressible: RowState {}

impl Suppressible for Deletable {}
impl Suppressible for Permanent {}

/// How a row is looked up in a task.
pub(crate) type GetterFactory<K, V> =
    Arc<dyn Fn(&mut Scope<'_>) -> Box<dyn TableGetter<K, V>> + Send + Sync>;

/// Makes sure that a table's rows can be looked up, and tells in which stores.
pub(crate) type StoresWanted = Rc<dyn Fn(&mut Graph) -> Vec<usize>>;

/// Asks a table to send old values; `true` forces it to keep a store for that. Returns whether it does.
pub(crate) type OldValuesWanted = Rc<dyn Fn(&mut Graph, bool) -> bool>;

/// What a table handle consists of.
pub(crate) struct TableParts<K, V> {
    pub(crate) graph: GraphRef,
    pub(crate) node: NodeId,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: Option<BoxSerde<V>>,
    pub(crate) getter: GetterFactory<K, V>,
    pub(crate) stores: StoresWanted,
    pub(crate) old_values: OldValuesWanted,
}

impl<K, V> Clone for TableParts<K, V> {
    fn clone(&self) -> Self {
        TableParts {
            graph: self.graph.clone(),
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            getter: self.getter.clone(),
            stores: self.stores.clone(),
            old_values: self.old_values.clone(),
        }
    }
}

/// A table: the latest row of each key, and its changes.
///
/// `T` tells whether rows can be deleted ([`Deletable`]), only change ([`Permanent`]), or are remembered ([`Versioned`]).
///
/// Made by [`StreamsBuilder::table`](crate::StreamsBuilder::table), by aggregations and by
/// [`KStream::to_table`](crate::KStream::to_table).
pub struct KTable<K, V, T = Deletable> {
    pub(crate) parts: TableParts<K, V>,
    name: Option<String>,
    queryable: Option<Arc<str>>,
    state: PhantomData<fn() -> T>,
}

impl<K, V, T> Clone for KTable<K, V, T> {
    fn clone(&self) -> Self {
        KTable {
            parts: self.parts.clone(),
            name: self.name.clone(),
            queryable: self.queryable.clone(),
            state: PhantomData,
        }
    }
}

impl<K, V, T> KTable<K, V, T> {
    pub(crate) fn new(parts: TableParts<K, V>) -> Self {
        KTable {
            parts,
            name: None,
            queryable: None,
            state: PhantomData,
        }
    }

    /// The same table, whose rows can be asked for by the name of its store.
    pub(crate) fn queryable(self, store: Option<Arc<str>>) -> Self {
        KTable {
            queryable: store,
            ..self
        }
    }

    pub(crate) fn given_name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl<K: 'static, V: 'static, T: RowState> KTable<K, V, T> {
    /// Names the node that the next call on the returned handle adds; see [`KStream::named`](crate::KStream::named).
    pub fn named(&self, name: impl Into<Named>) -> Self {
        KTable {
            name: Some(name.into().0),
            ..self.clone()
        }
    }

    /// What the store of its rows is called, if they are kept in one that was named: with `Materialized`, or for a join also
    /// when the name was generated. What it is asked for later by that name are the rows of this very table; a table that is
    /// only computed on the way has none.
    ///
    /// `KTable#queryableStoreName`.
    ///
    /// ```
    /// use streams_core::{Consumed, Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock", Consumed::new(), Materialized::named("pieces"));
    /// assert_eq!(stock.queryable_store_name(), Some("pieces"));
    /// assert_eq!(stock.filter(|_, pieces| *pieces < 10).queryable_store_name(), None);
    /// ```
    pub fn queryable_store_name(&self) -> Option<&str> {
        self.queryable.as_deref()
    }

    /// The same table as one whose rows can be deleted, for code that takes tables of either kind.
    ///
    /// ```
    /// # use streams_core::{Consumed, Deletable, KTable, Materialized, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// let counts = builder.stream::<String, String>("clicks", Consumed::new()).group_by_key().count();
    /// let stock = builder.table::<String, i64>("stock", Consumed::new(), Materialized::new());
    /// let tables: [KTable<String, i64, Deletable>; 2] = [counts.deletable(), stock];
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn deletable(&self) -> KTable<K, V, Deletable> {
        KTable {
            parts: self.parts.clone(),
            name: self.name.clone(),
            queryable: self.queryable.clone(),
            state: PhantomData,
        }
    }

    /// The table without the rows for which the predicate does not hold: those count as deleted.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, i64>("stock", Consumed::new(), Materialized::named("stock"))
    ///     .filter(|_item, pieces| *pieces < 10)
    ///     .to_stream()
    ///     .to("to-order", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("stock", Utf8, I64), driver.output("to-order", Utf8, Nullable(I64)));
    /// driver.pipe(&input, "pens", &3)?;
    /// driver.pipe(&input, "pens", &50)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(3), None]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn filter(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> KTable<K, V, T::Filtered> {
        self.filtered(predicate, true, None, Location::caller())
    }

    /// The table without the rows for which the predicate holds.
    #[track_caller]
    pub fn filter_not(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> KTable<K, V, T::Filtered> {
        self.filtered(predicate, false, None, Location::caller())
    }

    /// As [`KTable::filter`], with the result in a store of its own if `materialized` names one.
    #[track_caller]
    pub fn filter_with<H: History>(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>, H>,
    ) -> KTable<K, V, H::Rows<Deletable>> {
        self.filtered_with(predicate, true, materialized, Location::caller())
    }

    /// As [`KTable::filter_not`], with the result in a store of its own if `materialized` names one.
    #[track_caller]
    pub fn filter_not_with<H: History>(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>, H>,
    ) -> KTable<K, V, H::Rows<Deletable>> {
        self.filtered_with(predicate, false, materialized, Location::caller())
    }

    fn filtered_with<H: History>(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        keep: bool,
        materialized: Materialized<impl ValueSerde<V>, H>,
        location: &'static Location<'static>,
    ) -> KTable<K, V, H::Rows<Deletable>> {
        let (store, _) = self.named_store(materialized, location);
        let stored = store.is_some();
        let table = self.filtered(predicate, keep, store, location);
        table.computed_with_materialized(stored)
    }

    fn filtered<T2: RowState>(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        keep: bool,
        store: Option<ResultStore<V>>,
        location: &'static Location<'static>,
    ) -> KTable<K, V, T2> {
        let parts = &self.parts;
        let mut graph = parts.graph.borrow_mut();
        let name = graph.name_or(self.name.as_deref(), "KTABLE-FILTER-");
        // Old values are taken where the table has them anyway, so that a deletion of nothing is not forwarded.
        let trusts_old = (parts.old_values)(&mut graph, false);
        // Nor is it from a versioned table, where every change may matter to what lies behind it.
        let keeps_absent = graph.is_versioned(parts.node);
        let predicate = Arc::new(predicate);
        let (filter, made) = (predicate.clone(), store.clone());
        let node = graph.add_processor(
            name,
            vec![parts.node],
            table_node::<K, V>(move |scope, id| {
                let knows_old = trusts_old || scope.node(id).sends_old_values;
                let skips_absent = knows_old && !keeps_absent;
                let children = result_children(scope, id, &made, skips_absent)?;
                Ok(Box::new(TableFilter {
                    predicate: filter.clone(),
                    keep,
                    keeps_absent,
                    sends_old_values: knows_old && made.is_none(),
                    children,
                }))
            }),
            location,
        );
        let value = store
            .as_ref()
            .map(|store| store.value.clone())
            .or_else(|| parts.value.clone());
        let parent = parts.getter.clone();
        let computed: GetterFactory<K, V> = Arc::new(move |scope| {
            Box::new(FilterGetter {
                parent: parent(scope),
                predicate: predicate.clone(),
                keep,
            })
        });
        self.result(&mut graph, node, store, value, computed)
    }

    /// The table with another value in each row.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, f64>("net-prices", Consumed::new(), Materialized::new())
    ///     .map_values(|net| net * 1.19)
    ///     .to_stream()
    ///     .to("gross-prices", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("net-prices", Utf8, F64), driver.output("gross-prices", Utf8, Nullable(F64)));
    /// driver.pipe(&input, "pen", &100.0)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(119.0)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map_values<V2: 'static>(
        &self,
        mapper: impl Fn(&V) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2, T> {
        self.mapped(
            move |_, value| mapper(value),
            None,
            None,
            Location::caller(),
        )
    }

    /// As [`KTable::map_values`], with a look at the key.
    #[track_caller]
    pub fn map_values_with_key<V2: 'static>(
        &self,
        mapper: impl Fn(&K, &V) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2, T> {
        self.mapped(mapper, None, None, Location::caller())
    }

    /// As [`KTable::map_values_with_key`], with the result in a store of its own if `materialized` names one.
    #[track_caller]
    pub fn map_values_with<V2: 'static, H: History>(
        &self,
        mapper: impl Fn(&K, &V) -> V2 + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V2>, H>,
    ) -> KTable<K, V2, H::Rows<T>> {
        let location = Location::caller();
        let (store, value) = self.named_store(materialized, location);
        let stored = store.is_some();
        let table = self.mapped(mapper, store, Some(value), location);
        table.computed_with_materialized(stored)
    }

    fn mapped<V2: 'static, T2: RowState>(
        &self,
        mapper: impl Fn(&K, &V) -> V2 + Send + Sync + 'static,
        store: Option<ResultStore<V2>>,
        value: Option<BoxSerde<V2>>,
        location: &'static Location<'static>,
    ) -> KTable<K, V2, T2> {
        let parts = &self.parts;
        let mut graph = parts.graph.borrow_mut();
        let name = graph.name_or(self.name.as_deref(), "KTABLE-MAPVALUES-");
        let mapper = Arc::new(mapper);
        let (map, made) = (mapper.clone(), store.clone());
        let node = graph.add_processor(
            name,
            vec![parts.node],
            table_node::<K, V>(move |scope, id| {
                let children = result_children(scope, id, &made, false)?;
                Ok(Box::new(TableMapValues {
                    mapper: map.clone(),
                    sends_old_values: made.is_none() && scope.node(id).sends_old_values,
                    children,
                }))
            }),
            location,
        );
        let parent = parts.getter.clone();
        let computed: GetterFactory<K, V2> = Arc::new(move |scope| {
            Box::new(MapValuesGetter {
                parent: parent(scope),
                mapper: mapper.clone(),
            })
        });
        self.result(&mut graph, node, store, value, computed)
    }

    /// The handle of a table computed from this one, with or without a store of its own.
    pub(crate) fn result<V2: 'static, T2: RowState>(
        &self,
        graph: &mut Graph,
        node: NodeId,
        store: Option<ResultStore<V2>>,
        value: Option<BoxSerde<V2>>,
        computed: GetterFactory<K, V2>,
    ) -> KTable<K, V2, T2> {
        match &store {
            Some(store) => {
                graph.connect(node, store.index);
                graph.set_versioned(node, store.versioned);
            }
            // What is computed on the way of a versioned table's changes is versioned like it.
            None if graph.is_versioned(self.parts.node) => graph.set_versioned(node, true),
            None => {}
        }
        let queryable = store.as_ref().map(|store| store.name.clone());
        let (getter, stores, old_values): (GetterFactory<K, V2>, StoresWanted, OldValuesWanted) =
            match store.map(|store| (store.index, store.versioned)) {
                Some((index, versioned)) => (
                    store_getter(index, versioned),
                    Rc::new(move |_| vec![index]),
                    Rc::new(move |graph, _| {
                        graph.send_old_values(node);
                        true
                    }),
                ),
                None => {
                    let parent = self.parts.old_values.clone();
                    (
                        computed,
                        self.parts.stores.clone(),
                        Rc::new(move |graph, force| {
                            let sends = parent(graph, force);
                            if sends {
                                graph.send_old_values(node);
                            }
                            sends
                        }),
                    )
                }
            };
        KTable::new(TableParts {
            graph: self.parts.graph.clone(),
            node,
            key: self.parts.key.clone(),
            value,
            getter,
            stores,
            old_values,
        })
        .queryable(queryable)
    }

    /// A computed table whose `Materialized` has no name has no store either, but in Kafka Streams it is not versioned any
    /// more, whatever it is computed from.
    pub(super) fn computed_with_materialized(self, stored: bool) -> Self {
        if !stored {
            let mut graph = self.parts.graph.borrow_mut();
            graph.set_versioned(self.parts.node, false);
        }
        self
    }

    /// Adds the store of a joined table.
    pub(crate) fn result_store<V2: 'static>(
        &self,
        materialized: Materialized<impl ValueSerde<V2>, impl Sized>,
        prefix: &str,
        location: &'static Location<'static>,
    ) -> ResultStore<V2> {
        let mut graph = self.parts.graph.borrow_mut();
        let name = match materialized.name {
            Some(name) => {
                graph.check_name(&name);
                name
            }
            None => graph.new_name(prefix),
        };
        let value = materialized.value.into_serde();
        let versioned = materialized.history.is_some();
        let parts = table_parts(self.parts.key.clone(), value.clone(), materialized.history);
        let definition = store_definition(name.clone(), parts, materialized.options, location);
        ResultStore {
            name: name.into(),
            index: graph.add_store(definition, Rc::new(Cell::new(true))),
            value,
            versioned,
            old_values_arrive: false,
        }
    }

    /// Adds the store of a filtered or mapped table if it has a name; in Java an unnamed one only uses up a number and says what
    /// the values' serde is.
    pub(super) fn named_store<V2: 'static>(
        &self,
        materialized: Materialized<impl ValueSerde<V2>, impl Sized>,
        location: &'static Location<'static>,
    ) -> (Option<ResultStore<V2>>, BoxSerde<V2>) {
        if materialized.name.is_none() {
            self.parts.graph.borrow_mut().burn_index();
            return (None, materialized.value.into_serde());
        }
        let store = self.result_store(materialized, "", location);
        let value = store.value.clone();
        (Some(store), value)
    }

    /// Groups the rows by another key and value, to be aggregated: each change of a row is taken out of the group it leaves
    /// and added to the one it enters.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, String>("user-regions", Consumed::new(), Materialized::new())
    ///     .group_by(|user, region| (region.clone(), user.clone()), Grouped::new())
    ///     .count()
    ///     .to_stream()
    ///     .to("users-per-region", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("user-regions", Utf8, Utf8), driver.output("users-per-region", Utf8, I64));
    /// driver.pipe(&input, "ann", "asia")?;
    /// driver.pipe(&input, "ann", "europe")?;
    /// let counts = driver.read_map(&output)?;
    /// assert_eq!((counts["asia"], counts["europe"]), (0, 1));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn group_by<K2: PartialEq + 'static, V2: 'static>(
        &self,
        selector: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
        grouped: Grouped<K2, V2>,
    ) -> KGroupedTable<K2, V2> {
        let mut graph = self.parts.graph.borrow_mut();
        let given = self.name.as_deref().or(grouped.name.as_deref());
        let name = graph.name_or(given, "KTABLE-SELECT-");
        let mapper = Arc::new(selector);
        let only_latest = graph.is_versioned(self.parts.node);
        let node = graph.add_processor(
            name,
            vec![self.parts.node],
            table_node::<K, V>(move |scope, id| {
                Ok(Box::new(TableRepartition {
                    mapper: mapper.clone(),
                    only_latest,
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        (self.parts.old_values)(&mut graph, true);
        KGroupedTable::new(
            self.parts.graph.clone(),
            node,
            grouped.key,
            grouped.value,
            grouped.name,
        )
    }
}
