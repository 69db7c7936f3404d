//! A group of the consumer protocol (KIP-848): the broker assigns, members reconcile by heartbeats.
//!
//! The rules are those of Kafka's `GroupMetadataManager.consumerGroupHeartbeat` and `CurrentAssignmentBuilder`: a change of
//! members, subscriptions or topics raises the group's epoch and makes a new target assignment; each member moves towards
//! it on its own, first giving up what it loses, then taking what others have given up.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
use regex::Regex;
use uuid::Uuid;

use super::assignors::{Assignment, Assignor, MemberSubscription, TopicPartition};
use super::topics::Topics;

/// `member_epoch` of a member that leaves, and of a static one that will be back.
const EPOCH_LEAVING: i32 = -1;
const EPOCH_LEAVING_STATIC: i32 = -2;

/// A member of the group.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerMember {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) epoch: i32,
    pub(crate) subscribed_names: BTreeSet<String>,
    pub(crate) subscribed_regex: Option<String>,
    /// What it has been told to own.
    pub(crate) assigned: BTreeSet<TopicPartition>,
    assignor: Option<Assignor>,
    previous_epoch: i32,
    rebalance_timeout_ms: i32,
    /// What it has been told to give up and may still own.
    revoking: BTreeSet<TopicPartition>,
    session_deadline_ms: i64,
    revocation_deadline_ms: Option<i64>,
}

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

    fn leave(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<HeartbeatOutcome, ResponseError> {
        self.checked_instance(request)?;
        self.remove(&request.member_id).ok_or(ResponseError::UnknownMemberId)?;
        Ok(HeartbeatOutcome { member_id: request.member_id.to_string(), member_epoch: EPOCH_LEAVING, assignment: None })
    }

    fn leave_for_a_while(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<HeartbeatOutcome, ResponseError> {
        self.checked_instance(request)?;
        let member = self.members.get_mut(request.member_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
        member.epoch = EPOCH_LEAVING_STATIC;
        member.revoking.clear();
        member.revocation_deadline_ms = None;
        Ok(HeartbeatOutcome {
            member_id: request.member_id.to_string(),
            member_epoch: EPOCH_LEAVING_STATIC,
            assignment: None,
        })
    }

    fn checked_instance(&self, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ResponseError> {
        let Some(instance_id) = &request.instance_id else { return Ok(()) };
        match self.member_id_of_instance(instance_id) {
            Some(known) if known != request.member_id.as_str() => Err(ResponseError::FencedInstanceId),
            _ => Ok(()),
        }
    }

    fn member_id_of_instance(&self, instance_id: &str) -> Option<String> {
        let is_it = |member: &ConsumerMember| member.instance_id.as_deref() == Some(instance_id);
        self.members.iter().find(|(_, member)| is_it(member)).map(|(id, _)| id.clone())
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
        let member_id =
            if request.member_id.is_empty() { heartbeat.new_member_id.clone() } else { request.member_id.to_string() };
        let assignor = match request.server_assignor.as_deref() {
            None => None,
            Some(name) => Some(Assignor::named(name).ok_or(ResponseError::UnsupportedAssignor)?),
        };
        if let Some(pattern) = request.subscribed_topic_regex.as_deref() {
            full_match(pattern).ok_or(ResponseError::InvalidRegularExpression)?;
        }
        if is_joining {
            let is_incomplete = request.rebalance_timeout_ms <= 0
                || request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none();
            if is_incomplete {
                return Err(ResponseError::InvalidRequest);
            }
            self.admit(&member_id, heartbeat)?;
        } else {
            self.checked_instance(request)?;
            self.check_epoch(&member_id, request)?;
        }
        let Some(member) = self.members.get_mut(&member_id) else { return Err(ResponseError::UnknownMemberId) };
        let before = (member.epoch, member.assigned.clone());
        member.session_deadline_ms = now_ms + heartbeat.session_timeout_ms;
        let is_new = is_joining && !self.target.contains_key(&member_id);
        let has_changed = member.update(heartbeat, assignor) || is_new;
        self.refresh_target(topics, has_changed);
        let owned = request.topic_partitions.as_ref().map(|owned| {
            owned.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, *p))).collect()
        });
        self.reconcile(&member_id, owned.as_ref(), now_ms);
        let member = &self.members[&member_id];
        let is_full = is_joining
            || request.rebalance_timeout_ms != -1
                && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
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
        let predecessor = instance_id.as_deref().and_then(|instance_id| self.member_id_of_instance(instance_id));
        if let Some(predecessor) = predecessor.filter(|known| known != member_id) {
            if self.members[&predecessor].epoch != EPOCH_LEAVING_STATIC {
                return Err(ResponseError::UnreleasedInstanceId);
            }
            // The successor takes over as if it had never been away; the group does not rebalance.
            let mut member = self.members.remove(&predecessor).ok_or(ResponseError::UnknownMemberId)?;
            (member.epoch, member.previous_epoch) = (0, 0);
            self.members.insert(member_id.to_owned(), member);
            if let Some(target) = self.target.remove(&predecessor) {
                self.target.insert(member_id.to_owned(), target);
            }
            return Ok(());
        }
        let member = self.members.entry(member_id.to_owned()).or_insert_with(|| ConsumerMember {
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
    fn check_epoch(&self, member_id: &str, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ResponseError> {
        let member = self.members.get(member_id).ok_or(ResponseError::UnknownMemberId)?;
        if request.member_epoch == member.epoch {
            return Ok(());
        }
        let owns_only_assigned = request.topic_partitions.as_ref().is_some_and(|owned| {
            let mut owned = owned.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, *p)));
            owned.all(|partition| member.assigned.contains(&partition))
        });
        let is_retry = request.member_epoch == member.previous_epoch && owns_only_assigned;
        if is_retry { Ok(()) } else { Err(ResponseError::FencedMemberEpoch) }
    }

    /// Makes a new target assignment if a member, its subscription (`has_changed`) or topics have changed.
    fn refresh_target(&mut self, topics: &Topics, has_changed: bool) {
        let subscriptions: BTreeMap<&String, BTreeSet<String>> =
            self.members.iter().map(|(id, member)| (id, member.subscribed(topics))).collect();
        let subscribed: BTreeSet<&String> = subscriptions.values().flatten().collect();
        let known = subscribed.into_iter().filter_map(|name| topics.get(name));
        let current: BTreeMap<_, _> = known.map(|topic| (topic.name.clone(), (topic.id, topic.partitions.len()))).collect();
        if has_changed || current != self.topics {
            self.epoch += 1;
        }
        if self.epoch > self.assignment_epoch {
            let subscription = |(id, names): (&&String, &BTreeSet<String>)| {
                let topics = names.iter().filter_map(|name| current.get(name)).map(|(id, _)| *id).collect();
                let instance_id = self.members[*id].instance_id.clone();
                ((*id).clone(), MemberSubscription { instance_id, topics })
            };
            let members = subscriptions.iter().map(subscription).collect();
            let counts = current.values().copied().collect();
            self.target = self.assignor().assign(&members, &counts, &self.target);
            self.assignment_epoch = self.epoch;
        }
        self.topics = current;
    }

    /// The assignor most members ask for, `uniform` if none does.
    pub(crate) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        self.members.values().filter_map(|member| member.assignor).for_each(|assignor| *votes.entry(assignor).or_default() += 1);
        votes.into_iter().max_by_key(|(_, count)| *count).map_or(Assignor::Uniform, |(assignor, _)| assignor)
    }

    /// Moves a member one step towards its target.
    fn reconcile(&mut self, member_id: &str, owned: Option<&BTreeSet<TopicPartition>>, now_ms: i64) {
        let target = self.target.get(member_id).cloned().unwrap_or_default();
        let taken: BTreeSet<TopicPartition> = self
            .members
            .iter()
            .filter(|(id, _)| *id != member_id)
            .flat_map(|(_, member)| member.assigned.union(&member.revoking).copied())
            .collect();
        let assignment_epoch = self.assignment_epoch;
        let Some(member) = self.members.get_mut(member_id) else { return };
        if !member.revoking.is_empty() {
            let has_given_up = owned.is_some_and(|owned| owned.is_disjoint(&member.revoking));
            if !has_given_up && member.epoch != 0 {
                return;
            }
            member.revoking.clear();
            member.revocation_deadline_ms = None;
        }
        let kept: BTreeSet<TopicPartition> = member.assigned.intersection(&target).copied().collect();
        let lost: BTreeSet<TopicPartition> = member.assigned.difference(&target).copied().collect();
        let still_owns_lost = member.epoch != 0 && owned.is_none_or(|owned| !owned.is_disjoint(&lost));
        if !lost.is_empty() && still_owns_lost {
            member.assigned = kept;
            member.revoking = lost;
            member.revocation_deadline_ms = Some(now_ms + i64::from(member.rebalance_timeout_ms));
            return;
        }
        member.assigned = target.into_iter().filter(|partition| kept.contains(partition) || !taken.contains(partition)).collect();
        if member.epoch != assignment_epoch {
            member.previous_epoch = member.epoch;
            member.epoch = assignment_epoch;
        }
    }

    /// Whether an offset may be committed, or fetched, by this member at this epoch.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` or `STALE_MEMBER_EPOCH`.
    pub(crate) fn check_commit(&self, member_id: &str, member_epoch: i32) -> Result<(), ResponseError> {
        if member_epoch < 0 && member_id.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ResponseError::UnknownMemberId)?;
        if member.epoch == member_epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }

    /// Removes members that have been silent for too long or do not give up what they were told to.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        let is_due = |member: &ConsumerMember| member.next_deadline_ms() <= now_ms;
        let gone: Vec<String> = self.members.iter().filter(|(_, member)| is_due(member)).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|member_id| {
            self.remove(member_id);
        });
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.members.values().map(ConsumerMember::next_deadline_ms).min()
    }

    /// The name of the group's state that the tools show.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.iter().all(|(id, member)| member.is_settled(self.target.get(id), self.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }
}

