//! The topology as a picture: Mermaid for pages that render Markdown, DOT for Graphviz.
//!
//! Both show the same: a cluster for each sub-topology with its nodes and stores, and the topics between them.

use super::TopologyParts;
use super::node::{NodeId, NodeKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is drawn.
struct Diagram<'a> {
    clusters: Vec<Cluster<'a>>,
    /// Topic names with their shapes' ids, in alphabetical order.
    topics: BTreeMap<String, usize>,
    edges: Vec<Edge>,
}

struct Cluster<'a> {
    title: String,
    /// Nodes with the ids of their shapes.
    nodes: Vec<(usize, &'a str)>,
    /// Stores with the ids of their shapes.
    stores: Vec<(usize, &'a str)>,
}

enum Edge {
    /// Records go from one shape to the other.
    Records { from: String, to: String },
    /// A node uses a store.
    Uses { node: String, store: String },
}

fn node_id(number: usize) -> String {
    format!("n{number}")
}

fn store_id(number: usize) -> String {
    format!("s{number}")
}

fn topic_id(number: usize) -> String {
    format!("t{number}")
}

impl<'a> Diagram<'a> {
    fn of(parts: &'a TopologyParts) -> Self {
        let mut diagram = Diagram {
            clusters: Vec::new(),
            topics: BTreeMap::new(),
            edges: Vec::new(),
        };
        diagram.number_topics(parts);
        let mut clusters: BTreeMap<u32, Cluster<'a>> = BTreeMap::new();
        for sub_topology in &parts.sub_topologies {
            let mut nodes = Vec::new();
            for &id in &sub_topology.nodes {
                if !parts.nodes[id].hidden {
                    nodes.push((id, &*parts.nodes[id].name));
                    diagram.connect(parts, id);
                }
            }
            let stores = sub_topology
                .store_ids
                .iter()
                .map(|store| (*store, parts.stores[*store].name.as_str()))
                .collect();
            let cluster = Cluster {
                title: format!("Sub-topology {}", sub_topology.id),
                nodes,
                stores,
            };
            clusters.insert(sub_topology.id, cluster);
        }
        for (position, global) in parts.global_stores.iter().enumerate() {
            // Ids behind those of all other nodes and stores.
            let source = parts.nodes.len() + 2 * position;
            let store = parts.stores.len() + position;
            diagram.records(topic_id(diagram.topics[&*global.topic]), node_id(source));
            diagram.records(node_id(source), node_id(source + 1));
            diagram.edges.push(Edge::Uses {
                node: node_id(source + 1),
                store: store_id(store),
            });
            let cluster = Cluster {
                title: format!("Sub-topology {} (global store)", global.sub_topology),
                nodes: vec![
                    (source, &global.source_name),
                    (source + 1, &global.processor_name),
                ],
                stores: vec![(store, &global.store.name)],
            };
            clusters.insert(global.sub_topology, cluster);
        }
        diagram.clusters = clusters.into_values().collect();
        diagram
    }

    fn number_topics(&mut self, parts: &TopologyParts) {
        let mut names: Vec<String> = Vec::new();
        for sub_topology in &parts.sub_topologies {
            names.extend(sub_topology.sources.iter().map(|one| one.topic.to_string()));
            names.extend(sub_topology.sinks.iter().map(ToString::to_string));
        }
        names.extend(parts.global_stores.iter().map(|one| one.topic.to_string()));
        names.sort();
        names.dedup();
        self.topics = names.into_iter().zip(0..).collect();
    }

    fn connect(&mut self, parts: &TopologyParts, id: NodeId) {
        let node = &parts.nodes[id];
        match &node.kind {
            NodeKind::Source { topics, .. } => {
                for topic in topics {
                    let topic = self.topics[&topic.to_string()];
                    self.records(topic_id(topic), node_id(id));
                }
            }
            NodeKind::Sink {
                topic: Some(topic), ..
            } => {
                let topic = self.topics[&topic.to_string()];
                self.records(node_id(id), topic_id(topic));
            }
            _ => {}
        }
        let mut parents: Vec<NodeId> = node.parents.iter().map(|p| parts.visible(*p)).collect();
        parents.dedup();
        for parent in parents {
            self.records(node_id(parent), node_id(id));
        }
        for store in &node.stores {
            self.edges.push(Edge::Uses {
                node: node_id(id),
                store: store_id(*store),
            });
        }
    }

    fn records(&mut self, from: String, to: String) {
        self.edges.push(Edge::Records { from, to });
    }
}

/// A flowchart: topics are parallelograms, stores cylinders, sub-topologies boxes around nodes.
pub(super) fn mermaid(parts: &TopologyParts) -> String {
    let diagram = Diagram::of(parts);
    let mut text = String::from("flowchart TD\n");
    for (name, number) in &diagram.topics {
        let _ = writeln!(text, "    {}[/\"{name}\"/]", topic_id(*number));
    }
    for (number, cluster) in diagram.clusters.iter().enumerate() {
        let _ = writeln!(text, "    subgraph c{number}[\"{}\"]", cluster.title);
        for (id, name) in &cluster.nodes {
            let _ = writeln!(text, "        {}[\"{name}\"]", node_id(*id));
        }
        for (id, name) in &cluster.stores {
            let _ = writeln!(text, "        {}[(\"{name}\")]", store_id(*id));
        }
        text.push_str("    end\n");
    }
    for edge in &diagram.edges {
        let _ = match edge {
            Edge::Records { from, to } => writeln!(text, "    {from} --> {to}"),
            Edge::Uses { node, store } => writeln!(text, "    {node} -.- {store}"),
        };
    }
    text
}

/// A directed graph: topics are parallelograms, stores cylinders, sub-topologies clusters.
pub(super) fn dot(parts: &TopologyParts) -> String {
    let diagram = Diagram::of(parts);
    let mut text = String::from("digraph topology {\n    node [shape=box];\n");
    let shape = |indent: &str, id: &str, name: &str, shape: &str| {
        format!("{indent}{id} [label=\"{name}\"{shape}];\n")
    };
    for (name, number) in &diagram.topics {
        text.push_str(&shape(
            "    ",
            &topic_id(*number),
            name,
            ", shape=parallelogram",
        ));
    }
    for (number, cluster) in diagram.clusters.iter().enumerate() {
        let _ = writeln!(text, "    subgraph cluster_{number} {{");
        let _ = writeln!(text, "        label=\"{}\";", cluster.title);
        for (id, name) in &cluster.nodes {
            text.push_str(&shape("        ", &node_id(*id), name, ""));
        }
        for (id, name) in &cluster.stores {
            text.push_str(&shape("        ", &store_id(*id), name, ", shape=cylinder"));
        }
        text.push_str("    }\n");
    }
    for edge in &diagram.edges {
        let _ = match edge {
            Edge::Records { from, to } => writeln!(text, "    {from} -> {to};"),
            Edge::Uses { node, store } => {
                writeln!(text, "    {node} -> {store} [style=dashed, dir=none];")
            }
        };
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use crate::serdes::Utf8;
    use crate::{Consumed, Grouped, Materialized, Produced, StreamsBuilder, Topology};
    use std::collections::BTreeSet;

    fn topology() -> Topology {
        let builder = StreamsBuilder::new();
        let names = builder.global_table::<String, String>(
            "names",
            Consumed::new(),
            Materialized::named("names"),
        );
        builder
            .stream::<String, String>("in", Consumed::new())
            .join_global(&names, |key, _| key.clone(), |_, _, name| name.clone())
            .group_by(|_, name| name.clone(), Grouped::new().named("by-name"))
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to("out", Produced::with(Utf8, crate::serdes::I64));
        builder.build().expect("a topology")
    }

    /// The ids that are declared, and those that edges use.
    fn ids(text: &str, arrows: &[&str], declared: impl Fn(&str) -> Option<String>) {
        let mut known = BTreeSet::new();
        let mut used = BTreeSet::new();
        for line in text.lines().map(str::trim) {
            match arrows.iter().find_map(|arrow| line.split_once(arrow)) {
                Some((from, to)) => {
                    used.insert(from.trim().to_owned());
                    let to = to.trim_end_matches(';');
                    used.insert(to.split(" [").next().unwrap_or(to).trim().to_owned());
                }
                None => known.extend(declared(line)),
            }
        }
        assert!(!used.is_empty(), "{text}");
        assert_eq!(known, used, "{text}");
    }

    #[test]
    fn every_shape_of_a_flowchart_is_declared_and_connected() {
        let text = topology().describe_mermaid();
        assert!(text.starts_with("flowchart TD\n"), "{text}");
        ids(&text, &["-->", "-.-"], |line| {
            let (id, _) = line.split_once('[')?;
            (!id.starts_with("subgraph")).then(|| id.to_owned())
        });
        assert_eq!(text.matches("subgraph ").count(), 3);
        assert_eq!(text.lines().filter(|line| line.trim() == "end").count(), 3);
        for shape in [
            "[/\"in\"/]",
            "[/\"by-name-repartition\"/]",
            "[(\"counts\")]",
            "[(\"names\")]",
        ] {
            assert!(text.contains(shape), "{shape} in {text}");
        }
    }

    #[test]
    fn every_shape_of_a_graph_is_declared_and_connected() {
        let text = topology().describe_dot();
        assert!(text.starts_with("digraph topology {\n"), "{text}");
        ids(&text, &["->"], |line| {
            let (id, _) = line.split_once(" [label=")?;
            Some(id.to_owned())
        });
        assert_eq!(text.matches("subgraph cluster_").count(), 3);
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert_eq!(text.matches("shape=cylinder").count(), 2);
    }
}
