//! The Processor API: user code with stores, timers and any output.
//!
//! A [`Processor`] is made anew for each task by the closure given to [`KStream::process`](crate::KStream::process), so it
//! may keep state of its own; what must survive belongs in a store.
//!
//! ```
//! use std::time::Duration;
//! use streams_core::processor::{Processor, ProcessorContext, PunctuationType, Schedule};
//! use streams_core::serdes::{I64, Utf8};
//! use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
//! use streams_core::{Consumed, Produced, Record, Result, StreamsBuilder, TopologyTestDriver};
//!
//! /// Counts the records of each key and forwards all counts every minute of event time.
//! struct CountEveryMinute {
//!     counts: StoreHandle<KeyValueStore<String, i64>>,
//! }
//!
//! impl Processor<String, String, String, i64> for CountEveryMinute {
//!     fn init(&mut self, context: &mut ProcessorContext<'_, String, i64>) -> Result<()> {
//!         context.schedule(Duration::from_secs(60), PunctuationType::StreamTime);
//!         Ok(())
//!     }
//!
//!     fn process(
//!         &mut self,
//!         record: Record<'_, String, String>,
//!         context: &mut ProcessorContext<'_, String, i64>,
//!     ) -> Result<()> {
//!         let mut counts = context.store(&self.counts)?;
//!         let count = counts.get(record.key)?.unwrap_or(0) + 1;
//!         counts.put(record.key, count)
//!     }
//!
//!     fn punctuate(
//!         &mut self,
//!         _schedule: Schedule,
//!         timestamp_ms: i64,
//!         context: &mut ProcessorContext<'_, String, i64>,
//!     ) -> Result<()> {
//!         let counts: Vec<(String, i64)> = context.store(&self.counts)?.all()?.collect::<Result<_>>()?;
//!         for (key, count) in counts {
//!             context.forward(&key, &count, timestamp_ms)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let builder = StreamsBuilder::new();
//! let counts = builder.add_state_store(Stores::key_value("counts", Utf8, I64));
//! builder
//!     .stream("words", Consumed::with(Utf8, Utf8))
//!     .process(
//!         {
//!             let counts = counts.clone();
//!             move || CountEveryMinute { counts: counts.clone() }
//!         },
//!         &[counts.name()],
//!     )
//!     .to("counts-per-minute", Produced::with(Utf8, I64));
//!
//! let mut driver = TopologyTestDriver::new(&builder.build()?)?;
//! let words = driver.input("words", Utf8, Utf8);
//! let output = driver.output("counts-per-minute", Utf8, I64);
//! driver.pipe_at(&words, "rust", "is here", 1_000)?;
//! driver.pipe_at(&words, "rust", "to stay", 61_000)?;
//! assert_eq!(
//!     driver.read_key_values(&output)?,
//!     [("rust".to_owned(), 1), ("rust".to_owned(), 2)]
//! );
//! # Ok::<(), streams_core::Error>(())
//! ```

mod fixed_key;
mod supplier;
mod value_transformer;

pub use fixed_key::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord};
pub use supplier::{
    ConnectedStore, FixedKeyProcessorSupplier, ProcessorSupplier, ValueTransformerWithKeySupplier,
};
pub use value_transformer::{ValueTransformerContext, ValueTransformerWithKey};

use crate::error::Result;
use crate::operators::StreamChildren;
use crate::record::{Headers, Record};
use crate::stores::{GlobalAccess, StoreHandle, StoreType};
use crate::task::context::Context;
use crate::task::stores::KeyValueState;
use std::time::Duration;