impl ConsumerMember {
    /// Takes over what the heartbeat says; `true` if that changes who should get what.
    fn update(&mut self, heartbeat: &Heartbeat<'_>, assignor: Option<Assignor>) -> bool {
        let request = heartbeat.request;
        let before = (self.subscribed_names.clone(), self.subscribed_regex.clone(), self.assignor);
        if let Some(names) = &request.subscribed_topic_names {
            self.subscribed_names = names.iter().map(|name| name.to_string()).collect();
        }
        if let Some(pattern) = &request.subscribed_topic_regex {
            self.subscribed_regex = Some(pattern.to_string()).filter(|pattern| !pattern.is_empty());
        }
        if assignor.is_some() {
            self.assignor = assignor;
        }
        if request.rebalance_timeout_ms > 0 {
            self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if request.rack_id.is_some() {
            self.rack_id = request.rack_id.as_ref().map(ToString::to_string);
        }
        before != (self.subscribed_names.clone(), self.subscribed_regex.clone(), self.assignor)
    }

    /// The names of the topics it wants, whether they exist or not.
    fn subscribed(&self, topics: &Topics) -> BTreeSet<String> {
        let pattern = self.subscribed_regex.as_deref().and_then(full_match);
        let matching = topics.iter().filter(|topic| pattern.as_ref().is_some_and(|pattern| pattern.is_match(&topic.name)));
        matching.map(|topic| topic.name.clone()).chain(self.subscribed_names.iter().cloned()).collect()
    }

    fn is_settled(&self, target: Option<&BTreeSet<TopicPartition>>, assignment_epoch: i32) -> bool {
        self.epoch == assignment_epoch && self.revoking.is_empty() && target == Some(&self.assigned)
    }

    fn next_deadline_ms(&self) -> i64 {
        self.revocation_deadline_ms.map_or(self.session_deadline_ms, |deadline_ms| deadline_ms.min(self.session_deadline_ms))
    }
}

/// A pattern that has to match the whole name, as Kafka has it.
fn full_match(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

    use super::super::changes::Changes;
    use super::super::owned;
    use super::super::topic_config::TopicConfig;
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(1);

    fn topics() -> Topics {
        let mut topics = Topics::default();
        topics.create(TOPIC, "topic", 4, TopicConfig::default(), &mut Changes::new(false));
        topics
    }

    fn beat(
        group: &mut ConsumerGroup,
        member: &str,
        epoch: i32,
        owned_partitions: Option<&[i32]>,
        now_ms: i64,
    ) -> Result<HeartbeatOutcome, ResponseError> {
        let mut request = ConsumerGroupHeartbeatRequest::default().with_member_id(owned(member)).with_member_epoch(epoch);
        if epoch == 0 {
            request.rebalance_timeout_ms = 1_000;
            request.subscribed_topic_names = Some(vec![TopicName(owned("topic"))]);
        }
        request.topic_partitions = owned_partitions.map(|partitions| {
            vec![TopicPartitions::default().with_topic_id(TOPIC).with_partitions(partitions.to_vec())]
        });
        let heartbeat = Heartbeat {
            request: &request,
            client_id: "c",
            client_host: "/h",
            new_member_id: "new".into(),
            session_timeout_ms: 10_000,
        };
        group.heartbeat(&heartbeat, &topics(), now_ms)
    }

    fn numbers(outcome: &HeartbeatOutcome) -> Vec<i32> {
        outcome.assignment.as_ref().map(|set| set.iter().map(|(_, p)| *p).collect()).unwrap_or_default()
    }

    #[test]
    fn partitions_move_only_after_they_were_given_up() {
        let mut group = ConsumerGroup::default();
        let first = beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
        assert_eq!((first.member_epoch, numbers(&first)), (1, vec![0, 1, 2, 3]));
        let second = beat(&mut group, "b", 0, Some(&[]), 0).unwrap();
        assert_eq!((second.member_epoch, numbers(&second)), (2, vec![]), "everything is still with the first member");
        let told = beat(&mut group, "a", 1, Some(&[0, 1, 2, 3]), 0).unwrap();
        assert_eq!((told.member_epoch, numbers(&told)), (1, vec![0, 1]), "the epoch stays until the partitions are given up");
        assert_eq!(group.state_name(), "Reconciling");
        assert!(beat(&mut group, "b", 2, None, 0).unwrap().assignment.is_none());
        let done = beat(&mut group, "a", 1, Some(&[0, 1]), 0).unwrap();
        assert_eq!(done.member_epoch, 2);
        let got = beat(&mut group, "b", 2, None, 0).unwrap();
        assert_eq!(numbers(&got), [2, 3]);
        assert_eq!(group.state_name(), "Stable");
    }

    #[test]
    fn a_member_with_an_old_epoch_is_fenced_unless_it_lost_an_answer() {
        let mut group = ConsumerGroup::default();
        beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
        beat(&mut group, "b", 0, Some(&[]), 0).unwrap();
        beat(&mut group, "a", 1, Some(&[0, 1, 2, 3]), 0).unwrap();
        beat(&mut group, "a", 1, Some(&[0, 1]), 0).unwrap();
        assert_eq!(beat(&mut group, "a", 1, Some(&[0, 1]), 0).unwrap().member_epoch, 2, "a repeated request");
        assert_eq!(beat(&mut group, "a", 1, Some(&[3]), 0), Err(ResponseError::FencedMemberEpoch));
        assert_eq!(beat(&mut group, "a", 7, None, 0), Err(ResponseError::FencedMemberEpoch));
        assert_eq!(beat(&mut group, "z", 7, None, 0), Err(ResponseError::UnknownMemberId));
    }

    #[test]
    fn silence_and_stubbornness_cost_the_membership() {
        let mut group = ConsumerGroup::default();
        beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
        beat(&mut group, "b", 0, Some(&[]), 9_500).unwrap();
        group.tick(10_000);
        assert_eq!(group.members.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(numbers(&beat(&mut group, "b", 2, None, 10_000).unwrap()), [0, 1, 2, 3]);
        beat(&mut group, "c", 0, Some(&[]), 10_000).unwrap();
        beat(&mut group, "b", 3, Some(&[0, 1, 2, 3]), 10_000).unwrap();
        assert_eq!(group.next_deadline_ms(), Some(11_000), "the rebalance timeout of b");
        group.tick(11_000);
        assert_eq!(group.members.keys().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn leaving_frees_the_partitions_and_commits_need_the_epoch() {
        let mut group = ConsumerGroup::default();
        beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
        assert_eq!(group.check_commit("a", 1), Ok(()));
        assert_eq!(group.check_commit("a", 0), Err(ResponseError::StaleMemberEpoch));
        assert_eq!(group.check_commit("", -1), Err(ResponseError::UnknownMemberId));
        assert_eq!(beat(&mut group, "a", -1, None, 0).unwrap().member_epoch, -1);
        assert_eq!(group.check_commit("", -1), Ok(()));
        assert_eq!(group.state_name(), "Empty");
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(full_match("to.*").unwrap().is_match("topic"));
        assert!(!full_match("opi").unwrap().is_match("topic"));
        assert!(full_match("(").is_none());
    }
}
