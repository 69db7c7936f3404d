//! The topology while the DSL writes it down: numbers names, keeps nodes and stores, and turns them into a `Topology`.

mod finish;
mod self_join;

pub(crate) use self_join::SelfJoin;

use super::internal_names::InternalNames;
use super::node::{NodeDefinition, NodeId, NodeKind, OperatorFactory, RecordEffect, SourceFactory};
use super::optimize::{Lift, Repartition};
use super::store::{GlobalStoreDefinition, StateFactory, StoreDefinition};
use super::topic::{InternalTopic, OffsetReset, RecordTypes, TopicName};
use crate::config::TopologyOptimization;
use crate::error::Error;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::{StoreBackend, StoreKind};

/// Kafka Streams' `InternalStreamsBuilder` and `InternalTopologyBuilder` in one.
#[derive(Default)]
pub(crate) struct Graph {
    next_index: u32,
    nodes: Vec<NodeDefinition>,
    stores: Vec<PendingStore>,
    global_stores: Vec<PendingGlobalStore>,
    /// Nodes and the stores they use, in the order they were connected, which `describe` can tell.
    connections: Vec<(NodeId, usize)>,
    copartitioned: Vec<Vec<NodeId>>,
    /// Of sources whose records lie in the partitions of others: those others.
    partitioned_like: BTreeMap<NodeId, Vec<NodeId>>,
    /// The source of the last repartition topic made for a join of a node, and the types of its records.
    join_repartitions: BTreeMap<NodeId, (RecordTypes, NodeId)>,
    self_joins: Vec<SelfJoin>,
    /// The sources of `stream`, which become one where their topics are the same.
    streams: BTreeMap<NodeId, RecordTypes>,
    repartitions: Vec<Repartition>,
    /// Of nodes that nobody sees: what they make of records, backwards.
    lifts: BTreeMap<NodeId, Lift>,
    internal_names: InternalNames,
    /// Where stores are that nobody chose a place for.
    pub(crate) store_backend: Option<StoreBackend>,
    /// The first mistake; reported by `build`, so that the fluent calls need no `?`.
    error: Option<Error>,
}

struct PendingStore {
    definition: Arc<StoreDefinition>,
    nodes: Vec<NodeId>,
    /// A table's own store exists only when somebody needs it.
    wanted: Rc<Cell<bool>>,
    /// The topic of a table that is read, which can serve as the store's changelog.
    source_topic: Option<Arc<str>>,
}

struct PendingGlobalStore {
    definition: GlobalStoreDefinition,
    node: NodeId,
}

/// A node that nobody sees, to be put elsewhere.
pub(crate) struct Hidden {
    pub(crate) parent: NodeId,
    pub(crate) factory: OperatorFactory,
    pub(crate) lift: Lift,
}

/// What a build is asked for beside the topology itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BuildOptions {
    pub(crate) optimization: TopologyOptimization,
    /// Whether stores, changelogs and repartition topics with generated names are errors (KIP-1111).
    pub(crate) explicit_names: bool,
}

impl Graph {
    /// The next number; given names use one up as well.
    pub(crate) fn burn_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    /// `PREFIX` and the next number, ten digits.
    pub(crate) fn new_name(&mut self, prefix: &str) -> String {
        let name = format!("{prefix}{:010}", self.burn_index());
        self.internal_names.generated(&name);
        name
    }

    /// A given name, or `PREFIX` and the next number; the number is used up in both cases.
    pub(crate) fn name_or(&mut self, name: Option<&str>, prefix: &str) -> String {
        let generated = self.new_name(prefix);
        match name {
            Some(name) => {
                self.check_name(name);
                name.to_owned()
            }
            None => generated,
        }
    }

    /// A given name and a suffix, or `PREFIX` and the next number; the number is used up in both cases.
    pub(crate) fn name_with_suffix_or(
        &mut self,
        name: Option<&str>,
        suffix: &str,
        prefix: &str,
    ) -> String {
        let generated = self.new_name(prefix);
        name.map_or(generated, |name| format!("{name}{suffix}"))
    }

