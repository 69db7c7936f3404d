//! Typed topics of the test driver, and their records.

use crate::error::Result;
use crate::record::Headers;
use crate::serdes::{BoxSerde, Serde};
use crate::stores::duration_ms;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// A topic to write to, with the serdes of its records.
///
/// Records piped without a timestamp get the driver's wall clock, or, with [`TestInputTopic::starting_at`], the topic's own
/// time, which can move on by itself after each record:
///
/// ```
/// use std::time::Duration;
/// use streams_core::serdes::Utf8;
/// use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder.stream("in", Consumed::with(Utf8, Utf8)).to("out", Produced::with(Utf8, Utf8));
/// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// let input = driver.input("in", Utf8, Utf8).starting_at(1_000).auto_advance(Duration::from_millis(5));
/// let output = driver.output("out", Utf8, Utf8);
///
/// driver.pipe_key_values(&input, [("a", "1"), ("b", "2")])?;
/// input.advance_time(Duration::from_secs(1));
/// driver.pipe(&input, "c", "3")?;
/// let times: Vec<i64> = driver.read_records(&output)?.iter().map(|record| record.timestamp).collect();
/// assert_eq!(times, [1_000, 1_005, 2_010]);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct TestInputTopic<K, V> {
    pub(super) name: String,
    pub(super) key: BoxSerde<K>,
    pub(super) value: BoxSerde<V>,
    /// The time of the next record in milliseconds; `None` takes the driver's wall clock.
    time_ms: Cell<Option<i64>>,
    advance_ms: i64,
}

impl<K: 'static, V: 'static> TestInputTopic<K, V> {
    pub(super) fn new(name: &str, key: impl Serde<K>, value: impl Serde<V>) -> Self {
        TestInputTopic {
            name: name.to_owned(),
            key: Arc::new(key),
            value: Arc::new(value),
            time_ms: Cell::new(None),
            advance_ms: 0,
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the topic a time of its own, in milliseconds: that of the next record piped without a timestamp.
    #[must_use]
    pub fn starting_at(self, time_ms: i64) -> Self {
        self.time_ms.set(Some(time_ms));
        self
    }

    /// Moves the topic's own time on after each record piped without a timestamp. The topic's time begins at 0 unless
    /// [`TestInputTopic::starting_at`] says otherwise.
    #[must_use]
    pub fn auto_advance(mut self, by: Duration) -> Self {
        self.advance_ms = duration_ms(by);
        self.time_ms.set(Some(self.time_ms.get().unwrap_or(0)));
        self
    }

    /// Moves the topic's own time on, from 0 if it has none yet.
    pub fn advance_time(&self, by: Duration) {
        let time_ms = self.time_ms.get().unwrap_or(0);
        self.time_ms
            .set(Some(time_ms.saturating_add(duration_ms(by))));
    }

    /// The timestamp of the next record.
    pub(super) fn next_time_ms(&self, wall_clock_ms: i64) -> i64 {
        let Some(time_ms) = self.time_ms.get() else {
            return wall_clock_ms;
        };
        self.time_ms
            .set(Some(time_ms.saturating_add(self.advance_ms)));
        time_ms
    }

    pub(super) fn key_bytes(&self, key: &K) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let present = self.key.serialize_nullable(key, &mut bytes)?;
        Ok(present.then_some(bytes))
    }

    pub(super) fn value_bytes(&self, value: &V) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let present = self.value.serialize_nullable(value, &mut bytes)?;
        Ok(present.then_some(bytes))
    }
}

/// A topic to read from, with the serdes of its records.
pub struct TestOutputTopic<K, V> {
    pub(super) name: String,
    pub(super) key: BoxSerde<K>,
    pub(super) value: BoxSerde<V>,
}

impl<K: 'static, V: 'static> TestOutputTopic<K, V> {
    pub(super) fn new(name: &str, key: impl Serde<K>, value: impl Serde<V>) -> Self {
        TestOutputTopic {
            name: name.to_owned(),
            key: Arc::new(key),
            value: Arc::new(value),
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn read(&self, record: ProducedRecord, now_ms: i64) -> Result<TestRecord<K, V>> {
        Ok(TestRecord {
            key: self.key.deserialize_nullable(record.key.as_deref())?,
            value: self.value.deserialize_nullable(record.value.as_deref())?,
            timestamp: record.timestamp.unwrap_or(now_ms),
            headers: record.headers,
        })
    }
}

/// A record to pipe, or one that was read.
///
/// ```
/// use streams_core::TestRecord;
///
/// let record = TestRecord::new("mosbach", 21.5, 1_000).with_header("unit", b"C");
/// assert_eq!(record.headers.last("unit"), Some(&b"C"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRecord<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Milliseconds since the Unix epoch. Of a record whose timestamp was left to the producer it is the wall clock's.
    pub timestamp: i64,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> TestRecord<K, V> {
    /// A record without headers; its timestamp is in milliseconds since the Unix epoch.
    pub fn new(key: K, value: V, timestamp: i64) -> Self {
        TestRecord {
            key,
            value,
            timestamp,
            headers: Headers::new(),
        }
    }

    /// The same record with these headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// The same record with one more header.
    #[must_use]
    pub fn with_header(mut self, key: &str, value: &[u8]) -> Self {
        self.headers.add(key, Some(value));
        self
    }
}

/// A record as it was produced, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducedRecord {
    /// The partition it went to.
    pub partition: i32,
    /// The key's bytes, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value's bytes, `None` for null.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch; `None` was left to the producer, which takes the wall clock.
    pub timestamp: Option<i64>,
    /// The headers.
    pub headers: Headers,
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
