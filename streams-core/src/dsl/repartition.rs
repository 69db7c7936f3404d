//! Repartition topics: the filter, sink and source that lead a stream through a topic of its own.

use super::builder::source_factory;
use super::{GraphRef, stream_node};
use crate::operators::merge::Merge;
use crate::operators::sink::{Sink, Target};
use crate::partitioner::StreamPartitioner;
use crate::serdes::BoxSerde;
use crate::timestamp_extractor::FailOnInvalidTimestamp;
use crate::topology::build::{Graph, Hidden};
use crate::topology::optimize::{Repartition, RepartitionFactories, RepartitionSerdes};
use crate::topology::topic::RecordTypes;
use crate::topology::{NodeId, OffsetReset, RecordEffect, TopicName};
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
    let RepartitionParts {
        key,
        value,
        partition_count,
        partitioner,
    } = parts;
    let mut graph = graph.borrow_mut();
    add(
        &mut graph,
        parent,
        base,
        partition_count,
        |topic| factories(&key, &value, partitioner, topic),
        erased(key.clone(), value.clone()),
        location,
    )
}

/// As `add_repartition`, whatever the types.
fn add(
    graph: &mut Graph,
    parent: NodeId,
    base: &str,
    partition_count: Option<i32>,
    factories: impl FnOnce(&TopicName) -> RepartitionFactories,
    serdes: RepartitionSerdes,
    location: &'static Location<'static>,
) -> NodeId {
    let generated = (
        graph.new_name("KSTREAM-SINK-"),
        graph.new_name("KSTREAM-FILTER-"),
        graph.new_name("KSTREAM-SOURCE-"),
    );
    let topic = graph.internal_topic(base, partition_count);
    let (sink_name, filter_name, source_name) = match is_generated(base) {
        true => generated,
        false => (
            format!("{}-sink", topic.base),
            format!("{}-filter", topic.base),
            format!("{}-source", topic.base),
        ),
    };
    let topic = TopicName::Internal(topic);
    let made = factories(&topic);
    let filter = graph.add_processor(filter_name, vec![parent], made.filter, location);
    graph.set_effect(filter, RecordEffect::Passes);
    let base = topic.to_string();
    let sink = graph.add_sink(
        sink_name,
        vec![filter],
        Some(topic.clone()),
        made.sink,
        location,
    );
    let reset = Some(OffsetReset::Earliest);
    let source = graph.add_source(source_name, vec![topic], reset, made.source, location);
    graph.note_repartition(Repartition {
        filter,
        sink,
        source,
        base,
        serdes,
        movable: true,
    });
    source
}

/// What makes the nodes of a repartition topic.
fn factories<K: 'static, V: 'static>(
    key: &BoxSerde<K>,
    value: &BoxSerde<V>,
    partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
    topic: &TopicName,
) -> RepartitionFactories {
    let filter = stream_node::<K, V>(|scope, id| {
        Ok(Box::new(Merge {
            children: scope.stream_children(id)?,
        }))
    });
    let (sink_key, sink_value, target) = (key.clone(), value.clone(), topic.clone());
    let sink = stream_node::<K, V>(move |scope, id| {
        Ok(Box::new(Sink {
            name: scope.node(id).name.clone(),
            target: Target::Topic(target.full_name(scope.application_id)),
            key: sink_key.clone(),
            value: sink_value.clone(),
            partitioner: partitioner.clone(),
            partition_count: None,
            exactly_one: false,
            skip_null_keys: !scope.node(id).leads_to_null_keys,
        }))
    });
    let extractor = Arc::new(FailOnInvalidTimestamp);
    RepartitionFactories {
        filter,
        sink,
        source: source_factory(1, key.clone(), value.clone(), extractor),
    }
}

/// The serdes of a repartition topic that may come to stand elsewhere.
pub(crate) fn erased<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
) -> RepartitionSerdes {
    RepartitionSerdes::new(key, value, |serdes, topic| {
        let (key, value) = serdes
            .of::<K, V>()
            .expect("the serdes were put in with these types");
        factories(key, value, None, topic)
    })
}

/// The node in front that leaves out records without a value, and the serdes of what is before it: such records travel through
/// the topic, as in Kafka Streams, and are dropped behind it.
fn dropped_values<K: 'static, V: 'static>(
    graph: &Graph,
    node: NodeId,
    key: &BoxSerde<K>,
    value: &BoxSerde<V>,
) -> Option<(Hidden, RepartitionSerdes)> {
    let hidden = graph.hidden(node)?;
    let serdes = (hidden.lift)(&erased(key.clone(), value.clone()))?;
    serdes.of::<K, Option<V>>()?;
    Some((hidden, serdes))
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
            if let Some(source) = graph.join_repartition(node, RecordTypes::of::<K, V>()) {
                for _ in 0..3 {
                    graph.burn_index();
                }
                return source;
            }
            let base = graph.name_of(node).to_string();
            graph.note_implicit_repartition(&base);
            base
        }
    };
    let dropped = dropped_values::<K, V>(&graph.borrow(), node, &key, &value);
    let source = match dropped {
        None => {
            let parts = RepartitionParts {
                key,
                value,
                partition_count: None,
                partitioner: None,
            };
            add_repartition(graph, node, &base, parts, location)
        }
        Some((dropped, serdes)) => {
            let mut graph = graph.borrow_mut();
            let lifted = serdes.clone();
            let made = |topic: &TopicName| lifted.factories(topic);
            let source = add(
                &mut graph,
                dropped.parent,
                &base,
                None,
                made,
                serdes,
                location,
            );
            let behind = graph.add_hidden(source, dropped.factory, location);
            graph.set_lift(behind, dropped.lift);
            behind
        }
    };
    let types = RecordTypes::of::<K, V>();
    graph.borrow_mut().set_join_repartition(node, types, source);
    source
}

/// Whether a repartition topic's base name was generated, as Java's pattern `KSTREAM.*-[0-9]{10}` tells.
fn is_generated(base: &str) -> bool {
    base.starts_with("KSTREAM")
        && base.rsplit_once('-').is_some_and(|(_, digits)| {
            digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_digit())
        })
}
