//! The Kafka boundary against a running broker: every case takes its address and makes its own topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use streams_core::kafka::{KafkaBroker, KafkaConsumer, KafkaProducer, KafkaSettings};
use streams_core::{FetchedRecord, TopicPartition};
use streams_core::runtime::broker::{
    Broker, CommittedOffset, ConsumerOptions, GroupConsumer, GroupEvent, Input, InputSlot,
    LogProducer, LogReader, NewTopic, ProduceRecord, StartOffset,
};

use streams_core::{ErrorKind, Headers};

const TIMEOUT: Duration = Duration::from_secs(20);

fn settings(bootstrap: &str, more: &[(&str, &str)]) -> KafkaSettings {
    let mut settings = KafkaSettings::default();
    settings
        .common
        .insert("bootstrap.servers".into(), bootstrap.into());
    for (name, value) in more {
        settings.common.insert((*name).into(), (*value).into());
    }
    settings
}

fn broker(bootstrap: &str, more: &[(&str, &str)]) -> KafkaBroker {
    KafkaBroker::new(settings(bootstrap, more)).unwrap()
}

/// A name no other run uses.
fn unique(name: &str) -> String {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    format!("{name}-{nanos}")
}

fn create(broker: &KafkaBroker, topic: &str, partition_count: i32, config: &[(&str, &str)]) {
    let topic = NewTopic {
        name: topic.into(),
        partition_count,
        replication_factor: 1,
        config: config
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    };
    broker.create_topics(&[topic], TIMEOUT).unwrap();
}

fn options(group: &str, client: &str) -> ConsumerOptions {
    ConsumerOptions {
        group_id: group.into(),
        client_id: client.into(),
        instance_id: None,
        auto_offset_reset: "earliest".into(),
    }
}

fn input(topic: &str, partition: i32, slot: u32, offset: StartOffset) -> Input {
    Input {
        partition: TopicPartition::new(topic, partition),
        slot: InputSlot(slot),
        offset,
    }
}

fn send(producer: &mut KafkaProducer, topic: &str, partition: i32, values: &[&str]) {
    let topic: Arc<str> = topic.into();
    let headers = Headers::new();
    let mut records = values.iter().map(|value| ProduceRecord {
        topic: &topic,
        partition,
        timestamp: None,
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: &headers,
    });
    producer.send(&mut records).unwrap();
}

fn values(records: &[(InputSlot, streams_core::kafka::KafkaRecord)]) -> Vec<String> {
    records
        .iter()
        .map(|(_, record)| String::from_utf8(record.value().unwrap().to_vec()).unwrap())
        .collect()
}

/// Polls a reader until it has so many records.
fn read(
    reader: &mut streams_core::kafka::KafkaReader,
    count: usize,
) -> Vec<(InputSlot, streams_core::kafka::KafkaRecord)> {
    let deadline = Instant::now() + TIMEOUT;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", records.len());
        reader
            .poll(Duration::from_millis(200), 1024, &mut records)
            .unwrap();
    }
    records
}

