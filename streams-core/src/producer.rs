//! Typed records into topics, for programs that feed a topology and for tests.
//!
//! A topology writes through [`KStream::to`](crate::KStream::to). This is for the other side: whoever produces what a
//! topology reads, with the same serdes and the same partitions.

use crate::config::{ClientKind, StreamsConfig};
use crate::dsl::Produced;
use crate::error::{Error, Result};
use crate::kafka::{KafkaBroker, KafkaProducer, KafkaSettings};
use crate::partitioner::{Partitions, partition_for_key};
use crate::record::Headers;
pub use crate::runtime::broker::NewTopic;
use crate::runtime::broker::{Broker, LogProducer};
use crate::task::effects::Effects;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the cluster may take to answer, and a topic to appear.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends typed records to topics.
///
/// Records go out in the background, in batches; [`Producer::flush`] waits until all are acknowledged. It is idempotent:
/// a retry makes no duplicate. A record without a partitioner goes where Kafka's own producer would put its key.
///
/// ```no_run
/// use std::time::Duration;
/// use streams_core::producer::Producer;
/// use streams_core::serdes::{F64, Utf8};
/// use streams_core::{Headers, Produced, StreamsConfig};
///
/// let config = StreamsConfig::new("station").set("bootstrap.servers", "localhost:9092")?;
/// let mut producer = Producer::new(&config, Produced::with(Utf8, F64))?;
/// producer.send("weather", &"Mosbach".to_owned(), &8.84, None, &Headers::new())?;
/// producer.flush(Duration::from_secs(30))?;
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct Producer<K, V> {
    broker: KafkaBroker,
    producer: KafkaProducer,
    produced: Produced<K, V>,
    topics: HashMap<String, KnownTopic>,
    /// One record at a time, with allocations that stay.
    record: Effects,
    key: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Clone)]
struct KnownTopic {
    name: Arc<str>,
    partition_count: i32,
}

impl<K: 'static, V: 'static> Producer<K, V> {
    /// A producer with these serdes. Nothing is connected yet.
    ///
    /// # Errors
    /// When a setting is refused or `bootstrap.servers` is missing.
    pub fn new(config: &StreamsConfig, produced: Produced<K, V>) -> Result<Self> {
        let broker = broker(config)?;
        let client_id = config.client_id().unwrap_or(config.application_id());
        let producer = broker.producer(&format!("{client_id}-producer"), None)?;
        Ok(Producer {
            broker,
            producer,
            produced,
            topics: HashMap::new(),
            record: Effects::new(),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Sends a record with a timestamp in milliseconds since the Unix epoch, `None` for the time of sending.
    ///
    /// # Errors
    /// When the topic does not exist, a serde refuses, the queue stays full, or an earlier record could not be delivered.
    pub fn send(
        &mut self,
        topic: &str,
        key: &K,
        value: &V,
        timestamp_ms: Option<i64>,
        headers: &Headers,
    ) -> Result<()> {
        let topic = self.topic(topic)?;
        self.key.clear();
        self.value.clear();
        let has_key = self.produced.key.serialize_nullable(key, &mut self.key)?;
        let has_value = self
            .produced
            .value
            .serialize_nullable(value, &mut self.value)?;
        let key_bytes = has_key.then_some(&self.key[..]);
        let value_bytes = has_value.then_some(&self.value[..]);

        let chosen = match &self.produced.partitioner {
            Some(partitioner) => {
                partitioner.partitions(&topic.name, key, value, topic.partition_count)
            }
            None => Partitions::Default,
        };
        let default = match key_bytes {
            Some(bytes) => partition_for_key(
                self.produced.key.partition_bytes(bytes),
                topic.partition_count,
            ),
            None => Effects::ANY_PARTITION,
        };
        let one;
        let partitions: &[i32] = match &chosen {
            Partitions::Default => {
                one = [default];
                &one
            }
            Partitions::One(partition) => {
                one = [*partition];
                &one
            }
            Partitions::Many(many) => many,
        };
        self.record.clear();
        for &partition in partitions {
            if !matches!(chosen, Partitions::Default)
                && !(0..topic.partition_count).contains(&partition)
            {
                return Err(Error::data(format!(
                    "the partitioner chose partition {partition} of '{}', which has {}: choose one from 0 on",
                    topic.name, topic.partition_count
                )));
            }
            self.record.push(
                &topic.name,
                partition,
                timestamp_ms,
                key_bytes,
                value_bytes,
                headers,
            );
        }
        self.producer.send(&mut self.record.records())
    }

    /// Waits until every record is acknowledged.
    ///
    /// # Errors
    /// The first failure of any record since the last flush, or that the time is over.
    pub fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.producer.flush(timeout)
    }

    /// The topic with its partition count, which is asked for once; a topic that was just created may take a moment.
    fn topic(&mut self, name: &str) -> Result<KnownTopic> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.clone());
        }
        let partition_count = partition_count(&self.broker, name)?;
        let topic = KnownTopic {
            name: name.into(),
            partition_count,
        };
        self.topics.insert(name.to_owned(), topic.clone());
        Ok(topic)
    }
}

