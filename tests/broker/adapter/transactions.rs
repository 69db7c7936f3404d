//! Transactions of a producer, with the offsets of a group.

use std::time::{Duration, Instant};

use streams_core::runtime::broker::{
    Broker, CommittedOffset, GroupConsumer, GroupEvent, LogProducer, LogReader, StartOffset,
};
use streams_core::{ErrorKind, TopicPartition};

use super::{TIMEOUT, await_assignment, broker, consume, create, input, options, send, values};
use crate::clients::unique;

/// Aborted records are not read, offsets go with the transaction, control records move the position, and a newer producer
/// of the same id fences the older.
pub fn transactions(bootstrap: &str) {
    let broker = broker(bootstrap, &[("isolation.level", "read_committed")]);
    let (topic, group, id) = (unique("txn"), unique("group"), unique("id"));
    create(&broker, &topic, 1, &[]);
    let partition = TopicPartition::new(topic.as_str(), 0);
    let mut consumer = broker.consumer(&options(&group, "c")).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    await_assignment(&mut consumer, 1);
    consumer
        .add_inputs(&[input(&topic, 0, 0, StartOffset::At(0))])
        .unwrap();

    let mut producer = broker.producer("p", Some(&id)).unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    send(&mut producer, &topic, 0, &["lost"]);
    producer.abort_transaction().unwrap();
    producer.begin_transaction().unwrap();
    send(&mut producer, &topic, 0, &["kept"]);
    let offset = CommittedOffset {
        offset: 42,
        metadata: "m".into(),
    };
    producer
        .send_offsets(
            &[(partition.clone(), offset.clone())],
            &consumer.group_metadata().unwrap(),
        )
        .unwrap();
    producer.commit_transaction().unwrap();
    assert_eq!(values(&consume(&mut consumer, 1)), ["kept"]);
    assert_eq!(
        consumer
            .committed(std::slice::from_ref(&partition), TIMEOUT)
            .unwrap(),
        [Some(offset)]
    );
    let end = consumer
        .offsets(std::slice::from_ref(&partition), TIMEOUT)
        .unwrap()[0]
        .1;
    let deadline = Instant::now() + TIMEOUT;
    while consumer.position(&partition) != Some(end) {
        assert!(
            Instant::now() < deadline,
            "{:?} of {end}",
            consumer.position(&partition)
        );
        consumer
            .poll(Duration::from_millis(50), 10, &mut Vec::new())
            .unwrap();
    }
    for isolation in ["read_committed", "read_uncommitted"] {
        let broker = self::broker(bootstrap, &[("isolation.level", isolation)]);
        let mut reader = broker.reader("r").unwrap();
        reader
            .add_inputs(&[input(&topic, 0, 0, StartOffset::Earliest)])
            .unwrap();
        while reader.position(&partition) != Some(end) {
            assert!(
                Instant::now() < deadline,
                "{isolation} {:?} of {end}",
                reader.position(&partition)
            );
            reader
                .poll(Duration::from_millis(50), 10, &mut Vec::new())
                .unwrap();
        }
    }

    producer.begin_transaction().unwrap();
    send(&mut producer, &topic, 0, &["old"]);
    let mut newer = broker.producer("p2", Some(&id)).unwrap();
    newer.init_transactions(TIMEOUT).unwrap();
    let error = producer.commit_transaction().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    newer.begin_transaction().unwrap();
    send(&mut newer, &topic, 0, &["new"]);
    newer.commit_transaction().unwrap();
    assert_eq!(values(&consume(&mut consumer, 1)), ["new"]);
    consumer.close().unwrap();
}

/// Offsets are committed by who is a member of the group and knows what the group has decided.
pub fn only_members_commit_in_transactions(bootstrap: &str) {
    let broker = broker(bootstrap, &[("isolation.level", "read_committed")]);
    let (topic, group) = (unique("txn-members"), unique("group"));
    create(&broker, &topic, 2, &[]);
    let mut first = broker.consumer(&options(&group, "first")).unwrap();
    assert_eq!(
        first.group_metadata().err().map(|error| error.kind()),
        Some(ErrorKind::Fenced),
        "no member yet"
    );
    first.subscribe(&[&topic]).unwrap();
    await_assignment(&mut first, 2);
    let old = first.group_metadata().unwrap();

    // A second member makes the first give a partition back: until it has heard of that, it is no time to commit.
    let mut second = broker.consumer(&options(&group, "second")).unwrap();
    second.subscribe(&[&topic]).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let error = loop {
        assert!(Instant::now() < deadline, "no revocation");
        match second.poll(Duration::from_millis(100), 1, &mut Vec::new()) {
            Ok(None) => {}
            Ok(Some(GroupEvent::Assigned(partitions))) => second.accept(&partitions).unwrap(),
            other => panic!("{other:?}"),
        }
        if let Err(error) = first.group_metadata() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    let event = first.poll(TIMEOUT, 1, &mut Vec::new()).unwrap();
    let Some(GroupEvent::Revoked(revoked)) = event else {
        panic!("{event:?}");
    };
    let current = first.group_metadata().unwrap();

    let mut producer = broker.producer("p", Some(&unique("id"))).unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    let offsets = |offset| {
        let metadata = String::new();
        [(revoked[0].clone(), CommittedOffset { offset, metadata })]
    };
    producer.begin_transaction().unwrap();
    send(&mut producer, &topic, 0, &["lost"]);
    let error = producer.send_offsets(&offsets(1), &old).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let error = producer.commit_transaction().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    producer.abort_transaction().unwrap();
    producer.begin_transaction().unwrap();
    send(&mut producer, &topic, 0, &["kept"]);
    producer.send_offsets(&offsets(2), &current).unwrap();
    producer.commit_transaction().unwrap();

    first.release(&revoked).unwrap();
    let committed = first.committed(&revoked, TIMEOUT).unwrap();
    assert_eq!(committed[0].as_ref().map(|c| c.offset), Some(2));
    first.close().unwrap();
    second.close().unwrap();
}
