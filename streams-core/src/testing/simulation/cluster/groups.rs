//! What members of groups ask the brokers for, and the check of the offsets they commit.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, GroupId, RequestKind, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Cluster, Membership, REBALANCE_TIMEOUT_MS, refused, stored};
use crate::embedded::core::consumer_group::Heartbeat;
use crate::embedded::core::{RequestContext, RequestId};
use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::CommittedOffset;

impl Cluster {
    pub(in crate::testing::simulation) fn session_timeout_ms(&self) -> i32 {
        i32::try_from(self.core.config.consumer_session_timeout_ms).unwrap_or(i32::MAX)
    }

    /// Asks for something that may be answered later.
    pub(in crate::testing::simulation) fn question(
        &mut self,
        request_id: RequestId,
        client_id: &str,
        version: i16,
        request: RequestKind,
        now_ms: i64,
    ) {
        let context = RequestContext {
            request_id,
            version,
            client_id: client_id.to_owned(),
            client_host: "simulated".to_owned(),
        };
        self.core.handle(&context, request, now_ms);
    }

    /// The answer, once there is one.
    pub(in crate::testing::simulation) fn answer(
        &mut self,
        request_id: RequestId,
    ) -> Option<ResponseKind> {
        for (id, answer) in self.core.take_answers() {
            if let Some(response) = answer.into_response() {
                self.answers.insert(id, response);
            }
        }
        self.answers.remove(&request_id)
    }

    /// Joins, or says that the member is there, what it subscribes to and what it has.
    pub(in crate::testing::simulation) fn heartbeat(
        &mut self,
        group: &str,
        member: (&str, i32),
        client_id: &str,
        topics: &BTreeSet<String>,
        owned: &BTreeSet<TopicPartition>,
        now_ms: i64,
    ) -> Result<Membership, ResponseError> {
        let core = &mut self.core;
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let mut by_topic: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for partition in owned {
            let topic = core.topics.get(&partition.topic);
            let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
            by_topic
                .entry(topic.id)
                .or_default()
                .push(partition.partition);
        }
        let owned = by_topic.into_iter().map(|(id, partitions)| {
            TopicPartitions::default()
                .with_topic_id(id)
                .with_partitions(partitions)
        });
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_member_id(text(member.0))
            .with_member_epoch(member.1)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_subscribed_topic_names(Some(topics.iter().map(|t| TopicName(text(t))).collect()))
            .with_topic_partitions(Some(owned.collect()));
        let heartbeat = Heartbeat {
            request: &request,
            client_id,
            client_host: "simulated",
            new_member_id: String::new(),
            session_timeout_ms: core.config.consumer_session_timeout_ms,
        };
        let outcome = core
            .groups
            .get_or_create(group)
            .become_consumer()?
            .heartbeat(&heartbeat, &core.topics, now_ms)?;
        let names: BTreeMap<Uuid, &String> = topics
            .iter()
            .filter_map(|topic| Some((core.topics.get(topic)?.id, topic)))
            .collect();
        let assigned = outcome.assignment.unwrap_or_default().into_iter();
        let named =
            |(id, partition)| Some(TopicPartition::new((*names.get(&id)?).clone(), partition));
        Ok(Membership {
            epoch: outcome.member_epoch,
            assigned: assigned.filter_map(named).collect(),
        })
    }

    /// The member is in the group no more.
    pub(in crate::testing::simulation) fn leave(&mut self, group: &str, member: &str, now_ms: i64) {
        let (topics, owned) = (BTreeSet::new(), BTreeSet::new());
        // One that is out already has nothing to leave.
        let _ = self.heartbeat(group, (member, -1), "", &topics, &owned, now_ms);
    }

    pub(in crate::testing::simulation) fn commit(
        &mut self,
        group: &str,
        member: (&str, i32),
        offsets: &[(TopicPartition, CommittedOffset)],
        now_ms: i64,
    ) -> Result<()> {
        let core = &mut self.core;
        let state = core.groups.get_or_create(group);
        state
            .check_commit(member.0, None, member.1, now_ms)
            .map_err(|error| match error {
                // A rebalance that is under way makes the generation old for a moment.
                ResponseError::IllegalGeneration => Error::retriable("an old generation"),
                error => refused(error, false),
            })?;
        for (partition, offset) in offsets {
            state.offsets.commit(
                group,
                &partition.topic,
                partition.partition,
                stored(offset, now_ms),
                &mut core.changes,
            );
        }
        Ok(())
    }

    /// The committed offsets, asked for by a member; refused while a transaction is about to commit others.
    pub(in crate::testing::simulation) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        stable: bool,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let Some(group) = self.core.groups.get(group) else {
            return Ok(vec![None; partitions.len()]);
        };
        let offset = |partition: &TopicPartition| {
            let (topic, number) = (&partition.topic, partition.partition);
            if stable && group.offsets.is_unstable(topic, number) {
                return Err(refused(ResponseError::UnstableOffsetCommit, false));
            }
            let committed = group.offsets.get(topic, number);
            Ok(committed.map(|committed| CommittedOffset {
                offset: committed.offset,
                metadata: committed.metadata.clone(),
            }))
        };
        partitions.iter().map(offset).collect()
    }

    pub(in crate::testing::simulation) fn committed_offset(
        &self,
        group: &str,
        partition: &TopicPartition,
    ) -> Option<i64> {
        let group = self.core.groups.get(group)?;
        let committed = group.offsets.get(&partition.topic, partition.partition)?;
        Some(committed.offset)
    }

    /// What is wrong with the offsets committed since the last call, if anything.
    pub(in crate::testing::simulation) fn check_offsets(&mut self, group: &str) -> Option<String> {
        let group = self.core.groups.get(group)?;
        for ((topic, partition), committed) in group.offsets.iter() {
            let partition = TopicPartition::new(topic.clone(), *partition);
            let before = self.committed.get(&partition).copied();
            if before == Some(committed.offset) {
                continue;
            }
            if let Some(before) = before
                && committed.offset < before
            {
                return Some(format!(
                    "the committed offset of {partition} went back from {before} to {}",
                    committed.offset
                ));
            }
            self.committed.insert(partition, committed.offset);
        }
        None
    }
}
