//! The text form of a topology, as Kafka's `TopologyDescription#toString` prints it.

use super::TopologyParts;
use super::node::{NodeId, NodeKind};
use std::fmt::Write;

pub(super) fn describe(parts: &TopologyParts) -> String {
    let mut text = String::from("Topologies:\n ");
    let mut numbered: Vec<(u32, String)> = parts
        .sub_topologies
        .iter()
        .map(|sub_topology| {
            (
                sub_topology.id,
                describe_nodes(parts, sub_topology.id, &sub_topology.nodes),
            )
        })
        .collect();
    numbered.extend(parts.global_stores.iter().map(|global| {
        let mut text = format!(
            "Sub-topology: {} for global store (will not generate tasks)\n",
            global.sub_topology
        );
        let _ = writeln!(
            text,
            "    Source: {} (topics: [{}])\n      --> {}",
            global.source_name, global.topic, global.processor_name
        );
        let _ = writeln!(
            text,
            "    Processor: {} (stores: [{}])\n      --> none\n      <-- {}",
            global.processor_name, global.store.name, global.source_name
        );
        (global.sub_topology, text)
    }));
    numbered.sort_by_key(|(id, _)| *id);
    for (_, part) in numbered {
        text.push_str("  ");
        text.push_str(&part);
    }
    text
}

fn describe_nodes(parts: &TopologyParts, id: u32, members: &[NodeId]) -> String {
    let sizes = subtree_sizes(parts, members);
    let size = |node: NodeId| sizes[members.iter().position(|m| *m == node).unwrap_or(0)];
    let sorted = |nodes: &[NodeId]| {
        let mut nodes = nodes.to_vec();
        nodes.sort_by(|a, b| {
            size(*b)
                .cmp(&size(*a))
                .then_with(|| parts.nodes[*a].name.cmp(&parts.nodes[*b].name))
        });
        nodes
    };
    let names = |nodes: &[NodeId]| {
        let names: Vec<&str> = sorted(nodes)
            .into_iter()
            .map(|node| &*parts.nodes[node].name)
            .collect();
        match names.is_empty() {
            true => String::from("none"),
            false => names.join(", "),
        }
    };
    let mut text = format!("Sub-topology: {id}\n");
    for node in sorted(members) {
        let node = &parts.nodes[node];
        let _ = match &node.kind {
            NodeKind::Source { topics, .. } => {
                let topics = hash_order(topics.iter().map(ToString::to_string).collect());
                writeln!(
                    text,
                    "    Source: {} (topics: [{}])\n      --> {}",
                    node.name,
                    topics.join(", "),
                    names(&node.children)
                )
            }
            NodeKind::Sink { topic, .. } => {
                let target = match topic {
                    Some(topic) => format!("topic: {topic}"),
                    None => String::from("extractor class: closure"),
                };
                writeln!(
                    text,
                    "    Sink: {} ({target})\n      <-- {}",
                    node.name,
                    names(&node.parents)
                )
            }
            NodeKind::Processor { .. } | NodeKind::Global { .. } | NodeKind::GlobalProcessor => {
                let stores = hash_order(
                    node.stores
                        .iter()
                        .map(|store| parts.stores[*store].name.clone())
                        .collect(),
                );
                writeln!(
                    text,
                    "    Processor: {} (stores: [{}])\n      --> {}\n      <-- {}",
                    node.name,
                    stores.join(", "),
                    names(&node.children),
                    names(&node.parents)
                )
            }
        };
    }
    text.push('\n');
    text
}

/// The size of the part of the graph behind each node, counted along every path, as Java counts it.
fn subtree_sizes(parts: &TopologyParts, members: &[NodeId]) -> Vec<u64> {
    fn size(parts: &TopologyParts, node: NodeId) -> u64 {
        1 + parts.nodes[node]
            .children
            .iter()
            .map(|child| size(parts, *child))
            .sum::<u64>()
    }
    members.iter().map(|node| size(parts, *node)).collect()
}

/// The order in which Java's `HashSet` gives names out again: stores and topics of a node are printed so.
fn hash_order(mut names: Vec<String>) -> Vec<String> {
    let buckets = (names.len() * 4 / 3 + 1).max(16).next_power_of_two();
    names.sort_by_key(|name| {
        let hash = name
            .encode_utf16()
            .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
    names
}
