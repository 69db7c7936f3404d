//! `merge.repartition.topics`: one repartition topic behind a change of keys for all that is behind it (Kafka's
//! `InternalStreamsBuilder#mergeRepartitionTopics`).

#[cfg(all(test, feature = "test-driver"))]
mod tests;

use super::node::{NodeDefinition, NodeId, NodeKind, OperatorFactory, RecordEffect, SourceFactory};
use super::rewrite::{Rewrite, writer_of};
use super::topic::{OffsetReset, TopicName};
use crate::serdes::BoxSerde;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The nodes of a repartition topic.
pub(crate) struct Repartition {
    pub(crate) filter: NodeId,
    pub(crate) sink: NodeId,
    pub(crate) source: NodeId,
    /// The topic, `<base>-repartition`.
    pub(crate) base: String,
    pub(crate) serdes: RepartitionSerdes,
    /// Whether it may become one with others; not if the user asked for it.
    pub(crate) movable: bool,
}

impl Repartition {
    pub(super) fn nodes(&self) -> [NodeId; 3] {
        [self.filter, self.sink, self.source]
    }
}

/// The serdes of a repartition topic, whatever its types, and what to make of them.
#[derive(Clone)]
pub(crate) struct RepartitionSerdes {
    serdes: Arc<dyn Any + Send + Sync>,
    factories: fn(&RepartitionSerdes, &TopicName) -> RepartitionFactories,
}

/// What makes filter, sink and source of a repartition topic.
pub(crate) struct RepartitionFactories {
    pub(crate) filter: OperatorFactory,
    pub(crate) sink: OperatorFactory,
    pub(crate) source: SourceFactory,
}

impl RepartitionSerdes {
    pub(crate) fn new<K: 'static, V: 'static>(
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        factories: fn(&RepartitionSerdes, &TopicName) -> RepartitionFactories,
    ) -> Self {
        RepartitionSerdes {
            serdes: Arc::new((key, value)),
            factories,
        }
    }

    /// What makes the nodes of a topic with these serdes.
    pub(crate) fn factories(&self, topic: &TopicName) -> RepartitionFactories {
        (self.factories)(self, topic)
    }

    /// The serdes, if those are their types.
    pub(crate) fn of<K: 'static, V: 'static>(&self) -> Option<&(BoxSerde<K>, BoxSerde<V>)> {
        self.serdes.downcast_ref()
    }
}

/// Makes of the serdes behind a node that nobody sees those of the records in front of it.
pub(crate) type Lift = Arc<dyn Fn(&RepartitionSerdes) -> Option<RepartitionSerdes> + Send + Sync>;

/// Puts one repartition topic behind each node that changes keys, instead of those further down.
///
/// What is between stays behind the topic. Where something between makes records of another type, which nothing in Kafka
/// Streams' own list of such operations does but a join with a global table, the topic stays where it is.
pub(super) fn merge_repartition_topics(
    rewrite: &mut Rewrite,
    repartitions: Vec<Repartition>,
    lifts: &BTreeMap<NodeId, Lift>,
) {
    let movable: Vec<Repartition> = repartitions.into_iter().filter(|one| one.movable).collect();
    let mut taken = vec![false; movable.len()];
    for (changer, members) in key_changers(&rewrite.nodes, &movable) {
        let members: Vec<(&Repartition, Vec<NodeId>, RepartitionSerdes)> = members
            .into_iter()
            .filter_map(|member| {
                let repartition = &movable[member];
                // Of several merges of streams the last one counts: the others are led around.
                if taken[member] || leads_around(&rewrite.nodes, repartition.filter, changer) {
                    return None;
                }
                let path = path_to(&rewrite.nodes, repartition.filter, changer)?;
                let serdes = lifted(&rewrite.nodes, &path, repartition, lifts)?;
                taken[member] = true;
                Some((repartition, path, serdes))
            })
            .collect();
        let Some((first, _, serdes)) = members.first() else {
            continue;
        };
        let merged = add_merged(rewrite, changer, first, serdes);
        for (repartition, path, _) in &members {
            merge(rewrite, changer, merged, repartition, path);
        }
    }
}

/// The repartition topics to merge behind each node, in the order of those nodes.
fn key_changers(nodes: &[NodeDefinition], movable: &[Repartition]) -> Vec<(NodeId, Vec<usize>)> {
    let with = |effect: RecordEffect| {
        (0..nodes.len()).filter(move |id| nodes[*id].effect == effect && !nodes[*id].replaced)
    };
    let mut changers: Vec<(NodeId, Vec<usize>)> = with(RecordEffect::ChangesKeys)
        .map(|changer| (changer, Vec::new()))
        .collect();
    for (member, repartition) in movable.iter().enumerate() {
        let changes = |id: NodeId| {
            matches!(
                nodes[id].effect,
                RecordEffect::ChangesKeys | RecordEffect::ChangesValues
            )
        };
        let Some(last_change) = find(nodes, repartition.filter, &changes) else {
            continue;
        };
        let of_changer = changers.iter_mut().find(|(id, _)| *id == last_change);
        if let Some((_, members)) = of_changer {
            members.push(member);
        }
    }
    // What is behind a merge of streams is repartitioned behind it, not once for each of them.
    let mut moved = Vec::new();
    let mut behind_merges = Vec::new();
    for merge in with(RecordEffect::Merges) {
        let mut gathered = Vec::new();
        for (changer, members) in &changers {
            let all_behind = members
                .iter()
                .all(|member| path_to(nodes, movable[*member].filter, merge).is_some());
            if all_behind && path_to(nodes, merge, *changer).is_some() {
                for member in members {
                    if !gathered.contains(member) {
                        gathered.push(*member);
                    }
                }
                moved.push(*changer);
            }
        }
        behind_merges.push((merge, gathered));
    }
    changers.retain(|(changer, _)| !moved.contains(changer));
    changers.extend(behind_merges);
    changers
}

