//! `TopologyTestDriver`: the whole topology in one thread, in memory, one partition a topic.

use crate::deserialization_handler::{DeserializationHandler, LogAndContinue, LogAndFail};
use crate::error::{Error, Result};
use crate::record::{Headers, OwnedRecord};
use crate::serdes::{BoxSerde, Serde};
use crate::stores::{StoreHandle, StoreType};
use crate::task::{GlobalStores, Task, TaskId, TaskOptions, TopicMetadata};
use crate::topology::Topology;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{StoreResources, TaskStores};

/// Runs a topology in memory: records in, records out, time under control.
///
/// It runs the tasks that production runs, each with partition 0. After every record it commits, as Kafka Streams' driver
/// does, so the record cache never holds a result back. Internal topics can be read like any other; their names begin with
/// the application's id, [`TopologyTestDriver::APPLICATION_ID`].
///
/// ```
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("words", Consumed::new())
///     .group_by_key()
///     .count_with(streams_core::Materialized::named("counts"))
///     .to_stream()
///     .to("counts", Produced::new());
///
/// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// let words = driver.input("words", Utf8, Utf8);
/// let counts = driver.output("counts", Utf8, I64);
/// let changelog = driver.output("test-counts-changelog", Utf8, I64);
/// driver.pipe_at(&words, "rust", "is here", 1_000)?;
///
/// assert_eq!(driver.read_key_values(&counts)?, [("rust".to_owned(), 1)]);
/// assert_eq!(driver.read_record(&changelog)?.expect("one").timestamp, 1_000);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct TopologyTestDriver {
    topology: Topology,
    tasks: Vec<Task<OwnedRecord>>,
    globals: Arc<GlobalStores>,
    /// What was produced and not read yet, by topic.
    produced: BTreeMap<String, VecDeque<OwnedRecord>>,
    next_offsets: BTreeMap<String, i64>,
    /// Records for topics of the topology, waiting for their turn.
    waiting: VecDeque<(String, OwnedRecord)>,
    now_ms: i64,
}

/// A topic to write to, with the serdes of its records.
pub struct TestInputTopic<K, V> {
    name: String,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
}

