//! What an operator may reach while it works: the task's stores, its time, what it produces, its schedules.

use super::TaskId;
use super::effects::Effects;
use super::globals::{GlobalStores, GlobalViews};
use super::punctuation::Schedules;
use super::stores::{AnyState, Origin, StoreIo};
use crate::error::Result;
use crate::exception_handlers::ExceptionHandlers;
use crate::processor::{PunctuationType, Schedule};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many partitions a topic has: what a sink needs to know of the cluster.
pub(crate) trait TopicMetadata: Send + Sync {
    /// # Errors
    /// When the topic does not exist or the cluster cannot be asked.
    fn partition_count(&self, topic: &str) -> Result<i32>;
}

/// The task as its operators see it.
pub struct Context {
    pub(crate) id: TaskId,
    pub(crate) application_id: Arc<str>,
    pub(crate) io: StoreIo,
    pub(crate) states: Vec<Box<dyn AnyState>>,
    pub(crate) globals: Arc<GlobalStores>,
    /// What its processors have opened of them.
    pub(crate) global_views: GlobalViews,
    pub(crate) topics: Arc<dyn TopicMetadata>,
    /// Full names; a record's origin names its input by position.
    pub(crate) input_topics: Vec<Arc<str>>,
    /// The record being processed.
    pub(crate) origin: Origin,
    /// The highest timestamp the task has taken from its inputs, -1 before the first.
    pub(crate) stream_time_ms: i64,
    /// The wall clock of this round.
    pub(crate) now_ms: i64,
    /// The wall clock as processors see it: that of the last record or punctuation, which a flush does not move.
    pub(crate) system_time_ms: i64,
    pub(crate) commit_requested: bool,
    pub(crate) schedules: Schedules,
    /// What processors want to remember with the committed offsets.
    pub(crate) processor_metadata: BTreeMap<String, i64>,
    /// Records that were dropped by an operator's rule.
    pub(crate) dropped_records: u64,
    pub(crate) handlers: ExceptionHandlers,
    /// Whether a copy of each source record's bytes is kept for handlers.
    pub(crate) keep_source: bool,
    /// The source record that was last found to be late.
    pub(crate) last_late: Option<Origin>,
    /// What is to be produced if the task fails.
    pub(crate) last_letters: Effects,
    /// How long a stream-stream join waits between two searches for records that found no match.
    pub(crate) outer_join_emit_interval_ms: i64,
}

impl Context {
    /// The typed view of a store, with what it reads from and writes to.
    #[inline]
    pub(crate) fn state<S: AnyState>(&mut self, index: usize) -> (&mut S, &mut StoreIo) {
        let state = self.states[index]
            .as_any_mut()
            .downcast_mut()
            .expect("the builder connects nodes to stores of their types only");
        (state, &mut self.io)
    }

    /// Counts a record that goes no further.
    #[cold]
    pub(crate) fn drop_record(&mut self, reason: &'static str) {
        self.dropped_records += 1;
        let topic = self
            .origin
            .input
            .map_or("", |input| &*self.input_topics[input as usize]);
        tracing::debug!(
            task = %self.id,
            topic,
            offset = self.origin.offset,
            timestamp = self.origin.timestamp,
            "dropped a record: {reason}"
        );
    }

    pub(crate) fn schedule(
        &mut self,
        node: usize,
        interval: Duration,
        clock: PunctuationType,
    ) -> Schedule {
        self.schedules.add(node, interval, clock, self.now_ms)
    }

    pub(crate) fn cancel(&mut self, schedule: Schedule) {
        self.schedules.cancel(schedule);
    }
}
