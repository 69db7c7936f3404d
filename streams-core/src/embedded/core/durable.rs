//! What outlives a restart, beside the segments: the sum of all [`Change`]s, and a core made from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::changes::{Change, CommittedOffset, DurableTransaction};
use super::log::{PartitionLog, Segment};
use super::topic_config::TopicConfig;
use super::topics::Topic;
use super::transactions::{EndedTransaction, OpenTransaction, Transaction};
use super::{BrokerCore, CoreConfig};

/// A topic without its records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DurableTopic {
    pub(crate) name: String,
    pub(crate) partition_count: usize,
    pub(crate) config: TopicConfig,
}

/// The durable state, without the records.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DurableState {
    pub(crate) cluster_id: Option<String>,
    pub(crate) topics: BTreeMap<Uuid, DurableTopic>,
    pub(crate) start_offsets: BTreeMap<(Uuid, usize), i64>,
    offsets: BTreeMap<(String, String, i32), CommittedOffset>,
    next_producer_id: i64,
    transactions: BTreeMap<String, DurableTransaction>,
}

impl DurableState {
    /// Takes a change over.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Cluster { cluster_id } => self.cluster_id = Some(cluster_id),
            Change::Topic {
                topic_id,
                name,
                partition_count,
                config,
            } => {
                self.topics.insert(
                    topic_id,
                    DurableTopic {
                        name,
                        partition_count,
                        config,
                    },
                );
            }
            Change::TopicDeleted { topic_id } => {
                self.topics.remove(&topic_id);
                self.start_offsets.retain(|(id, _), _| *id != topic_id);
            }
            Change::StartOffset {
                topic_id,
                partition,
                offset,
            } => {
                self.start_offsets.insert((topic_id, partition), offset);
            }
            Change::Log { .. } => {}
            Change::Offset {
                group_id,
                topic,
                partition,
                committed,
            } => {
                self.offsets.insert((group_id, topic, partition), committed);
            }
            Change::OffsetDeleted {
                group_id,
                topic,
                partition,
            } => {
                self.offsets.remove(&(group_id, topic, partition));
            }
            Change::NextProducerId { producer_id } => {
                self.next_producer_id = self.next_producer_id.max(producer_id)
            }
            Change::Transaction {
                transactional_id,
                transaction,
            } => {
                self.transactions.insert(transactional_id, transaction);
            }
        }
    }

    /// The shortest list of changes that leads here.
    pub(crate) fn to_changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        changes.extend(
            self.cluster_id
                .clone()
                .map(|cluster_id| Change::Cluster { cluster_id }),
        );
        changes.push(Change::NextProducerId {
            producer_id: self.next_producer_id,
        });
        changes.extend(self.topics.iter().map(|(id, topic)| Change::Topic {
            topic_id: *id,
            name: topic.name.clone(),
            partition_count: topic.partition_count,
            config: topic.config.clone(),
        }));
        changes.extend(
            self.start_offsets
                .iter()
                .map(|((topic_id, partition), offset)| Change::StartOffset {
                    topic_id: *topic_id,
                    partition: *partition,
                    offset: *offset,
                }),
        );
        changes.extend(
            self.offsets
                .iter()
                .map(|((group_id, topic, partition), committed)| Change::Offset {
                    group_id: group_id.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    committed: committed.clone(),
                }),
        );
        changes.extend(
            self.transactions
                .iter()
                .map(|(id, transaction)| Change::Transaction {
                    transactional_id: id.clone(),
                    transaction: transaction.clone(),
                }),
        );
        changes
    }
}

impl BrokerCore {
    /// The broker as it was when this state was kept. `segments` are the records by topic and partition.
    pub(crate) fn recovered(
        config: CoreConfig,
        state: DurableState,
        mut segments: HashMap<(Uuid, usize), Vec<Segment>>,
        now_ms: i64,
    ) -> Self {
        let mut core = Self::new(config);
        if let Some(cluster_id) = state.cluster_id {
            core.cluster_id = cluster_id;
            core.changes.take();
        }
        for (id, topic) in state.topics {
            let recover = |partition| {
                let segments = segments.remove(&(id, partition)).unwrap_or_default();
                let start_offset = state
                    .start_offsets
                    .get(&(id, partition))
                    .copied()
                    .unwrap_or(0);
                PartitionLog::recovered(id, partition, segments, start_offset, now_ms)
            };
            let partitions = (0..topic.partition_count).map(recover).collect();
            core.topics.insert(Topic {
                id,
                name: topic.name,
                partitions,
                config: topic.config,
            });
        }
        for ((group_id, topic, partition), committed) in state.offsets {
            core.groups
                .get_or_create(&group_id)
                .offsets
                .restore(&topic, partition, committed);
        }
        core.transactions
            .restore_next_producer_id(state.next_producer_id);
        for (transactional_id, transaction) in state.transactions {
            core.recover_transaction(transactional_id, transaction, now_ms);
        }
        core
    }

    fn recover_transaction(
        &mut self,
        transactional_id: String,
        durable: DurableTransaction,
        now_ms: i64,
    ) {
        for (group_id, topic, partition, committed) in durable.pending_offsets {
            let offsets = &mut self.groups.get_or_create(&group_id).offsets;
            offsets.hold(durable.producer_id, &topic, partition, committed);
        }
        let partitions: BTreeSet<(String, i32)> = durable.partitions.into_iter().collect();
        let groups: BTreeSet<String> = durable.groups.into_iter().collect();
        let open = durable.ongoing_since_ms.map(|since_ms| OpenTransaction {
            since_ms,
            partitions: partitions.clone(),
            groups: groups.clone(),
        });
        let transaction = Transaction {
            producer_id: durable.producer_id,
            producer_epoch: durable.producer_epoch,
            timeout_ms: durable.timeout_ms,
            open,
            last_outcome: durable.last_outcome,
        };
        self.transactions
            .restore(transactional_id.clone(), transaction);
        if let Some(is_commit) = durable.decided {
            let topics = &self.topics;
            let lacks_marker = |(topic, partition): &(String, i32)| {
                let log = topics.partition(topic, *partition);
                log.is_ok_and(|log| log.producers.has_open_transaction(durable.producer_id))
            };
            let ended = EndedTransaction {
                transactional_id,
                producer_id: durable.producer_id,
                producer_epoch: durable.producer_epoch,
                is_commit,
                partitions: partitions.into_iter().filter(lacks_marker).collect(),
                groups,
            };
            self.finish_transaction(&ended, now_ms);
        }
    }
}
