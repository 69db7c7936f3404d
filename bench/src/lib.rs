//! The benchmark: the same topologies in this library and in Kafka Streams, on the same data and broker. `bench/README.md`
//! says how it is run and what is measured.

pub mod app;
pub mod application;
pub mod arguments;
pub mod budget;
pub mod compare;
pub mod curves;
pub mod data;
pub mod embedded;
pub mod figures;
pub mod gates;
pub mod idle;
pub mod kafka;
pub mod latency;
pub mod load;
pub mod machine;
pub mod measure;
pub mod plot;
pub mod profile;
pub mod special;
pub mod statistics;
pub mod suite;
pub mod table;
pub mod threads;
pub mod topology;
pub mod variant;
pub mod workload;
