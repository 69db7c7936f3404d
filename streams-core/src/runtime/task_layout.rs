//! What a task is made of by the topology: its inputs and stores, and the topics these are restored from.

use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, CommittedOffset};
use crate::runtime::internal_topics::changelog_topic;
use crate::runtime::restore_request::StoreToRestore;
use crate::runtime::worker::WorkerContext;
use crate::task::TaskId;
use crate::topology::{SubTopology, Topology};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The sub-topologies whose tasks have state that is restored from topics.
pub(crate) fn stateful_parts(topology: &Topology) -> BTreeSet<u32> {
    let parts = topology.sub_topologies().iter();
    let stateful = parts.filter(|part| part.stores.iter().any(|store| store.changelog.is_some()));
    stateful.map(|part| part.id).collect()
}

impl<B: Broker> WorkerContext<B> {
    pub(crate) fn sub_topology(&self, id: TaskId) -> Result<&SubTopology> {
        self.topology
            .sub_topologies()
            .iter()
            .find(|sub_topology| sub_topology.id == id.sub_topology)
            .ok_or_else(|| Error::fatal(format!("the topology has no part for task {id}")))
    }

    /// By input number: what a task reads, `None` when the topic has no such partition.
    pub(crate) fn input_partitions(&self, id: TaskId) -> Result<Vec<Option<TopicPartition>>> {
        let sources = &self.sub_topology(id)?.sources;
        Ok(sources
            .iter()
            .map(|source| {
                let topic = source
                    .topic
                    .full_name(&self.settings.application_id)
                    .to_string();
                let count = self.partition_counts.get(&topic).copied();
                (id.partition < count.unwrap_or(0))
                    .then(|| TopicPartition::new(topic, id.partition))
            })
            .collect())
    }

    /// The stores of a task whose inputs are committed up to `committed`.
    pub(crate) fn stores_to_restore(
        &self,
        id: TaskId,
        inputs: &[Option<TopicPartition>],
        committed: &[Option<CommittedOffset>],
    ) -> Result<Vec<StoreToRestore>> {
        let stores = &self.sub_topology(id)?.stores;
        Ok(stores
            .iter()
            .map(|definition| {
                let source_topic = definition
                    .changelog
                    .as_ref()
                    .and_then(|changelog| changelog.source_topic.as_ref());
                let (changelog, end_max) = match (&definition.changelog, source_topic) {
                    (None, _) => (None, None),
                    (Some(_), Some(topic)) => {
                        let input = inputs
                            .iter()
                            .position(|p| p.as_ref().is_some_and(|p| *p.topic == **topic));
                        // Without a committed offset every record is still to be processed, so none is restored.
                        let end = input
                            .and_then(|input| committed[input].as_ref())
                            .map_or(0, |committed| committed.offset);
                        let partition = input.and_then(|input| inputs[input].clone());
                        (partition, Some(end))
                    }
                    (Some(_), None) => {
                        let topic =
                            changelog_topic(&self.settings.application_id, &definition.name);
                        (Some(TopicPartition::new(topic, id.partition)), None)
                    }
                };
                StoreToRestore {
                    definition: Arc::clone(definition),
                    changelog,
                    end_max,
                }
            })
            .collect())
    }
}