impl<K, V> fmt::Debug for Producer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("topics", &self.topics.keys())
            .finish_non_exhaustive()
    }
}

/// Creates topics that do not exist yet, and waits until they can be written to. One that exists stays as it is.
///
/// ```no_run
/// use std::collections::BTreeMap;
/// use streams_core::StreamsConfig;
/// use streams_core::producer::{NewTopic, create_topics};
///
/// let config = StreamsConfig::new("station").set("bootstrap.servers", "localhost:9092")?;
/// let weather = NewTopic {
///     name: "weather".into(),
///     partition_count: 4,
///     replication_factor: -1,
///     config: BTreeMap::new(),
/// };
/// create_topics(&config, &[weather])?;
/// # Ok::<(), streams_core::Error>(())
/// ```
///
/// # Errors
/// When the cluster cannot be reached or refuses one of them.
pub fn create_topics(config: &StreamsConfig, topics: &[NewTopic]) -> Result<()> {
    let broker = broker(config)?;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let counts = broker.partition_counts(&names, ANSWER_TIMEOUT)?;
    let missing: Vec<NewTopic> = topics
        .iter()
        .zip(counts)
        .filter(|(_, count)| count.is_none())
        .map(|(topic, _)| topic.clone())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    broker.create_topics(&missing, ANSWER_TIMEOUT)?;
    for topic in &missing {
        partition_count(&broker, &topic.name)?;
    }
    Ok(())
}

/// How many partitions a topic has. One that was just created may not be known yet, so it is asked for some time.
pub(crate) fn partition_count(broker: &KafkaBroker, topic: &str) -> Result<i32> {
    const APPEARS_WITHIN: Duration = Duration::from_secs(10);
    const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
    let end = Instant::now() + APPEARS_WITHIN;
    loop {
        let counts = broker.partition_counts(&[topic], ANSWER_TIMEOUT)?;
        if let Some(count) = counts.into_iter().flatten().next() {
            return Ok(count);
        }
        if Instant::now() >= end {
            return Err(Error::retriable(format!(
                "topic '{topic}' does not exist: create it, or correct its name"
            )));
        }
        std::thread::sleep(ASK_AGAIN_AFTER);
    }
}

/// The cluster of the configuration.
pub(crate) fn broker(config: &StreamsConfig) -> Result<KafkaBroker> {
    if config.bootstrap_servers().is_none() {
        return Err(Error::config(
            "bootstrap.servers is not set: set it to the brokers of your cluster, or the variable KAFKA_BOOTSTRAP_SERVERS",
        ));
    }
    KafkaBroker::new(KafkaSettings {
        consumer: config.client_settings(ClientKind::MainConsumer),
        producer: config.client_settings(ClientKind::Producer),
        admin: config.client_settings(ClientKind::Admin),
        ..KafkaSettings::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::{F64, Utf8};

    #[test]
    fn without_brokers_the_error_says_what_to_set() {
        let config = StreamsConfig::new("station");
        let error = Producer::new(&config, Produced::with(Utf8, F64)).unwrap_err();
        assert!(
            error.to_string().contains("KAFKA_BOOTSTRAP_SERVERS"),
            "{error}"
        );
    }
}
