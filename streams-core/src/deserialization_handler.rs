//! What to do with a record whose bytes cannot be read.

use crate::record::Headers;
use std::fmt::Debug;

/// A record that cannot be read, and why.
#[derive(Debug)]
pub struct UnreadableRecord<'a> {
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's own timestamp in milliseconds.
    pub timestamp: i64,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a Headers,
    /// What the serde says, and whether it was the key or the value.
    pub reason: &'a str,
}

/// How to go on after an unreadable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeserializationResponse {
    /// Skip it; its offset is committed.
    Continue,
    /// Stop the application.
    Fail,
}

/// Decides about records that cannot be read (Kafka Streams' `DeserializationExceptionHandler`).
///
/// ```
/// use streams_core::{DeserializationHandler, DeserializationResponse, UnreadableRecord};
///
/// #[derive(Debug)]
/// struct SkipTests;
///
/// impl DeserializationHandler for SkipTests {
///     fn handle(&self, record: &UnreadableRecord<'_>) -> DeserializationResponse {
///         match record.key {
///             Some(key) if key.starts_with(b"test-") => DeserializationResponse::Continue,
///             _ => DeserializationResponse::Fail,
///         }
///     }
/// }
/// ```
pub trait DeserializationHandler: Debug + Send + Sync + 'static {
    /// Called once for each such record.
    fn handle(&self, record: &UnreadableRecord<'_>) -> DeserializationResponse;
}

/// Stops the application. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAndFail;

impl DeserializationHandler for LogAndFail {
    fn handle(&self, record: &UnreadableRecord<'_>) -> DeserializationResponse {
        tracing::error!(
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            reason = record.reason,
            "a record cannot be read"
        );
        DeserializationResponse::Fail
    }
}

/// Skips the record with a warning.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAndContinue;

impl DeserializationHandler for LogAndContinue {
    fn handle(&self, record: &UnreadableRecord<'_>) -> DeserializationResponse {
        tracing::warn!(
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            reason = record.reason,
            "a record cannot be read and is skipped"
        );
        DeserializationResponse::Continue
    }
}
