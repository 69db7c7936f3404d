//! What a reading costs `weather-averages` from Kafka to Kafka: CPU time of the whole process, all threads, while it drains
//! two million readings that lie ready in a real broker.
//!
//! `./dev bench` builds the programs and runs this. The broker is a process of its own, so its work is not counted.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each binary uses its part of the support modules")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};
use streams_core::TopicPartition;
use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::runtime::broker::{Broker, ConsumerOptions, GroupConsumer};
use support::kafka::RealKafka;
use support::process::Program;
use support::wait;

const READINGS: i64 = 2_000_000;
const PARTITIONS: i32 = 4;
const APPLICATION_ID: &str = "averages-bench";

fn main() {
    // `cargo test` runs benches to see that they work; that is what the tests of the programs are for.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let kafka = RealKafka::start(&[]);
    produce(&kafka);
    let state = tempfile::tempdir().expect("a directory for the state");
    let state_dir = state.path().to_str().expect("a path in UTF-8");
    let mut samples = Vec::new();
    for threads in ["1", "1", "1"] {
        let application_id = format!("{APPLICATION_ID}-{}", samples.len());
        let started = Instant::now();
        let program = Program::start(
            "weather-averages",
            &["--application-id", &application_id],
            &[
                ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap()),
                ("STREAMS_STATE_DIR", state_dir),
                ("STREAMS_NUM_STREAM_THREADS", threads),
                ("STREAMS_COMMIT_INTERVAL_MS", "1000"),
                ("RUST_LOG", "warn"),
            ],
        );
        let mut group = Group::new(kafka.bootstrap(), &application_id);
        wait::until(
            "every reading is committed",
            Duration::from_secs(300),
            || group.committed() == READINGS,
        );
        let wall = started.elapsed();
        let cpu = cpu_time(program.pid());
        let memory = peak_memory_bytes(program.pid());
        program.terminate();
        program.wait_for_exit(Duration::from_secs(60));
        samples.push(cpu.as_secs_f64() * 1e6 / READINGS as f64);
        println!(
            "weather-averages, {threads} thread: {:.2} µs CPU per reading ({:.2} s CPU, {:.2} s wall, start included), peak memory {} MB",
            samples[samples.len() - 1],
            cpu.as_secs_f64(),
            wall.as_secs_f64(),
            memory / 1_000_000
        );
    }
    samples.sort_by(f64::total_cmp);
    println!(
        "weather-averages end to end: {:.2} µs CPU per reading (median of {}; {:.2} to {:.2}), {READINGS} readings from a real Kafka",
        samples[samples.len() / 2],
        samples.len(),
        samples[0],
        samples[samples.len() - 1]
    );
}

fn produce(kafka: &RealKafka) {
    let producer = Program::start(
        "weather-producer",
        &[
            "--partitions",
            &PARTITIONS.to_string(),
            "generate",
            "--count",
            &READINGS.to_string(),
            "--rate",
            "0",
            "--step-s",
            "1",
            "--start",
            "2021-11-16T00:00:00Z",
        ],
        &[
            ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap()),
            ("RUST_LOG", "warn"),
        ],
    );
    let code = producer.wait_for_exit(Duration::from_secs(300));
    assert_eq!(code, 0, "the producer failed: {}", producer.stderr());
}

/// The group's committed offsets, asked for without joining it.
struct Group {
    consumer: <KafkaBroker as Broker>::Consumer,
    partitions: Vec<TopicPartition>,
}

impl Group {
    fn new(bootstrap: &str, application_id: &str) -> Self {
        let settings = KafkaSettings {
            common: BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]),
            ..KafkaSettings::default()
        };
        let consumer = KafkaBroker::new(settings)
            .and_then(|broker| {
                broker.consumer(&ConsumerOptions {
                    group_id: application_id.to_owned(),
                    client_id: "observer".to_owned(),
                    instance_id: None,
                    auto_offset_reset: "earliest".to_owned(),
                })
            })
            .expect("a consumer");
        Group {
            consumer,
            partitions: (0..PARTITIONS)
                .map(|partition| TopicPartition::new("weather", partition))
                .collect(),
        }
    }

    fn committed(&mut self) -> i64 {
        match self
            .consumer
            .committed(&self.partitions, Duration::from_secs(5))
        {
            Ok(offsets) => offsets.iter().flatten().map(|offset| offset.offset).sum(),
            Err(_) => 0,
        }
    }
}

/// User and system time of a process, all threads.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The program's name, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("a name in parentheses")
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|field| fields[*field].parse::<u64>().expect("a number of ticks"))
        .sum();
    // Linux gives these in hundredths of a second, whatever the kernel's own tick is.
    Duration::from_millis(ticks * 10)
}

/// The most memory a process had resident.
fn peak_memory_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}
