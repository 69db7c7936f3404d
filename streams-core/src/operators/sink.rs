//! `to`, and the sink half of a repartition: records become bytes for a topic.

use super::StreamOperator;
use crate::error::{Error, Result};
use crate::exception_handlers::{FailedRecord, SerializationErrorOrigin, UnwritableRecord};
use crate::partitioner::{Partitions, StreamPartitioner, partition_for_key};
use crate::record::{Headers, Record};
use crate::serdes::{BoxSerde, Serde, SerdeError};
use crate::task::context::Context;
use crate::task::effects::Effects;
use std::sync::Arc;

/// Which topic a record goes to.
pub(crate) enum Target<K, V> {
    /// Always the same.
    Topic(Arc<str>),
    /// Chosen for each record.
    Extractor(TopicExtractor<K, V>),
}

/// Chooses the topic of a record.
pub(crate) type TopicExtractor<K, V> =
    Arc<dyn for<'a> Fn(Record<'a, K, V>) -> String + Send + Sync>;

pub(crate) struct Sink<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) target: Target<K, V>,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
    /// How many partitions the fixed topic has; asked for once.
    pub(crate) partition_count: Option<i32>,
    /// Whether the partitioner has to choose one partition, no more and no less, as for a foreign-key join.
    pub(crate) exactly_one: bool,
    /// Whether records without a key stay behind, as before a grouping.
    pub(crate) skip_null_keys: bool,
}

impl<K, V> Sink<K, V> {
    fn count(&mut self, topic: &str, context: &Context) -> Result<i32> {
        if let Some(count) = self.partition_count {
            return Ok(count);
        }
        let count = context.topics.partition_count(topic)?;
        if matches!(self.target, Target::Topic(_)) {
            self.partition_count = Some(count);
        }
        Ok(count)
    }
}

impl<K: 'static, V: 'static> Sink<K, V> {
    /// Asks the handler about a record that cannot be serialized, for each partition it was to go to.
    #[cold]
    #[inline(never)]
    fn unwritable(
        &self,
        (origin, error): (SerializationErrorOrigin, SerdeError),
        record: Record<'_, K, V>,
        (topic, chosen): (&str, Partitions),
        context: &mut Context,
    ) -> Result<()> {
        let error = Error::from(error);
        let partitions = match chosen {
            Partitions::Default => vec![None],
            Partitions::One(partition) => vec![Some(partition)],
            Partitions::Many(partitions) => partitions.into_iter().map(Some).collect(),
        };
        for partition in partitions {
            let unwritable = UnwritableRecord {
                topic,
                partition,
                origin,
                record: FailedRecord::of(record),
            };
            if !context.serialization_failed(&error, &self.name, &unwritable)? {
                let part = match origin {
                    SerializationErrorOrigin::Key => "key",
                    SerializationErrorOrigin::Value => "value",
                };
                return Err(error.context(format_args!(
                    "the {part} of a record for topic '{topic}' cannot be serialized"
                )));
            }
        }
        Ok(())
    }
}

impl<K: 'static, V: 'static> StreamOperator<K, V> for Sink<K, V> {
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        if record.timestamp < 0 {
            return Err(negative_timestamp(record.timestamp));
        }
        let topic: Arc<str> = match &self.target {
            Target::Topic(topic) => topic.clone(),
            Target::Extractor(extractor) => extractor(record).into(),
        };
        let count = self.count(&topic, context)?;
        let chosen = match &self.partitioner {
            None => Partitions::Default,
            Some(partitioner) => partitioner.partitions(&topic, record.key, record.value, count),
        };
        if self.exactly_one
            && let Partitions::Many(partitions) = &chosen
            && partitions.len() != 1
        {
            return Err(not_one_partition(partitions, &topic));
        }
        context.io.effects.origin = context.origin;
        let mut writer = context.io.effects.write();
        let key_present = match self.key.serialize_nullable(record.key, writer.bytes()) {
            Ok(present) => present,
            Err(error) => {
                let unwritable = (SerializationErrorOrigin::Key, error);
                return self.unwritable(unwritable, record, (&topic, chosen), context);
            }
        };
        if self.skip_null_keys && !key_present {
            return Ok(());
        }
        writer.end_key(key_present);
        let value_present = match self.value.serialize_nullable(record.value, writer.bytes()) {
            Ok(present) => present,
            Err(error) => {
                let unwritable = (SerializationErrorOrigin::Value, error);
                return self.unwritable(unwritable, record, (&topic, chosen), context);
            }
        };
        writer.end_value(value_present);
        let timestamp = Some(record.timestamp);
        match chosen {
            Partitions::Default => {
                let partition = match writer.key() {
                    Some(key) => default_partition(&*self.key, key, count),
                    None => Effects::ANY_PARTITION,
                };
                writer.finish(&topic, partition, timestamp, record.headers);
            }
            Partitions::One(partition) => {
                check_partition(partition, count, &topic)?;
                writer.finish(&topic, partition, timestamp, record.headers);
            }
            Partitions::Many(partitions) => {
                for partition in &partitions {
                    check_partition(*partition, count, &topic)?;
                }
                if let Some((last, others)) = partitions.split_last() {
                    for partition in others {
                        writer.finish_copy(&topic, *partition, timestamp, record.headers);
                    }
                    writer.finish(&topic, *last, timestamp, record.headers);
                }
            }
        }
        Ok(())
    }
}

/// Kafka's choice by the bytes of the key; of a windowed key, by those of the key in it.
fn default_partition<K: 'static>(serde: &dyn Serde<K>, key: &[u8], count: i32) -> i32 {
    partition_for_key(serde.partition_bytes(key), count)
}

fn check_partition(partition: i32, count: i32, topic: &str) -> Result<()> {
    if (0..count).contains(&partition) {
        return Ok(());
    }
    Err(Error::data(format!(
        "the partitioner chose partition {partition} of topic '{topic}', which has partitions 0 to {}",
        count - 1
    )))
}

#[cold]
fn not_one_partition(partitions: &[i32], topic: &str) -> Error {
    Error::data(format!(
        "the partitioner chose partitions {partitions:?} of topic '{topic}': for a foreign-key join it has to choose exactly one"
    ))
}

#[cold]
fn negative_timestamp(timestamp: i64) -> Error {
    Error::data(format!(
        "a record with the negative timestamp {timestamp} cannot be written: set a valid one, or choose a timestamp extractor that skips such records"
    ))
}

/// Where records without headers point to.
pub(crate) static NO_HEADERS: Headers = Headers::new();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::{TimeWindowed, Utf8};
    use crate::windowed::{Window, Windowed};
    use std::time::Duration;

    #[test]
    fn all_windows_of_a_key_go_to_one_partition() {
        let serde: BoxSerde<Windowed<String>> =
            Arc::new(TimeWindowed::new(Utf8, Duration::from_millis(10)));
        for start_ms in [0, 10, 20, 30] {
            let key = Windowed::new("a".to_owned(), Window::new(start_ms, start_ms + 10));
            let mut bytes = Vec::new();
            serde.serialize(&key, &mut bytes).expect("a key");
            assert_eq!(default_partition(&*serde, &bytes, 10), 4);
        }
    }
}
