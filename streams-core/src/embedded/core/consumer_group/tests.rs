//! The rules of a group of the consumer protocol, heartbeat by heartbeat.

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::*;
use crate::embedded::core::changes::Changes;
use crate::embedded::core::owned;
use crate::embedded::core::topic_config::TopicConfig;

const TOPIC: Uuid = Uuid::from_u128(1);

fn topics() -> Topics {
    let mut topics = Topics::default();
    topics.create(
        TOPIC,
        "topic",
        4,
        TopicConfig::default(),
        &mut Changes::new(false),
    );
    topics
}

fn beat(
    group: &mut ConsumerGroup,
    member: &str,
    epoch: i32,
    owned_partitions: Option<&[i32]>,
    now_ms: i64,
) -> Result<HeartbeatOutcome, ResponseError> {
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_member_id(owned(member))
        .with_member_epoch(epoch);
    if epoch == 0 {
        request.rebalance_timeout_ms = 1_000;
        request.subscribed_topic_names = Some(vec![TopicName(owned("topic"))]);
    }
    request.topic_partitions = owned_partitions.map(|partitions| {
        vec![
            TopicPartitions::default()
                .with_topic_id(TOPIC)
                .with_partitions(partitions.to_vec()),
        ]
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
    outcome
        .assignment
        .as_ref()
        .map(|set| set.iter().map(|(_, p)| *p).collect())
        .unwrap_or_default()
}

#[test]
fn partitions_move_only_after_they_were_given_up() {
    let mut group = ConsumerGroup::default();
    let first = beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
    assert_eq!((first.member_epoch, numbers(&first)), (1, vec![0, 1, 2, 3]));
    let second = beat(&mut group, "b", 0, Some(&[]), 0).unwrap();
    assert_eq!(
        (second.member_epoch, numbers(&second)),
        (2, vec![]),
        "everything is still with the first member"
    );
    let told = beat(&mut group, "a", 1, Some(&[0, 1, 2, 3]), 0).unwrap();
    assert_eq!(
        (told.member_epoch, numbers(&told)),
        (1, vec![0, 1]),
        "the epoch stays until the partitions are given up"
    );
    assert_eq!(group.state_name(), "Reconciling");
    assert!(
        beat(&mut group, "b", 2, None, 0)
            .unwrap()
            .assignment
            .is_none()
    );
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
    assert_eq!(
        beat(&mut group, "a", 1, Some(&[0, 1]), 0)
            .unwrap()
            .member_epoch,
        2,
        "a repeated request"
    );
    assert_eq!(
        beat(&mut group, "a", 1, Some(&[3]), 0),
        Err(ResponseError::FencedMemberEpoch)
    );
    assert_eq!(
        beat(&mut group, "a", 7, None, 0),
        Err(ResponseError::FencedMemberEpoch)
    );
    assert_eq!(
        beat(&mut group, "z", 7, None, 0),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn silence_and_stubbornness_cost_the_membership() {
    let mut group = ConsumerGroup::default();
    beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
    beat(&mut group, "b", 0, Some(&[]), 9_500).unwrap();
    group.tick(10_000);
    assert_eq!(group.members.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(
        numbers(&beat(&mut group, "b", 2, None, 10_000).unwrap()),
        [0, 1, 2, 3]
    );
    beat(&mut group, "c", 0, Some(&[]), 10_000).unwrap();
    beat(&mut group, "b", 3, Some(&[0, 1, 2, 3]), 10_000).unwrap();
    assert_eq!(
        group.next_deadline_ms(),
        Some(11_000),
        "the rebalance timeout of b"
    );
    group.tick(11_000);
    assert_eq!(group.members.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn leaving_frees_the_partitions_and_commits_need_the_epoch() {
    let mut group = ConsumerGroup::default();
    beat(&mut group, "a", 0, Some(&[]), 0).unwrap();
    assert_eq!(group.check_commit("a", 1), Ok(()));
    assert_eq!(
        group.check_commit("a", 0),
        Err(ResponseError::StaleMemberEpoch)
    );
    assert_eq!(
        group.check_commit("", -1),
        Err(ResponseError::UnknownMemberId)
    );
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
