//! The classic protocol of groups as librdkafka's `cooperative-sticky` clients speak it: everybody joins, the leader hands out,
//! everybody synchronises; who has to give something up joins again when it has.

use super::members::Member;
use super::world::World;
use crate::embedded::core::RequestId;
use crate::record::TopicPartition;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, RequestKind,
    ResponseKind, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// How long a member has to join again, `max.poll.interval.ms`.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "cooperative-sticky";
/// A version in which a member gets its id with its first request.
const VERSION: i16 = 3;

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has to join.
    Out,
    /// It has asked to.
    Joining(RequestId),
    /// It waits for what it gets.
    Syncing(RequestId),
    /// It has heard.
    In,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// What members tell the leader and the leader tells them: since which generation a member has which partitions, and the
/// topics that it subscribes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    generation: i32,
    partitions: BTreeSet<TopicPartition>,
    topics: BTreeSet<String>,
}

impl Told {
    fn encode(&self) -> Bytes {
        let partitions = self.partitions.iter();
        let partitions = partitions.map(|p| format!("{}\t{}\n", p.topic, p.partition));
        let topics = self.topics.iter().map(|topic| format!("{topic}\n"));
        let text: String = partitions.chain(topics).collect();
        format!("{}\n{text}", self.generation).into_bytes().into()
    }

    fn decode(bytes: &[u8]) -> Told {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let generation = lines.next().and_then(|line| line.parse().ok());
        let mut told = Told {
            generation: generation.unwrap_or(-1),
            ..Told::default()
        };
        for line in lines {
            match line.split_once('\t') {
                Some((topic, number)) => {
                    let number = number.parse().unwrap_or(-1);
                    told.partitions.insert(TopicPartition::new(topic, number));
                }
                None => {
                    told.topics.insert(line.to_owned());
                }
            }
        }
        told
    }
}

impl World {
    /// One step of a member: what it has to ask next, or what has been answered.
    pub(super) fn classic_step(&self, member: &mut Member, number: u64) {
        match member.stage {
            Stage::Out => {
                // What the application has been told comes first.
                if !member.is_deciding() {
                    self.join(member);
                }
            }
            Stage::Joining(request) => {
                if let Some(ResponseKind::JoinGroup(answer)) = self.answer(request) {
                    self.joined(member, number, &answer);
                }
            }
            Stage::Syncing(request) => {
                if let Some(ResponseKind::SyncGroup(answer)) = self.answer(request) {
                    self.synchronised(member, number, &answer);
                }
            }
            Stage::In => {
                let request = HeartbeatRequest::default()
                    .with_group_id(GroupId(text(&self.setup.group)))
                    .with_generation_id(member.epoch)
                    .with_member_id(text(&member.id));
                let request = self.question(member, RequestKind::Heartbeat(request));
                if let Some(ResponseKind::Heartbeat(answer)) = self.answer(request) {
                    self.heard(member, number, answer.error_code);
                }
            }
        }
    }

    fn question(&self, member: &Member, request: RequestKind) -> RequestId {
        let id = RequestId(self.new_id());
        let now_ms = self.now_ms();
        let mut cluster = self.cluster.borrow_mut();
        cluster.question(id, &member.client_id, VERSION, request, now_ms);
        id
    }

    fn answer(&self, request: RequestId) -> Option<ResponseKind> {
        self.cluster.borrow_mut().answer(request)
    }

