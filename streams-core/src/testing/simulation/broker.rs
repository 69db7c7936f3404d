//! The brokers as the runtime knows them.

use super::consumer::{SimulatedConsumer, SimulatedReader};
use super::producer::SimulatedProducer;
use super::world::{ProcessId, world};
use crate::error::{Error, Result};
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::{Broker, ConsumerOptions, NewTopic};
use std::collections::BTreeMap;
use std::time::Duration;

/// The way of one process to the brokers.
pub(super) struct SimulatedBroker {
    pub(super) process: ProcessId,
}

impl Broker for SimulatedBroker {
    type Record = OwnedRecord;
    type Consumer = SimulatedConsumer;
    type Reader = SimulatedReader;
    type Producer = SimulatedProducer;

    fn consumer(&self, options: &ConsumerOptions) -> Result<SimulatedConsumer> {
        Ok(SimulatedConsumer::new(self.process, options))
    }

    fn reader(&self, _client_id: &str) -> Result<SimulatedReader> {
        Ok(SimulatedReader::new(self.process))
    }

    fn producer(&self, client_id: &str, id: Option<&str>) -> Result<SimulatedProducer> {
        Ok(SimulatedProducer::new(self.process, client_id, id))
    }

    fn partition_counts(&self, topics: &[&str], _timeout: Duration) -> Result<Vec<Option<i32>>> {
        let world = world();
        let cluster = world.cluster.borrow();
        let count = |topic: &&str| cluster.partition_count(topic);
        Ok(topics.iter().map(count).collect())
    }

    fn create_topics(&self, topics: &[NewTopic], _timeout: Duration) -> Result<()> {
        let world = world();
        let mut cluster = world.cluster.borrow_mut();
        for topic in topics {
            if cluster.partition_count(&topic.name).is_none() {
                let count = usize::try_from(topic.partition_count).unwrap_or(0);
                cluster.create(&topic.name, count, &topic.config)?;
            }
        }
        Ok(())
    }

    fn topic_config(&self, topic: &str, _timeout: Duration) -> Result<BTreeMap<String, String>> {
        let world = world();
        let config = world.cluster.borrow().topic_config(topic);
        config.ok_or_else(|| Error::fatal(format!("there is no topic {topic}")))
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)], _timeout: Duration) -> Result<()> {
        let world = world();
        for (partition, offset) in before {
            let what = || format!("delete {partition} before {offset}");
            world.ask(self.process, what, |cluster, _| {
                cluster.delete_before(partition, *offset)
            })?;
        }
        Ok(())
    }
}
