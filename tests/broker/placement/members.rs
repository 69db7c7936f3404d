//! Members that process what they own, and what they all saw.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use streams_core::kafka::KafkaBroker;
use streams_core::runtime::broker::{
    Broker, CommittedOffset, ConsumerOptions, GroupConsumer, GroupEvent, Input, InputSlot,
    StartOffset,
};
use streams_core::{ErrorKind, FetchedRecord, TopicPartition};

use super::TIMEOUT;

/// What all members did together.
#[derive(Default)]
pub struct Seen {
    /// How often each (input, partition, offset) was processed.
    pub counts: HashMap<(usize, i32, i64), u32>,
    /// Who owns each task.
    pub owners: HashMap<i32, usize>,
    /// Records of a task somebody else owned.
    pub foreign: usize,
    /// Assignments of a task somebody still owned.
    pub overlaps: usize,
    /// How often each task was given to somebody.
    pub assignments: HashMap<i32, usize>,
    /// When each partition last delivered, and its longest silence.
    pub last: HashMap<(usize, i32), Instant>,
    pub gaps: HashMap<(usize, i32), Duration>,
    /// Tasks that were lost without a commit.
    pub lost: HashSet<i32>,
    pub commits: usize,
    pub refused_commits: Vec<String>,
    pub log: Vec<String>,
}

pub struct Shared {
    pub broker: KafkaBroker,
    pub name: String,
    pub group: String,
    /// Whether members keep their place while they are away for a moment.
    pub is_static: bool,
    /// Whether each task has a topic of its own; else they are the partitions of one.
    pub is_split: bool,
    /// By member: the tasks it may be given, where each task has a topic of its own.
    pub allowed: Mutex<HashMap<usize, BTreeSet<i32>>>,
    pub started: Instant,
    pub seen: Mutex<Seen>,
}

impl Shared {
    pub fn topic(&self, input: usize) -> String {
        format!("{}-{}", self.name, ["a", "b"][input])
    }

    /// The topic of a task.
    pub fn task_topic(&self, task: i32) -> String {
        match self.is_split {
            true => format!("{}-task-{task}", self.name),
            false => format!("{}-tasks", self.name),
        }
    }

    /// The task of a partition that the group assigns.
    fn task(&self, partition: &TopicPartition) -> i32 {
        match partition.topic.rsplit_once("-task-") {
            Some((_, task)) => task.parse().unwrap(),
            None => partition.partition,
        }
    }

    /// What a member is to subscribe to.
    fn subscription(&self, member: usize) -> BTreeSet<String> {
        let allowed = self.allowed.lock().unwrap();
        let tasks = allowed.get(&member).cloned().unwrap_or_default();
        match self.is_split {
            true => tasks
                .into_iter()
                .map(|task| self.task_topic(task))
                .collect(),
            false => BTreeSet::from([self.task_topic(0)]),
        }
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

pub struct Member {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    pub stall_ms: Arc<AtomicUsize>,
}

impl Member {
    pub fn start(shared: &Arc<Shared>, id: usize) -> Member {
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

    pub fn leave(self) {
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
            instance_id: shared.is_static.then(|| format!("member-{id}")),
            auto_offset_reset: "earliest".into(),
        })
        .unwrap();
    let mut subscribed = BTreeSet::new();
    let mut next: HashMap<TopicPartition, i64> = HashMap::new();
    let mut records = Vec::new();
    let mut committed_at = Instant::now();
    let inputs_of = |tasks: &[TopicPartition]| -> Vec<TopicPartition> {
        tasks
            .iter()
            .flat_map(|task| {
                (0..2).map(|input| TopicPartition::new(shared.topic(input), shared.task(task)))
            })
            .collect()
    };
    let numbers = |tasks: &[TopicPartition]| -> Vec<i32> {
        let mut numbers: Vec<i32> = tasks.iter().map(|task| shared.task(task)).collect();
        numbers.sort_unstable();
        numbers
    };
    while !stop.load(Ordering::Relaxed) {
        let subscription = shared.subscription(id);
        if subscription != subscribed {
            let topics: Vec<&str> = subscription.iter().map(String::as_str).collect();
            consumer.subscribe(&topics).unwrap();
            shared.log(id, format_args!("may be given {} topics", topics.len()));
            subscribed = subscription;
        }
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
                    let longest = seen.gaps.entry((input, partition)).or_default();
                    *longest = (*longest).max(now - last);
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
                    for task in tasks.iter().map(|task| shared.task(task)) {
                        *seen.assignments.entry(task).or_default() += 1;
                        if seen.owners.insert(task, id).is_some() {
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
    shared.log(
        id,
        format_args!("left in {:?}: {closed:?}", started.elapsed()),
    );
}

fn give_up(
    shared: &Shared,
    id: usize,
    tasks: &[TopicPartition],
    next: &mut HashMap<TopicPartition, i64>,
    inputs: &[TopicPartition],
) {
    let mut seen = shared.seen.lock().unwrap();
    for task in tasks.iter().map(|task| shared.task(task)) {
        if seen.owners.get(&task) == Some(&id) {
            seen.owners.remove(&task);
        }
    }
    next.retain(|partition, _| !inputs.contains(partition));
}