    /// A given name, or `PREFIX` and the next number; a given name uses no number up, as with `process` in Java.
    pub(crate) fn name_or_new(&mut self, name: Option<&str>, prefix: &str) -> String {
        match name {
            Some(name) => {
                self.check_name(name);
                name.to_owned()
            }
            None => self.new_name(prefix),
        }
    }

    /// Remembers the first mistake.
    #[cold]
    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// Kafka's rule for names that end up in topic names (`Named#validate`).
    #[track_caller]
    pub(crate) fn check_name(&mut self, name: &str) {
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty()
            || name == "."
            || name == ".."
            || name.len() > 249
            || !name.chars().all(valid)
        {
            let at = Location::caller();
            self.fail(Error::topology(format!(
                "'{name}' is not a valid name (at {at}): use 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'"
            )));
        }
    }

    pub(crate) fn add_source(
        &mut self,
        name: String,
        topics: Vec<TopicName>,
        auto_offset_reset: Option<OffsetReset>,
        factory: SourceFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        self.add_node(
            name,
            NodeKind::Source {
                topics,
                auto_offset_reset,
                factory,
            },
            Vec::new(),
            location,
        )
    }

    pub(crate) fn add_processor(
        &mut self,
        name: String,
        parents: Vec<NodeId>,
        factory: OperatorFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        self.add_node(name, NodeKind::Processor { factory }, parents, location)
    }

    pub(crate) fn add_sink(
        &mut self,
        name: String,
        parents: Vec<NodeId>,
        topic: Option<TopicName>,
        factory: OperatorFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        self.add_node(name, NodeKind::Sink { topic, factory }, parents, location)
    }

    fn add_node(
        &mut self,
        name: String,
        kind: NodeKind,
        parents: Vec<NodeId>,
        location: &'static Location<'static>,
    ) -> NodeId {
        let taken = |node: &&NodeDefinition| *node.name == name && !node.hidden;
        if let Some(other) = self.nodes.iter().find(taken) {
            let error = Error::topology(format!(
                "the name '{name}' at {location} is taken by the node added at {}: choose another",
                other.location
            ));
            self.fail(error);
        }
        let parents: Vec<NodeId> = parents
            .into_iter()
            .map(|parent| self.place_hidden(parent, &name))
            .collect();
        let id = self.nodes.len();
        for parent in &parents {
            self.nodes[*parent].children.push(id);
        }
        self.nodes.push(NodeDefinition {
            name: name.into(),
            kind,
            parents,
            children: Vec::new(),
            stores: Vec::new(),
            sends_old_values: false,
            versioned: false,
            takes_null_keys: false,
            leads_to_null_keys: false,
            effect: RecordEffect::Other,
            priority: id,
            replaced: false,
            grace_ms: None,
            hidden: false,
            location,
        });
        id
    }

    /// Adds a node that nobody sees, to be connected in front of each node that is added behind it.
    pub(crate) fn add_hidden(
        &mut self,
        parent: NodeId,
        factory: OperatorFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        self.nodes.push(NodeDefinition {
            name: "".into(),
            kind: NodeKind::Processor { factory },
            parents: vec![parent],
            children: Vec::new(),
            stores: Vec::new(),
            sends_old_values: false,
            versioned: false,
            takes_null_keys: false,
            leads_to_null_keys: false,
            effect: RecordEffect::Other,
            priority: self.nodes.len(),
            replaced: false,
            grace_ms: None,
            hidden: true,
            location,
        });
        self.nodes.len() - 1
    }

    /// A node that nobody sees, if this is one whose records' serdes are known in front of it.
    pub(crate) fn hidden(&self, node: NodeId) -> Option<Hidden> {
        let lift = self.lifts.get(&node)?.clone();
        match &self.nodes[node] {
            NodeDefinition {
                hidden: true,
                kind: NodeKind::Processor { factory },
                parents,
                ..
            } => Some(Hidden {
                parent: parents[0],
                factory: factory.clone(),
                lift,
            }),
            _ => None,
        }
    }

