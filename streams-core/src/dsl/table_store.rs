//! Where a table's rows are kept: the store of a table that is read or made of a stream, and that of a computed one.

use super::builder::store_definition;
use super::table::{GetterFactory, KTable, RowState, TableParts};
use super::{GraphRef, stream_node};
use crate::operators::table_getter::{StoreGetter, VersionedStoreGetter};
use crate::operators::table_map_values::Materialize;
use crate::operators::table_source::{PassingTable, StoredTable};
use crate::operators::{Flush, Reached, StreamOperator, TableChildren, TableOperator};
use crate::serdes::BoxSerde;
use crate::stores::{StoreOptions, table_parts};
use crate::topology::build::Graph;
use crate::topology::{NodeId, Scope};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::VersionedSpec;

/// The store of a computed table.
pub(crate) struct ResultStore<V> {
    pub(crate) name: Arc<str>,
    pub(crate) index: usize,
    pub(crate) value: BoxSerde<V>,
    pub(crate) versioned: bool,
    /// Whether old values come with the changes, as those of a join do, and not from the store.
    pub(crate) old_values_arrive: bool,
}

impl<V> Clone for ResultStore<V> {
    fn clone(&self) -> Self {
        ResultStore {
            name: self.name.clone(),
            index: self.index,
            value: self.value.clone(),
            versioned: self.versioned,
            old_values_arrive: self.old_values_arrive,
        }
    }
}

/// Looks rows up in a table's own store.
pub(crate) fn store_getter<K: 'static, V: 'static>(
    index: usize,
    versioned: bool,
) -> GetterFactory<K, V> {
    match versioned {
        true => Arc::new(move |scope| {
            Box::new(VersionedStoreGetter {
                store: scope.local_store(index),
            })
        }),
        false => Arc::new(move |scope| {
            Box::new(StoreGetter {
                store: scope.local_store(index),
            })
        }),
    }
}

/// The operators behind a computed table's node, with its store in between if it has one.
pub(crate) fn result_children<K: 'static, V: 'static>(
    scope: &mut Scope<'_>,
    id: NodeId,
    store: &Option<ResultStore<V>>,
    skips_absent: bool,
) -> crate::error::Result<TableChildren<K, V>> {
    let children = scope.table_children(id)?;
    let Some(store) = store else {
        return Ok(children);
    };
    let local = scope.local_store(store.index);
    let node = Rc::new(RefCell::new(Materialize {
        store: local,
        value: store.value.clone(),
        bytes: Vec::new(),
        sends_old_values: scope.node(id).sends_old_values,
        skips_absent,
        old_values_arrive: store.old_values_arrive,
        children,
    }));
    scope
        .flushes
        .push((local, node.clone() as Rc<RefCell<dyn Flush>>));
    let mut children = TableChildren::default();
    children.add(
        scope.node(id).name.clone(),
        Box::new(Reached(node)) as Box<dyn TableOperator<K, V>>,
    );
    Ok(children)
}

/// The store of a table that is read from a topic or made of a stream.
pub(crate) struct SourceStore {
    pub(crate) name: String,
    /// Whether the name is one by which its rows may be asked for.
    pub(crate) queryable: bool,
    pub(crate) options: StoreOptions,
    pub(crate) history: Option<VersionedSpec>,
    /// Whether it exists even if nobody looks into the table.
    pub(crate) wanted: bool,
    /// The topic that has every change, if it is the user's.
    pub(crate) topic: Option<Arc<str>>,
}

/// Adds the node that makes a table of a stream of optional values.
pub(crate) fn add_table_source<K: 'static, V: 'static, T: RowState>(
    graph: &mut Graph,
    graph_ref: &GraphRef,
    parent: NodeId,
    name: String,
    store: SourceStore,
    (key, value): (BoxSerde<K>, BoxSerde<V>),
    location: &'static Location<'static>,
) -> KTable<K, V, T> {
    let versioned = store.history.is_some();
    let queryable = store.queryable.then(|| store.name.as_str().into());
    let wanted = Rc::new(Cell::new(store.wanted));
    let parts = table_parts(key.clone(), value.clone(), store.history);
    let definition = store_definition(store.name, parts, store.options, location);
    let index = graph.add_store(definition, wanted.clone());
    let (row_key, row) = (key.clone(), value.clone());
    let node = graph.add_processor(
        name,
        vec![parent],
        stream_node::<K, Option<V>>(move |scope, id| {
            // The store belongs to the node only if somebody wanted it by the time the topology was built.
            if scope.node(id).stores.is_empty() {
                return Ok(Box::new(PassingTable {
                    key: row_key.clone(),
                    bytes: Vec::new(),
                    children: scope.table_children(id)?,
                }));
            }
            let local = scope.local_store(index);
            let node = Rc::new(RefCell::new(StoredTable {
                store: local,
                value: row.clone(),
                bytes: Vec::new(),
                sends_old_values: scope.node(id).sends_old_values,
                children: scope.table_children(id)?,
            }));
            scope
                .flushes
                .push((local, node.clone() as Rc<RefCell<dyn Flush>>));
            Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, Option<V>>>)
        }),
        location,
    );
    if let Some(topic) = store.topic {
        graph.set_source_topic(index, topic);
    }
    graph.connect(node, index);
    graph.set_versioned(node, versioned);
    let forced = wanted.clone();
    KTable::new(TableParts {
        graph: graph_ref.clone(),
        node,
        key,
        value: Some(value),
        getter: store_getter(index, versioned),
        stores: Rc::new(move |_| {
            wanted.set(true);
            vec![index]
        }),
        old_values: Rc::new(move |graph, force| {
            if !force && !forced.get() {
                return false;
            }
            forced.set(true);
            graph.send_old_values(node);
            true
        }),
    })
    .queryable(queryable)
}
