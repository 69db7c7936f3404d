//! The broker trait over librdkafka: the only module that names rdkafka.
//!
//! | Module | What it is |
//! |---|---|
//! | `consumer`, `assignment` | a member of the group, and what it has assigned |
//! | `reader` | changelogs and global topics, outside any group |
//! | `producer`, `producer_runs` | records out, one by one or many at a time, and transactions |
//! | `admin` | topics |
//! | `fetch`, `inputs`, `offsets`, `record` | what consumer and reader share: batches, waiting, which input a record belongs to |
//! | `settings`, `setting_names` | defaults, forced settings, Java's names |
//! | `errors`, `log` | librdkafka's words in ours |
//! | `ffi` | the only `unsafe` code here |

mod admin;
mod assignment;
mod consumer;
mod errors;
mod fetch;
mod ffi;
mod inputs;
mod log;
#[cfg(all(test, feature = "embedded"))]
mod lost_heartbeat;
mod offsets;
mod producer;
mod producer_runs;
mod reader;
mod record;
mod setting_names;
mod settings;

pub use consumer::KafkaConsumer;
pub use ffi::GroupMetadata;
pub use producer::KafkaProducer;
pub use reader::KafkaReader;
pub use record::KafkaRecord;
pub use settings::KafkaSettings;

use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, ConsumerOptions, NewTopic};
use admin::Admin;
use ffi::Client;
use settings::{Resolved, Role};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A Kafka cluster, reached through librdkafka.
///
/// ```
/// use streams_core::kafka::{KafkaBroker, KafkaSettings};
///
/// let mut settings = KafkaSettings::default();
/// settings.common.insert("bootstrap.servers".into(), "localhost:9092".into());
/// assert!(KafkaBroker::new(settings.clone()).is_ok()); // connects when it is first used
///
/// settings.common.insert("fetch.min.byte".into(), "1".into());
/// let error = KafkaBroker::new(settings).err().expect("there is no such setting");
/// assert!(error.to_string().contains("fetch.min.byte"));
/// ```
pub struct KafkaBroker {
    settings: KafkaSettings,
    /// Made when it is first needed: a client connects as soon as it exists.
    admin: Mutex<Option<Arc<Admin>>>,
}

impl KafkaBroker {
    /// A cluster by the settings of its clients. Nothing is connected yet.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] when one of the settings is unknown, has a wrong value, or is not for the user to set.
    pub fn new(settings: KafkaSettings) -> Result<KafkaBroker> {
        settings.check()?;
        Ok(KafkaBroker {
            settings,
            admin: Mutex::new(None),
        })
    }

    fn reader_for(&self, role: Role, client_id: &str) -> Result<KafkaReader> {
        let mut resolved = self.settings.resolve(role)?;
        resolved.config.set("client.id", client_id);
        let client = Client::consumer(resolved.native()?).map_err(errors::not_created)?;
        KafkaReader::new(client, resolved.api_timeout)
    }

    fn admin(&self) -> Result<Arc<Admin>> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(admin) = &*admin {
            return Ok(admin.clone());
        }
        let made = Arc::new(Admin::new(&self.settings.resolve(Role::Admin)?)?);
        *admin = Some(made.clone());
        Ok(made)
    }
}

impl Broker for KafkaBroker {
    type Record = KafkaRecord;
    type Consumer = KafkaConsumer;
    type Reader = KafkaReader;
    type Producer = KafkaProducer;

    fn consumer(&self, options: &ConsumerOptions) -> Result<KafkaConsumer> {
        let Resolved {
            mut config,
            api_timeout,
            block_max,
        } = self.settings.resolve(Role::Consumer)?;
        config.set("group.id", &options.group_id);
        config.set("client.id", &options.client_id);
        if let Some(instance_id) = &options.instance_id {
            config.set("group.instance.id", instance_id);
        }
        // Where to start is said with every input; one that falls out of the log is told, not moved.
        config.set("auto.offset.reset", "error");
        let resolved = Resolved {
            config,
            api_timeout,
            block_max,
        };
        let client = Client::consumer(resolved.native()?).map_err(errors::not_created)?;
        KafkaConsumer::new(client, api_timeout)
    }

    fn reader(&self, client_id: &str) -> Result<KafkaReader> {
        self.reader_for(Role::RestoreConsumer, client_id)
    }

