//! The test driver: topologies without a broker.

mod driver;

pub use driver::{TestInputTopic, TestOutputTopic, TestRecord, TopologyTestDriver};
