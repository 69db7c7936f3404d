//! The text form of a topology, as Kafka's `TopologyDescription#toString` prints it.

use super::TopologyParts;
use super::java_order::{TreeSet, hash_order};
use super::node::{NodeId, NodeKind};
use std::cmp::Ordering;
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
    let members: Vec<NodeId> = members
        .iter()
        .copied()
        .filter(|member| !parts.nodes[*member].hidden)
        .collect();
    let members = members.as_slice();
    let neighbours = Neighbours::of(parts, members);
    let names = |nodes: &TreeSet| {
        let names: Vec<&str> = nodes
            .items()
            .into_iter()
            .map(|node| &*parts.nodes[members[node]].name)
            .collect();
        match names.is_empty() {
            true => String::from("none"),
            false => names.join(", "),
        }
    };
    let mut sorted: Vec<usize> = (0..members.len()).collect();
    sorted.sort_by(|a, b| neighbours.compare(*a, *b));
    let mut text = format!("Sub-topology: {id}\n");
    for member in sorted {
        let node = &parts.nodes[members[member]];
        let (parents, children) = (
            names(&neighbours.parents[member]),
            names(&neighbours.children[member]),
        );
        let _ = match &node.kind {
            NodeKind::Source { topics, .. } => {
                let topics = hash_set(topics.iter().map(ToString::to_string).collect());
                writeln!(
                    text,
                    "    Source: {} (topics: [{}])\n      --> {}",
                    node.name, topics, children
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
                    node.name, parents
                )
            }
            NodeKind::Processor { .. } | NodeKind::Global { .. } | NodeKind::GlobalProcessor => {
                let stores = hash_set(
                    node.stores
                        .iter()
                        .map(|store| parts.stores[*store].name.clone())
                        .collect(),
                );
                writeln!(
                    text,
                    "    Processor: {} (stores: [{}])\n      --> {}\n      <-- {}",
                    node.name, stores, children, parents
                )
            }
        };
    }
    text.push('\n');
    text
}

/// The nodes before and behind each node of a sub-topology, as positions in it, in the order they are printed.
struct Neighbours<'a> {
    names: Vec<&'a str>,
    /// How large the part of the graph behind each node is, counted along every path.
    sizes: Vec<u64>,
    parents: Vec<TreeSet>,
    children: Vec<TreeSet>,
}

impl<'a> Neighbours<'a> {
    /// `InternalTopologyBuilder#describeSubtopology`: sizes grow while neighbours are being sorted by them.
    fn of(parts: &'a TopologyParts, members: &[NodeId]) -> Self {
        let names: Vec<&str> = members
            .iter()
            .map(|member| &*parts.nodes[*member].name)
            .collect();
        let order = hash_order(&names);
        let mut neighbours = Neighbours {
            names,
            sizes: vec![1; members.len()],
            parents: members.iter().map(|_| TreeSet::default()).collect(),
            children: members.iter().map(|_| TreeSet::default()).collect(),
        };
        for node in order {
            for parent in &parts.nodes[members[node]].parents {
                let parent = parts.visible(*parent);
                let Some(parent) = members.iter().position(|member| *member == parent) else {
                    continue;
                };
                neighbours.connect(parent, node);
            }
        }
        neighbours
    }

    fn connect(&mut self, parent: usize, node: usize) {
        let mut parents = std::mem::take(&mut self.parents[node]);
        parents.insert(parent, |a, b| self.compare(a, b));
        self.parents[node] = parents;
        let mut children = std::mem::take(&mut self.children[parent]);
        children.insert(node, |a, b| self.compare(a, b));
        self.children[parent] = children;
        self.grow(parent, self.sizes[node]);
    }

    fn grow(&mut self, node: usize, by: u64) {
        self.sizes[node] += by;
        for parent in self.parents[node].items() {
            self.grow(parent, by);
        }
    }

    /// The larger one first.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        self.sizes[b]
            .cmp(&self.sizes[a])
            .then_with(|| self.names[a].cmp(self.names[b]))
    }
}

fn hash_set(names: Vec<String>) -> String {
    let names: Vec<&str> = hash_order(&names)
        .into_iter()
        .map(|position| names[position].as_str())
        .collect();
    names.join(", ")
}
