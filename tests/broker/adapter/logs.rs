//! Topics and their records, read outside any group and by a member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streams_core::runtime::broker::{
    Broker, GroupConsumer, GroupEvent, InputSlot, LogProducer, LogReader, NewTopic, ProduceRecord,
    StartOffset,
};
use streams_core::{ErrorKind, FetchedRecord, Headers, TopicPartition};

use super::{
    TIMEOUT, await_assignment, broker, consume, create, input, options, read, send, values,
};
use crate::clients::unique;

/// Topics are created, counted, described; creating again is fine; an unknown one is none and is not made by asking.
pub fn topics(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let (topic, unknown) = (unique("topics"), unique("unknown"));
    create(&broker, &topic, 3, &[("cleanup.policy", "compact")]);
    create(&broker, &topic, 3, &[]);
    for _ in 0..2 {
        let counts = broker
            .partition_counts(&[&topic, &unknown, &topic], TIMEOUT)
            .unwrap();
        assert_eq!(counts, [Some(3), None, Some(3)]);
    }
    let twice = |partition_count| NewTopic {
        name: format!("{topic}-twice"),
        partition_count,
        replication_factor: 1,
        config: BTreeMap::new(),
    };
    broker
        .create_topics(&[twice(2), twice(5)], TIMEOUT)
        .unwrap();
    let counts = broker.partition_counts(&[&format!("{topic}-twice")], TIMEOUT);
    assert_eq!(counts.unwrap(), [Some(2)]);
    let config = broker.topic_config(&topic, TIMEOUT).unwrap();
    assert_eq!(config["cleanup.policy"], "compact");
    let error = broker.topic_config(&unknown, TIMEOUT).unwrap_err();
    assert!(error.to_string().contains(&unknown), "{error}");
    let error = broker
        .create_topics(
            &[NewTopic {
                name: unique("bad"),
                partition_count: 1,
                replication_factor: 1,
                config: BTreeMap::from([("cleanup.policy".into(), "nonsense".into())]),
            }],
            TIMEOUT,
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

/// Everything of a record survives: null and empty keys and values, headers, timestamps; offsets are known after a flush.
pub fn records_round_trip(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let topic = unique("round-trip");
    create(&broker, &topic, 2, &[]);
    let mut producer = broker.producer("producer", None).unwrap();
    let name: Arc<str> = topic.as_str().into();
    let mut headers = Headers::new();
    headers
        .add("a", Some(b"1"))
        .add("a", None)
        .add("empty", Some(b""));
    let none = Headers::new();
    // Not in 1970: the broker deletes what is older than its retention.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    type Parts<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a Headers, Option<i64>);
    let parts: [Parts; 4] = [
        (Some(b"k"), Some(b"v"), &headers, Some(now - 123_456)),
        (None, Some(b""), &none, Some(now)),
        (Some(b""), None, &none, Some(now - 7)),
        (None, None, &none, None),
    ];
    let mut records = parts
        .iter()
        .map(|(key, value, headers, timestamp)| ProduceRecord {
            topic: &name,
            partition: 1,
            timestamp: *timestamp,
            key: *key,
            value: *value,
            headers,
        });
    let partition = TopicPartition::new(topic.as_str(), 1);
    assert_eq!(producer.next_offset(&partition), None);
    producer.send(&mut records).unwrap();
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(producer.next_offset(&partition), Some(4));

    let mut reader = broker.reader("reader").unwrap();
    let both = [TopicPartition::new(topic.as_str(), 0), partition.clone()];
    assert_eq!(reader.offsets(&both, TIMEOUT).unwrap(), [(0, 0), (0, 4)]);
    reader
        .add_inputs(&[
            input(&topic, 0, 8, StartOffset::Earliest),
            input(&topic, 1, 9, StartOffset::Earliest),
        ])
        .unwrap();
    let records = read(&mut reader, 4);
    for (index, (slot, record)) in records.iter().enumerate() {
        let (key, value, headers, timestamp) = parts[index];
        assert_eq!(*slot, InputSlot(9));
        assert_eq!(record.offset(), index as i64);
        assert_eq!(record.key(), key);
        assert_eq!(record.value(), value);
        let mut read = Headers::new();
        read.add("old", None);
        record.read_headers(&mut read);
        assert_eq!(&read, headers);
        match timestamp {
            Some(timestamp) => assert_eq!(record.timestamp(), timestamp),
            None => assert!((now - record.timestamp()).abs() < 60_000),
        }
    }
    assert_eq!(reader.position(&partition), Some(4));
    // Records outlive their reader.
    drop(reader);
    assert_eq!(records[0].1.value(), Some(&b"v"[..]));
    drop(records);
}

/// Removing and adding an input again at another offset delivers from there, with the new slot.
pub fn reader_moves(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let topic = unique("moves");
    create(&broker, &topic, 1, &[]);
    let mut producer = broker.producer("producer", None).unwrap();
    send(&mut producer, &topic, 0, &["a", "b", "c", "d"]);
    producer.flush(TIMEOUT).unwrap();
    let mut reader = broker.reader("reader").unwrap();
    let partition = [TopicPartition::new(topic.as_str(), 0)];
    for round in 0..20 {
        let start = round % 3;
        reader
            .add_inputs(&[input(&topic, 0, round, StartOffset::At(i64::from(start)))])
            .unwrap();
        let records = read(&mut reader, 4 - start as usize);
        assert_eq!(values(&records), ["a", "b", "c", "d"][start as usize..]);
        assert!(records.iter().all(|(slot, _)| *slot == InputSlot(round)));
        assert_eq!(reader.position(&partition[0]), Some(4));
        reader.remove_inputs(&partition).unwrap();
        assert_eq!(reader.position(&partition[0]), None);
    }
    let error = reader
        .add_inputs(&[
            input(&topic, 0, 1, StartOffset::Earliest),
            input(&topic, 0, 2, StartOffset::Earliest),
        ])
        .unwrap_err();
    assert!(error.to_string().contains("input already"), "{error}");
}

/// An offset that records were deleted from is a data error for a reader, and a [`GroupEvent::OutOfRange`] for a member.
pub fn out_of_range(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let topic = unique("range");
    create(&broker, &topic, 1, &[]);
    let mut producer = broker.producer("producer", None).unwrap();
    send(&mut producer, &topic, 0, &["a", "b", "c"]);
    producer.flush(TIMEOUT).unwrap();
    let partition = TopicPartition::new(topic.as_str(), 0);
    broker
        .delete_records(&[(partition.clone(), 2)], TIMEOUT)
        .unwrap();
    let mut reader = broker.reader("reader").unwrap();
    let ends = reader.offsets(std::slice::from_ref(&partition), TIMEOUT);
    assert_eq!(ends.unwrap(), [(2, 3)]);
    reader
        .add_inputs(&[input(&topic, 0, 0, StartOffset::At(0))])
        .unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let error = loop {
        assert!(Instant::now() < deadline);
        match reader.poll(Duration::from_millis(200), 10, &mut Vec::new()) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error
            .to_string()
            .contains(&format!("{topic}-0 at offset 0")),
        "{error}"
    );

    let mut consumer = broker.consumer(&options(&unique("g"), "c")).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    await_assignment(&mut consumer, 1);
    consumer
        .add_inputs(&[input(&topic, 0, 0, StartOffset::At(0))])
        .unwrap();
    let lost = loop {
        assert!(Instant::now() < deadline);
        let mut records = Vec::new();
        match consumer
            .poll(Duration::from_millis(200), 10, &mut records)
            .unwrap()
        {
            Some(GroupEvent::OutOfRange(lost)) => break lost,
            other => assert!(other.is_none() && records.is_empty()),
        }
    };
    assert_eq!(lost, [(partition.clone(), 0)]);
    consumer.remove_inputs(&[partition]).unwrap();
    consumer
        .add_inputs(&[input(&topic, 0, 5, StartOffset::Earliest)])
        .unwrap();
    let records = consume(&mut consumer, 1);
    assert_eq!(values(&records), ["c"]);
    assert_eq!(records[0].0, InputSlot(5));
    consumer.close().unwrap();
}
