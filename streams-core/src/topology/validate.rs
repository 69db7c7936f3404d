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
    no_topic_is_read_twice(parts)?;
    counts_agree(parts)
}

/// Repartition topics that are joined must have the same number of partitions; where each of them has one that was asked for,
/// that is known already (`InternalTopologyBuilder#validateCopartition`). The runtime sees to the others.
fn counts_agree(parts: &TopologyParts) -> Result<()> {
    for sub_topology in &parts.sub_topologies {
        for group in &sub_topology.copartition_groups {
            let counts: Option<BTreeMap<&str, i32>> = group
                .iter()
                .map(|input| match &sub_topology.sources[*input].topic {
                    TopicName::Internal(topic) => {
                        Some((topic.base.as_str(), topic.partition_count?))
                    }
                    TopicName::External(_) => None,
                })
                .collect();
            let Some(counts) = counts else { continue };
            let mut distinct: Vec<i32> = counts.values().copied().collect();
            distinct.sort_unstable();
            distinct.dedup();
            if distinct.len() > 1 {
                let listed: Vec<String> = counts
                    .iter()
                    .map(|(topic, count)| format!("{topic}={count}"))
                    .collect();
                return Err(Error::topology(format!(
                    "Following topics do not have the same number of partitions: [{}]; give the same number to each `Repartitioned::with_number_of_partitions`",
                    listed.join(", ")
                )));
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use crate::serdes::Utf8;
    use crate::{Consumed, JoinWindows, Repartitioned, StreamsBuilder};
    use std::time::Duration;

    fn joined(left: i32, right: Option<i32>) -> crate::Result<crate::Topology> {
        let builder = StreamsBuilder::new();
        let repartitioned = |name: &str, count: Option<i32>| {
            let asked = Repartitioned::with(Utf8, Utf8).named(name);
            let asked = match count {
                Some(count) => asked.with_number_of_partitions(count),
                None => asked,
            };
            builder
                .stream::<String, String>(name, Consumed::new())
                .repartition(asked)
        };
        let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
        repartitioned("left", Some(left))
            .join_stream(
                &repartitioned("right", right),
                |a, b| format!("{a}{b}"),
                windows,
            )
            .for_each(|_, _| {});
        builder.build()
    }

    #[test]
    fn counts_that_were_asked_for_must_agree() {
        let error = joined(4, Some(2)).unwrap_err().to_string();
        assert!(
            error.contains("[left-repartition=4, right-repartition=2]"),
            "{error}"
        );
        joined(4, Some(4)).unwrap();
        joined(4, None).unwrap();
    }
}
