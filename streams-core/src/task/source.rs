//! One input partition of a task: its queue, and its head read and timed, or skipped with the reason.

use super::context::Context;
use super::stores::AT_ONCE;
use crate::error::{Error, Result};
use crate::operators::StreamChildren;
use crate::record::{FetchedRecord, Headers, Record};
use crate::serdes::{BoxSerde, SerdeError};
use crate::timestamp_extractor::{ExtractorRecord, TimestampExtractor};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Stores hear of the keys of so many records at least.
const ANNOUNCED_MIN: usize = 4;

/// The typed half of an input: reads a record into a slot and hands the slot on.
pub(crate) trait Input {
    /// Reads a record's bytes into the slot.
    ///
    /// # Errors
    /// Which half of the record cannot be read, and why.
    fn load(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> std::result::Result<(), (&'static str, SerdeError)>;

    /// The event time of the record in the slot.
    fn timestamp(&self, place: &Place<'_>, partition_time_ms: i64) -> Result<i64>;

    /// Hands the slot to the operators.
    fn process(&mut self, timestamp: i64, headers: &Headers, context: &mut Context) -> Result<()>;
}

/// A record's surroundings.
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) headers: &'a Headers,
    pub(crate) system_time_ms: i64,
}

pub(crate) struct TypedInput<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) extractor: Arc<dyn TimestampExtractor<K, V>>,
    /// Kept between records, so that their allocations are used again.
    pub(crate) slot: Option<(K, V)>,
    /// Shared by the inputs of a source of several topics.
    pub(crate) children: Rc<RefCell<StreamChildren<K, V>>>,
}

impl<K: 'static, V: 'static> Input for TypedInput<K, V> {
    #[inline]
    fn load(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> std::result::Result<(), (&'static str, SerdeError)> {
        match &mut self.slot {
            Some((key_slot, value_slot)) => {
                self.key
                    .deserialize_nullable_into(key, key_slot)
                    .map_err(|error| ("key", error))?;
                self.value
                    .deserialize_nullable_into(value, value_slot)
                    .map_err(|error| ("value", error))
            }
            None => {
                let key = self
                    .key
                    .deserialize_nullable(key)
                    .map_err(|error| ("key", error))?;
                let value = self
                    .value
                    .deserialize_nullable(value)
                    .map_err(|error| ("value", error))?;
                self.slot = Some((key, value));
                Ok(())
            }
        }
    }

    #[inline]
    fn timestamp(&self, place: &Place<'_>, partition_time_ms: i64) -> Result<i64> {
        let (key, value) = self.slot.as_ref().expect("loaded before it is timed");
        let record = ExtractorRecord {
            key,
            value,
            timestamp: place.timestamp,
            headers: place.headers,
            topic: place.topic,
            partition: place.partition,
            offset: place.offset,
            system_time_ms: place.system_time_ms,
        };
        self.extractor.extract(&record, partition_time_ms)
    }

    #[inline]
    fn process(&mut self, timestamp: i64, headers: &Headers, context: &mut Context) -> Result<()> {
        let (key, value) = self.slot.as_ref().expect("loaded before it is processed");
        self.children
            .borrow_mut()
            .forward(Record::new(key, value, timestamp, headers), context)
    }
}

/// An input partition: records as they were fetched, the first of them read.
pub(crate) struct InputQueue<R> {
    /// The name of the source node.
    node: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) input: Box<dyn Input>,
    pub(crate) records: VecDeque<R>,
    /// The time of the record in the input's slot, the first of `records`; `None` when it is not read yet.
    pub(crate) head_timestamp: Option<i64>,
    headers: Headers,
    /// The highest time processed, -1 before the first record.
    pub(crate) partition_time_ms: i64,
    /// The offset behind the last record that was processed or skipped.
    pub(crate) next_offset: Option<i64>,
    /// Whether the log has nothing beyond what was added.
    pub(crate) caught_up: bool,
    /// Until when an empty queue is waited for.
    pub(crate) idle_until_ms: Option<i64>,
    /// Whether the task knows that it has records.
    pub(crate) queued: bool,
    /// How many of the first records stores have heard of.
    announced: usize,
}

