//! A Java application is stopped and ours goes on, and the other way round, under load: the results are those of one
//! application that ran throughout.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, LogProducer, NewTopic, ProduceRecord};
use streams_core::topic_reader::TopicReader;
use streams_core::{Headers, OwnedRecord, StreamsConfig};
use tempfile::TempDir;

use crate::support::kafka::{RealKafka, class_path};
use crate::support::process::Program;
use crate::support::supervised::{self, Supervised};
use crate::support::wait;

/// A machine with all cores busy needs many times what is usual.
const DEADLINE: Duration = Duration::from_secs(180);
const APPLICATION: &str = "hand-over";
const PARTITIONS: i32 = 2;
const INPUTS: [&str; 4] = ["lines", "readings", "views", "regions"];
const OUTPUTS: [&str; 3] = ["word-counts", "window-means", "regional-views"];
const WINDOW_MS: i64 = 5000;
/// How long an application works between two hand-overs.
const PHASE: Duration = Duration::from_secs(4);
/// Java leaves the group only when its session ends.
const SESSION_TIMEOUT_MS: &str = "6000";

/// Results by topic and key, in order; values as they are written.
type Results = BTreeMap<(&'static str, Vec<u8>), Vec<Vec<u8>>>;

struct World {
    kafka: RealKafka,
    directory: TempDir,
    guarantee: &'static str,
    /// The Java program's classes.
    classes: PathBuf,
}

enum Instance {
    Java(Supervised, PathBuf),
    Ours(Program),
}

impl World {
    fn new(guarantee: &'static str) -> World {
        let kafka = RealKafka::start(&[]);
        let directory = tempfile::Builder::new()
            .prefix("hand-over-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory can be made below target/");
        let classes = directory.path().join("classes");
        let compiled = Command::new("javac")
            .args(["-nowarn", "-Xlint:none", "-d"])
            .arg(&classes)
            .arg("-cp")
            .arg(class_path())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("hand_over/HandOver.java"))
            .output()
            .expect("javac can be started: run `./dev setup`");
        assert!(compiled.status.success(), "{compiled:?}");
        let world = World {
            kafka,
            directory,
            guarantee,
            classes,
        };
        let topics: Vec<NewTopic> = INPUTS
            .into_iter()
            .chain(OUTPUTS)
            .map(|name| NewTopic {
                name: name.to_owned(),
                partition_count: PARTITIONS,
                replication_factor: 1,
                config: BTreeMap::new(),
            })
            .collect();
        world
            .broker()
            .create_topics(&topics, DEADLINE)
            .expect("topics can be created");
        world
    }

    fn broker(&self) -> KafkaBroker {
        let settings = KafkaSettings {
            common: [(
                "bootstrap.servers".to_owned(),
                self.kafka.bootstrap().to_owned(),
            )]
            .into(),
            ..KafkaSettings::default()
        };
        KafkaBroker::new(settings).expect("the settings are right")
    }

    /// Starts the Java application; it keeps its state in a directory of its own from one time to the next.
    fn start_java(&self) -> Instance {
        let log = self.directory.path().join("java.log");
        let mut class_path_with_ours = self.classes.clone().into_os_string();
        class_path_with_ours.push(":");
        class_path_with_ours.push(class_path());
        let state = self.directory.path().join("java-state");
        let mut command = Command::new("java");
        command
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-cp")
            .arg(class_path_with_ours)
            .arg("HandOver")
            .arg(format!("application.id={APPLICATION}"))
            .arg(format!("bootstrap.servers={}", self.kafka.bootstrap()))
            .arg(format!("state.dir={}", state.display()))
            .arg(format!("processing.guarantee={}", self.guarantee))
            .arg(format!("consumer.session.timeout.ms={SESSION_TIMEOUT_MS}"))
            .arg("consumer.heartbeat.interval.ms=1000")
            .arg("consumer.auto.offset.reset=earliest")
            .arg("statestore.cache.max.bytes=0")
            .arg("commit.interval.ms=200")
            .arg("replication.factor=1");
        let process = Supervised::start(&command, &log, &log, None);
        Instance::Java(process, log)
    }

    /// Starts our application, likewise.
    fn start_ours(&self) -> Instance {
        let state = self.directory.path().join("our-state");
        let state = state.display().to_string();
        Instance::Ours(Program::start(
            "examples/hand_over",
            &[APPLICATION],
            &[
                ("KAFKA_BOOTSTRAP_SERVERS", self.kafka.bootstrap()),
                ("STREAMS_PROCESSING_GUARANTEE", self.guarantee),
                ("STREAMS_CONSUMER_SESSION_TIMEOUT_MS", SESSION_TIMEOUT_MS),
                ("STREAMS_CONSUMER_HEARTBEAT_INTERVAL_MS", "1000"),
                ("STREAMS_STATESTORE_CACHE_MAX_BYTES", "0"),
                ("STREAMS_COMMIT_INTERVAL_MS", "200"),
                ("STREAMS_STATE_DIR", state.as_str()),
                ("RUST_LOG", "info"),
            ],
        ))
    }

    fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        let config = StreamsConfig::new("hand-over-tests")
            .set("bootstrap.servers", self.kafka.bootstrap())
            .and_then(|config| config.set("isolation.level", "read_committed"))
            .expect("these are settings");
        let records = TopicReader::new(&config, topic)
            .and_then(|mut reader| reader.read_to_end(DEADLINE))
            .unwrap_or_else(|error| panic!("{topic} cannot be read: {error}"));
        records.into_iter().map(|(_, record)| record).collect()
    }

    fn results(&self) -> Results {
        let mut results = Results::new();
        for topic in OUTPUTS {
            for record in self.read(topic) {
                let key = record.key.expect("results have keys");
                let value = record.value.expect("nothing is deleted");
                results.entry((topic, key)).or_default().push(value);
            }
        }
        results
    }

    fn result_count(&self) -> usize {
        self.results().values().map(Vec::len).sum()
    }

    /// What one application would have written that ran throughout, by a plain fold over the inputs.
    fn expected(&self) -> Results {
        let mut results = Results::new();
        let mut counts: HashMap<String, i64> = HashMap::new();
        for line in self.read("lines") {
            for word in text(line.value).split(' ') {
                let count = counts.entry(word.to_owned()).or_default();
                *count += 1;
                let key = ("word-counts", word.as_bytes().to_vec());
                let value = count.to_be_bytes().to_vec();
                results.entry(key).or_default().push(value);
            }
        }
        let mut means: HashMap<Vec<u8>, (i64, i64)> = HashMap::new();
        for reading in self.read("readings") {
            let start = reading.timestamp - reading.timestamp.rem_euclid(WINDOW_MS);
            let mut key = reading.key.expect("readings have keys");
            key.extend(start.to_be_bytes());
            let value = reading.value.expect("readings have values");
            let value = i64::from_be_bytes(value.try_into().expect("a reading has eight bytes"));
            let (count, sum) = means.entry(key.clone()).or_default();
            (*count, *sum) = (*count + 1, *sum + value);
            let mean = *sum as f64 / *count as f64;
            let mean = mean.to_be_bytes().to_vec();
            results.entry(("window-means", key)).or_default().push(mean);
        }
        let regions = self.read("regions");
        for view in self.read("views") {
            // The row that was written last before the view, by their timestamps.
            let region = regions
                .iter()
                .filter(|row| row.key == view.key && row.timestamp <= view.timestamp)
                .max_by_key(|row| row.timestamp)
                .expect("every user has a region");
            let joined = format!("{} {}", text(view.value), text(region.value.clone()));
            let key = ("regional-views", view.key.expect("views have keys"));
            results.entry(key).or_default().push(joined.into_bytes());
        }
        results
    }

    /// Moves every user to another region; nothing runs meanwhile.
    fn write_regions(&self, version: usize) {
        let mut producer = self.broker().producer("regions", None).expect("a producer");
        let rows: Vec<(String, String)> = (0..PARTITIONS)
            .map(|partition| {
                (
                    format!("user-{partition}"),
                    format!("region-{partition}-{version}"),
                )
            })
            .collect();
        let topic = Arc::<str>::from("regions");
        let headers = Headers::new();
        let mut records = rows.iter().zip(0..).map(|((user, region), partition)| {
            let (key, value) = (user.as_bytes(), region.as_bytes());
            // Odd, as those of views are even: there is never a doubt which came first.
            record(&topic, partition, now_ms() | 1, key, value, &headers)
        });
        producer.send(&mut records).expect("records are taken");
        producer.flush(DEADLINE).expect("records are written");
    }
}

