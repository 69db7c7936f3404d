//! What can be wrong with a topology before any record flows and is not seen while it is being written down.

use super::TopologyParts;
use super::node::NodeKind;
use super::topic::TopicName;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// `wanted` tells which stores exist at all: a table's own store may not.
pub(super) fn validate(parts: &TopologyParts, wanted: &dyn Fn(usize) -> bool) -> Result<()> {
    if parts.sub_topologies.is_empty() && parts.global_stores.is_empty() {
        return Err(Error::topology(
            "the topology reads no topic: add a source with `StreamsBuilder::stream`, `table` or `global_table`",
        ));
    }
    every_store_is_used(parts, wanted)?;
    no_topic_is_read_twice(parts)
}

/// A store nobody is connected to would never be opened: almost always a forgotten handle in `process`.
fn every_store_is_used(parts: &TopologyParts, wanted: &dyn Fn(usize) -> bool) -> Result<()> {
    for (id, store) in parts.stores.iter().enumerate() {
        let used = parts.nodes.iter().any(|node| node.stores.contains(&id));
        if wanted(id) && !used {
            return Err(Error::topology(format!(
                "store '{}' (added at {}) is not connected to any processor: pass its handle to `process` or `process_values`",
                store.name, store.location
            )));
        }
    }
    Ok(())
}

/// One topic, one source node: Kafka Streams refuses a topic in two sources as well.
fn no_topic_is_read_twice(parts: &TopologyParts) -> Result<()> {
    let mut readers: BTreeMap<String, usize> = BTreeMap::new();
    for (id, node) in parts.nodes.iter().enumerate() {
        if node.replaced {
            continue;
        }
        let topics: Vec<String> = match &node.kind {
            NodeKind::Source { topics, .. } => topics.iter().map(ToString::to_string).collect(),
            NodeKind::Global { topic } => vec![TopicName::External(topic.clone()).to_string()],
            _ => continue,
        };
        for topic in topics {
            if let Some(other) = readers.insert(topic.clone(), id) {
                return Err(Error::topology(format!(
                    "topic '{topic}' is read by two sources, at {} and at {}: read it once and use the stream or table twice",
                    parts.nodes[other].location, node.location
                )));
            }
        }
    }
    Ok(())
}
