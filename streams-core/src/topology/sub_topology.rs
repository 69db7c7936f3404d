//! Which nodes belong together: connected by edges or by a store they share. Repartition topics cut the graph.
//!
//! Numbering follows Kafka's `InternalTopologyBuilder#makeNodeGroups`: the order in which a group's first node was added.

use super::node::{NodeDefinition, NodeId, NodeKind};
use super::store::StoreDefinition;
use super::topic::{SourceTopic, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A connected part of the topology; one task runs it for each partition.
#[derive(Clone)]
pub(crate) struct SubTopology {
    pub(crate) id: u32,
    /// Its nodes in the order they were written.
    pub(crate) nodes: Vec<NodeId>,
    /// Its input topics; the position is the task's input number.
    pub(crate) sources: Vec<SourceTopic>,
    /// The topics it writes to, those chosen for each record excepted.
    pub(crate) sinks: Vec<TopicName>,
    pub(crate) stores: Vec<Arc<StoreDefinition>>,
    /// The same stores as indices into the topology's.
    pub(crate) store_ids: Vec<usize>,
    /// Inputs that must have the same number of partitions, as indices into `sources`.
    pub(crate) copartition_groups: Vec<Vec<usize>>,
}

/// Groups of nodes, by sub-topology number; those of global tables are among them, since they use up numbers.
pub(crate) fn group(nodes: &[NodeDefinition], order: &[NodeId]) -> Vec<Vec<NodeId>> {
    let mut roots: Vec<NodeId> = (0..nodes.len()).collect();
    let mut store_users: BTreeMap<usize, NodeId> = BTreeMap::new();
    for id in order.iter().copied() {
        let node = &nodes[id];
        for parent in &node.parents {
            unite(&mut roots, id, *parent);
        }
        for store in &node.stores {
            match store_users.get(store) {
                Some(user) => unite(&mut roots, id, *user),
                None => {
                    store_users.insert(*store, id);
                }
            }
        }
    }
    let mut groups: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
    for id in order.iter().copied() {
        let root = find(&mut roots, id);
        match groups.iter_mut().find(|(known, _)| *known == root) {
            Some((_, members)) => members.push(id),
            None => groups.push((root, vec![id])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// All sub-topologies as one, as Kafka Streams' test driver runs them.
#[cfg(feature = "test-driver")]
pub(crate) fn as_one(parts: &super::TopologyParts) -> SubTopology {
    let nodes = parts.sub_topologies.iter().flat_map(|one| &one.nodes);
    let mut members: Vec<NodeId> = nodes.copied().collect();
    members.sort_unstable();
    describe_group(0, members, &parts.nodes, &parts.stores, &[])
}

fn find(roots: &mut [NodeId], id: NodeId) -> NodeId {
    let mut root = id;
    while roots[root] != root {
        root = roots[root];
    }
    let mut next = id;
    while roots[next] != root {
        next = std::mem::replace(&mut roots[next], root);
    }
    root
}

fn unite(roots: &mut [NodeId], a: NodeId, b: NodeId) {
    let (a, b) = (find(roots, a), find(roots, b));
    roots[a] = b;
}

/// Everything about one group of nodes that tasks and the runtime need.
pub(crate) fn describe_group(
    id: u32,
    members: Vec<NodeId>,
    nodes: &[NodeDefinition],
    stores: &[Arc<StoreDefinition>],
    copartitioned: &[Vec<NodeId>],
) -> SubTopology {
    let mut sources = Vec::new();
    let mut sinks = Vec::new();
    let mut store_ids = Vec::new();
    for node in &members {
        match &nodes[*node].kind {
            NodeKind::Source {
                topics,
                auto_offset_reset,
                ..
            } => sources.extend(topics.iter().map(|topic| SourceTopic {
                topic: topic.clone(),
                auto_offset_reset: *auto_offset_reset,
                node: *node,
            })),
            NodeKind::Sink {
                topic: Some(topic), ..
            } if !sinks.contains(topic) => sinks.push(topic.clone()),
            _ => {}
        }
        for store in &nodes[*node].stores {
            if !store_ids.contains(store) {
                store_ids.push(*store);
            }
        }
    }
    let copartition_groups = copartitioned
        .iter()
        .filter_map(|group| {
            let inputs: Vec<usize> = (0..sources.len())
                .filter(|input| group.contains(&sources[*input].node))
                .collect();
            (inputs.len() > 1).then_some(inputs)
        })
        .collect();
    SubTopology {
        id,
        nodes: members,
        sources,
        sinks,
        stores: store_ids.iter().map(|id| stores[*id].clone()).collect(),
        store_ids,
        copartition_groups,
    }
}