    /// Says how the serdes of the records in front of a node that nobody sees are made of those behind it.
    pub(crate) fn set_lift(&mut self, node: NodeId, lift: Lift) {
        self.lifts.insert(node, lift);
    }

    /// The node to connect a child to: the node itself, or of a hidden one a copy that only this child has, so that records
    /// reach the children of the node before it in the order in which those were added.
    fn place_hidden(&mut self, node: NodeId, child: &str) -> NodeId {
        let NodeDefinition {
            hidden: true,
            kind: NodeKind::Processor { factory },
            parents,
            location,
            ..
        } = &self.nodes[node]
        else {
            return node;
        };
        let (factory, parent, location) = (factory.clone(), parents[0], *location);
        let lift = self.lifts.get(&node).cloned();
        let parent = self.place_hidden(parent, child);
        let copy = self.add_hidden(parent, factory, location);
        if let Some(lift) = lift {
            self.lifts.insert(copy, lift);
        }
        self.nodes[copy].name = child.into();
        self.nodes[parent].children.push(copy);
        copy
    }

    /// Adds a store; it becomes part of the topology when a node is connected to it, or for a table's own store when
    /// `wanted` is set by then.
    pub(crate) fn add_store(
        &mut self,
        definition: StoreDefinition,
        wanted: Rc<Cell<bool>>,
    ) -> usize {
        let taken = self
            .stores
            .iter()
            .map(|store| &*store.definition)
            .chain(
                self.global_stores
                    .iter()
                    .map(|global| &*global.definition.store),
            )
            .find(|store| store.name == definition.name);
        if let Some(other) = taken {
            let error = Error::topology(format!(
                "store name '{}' at {} is taken by the store added at {}: choose another",
                definition.name, definition.location, other.location
            ));
            self.fail(error);
        }
        self.check_limit(&definition);
        self.internal_names.store(&definition);
        self.stores.push(PendingStore {
            definition: Arc::new(definition),
            nodes: Vec::new(),
            wanted,
            source_topic: None,
        });
        self.stores.len() - 1
    }

    /// Only key-value stores can be limited in size.
    fn check_limit(&mut self, store: &StoreDefinition) {
        if store.max_entries.is_some() && store.spec.kind != StoreKind::KeyValue {
            self.fail(Error::topology(format!(
                "store '{}' at {} cannot be limited to a number of rows, because it is one of windows, sessions or versions: use `Materialized::named` and `with_retention`",
                store.name, store.location
            )));
        }
    }

    pub(crate) fn connect(&mut self, node: NodeId, store: usize) {
        if !self.stores[store].nodes.contains(&node) {
            self.stores[store].nodes.push(node);
            self.connections.push((node, store));
        }
    }

    /// The index of a store by its name.
    pub(crate) fn store_named(&self, name: &str) -> Option<usize> {
        self.stores
            .iter()
            .position(|store| store.definition.name == name)
    }

    /// The index of a store by its name, if it is the very one that this factory makes.
    pub(crate) fn store_made_by(&self, name: &str, state: &StateFactory) -> Option<usize> {
        self.stores.iter().position(|store| {
            store.definition.name == name && Arc::ptr_eq(&store.definition.state, state)
        })
    }

    /// Adds a global table's two nodes and its store.
    pub(crate) fn add_global_store(
        &mut self,
        definition: GlobalStoreDefinition,
        location: &'static Location<'static>,
    ) -> usize {
        self.check_limit(&definition.store);
        self.internal_names.global_store(&definition.store.name);
        let source = self.add_node(
            definition.source_name.clone(),
            NodeKind::Global {
                topic: definition.topic.clone(),
            },
            Vec::new(),
            location,
        );
        self.add_node(
            definition.processor_name.clone(),
            NodeKind::GlobalProcessor,
            vec![source],
            location,
        );
        self.global_stores.push(PendingGlobalStore {
            definition,
            node: source,
        });
        self.global_stores.len() - 1
    }

