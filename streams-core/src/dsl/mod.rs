//! What users write: typed handles that put nodes into the topology. A verb is its documentation and a few lines; what it
//! does to a record is in `operators/`.

mod aggregation;
mod branched;
mod builder;
mod cogrouped_stream;
mod cogrouped_windows;
mod drop_nulls;
mod foreign_key_joins;
mod global_table;
mod grouped_stream;
mod grouped_table;
mod grouping;
mod join_windows;
mod options;
mod partitioning;
mod printed;
mod repartition;
mod same_key;
mod session_windowed_stream;
pub(crate) mod session_windows;
mod sliding_windowed_stream;
pub(crate) mod sliding_windows;
mod store_sources;
mod stream;
mod stream_grouping;
mod stream_joined;
mod stream_joins;
mod stream_processors;
mod stream_stream_joins;
mod stream_topics;
pub(crate) mod suppressed;
mod table;
mod table_joined;
mod table_joins;
mod table_store;
mod table_suppress;
mod table_to_stream;
mod table_transform_values;
mod unlimited_windows;
mod windowed_by;
mod windowed_stream;
pub mod windows;

pub use branched::{BranchedKStream, Branches};
pub use builder::StreamsBuilder;
pub use cogrouped_stream::CogroupedKStream;
pub use cogrouped_windows::{
    CogroupWindows, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream,
};
pub use global_table::GlobalKTable;
pub use grouped_stream::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use grouping::{AlwaysThere, Grouping};
pub use join_windows::JoinWindows;
pub use options::{
    ByDefault, Consumed, Given, Grouped, Joined, Materialized, Named, Produced, Repartitioned,
    ValueSerde, Writes,
};
pub use options::{History, NoHistory, Unversioned};
pub use partitioning::{Partitioned, Partitioning, Rekeyed, RepartitionSerdes};
pub use printed::Printed;
pub use same_key::SameKey;
pub use session_windowed_stream::SessionWindowedKStream;
pub use session_windows::SessionWindows;
pub use sliding_windowed_stream::SlidingWindowedKStream;
pub use sliding_windows::SlidingWindows;
pub use stream::KStream;
pub use stream_joined::{StoredByDefault, StreamJoined, WindowBytesStoreSupplier};
pub use suppressed::{
    BufferConfig, Eager, HoldsBack, Strict, Suppressed, UntilTimeLimit, UntilWindowCloses,
};
pub use table::{Deletable, KTable, Permanent, RowState, Suppressible, Versioned};
pub use table_joined::{ForeignKey, JoinedByDefault, TableJoined};
pub use unlimited_windows::UnlimitedWindows;
pub use windowed_by::Windows;
pub use windowed_stream::TimeWindowedKStream;

use crate::error::Result;
use crate::operators::{StreamOperator, TableOperator};
use crate::topology::build::Graph;
use crate::topology::node::OperatorFactory;
use crate::topology::{NodeId, Scope};
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The topology being written, shared by all handles of one builder.
pub(crate) type GraphRef = Rc<RefCell<Graph>>;

/// The factory of a node that gets records.
pub(crate) fn stream_node<K: 'static, V: 'static>(
    make: impl Fn(&mut Scope<'_>, NodeId) -> Result<Box<dyn StreamOperator<K, V>>>
    + Send
    + Sync
    + 'static,
) -> OperatorFactory {
    Arc::new(move |scope, id| make(scope, id).map(|operator| Box::new(operator) as Box<dyn Any>))
}

/// The factory of a node that gets changes.
pub(crate) fn table_node<K: 'static, V: 'static>(
    make: impl Fn(&mut Scope<'_>, NodeId) -> Result<Box<dyn TableOperator<K, V>>>
    + Send
    + Sync
    + 'static,
) -> OperatorFactory {
    Arc::new(move |scope, id| make(scope, id).map(|operator| Box::new(operator) as Box<dyn Any>))
}
