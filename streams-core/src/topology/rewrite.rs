//! Changes of a finished graph: nodes that get other parents, nodes that take the place of others, and the order in which
//! Kafka Streams writes what is left.

use super::node::{NodeDefinition, NodeId, NodeKind};
use super::topic::TopicName;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A graph that is being changed. Nodes keep their numbers, so that what refers to them stays right.
pub(super) struct Rewrite {
    pub(super) nodes: Vec<NodeDefinition>,
    /// Sources that must have equally many partitions.
    pub(super) copartitioned: Vec<Vec<NodeId>>,
}

impl Rewrite {
    /// Gives a node another parent instead of one it has. It is the last of its parents then, as in Kafka Streams' sets.
    pub(super) fn move_child(&mut self, child: NodeId, from: NodeId, to: NodeId) {
        self.nodes[from].children.retain(|other| *other != child);
        self.nodes[to].children.push(child);
        let parents = &mut self.nodes[child].parents;
        parents.retain(|other| *other != from);
        if !parents.contains(&to) {
            parents.push(to);
        }
        self.nodes[to].children.sort_unstable();
        self.nodes[to].children.dedup();
    }

    /// Takes a parent from a node that has others.
    pub(super) fn detach(&mut self, child: NodeId, parent: NodeId) {
        self.nodes[parent].children.retain(|other| *other != child);
        self.nodes[child].parents.retain(|other| *other != parent);
    }

    /// Takes a node without children out of the graph; where it was a source, another one stands for it.
    pub(super) fn replace(&mut self, node: NodeId, by: NodeId) {
        self.remove(node);
        for group in &mut self.copartitioned {
            for source in group.iter_mut().filter(|source| **source == node) {
                *source = by;
            }
            group.sort_unstable();
            group.dedup();
        }
    }

    /// Takes a node without children out of the graph.
    pub(super) fn remove(&mut self, node: NodeId) {
        for parent in std::mem::take(&mut self.nodes[node].parents) {
            self.nodes[parent].children.retain(|other| *other != node);
        }
        self.nodes[node].replaced = true;
    }
}

/// The order in which Kafka Streams' `InternalStreamsBuilder#buildAndOptimizeTopology` writes nodes down, which is the order
/// their parents call them in: the earliest of those whose parents are written. Puts the children of each node into it.
pub(super) fn written_order(nodes: &mut [NodeDefinition]) -> Vec<NodeId> {
    let mut waits_for: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut leads_to: Vec<Vec<NodeId>> = nodes.iter().map(|node| node.children.clone()).collect();
    for (id, node) in nodes.iter().enumerate() {
        let writer = match &node.kind {
            NodeKind::Source { topics, .. } if !node.replaced => writer_of(nodes, topics),
            _ => None,
        };
        if let Some(writer) = writer {
            leads_to[writer].push(id);
        }
        waits_for.push(node.parents.len() + usize::from(writer.is_some()));
    }
    let mut ready: BinaryHeap<Reverse<(usize, NodeId)>> = (0..nodes.len())
        .filter(|id| waits_for[*id] == 0 && !nodes[*id].replaced)
        .map(|id| Reverse((nodes[id].priority, id)))
        .collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse((_, id))) = ready.pop() {
        order.push(id);
        for child in std::mem::take(&mut leads_to[id]) {
            waits_for[child] -= 1;
            if waits_for[child] == 0 {
                ready.push(Reverse((nodes[child].priority, child)));
            }
        }
    }
    let mut places = vec![0; nodes.len()];
    for (place, id) in order.iter().enumerate() {
        places[*id] = place;
    }
    for node in nodes.iter_mut() {
        node.children.sort_by_key(|child| places[*child]);
    }
    order
}

/// The sink of a repartition topic.
pub(super) fn writer_of(nodes: &[NodeDefinition], topics: &[TopicName]) -> Option<NodeId> {
    nodes.iter().position(|node| {
        !node.replaced
            && matches!(&node.kind, NodeKind::Sink { topic: Some(topic @ TopicName::Internal(_)), .. }
                if topics.contains(topic))
    })
}