    /// What a node is called.
    pub(crate) fn name_of(&self, node: NodeId) -> &Arc<str> {
        &self.nodes[self.visible(node)].name
    }

    /// The node itself, or the one before it if nobody sees it.
    fn visible(&self, mut node: NodeId) -> NodeId {
        while self.nodes[node].hidden {
            node = self.nodes[node].parents[0];
        }
        node
    }

    /// Every source node a node's records come from, or lie in the partitions of.
    pub(crate) fn sources_of(&self, node: NodeId) -> Vec<NodeId> {
        let mut sources = Vec::new();
        let mut open = vec![node];
        while let Some(id) = open.pop() {
            let parents = &self.nodes[id].parents;
            if parents.is_empty() && !sources.contains(&id) {
                sources.push(id);
                open.extend(self.partitioned_like.get(&id).into_iter().flatten());
            }
            open.extend(parents);
        }
        sources
    }

    /// Says that a source's records lie in the partitions of a node's, and always will.
    pub(crate) fn set_partitioned_like(&mut self, source: NodeId, node: NodeId) {
        let others = self.sources_of(node);
        self.partitioned_like.insert(source, others);
    }

    /// The inputs of these nodes must have the same number of partitions.
    pub(crate) fn copartition(&mut self, nodes: &[NodeId]) {
        let mut sources: Vec<NodeId> = nodes
            .iter()
            .flat_map(|node| self.sources_of(*node))
            .collect();
        sources.sort_unstable();
        sources.dedup();
        self.copartitioned.push(sources);
    }

    /// The source that joins of a node's records, of these types, read when their keys may have changed.
    pub(crate) fn join_repartition(&self, node: NodeId, types: RecordTypes) -> Option<NodeId> {
        let (known, source) = self.join_repartitions.get(&self.visible(node))?;
        (*known == types).then_some(*source)
    }

    pub(crate) fn set_join_repartition(
        &mut self,
        node: NodeId,
        types: RecordTypes,
        source: NodeId,
    ) {
        let node = self.visible(node);
        self.join_repartitions.insert(node, (types, source));
    }

    /// Remembers a join that may turn out to be one of a stream with itself.
    pub(crate) fn note_self_join(&mut self, join: SelfJoin) {
        self.self_joins.push(join);
    }

    /// A windowed aggregation takes records for a window until that long after its end.
    pub(crate) fn set_grace(&mut self, node: NodeId, grace_ms: i64) {
        self.nodes[node].grace_ms = Some(grace_ms);
    }

    /// The longest grace period of the windowed aggregations that a node's records come from, the nearest ones (Kafka's
    /// `GraphGraceSearchUtil`); `None` when there is a way to it on which nothing is windowed.
    pub(crate) fn grace_before(&self, node: NodeId) -> Option<i64> {
        if let Some(grace_ms) = self.nodes[node].grace_ms {
            return Some(grace_ms);
        }
        let mut before = self.nodes[node].parents.clone();
        if let NodeKind::Source { topics, .. } = &self.nodes[node].kind {
            before.extend((0..self.nodes.len()).filter(|sink| {
                matches!(&self.nodes[*sink].kind, NodeKind::Sink { topic: Some(topic @ TopicName::Internal(_)), .. }
                    if topics.contains(topic))
            }));
        }
        let graces: Option<Vec<i64>> = before
            .into_iter()
            .map(|node| self.grace_before(node))
            .collect();
        graces?.into_iter().max()
    }

    /// A table node must tell its children the value before a change.
    pub(crate) fn send_old_values(&mut self, node: NodeId) {
        self.nodes[node].sends_old_values = true;
    }

    /// Says whether a table node's changes are those of a versioned table.
    pub(crate) fn set_versioned(&mut self, node: NodeId, versioned: bool) {
        self.nodes[node].versioned = versioned;
    }

