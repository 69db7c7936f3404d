//! Groups by both protocols.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{PATIENCE, consumer, create_topic, eventually, new_topic, unique};

fn member(bootstrap: &str, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut all = vec![("group.id", group)];
    all.extend_from_slice(settings);
    consumer(bootstrap, &all)
}

fn classic(strategy: &str) -> Vec<(&str, &str)> {
    vec![
        ("partition.assignment.strategy", strategy),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "100"),
    ]
}

fn assigned(consumer: &BaseConsumer) -> BTreeSet<(String, i32)> {
    consumer.poll(Duration::from_millis(5));
    let list = consumer.assignment().unwrap();
    list.elements()
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect()
}

/// Waits until the members have everything between them, nothing twice, and each `each`.
fn settle(members: &[&BaseConsumer], each: &[usize]) -> Vec<BTreeSet<(String, i32)>> {
    let total: usize = each.iter().sum();
    let mut sets = Vec::new();
    eventually("the members share the partitions", || {
        sets = members.iter().map(|member| assigned(member)).collect();
        let union: BTreeSet<_> = sets.iter().flatten().collect();
        let mut sizes: Vec<usize> = sets.iter().map(BTreeSet::len).collect();
        sizes.sort_unstable();
        union.len() == total && sizes == each
    });
    sets
}

pub fn range_shares_out_and_takes_back(bootstrap: &str) {
    let (a, b, group) = (
        new_topic(bootstrap, 4),
        new_topic(bootstrap, 4),
        unique("range"),
    );
    let first = member(bootstrap, &group, &classic("range"));
    first.subscribe(&[&a, &b]).unwrap();
    settle(&[&first], &[8]);
    let second = member(bootstrap, &group, &classic("range"));
    second.subscribe(&[&a, &b]).unwrap();
    for set in settle(&[&first, &second], &[4, 4]) {
        let of = |topic: &str| {
            set.iter()
                .filter(|(name, _)| name == topic)
                .map(|(_, p)| *p)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(&a),
            of(&b),
            "topics with equal partitions are assigned alike"
        );
    }
    drop(second);
    settle(&[&first], &[8]);
}

pub fn cooperative_sticky_moves_only_what_it_must(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 6), unique("sticky"));
    let first = member(bootstrap, &group, &classic("cooperative-sticky"));
    first.subscribe(&[&topic]).unwrap();
    let alone = settle(&[&first], &[6]).remove(0);
    let second = member(bootstrap, &group, &classic("cooperative-sticky"));
    second.subscribe(&[&topic]).unwrap();
    let two = settle(&[&first, &second], &[3, 3]);
    assert!(two[0].is_subset(&alone));
    let third = member(bootstrap, &group, &classic("cooperative-sticky"));
    third.subscribe(&[&topic]).unwrap();
    let three = settle(&[&first, &second, &third], &[2, 2, 2]);
    assert!(three[0].is_subset(&two[0]) && three[1].is_subset(&two[1]));
    drop(third);
    let back = settle(&[&first, &second], &[3, 3]);
    assert!(three[0].is_subset(&back[0]) && three[1].is_subset(&back[1]));
}

pub fn the_consumer_protocol_shares_out_and_takes_back(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 6), unique("consumer-protocol"));
    let settings = [("group.protocol", "consumer")];
    let first = member(bootstrap, &group, &settings);
    first.subscribe(&[&topic]).unwrap();
    let alone = settle(&[&first], &[6]).remove(0);
    let second = member(bootstrap, &group, &settings);
    second.subscribe(&[&topic]).unwrap();
    let two = settle(&[&first, &second], &[3, 3]);
    assert!(two[0].is_subset(&alone));
    let mut list = TopicPartitionList::new();
    let (name, partition) = two[1].first().unwrap();
    list.add_partition_offset(name, *partition, Offset::Offset(17))
        .unwrap();
    second.commit(&list, CommitMode::Sync).unwrap();
    assert_eq!(
        second.committed_offsets(list, PATIENCE).unwrap().elements()[0].offset(),
        Offset::Offset(17)
    );
    drop(second);
    settle(&[&first], &[6]);
}

pub fn the_consumer_protocol_follows_a_pattern(bootstrap: &str) {
    let (prefix, group) = (unique("pattern"), unique("consumer-pattern"));
    create_topic(bootstrap, &format!("{prefix}-a"), 2, &[]);
    let first = member(
        bootstrap,
        &group,
        &[
            ("group.protocol", "consumer"),
            ("topic.metadata.refresh.interval.ms", "200"),
        ],
    );
    first.subscribe(&[&format!("^{prefix}-.*")]).unwrap();
    settle(&[&first], &[2]);
    create_topic(bootstrap, &format!("{prefix}-b"), 3, &[]);
    settle(&[&first], &[5]);
}

pub fn metadata_is_committed_with_the_offset(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 2), unique("metadata"));
    let committer = member(bootstrap, &group, &[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(42))
        .unwrap();
    list.add_partition_offset(&topic, 1, Offset::Offset(0))
        .unwrap();
    list.find_partition(&topic, 0)
        .unwrap()
        .set_metadata("AgAAAY0=");
    committer.commit(&list, CommitMode::Sync).unwrap();
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_range(&topic, 0, 1);
    let committed = committer.committed_offsets(wanted, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(42));
    assert_eq!(committed.elements()[0].metadata(), "AgAAAY0=");
    assert_eq!(committed.elements()[1].offset(), Offset::Offset(0));
}

pub fn a_static_member_comes_back_unnoticed(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 4), unique("static"));
    let instance = |id: &'static str| {
        let mut settings = classic("range");
        settings.push(("group.instance.id", id));
        let member = member(bootstrap, &group, &settings);
        member.subscribe(&[&topic]).unwrap();
        member
    };
    let (first, second) = (instance("i1"), instance("i2"));
    let before = settle(&[&first, &second], &[2, 2]);
    drop(second);
    let second = instance("i2");
    eventually("the member has its partitions again", || {
        assert_eq!(
            assigned(&first),
            before[0],
            "the other member is not disturbed"
        );
        assigned(&second) == before[1]
    });
}

pub fn a_stale_generation_cannot_commit(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 1), unique("stale"));
    let joined = member(bootstrap, &group, &classic("range"));
    joined.subscribe(&[&topic]).unwrap();
    settle(&[&joined], &[1]);
    let outsider = member(bootstrap, &group, &[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(1))
        .unwrap();
    let error = outsider.commit(&list, CommitMode::Sync).unwrap_err();
    let KafkaError::ConsumerCommit(code) = error else {
        panic!("{error}")
    };
    assert_eq!(code, RDKafkaErrorCode::UnknownMemberId);
    joined.commit(&list, CommitMode::Sync).unwrap();
}

pub fn a_silent_member_loses_its_partitions(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 2), unique("silent"));
    let settings = [
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "100"),
        ("max.poll.interval.ms", "6000"),
    ];
    let silent = member(bootstrap, &group, &settings);
    silent.subscribe(&[&topic]).unwrap();
    settle(&[&silent], &[2]);
    let alive = member(bootstrap, &group, &settings);
    alive.subscribe(&[&topic]).unwrap();
    // The first member is not polled any more: it cannot join again, and the group goes on without it.
    settle(&[&alive], &[2]);
    // A consumer that was asked to give its partitions up can be dropped only after it has heard so.
    eventually("the silent member hears of it", || {
        assigned(&silent).is_empty()
    });
}
