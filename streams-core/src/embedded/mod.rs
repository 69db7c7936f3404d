//! A Kafka broker inside the process: for a first run, demos, tests and benchmarks.
//!
//! It speaks Kafka's protocol on the loopback interface, so this library, `kcat`, the Java clients and Kafka's command
//! line tools connect to it as to any broker. It has one node and no security; it is no replacement for a Kafka cluster.
//! Unless it is given a directory, it keeps everything in memory and forgets it when it stops.
//!
//! ```
//! use std::net::TcpStream;
//! # use streams_core::embedded::EmbeddedBroker;
//!
//! let broker = EmbeddedBroker::builder().default_partitions(4).start()?;
//! let address = broker.bootstrap_servers(); // for `bootstrap.servers`, as "127.0.0.1:39021"
//! assert!(TcpStream::connect(&address).is_ok());
//! broker.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is built
//!
//! `core/` is a state machine without threads, clock or I/O: requests and the time go in, answers and changes to be kept
//! come out. `api/` translates the protocol's requests into what the core does. `storage/` keeps the changes in a directory.
//! `server.rs` is the face to the network and owns the threads. A simulation drives the core directly.

mod api;
mod broker;
mod clock;
mod connection;
pub(crate) mod core;
mod server;
pub(crate) mod storage;

pub use broker::{EmbeddedBroker, EmbeddedBrokerBuilder, EmbeddedError};
