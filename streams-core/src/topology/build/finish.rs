//! From what was written down to a [`Topology`].

use super::{BuildOptions, Graph, self_join};
use crate::error::Result;
use crate::topology::merge_sources::merge_duplicate_sources;
use crate::topology::node::{NodeDefinition, NodeId, NodeKind};
use crate::topology::rewrite::{Rewrite, written_order};
use crate::topology::store::{GlobalStoreDefinition, StoreDefinition};
use crate::topology::topic::TopicName;
use crate::topology::{Topology, TopologyParts, optimize, sub_topology, validate};
use std::sync::Arc;

impl Graph {
    /// Leaves out what nobody wants, rewrites what there is a better form of, numbers the sub-topologies and checks the whole.
    pub(crate) fn build(&mut self, options: BuildOptions) -> Result<Topology> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut graph = std::mem::take(self);
        let mut rewrite = Rewrite {
            nodes: graph.nodes,
            copartitioned: graph.copartitioned,
        };
        merge_duplicate_sources(&mut rewrite, &graph.streams)?;
        if options.optimization.merge_repartition_topics {
            optimize::merge_repartition_topics(&mut rewrite, graph.repartitions, &graph.lifts);
        }
        if options.optimization.single_store_self_join {
            self_join::rewrite_self_joins(&mut rewrite, graph.self_joins, &mut graph.stores);
        }
        let Rewrite {
            mut nodes,
            copartitioned,
        } = rewrite;
        graph.internal_names.check(options.explicit_names)?;
        let reuse = options.optimization.reuse_ktable_source_topics;
        let place = |store: Arc<StoreDefinition>| match &graph.store_backend {
            Some(backend) if store.is_anywhere => Arc::new(store.placed(backend)),
            _ => store,
        };
        let stores: Vec<Arc<StoreDefinition>> = graph
            .stores
            .iter()
            .map(|store| match (&store.source_topic, reuse) {
                (Some(topic), true) => Arc::new(store.definition.changed_by(topic.clone())),
                _ => store.definition.clone(),
            })
            .map(place)
            .collect();
        // Indices stay, so that factories which hold them stay right; an unwanted store belongs to no node.
        for (id, store) in graph.stores.iter().enumerate() {
            if store.wanted.get() {
                for node in &store.nodes {
                    nodes[*node].stores.push(id);
                }
            }
        }
        for (id, node) in nodes.iter_mut().enumerate() {
            let connected = |store: &usize| {
                let connections = &mut graph.connections.iter();
                connections.position(|connection| *connection == (id, *store))
            };
            node.stores
                .sort_by_key(|store| connected(store).unwrap_or(usize::MAX));
        }
        mark_ways_of_null_keys(&mut nodes);
        let order = written_order(&mut nodes);
        let mut sub_topologies = Vec::new();
        let mut global_stores: Vec<GlobalStoreDefinition> = Vec::new();
        let mut pending_globals = graph.global_stores;
        for (id, members) in sub_topology::group(&nodes, &order).into_iter().enumerate() {
            let id = id as u32;
            match pending_globals
                .iter()
                .position(|global| members.contains(&global.node))
            {
                Some(position) => {
                    let mut global = pending_globals.remove(position).definition;
                    global.sub_topology = id;
                    global.store = place(global.store);
                    global_stores.push(global);
                }
                None => sub_topologies.push(sub_topology::describe_group(
                    id,
                    members,
                    &nodes,
                    &stores,
                    &copartitioned,
                )),
            }
        }
        let parts = TopologyParts {
            nodes,
            stores,
            sub_topologies,
            global_stores,
        };
        validate::validate(&parts, &|store: usize| graph.stores[store].wanted.get())?;
        Ok(Topology::new(parts))
    }
}

/// Marks every node from which records without a key get to one that takes them (Kafka's
/// `NodesWithRelaxedNullKeyJoinDownstream`).
fn mark_ways_of_null_keys(nodes: &mut [NodeDefinition]) {
    let mut open: Vec<NodeId> = (0..nodes.len())
        .filter(|id| nodes[*id].takes_null_keys)
        .collect();
    while let Some(id) = open.pop() {
        let mut before = nodes[id].parents.clone();
        if let NodeKind::Source { topics, .. } = &nodes[id].kind {
            before.extend((0..nodes.len()).filter(|sink| {
                matches!(&nodes[*sink].kind, NodeKind::Sink { topic: Some(topic @ TopicName::Internal(_)), .. }
                    if topics.contains(topic))
            }));
        }
        for id in before {
            if !nodes[id].leads_to_null_keys {
                nodes[id].leads_to_null_keys = true;
                open.push(id);
            }
        }
    }
}
