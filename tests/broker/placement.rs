//! Placement by task topic, proved: members join, leave, stall and come back under load, and every record is read, by the
//! member that owns its task, again only where a commit did not make it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::{FetchedRecord, TopicPartition};
use streams_core::runtime::broker::{
    Broker, CommittedOffset, ConsumerOptions, GroupConsumer, GroupEvent, Input, InputSlot,
    LogProducer, NewTopic, ProduceRecord, StartOffset,
};

use streams_core::{ErrorKind, Headers};

const TASK_COUNT: i32 = 12;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What all members did together.
#[derive(Default)]
struct Seen {
    /// How often each (input, partition, offset) was processed.
    counts: HashMap<(usize, i32, i64), u32>,
    /// Who owns each task.
    owners: HashMap<i32, usize>,
    /// Records of a task somebody else owned.
    foreign: usize,
    /// Assignments of a task somebody still owned.
    overlaps: usize,
    /// When each partition last delivered, and its longest silence.
    last: HashMap<(usize, i32), Instant>,
    gap_max: Duration,
    /// Tasks that were lost without a commit.
    lost: std::collections::HashSet<i32>,
    commits: usize,
    refused_commits: Vec<String>,
    log: Vec<String>,
}

struct Shared {
    broker: KafkaBroker,
    name: String,
    group: String,
    started: Instant,
    seen: Mutex<Seen>,
}

impl Shared {
    fn topic(&self, input: usize) -> String {
        format!("{}-{}", self.name, ["a", "b"][input])
    }

    fn log(&self, member: usize, text: impl std::fmt::Display) {
        let at = self.started.elapsed().as_millis();
        self.seen
            .lock()
            .unwrap()
            .log
            .push(format!("{at:>6} ms  member {member}: {text}"));
    }
}

struct Member {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    stall_ms: Arc<AtomicUsize>,
}

impl Member {
    fn start(shared: &Arc<Shared>, id: usize) -> Member {
        let stop = Arc::new(AtomicBool::new(false));
        let stall_ms = Arc::new(AtomicUsize::new(0));
        let (shared, stopped, stalled) = (shared.clone(), stop.clone(), stall_ms.clone());
        let thread = std::thread::spawn(move || run(&shared, id, &stopped, &stalled));
        Member {
            thread,
            stop,
            stall_ms,
        }
    }

    fn leave(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn commit(
    shared: &Shared,
    id: usize,
    consumer: &mut impl GroupConsumer,
    next: &mut HashMap<TopicPartition, i64>,
) {
    if next.is_empty() {
        return;
    }
    let offsets: Vec<_> = next
        .iter()
        .map(|(partition, offset)| {
            let committed = CommittedOffset {
                offset: *offset,
                metadata: "AgAAAAAAAAPo".into(),
            };
            (partition.clone(), committed)
        })
        .collect();
    match consumer.commit(&offsets) {
        Ok(()) => {
            next.clear();
            shared.seen.lock().unwrap().commits += 1;
        }
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::Retriable | ErrorKind::Fenced),
                "{error:?}"
            );
            let text = format!("member {id}: {error:?}");
            shared.seen.lock().unwrap().refused_commits.push(text);
        }
    }
}

