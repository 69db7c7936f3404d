//! Topologies written as data, what this library makes of them, and what Kafka Streams does.
//!
//! The grammar of scenarios is in this package's `README.md`.

pub mod compare;
pub mod functions;
pub mod generate;
pub mod handlers;
pub mod interpreter;
pub mod java;
pub mod random;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod step;
pub mod text;
pub mod values;
