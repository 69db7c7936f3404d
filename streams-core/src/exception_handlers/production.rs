//! Who decides about records that cannot be written.

use super::{ErrorHandlerContext, FailedRecord, ProductionResponse};
use crate::error::Error;
use crate::record::Headers;
use std::fmt::{self, Debug};

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

/// A record that is serialized and was not written.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct UnsentRecord<'a> {
    /// The topic it was to be written to.
    pub topic: &'a str,
    /// The partition, `None` for a record without a key that was not sent yet.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch, `None` where the time of sending was to be its own.
    pub timestamp: Option<i64>,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a Headers,
}

impl fmt::Debug for UnsentRecord<'_> {
    /// Leaves key, value and headers out, so that logs show nobody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsentRecord")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// Decides about records that cannot be written: that cannot be serialized (KIP-399), that the client or a broker refuses, or
/// that are not written within `delivery.timeout.ms` (Kafka Streams' `ProductionExceptionHandler`, KIP-210, KIP-1065).
///
/// Nobody is asked where no record can be written: when the application may not write to a topic, or another producer has taken
/// its place.
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

    /// Called for a record that was not written. An error of kind [`ErrorKind::Retriable`](crate::ErrorKind::Retriable) may pass:
    /// the brokers did not answer in time, or the topic is not there. [`ErrorKind::Data`](crate::ErrorKind::Data) will not: the
    /// record is too large, or the topic's rules are against it.
    ///
    /// * To resume leaves the record out; its source record counts as processed. With exactly-once, a record that a broker
    ///   refuses spoils the transaction, which is therefore done again, without the record.
    /// * To retry takes the task back to its last commit, and with exactly-once all tasks of the thread. A task that does nothing
    ///   else for `task.timeout.ms` stops the application. Retrying what will not pass is to fail.
    /// * To fail stops the application; nothing is committed since the last commit.
    ///
    /// The context's source record is read from its topic again, so it may be `None` where that no longer has it. What is written
    /// at a commit out of the record cache names the source record that changed it last. The node is the one that writes to the
    /// topic. Dead letters are written as after any failure.
    ///
    /// Unless it is overridden it does what [`DefaultProductionExceptionHandler`] does: it retries what may pass, and fails after
    /// anything else, with a dead letter.
    ///
    /// ```
    /// use streams_core::{
    ///     Error, ErrorHandlerContext, ErrorKind, ProductionExceptionHandler, ProductionResponse,
    ///     UnsentRecord,
    /// };
    ///
    /// /// Does without records that are too large; the dead letter queue has what they were made of.
    /// #[derive(Debug)]
    /// struct DoWithout;
    ///
    /// impl ProductionExceptionHandler for DoWithout {
    ///     fn handle_error(
    ///         &self,
    ///         context: &ErrorHandlerContext<'_>,
    ///         record: &UnsentRecord<'_>,
    ///         error: &Error,
    ///     ) -> ProductionResponse {
    ///         match error.kind() {
    ///             ErrorKind::Retriable => ProductionResponse::retry(),
    ///             _ if record.topic == "reports" => {
    ///                 ProductionResponse::resume().with_dead_letter(context.dead_letter(error))
    ///             }
    ///             _ => ProductionResponse::fail(),
    ///         }
    ///     }
    /// }
    /// ```
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &UnsentRecord<'_>,
        error: &Error,
    ) -> ProductionResponse {
        let _ = record;
        if error.is_retriable() {
            return ProductionResponse::retry();
        }
        ProductionResponse::fail().with_dead_letter(context.dead_letter(error))
    }

    /// As [`ProcessingExceptionHandler::needs_source`](super::ProcessingExceptionHandler::needs_source).
    fn needs_source(&self) -> bool {
        true
    }
}

/// Tries again what may pass, and stops the application after anything else (Kafka Streams' class of the same name).
///
/// With `errors.dead.letter.queue.topic.name` the source record is written to that topic first.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultProductionExceptionHandler;

impl ProductionExceptionHandler for DefaultProductionExceptionHandler {
    fn needs_source(&self) -> bool {
        false
    }
}
