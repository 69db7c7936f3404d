//! Groups of the consumer protocol: `ConsumerGroupHeartbeat`, `ConsumerGroupDescribe`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::consumer_group_heartbeat_response as heartbeat_response;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    GroupId, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::embedded::core::assignors::TopicPartition;
use crate::embedded::core::consumer_group::{ConsumerGroup, ConsumerMember, Heartbeat};
use crate::embedded::core::groups::Membership;
use crate::embedded::core::{BrokerCore, RequestContext, owned};

/// How often members shall send heartbeats. Kafka says 5000 (`group.consumer.heartbeat.interval.ms`); a rebalance takes a
/// few heartbeats, and here a quick start counts for more than little traffic.
const HEARTBEAT_INTERVAL_MS: i32 = 500;
/// `MemberType` of a member that speaks the consumer protocol.
const MEMBER_TYPE_CONSUMER: i8 = 1;

impl BrokerCore {
    /// A member joins, stays or leaves, and learns its partitions.
    pub(super) fn consumer_group_heartbeat(
        &mut self,
        context: &RequestContext,
        request: &ConsumerGroupHeartbeatRequest,
        now_ms: i64,
    ) -> ConsumerGroupHeartbeatResponse {
        let heartbeat = Heartbeat {
            request,
            client_id: &context.client_id,
            client_host: &context.client_host,
            new_member_id: self.ids.uuid().to_string(),
            session_timeout_ms: self.config.consumer_session_timeout_ms,
        };
        let is_joining = request.member_epoch == 0;
        let group = if request.group_id.is_empty() {
            Err(ResponseError::InvalidRequest)
        } else if is_joining {
            Ok(self.groups.get_or_create(&request.group_id))
        } else {
            // A group that is gone had no members: whoever comes with an epoch has to join again.
            self.groups
                .get_mut(&request.group_id)
                .ok_or(ResponseError::UnknownMemberId)
        };
        let outcome = group
            .and_then(|group| group.become_consumer())
            .and_then(|group| group.heartbeat(&heartbeat, &self.topics, now_ms));
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_heartbeat_interval_ms(HEARTBEAT_INTERVAL_MS);
        match outcome {
            Err(error) => response
                .with_error_code(error.code())
                .with_error_message(Some(StrBytes::from_string(error.to_string())))
                .with_heartbeat_interval_ms(0),
            Ok(outcome) => response
                .with_member_id(Some(StrBytes::from_string(outcome.member_id)))
                .with_member_epoch(outcome.member_epoch)
                .with_assignment(outcome.assignment.map(|partitions| {
                    let topics = by_topic(&partitions)
                        .into_iter()
                        .map(|(topic_id, partitions)| {
                            heartbeat_response::TopicPartitions::default()
                                .with_topic_id(topic_id)
                                .with_partitions(partitions)
                        });
                    heartbeat_response::Assignment::default()
                        .with_topic_partitions(topics.collect())
                })),
        }
    }

    /// The members of groups, their partitions and where they are going.
    pub(super) fn consumer_group_describe(
        &self,
        request: &ConsumerGroupDescribeRequest,
    ) -> ConsumerGroupDescribeResponse {
        let describe = |group_id: &GroupId| {
            let described = DescribedGroup::default().with_group_id(group_id.clone());
            match self.groups.get(group_id).map(|group| &group.membership) {
                Some(Membership::Consumer(group)) => described
                    .with_group_state(StrBytes::from_static_str(group.state_name()))
                    .with_group_epoch(group.epoch)
                    .with_assignment_epoch(group.assignment_epoch)
                    .with_assignor_name(StrBytes::from_static_str(group.assignor().name()))
                    .with_members(
                        group
                            .members
                            .iter()
                            .map(|(id, member)| self.described_member(group, id, member))
                            .collect(),
                    ),
                _ => described
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_error_message(Some(owned(&format!(
                        "Group {} is not a consumer group.",
                        group_id.0
                    )))),
            }
        };
        ConsumerGroupDescribeResponse::default()
            .with_groups(request.group_ids.iter().map(describe).collect())
    }

    fn described_member(&self, group: &ConsumerGroup, id: &str, member: &ConsumerMember) -> Member {
        let target = group.target.get(id).cloned().unwrap_or_default();
        Member::default()
            .with_member_id(owned(id))
            .with_instance_id(member.instance_id.as_deref().map(owned))
            .with_rack_id(member.rack_id.as_deref().map(owned))
            .with_member_epoch(member.epoch)
            .with_client_id(owned(&member.client_id))
            .with_client_host(owned(&member.client_host))
            .with_subscribed_topic_names(
                member
                    .subscribed_names
                    .iter()
                    .map(|name| TopicName(owned(name)))
                    .collect(),
            )
            .with_subscribed_topic_regex(member.subscribed_regex.as_deref().map(owned))
            .with_assignment(self.described_assignment(&member.assigned))
            .with_target_assignment(self.described_assignment(&target))
            .with_member_type(MEMBER_TYPE_CONSUMER)
    }

    fn described_assignment(&self, partitions: &BTreeSet<TopicPartition>) -> Assignment {
        let topics = by_topic(partitions)
            .into_iter()
            .map(|(topic_id, partitions)| {
                TopicPartitions::default()
                    .with_topic_id(topic_id)
                    .with_topic_name(TopicName(owned(
                        self.topics.name_of(topic_id).unwrap_or_default(),
                    )))
                    .with_partitions(partitions)
            });
        Assignment::default().with_topic_partitions(topics.collect())
    }
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    partitions
        .iter()
        .for_each(|(topic, partition)| topics.entry(*topic).or_default().push(*partition));
    topics
}
