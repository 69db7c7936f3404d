//! Transactions of a producer, with the offsets of a group.

use std::time::{Duration, Instant};

use streams_core::runtime::broker::{
    Broker, CommittedOffset, GroupConsumer, LogReader, StartOffset,
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
    let error = producer.commit_transaction().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    newer.begin_transaction().unwrap();
    send(&mut newer, &topic, 0, &["new"]);
    newer.commit_transaction().unwrap();
    assert_eq!(values(&consume(&mut consumer, 1)), ["new"]);
    consumer.close().unwrap();
}
