//! The nodes of a topology, and how a task's operators are made from them.

use super::topic::TopicName;
use super::{SubTopology, TopologyParts};
use crate::error::Result;
use crate::operators::{
    Flush, Punctuate, SharedStream, SharedTable, StreamChildren, StreamOperator, TableChildren,
    TableOperator,
};
use crate::task::source::Input;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) type NodeId = usize;

/// Makes the operator of a processor or sink node; what comes back is a `Box<dyn StreamOperator<K, V>>` or
/// `Box<dyn TableOperator<K, V>>` of the node's input types, behind `Any`.
pub(crate) type OperatorFactory =
    Arc<dyn Fn(&mut Scope<'_>, NodeId) -> Result<Box<dyn Any>> + Send + Sync>;

/// Makes the inputs of a source node, one for each of its topics.
pub(crate) type SourceFactory =
    Arc<dyn Fn(&mut Scope<'_>, NodeId) -> Result<Vec<Box<dyn Input>>> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct NodeDefinition {
    pub(crate) name: Arc<str>,
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) children: Vec<NodeId>,
    /// Stores it uses, as indices into the topology's stores.
    pub(crate) stores: Vec<usize>,
    /// Whether a table node must tell its children the value before a change.
    pub(crate) sends_old_values: bool,
    /// Whether a table node's changes are those of a versioned table: then some of them are not the latest of their row
    /// (Kafka's `GraphNode#isOutputVersioned`).
    pub(crate) versioned: bool,
    /// Whether it makes something of a record without a key: a left join with a table does (KIP-962).
    pub(crate) takes_null_keys: bool,
    /// Whether such a node is behind this one, be it behind a repartition topic. Set when the topology is built.
    pub(crate) leads_to_null_keys: bool,
    /// What it does to records, as far as that tells where a repartition topic may stand.
    pub(crate) effect: RecordEffect,
    /// When it is written, compared with others: nodes without parents or with written ones come in this order, which
    /// numbers sub-topologies and children (Kafka's `GraphNode#buildPriority`).
    pub(crate) priority: usize,
    /// Whether another node has taken its place; it has neither parents nor children then.
    pub(crate) replaced: bool,
    /// How long a windowed aggregation takes records for a window after its end, in milliseconds.
    pub(crate) grace_ms: Option<i64>,
    /// Whether it is no node of the user's: it stands between two that are, and is neither named nor described.
    pub(crate) hidden: bool,
    pub(crate) location: &'static Location<'static>,
}

/// What an operation does to records (Kafka's `GraphNode#isKeyChangingOperation` and its kind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordEffect {
    /// It passes on those it gets as they are, all or some.
    Passes,
    /// As `Passes`, for several streams.
    Merges,
    /// They may get other keys.
    ChangesKeys,
    /// They keep their keys and may get other values.
    ChangesValues,
    /// Anything else: tables, joins, aggregations.
    Other,
}

#[derive(Clone)]
pub(crate) enum NodeKind {
    Source {
        topics: Vec<TopicName>,
        auto_offset_reset: Option<super::OffsetReset>,
        factory: SourceFactory,
    },
    Processor {
        factory: OperatorFactory,
    },
    Sink {
        /// `None` when the topic is chosen for each record.
        topic: Option<TopicName>,
        factory: OperatorFactory,
    },
    /// The source of a global table: read by the global thread, not by tasks.
    Global {
        topic: Arc<str>,
    },
    /// The processor behind it.
    GlobalProcessor,
}