impl Instance {
    fn name(&self) -> &'static str {
        match self {
            Instance::Java(..) => "Java",
            Instance::Ours(_) => "ours",
        }
    }

    fn log(&self) -> String {
        match self {
            Instance::Java(_, log) => supervised::tail(log),
            Instance::Ours(program) => program.stderr(),
        }
    }

    /// Stops it in order.
    fn stop(&self) {
        match self {
            Instance::Java(process, log) => {
                process.signal("TERM");
                process.wait_for_exit(DEADLINE);
                let tail = supervised::tail(log);
                // Its listener may have the last word.
                let tail = tail.trim_end().trim_end_matches("NOT_RUNNING").trim_end();
                assert!(
                    tail.ends_with("closed"),
                    "Java did not stop in order:\n{tail}"
                );
            }
            Instance::Ours(program) => {
                program.terminate();
                let code = program.wait_for_exit(DEADLINE);
                assert_eq!(code, 0, "ours did not stop in order:\n{}", program.stderr());
            }
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Instance::Java(process, _) => process.exit_code().is_some(),
            Instance::Ours(program) => program.exit_code().is_some(),
        }
    }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8(bytes.expect("it is there")).expect("it is text")
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970").as_millis() as i64
}

fn record<'a>(
    topic: &'a Arc<str>,
    partition: i32,
    timestamp: i64,
    key: &'a [u8],
    value: &'a [u8],
    headers: &'a Headers,
) -> ProduceRecord<'a> {
    ProduceRecord {
        topic,
        partition,
        timestamp: Some(timestamp),
        key: Some(key),
        value: Some(value),
        headers,
    }
}

