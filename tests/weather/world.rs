//! The programs of one test: topics, applications and state directories that no other test has.

use std::path::PathBuf;
use std::time::Duration;

use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::producer::Producer;
use streams_core::runtime::broker::{Broker, ConsumerOptions, GroupConsumer};
use streams_core::serdes::{Nullable, RawBytes};
use streams_core::topic_reader::TopicReader;
use streams_core::{Headers, OwnedRecord, Produced, StreamsConfig, TopicPartition};
use tempfile::TempDir;

use crate::support::kafka::RealKafka;
use crate::support::names::unique;
use crate::support::process::Program;
use crate::support::wait;

/// How long anything may take that is not measured: a machine with all cores busy needs many times what is usual.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The programs promise to stop within 30 seconds.
pub const STOP_DEADLINE: Duration = Duration::from_secs(35);

/// How many partitions the topics have.
pub const PARTITIONS: i32 = 4;

/// What a program logs when it has opened every task it was given.
pub const READY: &str = "all tasks are processed";

/// What the programs of one test share.
pub struct World {
    name: String,
    bootstrap: String,
    directory: TempDir,
}

impl World {
    /// A world of that name on the Kafka that all tests share.
    pub fn new(name: &str) -> World {
        World {
            name: unique(name),
            bootstrap: RealKafka::shared().bootstrap().to_owned(),
            directory: tempfile::Builder::new()
                .prefix("state-")
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .expect("a directory can be made below target/"),
        }
    }

    /// The topic of the readings.
    pub fn readings(&self) -> String {
        format!("{}-readings", self.name)
    }

    /// The topic of the results.
    pub fn averages(&self) -> String {
        format!("{}-averages", self.name)
    }

    /// The topic of what was refused.
    pub fn dead_letters(&self) -> String {
        format!("{}-refused", self.name)
    }

    /// The application that averages.
    pub fn averages_id(&self) -> String {
        format!("{}-averaging", self.name)
    }

    /// The application that writes to Graphite.
    pub fn graphite_id(&self) -> String {
        format!("{}-writing", self.name)
    }

    /// One segment of a metric's path, and a name nobody else has.
    pub fn user(&self) -> &str {
        &self.name
    }

    /// Where an instance keeps its state.
    pub fn state(&self, instance: &str) -> PathBuf {
        self.directory.path().join(instance)
    }

    /// Starts one of the programs in this world. `instance` names its state directory; what is in `environment` wins.
    pub fn start(
        &self,
        program: &str,
        instance: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Program {
        let state = self.state(instance).display().to_string();
        let names = [
            ("KAFKA_BOOTSTRAP_SERVERS", self.bootstrap.clone()),
            ("WEATHER_TOPIC", self.readings()),
            ("WEATHER_AVERAGES_TOPIC", self.averages()),
            ("WEATHER_DLQ_TOPIC", self.dead_letters()),
            ("WEATHER_AVERAGES_ID", self.averages_id()),
            ("WEATHER_GRAPHITE_ID", self.graphite_id()),
            ("GRAPHITE_USER_ID", self.name.clone()),
            ("STREAMS_STATE_DIR", state),
            ("RUST_LOG", "info".to_owned()),
        ];
        let mut all: Vec<(&str, &str)> = names
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        all.extend(environment);
        Program::start(program, arguments, &all)
    }

    /// Runs the producer to its end.
    pub fn produce(&self, arguments: &[&str]) {
        let producer = self.start("weather-producer", "producer", arguments, &[]);
        let code = producer.wait_for_exit(DEADLINE);
        assert_eq!(code, 0, "the producer failed:\n{}", producer.stderr());
    }

    /// Sends records as they are to the topic of the readings.
    pub fn send(&self, records: &[(Option<&str>, Option<String>)]) {
        let bytes = Nullable(RawBytes);
        let mut producer = Producer::new(&self.config(), Produced::with(bytes, bytes))
            .expect("a producer can be made");
        for (key, value) in records {
            let key = key.map(|key| key.as_bytes().to_vec());
            let value = value.as_ref().map(|value| value.clone().into_bytes());
            producer
                .send(&self.readings(), &key, &value, None, &Headers::new())
                .expect("a record can be sent");
        }
        producer.flush(DEADLINE).expect("the records are taken");
    }

    /// Sends one reading of 1 °C per city at that time: late enough, it closes all earlier windows of the partition.
    pub fn send_closing(&self, cities: &[&str], time_ms: i64) {
        let records: Vec<_> = cities
            .iter()
            .map(|city| {
                (
                    Some(*city),
                    Some(reading(city, time_ms, r#""tempCurrent":1"#)),
                )
            })
            .collect();
        self.send(&records);
    }

    /// A reader at the beginning of a topic.
    pub fn reader(&self, topic: &str) -> TopicReader {
        TopicReader::new(&self.config(), topic)
            .unwrap_or_else(|error| panic!("{topic} cannot be read: {error}"))
    }

    /// Everything in a topic, with its partitions.
    pub fn read(&self, topic: &str) -> Vec<(i32, OwnedRecord)> {
        self.reader(topic)
            .read_to_end(DEADLINE)
            .unwrap_or_else(|error| panic!("{topic} cannot be read: {error}"))
    }

    /// The offsets that an application has committed.
    pub fn committed(&self, application_id: &str, topic: &str) -> Committed {
        let settings = KafkaSettings {
            common: [("bootstrap.servers".to_owned(), self.bootstrap.clone())].into(),
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
            .expect("a consumer can be made");
        Committed {
            consumer,
            partitions: (0..PARTITIONS)
                .map(|partition| TopicPartition::new(topic, partition))
                .collect(),
        }
    }

    fn config(&self) -> StreamsConfig {
        StreamsConfig::new("weather-tests")
            .set("bootstrap.servers", &self.bootstrap)
            .expect("it is a setting")
    }
}

/// The committed offsets of a group, asked for without joining it.
pub struct Committed {
    consumer: <KafkaBroker as Broker>::Consumer,
    partitions: Vec<TopicPartition>,
}

impl Committed {
    /// The offset of each partition, 0 where there is none yet.
    pub fn offsets(&mut self) -> Vec<i64> {
        // While the broker looks for the group's coordinator it answers with an error that passes.
        wait::until_some("the committed offsets", DEADLINE, || {
            self.consumer
                .committed(&self.partitions, Duration::from_secs(10))
                .ok()
        })
        .into_iter()
        .map(|offset| offset.map_or(0, |offset| offset.offset))
        .collect()
    }

    /// How many records that are.
    pub fn records(&mut self) -> i64 {
        self.offsets().iter().sum()
    }
}

/// A reading's JSON; `values` are its numbers, as JSON without the braces.
pub fn reading(city: &str, time_ms: i64, values: &str) -> String {
    format!(
        r#"{{{values},"timeStamp":"{}","city":"{city}"}}"#,
        rfc3339(time_ms)
    )
}

/// A time (milliseconds since the Unix epoch) as the readings have it.
pub fn rfc3339(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms)
        .expect("the tests stay before the year 9999")
        .to_string()
}

/// The clock, in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Waits until the program has opened every task it was given.
pub fn wait_until_ready(program: &Program) {
    wait::until("a program with all its tasks", DEADLINE, || {
        program.stderr().contains(READY)
    });
}

/// Asks a program to stop, and expects that it does so in order.
pub fn stop(program: &Program) {
    program.terminate();
    let code = program.wait_for_exit(STOP_DEADLINE);
    assert_eq!(code, 0, "it did not stop in order:\n{}", program.stderr());
}