    fn global_reader(&self, client_id: &str) -> Result<KafkaReader> {
        self.reader_for(Role::GlobalConsumer, client_id)
    }

    fn producer(&self, client_id: &str, transactional_id: Option<&str>) -> Result<KafkaProducer> {
        let role = match transactional_id {
            Some(_) => Role::TransactionalProducer,
            None => Role::Producer,
        };
        let mut resolved = self.settings.resolve(role)?;
        resolved.config.set("client.id", client_id);
        if let Some(transactional_id) = transactional_id {
            resolved.config.set("transactional.id", transactional_id);
        }
        let client = Client::producer(resolved.native()?).map_err(errors::not_created)?;
        Ok(KafkaProducer::new(
            client,
            transactional_id.is_some(),
            resolved.block_max,
            resolved.api_timeout,
        ))
    }

    fn partition_counts(&self, topics: &[&str], timeout: Duration) -> Result<Vec<Option<i32>>> {
        self.admin()?.partition_counts(topics, timeout)
    }

    fn create_topics(&self, topics: &[NewTopic], timeout: Duration) -> Result<()> {
        self.admin()?.create_topics(topics, timeout)
    }

    fn topic_config(&self, topic: &str, timeout: Duration) -> Result<BTreeMap<String, String>> {
        self.admin()?.topic_config(topic, timeout)
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)], timeout: Duration) -> Result<()> {
        self.admin()?.delete_records(before, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::record::{FetchedRecord, Headers};
    use crate::runtime::broker::{
        GroupConsumer, Input, InputSlot, LogProducer, LogReader, StartOffset,
    };
    use crate::task::effects::ProduceRecord;
    use rdkafka::TopicPartitionList;
    use rdkafka::mocking::MockCluster;
    use rdkafka::topic_partition_list::Offset;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use std::time::Instant;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn broker(bootstrap: &str) -> KafkaBroker {
        let mut settings = KafkaSettings::default();
        settings
            .common
            .insert("bootstrap.servers".into(), bootstrap.into());
        settings.producer.insert("linger.ms".into(), "1".into());
        KafkaBroker::new(settings).unwrap()
    }

    fn consumer(broker: &KafkaBroker) -> KafkaConsumer {
        let options = ConsumerOptions {
            group_id: "g".into(),
            client_id: "c".into(),
            instance_id: None,
            auto_offset_reset: "none".into(),
        };
        broker.consumer(&options).unwrap()
    }

    fn input(partition: i32, offset: StartOffset) -> Input {
        Input {
            partition: TopicPartition::new("t", partition),
            slot: InputSlot(10 + partition as u32),
            offset,
        }
    }

    fn send(producer: &mut KafkaProducer, partition: i32, headers: &Headers, count: usize) {
        let topic: Arc<str> = "t".into();
        let record = ProduceRecord {
            topic: &topic,
            partition,
            timestamp: Some(77),
            key: None,
            value: Some(b"value"),
            headers,
        };
        producer
            .send(&mut std::iter::repeat_n(record, count))
            .unwrap();
        producer.flush(TIMEOUT).unwrap();
    }

    #[test]
    fn records_come_back_with_their_slot_and_position() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let broker = broker(&cluster.bootstrap_servers());
        let mut producer = broker.producer("p", None).unwrap();
        let mut headers = Headers::new();
        headers.add("h", Some(b"1")).add("null", None);
        send(&mut producer, 0, &headers, 3);
        send(&mut producer, 1, &headers, 4);
        let partitions = [TopicPartition::new("t", 0), TopicPartition::new("t", 1)];
        assert_eq!(producer.next_offset(&partitions[1]), Some(4));

        let mut reader = broker.reader("r").unwrap();
        assert_eq!(
            reader.offsets(&partitions, TIMEOUT).unwrap(),
            [(0, 3), (0, 4)]
        );
        reader
            .add_inputs(&[
                input(0, StartOffset::At(1)),
                input(1, StartOffset::Earliest),
            ])
            .unwrap();
        let mut records = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        while records.len() < 6 && Instant::now() < deadline {
            reader
                .poll(Duration::from_millis(100), 2, &mut records)
                .unwrap();
        }
        let offsets = |slot| {
            records
                .iter()
                .filter(|(each, _)| *each == InputSlot(slot))
                .map(|(_, record)| record.offset())
                .collect::<Vec<_>>()
        };
        assert_eq!(offsets(10), [1, 2]);
        assert_eq!(offsets(11), [0, 1, 2, 3]);
        let record = &records[0].1;
        assert_eq!((record.key(), record.value()), (None, Some(&b"value"[..])));
        assert_eq!(record.timestamp(), 77);
        let mut read = Headers::new();
        record.read_headers(&mut read);
        assert_eq!(read, headers);
        assert_eq!(reader.position(&partitions[0]), Some(3));
    }

    #[test]
    fn a_record_that_was_refused_fails_the_flush_once() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let broker = broker(&cluster.bootstrap_servers());
        let mut producer = broker.producer("p", None).unwrap();
        send(&mut producer, 0, &Headers::new(), 1);
        cluster.request_errors(
            RDKafkaApiKey::Produce,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
        );
        let topic: Arc<str> = "t".into();
        let headers = Headers::new();
        let record = ProduceRecord {
            topic: &topic,
            partition: 0,
            timestamp: None,
            key: None,
            value: Some(b"v"),
            headers: &headers,
        };
        producer.send(&mut std::iter::once(record)).unwrap();
        let error = producer.flush(TIMEOUT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fatal);
        assert!(error.to_string().contains("t-0"), "{error}");
        producer.flush(TIMEOUT).unwrap();
    }

    #[test]
    fn a_partition_without_a_leader_is_asked_again() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        cluster.partition_leader("t", 0, None).unwrap();
        let broker = broker(&cluster.bootstrap_servers());
        let partitions = [TopicPartition::new("t", 0)];
        let mut reader = broker.reader("r").unwrap();
        let error = reader
            .offsets(&partitions, Duration::from_millis(300))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| reader.offsets(&partitions, TIMEOUT));
            cluster.partition_leader("t", 0, Some(1)).unwrap();
            asked.join().unwrap()
        });
        assert_eq!(answer.unwrap(), [(0, 0)]);
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn an_error_of_before_an_input_was_started_resets_nothing() {
        let cluster = crate::embedded::EmbeddedBroker::builder().start().unwrap();
        let broker = broker(&cluster.bootstrap_servers());
        let topic = NewTopic {
            name: "t".into(),
            partition_count: 1,
            replication_factor: 1,
            // The records are of 1970.
            config: BTreeMap::from([("retention.ms".into(), "-1".into())]),
        };
        broker.create_topics(&[topic], TIMEOUT).unwrap();
        let mut producer = broker.producer("p", None).unwrap();
        send(&mut producer, 0, &Headers::new(), 4);
        let gone = [(TopicPartition::new("t", 0), 3)];
        broker.delete_records(&gone, TIMEOUT).unwrap();

        let mut consumer = consumer(&broker);
        let mut records = Vec::new();
        consumer
            .add_inputs(&[input(0, StartOffset::At(4))])
            .unwrap();
        // A seek makes an error at an offset before the start, and stops the partition.
        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset("t", 0, Offset::Offset(0))
            .unwrap();
        let deadline = Instant::now() + TIMEOUT;
        while consumer
            .client()
            .wait_until_stopped(&before, TIMEOUT)
            .is_err()
        {
            assert!(Instant::now() < deadline);
        }
        send(&mut producer, 0, &Headers::new(), 2);
        while records.len() < 2 && Instant::now() < deadline {
            let event = consumer.poll(Duration::from_millis(50), 10, &mut records);
            assert_eq!(event.unwrap(), None);
        }
        let offsets: Vec<i64> = records.iter().map(|(_, record)| record.offset()).collect();
        assert_eq!(offsets, [4, 5]);
    }

    #[test]
    fn what_nobody_is_a_member_of_cannot_be_committed_to() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let broker = broker(&cluster.bootstrap_servers());
        let mut consumer = consumer(&broker);
        let committed = crate::runtime::broker::CommittedOffset {
            offset: 1,
            metadata: String::new(),
        };
        let error = consumer
            .commit(&[(TopicPartition::new("t", 0), committed)])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        let error = consumer.pause(&[TopicPartition::new("t", 0)]).unwrap_err();
        assert!(error.to_string().contains("not an input"), "{error}");
        consumer.close().unwrap();
    }
}