/// User code for a stream of `(K, V)` that forwards records of `(KOut, VOut)`.
///
/// See the [module's example](self). All calls come from one thread, never at the same time.
pub trait Processor<K, V, KOut, VOut>: 'static {
    /// Called once before the first record, again after the task moved here.
    ///
    /// # Errors
    /// Any error stops the application.
    fn init(&mut self, context: &mut ProcessorContext<'_, KOut, VOut>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Called for each record.
    ///
    /// # Errors
    /// About an error of kind [`ErrorKind::Data`](crate::ErrorKind::Data) the
    /// [`ProcessingExceptionHandler`](crate::ProcessingExceptionHandler) is asked; any other stops the application.
    fn process(
        &mut self,
        record: Record<'_, K, V>,
        context: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> Result<()>;

    /// Called when a schedule made by [`ProcessorContext::schedule`] is due, with the time it is now by that clock.
    ///
    /// # Errors
    /// As [`Processor::process`].
    fn punctuate(
        &mut self,
        schedule: Schedule,
        timestamp_ms: i64,
        context: &mut ProcessorContext<'_, KOut, VOut>,
    ) -> Result<()> {
        let _ = (schedule, timestamp_ms, context);
        Ok(())
    }

    /// Whether it can take a record now. While it says no, the task's inputs wait (and are paused once their buffers are
    /// full) and the member stays in the group.
    fn is_ready(&mut self) -> bool {
        true
    }

    /// The oldest offset of an input whose effect outside is not certain yet. The task commits no further than this, so
    /// that a restart repeats it. `None` when nothing is pending.
    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        let _ = (topic, partition);
        None
    }

    /// Called once when the task closes.
    fn close(&mut self) {}
}

/// The clock of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PunctuationType {
    /// The event time of the task's records: it moves only when they do.
    StreamTime,
    /// The clock on the wall.
    WallClock,
}

/// A schedule, as [`ProcessorContext::schedule`] gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule(pub(crate) u64);

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata<'a> {
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What a processor may do: forward, read time, use its stores, schedule.
pub struct ProcessorContext<'a, KOut, VOut> {
    pub(crate) children: &'a mut StreamChildren<KOut, VOut>,
    pub(crate) context: &'a mut Context,
    pub(crate) node: NodeReference<'a>,
    /// The time and headers of the record at hand.
    pub(crate) timestamp: i64,
    pub(crate) headers: &'a Headers,
}

/// What a node knows of itself.
#[derive(Clone, Copy)]
pub(crate) struct NodeReference<'a> {
    pub(crate) name: &'a str,
    /// Its number among the task's punctuated nodes.
    pub(crate) punctuated: usize,
    pub(crate) stores: &'a [(String, usize)],
}

