//! Whether two applications answered the same: a benchmark whose answers differ is void.

use crate::load;
use crate::workload::Shape;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};
use streams_core::runtime::broker::{Broker, Input, InputSlot, LogReader, StartOffset};
use streams_core::{Error, FetchedRecord, Result, TopicPartition};

/// What must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The last value of each key; how often it changed before is the application's affair.
    Table,
    /// Every record, in whatever order.
    Stream,
}

impl Answer {
    /// What a topology of this shape answers, `None` when it writes nothing.
    pub fn of(shape: Shape) -> Option<Answer> {
        match shape {
            Shape::Pass
            | Shape::StreamTable { .. }
            | Shape::StreamStream { .. }
            | Shape::Windows { on_close: true, .. } => Some(Answer::Stream),
            Shape::WordCount
            | Shape::Windows { .. }
            | Shape::Sliding { .. }
            | Shape::Sessions { .. }
            | Shape::Count => Some(Answer::Table),
            Shape::Restore { .. } => None,
        }
    }
}

/// What is in an output topic.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    answer: Answer,
    /// For a table the hash of each key's last value, for a stream how often there is a record of this hash.
    entries: HashMap<Box<[u8]>, u64>,
    /// Records read.
    pub records: u64,
}

fn hash(value: &[u8]) -> u64 {
    // Its keys are always the same, so that hashes of two runs can be compared.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Content {
    /// Nothing yet.
    pub fn new(answer: Answer) -> Content {
        Content {
            answer,
            entries: HashMap::new(),
            records: 0,
        }
    }

    /// Takes the next record.
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.records += 1;
        match (self.answer, value) {
            (Answer::Table, Some(value)) => {
                let value = hash(value);
                match self.entries.get_mut(key) {
                    Some(entry) => *entry = value,
                    None => {
                        self.entries.insert(key.into(), value);
                    }
                }
            }
            (Answer::Table, None) => {
                self.entries.remove(key);
            }
            (Answer::Stream, value) => {
                // The hash beside the key keeps memory small where values are long.
                let mut record = key.to_vec();
                record.extend_from_slice(&value.map_or(0, hash).to_be_bytes());
                *self.entries.entry(record.into()).or_default() += 1;
            }
        }
    }

    /// The first difference found, in words.
    pub fn difference(&self, other: &Content) -> Option<String> {
        let name = |key: &[u8]| key.escape_ascii().to_string();
        for (key, value) in &self.entries {
            match other.entries.get(key) {
                Some(same) if same == value => {}
                Some(_) if self.answer == Answer::Table => {
                    return Some(format!("key {} has another value", name(key)));
                }
                found => {
                    let found = found.map_or_else(|| "nowhere".into(), |n| format!("{n} times"));
                    return Some(format!(
                        "key {} is found {found} on the other side",
                        name(key)
                    ));
                }
            }
        }
        let key = other
            .entries
            .keys()
            .find(|key| !self.entries.contains_key(*key))?;
        Some(format!("key {} is found on the other side only", name(key)))
    }
}

/// Reads a topic to its end.
///
/// # Errors
/// When it cannot be read, or takes too long.
pub fn read(bootstrap: &str, topic: &str, partitions: i32, answer: Answer) -> Result<Content> {
    let mut reader = load::broker(bootstrap)?.reader("compare")?;
    let partitions: Vec<TopicPartition> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let inputs: Vec<Input> = partitions
        .iter()
        .zip(0..)
        .map(|(partition, slot)| Input {
            partition: partition.clone(),
            slot: InputSlot(slot),
            offset: StartOffset::Earliest,
        })
        .collect();
    let ends = reader.offsets(&partitions, load::PATIENCE)?;
    reader.add_inputs(&inputs)?;
    let mut content = Content::new(answer);
    let mut records = Vec::new();
    let until = Instant::now() + load::PATIENCE;
    while !partitions
        .iter()
        .zip(&ends)
        .all(|(partition, (from, end))| {
            from == end || reader.position(partition).is_some_and(|at| at >= *end)
        })
    {
        if Instant::now() > until {
            return Err(Error::fatal(format!("'{topic}' cannot be read to its end")));
        }
        reader.poll(Duration::from_millis(100), 10_000, &mut records)?;
        for (_, record) in records.drain(..) {
            content.add(record.key().unwrap_or_default(), record.value());
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(answer: Answer, records: &[(&str, Option<&str>)]) -> Content {
        let mut content = Content::new(answer);
        for (key, value) in records {
            content.add(key.as_bytes(), value.map(str::as_bytes));
        }
        content
    }

    #[test]
    fn of_a_table_the_last_values_count() {
        let table = |records: &[_]| content(Answer::Table, records);
        let ours = table(&[
            ("a", Some("1")),
            ("b", Some("2")),
            ("b", None),
            ("a", Some("3")),
        ]);
        assert_eq!(ours.difference(&table(&[("a", Some("3"))])), None);
        assert_eq!(ours.records, 4);
        for other in [
            table(&[("a", Some("2"))]),
            table(&[("a", None)]),
            table(&[("a", Some("3")), ("c", Some("3"))]),
        ] {
            assert!(ours.difference(&other).is_some(), "{other:?}");
        }
    }

    #[test]
    fn of_a_stream_every_record_counts_but_not_the_order() {
        let stream = |records: &[_]| content(Answer::Stream, records);
        let ours = stream(&[("a", Some("1")), ("b", Some("2")), ("a", Some("1"))]);
        let same = stream(&[("b", Some("2")), ("a", Some("1")), ("a", Some("1"))]);
        assert_eq!(ours.difference(&same), None);
        for other in [
            stream(&[("a", Some("1")), ("b", Some("2"))]),
            stream(&[("a", Some("1")), ("a", Some("2")), ("b", Some("2"))]),
            stream(&[]),
        ] {
            assert!(ours.difference(&other).is_some(), "{other:?}");
            assert!(other.difference(&ours).is_some(), "{other:?}");
        }
    }
}
