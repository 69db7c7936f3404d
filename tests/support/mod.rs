//! What the tests need of the world around them: a real Kafka, a real Graphite, the project's own programs,
//! and a way to wait for something without guessing how long it takes.

pub mod cluster;
pub mod graphite;
pub mod kafka;
pub mod names;
pub mod ports;
pub mod process;
pub mod supervised;
pub mod wait;