impl<KOut: 'static, VOut: 'static> ProcessorContext<'_, KOut, VOut> {
    /// Forwards a record with the headers of the one at hand to every node behind this one.
    ///
    /// # Errors
    /// What the nodes behind this one return: hand it on. A record with a negative timestamp goes nowhere.
    pub fn forward(&mut self, key: &KOut, value: &VOut, timestamp: i64) -> Result<()> {
        self.forward_record(Record::new(key, value, timestamp, self.headers))
    }

    /// Forwards a whole record, headers included.
    ///
    /// # Errors
    /// As [`ProcessorContext::forward`].
    pub fn forward_record(&mut self, record: Record<'_, KOut, VOut>) -> Result<()> {
        self.check_timestamp(record.timestamp)?;
        self.children.forward(record, self.context)
    }

    /// As Java's `Record`, which is never made with a negative timestamp.
    #[inline]
    fn check_timestamp(&self, timestamp: i64) -> Result<()> {
        match timestamp {
            0.. => Ok(()),
            _ => Err(negative_timestamp(self.node.name, timestamp)),
        }
    }

    /// Forwards a record to the node of that name alone.
    ///
    /// # Errors
    /// As [`ProcessorContext::forward`], and when no such node follows.
    pub fn forward_to(&mut self, child: &str, record: Record<'_, KOut, VOut>) -> Result<()> {
        self.check_timestamp(record.timestamp)?;
        self.children.forward_to(child, record, self.context)
    }

    /// Opens a connected store.
    ///
    /// # Errors
    /// When the store is not connected to this processor: name it in the call of `process`.
    pub fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        let index = self
            .node
            .stores
            .iter()
            .find(|(name, _)| name == store.name())
            .map(|(_, index)| *index);
        match index {
            Some(index) => {
                let cause = self.context.cause(self.timestamp, self.headers);
                crate::stores::open(self.context, index, store, cause)
            }
            None => Err(crate::Error::topology(format!(
                "processor '{}' is not connected to store '{}': name the store in the call of `process`",
                self.node.name,
                store.name()
            ))),
        }
    }

    /// Opens the store of a global table for reading. Every processor may, without being connected to it.
    ///
    /// ```
    /// use streams_core::processor::{Processor, ProcessorContext};
    /// use streams_core::serdes::Utf8;
    /// use streams_core::stores::{StoreHandle, TimestampedKeyValueStore};
    /// use streams_core::{
    ///     Consumed, Materialized, Produced, Record, Result, StreamsBuilder, TopologyTestDriver,
    /// };
    ///
    /// /// Writes the names of countries out.
    /// struct Names(StoreHandle<TimestampedKeyValueStore<String, String>>);
    ///
    /// impl Processor<String, String, String, String> for Names {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<'_, String, String>,
    ///         context: &mut ProcessorContext<'_, String, String>,
    ///     ) -> Result<()> {
    ///         let name = context.global_store(&self.0)?.get(record.value)?;
    ///         let name = name.unwrap_or_else(|| record.value.clone());
    ///         context.forward(record.key, &name, record.timestamp)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.global_table::<String, String>(
    ///     "countries",
    ///     Consumed::with(Utf8, Utf8),
    ///     Materialized::named("names"),
    /// );
    /// builder
    ///     .stream("visits", Consumed::with(Utf8, Utf8))
    ///     .process(|| Names(StoreHandle::named("names")), &[])
    ///     .to("visited", Produced::with(Utf8, Utf8));
    /// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let countries = driver.input("countries", Utf8, Utf8);
    /// let visits = driver.input("visits", Utf8, Utf8);
    /// let visited = driver.output("visited", Utf8, Utf8);
    /// driver.pipe(&countries, "DE", "Germany")?;
    /// driver.pipe(&visits, "page", "DE")?;
    /// assert_eq!(driver.read_values(&visited)?, ["Germany"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no global store of that name, or it has other types.
    pub fn global_store<K: 'static, V: 'static, S>(
        &mut self,
        store: &StoreHandle<S>,
    ) -> Result<GlobalAccess<'_, K, V>>
    where
        S: StoreType<State = KeyValueState<K, V>>,
    {
        let Context {
            globals,
            global_views,
            ..
        } = &mut *self.context;
        global_views.open(globals, store)
    }

    /// The headers of the record at hand; empty in [`Processor::init`] and [`Processor::punctuate`].
    pub fn headers(&self) -> &Headers {
        self.headers
    }

    /// Where the record at hand came from; `None` in [`Processor::punctuate`].
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        let input = self.context.origin.input?;
        Some(RecordMetadata {
            topic: &self.context.input_topics[input as usize],
            partition: self.context.id.partition,
            offset: self.context.origin.offset,
        })
    }

    /// Calls [`Processor::punctuate`] at intervals, of at least one millisecond. On stream time it is called as soon as
    /// that time is known and then at multiples of the interval; on the wall clock first after one interval. Missed calls
    /// are made up for by one.
    pub fn schedule(&mut self, interval: Duration, clock: PunctuationType) -> Schedule {
        self.context.schedule(self.node.punctuated, interval, clock)
    }

    /// Ends a schedule.
    pub fn cancel(&mut self, schedule: Schedule) {
        self.context.cancel(schedule);
    }

    /// Asks for a commit as soon as possible.
    pub fn commit(&mut self) {
        self.context.commit_requested = true;
    }

    /// The highest timestamp the task has seen, -1 before the first record.
    pub fn current_stream_time_ms(&self) -> i64 {
        self.context.stream_time_ms
    }

    /// The wall clock, read once for each round of the thread's loop.
    pub fn current_system_time_ms(&self) -> i64 {
        self.context.system_time_ms
    }

    /// The task this processor works in.
    pub fn task_id(&self) -> crate::TaskId {
        self.context.id
    }

    /// The application's id.
    pub fn application_id(&self) -> &str {
        &self.context.application_id
    }
}

#[cold]
fn negative_timestamp(node: &str, timestamp: i64) -> crate::Error {
    crate::Error::data(format!(
        "processor '{node}' forwards a record with the negative timestamp {timestamp}: give it the timestamp of the record at hand"
    ))
}
