//! Who decides about records that cannot be read, processed or written, and where such records go.
//!
//! The rules are those of Kafka Streams' exception handlers (KIP-161, KIP-210, KIP-1033, KIP-1036) and of its dead letter
//! queue (KIP-1034).

mod context;
mod dead_letter;
mod deserialization;
mod processing;
mod production;
mod response;

#[cfg(all(test, feature = "test-driver"))]
mod tests;

pub use context::{ErrorHandlerContext, FailedRecord};
pub use dead_letter::DeadLetter;
pub use deserialization::DeserializationExceptionHandler;
pub use processing::ProcessingExceptionHandler;
pub use production::{
    DefaultProductionExceptionHandler, ProductionExceptionHandler, SerializationErrorOrigin,
    UnsentRecord, UnwritableRecord,
};
pub use response::{HandlerResponse, HandlerResult, ProductionResponse, ProductionResult};

use crate::config::{ExceptionHandler, StreamsConfig};
use std::sync::Arc;

/// Stops the application, with an error in the log. The default for records that cannot be read or processed (Kafka Streams'
/// `LogAndFailExceptionHandler` and `LogAndFailProcessingExceptionHandler`).
///
/// With `errors.dead.letter.queue.topic.name` the source record is written to that topic first.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAndFail;

/// Leaves the record out, with a warning in the log (Kafka Streams' `LogAndContinueExceptionHandler` and
/// `LogAndContinueProcessingExceptionHandler`).
///
/// With `errors.dead.letter.queue.topic.name` the source record is written to that topic.
///
/// ```
/// use streams_core::serdes::Utf8;
/// use streams_core::{Consumed, LogAndContinue, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("numbers", Consumed::with(Utf8, Utf8))
///     .map_values(|number: &String| format!("{}", number.parse::<i64>().expect("a number") * 2))
///     .to("doubled", Produced::with(Utf8, Utf8));
/// let mut driver = TopologyTestDriver::builder(&builder.build()?)
///     .processing_exception_handler(LogAndContinue)
///     .build()?;
/// let numbers = driver.input("numbers", Utf8, Utf8);
/// let doubled = driver.output("doubled", Utf8, Utf8);
/// driver.pipe_key_values(&numbers, [("a", "1"), ("b", "two"), ("c", "3")])?;
/// assert_eq!(driver.read_values(&doubled)?, ["2", "6"]);
/// # Ok::<(), streams_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAndContinue;

/// Who is asked, and what they may need to know.
#[derive(Clone, Debug)]
pub(crate) struct ExceptionHandlers {
    pub(crate) deserialization: Arc<dyn DeserializationExceptionHandler>,
    /// `None` where nobody is asked, as for global stores.
    pub(crate) processing: Option<Arc<dyn ProcessingExceptionHandler>>,
    pub(crate) production: Arc<dyn ProductionExceptionHandler>,
    pub(crate) dead_letter_topic: Option<Arc<str>>,
    /// Where records go that come too late.
    pub(crate) late_topic: Option<Arc<str>>,
    /// `processing.exception.handler.global.enabled`.
    global_enabled: bool,
    /// False where nothing is produced, as for global stores: dead letters are lost then.
    pub(crate) produce: bool,
}

impl Default for ExceptionHandlers {
    fn default() -> Self {
        ExceptionHandlers {
            deserialization: Arc::new(LogAndFail),
            processing: Some(Arc::new(LogAndFail)),
            production: Arc::new(DefaultProductionExceptionHandler),
            dead_letter_topic: None,
            late_topic: None,
            global_enabled: false,
            produce: true,
        }
    }
}

impl ExceptionHandlers {
    /// Those that a configuration names.
    pub(crate) fn new(config: &StreamsConfig) -> Self {
        let mut handlers = ExceptionHandlers {
            dead_letter_topic: config.dead_letter_queue_topic().map(Into::into),
            late_topic: config.late_records_topic().map(Into::into),
            global_enabled: config.processing_exception_handler_global_enabled(),
            ..ExceptionHandlers::default()
        };
        if config.deserialization_exception_handler() == ExceptionHandler::LogAndContinue {
            handlers.deserialization = Arc::new(LogAndContinue);
        }
        if config.processing_exception_handler() == ExceptionHandler::LogAndContinue {
            handlers.processing = Some(Arc::new(LogAndContinue));
        }
        handlers
    }

    /// Those of what keeps global stores.
    pub(crate) fn of_global_stores(&self) -> Self {
        let processing = self.processing.clone().filter(|_| self.global_enabled);
        ExceptionHandlers {
            processing,
            produce: false,
            ..self.clone()
        }
    }

    /// Whether anybody may look at the bytes of a record that was read from a source. What is not looked at is not kept.
    pub(crate) fn keep_source(&self) -> bool {
        self.dead_letter_topic.is_some()
            || self.late_topic.is_some()
            || self.production.needs_source()
            || self
                .processing
                .as_ref()
                .is_some_and(|handler| handler.needs_source())
    }

    /// Whether anybody may look at the source record of one that was not written.
    pub(crate) fn wants_source_of_unsent(&self) -> bool {
        self.dead_letter_topic.is_some() || self.production.needs_source()
    }

    /// Whether processing may go on after a failure, so that what was changed halfway must be as it was before.
    pub(crate) fn may_resume(&self) -> bool {
        self.processing
            .as_ref()
            .is_some_and(|handler| handler.may_resume())
    }
}
