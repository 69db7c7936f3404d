//! Who decides about records whose bytes cannot be read.

use super::{ErrorHandlerContext, HandlerResponse, LogAndContinue, LogAndFail};
use crate::error::Error;
use std::fmt::Debug;

/// Decides about records that cannot be read (Kafka Streams' `DeserializationExceptionHandler`).
///
/// The context has all of the record: its place, its bytes, its headers and its own timestamp.
///
/// ```
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{
///     Consumed, DeserializationExceptionHandler, Error, ErrorHandlerContext, HandlerResponse,
///     Produced, StreamsBuilder, TopologyTestDriver,
/// };
///
/// #[derive(Debug)]
/// struct SkipTests;
///
/// impl DeserializationExceptionHandler for SkipTests {
///     fn handle_error(&self, context: &ErrorHandlerContext<'_>, _error: &Error) -> HandlerResponse {
///         match context.source_raw_key {
///             Some(key) if key.starts_with(b"test-") => HandlerResponse::resume(),
///             _ => HandlerResponse::fail(),
///         }
///     }
/// }
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("numbers", Consumed::with(Utf8, I64))
///     .to("copies", Produced::with(Utf8, I64));
/// let mut driver = TopologyTestDriver::builder(&builder.build()?)
///     .deserialization_exception_handler(SkipTests)
///     .build()?;
/// let texts = driver.input("numbers", Utf8, Utf8);
/// driver.pipe(&texts, "test-1", "no number")?;
/// let error = driver.pipe(&texts, "a", "no number").unwrap_err();
/// assert!(error.to_string().contains("numbers-0 at offset 1"), "{error}");
/// # Ok::<(), streams_core::Error>(())
/// ```
pub trait DeserializationExceptionHandler: Debug + Send + Sync + 'static {
    /// Called once for each such record.
    fn handle_error(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse;
}

impl DeserializationExceptionHandler for LogAndFail {
    fn handle_error(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        tracing::error!(
            task = %context.task_id,
            topic = context.topic,
            partition = context.partition,
            offset = context.offset,
            %error,
            "a record cannot be read"
        );
        HandlerResponse::fail().with_dead_letter(context.dead_letter(error))
    }
}

impl DeserializationExceptionHandler for LogAndContinue {
    fn handle_error(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        tracing::warn!(
            task = %context.task_id,
            topic = context.topic,
            partition = context.partition,
            offset = context.offset,
            %error,
            "a record cannot be read and is skipped"
        );
        HandlerResponse::resume().with_dead_letter(context.dead_letter(error))
    }
}