/// What a task's operators are made in: the topology, the task's own numbers, and what has been made so far.
pub(crate) struct Scope<'a> {
    pub(crate) parts: &'a TopologyParts,
    pub(crate) sub_topology: &'a SubTopology,
    pub(crate) application_id: &'a str,
    /// Operators with several parents, made once.
    shared: HashMap<NodeId, Box<dyn Any>>,
    /// Operators that hold changes back until a commit, with the store they hold them in.
    pub(crate) flushes: Vec<(usize, Rc<RefCell<dyn Flush>>)>,
    /// Operators that are called by time.
    pub(crate) punctuates: Vec<Rc<RefCell<dyn Punctuate>>>,
    /// Their nodes.
    pub(crate) punctuated: Vec<NodeId>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(
        parts: &'a TopologyParts,
        sub_topology: &'a SubTopology,
        application_id: &'a str,
    ) -> Self {
        Scope {
            parts,
            sub_topology,
            application_id,
            shared: HashMap::new(),
            flushes: Vec::new(),
            punctuates: Vec::new(),
            punctuated: Vec::new(),
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &'a NodeDefinition {
        &self.parts.nodes[id]
    }

    /// The index of a store of the topology among this task's stores.
    pub(crate) fn local_store(&self, store: usize) -> usize {
        self.sub_topology
            .store_ids
            .iter()
            .position(|id| *id == store)
            .expect("a node's stores belong to its sub-topology")
    }

    /// The operators behind a stream node.
    pub(crate) fn stream_children<K: 'static, V: 'static>(
        &mut self,
        id: NodeId,
    ) -> Result<StreamChildren<K, V>> {
        let mut children = StreamChildren::default();
        for child in self.node(id).children.clone() {
            let operator = self.stream_child(child)?;
            let is_sink = matches!(self.node(child).kind, NodeKind::Sink { .. });
            children.add(self.node(child).name.clone(), operator, is_sink);
        }
        Ok(children)
    }

    /// The operators behind a table node.
    pub(crate) fn table_children<K: 'static, V: 'static>(
        &mut self,
        id: NodeId,
    ) -> Result<TableChildren<K, V>> {
        let mut children = TableChildren::default();
        for child in self.node(id).children.clone() {
            let operator = self.table_child(child)?;
            children.add(self.node(child).name.clone(), operator);
        }
        Ok(children)
    }

    pub(crate) fn stream_child<K: 'static, V: 'static>(
        &mut self,
        id: NodeId,
    ) -> Result<Box<dyn StreamOperator<K, V>>> {
        if self.node(id).parents.len() < 2 {
            return self.make(id);
        }
        if let Some(shared) = self.shared.get(&id) {
            let shared: &SharedStream<K, V> = typed(shared.as_ref());
            return Ok(Box::new(shared.clone()));
        }
        let operator: Box<dyn StreamOperator<K, V>> = self.make(id)?;
        let shared = SharedStream::new(operator);
        self.shared.insert(id, Box::new(shared.clone()));
        Ok(Box::new(shared))
    }

    pub(crate) fn table_child<K: 'static, V: 'static>(
        &mut self,
        id: NodeId,
    ) -> Result<Box<dyn TableOperator<K, V>>> {
        if self.node(id).parents.len() < 2 {
            return self.make(id);
        }
        if let Some(shared) = self.shared.get(&id) {
            let shared: &SharedTable<K, V> = typed(shared.as_ref());
            return Ok(Box::new(shared.clone()));
        }
        let operator: Box<dyn TableOperator<K, V>> = self.make(id)?;
        let shared = SharedTable::new(operator);
        self.shared.insert(id, Box::new(shared.clone()));
        Ok(Box::new(shared))
    }

    fn make<T: 'static>(&mut self, id: NodeId) -> Result<T> {
        let factory = match &self.node(id).kind {
            NodeKind::Processor { factory } | NodeKind::Sink { factory, .. } => factory.clone(),
            NodeKind::Source { .. } | NodeKind::Global { .. } | NodeKind::GlobalProcessor => {
                unreachable!("sources have no parents, so nobody makes them as a child")
            }
        };
        let made = factory(self, id)?;
        match made.downcast::<T>() {
            Ok(made) => Ok(*made),
            Err(_) => unreachable!("the builder connects nodes of equal types only"),
        }
    }
}

fn typed<T: 'static>(shared: &dyn Any) -> &T {
    shared
        .downcast_ref()
        .expect("the builder connects nodes of equal types only")
}
