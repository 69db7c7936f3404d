//! How quickly an application with a gigabyte of state is back after kill -9, under exactly-once: from the start of the
//! process to RUNNING, and how much of the changelog it reads again; then the same with its disk lost, for comparison.
//!
//! `./dev bench restart` builds the program and runs this against a real broker.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each binary uses its part of the support modules")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams_core::Headers;
use streams_core::TopicPartition;
use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{
    Broker, ConsumerOptions, GroupConsumer, LogProducer, NewTopic, ProduceRecord,
};
use support::kafka::RealKafka;
use support::process::Program;
use support::wait;

const KEYS: usize = 4_000_000;
const VALUE_LEN: usize = 250;
const PARTITIONS: i32 = 4;
const APPLICATION_ID: &str = "restart-bench";
const INPUT: &str = "restart-input";
const DEADLINE: Duration = Duration::from_secs(900);
const RESTARTS: usize = 3;

fn main() {
    // `cargo test` runs benches to see that they work; that is what the tests of the programs are for.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let kafka = RealKafka::start(&[]);
    let state = tempfile::Builder::new()
        .prefix("restart-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory for the state");
    let settings = KafkaSettings {
        common: BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap().to_owned())]),
        ..KafkaSettings::default()
    };
    let broker = KafkaBroker::new(settings).expect("a broker's address");
    let topic = NewTopic {
        name: INPUT.to_owned(),
        partition_count: PARTITIONS,
        replication_factor: 1,
        config: BTreeMap::new(),
    };
    broker
        .create_topics(&[topic], DEADLINE)
        .expect("a topic can be created");
    let started = Instant::now();
    produce(&broker, 0..KEYS);
    println!("{KEYS} records written in {:.1} s", seconds(started));

    let started = Instant::now();
    let program = start(&kafka, state.path());
    let mut produced = KEYS as i64;
    until_committed(&broker, produced);
    println!(
        "{:.2} GB of state made in {:.1} s, {:.2} GB of it on disk at once",
        (KEYS * record_len()) as f64 / 1e9,
        seconds(started),
        size_bytes(state.path()) as f64 / 1e9,
    );
    let mut running = program;
    for _ in 0..RESTARTS {
        // What a running application has just done is what a kill loses.
        produce(&broker, 0..KEYS / 100);
        produced += (KEYS / 100) as i64;
        until_committed(&broker, produced);
        running.kill();
        running.wait_for_exit(DEADLINE);
        running = start(&kafka, state.path());
        report("after kill -9", &running);
    }
    running.kill();
    running.wait_for_exit(DEADLINE);
    fs::remove_dir_all(state.path()).expect("the state can be removed");
    let running = start(&kafka, state.path());
    report("after the loss of the disk", &running);
    running.terminate();
    running.wait_for_exit(DEADLINE);
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn start(kafka: &RealKafka, state: &Path) -> Program {
    Program::start(
        "examples/keep",
        &[APPLICATION_ID, INPUT],
        &[
            ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap()),
            (
                "STREAMS_STATE_DIR",
                state.to_str().expect("a path in UTF-8"),
            ),
            ("STREAMS_PROCESSING_GUARANTEE", "exactly_once_v2"),
            ("STREAMS_NUM_STREAM_THREADS", "2"),
            // A member that comes back under its name is not waited for.
            ("STREAMS_GROUP_INSTANCE_ID", "restart"),
            ("RUST_LOG", "warn"),
        ],
    )
}

/// Prints when the program was running with every task, and what it restored before that.
fn report(what: &str, program: &Program) {
    let running_with_all = || {
        let output = program.stdout();
        let lines: Vec<&str> = output.lines().collect();
        let ends = |line: &&&str| line.contains(" restored ");
        // The group may give the tasks one after the other, and the program run in between.
        if lines.iter().filter(ends).count() < PARTITIONS as usize {
            return None;
        }
        let last = lines.iter().rposition(|line| line.contains(" restored "))?;
        let running = lines[last..]
            .iter()
            .find(|line| line.ends_with(" RUNNING"))?;
        let at = running.split(' ').next()?.parse::<u64>().ok()?;
        Some((at, output))
    };
    let (at, output) = wait::until_some("every task runs", DEADLINE, running_with_all);
    let mut restored = 0;
    let mut first_restore = at;
    for line in output.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [at, "restoring", _] => {
                first_restore = first_restore.min(at.parse().expect("milliseconds"));
            }
            // A task that moves to another thread meanwhile goes on there.
            [_, "restored" | "suspended", records] => {
                restored += records.parse::<usize>().expect("a number")
            }
            _ => {}
        }
    }
    println!(
        "{what}: RUNNING {:.2} s after the start of the process, {:.2} s of it from the first record restored; {restored} of {KEYS} records, {:.1} of {:.0} MB replayed",
        at as f64 / 1e3,
        (at - first_restore) as f64 / 1e3,
        (restored * record_len()) as f64 / 1e6,
        (KEYS * record_len()) as f64 / 1e6,
    );
}

/// Key and value.
fn record_len() -> usize {
    key(0).len() + VALUE_LEN
}

fn key(number: usize) -> String {
    format!("{number:016}")
}

/// Writes a value for each of these keys, which text that hardly compresses makes up.
fn produce(broker: &KafkaBroker, keys: std::ops::Range<usize>) {
    let mut producer = broker.producer("filler", None).expect("a producer");
    let (headers, topic) = (Headers::new(), Arc::from(INPUT));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = Vec::with_capacity(VALUE_LEN + 16);
    for number in keys {
        value.clear();
        while value.len() < VALUE_LEN {
            // Marsaglia's xorshift.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            value.extend_from_slice(format!("{random:016x}").as_bytes());
        }
        value.truncate(VALUE_LEN);
        let key = key(number);
        let record = ProduceRecord {
            topic: &topic,
            partition: (number % PARTITIONS as usize) as i32,
            timestamp: Some(1_700_000_000_000),
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &headers,
        };
        producer
            .send(&mut std::iter::once(record))
            .expect("the queue takes a record");
    }
    producer.flush(DEADLINE).expect("everything is written");
}

fn until_committed(broker: &KafkaBroker, records: i64) {
    let mut observer = broker
        .consumer(&ConsumerOptions {
            group_id: APPLICATION_ID.to_owned(),
            client_id: "observer".to_owned(),
            instance_id: None,
            auto_offset_reset: "earliest".to_owned(),
        })
        .expect("a consumer");
    let partitions: Vec<TopicPartition> = (0..PARTITIONS)
        .map(|partition| TopicPartition::new(INPUT, partition))
        .collect();
    wait::until("every record is committed", DEADLINE, || {
        let committed = observer.committed(&partitions, Duration::from_secs(5));
        // The marker of each transaction takes an offset only in the topics written to.
        committed.is_ok_and(|offsets| {
            offsets
                .iter()
                .flatten()
                .map(|offset| offset.offset)
                .sum::<i64>()
                == records
        })
    });
}

/// What the files below a directory take.
fn size_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_bytes(&entry.path()),
            _ => entry.metadata().map_or(0, |metadata| metadata.len()),
        })
        .sum()
}
