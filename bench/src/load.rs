//! Fills topics before anything is measured.

use crate::data::{DataRecord, Topic};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streams_core::kafka::{KafkaBroker, KafkaSettings};
use streams_core::partitioner::partition_for_key;
use streams_core::runtime::broker::{Broker, LogProducer, NewTopic, ProduceRecord};
use streams_core::{Error, Headers, Result};

/// How long the cluster may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);

const RECORDS_PER_SEND: usize = 1000;

/// A cluster by its address, with batches of 64 KiB.
///
/// # Errors
/// When the client refuses the settings.
pub fn broker(bootstrap: &str) -> Result<KafkaBroker> {
    broker_with(bootstrap, &[("linger.ms", "50"), ("batch.size", "65536")])
}

/// A cluster by its address, with these settings of the producer.
///
/// # Errors
/// When the client refuses the settings.
pub fn broker_with(bootstrap: &str, producer: &[(&str, &str)]) -> Result<KafkaBroker> {
    let settings = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    KafkaBroker::new(KafkaSettings {
        common: settings(&[("bootstrap.servers", bootstrap)]),
        producer: settings(producer),
        ..KafkaSettings::default()
    })
}

/// Creates a topic that keeps everything, however old its records say they are.
///
/// # Errors
/// When the cluster does not take it.
pub fn create(broker: &KafkaBroker, name: &str, partitions: i32) -> Result<()> {
    create_with(broker, name, partitions, ("retention.ms", "-1"))
}

fn create_with(
    broker: &KafkaBroker,
    name: &str,
    partitions: i32,
    (setting, value): (&str, &str),
) -> Result<()> {
    let topic = NewTopic {
        name: name.to_owned(),
        partition_count: partitions,
        replication_factor: 1,
        config: BTreeMap::from([(setting.to_owned(), value.to_owned())]),
    };
    broker.create_topics(&[topic], PATIENCE)
}

/// Creates a topic and writes its records, each into the partition of its key.
///
/// # Errors
/// When the cluster does not take them.
pub fn fill(broker: &KafkaBroker, topic: &Topic) -> Result<()> {
    create_with(broker, &topic.name, topic.partitions, topic.keeps())?;
    let mut producer = broker.producer("loader", None)?;
    let name: Arc<str> = topic.name.as_str().into();
    let mut batch: Vec<(i32, DataRecord)> = Vec::new();
    let mut filled = 0;
    let mut send = |records: &[(i32, DataRecord)]| {
        let headers = Headers::new();
        producer.send(
            &mut records.iter().map(|(partition, record)| ProduceRecord {
                topic: &name,
                partition: *partition,
                timestamp: Some(record.timestamp_ms),
                key: Some(&record.key),
                value: Some(&record.value),
                headers: &headers,
            }),
        )
    };
    topic.for_each::<Error>(|record| {
        if filled == batch.len() {
            batch.push((0, DataRecord::default()));
        }
        let (partition, slot) = &mut batch[filled];
        *partition = partition_for_key(&record.key, topic.partitions);
        slot.timestamp_ms = record.timestamp_ms;
        slot.key.clone_from(&record.key);
        slot.value.clone_from(&record.value);
        filled += 1;
        if filled == RECORDS_PER_SEND {
            send(&batch[..filled])?;
            filled = 0;
        }
        Ok(())
    })?;
    send(&batch[..filled])?;
    producer.flush(PATIENCE)
}
