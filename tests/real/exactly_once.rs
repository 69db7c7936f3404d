//! Exactly once on a real Kafka: whatever is killed or stopped meanwhile, a reader of committed records sees each value
//! counted from one on, nothing left out and nothing twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, LogProducer, NewTopic, ProduceRecord};
use streams_core::topic_reader::TopicReader;
use streams_core::{Headers, OwnedRecord, StreamsConfig};
use tempfile::TempDir;

use crate::support::kafka::RealKafka;
use crate::support::names::unique;
use crate::support::process::Program;
use crate::support::wait;

/// A machine with all cores busy needs many times what is usual.
pub(super) const DEADLINE: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 2;
const VALUES: usize = 20;
/// How long the group waits for a member that is silent: the least a broker allows.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// What an instance logs when it has opened every task it was given.
const READY: &str = "all tasks are processed";

/// Topics, an application and its state directories.
pub(super) struct World {
    name: String,
    /// `group.protocol`.
    protocol: &'static str,
    partitions: i32,
    /// Whether records are counted by their keys, so that there is no repartition topic.
    by_key: bool,
    bootstrap: String,
    directory: TempDir,
}

impl World {
    pub(super) fn new(name: &str) -> World {
        World::in_group(name, "classic")
    }

    fn in_group(name: &str, protocol: &'static str) -> World {
        World::with(name, protocol, PARTITIONS, false)
    }

    pub(super) fn with(name: &str, protocol: &'static str, partitions: i32, by_key: bool) -> World {
        let world = World {
            name: unique(name),
            protocol,
            partitions,
            by_key,
            bootstrap: RealKafka::shared().bootstrap().to_owned(),
            directory: tempfile::Builder::new()
                .prefix("state-")
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .expect("a directory can be made below target/"),
        };
        let topic = |name| NewTopic {
            name,
            partition_count: partitions,
            replication_factor: 1,
            config: BTreeMap::new(),
        };
        world
            .broker()
            .create_topics(&[topic(world.input()), topic(world.output())], DEADLINE)
            .expect("topics can be created");
        world
    }

    pub(super) fn input(&self) -> String {
        format!("{}-in", self.name)
    }

    pub(super) fn output(&self) -> String {
        format!("{}-out", self.name)
    }

    pub(super) fn application_id(&self) -> String {
        self.name.clone()
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where an instance keeps its state.
    pub(super) fn state_dir(&self, instance: &str) -> PathBuf {
        self.directory.path().join(instance)
    }

    pub(super) fn broker(&self) -> KafkaBroker {
        let settings = KafkaSettings {
            common: [("bootstrap.servers".to_owned(), self.bootstrap.clone())].into(),
            ..KafkaSettings::default()
        };
        KafkaBroker::new(settings).expect("the settings are right")
    }

    /// Starts an instance; its name is that of its state directory.
    pub(super) fn start(&self, instance: &str, environment: &[(&str, &str)]) -> Program {
        let state = self.state_dir(instance).display().to_string();
        let session_ms = SESSION_TIMEOUT.as_millis().to_string();
        let mut all = vec![
            ("KAFKA_BOOTSTRAP_SERVERS", self.bootstrap.as_str()),
            ("STREAMS_PROCESSING_GUARANTEE", "exactly_once_v2"),
            // Every count is a record.
            ("STREAMS_STATESTORE_CACHE_MAX_BYTES", "0"),
            ("STREAMS_COMMIT_INTERVAL_MS", "300"),
            ("STREAMS_GROUP_PROTOCOL", self.protocol),
            ("STREAMS_STATE_DIR", state.as_str()),
            ("RUST_LOG", "info"),
        ];
        // In the other protocol the broker decides on these.
        if self.protocol == "classic" {
            all.extend([
                ("STREAMS_CONSUMER_SESSION_TIMEOUT_MS", session_ms.as_str()),
                ("STREAMS_CONSUMER_HEARTBEAT_INTERVAL_MS", "1000"),
            ]);
        }
        all.extend(environment);
        let (input, output) = (self.input(), self.output());
        let mut arguments = vec![self.name.as_str(), &input, &output];
        if self.by_key {
            arguments.push("by-key");
        }
        Program::start("examples/count", &arguments, &all)
    }

    pub(super) fn read(&self, topic: &str, isolation: &str) -> Vec<(i32, OwnedRecord)> {
        let config = StreamsConfig::new("exactly-once-tests")
            .set("bootstrap.servers", &self.bootstrap)
            .and_then(|config| config.set("isolation.level", isolation))
            .expect("these are settings");
        TopicReader::new(&config, topic)
            .and_then(|mut reader| reader.read_to_end(DEADLINE))
            .unwrap_or_else(|error| panic!("{topic} cannot be read: {error}"))
    }

    /// Every count of each value that readers of committed records see, in order.
    pub(super) fn counts(&self) -> BTreeMap<String, Vec<i64>> {
        let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (_, record) in self.read(&self.output(), "read_committed") {
            let count = record.value.as_deref().and_then(|b| b.try_into().ok());
            let count = i64::from_be_bytes(count.expect("a count has eight bytes"));
            counts.entry(text(record.key)).or_default().push(count);
        }
        counts
    }

    /// Waits until as many results are committed as there are records, and expects that they are those of a plain fold.
    #[track_caller]
    pub(super) fn check(&self, sent: usize) {
        wait::until("a result of every record", DEADLINE, || {
            self.counts().values().map(Vec::len).sum::<usize>() >= sent
        });
        let mut fold: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (_, record) in self.read(&self.input(), "read_committed") {
            let counts = fold.entry(text(record.value)).or_default();
            counts.push(counts.len() as i64 + 1);
        }
        assert_eq!(fold.values().map(Vec::len).sum::<usize>(), sent);
        let counts = self.counts();
        for (value, expected) in &fold {
            assert_eq!(counts.get(value), Some(expected), "the counts of {value}");
        }
        assert_eq!(counts.len(), fold.len());
    }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8(bytes.expect("it is there")).expect("it is text")
}

/// Sends values as long as it is not stopped, a hundred at a time.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Load {
    pub(super) fn start(world: &World) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (broker, topic) = (world.broker(), Arc::<str>::from(world.input()));
        let partitions = world.partitions;
        let thread = thread::spawn(move || {
            let mut producer = broker.producer("load", None).expect("a producer");
            let headers = Headers::new();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let values: Vec<(usize, String)> = (sent..sent + 100)
                    .map(|number| number * 7 % VALUES)
                    .map(|number| (number, format!("value {number}")))
                    .collect();
                let mut records = values.iter().map(|(number, value)| ProduceRecord {
                    topic: &topic,
                    partition: *number as i32 % partitions,
                    timestamp: None,
                    key: Some(value.as_bytes()),
                    value: Some(value.as_bytes()),
                    headers: &headers,
                });
                producer.send(&mut records).expect("records are taken");
                sent += values.len();
                producer.flush(DEADLINE).expect("records are written");
                thread::sleep(Duration::from_millis(50));
            }
            sent
        });
        Load { stop, thread }
    }

    /// Stops, and says how many records were sent.
    pub(super) fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load is sent")
    }
}

