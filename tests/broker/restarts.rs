//! A broker with a directory, stopped and started again.

use std::fs;
use std::io::Write;
use std::path::Path;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use streams_core::embedded::{EmbeddedBroker, EmbeddedError};

use crate::clients::{
    PATIENCE, admin, consumer, create_topic, eventually, flush, options, producer, read_all, send,
    values, wait,
};

fn start(directory: &Path) -> EmbeddedBroker {
    EmbeddedBroker::builder()
        .directory(directory)
        .default_partitions(2)
        .cleaner_interval_ms(20)
        .start()
        .unwrap()
}

pub fn everything_survives_a_restart_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    let bootstrap = broker.bootstrap_servers();
    create_topic(
        &bootstrap,
        "plain",
        2,
        &[("segment.bytes", "1000"), ("retention.ms", "-1")],
    );
    create_topic(
        &bootstrap,
        "compacted",
        1,
        &[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "1000"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ],
    );
    create_topic(&bootstrap, "deleted", 1, &[]);
    let writer = producer(&bootstrap, &[("batch.num.messages", "10")]);
    for i in 0..500 {
        send(
            &writer,
            "plain",
            i % 2,
            &i.to_string(),
            Some(&i.to_string()),
        );
        send(
            &writer,
            "compacted",
            0,
            &(i % 5).to_string(),
            Some(&i.to_string()),
        );
    }
    flush(&writer);
    eventually("the log is compacted", || {
        read_all(&bootstrap, "compacted", 0, "read_committed").len() < 100
    });

    let transactional = producer(&bootstrap, &[("transactional.id", "t")]);
    transactional.init_transactions(PATIENCE).unwrap();
    for (value, commits) in [("aborted", false), ("committed", true)] {
        transactional.begin_transaction().unwrap();
        send(&transactional, "plain", 0, "k", Some(value));
        if commits {
            transactional.commit_transaction(PATIENCE).unwrap();
        } else {
            flush(&transactional);
            transactional.abort_transaction(PATIENCE).unwrap();
        }
    }
    transactional.begin_transaction().unwrap();
    send(&transactional, "plain", 0, "k", Some("open"));
    flush(&transactional);

    let reader = consumer(&bootstrap, &[("group.id", "g")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("plain", 1, Offset::Offset(99))
        .unwrap();
    list.find_partition("plain", 1)
        .unwrap()
        .set_metadata("beside");
    reader.commit(&list, CommitMode::Sync).unwrap();
    let mut up_to = TopicPartitionList::new();
    up_to
        .add_partition_offset("plain", 1, Offset::Offset(20))
        .unwrap();
    wait(admin(&bootstrap).delete_records(&up_to, &options())).unwrap();
    wait(admin(&bootstrap).delete_topics(&["deleted"], &options())).unwrap();

    let before = [0, 1].map(|partition| read_all(&bootstrap, "plain", partition, "read_committed"));
    let compacted = read_all(&bootstrap, "compacted", 0, "read_committed");
    let second = EmbeddedBroker::builder()
        .directory(directory.path())
        .start();
    assert!(matches!(second, Err(EmbeddedError::DirectoryInUse { .. })));
    drop((writer, transactional, reader));
    broker.shutdown();

    let broker = start(directory.path());
    let bootstrap = broker.bootstrap_servers();
    for partition in [0, 1] {
        assert_eq!(
            read_all(&bootstrap, "plain", partition, "read_committed"),
            before[partition as usize]
        );
    }
    assert_eq!(values(&before[0]).last(), Some(&"committed"));
    assert_eq!(before[1][0].0, 20);
    assert_eq!(
        read_all(&bootstrap, "compacted", 0, "read_committed").last(),
        compacted.last()
    );
    let reader = consumer(&bootstrap, &[("group.id", "g")]);
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition("plain", 1);
    let committed = reader.committed_offsets(wanted, PATIENCE).unwrap();
    assert_eq!(
        (
            committed.elements()[0].offset(),
            committed.elements()[0].metadata()
        ),
        (Offset::Offset(99), "beside")
    );
    let metadata = reader.fetch_metadata(None, PATIENCE).unwrap();
    assert!(
        metadata
            .topics()
            .iter()
            .all(|topic| topic.name() != "deleted")
    );
    // The successor aborts what was left open, and goes on.
    let successor = producer(&bootstrap, &[("transactional.id", "t")]);
    successor.init_transactions(PATIENCE).unwrap();
    successor.begin_transaction().unwrap();
    send(&successor, "plain", 0, "k", Some("after"));
    successor.commit_transaction(PATIENCE).unwrap();
    let after = read_all(&bootstrap, "plain", 0, "read_committed");
    assert_eq!(
        values(&after)[values(&after).len() - 2..],
        ["committed", "after"]
    );
}

pub fn a_torn_tail_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path());
    create_topic(&broker.bootstrap_servers(), "torn", 1, &[]);
    let writer = producer(&broker.bootstrap_servers(), &[]);
    for value in ["one", "two"] {
        send(&writer, "torn", 0, "k", Some(value));
        flush(&writer);
    }
    drop(writer);
    broker.shutdown();
    let segment = directory
        .path()
        .join("torn-0")
        .join("00000000000000000000.log");
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() - 3]).unwrap();
    let mut journal = fs::OpenOptions::new()
        .append(true)
        .open(directory.path().join("metadata.journal"))
        .unwrap();
    journal.write_all(b"deadbeef {\"Top").unwrap();

    let broker = start(directory.path());
    let bootstrap = broker.bootstrap_servers();
    assert_eq!(
        values(&read_all(&bootstrap, "torn", 0, "read_uncommitted")),
        ["one"]
    );
    let writer = producer(&bootstrap, &[]);
    send(&writer, "torn", 0, "k", Some("three"));
    flush(&writer);
    assert_eq!(
        values(&read_all(&bootstrap, "torn", 0, "read_uncommitted")),
        ["one", "three"]
    );
}