/// A topic to read from, with the serdes of its records.
pub struct TestOutputTopic<K, V> {
    name: String,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRecord<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

/// Every topic has one partition.
pub(super) struct OnePartition;

impl TopicMetadata for OnePartition {
    fn partition_count(&self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

impl TopologyTestDriver {
    /// The application's id in the names of internal topics.
    pub const APPLICATION_ID: &'static str = "test";

    /// A driver whose wall clock stands at the epoch and which fails on records that cannot be read.
    ///
    /// # Errors
    /// When the topology's stores cannot be opened.
    pub fn new(topology: &Topology) -> Result<Self> {
        TopologyTestDriver::with_handler(topology, Arc::new(LogAndFail))
    }

    /// A driver that skips records which cannot be read.
    ///
    /// # Errors
    /// When the topology's stores cannot be opened.
    pub fn skipping_unreadable(topology: &Topology) -> Result<Self> {
        TopologyTestDriver::with_handler(topology, Arc::new(LogAndContinue))
    }

    /// A driver with a deserialization handler of the user's own.
    ///
    /// # Errors
    /// When the topology's stores cannot be opened.
    pub fn with_handler(
        topology: &Topology,
        handler: Arc<dyn DeserializationHandler>,
    ) -> Result<Self> {
        let resources = StoreResources::in_memory();
        let globals = GlobalStores::open(topology, None, &resources, handler.clone())?;
        let options = TaskOptions {
            application_id: Self::APPLICATION_ID.into(),
            deserialization_handler: handler,
            max_task_idle: None,
            cache_enabled: true,
        };
        let mut tasks = Vec::new();
        for sub_topology in topology.sub_topologies() {
            let specs: Vec<_> = sub_topology
                .stores
                .iter()
                .map(|store| store.spec.clone())
                .collect();
            tasks.push(Task::new(
                topology,
                TaskId {
                    sub_topology: sub_topology.id,
                    partition: 0,
                },
                TaskStores::open(None, &specs, &resources)?,
                globals.clone(),
                Arc::new(OnePartition),
                &options,
            )?);
        }
        let mut driver = TopologyTestDriver {
            topology: topology.clone(),
            tasks,
            globals,
            produced: BTreeMap::new(),
            next_offsets: BTreeMap::new(),
            waiting: VecDeque::new(),
            now_ms: 0,
        };
        driver.advance_wall_clock(Duration::ZERO)?;
        Ok(driver)
    }

    /// A topic to write to.
    pub fn input<K: 'static, V: 'static>(
        &self,
        topic: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> TestInputTopic<K, V> {
        TestInputTopic {
            name: topic.to_owned(),
            key: Arc::new(key),
            value: Arc::new(value),
        }
    }

    /// A topic to read from: an output, a changelog or a repartition topic.
    pub fn output<K: 'static, V: 'static>(
        &self,
        topic: &str,
        key: impl Serde<K>,
        value: impl Serde<V>,
    ) -> TestOutputTopic<K, V> {
        TestOutputTopic {
            name: topic.to_owned(),
            key: Arc::new(key),
            value: Arc::new(value),
        }
    }

    /// Sends a record with the driver's wall clock as its timestamp through the topology.
    ///
    /// # Errors
    /// When the record cannot be serialized or an operator fails.
    pub fn pipe<K: 'static, V: 'static>(
        &mut self,
        topic: &TestInputTopic<K, V>,
        key: impl IntoPiped<K>,
        value: impl IntoPiped<V>,
    ) -> Result<()> {
        let timestamp = self.now_ms;
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
        self.pipe_record(
            topic,
            &TestRecord {
                key: key.into_piped(),
                value: value.into_piped(),
                timestamp,
                headers: Headers::new(),
            },
        )
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
        let mut key = Vec::new();
        let key = topic
            .key
            .serialize_nullable(&record.key, &mut key)?
            .then_some(key);
        let mut value = Vec::new();
        let value = topic
            .value
            .serialize_nullable(&record.value, &mut value)?
            .then_some(value);
        self.pipe_bytes(
            &topic.name,
            key,
            value,
            record.timestamp,
            record.headers.clone(),
        )
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
        if !self.is_read(topic) {
            return Err(Error::topology(format!(
                "no source of the topology reads topic '{topic}'"
            )));
        }
        let record = OwnedRecord {
            offset: 0,
            timestamp,
            key,
            value,
            headers,
        };
        self.waiting.push_back((topic.to_owned(), record));
        self.run()
    }

    fn is_read(&self, topic: &str) -> bool {
        let by_task = |task: &Task<OwnedRecord>| task.input_topics().iter().any(|t| &**t == topic);
        self.tasks.iter().any(by_task)
            || (0..self.globals.len()).any(|index| &**self.globals.topic(index) == topic)
    }

    fn next_offset(&mut self, topic: &str) -> i64 {
        let next = self.next_offsets.entry(topic.to_owned()).or_default();
        *next += 1;
        *next - 1
    }

    /// Processes what waits, record by record, until nothing more comes of it.
    fn run(&mut self) -> Result<()> {
        while let Some((topic, mut record)) = self.waiting.pop_front() {
            record.offset = self.next_offset(&topic);
            for index in 0..self.globals.len() {
                if **self.globals.topic(index) == *topic {
                    let next_offset = record.offset + 1;
                    self.globals.apply(
                        index,
                        0,
                        std::slice::from_ref(&record),
                        next_offset,
                        false,
                    )?;
                }
            }
            for task in 0..self.tasks.len() {
                let input = self.tasks[task]
                    .input_topics()
                    .iter()
                    .position(|name| **name == *topic);
                if let Some(input) = input {
                    self.tasks[task].add_record(input, record.clone());
                    self.tasks[task].process(usize::MAX, self.now_ms)?;
                    self.commit(task)?;
                }
            }
        }
        Ok(())
    }

    /// Flushes a task and takes what it produced.
    fn commit(&mut self, task: usize) -> Result<()> {
        self.tasks[task].prepare_commit(self.now_ms)?;
        let offsets = self.tasks[task].offsets(&|_| None);
        let positions = vec![None; self.tasks[task].store_count()];
        self.tasks[task].commit_stores(&offsets, &positions)?;
        let mut produced = Vec::new();
        let effects = self.tasks[task].effects();
        for record in effects.records() {
            produced.push((
                record.topic.to_string(),
                OwnedRecord {
                    offset: 0,
                    timestamp: record.timestamp.unwrap_or(self.now_ms),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record.headers.clone(),
                },
            ));
        }
        effects.clear();
        for (topic, record) in produced {
            if self.is_read(&topic) {
                self.waiting.push_back((topic.clone(), record.clone()));
            }
            self.produced.entry(topic).or_default().push_back(record);
        }
        Ok(())
    }

    /// Moves the wall clock on and makes the calls that are due by it.
    ///
    /// # Errors
    /// When a processor fails.
    pub fn advance_wall_clock(&mut self, by: Duration) -> Result<()> {
        self.now_ms = self.now_ms.saturating_add(crate::stores::duration_ms(by));
        for task in 0..self.tasks.len() {
            self.tasks[task].punctuate(self.now_ms)?;
            self.commit(task)?;
        }
        self.run()
    }

    /// The next record of a topic, `None` when there is none.
    ///
    /// # Errors
    /// When its bytes cannot be read by the topic's serdes.
    pub fn read_record<K: 'static, V: 'static>(
        &mut self,
        topic: &TestOutputTopic<K, V>,
    ) -> Result<Option<TestRecord<K, V>>> {
        let Some(record) = self
            .produced
            .get_mut(&topic.name)
            .and_then(VecDeque::pop_front)
        else {
            return Ok(None);
        };
        Ok(Some(TestRecord {
            key: topic.key.deserialize_nullable(record.key.as_deref())?,
            value: topic.value.deserialize_nullable(record.value.as_deref())?,
            timestamp: record.timestamp,
            headers: record.headers,
        }))
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
    ) -> Result<std::collections::HashMap<K, V>> {
        Ok(self.read_key_values(topic)?.into_iter().collect())
    }

    /// The names of all topics something was produced to, internal ones included.
    pub fn produced_topic_names(&self) -> impl Iterator<Item = &str> {
        self.produced.keys().map(String::as_str)
    }

    /// Opens a store of the topology, to look into it or to prepare it.
    ///
    /// ```
    /// use streams_core::serdes::{I64, Utf8};
    /// use streams_core::stores::{StoreHandle, TimestampedKeyValueStore};
    /// use streams_core::{Consumed, Materialized, StreamsBuilder, TopologyTestDriver};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("words", Consumed::new())
    ///     .group_by_key()
    ///     .count_with(Materialized::named("counts"));
    /// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let words = driver.input("words", Utf8, Utf8);
    /// driver.pipe_at(&words, "rust", "", 7)?;
    ///
    /// let counts = StoreHandle::<TimestampedKeyValueStore<String, i64>>::named("counts");
    /// assert_eq!(driver.store(&counts)?.get(&"rust".to_owned())?, Some((1, 7)));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has no store of that name.
    pub fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        static NO_HEADERS: Headers = Headers::new();
        let sub_topologies = self.topology.sub_topologies();
        let place = sub_topologies
            .iter()
            .enumerate()
            .find_map(|(task, sub_topology)| {
                let stores = &sub_topology.stores;
                let index = stores.iter().position(|s| s.name == store.name())?;
                Some((task, index))
            });
        let Some((task, index)) = place else {
            return Err(Error::topology(format!(
                "the topology has no store '{}'; it has: {}",
                store.name(),
                sub_topologies
                    .iter()
                    .flat_map(|sub_topology| &sub_topology.stores)
                    .map(|store| store.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        };
        let context = self.tasks[task].context_mut();
        let cause = context.cause(context.stream_time_ms.max(0), &NO_HEADERS);
        crate::stores::open(context, index, store, cause)
    }

    /// How many records were dropped by an operator's rule or skipped as unreadable.
    pub fn dropped_records(&self) -> u64 {
        self.tasks.iter().map(Task::dropped_records).sum()
    }
}

/// What can be piped as a `T`: a `T`, a reference to one, or a `&str` for a `String`.
pub trait IntoPiped<T> {
    /// The value to serialize.
    fn into_piped(self) -> T;
}

impl<T> IntoPiped<T> for T {
    fn into_piped(self) -> T {
        self
    }
}

impl<T: Clone> IntoPiped<T> for &T {
    fn into_piped(self) -> T {
        self.clone()
    }
}

impl IntoPiped<String> for &str {
    fn into_piped(self) -> String {
        self.to_owned()
    }
}