    fn join(&self, member: &mut Member) {
        let told = Told {
            generation: if member.epoch > 0 { member.epoch } else { -1 },
            partitions: member.owned.clone(),
            topics: member.topics.clone(),
        };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(PROTOCOL))
            .with_metadata(told.encode());
        member.joined();
        let timeout_ms = self.cluster.borrow().session_timeout_ms();
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.setup.group)))
            .with_session_timeout_ms(timeout_ms)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(text(&member.id))
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(vec![protocol]);
        let request = self.question(member, RequestKind::JoinGroup(request));
        member.stage = Stage::Joining(request);
    }

    fn joined(&self, member: &mut Member, number: u64, answer: &JoinGroupResponse) {
        if answer.error_code != 0 {
            self.heard(member, number, answer.error_code);
            return;
        }
        member.id = answer.member_id.to_string();
        member.epoch = answer.generation_id;
        let given = if answer.leader == answer.member_id {
            let members = answer.members.iter();
            let members = members.map(|m| (m.member_id.to_string(), Told::decode(&m.metadata)));
            let members: BTreeMap<String, Told> = members.collect();
            let topics: BTreeSet<&String> = members.values().flat_map(|m| &m.topics).collect();
            let cluster = self.cluster.borrow();
            let mut partitions = BTreeSet::new();
            for topic in topics {
                let count = cluster.partition_count(topic).unwrap_or(0);
                partitions.extend((0..count).map(|p| TopicPartition::new(topic.clone(), p)));
            }
            hand_out(&members, &partitions)
        } else {
            BTreeMap::new()
        };
        let given = given.into_iter().map(|(id, partitions)| {
            let told = Told {
                generation: member.epoch,
                partitions,
                topics: BTreeSet::new(),
            };
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&id))
                .with_assignment(told.encode())
        });
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.setup.group)))
            .with_generation_id(member.epoch)
            .with_member_id(text(&member.id))
            .with_assignments(given.collect());
        let request = self.question(member, RequestKind::SyncGroup(request));
        member.stage = Stage::Syncing(request);
    }

    fn synchronised(&self, member: &mut Member, number: u64, answer: &SyncGroupResponse) {
        if answer.error_code != 0 {
            self.heard(member, number, answer.error_code);
            return;
        }
        let told = Told::decode(&answer.assignment);
        let (generation, assigned) = (told.generation, told.partitions);
        self.note(member.process, || {
            format!("m{number} is to have {assigned:?} in generation {generation}")
        });
        member.stage = Stage::In;
        member.assign(assigned);
    }

    /// What a member does about an answer that says something.
    fn heard(&self, member: &mut Member, number: u64, code: i16) {
        match ResponseError::try_from_code(code) {
            None => {}
            Some(ResponseError::RebalanceInProgress) => member.stage = Stage::Out,
            Some(ResponseError::UnknownMemberId | ResponseError::IllegalGeneration) => {
                self.note(member.process, || format!("m{number} is out: {code}"));
                member.stage = Stage::Out;
                member.id.clear();
                member.lose();
            }
            Some(error) => self.violate(format!("m{number} was refused: {error}")),
        }
    }

    /// A member is in the group no more.
    pub(super) fn classic_leave(&self, member: &Member) {
        let request = LeaveGroupRequest::default()
            .with_group_id(GroupId(text(&self.setup.group)))
            .with_member_id(text(&member.id));
        let mut cluster = self.cluster.borrow_mut();
        let id = RequestId(self.new_id());
        cluster.question(
            id,
            &member.client_id,
            // Later ones name several members.
            2,
            RequestKind::LeaveGroup(request),
            self.now_ms(),
        );
        cluster.answer(id);
    }
}

