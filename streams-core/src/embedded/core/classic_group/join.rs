//! Members join: for the first time, again, or in the place of one of the same instance.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, ResponseKind};
use kafka_protocol::protocol::StrBytes;

use super::{ClassicGroup, ClassicMember, ClassicState, answer_sync_error};
use crate::embedded::core::{Answers, RequestId, owned};

/// Everything about a request to join beside the request itself.
#[derive(Clone, Debug)]
pub(crate) struct JoinContext {
    pub(crate) request_id: RequestId,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// The id for the member, should it need one.
    pub(crate) new_member_id: String,
    /// How long a group that was empty waits for more members before its first generation.
    pub(crate) initial_rebalance_delay_ms: i64,
}

impl ClassicGroup {
    /// A member joins, for the first time or again. The answer comes when the generation is complete.
    pub(crate) fn join(
        &mut self,
        request: &JoinGroupRequest,
        context: JoinContext,
        now_ms: i64,
        answers: &mut Answers,
    ) {
        let request_id = context.request_id;
        if let Err((error, member_id)) = self.try_join(request, context, now_ms, answers) {
            answer_join_error(request_id, error, &member_id, answers);
        }
        self.try_complete(now_ms, answers);
    }

    fn try_join(
        &mut self,
        request: &JoinGroupRequest,
        context: JoinContext,
        now_ms: i64,
        answers: &mut Answers,
    ) -> Result<(), (ResponseError, String)> {
        let member_id = request.member_id.to_string();
        let fail = |error| Err((error, member_id.clone()));
        let protocols: Vec<_> = request
            .protocols
            .iter()
            .map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata)))
            .collect();
        if !self.supports(&request.protocol_type, &protocols) {
            return fail(ResponseError::InconsistentGroupProtocol);
        }
        let instance_id = request.group_instance_id.as_ref().map(ToString::to_string);
        let known_static = instance_id
            .as_deref()
            .and_then(|instance_id| self.member_id_of_instance(instance_id));
        if member_id.is_empty() {
            if let Some(old_member_id) = known_static {
                self.replace_static_member(
                    &old_member_id,
                    request,
                    protocols,
                    context,
                    now_ms,
                    answers,
                );
                return Ok(());
            }
            if context.version >= 4 && instance_id.is_none() {
                let deadline_ms = now_ms + i64::from(request.session_timeout_ms);
                self.pending_members
                    .insert(context.new_member_id.clone(), deadline_ms);
                return Err((ResponseError::MemberIdRequired, context.new_member_id));
            }
            let member_id = context.new_member_id.clone();
            self.add_member(
                member_id,
                instance_id,
                request,
                protocols,
                context,
                now_ms,
                answers,
            );
            return Ok(());
        }
        if self.pending_members.contains_key(&member_id) {
            self.add_member(
                member_id,
                instance_id,
                request,
                protocols,
                context,
                now_ms,
                answers,
            );
            return Ok(());
        }
        if known_static.is_some_and(|known| known != member_id) {
            return fail(ResponseError::FencedInstanceId);
        }
        let is_leader = self.leader.as_ref() == Some(&member_id);
        let Some(member) = self.members.get_mut(&member_id) else {
            return fail(ResponseError::UnknownMemberId);
        };
        member.renew_session(now_ms);
        let is_unchanged = member.protocols == protocols;
        let answers_at_once = match self.state {
            ClassicState::CompletingRebalance => is_unchanged,
            ClassicState::Stable => is_unchanged && !is_leader,
            ClassicState::Empty | ClassicState::PreparingRebalance => false,
        };
        if answers_at_once {
            // The member lost the answer of this generation and asks again.
            let response = self.join_response(&member_id);
            answers.push(context.request_id, ResponseKind::JoinGroup(response));
            return Ok(());
        }
        member.protocols = protocols;
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = rebalance_timeout_ms(request);
        if let Some(superseded) = member.awaiting_join.replace(context.request_id) {
            answer_join_error(
                superseded,
                ResponseError::UnknownMemberId,
                &member_id,
                answers,
            );
        }
        self.prepare_rebalance(0, now_ms, answers);
        Ok(())
    }

    /// Whether a member with these protocols could be in one group with the others.
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if protocols.is_empty() || protocol_type.is_empty() {
            return false;
        }
        self.members.is_empty()
            || (self.protocol_type.as_deref() == Some(protocol_type)
                && protocols
                    .iter()
                    .any(|(name, _)| self.all_members_support(name)))
    }

    pub(super) fn all_members_support(&self, protocol: &str) -> bool {
        self.members
            .values()
            .all(|member| member.protocols.iter().any(|(name, _)| name == protocol))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a member is made of what the request and its connection say"
    )]
    fn add_member(
        &mut self,
        member_id: String,
        instance_id: Option<String>,
        request: &JoinGroupRequest,
        protocols: Vec<(String, Bytes)>,
        context: JoinContext,
        now_ms: i64,
        answers: &mut Answers,
    ) {
        self.pending_members.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.to_string());
        }
        let mut member = ClassicMember {
            instance_id,
            client_id: context.client_id,
            client_host: context.client_host,
            assignment: Bytes::new(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            protocols,
            session_deadline_ms: 0,
            awaiting_join: Some(context.request_id),
            awaiting_sync: None,
            has_synced: false,
        };
        member.renew_session(now_ms);
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members.insert(member_id, member);
        if self.state == ClassicState::PreparingRebalance && now_ms < self.rebalance_earliest_ms {
            let extended_ms = now_ms + context.initial_rebalance_delay_ms;
            let limit_ms = self.rebalance_started_ms + self.rebalance_timeout_ms();
            self.rebalance_earliest_ms = self.rebalance_earliest_ms.max(extended_ms.min(limit_ms));
        }
        self.prepare_rebalance(context.initial_rebalance_delay_ms, now_ms, answers);
    }

    /// A static member comes back under a new id. If nothing else changed about it, the group does not notice (KIP-345).
    fn replace_static_member(
        &mut self,
        old_member_id: &str,
        request: &JoinGroupRequest,
        protocols: Vec<(String, Bytes)>,
        context: JoinContext,
        now_ms: i64,
        answers: &mut Answers,
    ) {
        let Some(mut member) = self.members.remove(old_member_id) else {
            return;
        };
        let new_member_id = context.new_member_id;
        if let Some(request_id) = member.awaiting_join.take() {
            answer_join_error(
                request_id,
                ResponseError::FencedInstanceId,
                old_member_id,
                answers,
            );
        }
        if let Some(request_id) = member.awaiting_sync.take() {
            answer_sync_error(request_id, ResponseError::FencedInstanceId, answers);
        }
        let is_unchanged = member.protocols == protocols;
        member.protocols = protocols;
        member.client_id = context.client_id;
        member.client_host = context.client_host;
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = rebalance_timeout_ms(request);
        member.renew_session(now_ms);
        let was_leader = self.leader.as_deref() == Some(old_member_id);
        if was_leader {
            self.leader = Some(new_member_id.clone());
        }
        let answers_at_once = self.state == ClassicState::Stable && is_unchanged;
        if !answers_at_once {
            member.awaiting_join = Some(context.request_id);
        }
        self.members.insert(new_member_id.clone(), member);
        if !answers_at_once {
            self.prepare_rebalance(0, now_ms, answers);
            return;
        }
        let mut response = self.join_response(&new_member_id);
        if was_leader && context.version >= 9 {
            response.skip_assignment = true;
        } else if was_leader {
            // A client that cannot be told to skip the assignment must not believe that it leads.
            response.leader = StrBytes::from_string(old_member_id.to_owned());
            response.members = Vec::new();
        }
        answers.push(context.request_id, ResponseKind::JoinGroup(response));
    }

    pub(super) fn join_response(&self, member_id: &str) -> JoinGroupResponse {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member_id {
            self.described_members(&protocol)
        } else {
            Vec::new()
        };
        JoinGroupResponse::default()
            .with_generation_id(self.generation_id)
            .with_protocol_type(self.protocol_type.clone().map(StrBytes::from_string))
            .with_protocol_name(Some(StrBytes::from_string(protocol)))
            .with_leader(StrBytes::from_string(leader))
            .with_member_id(owned(member_id))
            .with_members(members)
    }

    fn described_members(&self, protocol: &str) -> Vec<JoinGroupResponseMember> {
        let describe = |(id, member): (&String, &ClassicMember)| {
            JoinGroupResponseMember::default()
                .with_member_id(owned(id))
                .with_group_instance_id(member.instance_id.as_deref().map(owned))
                .with_metadata(member.metadata(protocol))
        };
        self.members.iter().map(describe).collect()
    }
}

fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    if request.rebalance_timeout_ms < 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    }
}

pub(super) fn answer_join_error(
    request_id: RequestId,
    error: ResponseError,
    member_id: &str,
    answers: &mut Answers,
) {
    let response = JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::new()))
        .with_member_id(owned(member_id));
    answers.push(request_id, ResponseKind::JoinGroup(response));
}
