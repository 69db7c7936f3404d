#![doc = include_str!("../../README.md")]
#![deny(missing_docs)]
// Only the C interface of the Kafka client may lift this, in one module.
#![deny(unsafe_code)]

pub mod config;
mod dsl;
mod error;
mod exception_handlers;
mod operators;
pub mod partitioner;
pub mod processor;
mod record;
pub mod serdes;
pub mod stores;
mod task;
mod timestamp_extractor;
mod topology;
pub mod windowed;

pub mod runtime;

#[cfg(feature = "kafka")]
pub mod kafka;

#[cfg(feature = "kafka")]
pub mod producer;

#[cfg(feature = "kafka")]
pub mod topic_reader;

#[cfg(feature = "embedded")]
pub mod embedded;

#[cfg(feature = "test-driver")]
mod testing;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use config::StreamsConfig;
pub use dsl::UnlimitedWindows;
pub use dsl::windows::{EmitStrategy, TimeWindows};
pub use dsl::{
    AlwaysThere, BranchedKStream, Branches, BufferConfig, ByDefault, Consumed, Deletable, Eager,
    Given, GlobalKTable, Grouped, Grouping, HoldsBack, Joined, KGroupedStream, KGroupedTable,
    KStream, KTable, Materialized, Named, Partitioned, Partitioning, Permanent, Printed, Produced,
    Rekeyed, RepartitionSerdes, Repartitioned, RowState, SameKey, SessionWindowedKStream,
    SessionWindows, SlidingWindowedKStream, SlidingWindows, StreamsBuilder, Strict, Suppressed,
    TimeWindowedKStream, UntilTimeLimit, UntilWindowCloses, ValueSerde, Windows, Writes,
};
pub use dsl::{
    CogroupWindows, CogroupedKStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream,
};
pub use dsl::{ForeignKey, JoinedByDefault, TableJoined};
pub use dsl::{History, NoHistory, Suppressible, Unversioned, Versioned};
pub use dsl::{JoinWindows, StoredByDefault, StreamJoined, WindowBytesStoreSupplier};
pub use error::{Error, ErrorKind, Result};
pub use exception_handlers::{
    DeadLetter, DefaultProductionExceptionHandler, DeserializationExceptionHandler,
    ErrorHandlerContext, FailedRecord, HandlerResponse, HandlerResult, LogAndContinue, LogAndFail,
    ProcessingExceptionHandler, ProductionExceptionHandler, ProductionResponse, ProductionResult,
    SerializationErrorOrigin, UnsentRecord, UnwritableRecord,
};
pub use record::{FetchedRecord, Header, Headers, OwnedRecord, Record, TopicPartition};
#[cfg(feature = "kafka")]
pub use runtime::{CloseOptions, GroupMembershipOperation, KafkaStreams, KafkaStreamsHandle};
pub use runtime::{
    RestoreListener, RestoreProgress, StandbyUpdateListener, State, StreamThreadExceptionResponse,
    SuspendReason, ThreadMetadata, ThreadState,
};
pub use streams_state::StoreBackend;
pub use task::TaskId;
#[cfg(feature = "simulation")]
pub use testing::simulation;
#[cfg(feature = "test-driver")]
pub use testing::{
    IntoPiped, LocalState, ProducedRecord, TestInputTopic, TestOutputTopic, TestRecord,
    TopologyTestDriver, TopologyTestDriverBuilder,
};
#[cfg(feature = "test-driver")]
#[doc(hidden)]
pub use testing::{ProducedCounts, RecordPath};
pub use timestamp_extractor::{
    ExtractorRecord, FailOnInvalidTimestamp, LogAndSkipOnInvalidTimestamp, TimestampExtractor,
    UsePartitionTimeOnInvalidTimestamp, WallclockTimestampExtractor,
};
pub use topology::{OffsetReset, Topology};

#[doc = include_str!("../docs/coming_from_kafka_streams.md")]
pub mod coming_from_kafka_streams {}
