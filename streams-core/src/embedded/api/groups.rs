//! Members of groups: `JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use kafka_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, ResponseKind,
    SyncGroupRequest, SyncGroupResponse,
};

use super::code;
use crate::embedded::core::classic_group::JoinContext;
use crate::embedded::core::groups::Group;
use crate::embedded::core::{BrokerCore, RequestContext};

/// The longest session a member may ask for, `group.max.session.timeout.ms`. There is no lower bound, so that tests can
/// see sessions end.
const SESSION_TIMEOUT_MS_MAX: i32 = 1_800_000;

impl BrokerCore {
    /// Lets a member join. The group answers when its next generation is complete.
    pub(super) fn join_group(
        &mut self,
        context: &RequestContext,
        request: &JoinGroupRequest,
        now_ms: i64,
    ) {
        let refusal = if request.group_id.is_empty() {
            Some(ResponseError::InvalidGroupId)
        } else if !(1..=SESSION_TIMEOUT_MS_MAX).contains(&request.session_timeout_ms) {
            Some(ResponseError::InvalidSessionTimeout)
        } else {
            None
        };
        if let Some(error) = refusal {
            self.refuse_join(context, request, error);
            return;
        }
        let name = request
            .group_instance_id
            .as_deref()
            .unwrap_or(&context.client_id);
        let join_context = JoinContext {
            request_id: context.request_id,
            version: context.version,
            client_id: context.client_id.clone(),
            client_host: context.client_host.clone(),
            new_member_id: format!("{name}-{}", self.ids.uuid()),
            initial_rebalance_delay_ms: self.config.group_initial_rebalance_delay_ms,
        };
        match self
            .groups
            .get_or_create(&request.group_id)
            .become_classic()
        {
            Ok(group) => group.join(request, join_context, now_ms, &mut self.answers),
            Err(error) => self.refuse_join(context, request, error),
        }
    }

    fn refuse_join(
        &mut self,
        context: &RequestContext,
        request: &JoinGroupRequest,
        error: ResponseError,
    ) {
        let response = JoinGroupResponse::default()
            .with_error_code(error.code())
            .with_member_id(request.member_id.clone());
        self.answers
            .push(context.request_id, ResponseKind::JoinGroup(response));
    }

    /// Gives a member its assignment, now or when the leader has made it.
    pub(super) fn sync_group(
        &mut self,
        context: &RequestContext,
        request: &SyncGroupRequest,
        now_ms: i64,
    ) {
        match self
            .groups
            .get_mut(&request.group_id)
            .and_then(|group| group.classic().ok())
        {
            Some(group) => group.sync(request, context.request_id, now_ms, &mut self.answers),
            None => {
                let response = SyncGroupResponse::default()
                    .with_error_code(ResponseError::UnknownMemberId.code());
                self.answers
                    .push(context.request_id, ResponseKind::SyncGroup(response));
            }
        }
    }

    /// A member is alive.
    pub(super) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        now_ms: i64,
    ) -> HeartbeatResponse {
        let group = self
            .groups
            .get_mut(&request.group_id)
            .ok_or(ResponseError::UnknownMemberId);
        let result = group
            .and_then(Group::classic)
            .and_then(|group| group.heartbeat(request, now_ms));
        HeartbeatResponse::default().with_error_code(code(&result))
    }

    /// Members go.
    pub(super) fn leave_group(
        &mut self,
        request: &LeaveGroupRequest,
        version: i16,
        now_ms: i64,
    ) -> LeaveGroupResponse {
        let leaving = if version < 3 {
            vec![MemberIdentity::default().with_member_id(request.member_id.clone())]
        } else {
            request.members.clone()
        };
        let Some(group) = self
            .groups
            .get_mut(&request.group_id)
            .and_then(|group| group.classic().ok())
        else {
            return LeaveGroupResponse::default()
                .with_error_code(ResponseError::UnknownMemberId.code());
        };
        let members: Vec<MemberResponse> = leaving
            .into_iter()
            .map(|member| {
                let instance_id = member.group_instance_id.as_deref();
                let left = group.leave(&member.member_id, instance_id, now_ms, &mut self.answers);
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(code(&left))
            })
            .collect();
        if version < 3 {
            return LeaveGroupResponse::default()
                .with_error_code(members.first().map_or(0, |member| member.error_code));
        }
        LeaveGroupResponse::default().with_members(members)
    }
}
