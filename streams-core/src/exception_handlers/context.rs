//! What handlers are told.

use super::DeadLetter;
use crate::error::Error;
use crate::record::{Headers, Record};
use crate::task::TaskId;
use std::any::Any;
use std::fmt;

/// Where something failed: the node, and the source record that led to it (Kafka Streams' `ErrorHandlerContext`).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ErrorHandlerContext<'a> {
    /// The topic of the source record; `None` in a punctuation.
    pub topic: Option<&'a str>,
    /// Its partition, -1 in a punctuation.
    pub partition: i32,
    /// Its offset, -1 in a punctuation.
    pub offset: i64,
    /// The headers of the record as the node got it; none in a punctuation.
    pub headers: &'a Headers,
    /// The node that failed, by the name that `describe()` shows.
    pub processor_node_id: &'a str,
    /// The task.
    pub task_id: TaskId,
    /// The timestamp of the record as the node got it, in milliseconds; in a punctuation the time it is called for.
    pub timestamp: i64,
    /// The bytes of the source record's key. `None` too where a record did not come from a source a moment ago: in a
    /// punctuation, and behind a `suppress` or a join with a grace period, which keep other bytes.
    pub source_raw_key: Option<&'a [u8]>,
    /// The bytes of the source record's value, as `source_raw_key`.
    pub source_raw_value: Option<&'a [u8]>,
    /// `errors.dead.letter.queue.topic.name`.
    pub dead_letter_topic: Option<&'a str>,
}

impl ErrorHandlerContext<'_> {
    /// The source record for the topic that `errors.dead.letter.queue.topic.name` names, with headers that say what was
    /// wrong; `None` without that setting. It is what the handlers that come with this crate write.
    ///
    /// ```
    /// use streams_core::{
    ///     DeserializationExceptionHandler, Error, ErrorHandlerContext, HandlerResponse,
    /// };
    ///
    /// /// Skips what cannot be read and writes it to the dead letter queue, but for tests.
    /// #[derive(Debug)]
    /// struct SkipTests;
    ///
    /// impl DeserializationExceptionHandler for SkipTests {
    ///     fn handle_error(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
    ///         match context.source_raw_key {
    ///             Some(key) if key.starts_with(b"test-") => HandlerResponse::resume(),
    ///             _ => HandlerResponse::resume().with_dead_letter(context.dead_letter(error)),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn dead_letter(&self, error: &Error) -> Option<DeadLetter> {
        let topic = self.dead_letter_topic?;
        Some(DeadLetter::of_error(topic, self, error))
    }
}

impl fmt::Debug for ErrorHandlerContext<'_> {
    /// Leaves keys, values and headers out, so that logs show nobody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorHandlerContext")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("processor_node_id", &self.processor_node_id)
            .field("task_id", &self.task_id)
            .finish_non_exhaustive()
    }
}

/// A record a node could not process, or a sink could not write.
#[derive(Clone, Copy)]
pub struct FailedRecord<'a> {
    key: &'a dyn Any,
    value: &'a dyn Any,
    /// Event time in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Its headers.
    pub headers: &'a Headers,
}

impl<'a> FailedRecord<'a> {
    pub(crate) fn of<K: 'static, V: 'static>(record: Record<'a, K, V>) -> Self {
        FailedRecord {
            key: record.key,
            value: record.value,
            timestamp: record.timestamp,
            headers: record.headers,
        }
    }

    /// The key, if that is its type.
    pub fn key<K: 'static>(&self) -> Option<&'a K> {
        self.key.downcast_ref()
    }

    /// The value, if that is its type. What a table's node gets is the row's new value, an `Option`.
    pub fn value<V: 'static>(&self) -> Option<&'a V> {
        self.value.downcast_ref()
    }
}

impl fmt::Debug for FailedRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedRecord")
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}