fn run(shared: &Shared, id: usize, stop: &AtomicBool, stall_ms: &AtomicUsize) {
    let mut consumer = shared
        .broker
        .consumer(&ConsumerOptions {
            group_id: shared.group.clone(),
            client_id: format!("member-{id}"),
            instance_id: None,
            auto_offset_reset: "earliest".into(),
        })
        .unwrap();
    let tasks = format!("{}-tasks", shared.name);
    consumer.subscribe(&[&tasks]).unwrap();
    let mut next: HashMap<TopicPartition, i64> = HashMap::new();
    let mut records = Vec::new();
    let mut committed_at = Instant::now();
    let inputs_of = |tasks: &[TopicPartition]| -> Vec<TopicPartition> {
        tasks
            .iter()
            .flat_map(|task| {
                (0..2).map(|input| TopicPartition::new(shared.topic(input), task.partition))
            })
            .collect()
    };
    let numbers = |tasks: &[TopicPartition]| -> Vec<i32> {
        let mut numbers: Vec<i32> = tasks.iter().map(|task| task.partition).collect();
        numbers.sort_unstable();
        numbers
    };
    while !stop.load(Ordering::Relaxed) {
        let stall = stall_ms.swap(0, Ordering::Relaxed);
        if stall > 0 {
            shared.log(id, format_args!("stalls for {stall} ms"));
            std::thread::sleep(Duration::from_millis(stall as u64));
        }
        let event = consumer
            .poll(Duration::from_millis(50), 1024, &mut records)
            .unwrap();
        {
            let mut seen = shared.seen.lock().unwrap();
            let now = Instant::now();
            for (slot, record) in records.drain(..) {
                let (input, partition) = ((slot.0 % 2) as usize, (slot.0 / 2) as i32);
                let key = record.key().unwrap();
                let mine = seen.owners.get(&partition) == Some(&id);
                if !mine || key != format!("{input}/{partition}").as_bytes() {
                    seen.foreign += 1;
                }
                *seen
                    .counts
                    .entry((input, partition, record.offset()))
                    .or_default() += 1;
                if let Some(last) = seen.last.insert((input, partition), now) {
                    seen.gap_max = seen.gap_max.max(now - last);
                }
                next.insert(
                    TopicPartition::new(shared.topic(input), partition),
                    record.offset() + 1,
                );
            }
        }
        match event {
            Some(GroupEvent::Assigned(tasks)) => {
                consumer.accept(&tasks).unwrap();
                {
                    let mut seen = shared.seen.lock().unwrap();
                    for task in &tasks {
                        if seen.owners.insert(task.partition, id).is_some() {
                            seen.overlaps += 1;
                        }
                    }
                }
                let partitions = inputs_of(&tasks);
                let committed = consumer.committed(&partitions, TIMEOUT).unwrap();
                let inputs: Vec<Input> = partitions
                    .into_iter()
                    .zip(committed)
                    .map(|(partition, committed)| {
                        let input = u32::from(partition.topic == shared.topic(1));
                        Input {
                            slot: InputSlot(partition.partition as u32 * 2 + input),
                            offset: committed
                                .map_or(StartOffset::Earliest, |at| StartOffset::At(at.offset)),
                            partition,
                        }
                    })
                    .collect();
                consumer.add_inputs(&inputs).unwrap();
                shared.log(id, format_args!("+ {:?}", numbers(&tasks)));
            }
            Some(GroupEvent::Revoked(tasks)) => {
                commit(shared, id, &mut consumer, &mut next);
                give_up(shared, id, &tasks, &mut next, &inputs_of(&tasks));
                consumer.remove_inputs(&inputs_of(&tasks)).unwrap();
                consumer.release(&tasks).unwrap();
                shared.log(id, format_args!("- {:?}", numbers(&tasks)));
            }
            Some(GroupEvent::Lost(tasks)) => {
                give_up(shared, id, &tasks, &mut next, &inputs_of(&tasks));
                consumer.remove_inputs(&inputs_of(&tasks)).unwrap();
                consumer.release(&tasks).unwrap();
                let numbers = numbers(&tasks);
                shared.seen.lock().unwrap().lost.extend(&numbers);
                shared.log(id, format_args!("lost {numbers:?}"));
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        if committed_at.elapsed() > Duration::from_millis(200) {
            committed_at = Instant::now();
            commit(shared, id, &mut consumer, &mut next);
        }
    }
    commit(shared, id, &mut consumer, &mut next);
    shared
        .seen
        .lock()
        .unwrap()
        .owners
        .retain(|_, owner| *owner != id);
    let started = Instant::now();
    let closed = consumer.close();
    shared.log(id, format_args!("left in {:?}: {closed:?}", started.elapsed()));
}

fn give_up(
    shared: &Shared,
    id: usize,
    tasks: &[TopicPartition],
    next: &mut HashMap<TopicPartition, i64>,
    inputs: &[TopicPartition],
) {
    let mut seen = shared.seen.lock().unwrap();
    for task in tasks {
        if seen.owners.get(&task.partition) == Some(&id) {
            seen.owners.remove(&task.partition);
        }
    }
    next.retain(|partition, _| !inputs.contains(partition));
}

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
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let shared = Arc::new(Shared {
        broker: KafkaBroker::new(settings).unwrap(),
        name: format!("proof-{protocol}-{nanos}"),
        group: format!("group-{protocol}-{nanos}"),
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
                        producer
                            .send(&mut std::iter::repeat_n(record, 5))
                            .unwrap();
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
        .flat_map(|((input, partition), end)| {
            (0..*end).map(|offset| (*input, *partition, offset))
        })
        .filter(|place| !seen.counts.contains_key(place))
        .take(5)
        .collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    assert_eq!(seen.foreign, 0);
}
