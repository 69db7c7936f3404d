//! Topologies written as data, what this library makes of them, and what Kafka Streams does.
//!
//! The grammar of scenarios is in this package's `README.md`.

pub mod compare;
pub mod functions;
pub mod interpreter;
pub mod run;
pub mod scenario;
pub mod step;
pub mod text;
pub mod values;
