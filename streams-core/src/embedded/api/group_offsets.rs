//! Offsets of groups: `OffsetCommit`, `OffsetFetch`, `TxnOffsetCommit`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::code;
use crate::embedded::core::changes::CommittedOffset;
use crate::embedded::core::groups::Membership;
use crate::embedded::core::transactions::ProducerIdentity;
use crate::embedded::core::{BrokerCore, owned};

/// The longest metadata of a commit, `offset.metadata.max.bytes`.
const METADATA_LEN_MAX: usize = 4096;

impl BrokerCore {
    /// Commits offsets for a member of a group, or for a group without members.
    pub(super) fn offset_commit(
        &mut self,
        request: &OffsetCommitRequest,
        now_ms: i64,
    ) -> OffsetCommitResponse {
        let instance_id = request.group_instance_id.as_deref();
        let generation_id = request.generation_id_or_member_epoch;
        let allowed = self.check_commit(
            &request.group_id,
            &request.member_id,
            instance_id,
            generation_id,
            now_ms,
        );
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let committed = allowed.and_then(|()| {
                    self.topics
                        .partition(&topic.name, partition.partition_index)?;
                    let committed = committed_offset(partition, now_ms)?;
                    let group = self.groups.get_or_create(&request.group_id);
                    let offsets = &mut group.offsets;
                    offsets.commit(
                        &request.group_id,
                        &topic.name,
                        partition.partition_index,
                        committed,
                        &mut self.changes,
                    );
                    Ok(())
                });
                let response = OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code(&committed));
                partitions.push(response);
            }
            let response = OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions);
            topics.push(response);
        }
        OffsetCommitResponse::default().with_topics(topics)
    }

    fn check_commit(
        &mut self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation_id: i32,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        if group_id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        match self.groups.get_mut(group_id) {
            Some(group) => group.check_commit(member_id, instance_id, generation_id, now_ms),
            None if generation_id < 0 => Ok(()),
            None => Err(ResponseError::IllegalGeneration),
        }
    }

    /// The committed offsets of one group (before version 8) or of several.
    pub(super) fn offset_fetch(
        &self,
        request: &OffsetFetchRequest,
        version: i16,
    ) -> OffsetFetchResponse {
        if version < 8 {
            let wanted = request
                .topics
                .as_ref()
                .filter(|topics| !topics.is_empty() || version >= 2);
            let wanted = wanted.map(|topics| {
                topics
                    .iter()
                    .map(|t| (&t.name, &t.partition_indexes))
                    .collect()
            });
            let found = self.offsets_of(&request.group_id, wanted, request.require_stable);
            let topics = found.into_iter().map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(single_group_partition).collect();
                OffsetFetchResponseTopic::default()
                    .with_name(name)
                    .with_partitions(partitions)
            });
            return OffsetFetchResponse::default().with_topics(topics.collect());
        }
        let groups = request.groups.iter().map(|group| {
            if let Err(error) = self.check_fetch(group) {
                return OffsetFetchResponseGroup::default()
                    .with_group_id(group.group_id.clone())
                    .with_error_code(error.code());
            }
            let wanted = group.topics.as_ref();
            let wanted = wanted.map(|topics| {
                topics
                    .iter()
                    .map(|t| (&t.name, &t.partition_indexes))
                    .collect()
            });
            let found = self.offsets_of(&group.group_id, wanted, request.require_stable);
            let topics = found.into_iter().map(|(name, partitions)| {
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions)
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id.clone())
                .with_topics(topics.collect())
        });
        OffsetFetchResponse::default().with_groups(groups.collect())
    }

    /// A member of the consumer protocol may ask only at its current epoch.
    fn check_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), ResponseError> {
        let membership = self
            .groups
            .get(&request.group_id)
            .map(|group| &group.membership);
        match (membership, request.member_id.as_deref()) {
            (Some(Membership::Consumer(group)), Some(member_id)) if !member_id.is_empty() => {
                group.check_commit(member_id, request.member_epoch)
            }
            _ => Ok(()),
        }
    }

    fn offsets_of(
        &self,
        group_id: &GroupId,
        wanted: Option<Vec<(&TopicName, &Vec<i32>)>>,
        is_stable_required: bool,
    ) -> Vec<(TopicName, Vec<OffsetFetchResponsePartitions>)> {
        let offsets = self.groups.get(group_id).map(|group| &group.offsets);
        let describe = |topic: &str, partition: i32| {
            let response = OffsetFetchResponsePartitions::default().with_partition_index(partition);
            if is_stable_required
                && offsets.is_some_and(|offsets| offsets.is_unstable(topic, partition))
            {
                let error = ResponseError::UnstableOffsetCommit.code();
                return response
                    .with_error_code(error)
                    .with_committed_offset(-1)
                    .with_committed_leader_epoch(-1);
            }
            match offsets.and_then(|offsets| offsets.get(topic, partition)) {
                None => response
                    .with_committed_offset(-1)
                    .with_committed_leader_epoch(-1)
                    .with_metadata(Some(StrBytes::new())),
                Some(committed) => response
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(owned(&committed.metadata))),
            }
        };
        if let Some(wanted) = wanted {
            let describe_topic = |(name, partitions): (&TopicName, &Vec<i32>)| {
                (
                    name.clone(),
                    partitions
                        .iter()
                        .map(|partition| describe(name, *partition))
                        .collect(),
                )
            };
            return wanted.into_iter().map(describe_topic).collect();
        }
        let mut topics: Vec<(TopicName, Vec<_>)> = Vec::new();
        for ((topic, partition), _) in offsets.into_iter().flat_map(|offsets| offsets.iter()) {
            if topics.last().is_none_or(|(name, _)| name.as_str() != topic) {
                topics.push((TopicName(owned(topic)), Vec::new()));
            }
            if let Some((_, partitions)) = topics.last_mut() {
                partitions.push(describe(topic, *partition));
            }
        }
        topics
    }

    /// Holds offsets back until the transaction of their producer commits.
    pub(super) fn txn_offset_commit(
        &mut self,
        request: &TxnOffsetCommitRequest,
        now_ms: i64,
    ) -> TxnOffsetCommitResponse {
        let producer = ProducerIdentity {
            producer_id: request.producer_id.0,
            producer_epoch: request.producer_epoch,
        };
        let allowed = self
            .transactions
            .check_offsets(&request.transactional_id, producer, &request.group_id)
            .and_then(|()| {
                if request.generation_id < 0 && request.member_id.is_empty() {
                    // A producer that does not know its group (before KIP-447) is fenced by its transactional id alone.
                    return Ok(());
                }
                let instance_id = request.group_instance_id.as_deref();
                self.check_commit(
                    &request.group_id,
                    &request.member_id,
                    instance_id,
                    request.generation_id,
                    now_ms,
                )
            });
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let held = allowed.and_then(|()| {
                    self.topics
                        .partition(&topic.name, partition.partition_index)?;
                    let committed = held_offset(partition, now_ms)?;
                    let offsets = &mut self.groups.get_or_create(&request.group_id).offsets;
                    offsets.hold(
                        producer.producer_id,
                        &topic.name,
                        partition.partition_index,
                        committed,
                    );
                    Ok(())
                });
                let response = TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code(&held));
                partitions.push(response);
            }
            let response = TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions);
            topics.push(response);
        }
        self.note_transaction(&request.transactional_id);
        TxnOffsetCommitResponse::default().with_topics(topics)
    }
}

