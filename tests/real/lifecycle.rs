//! The life of an application on a real Kafka: it is paused, gets threads and loses them, fails in parts and as a whole, and is
//! asked about records that the brokers do not take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, LogProducer, LogReader, NewTopic, ProduceRecord};
use streams_core::topic_reader::TopicReader;
use streams_core::{
    CloseOptions, Consumed, DeadLetter, Error, ErrorHandlerContext, ErrorKind,
    GroupMembershipOperation, Headers, KafkaStreams, KafkaStreamsHandle, Materialized, OwnedRecord,
    Produced, ProductionExceptionHandler, ProductionResponse, ProductionResult, Result, State,
    StreamThreadExceptionResponse, StreamsBuilder, StreamsConfig, TopicPartition, Topology,
    UnsentRecord,
};
use tempfile::TempDir;

use crate::support::kafka::RealKafka;
use crate::support::names::unique;
use crate::support::wait;

/// A machine with all cores busy needs many times what is usual.
const DEADLINE: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 4;
const GUARANTEES: [&str; 2] = ["at_least_once", "exactly_once_v2"];

/// Topics, and the state directories of an application.
struct World {
    name: String,
    bootstrap: String,
    directory: TempDir,
    sent: AtomicUsize,
}

impl World {
    fn new(name: &str, output: &[(&str, &str)]) -> World {
        let world = World {
            name: unique(name),
            bootstrap: RealKafka::shared().bootstrap().to_owned(),
            directory: tempfile::Builder::new()
                .prefix("state-")
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .expect("a directory can be made below target/"),
            sent: AtomicUsize::new(0),
        };
        let topic = |name, partition_count, config: &[(&str, &str)]| NewTopic {
            name,
            partition_count,
            replication_factor: 1,
            config: config
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let topics = [
            topic(world.topic("in"), PARTITIONS, &[]),
            topic(world.topic("out"), 1, output),
            topic(world.topic("dead"), 1, &[]),
        ];
        let created = world.broker().create_topics(&topics, DEADLINE);
        created.expect("topics can be created");
        world
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn broker(&self) -> KafkaBroker {
        let settings = KafkaSettings {
            common: [("bootstrap.servers".to_owned(), self.bootstrap.clone())].into(),
            ..KafkaSettings::default()
        };
        KafkaBroker::new(settings).expect("the settings are right")
    }

    fn config(&self, instance: &str, set: &[(&str, &str)]) -> StreamsConfig {
        let state = self.directory.path().join(instance).display().to_string();
        let common = [
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("state.dir", state.as_str()),
            ("statestore.cache.max.bytes", "0"),
            ("commit.interval.ms", "200"),
        ];
        let all = common.iter().chain(set);
        all.fold(StreamsConfig::new(&self.name), |config, (name, value)| {
            config.set(name, *value).expect("it is a setting")
        })
    }

    /// Counts the values of the input, through a repartition topic; `check` sees each value first.
    fn count(&self, check: impl Fn(&str) + Send + Sync + 'static) -> Topology {
        let builder = StreamsBuilder::new();
        builder
            .stream::<Option<String>, String>(&self.topic("in"), Consumed::new())
            .select_key(move |_key, value: &String| {
                check(value);
                value.clone()
            })
            .group_by_key()
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to(self.topic("out"), Produced::new());
        builder.build().expect("a topology")
    }

    /// Copies records, ten times as large.
    fn enlarge(&self) -> Topology {
        let builder = StreamsBuilder::new();
        builder
            .stream::<Option<String>, String>(&self.topic("in"), Consumed::new())
            .map_values(|value: &String| value.repeat(10))
            .to(self.topic("out"), Produced::new());
        builder.build().expect("a topology")
    }

    fn send(&self, values: &[&str]) {
        let mut producer = self.broker().producer("input", None).expect("a producer");
        let topic: Arc<str> = self.topic("in").into();
        let headers = Headers::new();
        let first = self.sent.fetch_add(values.len(), Ordering::Relaxed);
        let mut records = values.iter().enumerate().map(|(n, value)| ProduceRecord {
            topic: &topic,
            partition: (first + n) as i32 % PARTITIONS,
            timestamp: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: &headers,
        });
        producer.send(&mut records).expect("records are taken");
        producer.flush(DEADLINE).expect("records are written");
    }

    fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        let config = StreamsConfig::new("lifecycle-tests")
            .set("bootstrap.servers", &self.bootstrap)
            .and_then(|config| config.set("isolation.level", "read_committed"))
            .expect("these are settings");
        let records = TopicReader::new(&config, &self.topic(topic))
            .and_then(|mut reader| reader.read_to_end(DEADLINE))
            .unwrap_or_else(|error| panic!("{topic} cannot be read: {error}"));
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// The counts of each value, in order.
    fn counts(&self) -> BTreeMap<String, Vec<i64>> {
        let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for record in self.read("out") {
            let count = record.value.as_deref().and_then(|b| b.try_into().ok());
            let count = i64::from_be_bytes(count.expect("a count has eight bytes"));
            counts.entry(text(record.key)).or_default().push(count);
        }
        counts
    }

    /// Waits until each of these values was counted so often.
    #[track_caller]
    fn wait_for(&self, what: &str, expected: &[(&str, i64)]) {
        wait::until(what, DEADLINE, || {
            let counts = self.counts();
            let last = |value: &str| counts.get(value).and_then(|counts| counts.last().copied());
            expected
                .iter()
                .all(|(value, count)| last(value) >= Some(*count))
        });
    }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8(bytes.expect("it is there")).expect("it is text")
}

/// An instance on threads of its own.
struct Running {
    handle: KafkaStreamsHandle,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    fn start(streams: KafkaStreams) -> Running {
        let handle = streams.handle();
        let thread = thread::spawn(|| streams.run_blocking());
        Running { handle, thread }
    }

    #[track_caller]
    fn wait_for(&self, state: State) {
        wait::until("the state", DEADLINE, || self.handle.state() == state);
    }

    /// How many tasks each thread has.
    fn tasks(&self) -> Vec<usize> {
        let threads = self.handle.metadata_for_local_threads();
        threads
            .iter()
            .map(|thread| thread.active_tasks.len())
            .collect()
    }

    #[track_caller]
    fn close(self) {
        let in_time = self.handle.close_with(CloseOptions::timeout(DEADLINE));
        assert!(in_time, "it did not stop in time");
        self.thread.join().expect("no panic").expect("no error");
        assert_eq!(self.handle.state(), State::NotRunning);
    }

    fn error(self) -> String {
        self.thread
            .join()
            .expect("no panic")
            .expect_err("an error")
            .to_string()
    }
}

#[test]
fn an_application_is_paused_and_gets_and_loses_threads() {
    let world = World::new("threads", &[]);
    let streams = KafkaStreams::new(world.count(|_| {}), world.config("only", &[])).unwrap();
    let instance = Running::start(streams);
    let handle = &instance.handle;
    instance.wait_for(State::Running);
    world.send(&["a", "b", "c", "d"]);
    world.wait_for("a first count", &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    let error = handle.clean_up().unwrap_err().to_string();
    assert!(error.contains("RUNNING"), "{error}");

    // Eight tasks: four of the input, four of the repartition topic.
    let name = handle.add_stream_thread().unwrap().expect("a thread");
    assert!(name.ends_with("-StreamThread-2"), "{name}");
    wait::until("half of the tasks", DEADLINE, || instance.tasks() == [4, 4]);
    instance.wait_for(State::Running);
    world.send(&["a", "b", "c", "d"]);
    world.wait_for("a second count", &[("a", 2), ("b", 2), ("c", 2), ("d", 2)]);
    let name = handle.remove_stream_thread().expect("a thread");
    assert!(name.ends_with("-StreamThread-1"), "{name}");
    wait::until("all tasks", DEADLINE, || instance.tasks() == [8]);
    world.send(&["a", "b", "c", "d"]);
    world.wait_for("a third count", &[("a", 3), ("b", 3), ("c", 3), ("d", 3)]);

    handle.pause();
    thread::sleep(Duration::from_secs(1));
    world.send(&["a"; 40]);
    thread::sleep(Duration::from_secs(8));
    assert_eq!(world.counts()["a"].last(), Some(&3));
    assert_eq!(instance.tasks(), [8], "it keeps its tasks");
    assert_eq!(handle.state(), State::Running);
    handle.resume();
    world.wait_for("the rest", &[("a", 43)]);
    let handle = handle.clone();
    instance.close();
    let counts = world.counts();
    assert_eq!(counts["a"], (1..=43).collect::<Vec<i64>>());
    assert_eq!(counts["d"], [1, 2, 3]);
    handle.clean_up().unwrap();
    assert!(
        !world
            .directory
            .path()
            .join("only")
            .join(&world.name)
            .exists()
    );
}

#[test]
fn an_instance_that_stays_in_its_group_keeps_its_tasks_until_the_session_ends() {
    const SESSION: Duration = Duration::from_secs(20);
    for operation in [
        GroupMembershipOperation::LeaveGroup,
        GroupMembershipOperation::RemainInGroup,
    ] {
        let world = World::new("stays", &[]);
        let session = SESSION.as_millis().to_string();
        let set = [("consumer.session.timeout.ms", session.as_str())];
        let [first, second] = ["first", "second"].map(|name| {
            let topology = world.count(|_| {});
            Running::start(KafkaStreams::new(topology, world.config(name, &set)).unwrap())
        });
        wait::until("half each", DEADLINE, || {
            first.tasks() == [4] && second.tasks() == [4]
        });
        let options = CloseOptions::group_membership_operation(operation).with_timeout(DEADLINE);
        assert!(first.handle.close_with(options), "it did not stop in time");
        let closed = Instant::now();
        first.thread.join().expect("no panic").expect("no error");
        wait::until("all tasks", DEADLINE, || second.tasks() == [8]);
        let waited = closed.elapsed();
        match operation {
            GroupMembershipOperation::LeaveGroup => assert!(waited < SESSION / 2, "{waited:?}"),
            // Its last heartbeat is up to three seconds old when it stops.
            GroupMembershipOperation::RemainInGroup => {
                assert!(waited > SESSION / 2, "{waited:?}");
            }
        }
        world.send(&["a", "b"]);
        world.wait_for("a count", &[("a", 1), ("b", 1)]);
        second.close();
    }
}

#[test]
fn a_thread_that_fails_is_replaced_while_others_go_on() {
    for guarantee in GUARANTEES {
        let world = World::new("replaced", &[]);
        let fails = Arc::new(AtomicBool::new(true));
        let failing = Arc::clone(&fails);
        let topology = world.count(move |value| {
            if value == "bad" && failing.load(Ordering::Relaxed) {
                std::panic::resume_unwind(Box::new("a bad value"));
            }
        });
        let set = [
            ("num.stream.threads", "2"),
            ("processing.guarantee", guarantee),
        ];
        let errors = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&errors);
        let streams = KafkaStreams::new(topology, world.config("only", &set))
            .unwrap()
            .with_uncaught_exception_handler(move |error| {
                let mut told = told.lock().unwrap();
                told.push(error.to_string());
                fails.store(told.len() < 2, Ordering::Relaxed);
                StreamThreadExceptionResponse::ReplaceThread
            });
        let instance = Running::start(streams);
        instance.wait_for(State::Running);
        world.send(&["a", "bad", "c", "d"]);
        world.wait_for("all", &[("a", 1), ("bad", 1), ("c", 1), ("d", 1)]);
        instance.wait_for(State::Running);
        wait::until("its share", DEADLINE, || instance.tasks() == [4, 4]);
        world.send(&["a", "bad", "c", "d"]);
        world.wait_for("all again", &[("a", 2), ("bad", 2), ("c", 2), ("d", 2)]);
        instance.close();
        let errors = errors.lock().unwrap();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("panicked: a bad value"), "{errors:?}");
        if guarantee == "exactly_once_v2" {
            let counts = world.counts();
            assert_eq!(counts.len(), 4);
            assert!(
                counts.values().all(|counts| *counts == [1, 2]),
                "{counts:?}"
            );
        }
    }
}

#[test]
fn one_instance_stops_all() {
    let world = World::new("stopped", &[]);
    let fails = Arc::new(AtomicBool::new(true));
    let [first, second] = ["first", "second"].map(|name| {
        let (failing, fails) = (Arc::clone(&fails), Arc::clone(&fails));
        let topology = world.count(move |value| {
            if value == "bad" && failing.load(Ordering::Relaxed) {
                std::panic::resume_unwind(Box::new("a bad value"));
            }
        });
        let streams = KafkaStreams::new(topology, world.config(name, &[]))
            .unwrap()
            .with_uncaught_exception_handler(move |_| {
                fails.store(false, Ordering::Relaxed);
                StreamThreadExceptionResponse::ShutdownApplication
            });
        Running::start(streams)
    });
    let all = || [first.tasks(), second.tasks()].concat();
    wait::until("four tasks each", DEADLINE, || all() == [4, 4]);
    // Both have looked where the topic of the tasks ends.
    thread::sleep(Duration::from_secs(3));
    world.send(&["bad"]);
    let errors = [first.error(), second.error()];
    assert!(
        errors.iter().all(|error| error.contains("a bad value")),
        "{errors:?}"
    );
    let told = errors
        .iter()
        .filter(|error| error.contains("another instance"));
    assert_eq!(told.count(), 1, "{errors:?}");
}

/// The kind of error, the length of the record's value and that of its source record's.
type Asked = (ErrorKind, usize, Option<usize>);

/// Answers always the same, and remembers about what it was asked.
#[derive(Clone, Debug)]
struct Answers(ProductionResult, Arc<Mutex<Vec<Asked>>>);

impl ProductionExceptionHandler for Answers {
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &UnsentRecord<'_>,
        error: &Error,
    ) -> ProductionResponse {
        let len = |bytes: Option<&[u8]>| bytes.map(<[u8]>::len);
        let asked = (
            error.kind(),
            len(record.value).unwrap_or(0),
            len(context.source_raw_value),
        );
        self.1.lock().unwrap().push(asked);
        let response = match self.0 {
            ProductionResult::Resume => ProductionResponse::resume(),
            ProductionResult::Fail => ProductionResponse::fail(),
            ProductionResult::Retry => ProductionResponse::retry(),
        };
        response.with_dead_letter(context.dead_letter(error))
    }
}