/// Sends lines, readings and views as long as it is not stopped. What has one key, or one word, is in one partition, so
/// that its order is known.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(world: &World) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let broker = world.broker();
        let thread = thread::spawn(move || {
            let mut producer = broker.producer("load", None).expect("a producer");
            let names = ["lines", "readings", "views"].map(Arc::<str>::from);
            let headers = Headers::new();
            let mut number: i64 = 0;
            while !stopped.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    number += 1;
                    let line = format!("word-{partition} word-{partition}-{}", number % 7);
                    let (sensor, user) =
                        (format!("sensor-{partition}"), format!("user-{partition}"));
                    let reading = (number * 31 % 100).to_be_bytes();
                    let view = format!("view-{number}");
                    let values = [
                        (b"writer".as_slice(), line.as_bytes()),
                        (sensor.as_bytes(), reading.as_slice()),
                        (user.as_bytes(), view.as_bytes()),
                    ];
                    let mut records = names.iter().zip(values).map(|(topic, (key, value))| {
                        record(topic, partition, now_ms() & !1, key, value, &headers)
                    });
                    producer.send(&mut records).expect("records are taken");
                }
                thread::sleep(Duration::from_millis(20));
            }
            producer.flush(DEADLINE).expect("records are written");
        });
        Load { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load is sent");
    }
}

/// Hands the work over three times, so that each side goes on from the other's state and then from its own older state.
fn hand_over(guarantee: &'static str) {
    let world = World::new(guarantee);
    let mut load = None;
    for (version, start) in (0..).zip([
        World::start_java as fn(&World) -> Instance,
        World::start_ours,
        World::start_java,
        World::start_ours,
    ]) {
        world.write_regions(version);
        load.get_or_insert_with(|| Load::start(&world));
        let before = world.result_count();
        let instance = start(&world);
        let what = format!("results from {}", instance.name());
        wait::until(&what, DEADLINE, || {
            assert!(!instance.has_ended(), "it ended:\n{}", instance.log());
            world.result_count() > before
        });
        thread::sleep(PHASE);
        if version == 3
            && let Some(load) = load.take()
        {
            load.stop();
            let expected = world.expected();
            let all: usize = expected.values().map(Vec::len).sum();
            wait::until("a result of every record", DEADLINE, || {
                world.result_count() >= all
            });
        }
        instance.stop();
        println!(
            "{}: {} results so far",
            instance.name(),
            world.result_count()
        );
    }
    compare(&world.expected(), &world.results());
}

fn compare(expected: &Results, results: &Results) {
    for (key, values) in expected {
        let (topic, name) = (key.0, String::from_utf8_lossy(&key.1));
        assert_eq!(results.get(key), Some(values), "{topic} of {name}");
    }
    assert_eq!(expected.len(), results.len());
}

#[test]
fn java_and_ours_take_over_from_each_other_exactly_once() {
    hand_over("exactly_once_v2");
}

#[test]
fn java_and_ours_take_over_from_each_other_at_least_once() {
    hand_over("at_least_once");
}
