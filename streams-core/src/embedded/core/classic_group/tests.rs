//! The rules of a classic group, request by request.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    JoinGroupRequest, JoinGroupResponse, ResponseKind, SyncGroupRequest, SyncGroupResponse,
};

use super::*;
use crate::embedded::core::{Answer, RequestId, owned};

/// A group and the answers it has given, by the number of the request.
struct Bench {
    group: ClassicGroup,
    answers: Answers,
    now_ms: i64,
    next_request: u64,
    initial_rebalance_delay_ms: i64,
}

impl Bench {
    fn new() -> Self {
        let answers = Answers::default();
        Self {
            group: ClassicGroup::new(),
            answers,
            now_ms: 0,
            next_request: 0,
            initial_rebalance_delay_ms: 0,
        }
    }

    fn request_id(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Lets a member join that speaks `protocols`, and returns the number of its request.
    fn join_as(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        protocols: &[&str],
        version: i16,
    ) -> RequestId {
        let protocol = |name: &&str| {
            JoinGroupRequestProtocol::default()
                .with_name(owned(name))
                .with_metadata(Bytes::from_static(b"about me"))
        };
        let request = JoinGroupRequest::default()
            .with_member_id(owned(member_id))
            .with_group_instance_id(instance_id.map(owned))
            .with_protocol_type(owned("consumer"))
            .with_protocols(protocols.iter().map(protocol).collect())
            .with_session_timeout_ms(100)
            .with_rebalance_timeout_ms(1_000);
        let request_id = self.request_id();
        let context = JoinContext {
            request_id,
            version,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            new_member_id: format!("member-{}", request_id.0),
            initial_rebalance_delay_ms: self.initial_rebalance_delay_ms,
        };
        self.group
            .join(&request, context, self.now_ms, &mut self.answers);
        request_id
    }

    fn join(&mut self, member_id: &str) -> RequestId {
        self.join_as(member_id, None, &["range"], 3)
    }

    fn sync(
        &mut self,
        member_id: &str,
        generation_id: i32,
        assignments: &[(&str, &'static str)],
    ) -> RequestId {
        let assignment = |(member_id, assignment): &(&str, &'static str)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(owned(member_id))
                .with_assignment(Bytes::from_static(assignment.as_bytes()))
        };
        let request = SyncGroupRequest::default()
            .with_member_id(owned(member_id))
            .with_generation_id(generation_id)
            .with_assignments(assignments.iter().map(assignment).collect());
        let request_id = self.request_id();
        self.group
            .sync(&request, request_id, self.now_ms, &mut self.answers);
        request_id
    }

    fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> Result<(), ResponseError> {
        let request = HeartbeatRequest::default()
            .with_member_id(owned(member_id))
            .with_generation_id(generation_id);
        self.group.heartbeat(&request, self.now_ms)
    }

    fn tick(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.group.tick(now_ms, &mut self.answers);
    }

    fn answer(&mut self, request_id: RequestId) -> Option<ResponseKind> {
        let index = self
            .answers
            .0
            .iter()
            .position(|(answered, _)| *answered == request_id)?;
        match self.answers.0.remove(index).1 {
            Answer::Response(response) => Some(response),
            other => panic!("{other:?}"),
        }
    }

    fn joined(&mut self, request_id: RequestId) -> Option<JoinGroupResponse> {
        self.answer(request_id).map(|response| match response {
            ResponseKind::JoinGroup(response) => response,
            other => panic!("{other:?}"),
        })
    }

    fn synced(&mut self, request_id: RequestId) -> Option<SyncGroupResponse> {
        self.answer(request_id).map(|response| match response {
            ResponseKind::SyncGroup(response) => response,
            other => panic!("{other:?}"),
        })
    }

    /// A stable group of two in generation 2; the first leads.
    fn with_two() -> (Self, String, String) {
        let mut bench = Self::new();
        let request = bench.join("");
        let first = bench.joined(request).unwrap().member_id.to_string();
        let second_request = bench.join("");
        let first_request = bench.join(&first);
        let second = bench.joined(second_request).unwrap().member_id.to_string();
        assert_eq!(bench.joined(first_request).unwrap().members.len(), 2);
        let second_sync = bench.sync(&second, 2, &[]);
        assert!(
            bench.synced(second_sync).is_none(),
            "the leader has not assigned yet"
        );
        let first_sync = bench.sync(&first, 2, &[(&first, "one"), (&second, "two")]);
        assert_eq!(bench.synced(first_sync).unwrap().assignment, "one");
        assert_eq!(bench.synced(second_sync).unwrap().assignment, "two");
        assert_eq!(bench.group.state, ClassicState::Stable);
        (bench, first, second)
    }
}

#[test]
fn a_member_alone_is_answered_at_once_and_a_second_waits_for_the_first() {
    let mut bench = Bench::new();
    let request = bench.join("");
    let alone = bench.joined(request).unwrap();
    assert_eq!(
        (alone.error_code, alone.generation_id, &alone.leader),
        (0, 1, &alone.member_id)
    );
    let second = bench.join("");
    assert!(bench.joined(second).is_none());
    assert_eq!(
        bench.heartbeat(&alone.member_id, 1),
        Err(ResponseError::RebalanceInProgress)
    );
    bench.join(&alone.member_id);
    assert_eq!(bench.joined(second).unwrap().generation_id, 2);
}

#[test]
fn whoever_does_not_come_back_in_time_is_left_behind() {
    let (mut bench, first, second) = Bench::with_two();
    let third = bench.join("");
    bench.now_ms = 50;
    assert_eq!(
        bench.heartbeat(&second, 2),
        Err(ResponseError::RebalanceInProgress)
    );
    bench.join(&first);
    bench.tick(120);
    assert!(
        bench.joined(third).is_none(),
        "the session of the second has not ended yet"
    );
    bench.tick(150);
    assert_eq!(
        bench.joined(third).unwrap().generation_id,
        3,
        "its session has ended, the others go on"
    );
    assert_eq!(
        bench.heartbeat(&second, 2),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn the_rebalance_timeout_bounds_those_that_only_say_they_are_alive() {
    let (mut bench, first, second) = Bench::with_two();
    let third = bench.join("");
    bench.join(&first);
    for now_ms in (0..1_000).step_by(50) {
        bench.tick(now_ms);
        assert_eq!(
            bench.heartbeat(&second, 2),
            Err(ResponseError::RebalanceInProgress)
        );
        assert!(bench.joined(third).is_none());
    }
    bench.tick(1_000);
    assert_eq!(bench.joined(third).unwrap().generation_id, 3);
    assert_eq!(bench.group.members.len(), 2);
}

#[test]
fn leaving_starts_a_rebalance_and_the_last_one_empties_the_group() {
    let (mut bench, first, second) = Bench::with_two();
    assert_eq!(
        bench.group.leave(&first, None, 0, &mut bench.answers),
        Ok(first.clone())
    );
    assert_eq!(
        bench.group.leave(&first, None, 0, &mut bench.answers),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(
        bench.heartbeat(&second, 2),
        Err(ResponseError::RebalanceInProgress)
    );
    let request = bench.join(&second);
    assert_eq!(bench.joined(request).unwrap().leader, owned(&second));
    bench
        .group
        .leave(&second, None, 0, &mut bench.answers)
        .unwrap();
    assert!(bench.group.is_empty());
    assert_eq!(bench.group.state, ClassicState::Empty);
    assert_eq!(bench.group.next_deadline_ms(), None);
}

#[test]
fn newer_clients_are_told_their_id_first() {
    let mut bench = Bench::new();
    let request = bench.join_as("", None, &["range"], 4);
    let told = bench.joined(request).unwrap();
    assert_eq!(told.error_code, ResponseError::MemberIdRequired.code());
    let request = bench.join_as(&told.member_id, None, &["range"], 4);
    assert_eq!(bench.joined(request).unwrap().error_code, 0);
    let request = bench.join_as("never heard of", None, &["range"], 4);
    assert_eq!(
        bench.joined(request).unwrap().error_code,
        ResponseError::UnknownMemberId.code()
    );
}

#[test]
fn the_protocol_is_one_that_all_support() {
    let mut bench = Bench::new();
    let request = bench.join_as("", None, &["sticky", "range"], 3);
    let first = bench.joined(request).unwrap().member_id;
    let second = bench.join_as("", None, &["range", "roundrobin"], 3);
    bench.join_as(&first, None, &["sticky", "range"], 3);
    assert_eq!(
        bench.joined(second).unwrap().protocol_name,
        Some(owned("range"))
    );
    let stranger = bench.join_as("", None, &["something else"], 3);
    let error = bench.joined(stranger).unwrap().error_code;
    assert_eq!(error, ResponseError::InconsistentGroupProtocol.code());
}

#[test]
fn a_static_member_takes_its_old_place_and_fences_its_predecessor() {
    let mut bench = Bench::new();
    let request = bench.join_as("", Some("i1"), &["range"], 5);
    let old = bench.joined(request).unwrap().member_id.to_string();
    let sync = bench.sync(&old, 1, &[(&old, "mine")]);
    assert!(bench.synced(sync).is_some());
    let request = bench.join_as("", Some("i1"), &["range"], 5);
    let again = bench.joined(request).unwrap();
    assert_eq!(
        (again.generation_id, again.leader.as_str()),
        (1, old.as_str()),
        "no rebalance, and not to lead"
    );
    let new = again.member_id.to_string();
    let sync = bench.sync(&new, 1, &[]);
    assert_eq!(bench.synced(sync).unwrap().assignment, "mine");
    let commit = bench.group.check_commit(&old, Some("i1"), 1, 0);
    assert_eq!(commit, Err(ResponseError::FencedInstanceId));
    assert_eq!(
        bench.group.leave("", Some("i1"), 0, &mut bench.answers),
        Ok(new)
    );
}

#[test]
fn offsets_are_taken_while_a_rebalance_is_prepared_but_not_while_it_completes() {
    let (mut bench, first, second) = Bench::with_two();
    assert_eq!(bench.group.check_commit(&second, None, 2, 0), Ok(()));
    assert_eq!(
        bench.group.check_commit(&second, None, 1, 0),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(
        bench.group.check_commit("", None, -1, 0),
        Err(ResponseError::UnknownMemberId)
    );
    bench.join(&first);
    assert_eq!(bench.group.check_commit(&second, None, 2, 0), Ok(()));
    bench.join(&second);
    assert_eq!(bench.group.state, ClassicState::CompletingRebalance);
    assert_eq!(
        bench.group.check_commit(&second, None, 3, 0),
        Err(ResponseError::RebalanceInProgress)
    );
}

#[test]
fn a_member_that_never_synchronises_is_dropped() {
    let mut bench = Bench::new();
    let request = bench.join("");
    let first = bench.joined(request).unwrap().member_id.to_string();
    for now_ms in (50..1_000).step_by(50) {
        bench.tick(now_ms);
        assert_eq!(bench.heartbeat(&first, 1), Ok(()));
    }
    bench.tick(1_000);
    assert!(bench.group.is_empty());
}

#[test]
fn an_empty_group_waits_for_more_members_if_told_to() {
    let mut bench = Bench::new();
    bench.initial_rebalance_delay_ms = 300;
    let first = bench.join("");
    bench.tick(200);
    let second = bench.join("");
    bench.tick(499);
    assert!(
        bench.joined(first).is_none(),
        "each newcomer starts the delay again"
    );
    bench.tick(500);
    assert_eq!(bench.joined(first).unwrap().generation_id, 1);
    assert_eq!(bench.joined(second).unwrap().generation_id, 1);
}

#[test]
fn a_lost_answer_is_given_again_but_a_leader_that_asks_starts_over() {
    let (mut bench, first, second) = Bench::with_two();
    let request = bench.join(&second);
    assert_eq!(bench.joined(request).unwrap().generation_id, 2);
    assert_eq!(bench.group.state, ClassicState::Stable);
    bench.join(&first);
    assert_eq!(bench.group.state, ClassicState::PreparingRebalance);
}