fn committed_offset(
    partition: &OffsetCommitRequestPartition,
    now_ms: i64,
) -> Result<CommittedOffset, ResponseError> {
    let metadata = partition
        .committed_metadata
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    checked_offset(
        partition.committed_offset,
        partition.committed_leader_epoch,
        metadata,
        now_ms,
    )
}

fn held_offset(
    partition: &TxnOffsetCommitRequestPartition,
    now_ms: i64,
) -> Result<CommittedOffset, ResponseError> {
    let metadata = partition
        .committed_metadata
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    checked_offset(
        partition.committed_offset,
        partition.committed_leader_epoch,
        metadata,
        now_ms,
    )
}

fn checked_offset(
    offset: i64,
    leader_epoch: i32,
    metadata: String,
    now_ms: i64,
) -> Result<CommittedOffset, ResponseError> {
    if metadata.len() > METADATA_LEN_MAX {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp_ms: now_ms,
    })
}

/// The answer of version 8 and later as the versions before it have it.
fn single_group_partition(
    partition: OffsetFetchResponsePartitions,
) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition::default()
        .with_partition_index(partition.partition_index)
        .with_committed_offset(partition.committed_offset)
        .with_committed_leader_epoch(partition.committed_leader_epoch)
        .with_metadata(partition.metadata)
        .with_error_code(partition.error_code)
}