/// Topics are created, counted, described; creating again is fine; an unknown one is none and is not made by asking.
pub fn topics(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let (topic, unknown) = (unique("topics"), unique("unknown"));
    create(&broker, &topic, 3, &[("cleanup.policy", "compact")]);
    create(&broker, &topic, 3, &[]);
    for _ in 0..2 {
        let counts = broker.partition_counts(&[&topic, &unknown], TIMEOUT).unwrap();
        assert_eq!(counts, [Some(3), None]);
    }
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
    let mut records = parts.iter().map(|(key, value, headers, timestamp)| ProduceRecord {
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
    let started = Instant::now();
    producer.flush(TIMEOUT).unwrap();
    eprintln!("flush after send took {:?}", started.elapsed());
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
    assert!(error.to_string().contains(&format!("{topic}-0 at offset 0")), "{error}");

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

/// Waits for assignments until the member has so many partitions, accepting each.
fn await_assignment(consumer: &mut KafkaConsumer, count: usize) -> Vec<TopicPartition> {
    let deadline = Instant::now() + TIMEOUT;
    let mut ours = Vec::new();
    while ours.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", ours.len());
        let mut records = Vec::new();
        let event = consumer
            .poll(Duration::from_millis(200), 1024, &mut records)
            .unwrap();
        assert!(records.is_empty(), "accepted partitions are not read");
        match event {
            Some(GroupEvent::Assigned(partitions)) => {
                consumer.accept(&partitions).unwrap();
                ours.extend(partitions);
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    ours
}

fn consume(
    consumer: &mut KafkaConsumer,
    count: usize,
) -> Vec<(InputSlot, streams_core::kafka::KafkaRecord)> {
    let deadline = Instant::now() + TIMEOUT;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", records.len());
        let event = consumer
            .poll(Duration::from_millis(200), 1024, &mut records)
            .unwrap();
        assert_eq!(event, None);
    }
    records
}

/// A member reads partitions it subscribed to and partitions it did not; commits come back with their metadata.
pub fn member(bootstrap: &str, more: &[(&str, &str)]) {
    let broker = broker(bootstrap, more);
    let (tasks, topic) = (unique("tasks"), unique("in"));
    create(&broker, &tasks, 2, &[]);
    create(&broker, &topic, 2, &[]);
    let mut producer = broker.producer("producer", None).unwrap();
    send(&mut producer, &topic, 0, &["a", "b"]);
    send(&mut producer, &topic, 1, &["c"]);
    send(&mut producer, &tasks, 0, &["x", "y"]);
    producer.flush(TIMEOUT).unwrap();

    let group = unique("group");
    let mut consumer = broker.consumer(&options(&group, "member")).unwrap();
    consumer.subscribe(&[&tasks]).unwrap();
    await_assignment(&mut consumer, 2);
    consumer
        .add_inputs(&[
            input(&topic, 0, 10, StartOffset::Earliest),
            input(&topic, 1, 11, StartOffset::At(0)),
        ])
        .unwrap();
    let mut read = consume(&mut consumer, 3);
    read.sort_by_key(|(slot, record)| (*slot, record.offset()));
    assert_eq!(values(&read), ["a", "b", "c"]);
    let partitions = [
        TopicPartition::new(topic.as_str(), 0),
        TopicPartition::new(topic.as_str(), 1),
        TopicPartition::new(tasks.as_str(), 0),
    ];
    assert_eq!(consumer.position(&partitions[0]), Some(2));
    assert_eq!(consumer.end_offset(&partitions[0]), Some(2));
    assert_eq!(consumer.position(&partitions[2]), None);
    assert_eq!(
        consumer.offsets(&partitions, TIMEOUT).unwrap(),
        [(0, 2), (0, 1), (0, 2)]
    );

    // A subscribed partition becomes an input as well, and back.
    consumer
        .add_inputs(&[input(&tasks, 0, 20, StartOffset::At(1))])
        .unwrap();
    let records = consume(&mut consumer, 1);
    assert_eq!(values(&records), ["y"]);
    assert_eq!(records[0].0, InputSlot(20));
    consumer
        .remove_inputs(std::slice::from_ref(&partitions[2]))
        .unwrap();
    send(&mut producer, &tasks, 0, &["z"]);
    producer.flush(TIMEOUT).unwrap();
    let mut stray = Vec::new();
    for _ in 0..5 {
        consumer
            .poll(Duration::from_millis(100), 10, &mut stray)
            .unwrap();
    }
    assert!(stray.is_empty());
    for round in 0..10 {
        consumer
            .add_inputs(&[input(&tasks, 0, round, StartOffset::At(0))])
            .unwrap();
        assert_eq!(values(&consume(&mut consumer, 3)), ["x", "y", "z"]);
        consumer
            .remove_inputs(std::slice::from_ref(&partitions[2]))
            .unwrap();
    }

    // Paused inputs deliver nothing; the others go on.
    consumer.pause(&partitions[..1]).unwrap();
    send(&mut producer, &topic, 0, &["d"]);
    send(&mut producer, &topic, 1, &["e"]);
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(values(&consume(&mut consumer, 1)), ["e"]);
    consumer.resume(&partitions[..1]).unwrap();
    assert_eq!(values(&consume(&mut consumer, 1)), ["d"]);
    let error = consumer.pause(&partitions[2..]).unwrap_err();
    assert!(error.to_string().contains("not an input"), "{error}");

    // Commits for what the group never assigned.
    assert_eq!(
        consumer.committed(&partitions[..2], TIMEOUT).unwrap(),
        [None, None]
    );
    let offset = CommittedOffset {
        offset: 3,
        metadata: "AgAAAAAAAAPo".into(),
    };
    consumer
        .commit(&[(partitions[0].clone(), offset.clone())])
        .unwrap();
    assert_eq!(
        consumer.committed(&partitions[..2], TIMEOUT).unwrap(),
        [Some(offset.clone()), None]
    );
    let started = Instant::now();
    consumer.close().unwrap();
    eprintln!("close took {:?}", started.elapsed());

    let mut next = broker.consumer(&options(&group, "next")).unwrap();
    let committed = next.committed(&partitions[..1], TIMEOUT).unwrap();
    assert_eq!(committed, [Some(offset)]);
}

/// The eager protocol: everything is given back and assigned anew, and inputs go on where they stood.
pub fn eager_member(bootstrap: &str) {
    let broker = broker(bootstrap, &[("partition.assignment.strategy", "range")]);
    let topic = unique("eager");
    create(&broker, &topic, 2, &[]);
    let mut producer = broker.producer("producer", None).unwrap();
    send(&mut producer, &topic, 0, &["a"]);
    send(&mut producer, &topic, 1, &["b"]);
    producer.flush(TIMEOUT).unwrap();
    let group = unique("group");
    let mut first = broker.consumer(&options(&group, "first")).unwrap();
    first.subscribe(&[&topic]).unwrap();
    await_assignment(&mut first, 2);
    first
        .add_inputs(&[input(&topic, 0, 0, StartOffset::At(0))])
        .unwrap();
    assert_eq!(values(&consume(&mut first, 1)), ["a"]);
    // Adding another input must not start the first one over.
    first
        .add_inputs(&[input(&topic, 1, 1, StartOffset::At(0))])
        .unwrap();
    assert_eq!(values(&consume(&mut first, 1)), ["b"]);
    send(&mut producer, &topic, 0, &["c"]);
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(values(&consume(&mut first, 1)), ["c"]);

    let mut second = broker.consumer(&options(&group, "second")).unwrap();
    second.subscribe(&[&topic]).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let (mut ours, mut theirs) = (2, 0);
    while (ours, theirs) != (1, 1) {
        assert!(Instant::now() < deadline, "{ours} {theirs}");
        for (consumer, count) in [(&mut first, &mut ours), (&mut second, &mut theirs)] {
            match consumer
                .poll(Duration::from_millis(50), 10, &mut Vec::new())
                .unwrap()
            {
                Some(GroupEvent::Assigned(partitions)) => {
                    consumer.accept(&partitions).unwrap();
                    *count += partitions.len();
                }
                Some(GroupEvent::Revoked(partitions)) => {
                    consumer.release(&partitions).unwrap();
                    *count -= partitions.len();
                }
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        }
    }
    first.close().unwrap();
    second.close().unwrap();
}

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
    let started = Instant::now();
    producer.commit_transaction().unwrap();
    eprintln!("commit took {:?}", started.elapsed());
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

/// What cannot work is an error that says why, and a record that was not written keeps the flush from succeeding.
pub fn failures(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let unknown = unique("unknown");
    let mut consumer = broker.consumer(&options(&unique("g"), "c")).unwrap();
    consumer.subscribe(&[&unknown]).unwrap();
    let deadline = Instant::now() + 2 * TIMEOUT;
    let error = loop {
        assert!(Instant::now() < deadline);
        match consumer.poll(Duration::from_millis(200), 10, &mut Vec::new()) {
            Ok(Some(GroupEvent::Assigned(none))) => consumer.accept(&none).unwrap(),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains(&unknown), "{error}");
    consumer.close().unwrap();

    let topic = unique("small");
    create(&broker, &topic, 1, &[("max.message.bytes", "1000")]);
    let mut producer = broker.producer("p", None).unwrap();
    let big = "x".repeat(5_000);
    send(&mut producer, &topic, 0, &[&big]);
    let error = producer.flush(TIMEOUT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains(&format!("{topic}-0")), "{error}");
    producer.flush(TIMEOUT).unwrap();

    let nobody = self::broker(
        "127.0.0.1:1",
        &[("delivery.timeout.ms", "1000"), ("default.api.timeout.ms", "1000")],
    );
    let error = nobody
        .partition_counts(&["t"], Duration::from_secs(1))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let mut producer = nobody.producer("p", None).unwrap();
    send(&mut producer, "t", 0, &["x"]);
    let error = producer.flush(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    let error = producer.flush(TIMEOUT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    eprintln!("{error}");
    // Leaving and dropping end although nobody answers.
    let mut consumer = nobody.consumer(&options("g", "c")).unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer
        .poll(Duration::from_millis(500), 10, &mut Vec::new())
        .unwrap();
    let started = Instant::now();
    drop(consumer);
    eprintln!("drop without a broker took {:?}", started.elapsed());
    assert!(started.elapsed() < TIMEOUT);
}

/// A static member is fenced by another of the same id.
pub fn static_members(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let (topic, group) = (unique("static"), unique("group"));
    create(&broker, &topic, 1, &[]);
    let mut options = options(&group, "c");
    options.instance_id = Some("one".into());
    let mut first = broker.consumer(&options).unwrap();
    first.subscribe(&[&topic]).unwrap();
    await_assignment(&mut first, 1);
    let mut second = broker.consumer(&options).unwrap();
    second.subscribe(&[&topic]).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let error = loop {
        assert!(Instant::now() < deadline);
        match second
            .poll(Duration::from_millis(50), 10, &mut Vec::new())
            .unwrap()
        {
            Some(GroupEvent::Assigned(partitions)) => second.accept(&partitions).unwrap(),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        match first.poll(Duration::from_millis(50), 10, &mut Vec::new()) {
            Ok(Some(GroupEvent::Lost(partitions) | GroupEvent::Revoked(partitions))) => {
                first.release(&partitions).unwrap();
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("group.instance.id"), "{error}");
    let _ = first.close();
    second.close().unwrap();
}

/// TLS and SASL settings that cannot work are errors that name them.
pub fn security_settings(bootstrap: &str) {
    let error = broker(
        bootstrap,
        &[
            ("security.protocol", "SSL"),
            ("ssl.ca.location", "/nowhere/ca.pem"),
        ],
    )
    .producer("p", None)
    .err()
    .unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("ssl.ca.location"), "{error}");
    eprintln!("{error}");
    let error = KafkaBroker::new(settings(
        bootstrap,
        &[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "GSSAPI"),
        ],
    ))
    .err()
    .unwrap();
    assert!(error.to_string().contains("SCRAM"), "{error}");
    // TLS towards a listener without: the reason shows in the time-out.
    let error = broker(bootstrap, &[("security.protocol", "SSL")])
        .partition_counts(&["t"], Duration::from_secs(3))
        .unwrap_err();
    eprintln!("{error}");
    assert!(error.to_string().to_lowercase().contains("ssl"), "{error}");
}

/// What is assigned becomes an input, stops being one and becomes one again at once, under load: reading goes on exactly
/// where it was told to, however late the answers to earlier requests come.
pub fn positions_hold(bootstrap: &str, more: &[(&str, &str)]) {
    let broker = broker(bootstrap, more);
    let topic = unique("positions");
    create(&broker, &topic, 4, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (stop, topic) = (stop.clone(), topic.clone());
        let mut producer = broker.producer("load", None).unwrap();
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for partition in 0..4 {
                    send(&mut producer, &topic, partition, &["v"; 10]);
                }
                producer.flush(TIMEOUT).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let mut consumer = broker.consumer(&options(&unique("g"), "c")).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let partitions = await_assignment(&mut consumer, 4);
    let mut next: HashMap<InputSlot, i64> = HashMap::new();
    let mut records = Vec::new();
    for round in 0..12 {
        let inputs: Vec<Input> = partitions
            .iter()
            .map(|partition| {
                let slot = InputSlot(partition.partition as u32);
                Input {
                    partition: partition.clone(),
                    slot,
                    offset: next
                        .get(&slot)
                        .map_or(StartOffset::Earliest, |offset| StartOffset::At(*offset)),
                }
            })
            .collect();
        consumer.add_inputs(&inputs).unwrap();
        // Short rounds leave requests under way; long ones see what their late answers do.
        let length = Duration::from_millis(if round % 4 == 3 { 1_500 } else { 30 });
        let started = Instant::now();
        while started.elapsed() < length {
            let event = consumer
                .poll(Duration::from_millis(20), 100, &mut records)
                .unwrap();
            assert_eq!(event, None);
            for (slot, record) in records.drain(..) {
                let expected = next.entry(slot).or_default();
                assert_eq!(record.offset(), *expected, "{slot:?} in round {round}");
                *expected += 1;
            }
        }
        for partition in &partitions {
            let slot = InputSlot(partition.partition as u32);
            let position = consumer.position(partition);
            assert_eq!(position, Some(next.get(&slot).copied().unwrap_or(0)));
        }
        consumer.remove_inputs(&partitions).unwrap();
    }
    assert!(next.values().all(|next| *next > 100), "{next:?}");
    stop.store(true, Ordering::Relaxed);
    load.join().unwrap();
    consumer.close().unwrap();
}
