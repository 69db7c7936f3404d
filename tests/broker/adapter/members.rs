//! Members of groups: assignments, inputs beside them, commits, and positions that hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use streams_core::runtime::broker::{
    Broker, CommittedOffset, GroupConsumer, GroupEvent, Input, InputSlot, LogProducer, StartOffset,
};
use streams_core::{FetchedRecord, TopicPartition};

use super::{TIMEOUT, await_assignment, broker, consume, create, input, options, send, values};
use crate::clients::unique;

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
    consumer.close().unwrap();

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