/// Writes records of which one is too large, for the client or for the topic.
fn too_large(guarantee: &str, result: ProductionResult, is_local: bool) {
    let world = World::new("large", &[("max.message.bytes", "20000")]);
    let answers = Answers(result, Arc::default());
    let dead = world.topic("dead");
    let mut set = vec![
        ("processing.guarantee", guarantee),
        ("errors.dead.letter.queue.topic.name", dead.as_str()),
        ("producer.linger.ms", "200"),
    ];
    if is_local {
        set.push(("producer.message.max.bytes", "20000"));
    }
    let large = "x".repeat(3000);
    let streams = KafkaStreams::new(world.enlarge(), world.config("only", &set))
        .unwrap()
        .with_production_exception_handler(answers.clone());
    let instance = Running::start(streams);
    instance.wait_for(State::Running);
    world.send(&["a", "b", "c", "d"]);
    wait::until("the first", DEADLINE, || world.read("out").len() == 4);
    // Each of a partition of its own, so their order in the one output partition is open.
    world.send(&["e", &large, "g", "h"]);
    let asked = || answers.1.lock().unwrap().clone();
    if result == ProductionResult::Resume {
        wait::until("all but the large one", DEADLINE, || {
            world.read("out").len() >= 7
        });
        world.send(&["i", "j", "k", "l"]);
        wait::until("the rest", DEADLINE, || world.read("out").len() >= 11);
        wait::until("the dead letter", DEADLINE, || {
            !world.read("dead").is_empty()
        });
        instance.close();
        let mut values: Vec<String> = world
            .read("out")
            .into_iter()
            .map(|record| text(record.value)[..1].to_owned())
            .collect();
        values.sort_unstable();
        if guarantee == "at_least_once" {
            values.dedup();
        }
        assert_eq!(values.concat(), "abcdeghijkl", "{guarantee} {is_local}");
        let letters = world.read("dead");
        assert_eq!(letters.len(), 1, "{guarantee} {is_local}");
        assert_eq!(letters[0].value.as_deref(), Some(large.as_bytes()));
        let topic = letters[0].headers.last(DeadLetter::TOPIC);
        assert_eq!(topic, Some(world.topic("in").as_bytes()));
    } else {
        let error = instance.error();
        assert!(error.contains(&world.topic("out")), "{error}");
    }
    let asked = asked();
    assert_eq!(
        asked,
        [(ErrorKind::Data, 30_000, Some(3000))],
        "{guarantee} {is_local}"
    );
}

