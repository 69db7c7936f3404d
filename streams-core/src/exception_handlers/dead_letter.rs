//! Records for a dead letter queue.

use super::ErrorHandlerContext;
use crate::error::Error;
use crate::record::Headers;
use std::error::Error as _;
use std::fmt::Write;

/// A record for a topic of records that failed.
///
/// Those that [`ErrorHandlerContext::dead_letter`] makes are Kafka Streams' (`ExceptionHandlerUtils`): key and value are the
/// bytes of the source record, the timestamp and the headers those of the record as the failing node got it, with headers of
/// these names behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic, which must exist.
    pub topic: String,
    /// The partition; `None` leaves it to the key's hash.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch; `None` lets the producer assign the time of sending.
    pub timestamp: Option<i64>,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl DeadLetter {
    /// The header with the name of the error's type; `panic` for a panic, `late` for a record that came too late.
    pub const EXCEPTION: &'static str = "__streams.errors.exception";
    /// The header with the error's message.
    pub const MESSAGE: &'static str = "__streams.errors.message";
    /// The header with the error and everything that caused it, a line each.
    pub const STACKTRACE: &'static str = "__streams.errors.stacktrace";
    /// The header with the source record's topic, null in a punctuation.
    pub const TOPIC: &'static str = "__streams.errors.topic";
    /// The header with its partition, in decimal digits.
    pub const PARTITION: &'static str = "__streams.errors.partition";
    /// The header with its offset, in decimal digits.
    pub const OFFSET: &'static str = "__streams.errors.offset";

    /// An empty record for a topic.
    pub fn new(topic: impl Into<String>) -> Self {
        DeadLetter {
            topic: topic.into(),
            ..DeadLetter::default()
        }
    }

    /// The source record that led to an error.
    ///
    /// ```
    /// use streams_core::{DeadLetter, Error, ErrorHandlerContext, FailedRecord};
    /// use streams_core::{HandlerResponse, ProcessingExceptionHandler};
    ///
    /// /// Writes what fails in the node `payment` to a topic of its own.
    /// #[derive(Debug)]
    /// struct Payments;
    ///
    /// impl ProcessingExceptionHandler for Payments {
    ///     fn handle_error(
    ///         &self,
    ///         context: &ErrorHandlerContext<'_>,
    ///         _record: Option<&FailedRecord<'_>>,
    ///         error: &Error,
    ///     ) -> HandlerResponse {
    ///         match context.processor_node_id {
    ///             "payment" => HandlerResponse::resume()
    ///                 .with_dead_letter(DeadLetter::of_error("failed-payments", context, error)),
    ///             _ => HandlerResponse::fail(),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn of_error(
        topic: impl Into<String>,
        context: &ErrorHandlerContext<'_>,
        error: &Error,
    ) -> Self {
        let mut headers = context.headers.clone();
        let partition = context.partition.to_string();
        let offset = context.offset.to_string();
        headers
            .add(Self::EXCEPTION, Some(error.type_name().as_bytes()))
            .add(Self::MESSAGE, Some(error.message().as_bytes()))
            .add(Self::STACKTRACE, Some(stack_trace(error).as_bytes()))
            .add(Self::TOPIC, context.topic.map(str::as_bytes))
            .add(Self::PARTITION, Some(partition.as_bytes()))
            .add(Self::OFFSET, Some(offset.as_bytes()));
        DeadLetter {
            topic: topic.into(),
            partition: None,
            timestamp: (context.timestamp >= 0).then_some(context.timestamp),
            key: context.source_raw_key.map(<[u8]>::to_vec),
            value: context.source_raw_value.map(<[u8]>::to_vec),
            headers,
        }
    }
}

impl DeadLetter {
    /// The source record of one that came too late.
    pub(crate) fn of_late(topic: &str, context: &ErrorHandlerContext<'_>, why: &str) -> Self {
        let mut headers = context.headers.clone();
        let partition = context.partition.to_string();
        let offset = context.offset.to_string();
        headers
            .add(Self::EXCEPTION, Some(b"late"))
            .add(Self::MESSAGE, Some(why.as_bytes()))
            .add(Self::TOPIC, context.topic.map(str::as_bytes))
            .add(Self::PARTITION, Some(partition.as_bytes()))
            .add(Self::OFFSET, Some(offset.as_bytes()));
        DeadLetter {
            topic: topic.to_owned(),
            partition: None,
            timestamp: (context.timestamp >= 0).then_some(context.timestamp),
            key: context.source_raw_key.map(<[u8]>::to_vec),
            value: context.source_raw_value.map(<[u8]>::to_vec),
            headers,
        }
    }
}

/// The error and its causes, in the form of a Java stack trace without its frames.
fn stack_trace(error: &Error) -> String {
    let mut text = format!("{}: {}\n", error.type_name(), error.message());
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = writeln!(text, "Caused by: {cause}");
        source = cause.source();
    }
    text
}
