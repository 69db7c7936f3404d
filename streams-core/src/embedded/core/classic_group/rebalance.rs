//! From one generation to the next: everybody joins, the leader assigns, everybody synchronises.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ResponseKind, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::{ClassicGroup, ClassicMember, ClassicState};
use crate::embedded::core::{Answers, RequestId, owned};

impl ClassicGroup {
    pub(super) fn prepare_rebalance(
        &mut self,
        initial_delay_ms: i64,
        now_ms: i64,
        answers: &mut Answers,
    ) {
        if self.state == ClassicState::PreparingRebalance {
            return;
        }
        let was_empty = self.state == ClassicState::Empty;
        for member in self.members.values_mut() {
            if let Some(request_id) = member.awaiting_sync.take() {
                answer_sync_error(request_id, ResponseError::RebalanceInProgress, answers);
            }
        }
        self.state = ClassicState::PreparingRebalance;
        self.sync_deadline_ms = None;
        self.rebalance_started_ms = now_ms;
        self.rebalance_earliest_ms = now_ms + if was_empty { initial_delay_ms } else { 0 };
        self.rebalance_deadline_ms = now_ms + self.rebalance_timeout_ms();
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
    }

    pub(super) fn try_complete(&mut self, now_ms: i64, answers: &mut Answers) {
        if self.state != ClassicState::PreparingRebalance || now_ms < self.rebalance_earliest_ms {
            return;
        }
        let have_all_joined = self.pending_members.is_empty()
            && self.members.values().all(ClassicMember::is_awaiting);
        if !have_all_joined && now_ms < self.rebalance_deadline_ms {
            return;
        }
        self.members
            .retain(|_, member| member.is_awaiting() || member.instance_id.is_some());
        if !self.members.is_empty() && !self.members.values().any(ClassicMember::is_awaiting) {
            // Only static members are left and none has come back yet. They keep their place until their session ends.
            self.rebalance_deadline_ms = now_ms + self.rebalance_timeout_ms();
            return;
        }
        self.generation_id += 1;
        if self.members.is_empty() {
            self.state = ClassicState::Empty;
            self.protocol_name = None;
            self.leader = None;
            return;
        }
        let has_joined = |id: &String| self.members.get(id).is_some_and(ClassicMember::is_awaiting);
        if !self.leader.as_ref().is_some_and(has_joined) {
            self.leader = self
                .members
                .iter()
                .find(|(_, member)| member.is_awaiting())
                .map(|(id, _)| id.clone());
        }
        self.protocol_name = self.elect_protocol();
        self.state = ClassicState::CompletingRebalance;
        self.sync_deadline_ms = Some(now_ms + self.rebalance_timeout_ms());
        let joined: Vec<(String, RequestId)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| {
                member.has_synced = false;
                member.renew_session(now_ms);
                member
                    .awaiting_join
                    .take()
                    .map(|request_id| (id.clone(), request_id))
            })
            .collect();
        for (member_id, request_id) in joined {
            let response = self.join_response(&member_id);
            answers.push(request_id, ResponseKind::JoinGroup(response));
        }
    }

    /// The protocol most members prefer among those all support.
    fn elect_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member
                .protocols
                .iter()
                .find(|(name, _)| self.all_members_support(name))
            {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(name, _)| name.to_owned())
    }

    /// A member asks for its assignment; the leader brings everybody's. Followers wait for it.
    pub(crate) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        request_id: RequestId,
        now_ms: i64,
        answers: &mut Answers,
    ) {
        let instance_id = request.group_instance_id.as_deref();
        let differs = |wanted: &Option<StrBytes>, actual: &Option<String>| {
            wanted
                .as_ref()
                .is_some_and(|wanted| actual.as_deref() != Some(wanted.as_str()))
        };
        let check = self
            .check_member(&request.member_id, instance_id, request.generation_id)
            .and_then(|()| match self.state {
                ClassicState::Empty => Err(ResponseError::UnknownMemberId),
                ClassicState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
                _ if differs(&request.protocol_type, &self.protocol_type)
                    || differs(&request.protocol_name, &self.protocol_name) =>
                {
                    Err(ResponseError::InconsistentGroupProtocol)
                }
                ClassicState::CompletingRebalance | ClassicState::Stable => Ok(()),
            });
        if let Err(error) = check {
            answer_sync_error(request_id, error, answers);
            return;
        }
        let is_leader = self.leader.as_deref() == Some(request.member_id.as_str());
        if let Some(member) = self.members.get_mut(request.member_id.as_str()) {
            member.renew_session(now_ms);
            member.has_synced = true;
            if let Some(superseded) = member.awaiting_sync.replace(request_id) {
                answer_sync_error(superseded, ResponseError::UnknownMemberId, answers);
            }
        }
        if self.state == ClassicState::CompletingRebalance && is_leader {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            for given in &request.assignments {
                if let Some(member) = self.members.get_mut(given.member_id.as_str()) {
                    member.assignment = Bytes::copy_from_slice(&given.assignment);
                }
            }
            self.state = ClassicState::Stable;
        }
        if self.state == ClassicState::Stable {
            self.answer_syncs(answers);
        }
    }

    fn answer_syncs(&mut self, answers: &mut Answers) {
        let protocol_type = self.protocol_type.as_deref().map(owned);
        let protocol_name = self.protocol_name.as_deref().map(owned);
        for member in self.members.values_mut() {
            if let Some(request_id) = member.awaiting_sync.take() {
                let response = SyncGroupResponse::default()
                    .with_protocol_type(protocol_type.clone())
                    .with_protocol_name(protocol_name.clone())
                    .with_assignment(member.assignment.clone());
                answers.push(request_id, ResponseKind::SyncGroup(response));
            }
        }
    }
}

pub(super) fn answer_sync_error(
    request_id: RequestId,
    error: ResponseError,
    answers: &mut Answers,
) {
    answers.push(
        request_id,
        ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(error.code())),
    );
}
