//! Standby copies on a real Kafka: an instance is killed, the other one goes on with its copy and restores no more than what
//! that had not read yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use streams_core::runtime::broker::{Broker, LogProducer, ProduceRecord};
use streams_core::{
    Consumed, Headers, KafkaStreams, KafkaStreamsHandle, Materialized, Produced, RestoreListener,
    StandbyUpdateListener, StreamsBuilder, StreamsConfig, SuspendReason, TaskId, TopicPartition,
};

use crate::exactly_once::{DEADLINE, Load, World, stop, wait_until_ready};
use crate::support::process::Program;
use crate::support::wait;

pub(super) const STANDBY: (&str, &str) = ("STREAMS_NUM_STANDBY_REPLICAS", "1");
/// What an instance logs when a copy has everything that was there when it was opened.
const CAUGHT_UP: &str = "standby copy has caught up";
const OPENED: &str = "standby copy is kept up to date from now on";
const CLOSED: &str = "standby copy is closed";
pub(super) const PROMOTED: &str = "standby copy is promoted";
/// What it logs when a store is restored, from one offset to another.
pub(super) const RESTORING: &str = " restoring task=";
/// How much lasts long enough to be told from a tail.
const COUNTS_MIN: usize = 10_000;

/// The numbers behind `name=` in the lines of a log that contain `line`.
pub(super) fn numbers(log: &str, line: &str, name: &str) -> Vec<i64> {
    let lines = log.lines().filter(|l| l.contains(line));
    let number = |line: &str| {
        let (_, after) = line.split_once(&format!(" {name}="))?;
        after.split_whitespace().next()?.parse().ok()
    };
    lines.filter_map(number).collect()
}

#[test]
fn a_killed_instance_is_replaced_by_the_copies_of_the_other() {
    let world = World::new("standby");
    let load = Load::start(&world);
    let first = world.start("first", &[STANDBY]);
    wait_until_ready(&first);
    let results = || world.counts().values().map(Vec::len).sum::<usize>();
    wait::until("enough state", DEADLINE, || results() >= COUNTS_MIN);
    let second = world.start("second", &[STANDBY]);
    wait_until_ready(&second);

    // The counts are on one instance, or shared by both, and may still move: one that keeps copies of some is left alone.
    let count = |program: &Program, text: &str| program.stderr().matches(text).count();
    let has_copies = |program: &Program| {
        let gone = count(program, PROMOTED) + count(program, CLOSED);
        count(program, CAUGHT_UP) > 0 && count(program, OPENED) > gone
    };
    wait::until("a copy that has caught up, and stays", DEADLINE, || {
        let copies = [has_copies(&first), has_copies(&second)];
        thread::sleep(Duration::from_secs(2));
        copies.contains(&true) && copies == [has_copies(&first), has_copies(&second)]
    });
    let (heir, killed) = match has_copies(&second) {
        true => (second, first),
        false => (first, second),
    };
    let before = heir.stderr().len();
    killed.kill();
    killed.wait_for_exit(DEADLINE);
    let since = || heir.stderr()[before..].to_owned();
    wait::until("its tasks to go on", DEADLINE, || {
        let log = since();
        log.contains(PROMOTED) && log.contains("all tasks are processed")
    });
    let log = since();
    let sent = load.stop();
    world.check(sent);
    stop(&heir);
    world.check(sent);

    let starts = numbers(&log, RESTORING, "position");
    let ends = numbers(&log, RESTORING, "end");
    assert_eq!(starts.len(), ends.len(), "{log}");
    let tails: Vec<i64> = starts.iter().zip(&ends).map(|(s, e)| e - s).collect();
    println!("{sent} counts are committed; restored after the kill: {tails:?}");
    let tail: i64 = tails.iter().sum();
    assert!(tail < COUNTS_MIN as i64 / 4, "{tails:?}\n{log}");
    assert!(!log.contains("starting from an empty store"), "{log}");
}

/// What the listeners of an instance were told.
#[derive(Clone, Default)]
struct Watch(Arc<Numbers>);

#[derive(Default)]
struct Numbers {
    /// How far the copy of partition 0 is; 0 without one.
    copied: AtomicI64,
    /// Where that copy was when its task came.
    promoted: AtomicI64,
    restored: AtomicU64,
}

impl RestoreListener for Watch {
    fn on_batch_restored(&self, _: &str, _: &TopicPartition, _: i64, records: u64) {
        self.0.restored.fetch_add(records, Ordering::Relaxed);
    }
}

impl StandbyUpdateListener for Watch {
    fn on_update_start(&self, _: &str, changelog: &TopicPartition, start: i64) {
        if changelog.partition == 0 {
            self.0.copied.store(start, Ordering::Relaxed);
        }
    }

