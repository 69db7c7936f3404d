//! Transactions: markers, isolation, offsets, fencing, timeouts.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::clients::{
    PATIENCE, consumer, eventually, flush, new_topic, producer, read_all, send, unique, values,
};

fn transactional(bootstrap: &str, id: &str) -> BaseProducer {
    let producer = producer(bootstrap, &[("transactional.id", id)]);
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn committed(reader: &BaseConsumer, topic: &str) -> (Offset, String) {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(topic, 0);
    let committed = reader.committed_offsets(wanted, PATIENCE).unwrap();
    (
        committed.elements()[0].offset(),
        committed.elements()[0].metadata().to_owned(),
    )
}

pub fn an_aborted_transaction_is_not_seen(bootstrap: &str) {
    let topic = new_topic(bootstrap, 2);
    let writer = transactional(bootstrap, &unique("txn"));
    for (round, commits) in [(0, true), (1, false), (2, true), (3, false)] {
        writer.begin_transaction().unwrap();
        for i in 0..3 {
            send(&writer, &topic, i % 2, "k", Some(&format!("{round}-{i}")));
        }
        if commits {
            writer.commit_transaction(PATIENCE).unwrap();
        } else {
            flush(&writer);
            writer.abort_transaction(PATIENCE).unwrap();
        }
    }
    assert_eq!(
        values(&read_all(bootstrap, &topic, 0, "read_committed")),
        ["0-0", "0-2", "2-0", "2-2"]
    );
    assert_eq!(
        values(&read_all(bootstrap, &topic, 1, "read_committed")),
        ["0-1", "2-1"]
    );
    assert_eq!(
        values(&read_all(bootstrap, &topic, 1, "read_uncommitted")),
        ["0-1", "1-1", "2-1", "3-1"]
    );
    let (_, end) = consumer(bootstrap, &[])
        .fetch_watermarks(&topic, 1, PATIENCE)
        .unwrap();
    assert_eq!(end, 8, "each transaction has its marker");
}

pub fn an_open_transaction_holds_readers_back(bootstrap: &str) {
    let topic = new_topic(bootstrap, 1);
    let open = transactional(bootstrap, &unique("open"));
    open.begin_transaction().unwrap();
    send(&open, &topic, 0, "k", Some("open"));
    flush(&open);
    let plain = producer(bootstrap, &[]);
    send(&plain, &topic, 0, "k", Some("plain"));
    flush(&plain);
    assert!(read_all(bootstrap, &topic, 0, "read_committed").is_empty());
    assert_eq!(
        values(&read_all(bootstrap, &topic, 0, "read_uncommitted")),
        ["open", "plain"]
    );
    open.commit_transaction(PATIENCE).unwrap();
    assert_eq!(
        values(&read_all(bootstrap, &topic, 0, "read_committed")),
        ["open", "plain"]
    );
}

pub fn offsets_are_committed_with_the_transaction(bootstrap: &str) {
    let (topic, group) = (new_topic(bootstrap, 1), unique("txn-group"));
    let reader = consumer(bootstrap, &[("group.id", &group)]);
    let writer = transactional(bootstrap, &unique("txn-offsets"));
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(11))
        .unwrap();
    offsets
        .find_partition(&topic, 0)
        .unwrap()
        .set_metadata("beside");
    let metadata = reader.group_metadata().unwrap();
    writer.begin_transaction().unwrap();
    writer
        .send_offsets_to_transaction(&offsets, &metadata, PATIENCE)
        .unwrap();
    writer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(committed(&reader, &topic).0, Offset::Invalid);
    writer.begin_transaction().unwrap();
    send(&writer, &topic, 0, "k", Some("v"));
    writer
        .send_offsets_to_transaction(&offsets, &metadata, PATIENCE)
        .unwrap();
    writer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(
        committed(&reader, &topic),
        (Offset::Offset(11), "beside".to_owned())
    );
}

pub fn a_second_producer_fences_the_first(bootstrap: &str) {
    let (topic, id) = (new_topic(bootstrap, 1), unique("fenced"));
    let first = transactional(bootstrap, &id);
    first.begin_transaction().unwrap();
    send(&first, &topic, 0, "k", Some("of the first"));
    flush(&first);
    let second = transactional(bootstrap, &id);
    let error = first.commit_transaction(PATIENCE).unwrap_err();
    let KafkaError::Transaction(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.code(), RDKafkaErrorCode::Fenced, "{error}");
    second.begin_transaction().unwrap();
    send(&second, &topic, 0, "k", Some("of the second"));
    second.commit_transaction(PATIENCE).unwrap();
    assert_eq!(
        values(&read_all(bootstrap, &topic, 0, "read_committed")),
        ["of the second"]
    );
}

pub fn an_overdue_transaction_is_aborted(bootstrap: &str) {
    let topic = new_topic(bootstrap, 1);
    let writer = producer(
        bootstrap,
        &[
            ("transactional.id", &unique("overdue")),
            ("transaction.timeout.ms", "1000"),
        ],
    );
    writer.init_transactions(PATIENCE).unwrap();
    writer.begin_transaction().unwrap();
    send(&writer, &topic, 0, "k", Some("too late"));
    flush(&writer);
    let plain = producer(bootstrap, &[]);
    send(&plain, &topic, 0, "k", Some("plain"));
    flush(&plain);
    eventually("the transaction is aborted", || {
        values(&read_all(bootstrap, &topic, 0, "read_committed")) == ["plain"]
    });
    assert!(writer.commit_transaction(PATIENCE).is_err());
}
