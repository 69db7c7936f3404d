//! Topics, configurations and groups as an administrator sees them.

use rdkafka::admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{
    PATIENCE, admin, consumer, create_topic, eventually, flush, new_topic, options, producer,
    read_all, send, unique, values, wait,
};

pub fn topics_are_created_once_and_checked(bootstrap: &str) {
    let name = unique("created");
    create_topic(bootstrap, &name, 3, &[("cleanup.policy", "compact")]);
    let create = |name: &str, partitions: i32, replication: i32, config: Option<(&str, &str)>| {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        if let Some((key, value)) = config {
            topic = topic.set(key, value);
        }
        wait(admin(bootstrap).create_topics([&topic], &options()))
            .unwrap()
            .remove(0)
            .map_err(|(_, code)| code)
    };
    assert_eq!(
        create(&name, 3, 1, None),
        Err(RDKafkaErrorCode::TopicAlreadyExists)
    );
    assert_eq!(
        create("no spaces", 1, 1, None),
        Err(RDKafkaErrorCode::InvalidTopic)
    );
    assert_eq!(
        create(&unique("none"), 0, 1, None),
        Err(RDKafkaErrorCode::InvalidPartitions)
    );
    assert_eq!(
        create(&unique("many"), 1, 7, None),
        Err(RDKafkaErrorCode::InvalidReplicationFactor)
    );
    let nonsense = Some(("retention.ms", "soon"));
    assert_eq!(
        create(&unique("config"), 1, 1, nonsense),
        Err(RDKafkaErrorCode::InvalidConfig)
    );
    let metadata = consumer(bootstrap, &[])
        .fetch_metadata(Some(&name), PATIENCE)
        .unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
}

pub fn topics_grow_and_go(bootstrap: &str) {
    let name = new_topic(bootstrap, 2);
    let admin = admin(bootstrap);
    let grow = |count| {
        wait(admin.create_partitions([&NewPartitions::new(&name, count)], &options()))
            .unwrap()
            .remove(0)
    };
    assert!(grow(5).is_ok());
    assert_eq!(grow(5).unwrap_err().1, RDKafkaErrorCode::InvalidPartitions);
    let reader = consumer(bootstrap, &[]);
    eventually("five partitions", || {
        reader
            .fetch_metadata(Some(&name), PATIENCE)
            .unwrap()
            .topics()[0]
            .partitions()
            .len()
            == 5
    });
    assert!(
        wait(admin.delete_topics(&[&name], &options()))
            .unwrap()
            .remove(0)
            .is_ok()
    );
    eventually("the topic is gone", || {
        let metadata = reader.fetch_metadata(None, PATIENCE).unwrap();
        metadata.topics().iter().all(|topic| topic.name() != name)
    });
    let again = wait(admin.delete_topics(&[&name], &options()))
        .unwrap()
        .remove(0);
    assert_eq!(
        again.unwrap_err().1,
        RDKafkaErrorCode::UnknownTopicOrPartition
    );
}

pub fn configurations_are_shown_and_changed(bootstrap: &str) {
    let name = unique("configured");
    create_topic(bootstrap, &name, 1, &[("retention.ms", "1234567")]);
    let admin = admin(bootstrap);
    let get = |key: &str| {
        let resource = ResourceSpecifier::Topic(&name);
        let described = wait(admin.describe_configs([&resource], &options()))
            .unwrap()
            .remove(0)
            .unwrap();
        described.get(key).unwrap().value.clone().unwrap()
    };
    assert_eq!(get("retention.ms"), "1234567");
    assert_eq!(get("cleanup.policy"), "delete");
    let change =
        AlterConfig::new(ResourceSpecifier::Topic(&name)).set("cleanup.policy", "compact,delete");
    assert!(
        wait(admin.alter_configs([&change], &options()))
            .unwrap()
            .remove(0)
            .is_ok()
    );
    eventually("the change shows", || {
        get("cleanup.policy") == "compact,delete"
    });
    assert_eq!(
        get("retention.ms"),
        "604800000",
        "a full change resets what it does not name"
    );
}

pub fn records_are_deleted_up_to_an_offset(bootstrap: &str) {
    let name = new_topic(bootstrap, 1);
    let writer = producer(bootstrap, &[]);
    for i in 0..10 {
        send(&writer, &name, 0, "k", Some(&i.to_string()));
        if i % 2 == 1 {
            flush(&writer);
        }
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&name, 0, Offset::Offset(7))
        .unwrap();
    let deleted = wait(admin(bootstrap).delete_records(&list, &options())).unwrap();
    assert_eq!(deleted.elements()[0].offset(), Offset::Offset(7));
    assert_eq!(
        consumer(bootstrap, &[])
            .fetch_watermarks(&name, 0, PATIENCE)
            .unwrap(),
        (7, 10)
    );
    assert_eq!(
        values(&read_all(bootstrap, &name, 0, "read_uncommitted")),
        ["7", "8", "9"]
    );
}

pub fn groups_are_listed_and_deleted(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 1), unique("group"));
    let member = consumer(bootstrap, &[("group.id", &group)]);
    member.subscribe(&[&topic]).unwrap();
    eventually("the member has its partition", || {
        member.poll(std::time::Duration::from_millis(10));
        member.assignment().unwrap().count() == 1
    });
    let listed = member.fetch_group_list(Some(&group), PATIENCE).unwrap();
    assert_eq!(
        (
            listed.groups()[0].state(),
            listed.groups()[0].members().len()
        ),
        ("Stable", 1)
    );
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(5))
        .unwrap();
    member.commit(&list, CommitMode::Sync).unwrap();
    let admin = admin(bootstrap);
    let delete = || {
        wait(admin.delete_groups(&[&group], &options()))
            .unwrap()
            .remove(0)
    };
    assert_eq!(delete().unwrap_err().1, RDKafkaErrorCode::NonEmptyGroup);
    drop(member);
    eventually("the group can be deleted", || delete().is_ok());
    let reader = consumer(bootstrap, &[("group.id", &group)]);
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(&topic, 0);
    let committed = reader.committed_offsets(wanted, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Invalid);
}