/// The nodes before a node; those before a repartition topic come before its source.
fn before(nodes: &[NodeDefinition], id: NodeId) -> Vec<NodeId> {
    match &nodes[id].kind {
        NodeKind::Source { topics, .. } => writer_of(nodes, topics).into_iter().collect(),
        _ => nodes[id].parents.clone(),
    }
}

/// The nearest of a node and those before it that is so (`InternalStreamsBuilder#findParentNodeMatching`).
fn find(
    nodes: &[NodeDefinition],
    start: NodeId,
    matches: &dyn Fn(NodeId) -> bool,
) -> Option<NodeId> {
    if matches(start) {
        return Some(start);
    }
    before(nodes, start)
        .into_iter()
        .find_map(|parent| find(nodes, parent, matches))
}

/// The nodes from one up to the one right behind another.
fn path_to(nodes: &[NodeDefinition], start: NodeId, end: NodeId) -> Option<Vec<NodeId>> {
    let parents = before(nodes, start);
    if parents.contains(&end) {
        return Some(vec![start]);
    }
    parents.into_iter().find_map(|parent| {
        let mut path = vec![start];
        path.extend(path_to(nodes, parent, end)?);
        Some(path)
    })
}

/// Whether records reach a node from somewhere else than another node: those would not go through a topic behind the other.
fn leads_around(nodes: &[NodeDefinition], start: NodeId, changer: NodeId) -> bool {
    let parents = before(nodes, start);
    parents.is_empty()
        || parents
            .into_iter()
            .any(|parent| parent != changer && leads_around(nodes, parent, changer))
}

/// The serdes of the records at the end of a path, unless something on it makes others of them.
fn lifted(
    nodes: &[NodeDefinition],
    path: &[NodeId],
    repartition: &Repartition,
    lifts: &BTreeMap<NodeId, Lift>,
) -> Option<RepartitionSerdes> {
    path.iter()
        .try_fold(repartition.serdes.clone(), |serdes, id| {
            match nodes[*id].effect {
                RecordEffect::Passes | RecordEffect::Merges => Some(serdes),
                _ => lifts.get(id)?(&serdes),
            }
        })
}

/// Adds the nodes of the topic that takes the place of others, called after the first, and returns its source.
fn add_merged(
    rewrite: &mut Rewrite,
    changer: NodeId,
    first: &Repartition,
    serdes: &RepartitionSerdes,
) -> NodeId {
    let NodeKind::Sink {
        topic: Some(topic), ..
    } = &rewrite.nodes[first.sink].kind
    else {
        unreachable!("a repartition topic has a name")
    };
    let topic = topic.clone();
    let factories = serdes.factories(&topic);
    let location = rewrite.nodes[first.filter].location;
    let priority = rewrite.nodes[changer].priority;
    let mut add = |suffix: &str, kind: NodeKind, parent: Option<NodeId>| {
        let id = rewrite.nodes.len();
        if let Some(parent) = parent {
            rewrite.nodes[parent].children.push(id);
        }
        rewrite.nodes.push(NodeDefinition {
            name: format!("{}{suffix}", first.base).into(),
            kind,
            parents: parent.into_iter().collect(),
            children: Vec::new(),
            stores: Vec::new(),
            sends_old_values: false,
            versioned: false,
            takes_null_keys: false,
            leads_to_null_keys: false,
            effect: RecordEffect::Passes,
            priority,
            replaced: false,
            grace_ms: None,
            hidden: false,
            location,
        });
        id
    };
    let filter = NodeKind::Processor {
        factory: factories.filter,
    };
    let filter = add("-filter", filter, Some(changer));
    let sink = NodeKind::Sink {
        topic: Some(topic.clone()),
        factory: factories.sink,
    };
    add("-sink", sink, Some(filter));
    let source = NodeKind::Source {
        topics: vec![topic],
        auto_offset_reset: Some(OffsetReset::Earliest),
        factory: factories.source,
    };
    add("-source", source, None)
}

/// Puts what is between a node that changes keys and a repartition topic behind the merged topic, and takes the other away.
fn merge(
    rewrite: &mut Rewrite,
    changer: NodeId,
    merged: NodeId,
    repartition: &Repartition,
    path: &[NodeId],
) {
    let nearest = path.last().copied().unwrap_or(repartition.filter);
    if rewrite.nodes[nearest].parents.contains(&changer) {
        rewrite.move_child(nearest, changer, merged);
    }
    for parent in rewrite.nodes[repartition.filter].parents.clone() {
        for child in rewrite.nodes[repartition.source].children.clone() {
            rewrite.move_child(child, repartition.source, parent);
        }
    }
    rewrite.remove(repartition.sink);
    rewrite.remove(repartition.filter);
    rewrite.replace(repartition.source, merged);
}
