//! Topologies without a broker: the test driver, and one task by itself for benchmarks.

mod builder;
mod driver;
mod logs;
mod pipe;
mod read;
mod record_path;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state;
mod tasks;
mod topics;

#[cfg(test)]
mod tests;

pub use builder::TopologyTestDriverBuilder;
pub use driver::{LocalState, TopologyTestDriver};
pub use record_path::{Produced as ProducedCounts, RecordPath};
pub use topics::{IntoPiped, ProducedRecord, TestInputTopic, TestOutputTopic, TestRecord};