/// Evenly among those who subscribe, and everybody keeps what it may. What somebody has to give up is nobody's until it has.
fn hand_out(
    members: &BTreeMap<String, Told>,
    partitions: &BTreeSet<TopicPartition>,
) -> BTreeMap<String, BTreeSet<TopicPartition>> {
    // Of two that claim a partition the later one has it.
    let mut owners: BTreeMap<&TopicPartition, (i32, &String)> = BTreeMap::new();
    for (id, told) in members {
        for partition in &told.partitions {
            let known = owners.get(partition);
            if known.is_none_or(|(since, _)| told.generation > *since) {
                owners.insert(partition, (told.generation, id));
            }
        }
    }
    let takes =
        |id: &String, partition: &TopicPartition| members[id].topics.contains(&partition.topic);
    let mut plan: BTreeMap<&TopicPartition, &String> = BTreeMap::new();
    for (partition, (_, id)) in &owners {
        if partitions.contains(*partition) && takes(id, partition) {
            plan.insert(*partition, *id);
        }
    }
    loop {
        let load = |id: &String| plan.values().filter(|owner| **owner == id).count();
        // The last ones move, the first ones stay.
        let better = partitions.iter().rev().find_map(|partition| {
            let takers = members.keys().filter(|id| takes(id, partition));
            let to = takers.min_by_key(|id| load(id))?;
            let is_better = match plan.get(partition) {
                None => true,
                Some(owner) => load(owner) > load(to) + 1,
            };
            is_better.then_some((partition, to))
        });
        let Some((partition, to)) = better else { break };
        plan.insert(partition, to);
    }
    let mut given: BTreeMap<String, BTreeSet<TopicPartition>> = members
        .keys()
        .map(|id| (id.clone(), BTreeSet::new()))
        .collect();
    for (partition, id) in plan {
        let is_free = owners.get(partition).is_none_or(|(_, owner)| *owner == id);
        if is_free && let Some(given) = given.get_mut(id) {
            given.insert(partition.clone());
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(numbers: impl IntoIterator<Item = i32>) -> BTreeSet<TopicPartition> {
        let partition = |number| TopicPartition::new("t", number);
        numbers.into_iter().map(partition).collect()
    }

    fn told(generation: i32, owned: &[i32]) -> Told {
        Told {
            generation,
            partitions: partitions(owned.iter().copied()),
            topics: ["t".to_owned()].into(),
        }
    }

    fn numbers(given: BTreeMap<String, BTreeSet<TopicPartition>>) -> Vec<Vec<i32>> {
        let numbers = |of: BTreeSet<TopicPartition>| of.iter().map(|p| p.partition).collect();
        given.into_values().map(numbers).collect()
    }

    fn given(owned: &[(&str, i32, &[i32])], count: i32) -> Vec<Vec<i32>> {
        let members = owned.iter();
        let members =
            members.map(|(id, generation, owned)| ((*id).to_owned(), told(*generation, owned)));
        numbers(hand_out(&members.collect(), &partitions(0..count)))
    }

    #[test]
    fn what_is_told_is_understood() {
        let told = told(7, &[1, 2]);
        assert_eq!(Told::decode(&told.encode()), told);
        assert_eq!(Told::decode(b"").generation, -1);
    }

    #[test]
    fn what_moves_is_nobodys_for_one_round() {
        assert_eq!(given(&[("a", -1, &[])], 3), [[0, 1, 2]]);
        let first: [&[i32]; 2] = [&[0, 1], &[]];
        assert_eq!(given(&[("a", 1, &[0, 1, 2]), ("b", -1, &[])], 3), first);
        let second: [&[i32]; 2] = [&[0, 1], &[2]];
        assert_eq!(given(&[("a", 2, &[0, 1]), ("b", 2, &[])], 3), second);
        assert_eq!(given(&[("a", 3, &[0, 1]), ("b", 3, &[2])], 3), second);
    }

    #[test]
    fn of_two_owners_the_later_one_counts() {
        let expected: [&[i32]; 2] = [&[1], &[0]];
        assert_eq!(given(&[("a", 1, &[0, 1]), ("b", 4, &[0])], 2), expected);
    }

    #[test]
    fn nobody_is_given_what_it_does_not_subscribe_to() {
        let mut members = BTreeMap::from([
            ("a".to_owned(), told(3, &[0, 1])),
            ("b".to_owned(), told(3, &[])),
        ]);
        members.get_mut("b").unwrap().topics = ["u".to_owned()].into();
        let expected: [&[i32]; 2] = [&[0, 1], &[]];
        assert_eq!(numbers(hand_out(&members, &partitions(0..2))), expected);
        members.get_mut("a").unwrap().topics.clear();
        let expected: [&[i32]; 2] = [&[], &[]];
        assert_eq!(numbers(hand_out(&members, &partitions(0..2))), expected);
    }
}
