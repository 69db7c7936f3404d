//! The broker trait over librdkafka: the only module that names rdkafka.
//!
//! | Module | What it is |
//! |---|---|
//! | `consumer`, `assignment` | a member of the group, and what it has assigned |
//! | `reader` | changelogs and global topics, outside any group |
//! | `producer` | records out, and transactions |
//! | `admin` | topics |
//! | `fetch`, `inputs`, `offsets`, `record` | what consumer and reader share: batches, waiting, which input a record belongs to |
//! | `settings`, `setting_names` | defaults, forced settings, Java's names |
//! | `errors`, `log` | librdkafka's words in ours |
//! | `ffi` | the only `unsafe` code |

mod admin;
mod assignment;
mod consumer;
mod errors;
mod fetch;
mod ffi;
mod inputs;
mod log;
mod offsets;
mod producer;
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

    /// A reader of global topics: as [`Broker::reader`], with the settings for global consumers.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn global_reader(&self, client_id: &str) -> Result<KafkaReader> {
        self.reader_for(Role::GlobalConsumer, client_id)
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
        let mut producer = KafkaProducer::new(client, resolved.block_max, resolved.api_timeout);
        if transactional_id.is_some() {
            producer.init_transactions()?;
        }
        Ok(producer)
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
