//! A group of the consumer protocol (KIP-848): the broker assigns, members reconcile by heartbeats.
//!
//! The rules are those of Kafka's `GroupMetadataManager.consumerGroupHeartbeat` and `CurrentAssignmentBuilder`: a change of
//! members, subscriptions or topics raises the group's epoch and makes a new target assignment; each member moves towards
//! it on its own, first giving up what it loses, then taking what others have given up.

mod member;
mod reconcile;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
use uuid::Uuid;

use super::assignors::{Assignment, Assignor, TopicPartition};
use super::topics::Topics;
pub(crate) use member::ConsumerMember;
use member::full_match;

/// `member_epoch` of a member that leaves, and of a static one that will be back.
const EPOCH_LEAVING: i32 = -1;
const EPOCH_LEAVING_STATIC: i32 = -2;

/// A heartbeat and what goes with it.
#[derive(Debug)]
pub(crate) struct Heartbeat<'a> {
    pub(crate) request: &'a ConsumerGroupHeartbeatRequest,
    pub(crate) client_id: &'a str,
    pub(crate) client_host: &'a str,
    /// The id for the member, should it have none.
    pub(crate) new_member_id: String,
    pub(crate) session_timeout_ms: i64,
}

/// What a member learns from its heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeartbeatOutcome {
    pub(crate) member_id: String,
    pub(crate) member_epoch: i32,
    /// Its partitions, if they changed or it asked for everything.
    pub(crate) assignment: Option<BTreeSet<TopicPartition>>,
}

/// A group of the consumer protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerGroup {
    pub(crate) epoch: i32,
    pub(crate) assignment_epoch: i32,
    pub(crate) members: BTreeMap<String, ConsumerMember>,
    pub(crate) target: Assignment,
    /// The topics subscribed to, as they were when the epoch was last raised.
    topics: BTreeMap<String, (Uuid, usize)>,
}

impl ConsumerGroup {
    /// A member joins, stays or leaves.
    ///
    /// # Errors
    /// Why the heartbeat is not accepted; a member with an epoch of the past has to join again.
    pub(crate) fn heartbeat(
        &mut self,
        heartbeat: &Heartbeat<'_>,
        topics: &Topics,
        now_ms: i64,
    ) -> Result<HeartbeatOutcome, ResponseError> {
        let request = heartbeat.request;
        match request.member_epoch {
            EPOCH_LEAVING => self.leave(request),
            EPOCH_LEAVING_STATIC => self.leave_for_a_while(request),
            0.. => self.stay(heartbeat, topics, now_ms),
            _ => Err(ResponseError::InvalidRequest),
        }
    }