#[test]
fn a_record_that_is_too_large_is_left_out() {
    for guarantee in GUARANTEES {
        for is_local in [true, false] {
            too_large(guarantee, ProductionResult::Resume, is_local);
        }
    }
}

#[test]
fn a_record_that_is_too_large_stops_the_application() {
    for guarantee in GUARANTEES {
        too_large(guarantee, ProductionResult::Fail, false);
    }
    // What will never be taken is not tried again.
    too_large("at_least_once", ProductionResult::Retry, true);
}

#[test]
fn repartition_topics_are_purged_once_committed() {
    for guarantee in GUARANTEES {
        let world = World::new("purged", &[]);
        let set = [
            ("processing.guarantee", guarantee),
            ("repartition.purge.interval.ms", "500"),
        ];
        let topology = world.count(|_| {});
        let streams = KafkaStreams::new(topology, world.config("only", &set)).unwrap();
        let instance = Running::start(streams);
        instance.wait_for(State::Running);
        let repartition = world.topic("counts-repartition");
        let mut reader = world.broker().reader("bounds").unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut purged_twice = 0;
        let mut last = 0;
        while purged_twice < 2 {
            assert!(
                Instant::now() < deadline,
                "{repartition} keeps what was processed"
            );
            world.send(&["a"; 20]);
            thread::sleep(Duration::from_millis(500));
            let partitions: Vec<TopicPartition> = (0..PARTITIONS)
                .map(|partition| TopicPartition::new(&*repartition, partition))
                .collect();
            let bounds = reader.offsets(&partitions, DEADLINE).unwrap();
            let start: i64 = bounds.iter().map(|(start, _)| start).sum();
            assert!(bounds.iter().all(|(start, end)| start <= end));
            purged_twice += usize::from(start > last);
            last = start;
        }
        instance.close();
        let sent = world.sent.load(Ordering::Relaxed) as i64;
        assert_eq!(world.counts()["a"], (1..=sent).collect::<Vec<i64>>());
    }
}