pub(super) fn wait_until_ready(program: &Program) {
    wait::until("an instance with all its tasks", DEADLINE, || {
        program.stderr().contains(READY)
    });
}

pub(super) fn stop(program: &Program) {
    program.terminate();
    let code = program.wait_for_exit(Duration::from_secs(35));
    assert_eq!(code, 0, "it did not stop in order:\n{}", program.stderr());
}

#[test]
fn an_application_that_is_killed_again_and_again_counts_everything_once() {
    killed_again_and_again("killed", "classic");
}

#[test]
fn so_does_one_in_a_consumer_group() {
    killed_again_and_again("killed-consumer", "consumer");
}

fn killed_again_and_again(name: &str, protocol: &'static str) {
    let world = World::in_group(name, protocol);
    let load = Load::start(&world);
    for round in 0..4 {
        let program = world.start("only", &[]);
        wait_until_ready(&program);
        // Anywhere between two commits.
        thread::sleep(Duration::from_millis(1000 + 110 * round));
        program.kill();
        program.wait_for_exit(DEADLINE);
    }
    let last = world.start("only", &[]);
    wait_until_ready(&last);
    let sent = load.stop();
    world.check(sent);
    stop(&last);
    let log = last.stderr();
    assert!(!log.contains("starting from an empty store"), "{log}");
    world.check(sent);
    let written = world.read(&world.output(), "read_uncommitted").len();
    println!("{sent} counts are committed, {written} were written");
    assert!(
        written > sent,
        "no kill came in the middle of a transaction"
    );
}

/// Stops an instance (SIGSTOP) until another has taken its work over, and lets it go on.
fn zombie(name: &str, protocol: &'static str, transaction_timeout: Duration) {
    let world = World::in_group(name, protocol);
    let timeout_ms = transaction_timeout.as_millis().to_string();
    // Between two commits nearly always a transaction is open.
    let environment = [
        ("STREAMS_COMMIT_INTERVAL_MS", "3000"),
        (
            "STREAMS_PRODUCER_TRANSACTION_TIMEOUT_MS",
            timeout_ms.as_str(),
        ),
    ];
    let load = Load::start(&world);
    let zombie = world.start("zombie", &environment);
    wait_until_ready(&zombie);
    wait::until("first results", DEADLINE, || !world.counts().is_empty());
    let heir = world.start("heir", &environment);
    wait_until_ready(&heir);
    thread::sleep(Duration::from_millis(1500));

    let assignments = || heir.stderr().matches(" assigned ").count();
    let before = assignments();
    zombie.signal("STOP");
    wait::until("the other to be given everything", DEADLINE, || {
        assignments() > before
    });
    thread::sleep(Duration::from_secs(2));
    zombie.signal("CONT");
    // It finds out, and takes part again.
    thread::sleep(Duration::from_secs(5));
    let sent = load.stop();
    world.check(sent);
    stop(&zombie);
    stop(&heir);
    world.check(sent);
    let log = zombie.stderr();
    let found_out = ["start over from the last commit", "lost: the group"];
    assert!(found_out.iter().any(|said| log.contains(said)), "{log}");
}

#[test]
fn a_zombie_is_refused_by_the_group() {
    // Its transaction is open still when it goes on.
    zombie("zombie-of-the-group", "classic", Duration::from_secs(60));
}

#[test]
fn a_zombie_is_refused_by_the_transaction_coordinator() {
    // The brokers have aborted its transaction before it goes on.
    zombie("zombie-producer", "classic", Duration::from_secs(3));
}

#[test]
fn a_zombie_is_refused_by_a_consumer_group() {
    zombie(
        "zombie-of-a-consumer-group",
        "consumer",
        Duration::from_secs(60),
    );
}
