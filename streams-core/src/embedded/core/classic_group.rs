//! A group of the classic protocol: members join, the leader assigns, all synchronise, heartbeats keep it together.
//!
//! The states and transitions are those of Kafka's `ClassicGroup` and `GroupMetadataManager`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, ResponseKind, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Answers, RequestId, owned};

/// Where a group is between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassicState {
    /// It has no members, perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Everybody knows their assignment.
    Stable,
}

impl ClassicState {
    /// The name the tools show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member of the group.
#[derive(Clone, Debug)]
pub(crate) struct ClassicMember {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) assignment: Bytes,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
    protocols: Vec<(String, Bytes)>,
    session_deadline_ms: i64,
    awaiting_join: Option<RequestId>,
    awaiting_sync: Option<RequestId>,
    has_synced: bool,
}

impl ClassicMember {
    /// What the member said about itself for this protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    fn is_awaiting(&self) -> bool {
        self.awaiting_join.is_some()
    }

    fn renew_session(&mut self, now_ms: i64) {
        self.session_deadline_ms = now_ms + i64::from(self.session_timeout_ms);
    }
}

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

/// A group of the classic protocol.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) state: ClassicState,
    pub(crate) generation_id: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) members: BTreeMap<String, ClassicMember>,
    /// Members that were told their id and have until then to join with it (KIP-394).
    pending_members: BTreeMap<String, i64>,
    /// When the rebalance began, when it may complete at the earliest and must at the latest.
    rebalance_started_ms: i64,
    rebalance_earliest_ms: i64,
    rebalance_deadline_ms: i64,
    sync_deadline_ms: Option<i64>,
}

impl ClassicGroup {
    /// A group without members.
    pub(crate) fn new() -> Self {
        Self {
            state: ClassicState::Empty,
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            rebalance_started_ms: 0,
            rebalance_earliest_ms: 0,
            rebalance_deadline_ms: 0,
            sync_deadline_ms: None,
        }
    }

