//! Processors that change values and cannot change keys.

use super::{ProcessorContext, PunctuationType, RecordMetadata, Schedule};
use crate::error::Result;
use crate::record::{Headers, Record};
use crate::stores::{GlobalAccess, StoreHandle, StoreType};
use crate::task::stores::KeyValueState;
use std::time::Duration;

/// User code that changes values and cannot change keys, so no repartitioning follows; see
/// [`KStream::process_values`](crate::KStream::process_values).
pub trait FixedKeyProcessor<K, V, VOut>: 'static {
    /// Called once before the first record.
    ///
    /// # Errors
    /// Any error stops the application.
    fn init(&mut self, context: &mut ProcessorContext<'_, K, VOut>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Called for each record.
    ///
    /// # Errors
    /// As [`Processor::process`](super::Processor::process).
    fn process(
        &mut self,
        record: FixedKeyRecord<'_, K, V>,
        context: &mut FixedKeyContext<'_, '_, K, VOut>,
    ) -> Result<()>;

    /// Called when a schedule is due.
    ///
    /// # Errors
    /// As [`Processor::process`](super::Processor::process).
    fn punctuate(
        &mut self,
        schedule: Schedule,
        timestamp_ms: i64,
        context: &mut FixedKeyContext<'_, '_, K, VOut>,
    ) -> Result<()> {
        let _ = (schedule, timestamp_ms, context);
        Ok(())
    }

    /// As [`Processor::is_ready`](super::Processor::is_ready).
    fn is_ready(&mut self) -> bool {
        true
    }

    /// As [`Processor::pending_offset`](super::Processor::pending_offset).
    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let _ = (topic, partition);
        None
    }

    /// Called once when the task closes.
    fn close(&mut self) {}
}

/// A record whose key cannot be changed.
#[derive(Debug)]
pub struct FixedKeyRecord<'a, K, V>(Record<'a, K, V>);

impl<K, V> Clone for FixedKeyRecord<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for FixedKeyRecord<'_, K, V> {}

impl<'a, K, V> FixedKeyRecord<'a, K, V> {
    pub(crate) fn new(record: Record<'a, K, V>) -> Self {
        FixedKeyRecord(record)
    }

    /// The key.
    pub fn key(&self) -> &'a K {
        self.0.key
    }

    /// The value.
    pub fn value(&self) -> &'a V {
        self.0.value
    }

    /// Event time in milliseconds since the Unix epoch.
    pub fn timestamp(&self) -> i64 {
        self.0.timestamp
    }

    /// The headers.
    pub fn headers(&self) -> &'a Headers {
        self.0.headers
    }

    /// The same record with another value.
    pub fn with_value<'b, V2>(self, value: &'b V2) -> FixedKeyRecord<'b, K, V2>
    where
        'a: 'b,
    {
        FixedKeyRecord(self.0.with_value(value))
    }

    /// The same record with another timestamp.
    pub fn with_timestamp(self, timestamp: i64) -> Self {
        FixedKeyRecord(self.0.with_timestamp(timestamp))
    }

    /// The same record with other headers.
    pub fn with_headers<'b>(self, headers: &'b Headers) -> FixedKeyRecord<'b, K, V>
    where
        'a: 'b,
    {
        FixedKeyRecord(self.0.with_headers(headers))
    }
}

/// A [`ProcessorContext`] that forwards only records of the key at hand.
pub struct FixedKeyContext<'a, 'b, K, VOut> {
    pub(crate) inner: &'a mut ProcessorContext<'b, K, VOut>,
}

impl<K: 'static, VOut: 'static> FixedKeyContext<'_, '_, K, VOut> {
    /// Forwards a record.
    ///
    /// # Errors
    /// What the nodes behind this one return: hand it on.
    pub fn forward(&mut self, record: FixedKeyRecord<'_, K, VOut>) -> Result<()> {
        self.inner.forward_record(record.0)
    }

    /// Forwards a record to the node of that name alone.
    ///
    /// # Errors
    /// As [`ProcessorContext::forward_to`].
    pub fn forward_to(&mut self, child: &str, record: FixedKeyRecord<'_, K, VOut>) -> Result<()> {
        self.inner.forward_to(child, record.0)
    }

    /// Opens a connected store.
    ///
    /// # Errors
    /// As [`ProcessorContext::store`].
    pub fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        self.inner.store(store)
    }

    /// As [`ProcessorContext::global_store`].
    ///
    /// # Errors
    /// As [`ProcessorContext::global_store`].
    pub fn global_store<K2: 'static, V2: 'static, S>(
        &mut self,
        store: &StoreHandle<S>,
    ) -> Result<GlobalAccess<'_, K2, V2>>
    where
        S: StoreType<State = KeyValueState<K2, V2>>,
    {
        self.inner.global_store(store)
    }

    /// The headers of the record at hand; empty in [`FixedKeyProcessor::punctuate`].
    pub fn headers(&self) -> &Headers {
        self.inner.headers()
    }

    /// Where the record at hand came from; `None` in [`FixedKeyProcessor::punctuate`].
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        self.inner.record_metadata()
    }

    /// As [`ProcessorContext::schedule`].
    pub fn schedule(&mut self, interval: Duration, clock: PunctuationType) -> Schedule {
        self.inner.schedule(interval, clock)
    }

    /// As [`ProcessorContext::cancel`].
    pub fn cancel(&mut self, schedule: Schedule) {
        self.inner.cancel(schedule);
    }

    /// Asks for a commit as soon as possible.
    pub fn commit(&mut self) {
        self.inner.commit();
    }

    /// The highest timestamp the task has seen, -1 before the first record.
    pub fn current_stream_time_ms(&self) -> i64 {
        self.inner.current_stream_time_ms()
    }

    /// The wall clock, read once for each round of the thread's loop.
    pub fn current_system_time_ms(&self) -> i64 {
        self.inner.current_system_time_ms()
    }

    /// The task this processor works in.
    pub fn task_id(&self) -> crate::TaskId {
        self.inner.task_id()
    }

    /// The application's id.
    pub fn application_id(&self) -> &str {
        self.inner.application_id()
    }
}
