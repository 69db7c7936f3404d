//! The classic protocol of groups as librdkafka's `cooperative-sticky` clients speak it: everybody joins, the leader hands out,
//! everybody synchronises; who has to give something up joins again when it has.

use super::members::Member;
use super::world::World;
use crate::embedded::core::RequestId;
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

/// The topic's partitions of a member and since which generation, as members tell the leader and the leader tells them.
fn encode(generation: i32, partitions: &BTreeSet<i32>) -> Bytes {
    let numbers = std::iter::once(generation).chain(partitions.iter().copied());
    numbers.flat_map(i32::to_be_bytes).collect()
}

fn decode(bytes: &[u8]) -> (i32, BTreeSet<i32>) {
    let mut numbers = bytes
        .chunks_exact(4)
        .map(|four| i32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    (numbers.next().unwrap_or(-1), numbers.collect())
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
        let generation = if member.epoch > 0 { member.epoch } else { -1 };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(PROTOCOL))
            .with_metadata(encode(generation, &member.owned));
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
            let members = members.map(|m| (m.member_id.to_string(), decode(&m.metadata)));
            let count = self
                .cluster
                .borrow()
                .partition_count(&member.topic)
                .unwrap_or(0);
            hand_out(members.collect(), count)
        } else {
            BTreeMap::new()
        };
        let given = given.into_iter().map(|(id, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&id))
                .with_assignment(encode(member.epoch, &partitions))
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
        let (generation, assigned) = decode(&answer.assignment);
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

/// Evenly, and everybody keeps what it may. What somebody has to give up is nobody's until it has.
fn hand_out(
    members: BTreeMap<String, (i32, BTreeSet<i32>)>,
    count: i32,
) -> BTreeMap<String, BTreeSet<i32>> {
    // Of two that claim a partition the later one has it.
    let mut owners: BTreeMap<i32, (i32, String)> = BTreeMap::new();
    for (id, (generation, owned)) in &members {
        for partition in owned {
            let known = owners.get(partition);
            if known.is_none_or(|(since, _)| generation > since) {
                owners.insert(*partition, (*generation, id.clone()));
            }
        }
    }
    let mut owned: BTreeMap<String, BTreeSet<i32>> = members
        .keys()
        .map(|id| (id.clone(), BTreeSet::new()))
        .collect();
    for (partition, (_, id)) in &owners {
        if *partition < count
            && let Some(owned) = owned.get_mut(id)
        {
            owned.insert(*partition);
        }
    }
    let mut order: Vec<String> = owned.keys().cloned().collect();
    order.sort_by_key(|id| std::cmp::Reverse(owned[id].len()));
    let (each, more) = (count as usize / order.len(), count as usize % order.len());
    let mut free: Vec<i32> = (0..count).filter(|p| !owners.contains_key(p)).collect();
    let mut given = BTreeMap::new();
    for (place, id) in order.iter().enumerate() {
        let quota = each + usize::from(place < more);
        let mut kept: BTreeSet<i32> = owned[id].iter().copied().take(quota).collect();
        while kept.len() < quota
            && let Some(partition) = free.pop()
        {
            kept.insert(partition);
        }
        given.insert(id.clone(), kept);
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(owned: &[(&str, i32, &[i32])]) -> BTreeMap<String, (i32, BTreeSet<i32>)> {
        let member = |(id, generation, owned): &(&str, i32, &[i32])| {
            (
                (*id).to_owned(),
                (*generation, owned.iter().copied().collect()),
            )
        };
        owned.iter().map(member).collect()
    }

    fn given(owned: &[(&str, i32, &[i32])], count: i32) -> Vec<Vec<i32>> {
        let given = hand_out(members(owned), count);
        given
            .into_values()
            .map(|p| p.into_iter().collect())
            .collect()
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
}
