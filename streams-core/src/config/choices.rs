//! The choices that settings offer, as types.

/// What is promised about a record's effects: `processing.guarantee`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProcessingGuarantee {
    /// After a failure some records are processed again.
    #[default]
    AtLeastOnce,
    /// Results, state and offsets are committed in one transaction (KIP-447).
    ExactlyOnceV2,
}

/// What happens when a record cannot be read or processed: the `.exception.handler` settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExceptionHandler {
    /// The application stops.
    #[default]
    LogAndFail,
    /// The record is logged and skipped.
    LogAndContinue,
}

/// Where an input begins that has no committed offset: `auto.offset.reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AutoOffsetReset {
    /// At the first record there is.
    #[default]
    Earliest,
    /// Behind the last record there is.
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// Where the stores of tables, aggregations and joins are that were given no place: `default.dsl.store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DslStore {
    /// On disk.
    #[default]
    RocksDb,
    /// In memory, rebuilt from their changelogs at every start.
    InMemory,
}

/// How the members of the group agree: `group.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupProtocol {
    /// Through a leader among the members.
    #[default]
    Classic,
    /// Through the broker (KIP-848).
    Consumer,
}

/// How much is measured: `metrics.recording.level`; each level has what those before it have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricsRecordingLevel {
    /// Threads and clients.
    #[default]
    Info,
    /// Tasks, operators and stores too.
    Debug,
    /// Everything.
    Trace,
}

/// What may be optimized in a topology: `topology.optimization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopologyOptimization {
    /// A table's input topic serves as its changelog.
    pub reuse_ktable_source_topics: bool,
    /// Repartition topics of the same stream are one.
    pub merge_repartition_topics: bool,
    /// A stream joined with itself has one store.
    pub single_store_self_join: bool,
}