    /// A member joins, for the first time or again. The answer comes when the generation is complete.
    pub(crate) fn join(&mut self, request: &JoinGroupRequest, context: JoinContext, now_ms: i64, answers: &mut Answers) {
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
        let protocols: Vec<_> =
            request.protocols.iter().map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata))).collect();
        if !self.supports(&request.protocol_type, &protocols) {
            return fail(ResponseError::InconsistentGroupProtocol);
        }
        let instance_id = request.group_instance_id.as_ref().map(ToString::to_string);
        let known_static = instance_id.as_deref().and_then(|instance_id| self.member_id_of_instance(instance_id));
        if member_id.is_empty() {
            if let Some(old_member_id) = known_static {
                self.replace_static_member(&old_member_id, request, protocols, context, now_ms, answers);
                return Ok(());
            }
            if context.version >= 4 && instance_id.is_none() {
                let deadline_ms = now_ms + i64::from(request.session_timeout_ms);
                self.pending_members.insert(context.new_member_id.clone(), deadline_ms);
                return Err((ResponseError::MemberIdRequired, context.new_member_id));
            }
            let member_id = context.new_member_id.clone();
            self.add_member(member_id, instance_id, request, protocols, context, now_ms, answers);
            return Ok(());
        }
        if self.pending_members.contains_key(&member_id) {
            self.add_member(member_id, instance_id, request, protocols, context, now_ms, answers);
            return Ok(());
        }
        if known_static.is_some_and(|known| known != member_id) {
            return fail(ResponseError::FencedInstanceId);
        }
        let is_leader = self.leader.as_ref() == Some(&member_id);
        let Some(member) = self.members.get_mut(&member_id) else { return fail(ResponseError::UnknownMemberId) };
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
            answer_join_error(superseded, ResponseError::UnknownMemberId, &member_id, answers);
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
                && protocols.iter().any(|(name, _)| self.all_members_support(name)))
    }

    fn all_members_support(&self, protocol: &str) -> bool {
        self.members.values().all(|member| member.protocols.iter().any(|(name, _)| name == protocol))
    }

    #[expect(clippy::too_many_arguments, reason = "a member is made of what the request and its connection say")]
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
        let Some(mut member) = self.members.remove(old_member_id) else { return };
        let new_member_id = context.new_member_id;
        if let Some(request_id) = member.awaiting_join.take() {
            answer_join_error(request_id, ResponseError::FencedInstanceId, old_member_id, answers);
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

    fn prepare_rebalance(&mut self, initial_delay_ms: i64, now_ms: i64, answers: &mut Answers) {
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

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn try_complete(&mut self, now_ms: i64, answers: &mut Answers) {
        if self.state != ClassicState::PreparingRebalance || now_ms < self.rebalance_earliest_ms {
            return;
        }
        let have_all_joined = self.pending_members.is_empty() && self.members.values().all(ClassicMember::is_awaiting);
        if !have_all_joined && now_ms < self.rebalance_deadline_ms {
            return;
        }
        self.members.retain(|_, member| member.is_awaiting() || member.instance_id.is_some());
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
            self.leader = self.members.iter().find(|(_, member)| member.is_awaiting()).map(|(id, _)| id.clone());
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
                member.awaiting_join.take().map(|request_id| (id.clone(), request_id))
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
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| self.all_members_support(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
    }

    fn join_response(&self, member_id: &str) -> JoinGroupResponse {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member_id { self.described_members(&protocol) } else { Vec::new() };
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

    /// A member asks for its assignment; the leader brings everybody's. Followers wait for it.
    pub(crate) fn sync(&mut self, request: &SyncGroupRequest, request_id: RequestId, now_ms: i64, answers: &mut Answers) {
        let instance_id = request.group_instance_id.as_deref();
        let differs = |wanted: &Option<StrBytes>, actual: &Option<String>| {
            wanted.as_ref().is_some_and(|wanted| actual.as_deref() != Some(wanted.as_str()))
        };
        let check = self.check_member(&request.member_id, instance_id, request.generation_id).and_then(|()| match self.state {
            ClassicState::Empty => Err(ResponseError::UnknownMemberId),
            ClassicState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol_name) => {
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

    /// A member says that it is alive and learns whether it has to join again.
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS`, or why the member does not belong to this generation.
    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest, now_ms: i64) -> Result<(), ResponseError> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref(), request.generation_id)?;
        self.renew_session(&request.member_id, now_ms);
        if self.state == ClassicState::PreparingRebalance { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    fn renew_session(&mut self, member_id: &str, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.renew_session(now_ms);
        }
    }

    fn check_member(&self, member_id: &str, instance_id: Option<&str>, generation_id: i32) -> Result<(), ResponseError> {
        if let Some(known) = instance_id.and_then(|instance_id| self.member_id_of_instance(instance_id)) {
            if known != member_id {
                return Err(ResponseError::FencedInstanceId);
            }
        }
        if !self.members.contains_key(member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if generation_id != self.generation_id { Err(ResponseError::IllegalGeneration) } else { Ok(()) }
    }

    fn member_id_of_instance(&self, instance_id: &str) -> Option<String> {
        let is_it = |(_, member): &(&String, &ClassicMember)| member.instance_id.as_deref() == Some(instance_id);
        self.members.iter().find(is_it).map(|(id, _)| id.clone())
    }

    /// A member goes; a static one may be named by its instance alone. Returns the id of the member that went.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` or `FENCED_INSTANCE_ID`.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now_ms: i64,
        answers: &mut Answers,
    ) -> Result<String, ResponseError> {
        if self.pending_members.remove(member_id).is_some() {
            self.try_complete(now_ms, answers);
            return Ok(member_id.to_owned());
        }
        let leaving = match instance_id {
            None => member_id.to_owned(),
            Some(instance_id) => {
                let known = self.member_id_of_instance(instance_id).ok_or(ResponseError::UnknownMemberId)?;
                if !member_id.is_empty() && known != member_id {
                    return Err(ResponseError::FencedInstanceId);
                }
                known
            }
        };
        if !self.members.contains_key(&leaving) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove_members(std::slice::from_ref(&leaving), now_ms, answers);
        Ok(leaving)
    }

    fn remove_members(&mut self, member_ids: &[String], now_ms: i64, answers: &mut Answers) {
        for member_id in member_ids {
            let Some(member) = self.members.remove(member_id) else { continue };
            if let Some(request_id) = member.awaiting_join {
                answer_join_error(request_id, ResponseError::UnknownMemberId, member_id, answers);
            }
            if let Some(request_id) = member.awaiting_sync {
                answer_sync_error(request_id, ResponseError::UnknownMemberId, answers);
            }
            if self.leader.as_ref() == Some(member_id) {
                self.leader = self.members.keys().next().cloned();
            }
        }
        self.prepare_rebalance(0, now_ms, answers);
        self.try_complete(now_ms, answers);
    }

    /// Whether an offset may be committed by this member in this generation. As in Kafka, commits are taken while the
    /// group prepares a rebalance, so that members can commit what they give up.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation_id: i32,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        if generation_id < 0 && member_id.is_empty() && instance_id.is_none() {
            return if self.members.is_empty() { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.check_member(member_id, instance_id, generation_id)?;
        if self.state == ClassicState::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        self.renew_session(member_id, now_ms);
        Ok(())
    }

    /// Does what is due at this time: ends sessions, completes rebalances, drops members that never synchronised.
    pub(crate) fn tick(&mut self, now_ms: i64, answers: &mut Answers) {
        self.pending_members.retain(|_, deadline_ms| *deadline_ms > now_ms);
        let is_sync_due = self.sync_deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
        if is_sync_due {
            self.sync_deadline_ms = None;
        }
        let is_gone = |member: &ClassicMember| {
            let never_synced = is_sync_due && !member.has_synced;
            !member.is_awaiting() && (member.session_deadline_ms <= now_ms || never_synced)
        };
        let gone: Vec<String> = self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        if !gone.is_empty() {
            self.remove_members(&gone, now_ms, answers);
        }
        self.try_complete(now_ms, answers);
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        let sessions = self.members.values().filter(|member| !member.is_awaiting()).map(|member| member.session_deadline_ms);
        let rebalance = (self.state == ClassicState::PreparingRebalance).then(|| {
            let have_all_joined = self.pending_members.is_empty() && self.members.values().all(ClassicMember::is_awaiting);
            if have_all_joined { self.rebalance_earliest_ms } else { self.rebalance_deadline_ms }
        });
        sessions.chain(self.pending_members.values().copied()).chain(rebalance).chain(self.sync_deadline_ms).min()
    }

    /// Whether the group has neither members nor anybody about to join.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending_members.is_empty()
    }
}

fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    if request.rebalance_timeout_ms < 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms }
}

fn answer_join_error(request_id: RequestId, error: ResponseError, member_id: &str, answers: &mut Answers) {
    let response = JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::new()))
        .with_member_id(owned(member_id));
    answers.push(request_id, ResponseKind::JoinGroup(response));
}

fn answer_sync_error(request_id: RequestId, error: ResponseError, answers: &mut Answers) {
    answers.push(request_id, ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(error.code())));
}