    /// Says what a node does to records.
    pub(crate) fn set_effect(&mut self, node: NodeId, effect: RecordEffect) {
        self.nodes[node].effect = effect;
    }

    /// Says that a source is one of a stream, to be one with others of the same topics.
    pub(crate) fn set_stream(&mut self, source: NodeId, types: RecordTypes) {
        self.streams.insert(source, types);
    }

    /// Says which topic has every change of a table's store.
    pub(crate) fn set_source_topic(&mut self, store: usize, topic: Arc<str>) {
        self.stores[store].source_topic = Some(topic);
    }

    /// Remembers the nodes of a repartition topic, which a build may put elsewhere.
    pub(crate) fn note_repartition(&mut self, repartition: Repartition) {
        self.internal_names.repartition_topic(&repartition.base);
        self.repartitions.push(repartition);
    }

    /// Remembers that a repartition topic is called after a node, because it got no name of its own.
    pub(crate) fn note_implicit_repartition(&mut self, base: &str) {
        let topic = format!("{base}-repartition");
        self.internal_names.implicit_repartition_topic(&topic);
    }

    /// Says that a repartition topic is one the user asked for, to stay where it is.
    pub(crate) fn keep_repartition(&mut self, source: NodeId) {
        let asked = |one: &&mut Repartition| one.source == source;
        if let Some(repartition) = self.repartitions.iter_mut().find(asked) {
            repartition.movable = false;
        }
    }

    /// A repartition topic is used once more, by the node that is added next.
    pub(crate) fn repeat_repartition(&mut self, source: NodeId) {
        for _ in 0..3 {
            self.burn_index();
        }
        let known = self.repartitions.iter().find(|one| one.source == source);
        if let Some(nodes) = known.map(Repartition::nodes) {
            self.come_later(&nodes);
        }
    }

    /// Nodes are used once more, by the node that is added next: as in Kafka Streams, which adds them to its graph again, they
    /// come behind those that were added since.
    pub(crate) fn come_later(&mut self, nodes: &[NodeId]) {
        let next = self.nodes.len();
        for node in nodes {
            self.nodes[*node].priority = next;
        }
    }

    /// Whether a table node's changes are those of a versioned table.
    pub(crate) fn is_versioned(&self, node: NodeId) -> bool {
        self.nodes[node].versioned
    }

    /// What a store is called, and for how long it remembers earlier versions if it does (milliseconds).
    pub(crate) fn history_of(&self, store: usize) -> (&str, Option<i64>) {
        let definition = &self.stores[store].definition;
        let history = match &definition.spec.kind {
            StoreKind::Versioned(spec) => Some(spec.history_retention_ms),
            _ => None,
        };
        (&definition.name, history)
    }

    /// A node makes something of records without a key, so repartition topics in front of it keep those.
    pub(crate) fn take_null_keys(&mut self, node: NodeId) {
        self.nodes[node].takes_null_keys = true;
    }

    /// Registers a repartition topic's name once.
    #[track_caller]
    pub(crate) fn internal_topic(
        &mut self,
        base: &str,
        partition_count: Option<i32>,
    ) -> Arc<InternalTopic> {
        self.check_name(base);
        self.internal_topic_called(format!("{base}-repartition"), partition_count)
    }

    /// As [`Graph::internal_topic`], with its whole name but for the application's id.
    #[track_caller]
    pub(crate) fn internal_topic_called(
        &mut self,
        base: String,
        partition_count: Option<i32>,
    ) -> Arc<InternalTopic> {
        let taken = self.nodes.iter().find(|node| {
            matches!(&node.kind, NodeKind::Source { topics, .. }
                if topics.iter().any(|topic| matches!(topic, TopicName::Internal(other) if other.base == base)))
        });
        if let Some(other) = taken {
            let error = Error::topology(format!(
                "the repartition topic '{base}' at {} exists already, for the node added at {}: give this operation a name of its own",
                Location::caller(),
                other.location
            ));
            self.fail(error);
        }
        Arc::new(InternalTopic {
            base,
            partition_count,
        })
    }
}