    fn leave(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<HeartbeatOutcome, ResponseError> {
        self.checked_instance(request)?;
        self.remove(&request.member_id)
            .ok_or(ResponseError::UnknownMemberId)?;
        Ok(HeartbeatOutcome {
            member_id: request.member_id.to_string(),
            member_epoch: EPOCH_LEAVING,
            assignment: None,
        })
    }

    fn leave_for_a_while(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<HeartbeatOutcome, ResponseError> {
        self.checked_instance(request)?;
        let member = self
            .members
            .get_mut(request.member_id.as_str())
            .ok_or(ResponseError::UnknownMemberId)?;
        member.epoch = EPOCH_LEAVING_STATIC;
        member.revoking.clear();
        member.revocation_deadline_ms = None;
        Ok(HeartbeatOutcome {
            member_id: request.member_id.to_string(),
            member_epoch: EPOCH_LEAVING_STATIC,
            assignment: None,
        })
    }

    fn checked_instance(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(), ResponseError> {
        let Some(instance_id) = &request.instance_id else {
            return Ok(());
        };
        match self.member_id_of_instance(instance_id) {
            Some(known) if known != request.member_id.as_str() => {
                Err(ResponseError::FencedInstanceId)
            }
            _ => Ok(()),
        }
    }

    fn member_id_of_instance(&self, instance_id: &str) -> Option<String> {
        let is_it = |member: &ConsumerMember| member.instance_id.as_deref() == Some(instance_id);
        self.members
            .iter()
            .find(|(_, member)| is_it(member))
            .map(|(id, _)| id.clone())
    }

    fn remove(&mut self, member_id: &str) -> Option<ConsumerMember> {
        let removed = self.members.remove(member_id)?;
        self.target.remove(member_id);
        self.epoch += 1;
        Some(removed)
    }

    fn stay(
        &mut self,
        heartbeat: &Heartbeat<'_>,
        topics: &Topics,
        now_ms: i64,
    ) -> Result<HeartbeatOutcome, ResponseError> {
        let request = heartbeat.request;
        let is_joining = request.member_epoch == 0;
        let member_id = if request.member_id.is_empty() {
            heartbeat.new_member_id.clone()
        } else {
            request.member_id.to_string()
        };
        let assignor = match request.server_assignor.as_deref() {
            None => None,
            Some(name) => Some(Assignor::named(name).ok_or(ResponseError::UnsupportedAssignor)?),
        };
        if let Some(pattern) = request.subscribed_topic_regex.as_deref() {
            full_match(pattern).ok_or(ResponseError::InvalidRegularExpression)?;
        }
        if is_joining {
            let is_incomplete = request.rebalance_timeout_ms <= 0
                || request.subscribed_topic_names.is_none()
                    && request.subscribed_topic_regex.is_none();
            if is_incomplete {
                return Err(ResponseError::InvalidRequest);
            }
            self.admit(&member_id, heartbeat)?;
        } else {
            self.checked_instance(request)?;
            self.check_epoch(&member_id, request)?;
        }
        let Some(member) = self.members.get_mut(&member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        let before = (member.epoch, member.assigned.clone());
        member.session_deadline_ms = now_ms + heartbeat.session_timeout_ms;
        let is_new = is_joining && !self.target.contains_key(&member_id);
        let has_changed = member.update(heartbeat, assignor) || is_new;
        self.refresh_target(topics, has_changed);
        let owned = request.topic_partitions.as_ref().map(|owned| {
            owned
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, *p)))
                .collect()
        });
        self.reconcile(&member_id, owned.as_ref(), now_ms);
        let member = &self.members[&member_id];
        let is_full = is_joining
            || request.rebalance_timeout_ms != -1
                && (request.subscribed_topic_names.is_some()
                    || request.subscribed_topic_regex.is_some())
                && request.topic_partitions.is_some();
        let is_changed = before != (member.epoch, member.assigned.clone());
        Ok(HeartbeatOutcome {
            member_epoch: member.epoch,
            assignment: (is_full || is_changed).then(|| member.assigned.clone()),
            member_id,
        })
    }

    /// Makes place for a member that joins: a new one, one that joins again, or a static one that takes over.
    fn admit(&mut self, member_id: &str, heartbeat: &Heartbeat<'_>) -> Result<(), ResponseError> {
        let request = heartbeat.request;
        let instance_id = request.instance_id.as_ref().map(ToString::to_string);
        let predecessor = instance_id
            .as_deref()
            .and_then(|instance_id| self.member_id_of_instance(instance_id));
        if let Some(predecessor) = predecessor {
            // As Kafka has it, also where the member is the same and has not heard that it was let in.
            if self.members[&predecessor].epoch != EPOCH_LEAVING_STATIC {
                return Err(ResponseError::UnreleasedInstanceId);
            }
            // The successor takes over as if it had never been away; the group does not rebalance.
            let mut member = self
                .members
                .remove(&predecessor)
                .ok_or(ResponseError::UnknownMemberId)?;
            (member.epoch, member.previous_epoch) = (0, 0);
            self.members.insert(member_id.to_owned(), member);
            if let Some(target) = self.target.remove(&predecessor) {
                self.target.insert(member_id.to_owned(), target);
            }
            return Ok(());
        }
        let member = self
            .members
            .entry(member_id.to_owned())
            .or_insert_with(|| ConsumerMember {
                instance_id,
                rack_id: None,
                client_id: heartbeat.client_id.to_owned(),
                client_host: heartbeat.client_host.to_owned(),
                epoch: 0,
                subscribed_names: BTreeSet::new(),
                subscribed_regex: None,
                assigned: BTreeSet::new(),
                assignor: None,
                previous_epoch: 0,
                rebalance_timeout_ms: request.rebalance_timeout_ms,
                revoking: BTreeSet::new(),
                session_deadline_ms: 0,
                revocation_deadline_ms: None,
            });
        (member.epoch, member.previous_epoch) = (0, 0);
        Ok(())
    }

    /// A member may be one epoch behind if it owns nothing it should not: then it lost an answer.
    fn check_epoch(
        &self,
        member_id: &str,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(), ResponseError> {
        let member = self
            .members
            .get(member_id)
            .ok_or(ResponseError::UnknownMemberId)?;
        if request.member_epoch == member.epoch {
            return Ok(());
        }
        let owns_only_assigned = request.topic_partitions.as_ref().is_some_and(|owned| {
            let mut owned = owned
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, *p)));
            owned.all(|partition| member.assigned.contains(&partition))
        });
        let is_retry = request.member_epoch == member.previous_epoch && owns_only_assigned;
        if is_retry {
            Ok(())
        } else {
            Err(ResponseError::FencedMemberEpoch)
        }
    }

    /// Whether an offset may be committed, or fetched, by this member at this epoch.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` or `STALE_MEMBER_EPOCH`.
    pub(crate) fn check_commit(
        &self,
        member_id: &str,
        member_epoch: i32,
    ) -> Result<(), ResponseError> {
        if member_epoch < 0 && member_id.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        let member = self
            .members
            .get(member_id)
            .ok_or(ResponseError::UnknownMemberId)?;
        if member.epoch == member_epoch {
            Ok(())
        } else {
            Err(ResponseError::StaleMemberEpoch)
        }
    }

    /// Removes members that have been silent for too long or do not give up what they were told to.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        let is_due = |member: &ConsumerMember| member.next_deadline_ms() <= now_ms;
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| is_due(member))
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().for_each(|member_id| {
            self.remove(member_id);
        });
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.members
            .values()
            .map(ConsumerMember::next_deadline_ms)
            .min()
    }

    /// The name of the group's state that the tools show.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self
            .members
            .iter()
            .all(|(id, member)| member.is_settled(self.target.get(id), self.assignment_epoch))
        {
            "Stable"
        } else {
            "Reconciling"
        }
    }
}
