//! User code that changes the values of a table's rows.

use super::{ProcessorContext, PunctuationType, RecordMetadata, Schedule};
use crate::error::Result;
use crate::record::Headers;
use crate::stores::{GlobalAccess, StoreHandle, StoreType};
use crate::task::stores::KeyValueState;
use std::time::Duration;

/// User code that changes the values of a table's rows; see [`KTable::transform_values`](crate::KTable::transform_values).
///
/// Kafka Streams' `ValueTransformerWithKey`, as its `KTable#transformValues` calls it.
pub trait ValueTransformerWithKey<K, V, VOut>: 'static {
    /// Called once before the first row.
    ///
    /// # Errors
    /// Any error stops the application.
    fn init(&mut self, context: &mut ValueTransformerContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Called for each change of a row with the value it has now, `None` for a deletion, and returns what the row's value
    /// shall be, `None` for none.
    ///
    /// Where the result has no store of its own, it is called for the value a row had before as well, if somebody behind wants
    /// to know that, and by a join for the row that it looks up. Those results must be the ones it gave before, or what
    /// lies behind goes wrong; give the result a store if it cannot promise that.
    ///
    /// # Errors
    /// Any error stops the application.
    fn transform(
        &mut self,
        key: &K,
        value: Option<&V>,
        context: &mut ValueTransformerContext<'_>,
    ) -> Result<Option<VOut>>;

    /// Called when a schedule made by [`ValueTransformerContext::schedule`] is due, with the time it is now by that clock.
    ///
    /// # Errors
    /// Any error stops the application.
    fn punctuate(
        &mut self,
        schedule: Schedule,
        timestamp_ms: i64,
        context: &mut ValueTransformerContext<'_>,
    ) -> Result<()> {
        let _ = (schedule, timestamp_ms, context);
        Ok(())
    }

    /// Called once when the task closes.
    fn close(&mut self) {}
}

/// A [`ProcessorContext`] that forwards nothing: what a transformer makes is what it returns.
pub struct ValueTransformerContext<'a> {
    pub(crate) inner: ProcessorContext<'a, (), ()>,
}

impl ValueTransformerContext<'_> {
    /// Opens a connected store.
    ///
    /// # Errors
    /// When the store is not connected to this transformer: name it in the call of `transform_values`.
    pub fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        self.inner.store(store)
    }

    /// As [`ProcessorContext::global_store`].
    ///
    /// # Errors
    /// As [`ProcessorContext::global_store`].
    pub fn global_store<K: 'static, V: 'static, S>(
        &mut self,
        store: &StoreHandle<S>,
    ) -> Result<GlobalAccess<'_, K, V>>
    where
        S: StoreType<State = KeyValueState<K, V>>,
    {
        self.inner.global_store(store)
    }

    /// The timestamp of the change at hand, or of the row a join looks up; -1 for a row that is not there.
    pub fn timestamp(&self) -> i64 {
        self.inner.timestamp
    }

    /// The headers of the change at hand; empty in [`ValueTransformerWithKey::init`] and
    /// [`ValueTransformerWithKey::punctuate`], and for a row that a join looks up.
    pub fn headers(&self) -> &Headers {
        self.inner.headers()
    }

    /// Where the change at hand came from; `None` in [`ValueTransformerWithKey::punctuate`], and for a row that a join looks
    /// up.
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        self.inner.record_metadata()
    }

    /// Calls [`ValueTransformerWithKey::punctuate`] at intervals: see [`ProcessorContext::schedule`].
    pub fn schedule(&mut self, interval: Duration, clock: PunctuationType) -> Schedule {
        self.inner.schedule(interval, clock)
    }

    /// Ends a schedule.
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

    /// The task this transformer works in.
    pub fn task_id(&self) -> crate::TaskId {
        self.inner.task_id()
    }

    /// The application's id.
    pub fn application_id(&self) -> &str {
        self.inner.application_id()
    }
}
