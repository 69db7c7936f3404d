//! A group of the classic protocol: members join, the leader assigns, all synchronise, heartbeats keep it together.
//!
//! The states and transitions are those of Kafka's `ClassicGroup` and `GroupMetadataManager`.

mod join;
mod member;
mod rebalance;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::HeartbeatRequest;

use super::Answers;
pub(crate) use join::JoinContext;
use join::answer_join_error;
pub(crate) use member::ClassicMember;
use rebalance::answer_sync_error;

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

    /// A member says that it is alive and learns whether it has to join again.
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS`, or why the member does not belong to this generation.
    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        self.check_member(
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        )?;
        self.renew_session(&request.member_id, now_ms);
        if self.state == ClassicState::PreparingRebalance {
            Err(ResponseError::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    fn renew_session(&mut self, member_id: &str, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.renew_session(now_ms);
        }
    }

    fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), ResponseError> {
        if let Some(known) =
            instance_id.and_then(|instance_id| self.member_id_of_instance(instance_id))
            && known != member_id
        {
            return Err(ResponseError::FencedInstanceId);
        }
        if !self.members.contains_key(member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if generation_id != self.generation_id {
            Err(ResponseError::IllegalGeneration)
        } else {
            Ok(())
        }
    }

    fn member_id_of_instance(&self, instance_id: &str) -> Option<String> {
        let is_it = |(_, member): &(&String, &ClassicMember)| {
            member.instance_id.as_deref() == Some(instance_id)
        };
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
                let known = self
                    .member_id_of_instance(instance_id)
                    .ok_or(ResponseError::UnknownMemberId)?;
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
            let Some(member) = self.members.remove(member_id) else {
                continue;
            };
            if let Some(request_id) = member.awaiting_join {
                answer_join_error(
                    request_id,
                    ResponseError::UnknownMemberId,
                    member_id,
                    answers,
                );
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
            return if self.members.is_empty() {
                Ok(())
            } else {
                Err(ResponseError::UnknownMemberId)
            };
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
        self.pending_members
            .retain(|_, deadline_ms| *deadline_ms > now_ms);
        let is_sync_due = self
            .sync_deadline_ms
            .is_some_and(|deadline_ms| deadline_ms <= now_ms);
        if is_sync_due {
            self.sync_deadline_ms = None;
        }
        let is_gone = |member: &ClassicMember| {
            let never_synced = is_sync_due && !member.has_synced;
            !member.is_awaiting() && (member.session_deadline_ms <= now_ms || never_synced)
        };
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| is_gone(member))
            .map(|(id, _)| id.clone())
            .collect();
        if !gone.is_empty() {
            self.remove_members(&gone, now_ms, answers);
        }
        self.try_complete(now_ms, answers);
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        let sessions = self
            .members
            .values()
            .filter(|member| !member.is_awaiting())
            .map(|member| member.session_deadline_ms);
        let rebalance = (self.state == ClassicState::PreparingRebalance).then(|| {
            let have_all_joined = self.pending_members.is_empty()
                && self.members.values().all(ClassicMember::is_awaiting);
            if have_all_joined {
                self.rebalance_earliest_ms
            } else {
                self.rebalance_deadline_ms
            }
        });
        sessions
            .chain(self.pending_members.values().copied())
            .chain(rebalance)
            .chain(self.sync_deadline_ms)
            .min()
    }

    /// Whether the group has neither members nor anybody about to join.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending_members.is_empty()
    }
}