impl<R: FetchedRecord> InputQueue<R> {
    pub(crate) fn new(
        node: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        input: Box<dyn Input>,
    ) -> Self {
        InputQueue {
            node,
            topic,
            partition,
            input,
            records: VecDeque::new(),
            head_timestamp: None,
            headers: Headers::new(),
            partition_time_ms: -1,
            next_offset: None,
            caught_up: false,
            idle_until_ms: None,
            queued: false,
            announced: 0,
        }
    }

    pub(crate) fn add(&mut self, record: R) {
        self.records.push_back(record);
        self.idle_until_ms = None;
    }

    /// Reads the next good record into the slot and returns its time, `None` when there is none. `skipped` says whether
    /// records were left out.
    #[inline]
    pub(crate) fn load_head(
        &mut self,
        context: &mut Context,
        skipped: &mut bool,
    ) -> Result<Option<i64>> {
        if self.head_timestamp.is_some() {
            return Ok(self.head_timestamp);
        }
        while let Some(record) = self.records.front() {
            record.read_headers(&mut self.headers);
            if let Err((part, error)) = self.input.load(record.key(), record.value()) {
                self.skip_unreadable(part, error, context)?;
                *skipped = true;
                continue;
            }
            let place = Place {
                topic: &self.topic,
                partition: self.partition,
                offset: record.offset(),
                timestamp: record.timestamp(),
                headers: &self.headers,
                system_time_ms: context.now_ms,
            };
            let timestamp = self.input.timestamp(&place, self.partition_time_ms)?;
            if timestamp >= 0 {
                self.head_timestamp = Some(timestamp);
                return Ok(self.head_timestamp);
            }
            tracing::warn!(
                topic = &*self.topic,
                partition = self.partition,
                offset = record.offset(),
                timestamp,
                "skipped a record with a negative extracted timestamp"
            );
            self.drop_head();
            context.dropped_records += 1;
            *skipped = true;
        }
        Ok(None)
    }

    /// Lets stores read ahead what they have of the keys of the next records.
    pub(crate) fn announce(&mut self, context: &mut Context) {
        let next = self.records.len().min(AT_ONCE);
        if next < self.announced + ANNOUNCED_MIN {
            return;
        }
        let mut keys = [&[][..]; AT_ONCE];
        let mut len = 0;
        let records = self.records.range(self.announced..next);
        for key in records.filter_map(FetchedRecord::key) {
            keys[len] = key;
            len += 1;
        }
        for state in &mut context.states {
            state.prefetch(&keys[..len], &context.io);
        }
        self.announced = next;
    }

    fn drop_head(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.next_offset = Some(record.offset() + 1);
        }
        self.announced = self.announced.saturating_sub(1);
        self.head_timestamp = None;
    }

    #[cold]
    fn skip_unreadable(
        &mut self,
        part: &str,
        error: SerdeError,
        context: &mut Context,
    ) -> Result<()> {
        let record = self.records.front().expect("called for the head");
        let error = Error::from(error).context(format_args!("the {part} cannot be read"));
        let place = (&*self.topic, self.partition);
        context.deserialization_failed(error, &self.node, place, (record, &self.headers))?;
        self.drop_head();
        Ok(())
    }

    /// Hands the head to the operators and drops it.
    #[inline]
    pub(crate) fn process_head(
        &mut self,
        index: u32,
        timestamp: i64,
        context: &mut Context,
    ) -> Result<()> {
        let record = self.records.front().expect("the head was loaded");
        let offset = record.offset();
        context.origin.input = Some(index);
        context.origin.offset = offset;
        context.origin.timestamp = timestamp;
        context.io.effects.origin = context.origin;
        if context.keep_source {
            context.keep_source(record.key(), record.value());
        }
        self.partition_time_ms = self.partition_time_ms.max(timestamp);
        if let Err(error) = self.input.process(timestamp, &self.headers, context) {
            return Err(error.context(format_args!(
                "{}-{} at offset {offset}",
                self.topic, self.partition
            )));
        }
        self.records.pop_front();
        self.announced = self.announced.saturating_sub(1);
        self.head_timestamp = None;
        self.next_offset = Some(offset + 1);
        Ok(())
    }
}
