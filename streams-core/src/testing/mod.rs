//! Topologies without a broker: the test driver, and one task by itself for benchmarks.

mod driver;
mod record_path;

pub use driver::{IntoPiped, TestInputTopic, TestOutputTopic, TestRecord, TopologyTestDriver};
pub use record_path::RecordPath;
