//! What all aggregations of streams have in common: a store, an operator that updates it, and a table that is made of both.

use super::grouped_stream::{KGroupedStream, Prefixes};
use super::options::{Materialized, ValueSerde};
use super::stream_node;
use super::table::{GetterFactory, KTable, OldValuesWanted, RowState, TableParts};
use super::{GraphRef, builder::store_definition};
use crate::error::Result;
use crate::operators::aggregate::Initial;
use crate::operators::{Flush, Reached, StreamOperator, TableChildren};
use crate::serdes::BoxSerde;
use crate::stores::{StoreOptions, StoreParts};
use crate::topology::build::Graph;
use crate::topology::{NodeId, Scope};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// What values are aggregated over: all of a key, or those of a window.
pub(crate) trait Aggregating<K, A>: Clone + Send + Sync + 'static {
    /// The key of the resulting table.
    type Key: 'static;

    /// The store, and options that suit it.
    fn store(&self, key: BoxSerde<K>, value: BoxSerde<A>) -> StoreParts;

    /// What `Materialized` asks for, where the store can do it.
    fn options(&self, wanted: StoreOptions) -> StoreOptions {
        wanted
    }

    /// The operator in a task.
    fn operator<V, F>(
        &self,
        aggregator: Arc<F>,
        place: Place<Self::Key, A>,
    ) -> impl StreamOperator<K, V> + Flush + 'static
    where
        V: 'static,
        F: Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static;

    fn table_key(&self, key: BoxSerde<K>) -> BoxSerde<Self::Key>;

    fn getter(&self, store: usize) -> GetterFactory<Self::Key, A>;

    /// Says of the node what others ask it.
    fn describe(&self, graph: &mut Graph, node: NodeId);
}

/// What an operator works with.
pub(crate) struct Place<KOut, A> {
    pub(crate) store: usize,
    pub(crate) store_name: Arc<str>,
    pub(crate) initial: Initial<A>,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<KOut, A>,
}

/// A store that aggregations write to.
pub(crate) struct AggregateStore<A> {
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) value: BoxSerde<A>,
    pub(crate) initial: Initial<A>,
}

impl<A> Clone for AggregateStore<A> {
    fn clone(&self) -> Self {
        AggregateStore {
            index: self.index,
            name: self.name.clone(),
            value: self.value.clone(),
            initial: self.initial.clone(),
        }
    }
}

/// The name of an aggregation's store.
pub(crate) fn store_name(graph: &mut Graph, name: Option<String>, prefix: &str) -> String {
    match name {
        Some(name) => {
            graph.check_name(&name);
            name
        }
        None => graph.new_name(prefix),
    }
}

/// Adds the store of one aggregation or several.
pub(crate) fn add_store<K, A: 'static, O: Aggregating<K, A>>(
    graph: &mut Graph,
    over: &O,
    key: BoxSerde<K>,
    value: BoxSerde<A>,
    (name, initial): (String, Initial<A>),
    options: StoreOptions,
    location: &'static Location<'static>,
) -> AggregateStore<A> {
    let parts = over.store(key, value.clone());
    let definition = store_definition(name.clone(), parts, over.options(options), location);
    AggregateStore {
        index: graph.add_store(definition, Rc::new(Cell::new(true))),
        name: name.into(),
        value,
        initial,
    }
}

/// Adds the node that aggregates the records of `parent` into the store.
pub(crate) fn add_node<K, V, A, O, F>(
    graph: &mut Graph,
    over: &O,
    parent: NodeId,
    name: String,
    store: &AggregateStore<A>,
    aggregator: Arc<F>,
    location: &'static Location<'static>,
) -> NodeId
where
    K: 'static,
    V: 'static,
    A: 'static,
    O: Aggregating<K, A>,
    F: Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
{
    let (made, kept) = (over.clone(), store.clone());
    let operator = move |scope: &mut Scope<'_>, id| -> Result<_> {
        let local = scope.local_store(kept.index);
        let place = Place {
            store: local,
            store_name: kept.name.clone(),
            initial: kept.initial.clone(),
            sends_old_values: scope.node(id).sends_old_values,
            children: scope.table_children(id)?,
        };
        let operator = made.operator::<V, F>(aggregator.clone(), place);
        let operator = Rc::new(RefCell::new(operator));
        scope
            .flushes
            .push((local, operator.clone() as Rc<RefCell<dyn Flush>>));
        Ok(Box::new(Reached(operator)) as Box<dyn StreamOperator<K, V>>)
    };
    let node = graph.add_processor(name, vec![parent], stream_node(operator), location);
    graph.connect(node, store.index);
    over.describe(graph, node);
    node
}

/// The table that a node sends changes of, and whose rows are in the store.
pub(crate) fn table<K, A: 'static, O: Aggregating<K, A>, T: RowState>(
    graph: &GraphRef,
    over: &O,
    key: BoxSerde<K>,
    store: AggregateStore<A>,
    node: NodeId,
    old_values: OldValuesWanted,
) -> KTable<O::Key, A, T> {
    let index = store.index;
    KTable::new(TableParts {
        graph: graph.clone(),
        node,
        key: over.table_key(key),
        value: Some(store.value),
        getter: over.getter(index),
        stores: Rc::new(move |_| vec![index]),
        old_values,
    })
}

/// Aggregates one grouped stream.
pub(crate) fn aggregate<K, V, A, O, T>(
    grouped: &KGroupedStream<K, V>,
    over: &O,
    aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    initial: Initial<A>,
    materialized: Materialized<impl ValueSerde<A>, impl Sized>,
    prefixes: &Prefixes,
    location: &'static Location<'static>,
) -> KTable<O::Key, A, T>
where
    K: 'static,
    V: 'static,
    A: 'static,
    O: Aggregating<K, A>,
    T: RowState,
{
    let mut graph = grouped.graph.borrow_mut();
    let queryable = materialized.name.as_deref().map(Arc::from);
    let store_name = store_name(&mut graph, materialized.name, prefixes.store);
    let node_name = graph.name_or(grouped.name.as_deref(), prefixes.node);
    let store = add_store(
        &mut graph,
        over,
        grouped.key.clone(),
        materialized.value.into_serde(),
        (store_name.clone(), initial),
        materialized.options,
        location,
    );
    drop(graph);
    let parent = grouped.lead_in(&store_name, location);
    let node = add_node(
        &mut grouped.graph.borrow_mut(),
        over,
        parent,
        node_name,
        &store,
        Arc::new(aggregator),
        location,
    );
    let old_values: OldValuesWanted = Rc::new(move |graph, _| {
        graph.send_old_values(node);
        true
    });
    table(
        &grouped.graph,
        over,
        grouped.key.clone(),
        store,
        node,
        old_values,
    )
    .queryable(queryable)
}
