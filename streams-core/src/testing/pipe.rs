//! The test driver's way in: records for the topology.

use super::driver::TopologyTestDriver;
use super::logs;
use super::topics::{IntoPiped, TestInputTopic, TestRecord};
use crate::error::{Error, Result};
use crate::partitioner::partition_for_key;
use crate::record::Headers;
use crate::serdes::Serde;
use crate::stores::duration_ms;
use std::time::Duration;

impl TopologyTestDriver {
    /// A topic to write to.
    pub fn input<K: 'static, V: 'static>(
        &self,
        topic: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> TestInputTopic<K, V> {
        TestInputTopic::new(topic, key, value)
    }

    /// Sends a record through the topology, with the topic's own time or the driver's wall clock as its timestamp.
    ///
    /// With several partitions it goes to the one that Kafka's producers choose by the key's bytes; without a key, to each in
    /// turn.
    ///
    /// # Errors
    /// When the record cannot be serialized or an operator fails.
    pub fn pipe<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        key: impl IntoPiped<K>,
        value: impl IntoPiped<V>,
    ) -> Result<()> {
        let timestamp = topic.next_time_ms(self.now_ms);
        self.pipe_at(topic, key, value, timestamp)
    }

    /// Sends a record with a timestamp (milliseconds) through the topology.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_at<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        key: impl IntoPiped<K>,
        value: impl IntoPiped<V>,
        timestamp: i64,
    ) -> Result<()> {
        let record = TestRecord::new(key.into_piped(), value.into_piped(), timestamp);
        self.pipe_record(topic, &record)
    }

    /// Sends a whole record through the topology.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_record<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        record: &TestRecord<K, V>,
    ) -> Result<()> {
        let key = topic.key_bytes(&record.key)?;
        let count = self.logs.counts.of(&topic.name);
        let partition = match &key {
            Some(key) => partition_for_key(topic.key.partition_bytes(key), count),
            None => self.logs.any_partition(&topic.name),
        };
        self.pipe_key_bytes(topic, key, record, partition)
    }

    /// Sends a whole record to a partition of the test's choice.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`], and when the topic has no such partition.
    pub fn pipe_to_partition<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        partition: i32,
        record: &TestRecord<K, V>,
    ) -> Result<()> {
        let key = topic.key_bytes(&record.key)?;
        self.pipe_key_bytes(topic, key, record, partition)
    }

    fn pipe_key_bytes<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        key: Option<Vec<u8>>,
        record: &TestRecord<K, V>,
        partition: i32,
    ) -> Result<()> {
        let value = topic.value_bytes(&record.value)?;
        let record = logs::record(key, value, record.timestamp, record.headers.clone());
        self.pipe_to(&topic.name, partition, record)
    }

    /// Sends a record without a key through the topology, timed as [`TopologyTestDriver::pipe`] does.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_value<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        value: impl IntoPiped<V>,
    ) -> Result<()> {
        let timestamp = topic.next_time_ms(self.now_ms);
        self.pipe_value_at(topic, value, timestamp)
    }

    /// Sends a record without a key through the topology, with a timestamp in milliseconds.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_value_at<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        value: impl IntoPiped<V>,
        timestamp: i64,
    ) -> Result<()> {
        let value = topic.value_bytes(&value.into_piped())?;
        self.pipe_bytes(&topic.name, None, value, timestamp, Headers::new())
    }

    /// Sends keys and values through the topology, timed as [`TopologyTestDriver::pipe`] does.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_key_values<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        key_values: impl IntoIterator<Item = (impl IntoPiped<K>, impl IntoPiped<V>)>,
    ) -> Result<()> {
        for (key, value) in key_values {
            self.pipe(topic, key, value)?;
        }
        Ok(())
    }

    /// Sends keys and values through the topology, the first at a time (milliseconds) and each other one `advance` later.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_key_values_at<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        key_values: impl IntoIterator<Item = (impl IntoPiped<K>, impl IntoPiped<V>)>,
        start_ms: i64,
        advance: Duration,
    ) -> Result<()> {
        let mut timestamp = start_ms;
        for (key, value) in key_values {
            self.pipe_at(topic, key, value, timestamp)?;
            timestamp = timestamp.saturating_add(duration_ms(advance));
        }
        Ok(())
    }

    /// Sends values without keys through the topology, timed as [`TopologyTestDriver::pipe`] does.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_values<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        values: impl IntoIterator<Item = impl IntoPiped<V>>,
    ) -> Result<()> {
        for value in values {
            self.pipe_value(topic, value)?;
        }
        Ok(())
    }

    /// Sends values without keys through the topology, the first at a time (milliseconds) and each other one `advance` later.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_values_at<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        values: impl IntoIterator<Item = impl IntoPiped<V>>,
        start_ms: i64,
        advance: Duration,
    ) -> Result<()> {
        let mut timestamp = start_ms;
        for value in values {
            self.pipe_value_at(topic, value, timestamp)?;
            timestamp = timestamp.saturating_add(duration_ms(advance));
        }
        Ok(())
    }

    /// Sends whole records through the topology.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_records<'a, K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        records: impl IntoIterator<Item = &'a TestRecord<K, V>>,
    ) -> Result<()> {
        for record in records {
            self.pipe_record(topic, record)?;
        }
        Ok(())
    }

    /// Sends records through the topology with other timestamps than their own: the first at a time (milliseconds) and each
    /// other one `advance` later.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::pipe`].
    pub fn pipe_records_at<'a, K: Clone + 'static, V: Clone + 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        records: impl IntoIterator<Item = &'a TestRecord<K, V>>,
        start_ms: i64,
        advance: Duration,
    ) -> Result<()> {
        let mut timestamp = start_ms;
        for record in records {
            let mut record = record.clone();
            record.timestamp = timestamp;
            self.pipe_record(topic, &record)?;
            timestamp = timestamp.saturating_add(duration_ms(advance));
        }
        Ok(())
    }

    /// Sends bytes through the topology: for records that no serde writes.
    ///
    /// # Errors
    /// When nobody reads the topic or an operator fails.
    pub fn pipe_bytes(
        &mut self,
        topic: &str,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        timestamp: i64,
        headers: Headers,
    ) -> Result<()> {
        let partition = match &key {
            Some(key) => partition_for_key(key, self.logs.counts.of(topic)),
            None => self.logs.any_partition(topic),
        };
        self.pipe_to(
            topic,
            partition,
            logs::record(key, value, timestamp, headers),
        )
    }

    fn pipe_to(
        &mut self,
        topic: &str,
        partition: i32,
        record: crate::record::OwnedRecord,
    ) -> Result<()> {
        if !self.is_read(topic) {
            return Err(self.nobody_reads(topic));
        }
        let count = self.logs.counts.of(topic);
        if !(0..count).contains(&partition) {
            return Err(Error::topology(format!(
                "topic '{topic}' has no partition {partition} but {count}: set their number with \
                 `TopologyTestDriver::builder(..).partitions(\"{topic}\", ..)`"
            )));
        }
        self.deliver(topic, partition, record)?;
        self.run()
    }

    fn is_read(&self, topic: &str) -> bool {
        self.read_topics().any(|read| read == topic)
    }

    fn read_topics(&self) -> impl Iterator<Item = &str> {
        let inputs = self.tasks.iter().flat_map(|one| one.task.input_topics());
        let globals = (0..self.globals.len()).map(|index| self.globals.topic(index));
        inputs.chain(globals).map(|topic| &**topic)
    }

    #[cold]
    fn nobody_reads(&self, topic: &str) -> Error {
        let mut read: Vec<&str> = self.read_topics().collect();
        read.sort_unstable();
        read.dedup();
        Error::topology(format!(
            "no source of the topology reads topic '{topic}'; it reads: {}",
            read.join(", ")
        ))
    }
}
