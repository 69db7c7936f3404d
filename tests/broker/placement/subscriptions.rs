//! Tasks that have a topic each: a task goes to nobody who is not subscribed to its topic, and a change of subscriptions moves
//! what it must and stops nothing else.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, ConsumerOptions, GroupConsumer, GroupEvent, NewTopic};

use super::members::{Member, Shared};
use super::{Scene, TASK_COUNT, TIMEOUT, UNTOUCHED_GAP_MAX};
use crate::clients::unique;

/// How long nothing may change until the group has settled.
const SETTLED: Duration = Duration::from_secs(4);

impl Shared {
    fn allow(&self, member: usize, tasks: impl IntoIterator<Item = i32>) {
        let tasks = tasks.into_iter().collect();
        self.allowed.lock().unwrap().insert(member, tasks);
    }

    /// Waits until each task has an owner and none has changed for a while.
    fn settle(&self) -> HashMap<i32, usize> {
        let deadline = Instant::now() + TIMEOUT;
        let owners = || self.seen.lock().unwrap().owners.clone();
        let (mut last, mut since) = (owners(), Instant::now());
        while last.len() < TASK_COUNT as usize || since.elapsed() < SETTLED {
            let log = || self.seen.lock().unwrap().log.join("\n");
            assert!(Instant::now() < deadline, "{last:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
            let now = owners();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }

    /// Which tasks were given to somebody since the last call, and the longest silence of the others.
    fn moved(&self) -> (BTreeSet<i32>, Option<Duration>) {
        let mut seen = self.seen.lock().unwrap();
        let moved: BTreeSet<i32> = seen.assignments.drain().map(|(task, _)| task).collect();
        let untouched = seen
            .gaps
            .drain()
            .filter(|((_, task), _)| !moved.contains(task));
        let silence = untouched.map(|(_, gap)| gap).max();
        (moved, silence)
    }
}

fn tasks_of(owners: &HashMap<i32, usize>, member: usize) -> BTreeSet<i32> {
    let own = owners.iter().filter(|(_, owner)| **owner == member);
    own.map(|(task, _)| *task).collect()
}

/// Runs the whole script; `protocol` is `classic` or `consumer`.
pub fn tasks_go_to_subscribers_alone(bootstrap: &str, protocol: &str) {
    let scene = Scene::with(bootstrap, protocol, false, true);
    let shared = scene.shared.clone();
    for member in 1..=3 {
        shared.allow(member, 0..TASK_COUNT);
    }
    let mut members: Vec<Member> = (1..=3).map(|id| Member::start(&shared, id)).collect();
    let before = shared.settle();
    for member in 1..=3 {
        assert_eq!(tasks_of(&before, member).len(), 4, "{before:?}");
    }
    shared.moved();

    // Each is left with its own tasks and copies of half of the tasks of each other one.
    let copies = |member: usize| -> BTreeSet<i32> {
        let others = (1..=3).filter(|other| *other != member);
        let halves = others.flat_map(|other| {
            let tasks = tasks_of(&before, other).into_iter();
            let skip = usize::from((other + 1) % 3 != member % 3) * 2;
            tasks.skip(skip).take(2).collect::<Vec<_>>()
        });
        halves.collect()
    };
    for member in 1..=3 {
        shared.allow(
            member,
            tasks_of(&before, member).into_iter().chain(copies(member)),
        );
    }
    std::thread::sleep(SETTLED);
    assert_eq!(
        shared.settle(),
        before,
        "narrower subscriptions move nothing"
    );
    let (moved, silence) = shared.moved();
    println!("{protocol}: narrower subscriptions: moved {moved:?}, longest silence {silence:?}");
    assert!(moved.is_empty(), "{moved:?}");
    assert!(silence < Some(UNTOUCHED_GAP_MAX), "{silence:?}");

    // A fourth one with a copy of one task of each.
    let one_of_each: BTreeSet<i32> = (1..=3)
        .filter_map(|member| tasks_of(&before, member).into_iter().next())
        .collect();
    shared.allow(4, one_of_each.clone());
    members.push(Member::start(&shared, 4));
    std::thread::sleep(SETTLED);
    let with_fourth = shared.settle();
    let (moved, silence) = shared.moved();
    println!(
        "{protocol}: a fourth member: moved {moved:?}, longest silence of the others {silence:?}"
    );
    assert_eq!(tasks_of(&with_fourth, 4), one_of_each);
    assert_eq!(moved, one_of_each);
    assert!(silence < Some(UNTOUCHED_GAP_MAX), "{silence:?}");

    // One goes; each of its tasks goes to one that has a copy.
    let gone = members.remove(0);
    gone.leave();
    std::thread::sleep(SETTLED);
    let without_first = shared.settle();
    let (moved, silence) = shared.moved();
    println!("{protocol}: one left: moved {moved:?}, longest silence of the others {silence:?}");
    assert_eq!(moved, tasks_of(&with_fourth, 1));
    let allowed = shared.allowed.lock().unwrap().clone();
    for (task, owner) in &without_first {
        assert!(allowed[owner].contains(task), "{task} {owner}");
    }
    assert!(silence < Some(UNTOUCHED_GAP_MAX), "{silence:?}");

    let ends = scene.end();
    for member in members {
        member.leave();
    }
    let seen = shared.seen.lock().unwrap();
    for line in &seen.log {
        println!("{line}");
    }
    let produced: i64 = ends.values().sum();
    assert_eq!(seen.counts.len() as i64, produced);
    assert!(seen.counts.values().all(|count| *count == 1));
    assert_eq!((seen.foreign, seen.overlaps), (0, 0));
}

/// A member of the group, and the topics of the tasks it has.
type Sharer = (<KafkaBroker as Broker>::Consumer, BTreeSet<String>);

/// Lets everybody do what the group has decided; says how many tasks have somebody, and the least that one has.
fn share(members: &mut [Sharer]) -> (usize, usize) {
    for (consumer, own) in members.iter_mut() {
        let mut records = Vec::new();
        match consumer
            .poll(Duration::from_millis(5), 0, &mut records)
            .unwrap()
        {
            Some(GroupEvent::Assigned(new)) => {
                consumer.accept(&new).unwrap();
                own.extend(new.into_iter().map(|partition| partition.topic.to_string()));
            }
            Some(GroupEvent::Revoked(old) | GroupEvent::Lost(old)) => {
                consumer.release(&old).unwrap();
                for partition in old {
                    own.remove(&*partition.topic);
                }
            }
            _ => {}
        }
    }
    let sizes = members.iter().map(|(_, own)| own.len());
    (sizes.clone().sum(), sizes.min().unwrap_or(0))
}

/// Many tasks are shared out by eight members, which then subscribe to what they have and as many more; a ninth gets a share of
/// the tasks that it subscribes to.
pub fn many_tasks(bootstrap: &str, protocol: &str) {
    const TASKS: usize = 200;
    const MEMBERS: usize = 8;
    let mut settings = KafkaSettings::default();
    for (name, value) in [
        ("bootstrap.servers", bootstrap),
        ("group.protocol", protocol),
    ] {
        settings.common.insert(name.into(), value.into());
    }
    let broker = KafkaBroker::new(settings).unwrap();
    let (name, group) = (unique("many"), unique("many"));
    let topics: Vec<String> = (0..TASKS)
        .map(|task| format!("{name}-task-0_{task}"))
        .collect();
    let new: Vec<NewTopic> = topics
        .iter()
        .map(|topic| NewTopic {
            name: topic.clone(),
            partition_count: 1,
            replication_factor: 1,
            config: Default::default(),
        })
        .collect();
    let started = Instant::now();
    broker.create_topics(&new, TIMEOUT).unwrap();
    let created = started.elapsed();
    let member = |number: usize, topics: &[String]| -> Sharer {
        let mut consumer = broker
            .consumer(&ConsumerOptions {
                group_id: group.clone(),
                client_id: format!("many-{number}"),
                instance_id: None,
                auto_offset_reset: "none".into(),
            })
            .unwrap();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).unwrap();
        (consumer, BTreeSet::new())
    };
    let mut members: Vec<Sharer> = (0..MEMBERS).map(|number| member(number, &topics)).collect();
    let started = Instant::now();
    while share(&mut members) != (TASKS, TASKS / MEMBERS) {
        assert!(
            started.elapsed() < TIMEOUT,
            "{protocol}: {:?}",
            share(&mut members)
        );
    }
    let shared_out = started.elapsed();

    let owned: Vec<BTreeSet<String>> = members.iter().map(|(_, own)| own.clone()).collect();
    for (number, (consumer, own)) in members.iter_mut().enumerate() {
        let copies = &owned[(number + 1) % MEMBERS];
        let topics: Vec<&str> = own.iter().chain(copies).map(String::as_str).collect();
        consumer.subscribe(&topics).unwrap();
    }
    let started = Instant::now();
    while started.elapsed() < SETTLED {
        share(&mut members);
    }
    let now: Vec<BTreeSet<String>> = members.iter().map(|(_, own)| own.clone()).collect();
    assert_eq!(now, owned, "{protocol}");

    let some: Vec<String> = topics.iter().step_by(MEMBERS).cloned().collect();
    members.push(member(MEMBERS, &some));
    let started = Instant::now();
    let has_enough = |least: usize| least + 5 >= TASKS / (MEMBERS + 1);
    loop {
        let (all, least) = share(&mut members);
        if all == TASKS && has_enough(least) {
            break;
        }
        assert!(started.elapsed() < TIMEOUT, "{protocol}: {all} {least}");
    }
    let sizes: Vec<usize> = members.iter().map(|(_, own)| own.len()).collect();
    println!(
        "{protocol}: {TASKS} topics made in {created:?}, shared out in {shared_out:?}, with one more in {:?}: {sizes:?}",
        started.elapsed()
    );
    let ninth = &members[MEMBERS].1;
    assert!(ninth.iter().all(|topic| some.contains(topic)), "{protocol}");
}
