//! Who decides about records that user code fails on.

use super::{ErrorHandlerContext, FailedRecord, HandlerResponse, LogAndContinue, LogAndFail};
use crate::error::Error;
use std::fmt::Debug;

/// Decides about records that a node cannot process (Kafka Streams' `ProcessingExceptionHandler`, KIP-1033).
///
/// It is asked when code of yours panics (a mapper, an aggregator, a joiner), and when a
/// [`Processor`](crate::processor::Processor) returns an error of kind [`ErrorKind::Data`](crate::ErrorKind::Data): in
/// `process` and in `punctuate`. Errors of other kinds say that no record can be processed, and stop the application.
///
/// To resume leaves out what the failing node would have done with this record. Nodes beside it and before it have done, or go
/// on to do, their part; stores stay as they were before the failing call.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use streams_core::serdes::Utf8;
/// use streams_core::{
///     Consumed, Error, ErrorHandlerContext, FailedRecord, HandlerResponse,
///     ProcessingExceptionHandler, Produced, StreamsBuilder, TopologyTestDriver,
/// };
///
/// /// Goes on, and remembers which node failed on which value.
/// #[derive(Clone, Debug, Default)]
/// struct Remember(Arc<Mutex<Vec<(String, String)>>>);
///
/// impl ProcessingExceptionHandler for Remember {
///     fn handle_error(
///         &self,
///         context: &ErrorHandlerContext<'_>,
///         record: Option<&FailedRecord<'_>>,
///         _error: &Error,
///     ) -> HandlerResponse {
///         let value = record.and_then(|record| record.value::<String>());
///         let seen = (context.processor_node_id.to_owned(), value.cloned().unwrap_or_default());
///         self.0.lock().unwrap().push(seen);
///         HandlerResponse::resume()
///     }
/// }
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("words", Consumed::with(Utf8, Utf8))
///     .map_values(|word: &String| word.chars().next().expect("a letter").to_string())
///     .to("initials", Produced::with(Utf8, Utf8));
/// let remember = Remember::default();
/// let mut driver = TopologyTestDriver::builder(&builder.build()?)
///     .processing_exception_handler(remember.clone())
///     .build()?;
/// let words = driver.input("words", Utf8, Utf8);
/// let initials = driver.output("initials", Utf8, Utf8);
/// driver.pipe_key_values(&words, [("a", "ape"), ("b", ""), ("c", "cat")])?;
/// assert_eq!(driver.read_values(&initials)?, ["a", "c"]);
/// let seen = ("KSTREAM-MAPVALUES-0000000001".to_owned(), "".to_owned());
/// assert_eq!(*remember.0.lock().unwrap(), [seen]);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub trait ProcessingExceptionHandler: Debug + Send + Sync + 'static {
    /// Called once for each failure; without a record for one in a punctuation.
    ///
    /// A handler that panics stops the application.
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: Option<&FailedRecord<'_>>,
        error: &Error,
    ) -> HandlerResponse;

    /// Whether it looks at the bytes of source records. If not, and without a dead letter queue, they need not be kept while a
    /// record is processed, nor in the record cache.
    fn needs_source(&self) -> bool {
        true
    }

    /// Whether it ever answers to resume. If so, what an aggregator changed before it failed can be taken back, for which the
    /// record cache keeps the bytes of the aggregate during each call.
    fn may_resume(&self) -> bool {
        true
    }
}

impl ProcessingExceptionHandler for LogAndFail {
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        _record: Option<&FailedRecord<'_>>,
        error: &Error,
    ) -> HandlerResponse {
        tracing::error!(
            task = %context.task_id,
            node = context.processor_node_id,
            topic = context.topic,
            partition = context.partition,
            offset = context.offset,
            %error,
            "a record cannot be processed"
        );
        HandlerResponse::fail().with_dead_letter(context.dead_letter(error))
    }

    fn needs_source(&self) -> bool {
        false
    }

    fn may_resume(&self) -> bool {
        false
    }
}

impl ProcessingExceptionHandler for LogAndContinue {
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        _record: Option<&FailedRecord<'_>>,
        error: &Error,
    ) -> HandlerResponse {
        tracing::warn!(
            task = %context.task_id,
            node = context.processor_node_id,
            topic = context.topic,
            partition = context.partition,
            offset = context.offset,
            %error,
            "a record cannot be processed and goes no further"
        );
        HandlerResponse::resume().with_dead_letter(context.dead_letter(error))
    }

    fn needs_source(&self) -> bool {
        false
    }
}
