//! Repartition topics: the filter, sink and source that lead a stream through a topic of its own.

use super::builder::add_source;
use super::{GraphRef, stream_node};
use crate::operators::merge::Merge;
use crate::operators::sink::{Sink, Target};
use crate::partitioner::StreamPartitioner;
use crate::serdes::BoxSerde;
use crate::timestamp_extractor::FailOnInvalidTimestamp;
use crate::topology::{NodeId, TopicName};
use std::panic::Location;
use std::sync::Arc;

/// What a repartition topic is made of.
pub(crate) struct RepartitionParts<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) partition_count: Option<i32>,
    pub(crate) partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
}

/// Adds filter, sink and source of a repartition topic behind a node, and returns the source. Records without a key stay
/// behind unless something behind the topic makes use of them.
pub(crate) fn add_repartition<K: 'static, V: 'static>(
    graph: &GraphRef,
    parent: NodeId,
    base: &str,
    parts: RepartitionParts<K, V>,
    location: &'static Location<'static>,
) -> NodeId {
    let mut graph = graph.borrow_mut();
    let generated = (
        graph.new_name("KSTREAM-SINK-"),
        graph.new_name("KSTREAM-FILTER-"),
        graph.new_name("KSTREAM-SOURCE-"),
    );
    let topic = graph.internal_topic(base, parts.partition_count);
    let (sink_name, filter_name, source_name) = match is_generated(base) {
        true => generated,
        false => (
            format!("{}-sink", topic.base),
            format!("{}-filter", topic.base),
            format!("{}-source", topic.base),
        ),
    };
    let topic = TopicName::Internal(topic);
    let filter = graph.add_processor(
        filter_name,
        vec![parent],
        stream_node::<K, V>(|scope, id| {
            Ok(Box::new(Merge {
                children: scope.stream_children(id)?,
            }))
        }),
        location,
    );
    let (key, value, target) = (parts.key.clone(), parts.value.clone(), topic.clone());
    let partitioner = parts.partitioner;
    graph.add_sink(
        sink_name,
        filter,
        Some(topic.clone()),
        stream_node::<K, V>(move |scope, id| {
            Ok(Box::new(Sink {
                target: Target::Topic(target.full_name(scope.application_id)),
                key: key.clone(),
                value: value.clone(),
                partitioner: partitioner.clone(),
                partition_count: None,
                skip_null_keys: !scope.node(id).leads_to_null_keys,
            }))
        }),
        location,
    );
    add_source(
        &mut graph,
        source_name,
        vec![topic],
        parts.key,
        parts.value,
        Arc::new(FailOnInvalidTimestamp),
        Some(crate::topology::OffsetReset::Earliest),
        location,
    )
}

/// The source of the repartition topic that a join reads instead of a node whose keys may have changed.
///
/// The topic has the base name given, or is called after the node. A second join of the same node without a name of its own
/// reads the topic of the one before (`KStreamImpl#repartitionForJoin`), and uses up the numbers of a topic all the same.
pub(crate) fn repartition_for_join<K: 'static, V: 'static>(
    graph: &GraphRef,
    node: NodeId,
    base: Option<String>,
    (key, value): (BoxSerde<K>, BoxSerde<V>),
    location: &'static Location<'static>,
) -> NodeId {
    let base = match base {
        Some(base) => base,
        None => {
            let mut graph = graph.borrow_mut();
            if let Some(source) = graph.join_repartition(node) {
                for _ in 0..3 {
                    graph.burn_index();
                }
                return source;
            }
            graph.name_of(node).to_string()
        }
    };
    let parts = RepartitionParts {
        key,
        value,
        partition_count: None,
        partitioner: None,
    };
    let source = add_repartition(graph, node, &base, parts, location);
    graph.borrow_mut().set_join_repartition(node, source);
    source
}

/// Whether a repartition topic's base name was generated, as Java's pattern `KSTREAM.*-[0-9]{10}` tells.
fn is_generated(base: &str) -> bool {
    base.starts_with("KSTREAM")
        && base.rsplit_once('-').is_some_and(|(_, digits)| {
            digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_digit())
        })
}
