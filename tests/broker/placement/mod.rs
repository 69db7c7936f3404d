//! Placement by task topic, proved: members join, leave, stall and come back under load, and every record is read, by the
//! member that owns its task, again only where a commit did not make it.

mod members;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, LogProducer, NewTopic, ProduceRecord};
use streams_core::{Headers, TopicPartition};

use crate::clients::unique;
use members::{Member, Shared};

const TASK_COUNT: i32 = 12;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the whole script; `protocol` is `classic` or `consumer`.
pub fn members_come_and_go(bootstrap: &str, protocol: &str) {
    let mut settings = KafkaSettings::default();
    for (name, value) in [
        ("bootstrap.servers", bootstrap),
        ("group.protocol", protocol),
        ("max.poll.interval.ms", "8000"),
        ("linger.ms", "5"),
    ] {
        settings.common.insert(name.into(), value.into());
    }
    if protocol == "classic" {
        settings
            .consumer
            .insert("session.timeout.ms".into(), "6000".into());
        settings
            .consumer
            .insert("heartbeat.interval.ms".into(), "500".into());
    }
    let shared = Arc::new(Shared {
        broker: KafkaBroker::new(settings).unwrap(),
        name: unique(&format!("proof-{protocol}")),
        group: unique(&format!("group-{protocol}")),
        started: Instant::now(),
        seen: Mutex::default(),
    });
    let topics: Vec<NewTopic> = ["a", "b", "tasks"]
        .iter()
        .map(|suffix| NewTopic {
            name: format!("{}-{suffix}", shared.name),
            partition_count: TASK_COUNT,
            replication_factor: 1,
            config: Default::default(),
        })
        .collect();
    shared.broker.create_topics(&topics, TIMEOUT).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (shared, stop) = (shared.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut producer = shared.broker.producer("load", None).unwrap();
            let names: [Arc<str>; 2] = [shared.topic(0).into(), shared.topic(1).into()];
            let headers = Headers::new();
            while !stop.load(Ordering::Relaxed) {
                for (input, topic) in names.iter().enumerate() {
                    for partition in 0..TASK_COUNT {
                        let key = format!("{input}/{partition}");
                        let record = ProduceRecord {
                            topic,
                            partition,
                            timestamp: None,
                            key: Some(key.as_bytes()),
                            value: Some(b"value"),
                            headers: &headers,
                        };
                        producer.send(&mut std::iter::repeat_n(record, 5)).unwrap();
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            producer.flush(TIMEOUT).unwrap();
            (0..2)
                .flat_map(|input| (0..TASK_COUNT).map(move |partition| (input, partition)))
                .map(|(input, partition)| {
                    let name = TopicPartition::new(shared.topic(input), partition);
                    ((input, partition), producer.next_offset(&name).unwrap_or(0))
                })
                .collect::<HashMap<_, _>>()
        })
    };
    let at = |seconds: u64| {
        std::thread::sleep(
            (shared.started + Duration::from_secs(seconds))
                .saturating_duration_since(Instant::now()),
        );
    };
    let first = Member::start(&shared, 1);
    at(4);
    let second = Member::start(&shared, 2);
    at(8);
    let third = Member::start(&shared, 3);
    at(12);
    let fourth = Member::start(&shared, 4);
    at(16);
    second.leave();
    at(20);
    // Longer than max.poll.interval.ms: it is out, the others take over, and it comes back.
    third.stall_ms.store(12_000, Ordering::Relaxed);
    at(38);
    first.leave();
    at(42);
    let fifth = Member::start(&shared, 5);
    at(46);
    stop.store(true, Ordering::Relaxed);
    let ends = load.join().unwrap();
    let produced: i64 = ends.values().sum();
    let deadline = Instant::now() + TIMEOUT;
    while (shared.seen.lock().unwrap().counts.len() as i64) < produced {
        if Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for member in [third, fourth, fifth] {
        member.leave();
    }
    let seen = shared.seen.lock().unwrap();
    for line in &seen.log {
        println!("{line}");
    }
    for line in &seen.refused_commits {
        println!("refused: {line}");
    }
    let uncalled_for = seen
        .counts
        .iter()
        .filter(|((_, task, _), count)| **count > 1 && !seen.lost.contains(task))
        .count();
    let twice = seen.counts.values().filter(|count| **count > 1).count();
    println!(
        "{protocol}: produced {produced}, distinct {}, duplicates {twice} ({uncalled_for} of them of tasks never lost), foreign {}, overlaps {}, commits {}, refused {}, longest silence {:?}",
        seen.counts.len(),
        seen.foreign,
        seen.overlaps,
        seen.commits,
        seen.refused_commits.len(),
        seen.gap_max,
    );
    let lost: Vec<_> = ends
        .iter()
        .flat_map(|((input, partition), end)| (0..*end).map(|offset| (*input, *partition, offset)))
        .filter(|place| !seen.counts.contains_key(place))
        .take(5)
        .collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    assert_eq!(seen.foreign, 0);
}