    fn on_batch_loaded(
        &self,
        _: &str,
        changelog: &TopicPartition,
        _: TaskId,
        offset: i64,
        _: u64,
        _: i64,
    ) {
        if changelog.partition == 0 {
            self.0.copied.store(offset, Ordering::Relaxed);
        }
    }

    fn on_update_suspended(
        &self,
        _: &str,
        changelog: &TopicPartition,
        offset: i64,
        _: i64,
        reason: SuspendReason,
    ) {
        if changelog.partition == 0 {
            self.0.copied.store(0, Ordering::Relaxed);
            if reason == SuspendReason::Promoted {
                self.0.promoted.store(offset, Ordering::Relaxed);
            }
        }
    }
}

/// An instance in this process.
struct Instance {
    handle: KafkaStreamsHandle,
    thread: JoinHandle<()>,
    watch: Watch,
}

impl Instance {
    /// Writes the rows of a table, whose source topic is its changelog.
    fn start(world: &World, instance: &str, protocol: &str) -> Instance {
        let set = [
            ("bootstrap.servers", world.bootstrap()),
            ("group.protocol", protocol),
            ("topology.optimization", "all"),
            ("num.standby.replicas", "1"),
            ("commit.interval.ms", "300"),
            ("statestore.cache.max.bytes", "0"),
        ];
        let config = set
            .iter()
            .try_fold(
                StreamsConfig::new(world.application_id()),
                |config, (name, value)| config.set(name, value),
            )
            .and_then(|config| config.set("state.dir", world.state_dir(instance).display()))
            .expect("these are settings");
        let builder = StreamsBuilder::new();
        builder
            .table::<String, String>(world.input(), Consumed::new(), Materialized::named("rows"))
            .to_stream()
            .to(world.output(), Produced::new());
        let watch = Watch::default();
        let streams = builder
            .build_with(&config)
            .and_then(|topology| KafkaStreams::new(topology, config))
            .expect("an application")
            .with_restore_listener(watch.clone())
            .with_standby_update_listener(watch.clone());
        let handle = streams.handle();
        let thread = thread::spawn(move || streams.run_blocking().expect("it stops in order"));
        Instance {
            handle,
            thread,
            watch,
        }
    }

    fn close(self) {
        self.handle.close();
        self.thread.join().expect("no panic");
    }
}

/// An instance stops; the other one has all rows that were committed, and not more.
fn table(protocol: &str) {
    let world = World::new(&format!("standby-{protocol}"));
    let (broker, topic) = (world.broker(), Arc::<str>::from(world.input()));
    let mut producer = broker.producer("rows", None).expect("a producer");
    let headers = Headers::new();
    let mut produced = 0;
    let mut produce = |count: usize| {
        let keys: Vec<String> = (produced..produced + count)
            .map(|n| format!("key {n}"))
            .collect();
        let mut records = keys.iter().map(|key| ProduceRecord {
            topic: &topic,
            partition: 0,
            timestamp: None,
            key: Some(key.as_bytes()),
            value: Some(b"value"),
            headers: &headers,
        });
        producer.send(&mut records).expect("records are taken");
        producer.flush(DEADLINE).expect("records are written");
        produced += count;
        produced
    };
    let written = || world.read(&world.output(), "read_committed").len();
    let wait_for = |count| wait::until("all rows", DEADLINE, || written() == count);

    let first = Instance::start(&world, "first", protocol);
    wait_for(produce(200));
    let second = Instance::start(&world, "second", protocol);
    // All rows are in one of the two partitions: either instance may run that task.
    let has_copy =
        |instance: &Instance, offset| instance.watch.0.copied.load(Ordering::Relaxed) == offset;
    let has_either = |offset| has_copy(&first, offset) || has_copy(&second, offset);
    wait::until("a copy of all rows", DEADLINE, || has_either(200));
    wait_for(produce(50));
    wait::until("fifty more", DEADLINE, || has_either(250));
    let (owner, heir) = match has_copy(&second, 250) {
        true => (first, second),
        false => (second, first),
    };
    let restored = || heir.watch.0.restored.load(Ordering::Relaxed);
    let before = restored();
    owner.close();
    wait_for(produce(10));
    assert_eq!(heir.watch.0.promoted.load(Ordering::Relaxed), 250);
    assert_eq!(restored(), before, "{protocol}");
    heir.close();
}

#[test]
fn a_table_of_a_source_topic_has_a_copy_in_a_classic_group() {
    table("classic");
}

#[test]
fn a_table_of_a_source_topic_has_a_copy_in_a_consumer_group() {
    table("consumer");
}
