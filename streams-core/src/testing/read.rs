//! The test driver's way out: what the topology has produced.

use super::driver::TopologyTestDriver;
use super::topics::{ProducedRecord, TestOutputTopic, TestRecord};
use crate::error::{Error, Result};
use crate::serdes::Serde;
use crate::topology::NodeKind;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

impl TopologyTestDriver {
    /// A topic to read from: an output, a changelog or a repartition topic.
    pub fn output<K: 'static, V: 'static>(
        &self,
        topic: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> TestOutputTopic<K, V> {
        TestOutputTopic::new(topic, key, value)
    }

    /// The next record of a topic, `None` when there is none. Of several partitions it is the one produced first.
    ///
    /// # Errors
    /// When the topology never writes to the topic, or the record's bytes cannot be read by the topic's serdes.
    pub fn read_record<K: 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
    ) -> Result<Option<TestRecord<K, V>>> {
        let record = self.read_produced(&topic.name)?;
        record
            .map(|record| topic.read(record, self.now_ms))
            .transpose()
    }

    /// The next record of a topic in bytes, with its partition; `None` when there is none.
    ///
    /// # Errors
    /// When the topology never writes to the topic.
    pub fn read_produced(&mut self, topic: &str) -> Result<Option<ProducedRecord>> {
        let record = self.logs.take_unread(topic, None);
        if record.is_none() {
            self.check_written(topic)?;
        }
        Ok(record)
    }

    /// All records of a topic that were not read yet.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::read_record`].
    pub fn read_records<K: 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
    ) -> Result<Vec<TestRecord<K, V>>> {
        let mut records = Vec::new();
        while let Some(record) = self.read_record(topic)? {
            records.push(record);
        }
        Ok(records)
    }

    /// All records of one partition of a topic that were not read yet.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::read_record`].
    pub fn read_partition<K: 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
        partition: i32,
    ) -> Result<Vec<TestRecord<K, V>>> {
        self.check_written(&topic.name)?;
        let mut records = Vec::new();
        while let Some(record) = self.logs.take_unread(&topic.name, Some(partition)) {
            records.push(topic.read(record, self.now_ms)?);
        }
        Ok(records)
    }

    /// Keys and values of all records that were not read yet.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::read_record`].
    pub fn read_key_values<K: 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
    ) -> Result<Vec<(K, V)>> {
        let records = self.read_records(topic)?;
        Ok(records
            .into_iter()
            .map(|record| (record.key, record.value))
            .collect())
    }

    /// Values of all records that were not read yet.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::read_record`].
    pub fn read_values<K: 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
    ) -> Result<Vec<V>> {
        let records = self.read_records(topic)?;
        Ok(records.into_iter().map(|record| record.value).collect())
    }

    /// The last value of each key among the records that were not read yet.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::read_record`].
    pub fn read_map<K: Eq + Hash + 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
    ) -> Result<HashMap<K, V>> {
        Ok(self.read_key_values(topic)?.into_iter().collect())
    }

    /// Whether nothing of a topic is left to read.
    pub fn is_empty<K: 'static, V: 'static>(&self, topic: &TestOutputTopic<K, V>) -> bool {
        self.queue_size(topic) == 0
    }

    /// How many records of a topic are left to read.
    pub fn queue_size<K: 'static, V: 'static>(&self, topic: &TestOutputTopic<K, V>) -> usize {
        self.logs.unread_count(&topic.name)
    }

    /// The names of all topics something was produced to, internal ones included, in alphabetical order.
    pub fn produced_topic_names(&self) -> impl Iterator<Item = &str> {
        self.logs.produced_names()
    }

    /// Checks that records of a topic can be expected: that it was written to, or that the topology may do so.
    fn check_written(&self, topic: &str) -> Result<()> {
        if self.logs.is_produced(topic) {
            return Ok(());
        }
        let parts = self.factory.topology.parts();
        let chooses = |kind: &NodeKind| matches!(kind, NodeKind::Sink { topic: None, .. });
        if parts.nodes.iter().any(|node| chooses(&node.kind)) {
            return Ok(());
        }
        let application_id = &self.factory.options.application_id;
        let mut written = BTreeSet::new();
        for sub_topology in self.factory.topology.sub_topologies() {
            let sinks = sub_topology.sinks.iter();
            written.extend(sinks.map(|sink| sink.full_name(application_id).to_string()));
            for store in &sub_topology.stores {
                let changelog = store.changelog.as_ref();
                if changelog.is_some_and(|changelog| changelog.source_topic.is_none()) {
                    written.insert(format!("{application_id}-{}-changelog", store.name));
                }
            }
        }
        if written.contains(topic) {
            return Ok(());
        }
        Err(Error::topology(format!(
            "the topology never writes to topic '{topic}'; it writes to: {}",
            written.into_iter().collect::<Vec<_>>().join(", ")
        )))
    }
}
