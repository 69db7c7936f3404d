//! The records of a topic, outside any topology and any group: for tests and for looking in.

use crate::config::StreamsConfig;
use crate::error::{Error, Result};
use crate::kafka::{KafkaReader, KafkaRecord};
use crate::producer::{ANSWER_TIMEOUT, broker, partition_count};
use crate::record::{FetchedRecord, Headers, OwnedRecord, TopicPartition};
use crate::runtime::broker::{Broker, Input, InputSlot, LogReader, StartOffset};
use std::fmt;
use std::time::{Duration, Instant};

/// Reads a topic from its beginning, all partitions, without committing anything.
///
/// ```no_run
/// use std::time::Duration;
/// use streams_core::StreamsConfig;
/// use streams_core::topic_reader::TopicReader;
///
/// let config = StreamsConfig::new("look").set("bootstrap.servers", "localhost:9092")?;
/// let mut reader = TopicReader::new(&config, "weather-averages")?;
/// for (partition, record) in reader.read_to_end(Duration::from_secs(10))? {
///     println!("{partition}-{}: {} bytes", record.offset, record.value.map_or(0, |value| value.len()));
/// }
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct TopicReader {
    reader: KafkaReader,
    /// In the order of their numbers, which are their input slots too.
    partitions: Vec<TopicPartition>,
    fetched: Vec<(InputSlot, KafkaRecord)>,
}

impl TopicReader {
    /// A reader at the beginning of a topic.
    ///
    /// # Errors
    /// When the topic does not exist, the cluster cannot be reached or a setting is refused.
    pub fn new(config: &StreamsConfig, topic: &str) -> Result<Self> {
        let broker = broker(config)?;
        let count = partition_count(&broker, topic)?;
        let partitions: Vec<_> = (0..count)
            .map(|partition| TopicPartition::new(topic, partition))
            .collect();
        let mut reader = broker.reader(&format!("{}-reader", config.application_id()))?;
        let inputs: Vec<_> = (0..)
            .map(InputSlot)
            .zip(&partitions)
            .map(|(slot, partition)| Input {
                partition: partition.clone(),
                slot,
                offset: StartOffset::Earliest,
            })
            .collect();
        reader.add_inputs(&inputs)?;
        Ok(TopicReader {
            reader,
            partitions,
            fetched: Vec::new(),
        })
    }

    /// The next records with their partitions; waits up to `timeout` for the first.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<(i32, OwnedRecord)>> {
        const RECORDS_MAX: usize = 1000;
        self.reader.poll(timeout, RECORDS_MAX, &mut self.fetched)?;
        Ok(self
            .fetched
            .drain(..)
            .map(|(slot, record)| {
                let partition = self.partitions[slot.0 as usize].partition;
                (partition, owned(&record))
            })
            .collect())
    }

    /// Every record up to where the topic ends now. In a partition they are in order.
    ///
    /// # Errors
    /// When the topic cannot be read, or not within `timeout`.
    pub fn read_to_end(&mut self, timeout: Duration) -> Result<Vec<(i32, OwnedRecord)>> {
        let until = Instant::now() + timeout;
        let ends = self.reader.offsets(&self.partitions, ANSWER_TIMEOUT)?;
        let mut records = Vec::new();
        while !self.is_at(&ends) {
            if Instant::now() >= until {
                return Err(Error::retriable(format!(
                    "'{}' was not read to its end in {timeout:?}: {} records so far",
                    self.topic(),
                    records.len()
                )));
            }
            records.extend(self.poll(Duration::from_millis(100))?);
        }
        Ok(records)
    }

    /// Whether every partition was read up to these ends.
    fn is_at(&mut self, ends: &[(i64, i64)]) -> bool {
        let reader = &mut self.reader;
        self.partitions
            .iter()
            .zip(ends)
            .all(|(partition, &(start, end))| {
                start == end || reader.position(partition).is_some_and(|next| next >= end)
            })
    }

    fn topic(&self) -> &str {
        self.partitions
            .first()
            .map_or("", |partition| &partition.topic)
    }
}

impl fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicReader")
            .field("topic", &self.topic())
            .finish_non_exhaustive()
    }
}

fn owned(record: &KafkaRecord) -> OwnedRecord {
    let mut headers = Headers::new();
    record.read_headers(&mut headers);
    OwnedRecord {
        offset: record.offset(),
        timestamp: record.timestamp(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers,
    }
}
