//! The Kafka client's adapter against a running broker: every case takes its address and makes its own topics.

mod failures;
mod logs;
mod members;
mod transactions;

pub use failures::{failures, security_settings};
pub use logs::{out_of_range, reader_moves, records_round_trip, topics};
pub use members::{eager_member, member, positions_hold, static_members};
pub use transactions::{only_members_commit_in_transactions, transactions};

use std::sync::Arc;
use std::time::{Duration, Instant};

use streams_core::kafka::{
    KafkaBroker, KafkaConsumer, KafkaProducer, KafkaReader, KafkaRecord, KafkaSettings,
};
use streams_core::runtime::broker::{
    Broker, ConsumerOptions, GroupConsumer, GroupEvent, Input, InputSlot, LogProducer, LogReader,
    NewTopic, ProduceRecord, StartOffset,
};
use streams_core::{FetchedRecord, Headers, TopicPartition};

const TIMEOUT: Duration = Duration::from_secs(20);

fn settings(bootstrap: &str, more: &[(&str, &str)]) -> KafkaSettings {
    let mut settings = KafkaSettings::default();
    settings
        .common
        .insert("bootstrap.servers".into(), bootstrap.into());
    for (name, value) in more {
        settings.common.insert((*name).into(), (*value).into());
    }
    settings
}

fn broker(bootstrap: &str, more: &[(&str, &str)]) -> KafkaBroker {
    KafkaBroker::new(settings(bootstrap, more)).unwrap()
}

fn create(broker: &KafkaBroker, topic: &str, partition_count: i32, config: &[(&str, &str)]) {
    let topic = NewTopic {
        name: topic.into(),
        partition_count,
        replication_factor: 1,
        config: config
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    };
    broker.create_topics(&[topic], TIMEOUT).unwrap();
}

fn options(group: &str, client: &str) -> ConsumerOptions {
    ConsumerOptions {
        group_id: group.into(),
        client_id: client.into(),
        instance_id: None,
        auto_offset_reset: "earliest".into(),
    }
}

fn input(topic: &str, partition: i32, slot: u32, offset: StartOffset) -> Input {
    Input {
        partition: TopicPartition::new(topic, partition),
        slot: InputSlot(slot),
        offset,
    }
}

fn send(producer: &mut KafkaProducer, topic: &str, partition: i32, values: &[&str]) {
    let topic: Arc<str> = topic.into();
    let headers = Headers::new();
    let mut records = values.iter().map(|value| ProduceRecord {
        topic: &topic,
        partition,
        timestamp: None,
        key: Some(b"key"),
        value: Some(value.as_bytes()),
        headers: &headers,
    });
    producer.send(&mut records).unwrap();
}

fn values(records: &[(InputSlot, KafkaRecord)]) -> Vec<String> {
    records
        .iter()
        .map(|(_, record)| String::from_utf8(record.value().unwrap().to_vec()).unwrap())
        .collect()
}

/// Polls a reader until it has so many records.
fn read(reader: &mut KafkaReader, count: usize) -> Vec<(InputSlot, KafkaRecord)> {
    let deadline = Instant::now() + TIMEOUT;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", records.len());
        reader
            .poll(Duration::from_millis(200), 1024, &mut records)
            .unwrap();
    }
    records
}

/// Waits for assignments until the member has so many partitions, accepting each.
fn await_assignment(consumer: &mut KafkaConsumer, count: usize) -> Vec<TopicPartition> {
    let deadline = Instant::now() + TIMEOUT;
    let mut ours = Vec::new();
    while ours.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", ours.len());
        let mut records = Vec::new();
        let event = consumer
            .poll(Duration::from_millis(200), 1024, &mut records)
            .unwrap();
        assert!(records.is_empty(), "accepted partitions are not read");
        match event {
            Some(GroupEvent::Assigned(partitions)) => {
                consumer.accept(&partitions).unwrap();
                ours.extend(partitions);
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    ours
}

fn consume(consumer: &mut KafkaConsumer, count: usize) -> Vec<(InputSlot, KafkaRecord)> {
    let deadline = Instant::now() + TIMEOUT;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", records.len());
        let event = consumer
            .poll(Duration::from_millis(200), 1024, &mut records)
            .unwrap();
        assert_eq!(event, None);
    }
    records
}
