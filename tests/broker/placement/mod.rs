//! Placement by task topic, proved: members join, leave, stall and come back under load, and every record is read, by the
//! member that owns its task, again only where a commit did not make it.

mod members;
mod subscriptions;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, LogProducer, NewTopic, ProduceRecord};
use streams_core::{Headers, TopicPartition};

use crate::clients::unique;
use members::{Member, Shared};
pub use subscriptions::{many_tasks, tasks_go_to_subscribers_alone};

const TASK_COUNT: i32 = 12;
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long an input may deliver nothing whose task stays where it is: a machine that is busy stops for a moment by itself.
const UNTOUCHED_GAP_MAX: Duration = Duration::from_secs(2);

/// A group under load; `protocol` is `classic` or `consumer`.
struct Scene {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    load: JoinHandle<HashMap<(usize, i32), i64>>,
}

impl Scene {
    fn new(bootstrap: &str, protocol: &str, is_static: bool) -> Scene {
        Scene::with(bootstrap, protocol, is_static, false)
    }

    /// `is_split` gives each task a topic of its own.
    fn with(bootstrap: &str, protocol: &str, is_static: bool, is_split: bool) -> Scene {
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
            is_static,
            is_split,
            allowed: Mutex::default(),
            started: Instant::now(),
            seen: Mutex::default(),
        });
        let mut topics = vec![(shared.topic(0), TASK_COUNT), (shared.topic(1), TASK_COUNT)];
        match is_split {
            true => topics.extend((0..TASK_COUNT).map(|task| (shared.task_topic(task), 1))),
            false => topics.push((shared.task_topic(0), TASK_COUNT)),
        }
        let new_topic = |(name, partition_count)| NewTopic {
            name,
            partition_count,
            replication_factor: 1,
            config: Default::default(),
        };
        let topics: Vec<NewTopic> = topics.into_iter().map(new_topic).collect();
        shared.broker.create_topics(&topics, TIMEOUT).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let load = start_load(&shared, &stop);
        Scene { shared, stop, load }
    }

    /// Stops the load, waits until everything is read, and says how far each log goes.
    fn end(self) -> HashMap<(usize, i32), i64> {
        self.stop.store(true, Ordering::Relaxed);
        let ends = self.load.join().unwrap();
        let produced: i64 = ends.values().sum();
        let deadline = Instant::now() + TIMEOUT;
        while (self.shared.seen.lock().unwrap().counts.len() as i64) < produced {
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        ends
    }
}

/// Writes to every partition of both inputs until it is stopped, and says how far each log goes then.
fn start_load(
    shared: &Arc<Shared>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<HashMap<(usize, i32), i64>> {
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
}

/// Runs the whole script; `protocol` is `classic` or `consumer`.
pub fn members_come_and_go(bootstrap: &str, protocol: &str) {
    let scene = Scene::new(bootstrap, protocol, false);
    let shared = scene.shared.clone();
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
    let ends = scene.end();
    let produced: i64 = ends.values().sum();
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
        seen.gaps.values().max(),
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

/// Eight static members, one of which is stopped and started again: it gets back what it had, nobody else is given anything,
/// and what the others read goes on without a pause.
pub fn one_of_eight_restarts(bootstrap: &str, protocol: &str) {
    let scene = Scene::new(bootstrap, protocol, true);
    let shared = scene.shared.clone();
    let mut members: Vec<Member> = (0..8).map(|id| Member::start(&shared, id)).collect();
    let owners = || shared.seen.lock().unwrap().owners.clone();
    let deadline = Instant::now() + TIMEOUT;
    let mut before = owners();
    let mut since = Instant::now();
    while before.len() < TASK_COUNT as usize || since.elapsed() < Duration::from_secs(3) {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            shared.seen.lock().unwrap().log
        );
        std::thread::sleep(Duration::from_millis(50));
        let now = owners();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    let of_each: HashSet<usize> = before.values().copied().collect();
    assert_eq!(of_each.len(), 8, "{before:?}");
    {
        let mut seen = shared.seen.lock().unwrap();
        seen.gaps.clear();
        seen.assignments.clear();
    }

    let restarted = 3;
    let member = members.remove(restarted);
    member.leave();
    // As long as a process takes to start again.
    std::thread::sleep(Duration::from_secs(2));
    members.push(Member::start(&shared, restarted));
    let deadline = Instant::now() + TIMEOUT;
    while owners().len() < TASK_COUNT as usize {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            shared.seen.lock().unwrap().log
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(5));

    assert_eq!(owners(), before);
    let ends = scene.end();
    for member in members {
        member.leave();
    }
    let seen = shared.seen.lock().unwrap();
    let mut given: Vec<i32> = seen.assignments.keys().copied().collect();
    given.sort_unstable();
    let mut its: Vec<i32> = before
        .iter()
        .filter(|(_, owner)| **owner == restarted)
        .map(|(task, _)| *task)
        .collect();
    its.sort_unstable();
    assert_eq!(given, its, "{:?}", seen.log);
    let untouched = seen
        .gaps
        .iter()
        .filter(|((_, task), _)| !its.contains(task))
        .map(|(_, gap)| *gap)
        .max();
    let all = seen.gaps.values().max();
    println!(
        "{protocol}: one of eight restarted; tasks {its:?} came back to it, longest silence of the others {untouched:?}, of all {all:?}"
    );
    assert!(untouched < Some(UNTOUCHED_GAP_MAX), "{untouched:?}");
    let produced: i64 = ends.values().sum();
    assert_eq!(seen.counts.len() as i64, produced);
    assert!(seen.counts.values().all(|count| *count == 1));
    assert_eq!((seen.foreign, seen.overlaps), (0, 0));
}
