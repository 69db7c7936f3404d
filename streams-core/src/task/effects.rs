//! What a task asks of the world: records to produce. The worker carries them out; the task itself sends nothing.

use crate::record::Headers;
#[cfg(any(test, feature = "kafka"))]
use crate::record::OwnedRecord;
use crate::task::stores::Origin;
use std::sync::Arc;

/// So many records, or bytes of them, are sent before more are made: they are still in the processor's cache then, and take
/// little memory. Few in tests, so that these see what is done in parts.
const SENT_TOGETHER: usize = if cfg!(test) { 3 } else { 1024 };
const SENT_TOGETHER_BYTES: usize = 1 << 20;

/// Records to produce, in order, with all their bytes in one buffer that is used again after each [`Effects::clear`].
#[derive(Debug, Default)]
pub struct Effects {
    bytes: Vec<u8>,
    records: Vec<EffectRecord>,
    /// What the records made next come from.
    pub(crate) origin: Origin,
}

#[derive(Debug)]
struct EffectRecord {
    topic: Arc<str>,
    partition: i32,
    timestamp: Option<i64>,
    key: Span,
    value: Span,
    headers: Headers,
    origin: Origin,
}

/// A piece of the buffer, or null.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    const NULL: Span = Span {
        start: usize::MAX,
        end: usize::MAX,
    };

    fn get(self, bytes: &[u8]) -> Option<&[u8]> {
        (self.start != usize::MAX).then(|| &bytes[self.start..self.end])
    }
}

/// One record to produce, borrowed from what the task asks for.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRecord<'a> {
    /// The topic's full name.
    pub topic: &'a Arc<str>,
    /// The partition, already chosen; -1 leaves the choice to the producer (a null key).
    pub partition: i32,
    /// Milliseconds since the Unix epoch; `None` lets the producer assign the time of sending.
    pub timestamp: Option<i64>,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a Headers,
}

#[cfg(any(test, feature = "kafka"))]
impl ProduceRecord<'_> {
    /// A copy; its timestamp is -1 where the producer is to assign it.
    pub(crate) fn to_owned(self) -> OwnedRecord {
        OwnedRecord {
            offset: -1,
            timestamp: self.timestamp.unwrap_or(-1),
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self.headers.clone(),
        }
    }
}

impl Effects {
    /// The partition of a record without a key: the producer spreads these.
    pub const ANY_PARTITION: i32 = -1;

    /// Nothing to do yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The records to produce, in the order the task made them.
    pub fn records(&self) -> impl ExactSizeIterator<Item = ProduceRecord<'_>> {
        self.records.iter().map(|record| ProduceRecord {
            topic: &record.topic,
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.get(&self.bytes),
            value: record.value.get(&self.bytes),
            headers: &record.headers,
        })
    }

    /// The records to produce with what each comes from, in the order the task made them.
    pub(crate) fn records_with_origins(&self) -> impl Iterator<Item = (ProduceRecord<'_>, Origin)> {
        let origins = self.records.iter().map(|record| record.origin);
        self.records().zip(origins)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether they should be sent before there are more.
    pub(crate) fn are_many(&self) -> bool {
        self.records.len() >= SENT_TOGETHER || self.bytes.len() >= SENT_TOGETHER_BYTES
    }

    /// Forgets everything and keeps the allocations.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Starts a record: serialize into [`RecordWriter::bytes`] between the marks.
    pub(crate) fn write(&mut self) -> RecordWriter<'_> {
        RecordWriter {
            start: self.bytes.len(),
            key: Span::NULL,
            value: Span::NULL,
            effects: self,
        }
    }

    /// Adds a record whose bytes exist already.
    pub(crate) fn push(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &Headers,
    ) {
        let key = self.copy(key);
        let value = self.copy(value);
        self.records.push(EffectRecord {
            topic: topic.clone(),
            partition,
            timestamp,
            key,
            value,
            headers: headers.clone(),
            origin: self.origin,
        });
    }

    fn copy(&mut self, bytes: Option<&[u8]>) -> Span {
        match bytes {
            None => Span::NULL,
            Some(bytes) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                Span {
                    start,
                    end: self.bytes.len(),
                }
            }
        }
    }
}

/// A record being serialized straight into the effects' buffer. Dropped without [`RecordWriter::finish`], it leaves no trace
/// but unused bytes.
pub(crate) struct RecordWriter<'a> {
    effects: &'a mut Effects,
    start: usize,
    key: Span,
    value: Span,
}

impl RecordWriter<'_> {
    /// Where to serialize.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.effects.bytes
    }

    /// What was serialized since the last mark is the key.
    pub(crate) fn end_key(&mut self, present: bool) {
        self.key = self.end_part(present);
    }

    /// What was serialized since the last mark is the value.
    pub(crate) fn end_value(&mut self, present: bool) {
        self.value = self.end_part(present);
    }

    fn end_part(&mut self, present: bool) -> Span {
        let end = self.effects.bytes.len();
        let span = Span {
            start: self.start,
            end,
        };
        self.start = end;
        if present { span } else { Span::NULL }
    }

    /// The key's bytes.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.get(&self.effects.bytes)
    }

    /// Hands the record over and stays open for another partition.
    pub(crate) fn finish_copy(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        timestamp: Option<i64>,
        headers: &Headers,
    ) {
        self.effects.records.push(EffectRecord {
            topic: topic.clone(),
            partition,
            timestamp,
            key: self.key,
            value: self.value,
            headers: headers.clone(),
            origin: self.effects.origin,
        });
    }

    /// Hands the record over.
    pub(crate) fn finish(
        mut self,
        topic: &Arc<str>,
        partition: i32,
        timestamp: Option<i64>,
        headers: &Headers,
    ) {
        self.finish_copy(topic, partition, timestamp, headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let mut effects = Effects::new();
        let topic: Arc<str> = "t".into();
        let mut writer = effects.write();
        writer.bytes().extend_from_slice(b"k");
        writer.end_key(true);
        writer.end_value(true);
        writer.finish(&topic, 3, Some(7), &Headers::new());
        effects.push(&topic, 0, None, None, Some(b"v"), &Headers::new());
        let records: Vec<_> = effects.records().collect();
        assert_eq!(records[0].key, Some(&b"k"[..]));
        assert_eq!(records[0].value, Some(&b""[..]));
        assert_eq!(records[1].key, None);
        assert_eq!(records[1].value, Some(&b"v"[..]));
        effects.clear();
        assert!(effects.is_empty());
    }
}
