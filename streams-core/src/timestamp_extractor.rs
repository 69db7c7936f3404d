//! Event time: where a record's timestamp comes from.

use crate::error::{Error, Result};
use crate::record::Headers;

/// A record as a [`TimestampExtractor`] sees it: read, not yet processed.
#[derive(Debug)]
pub struct ExtractorRecord<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// The value.
    pub value: &'a V,
    /// The record's own timestamp in milliseconds, -1 when it has none.
    pub timestamp: i64,
    /// The headers.
    pub headers: &'a Headers,
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The wall clock in milliseconds.
    pub system_time_ms: i64,
}

/// Tells the event time of a record, in milliseconds since the Unix epoch.
///
/// A negative time drops the record, which is counted and logged. `partition_time_ms` is the highest time seen in the
/// partition so far, -1 before the first record.
///
/// A closure of key and value is an extractor too:
///
/// ```
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream(
///         "measured-at",
///         Consumed::with(Utf8, I64).with_timestamp_extractor(|_key: &String, seconds: &i64| seconds * 1000),
///     )
///     .to("out", Produced::with(Utf8, I64));
/// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// let input = driver.input("measured-at", Utf8, I64);
/// let output = driver.output("out", Utf8, I64);
/// driver.pipe_at(&input, "a", &1_700_000_000, 5)?;
/// assert_eq!(driver.read_record(&output)?.expect("a record").timestamp, 1_700_000_000_000);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub trait TimestampExtractor<K, V>: Send + Sync + 'static {
    /// The event time of a record.
    ///
    /// # Errors
    /// Any error stops the application.
    fn extract(&self, record: &ExtractorRecord<'_, K, V>, partition_time_ms: i64) -> Result<i64>;
}

impl<K, V, F> TimestampExtractor<K, V> for F
where
    F: Fn(&K, &V) -> i64 + Send + Sync + 'static,
{
    fn extract(&self, record: &ExtractorRecord<'_, K, V>, _partition_time_ms: i64) -> Result<i64> {
        Ok(self(record.key, record.value))
    }
}

/// The record's own timestamp; a negative one stops the application. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailOnInvalidTimestamp;

impl<K, V> TimestampExtractor<K, V> for FailOnInvalidTimestamp {
    #[inline]
    fn extract(&self, record: &ExtractorRecord<'_, K, V>, _partition_time_ms: i64) -> Result<i64> {
        match record.timestamp {
            valid @ 0.. => Ok(valid),
            invalid => Err(invalid_timestamp(
                record.topic,
                record.partition,
                record.offset,
                invalid,
            )),
        }
    }
}

#[cold]
fn invalid_timestamp(topic: &str, partition: i32, offset: i64, timestamp: i64) -> Error {
    Error::data(format!(
        "{topic}-{partition} at offset {offset}: the record has the invalid (negative) timestamp {timestamp}; give the source \
         another TimestampExtractor, for instance LogAndSkipOnInvalidTimestamp, to go on"
    ))
}

/// The record's own timestamp; a record with a negative one is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAndSkipOnInvalidTimestamp;

impl<K, V> TimestampExtractor<K, V> for LogAndSkipOnInvalidTimestamp {
    fn extract(&self, record: &ExtractorRecord<'_, K, V>, _partition_time_ms: i64) -> Result<i64> {
        Ok(record.timestamp)
    }
}

/// The record's own timestamp, or the partition's time when that is negative; an error when both are unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsePartitionTimeOnInvalidTimestamp;

impl<K, V> TimestampExtractor<K, V> for UsePartitionTimeOnInvalidTimestamp {
    fn extract(&self, record: &ExtractorRecord<'_, K, V>, partition_time_ms: i64) -> Result<i64> {
        match (record.timestamp, partition_time_ms) {
            (valid @ 0.., _) | (_, valid @ 0..) => Ok(valid),
            (invalid, _) => Err(invalid_timestamp(
                record.topic,
                record.partition,
                record.offset,
                invalid,
            )),
        }
    }
}

/// The wall clock when the record is processed.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallclockTimestampExtractor;

impl<K, V> TimestampExtractor<K, V> for WallclockTimestampExtractor {
    fn extract(&self, record: &ExtractorRecord<'_, K, V>, _partition_time_ms: i64) -> Result<i64> {
        Ok(record.system_time_ms)
    }
}
