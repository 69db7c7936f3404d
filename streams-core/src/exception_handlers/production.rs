//! Who decides about records that cannot be written.

use super::{ErrorHandlerContext, FailedRecord, ProductionResponse};
use crate::error::Error;
use std::fmt::Debug;

/// Which half of a record cannot be serialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerializationErrorOrigin {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// A record that cannot be serialized, and where it was to go.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnwritableRecord<'a> {
    /// The topic it was to be written to.
    pub topic: &'a str,
    /// The partition, `None` when the key's hash was to choose it.
    pub partition: Option<i32>,
    /// What cannot be serialized.
    pub origin: SerializationErrorOrigin,
    /// The record.
    pub record: FailedRecord<'a>,
}

/// Decides about records that cannot be written because they cannot be serialized (Kafka Streams'
/// `ProductionExceptionHandler`, KIP-399).
///
/// What a broker does not take is tried again as long as that may help, and then stops the application.
///
/// ```
/// use streams_core::serdes::{Json, Utf8};
/// use streams_core::{
///     Consumed, Error, ErrorHandlerContext, Produced, ProductionExceptionHandler,
///     ProductionResponse, StreamsBuilder, TopologyTestDriver, UnwritableRecord,
/// };
/// use std::collections::BTreeMap;
///
/// /// Leaves out what cannot be serialized.
/// #[derive(Debug)]
/// struct LeaveOut;
///
/// impl ProductionExceptionHandler for LeaveOut {
///     fn handle_serialization_error(
///         &self,
///         _context: &ErrorHandlerContext<'_>,
///         _record: &UnwritableRecord<'_>,
///         _error: &Error,
///     ) -> ProductionResponse {
///         ProductionResponse::resume()
///     }
/// }
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("words", Consumed::with(Utf8, Utf8))
///     // The keys of a JSON object are texts.
///     .map_values(|word| BTreeMap::from([((word.len(), 1), 1)]))
///     .to("out", Produced::with(Utf8, Json));
/// let mut driver = TopologyTestDriver::builder(&builder.build()?)
///     .production_exception_handler(LeaveOut)
///     .build()?;
/// let words = driver.input("words", Utf8, Utf8);
/// let out = driver.output("out", Utf8, Utf8);
/// driver.pipe(&words, "a", "ape")?;
/// assert!(driver.is_empty(&out));
/// # Ok::<(), streams_core::Error>(())
/// ```
pub trait ProductionExceptionHandler: Debug + Send + Sync + 'static {
    /// Called for a record whose key or value cannot be serialized, once for each partition it would have gone to.
    ///
    /// To fail is an error of the node that forwarded the record, about which the
    /// [`ProcessingExceptionHandler`](super::ProcessingExceptionHandler) is asked next, as in Kafka Streams.
    ///
    /// Unless it is overridden it does what [`DefaultProductionExceptionHandler`] does.
    fn handle_serialization_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &UnwritableRecord<'_>,
        error: &Error,
    ) -> ProductionResponse {
        let _ = record;
        ProductionResponse::fail().with_dead_letter(context.dead_letter(error))
    }

    /// As [`ProcessingExceptionHandler::needs_source`](super::ProcessingExceptionHandler::needs_source).
    fn needs_source(&self) -> bool {
        true
    }
}

/// Stops the application (Kafka Streams' class of the same name).
///
/// With `errors.dead.letter.queue.topic.name` the source record is written to that topic first.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultProductionExceptionHandler;

impl ProductionExceptionHandler for DefaultProductionExceptionHandler {
    fn needs_source(&self) -> bool {
        false
    }
}
