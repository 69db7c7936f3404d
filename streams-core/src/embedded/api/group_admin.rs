//! What tools ask about groups: `ListGroups`, `DescribeGroups`, `DeleteGroups`, `OffsetDelete`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::{
    DeletableGroupResult, DeleteGroupsResponse,
};
use kafka_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use kafka_protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetDeleteRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::code;
use crate::embedded::core::classic_group::{ClassicGroup, ClassicMember, ClassicState};
use crate::embedded::core::groups::{Group, Membership};
use crate::embedded::core::{BrokerCore, owned};

/// The version of `DescribeGroups` from which an unknown group is an error and not a dead group.
const NOT_FOUND_VERSION: i16 = 6;

impl BrokerCore {
    /// All groups in the states and of the types asked for.
    pub(super) fn list_groups(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let passes = |filter: &[StrBytes], value: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let list = |(group_id, group): (&String, &Group)| {
            let (group_type, protocol_type) = match &group.membership {
                Membership::Classic(group) => (
                    "classic",
                    group.protocol_type.as_deref().unwrap_or_default(),
                ),
                Membership::Consumer(_) => ("consumer", "consumer"),
            };
            let state = group.state_name();
            let is_wanted =
                passes(&request.states_filter, state) && passes(&request.types_filter, group_type);
            is_wanted.then(|| {
                ListedGroup::default()
                    .with_group_id(GroupId(owned(group_id)))
                    .with_protocol_type(owned(protocol_type))
                    .with_group_state(StrBytes::from_static_str(state))
                    .with_group_type(StrBytes::from_static_str(group_type))
            })
        };
        ListGroupsResponse::default().with_groups(self.groups.iter().filter_map(list).collect())
    }

    /// The members of classic groups.
    pub(super) fn describe_groups(
        &self,
        request: &DescribeGroupsRequest,
        version: i16,
    ) -> DescribeGroupsResponse {
        let describe = |group_id: &GroupId| {
            let described = DescribedGroup::default().with_group_id(group_id.clone());
            match self.groups.get(group_id).map(|group| &group.membership) {
                Some(Membership::Classic(group)) => describe_classic(described, group),
                _ if version < NOT_FOUND_VERSION => {
                    described.with_group_state(StrBytes::from_static_str("Dead"))
                }
                _ => described
                    .with_group_state(StrBytes::from_static_str("Dead"))
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_error_message(Some(owned(&format!(
                        "Group {} is not a classic group.",
                        group_id.0
                    )))),
            }
        };
        DescribeGroupsResponse::default().with_groups(request.groups.iter().map(describe).collect())
    }

    /// Deletes groups nobody is in, with their offsets.
    pub(super) fn delete_groups(&mut self, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
        let delete = |group_id: &GroupId| {
            let deleted = match self.groups.get(group_id) {
                None => Err(ResponseError::GroupIdNotFound),
                Some(group) if !group.has_no_members() => Err(ResponseError::NonEmptyGroup),
                Some(_) => {
                    if let Some(mut group) = self.groups.remove(group_id) {
                        group.offsets.clear(group_id, &mut self.changes);
                    }
                    Ok(())
                }
            };
            DeletableGroupResult::default()
                .with_group_id(group_id.clone())
                .with_error_code(code(&deleted))
        };
        DeleteGroupsResponse::default()
            .with_results(request.groups_names.iter().map(delete).collect())
    }

    /// Deletes single offsets of a group that does not use them.
    pub(super) fn offset_delete(&mut self, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
        let Some(group) = self.groups.get_mut(&request.group_id) else {
            return OffsetDeleteResponse::default()
                .with_error_code(ResponseError::GroupIdNotFound.code());
        };
        let delete_topic = |topic: &OffsetDeleteRequestTopic| {
            let allowed = if group.is_subscribed_to(&topic.name) {
                Err(ResponseError::GroupSubscribedToTopic)
            } else {
                Ok(())
            };
            let delete = |partition: &OffsetDeleteRequestPartition| {
                if allowed.is_ok() {
                    let number = partition.partition_index;
                    group
                        .offsets
                        .delete(&request.group_id, &topic.name, number, &mut self.changes);
                }
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code(&allowed))
            };
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(delete).collect())
        };
        OffsetDeleteResponse::default()
            .with_topics(request.topics.iter().map(delete_topic).collect())
    }
}

fn describe_classic(described: DescribedGroup, group: &ClassicGroup) -> DescribedGroup {
    // Before the generation is complete there is no protocol yet, and what members say about it is not meaningful.
    let is_settled = matches!(
        group.state,
        ClassicState::Stable | ClassicState::CompletingRebalance
    );
    let protocol = group
        .protocol_name
        .as_deref()
        .filter(|_| is_settled)
        .unwrap_or_default();
    let describe = |(id, member): (&String, &ClassicMember)| {
        let described = DescribedGroupMember::default()
            .with_member_id(owned(id))
            .with_group_instance_id(member.instance_id.as_deref().map(owned))
            .with_client_id(owned(&member.client_id))
            .with_client_host(owned(&member.client_host));
        if !is_settled {
            return described;
        }
        described
            .with_member_metadata(member.metadata(protocol))
            .with_member_assignment(member.assignment.clone())
    };
    described
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(owned(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(owned(protocol))
        .with_members(group.members.iter().map(describe).collect())
}
