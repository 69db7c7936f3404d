//! The benchmark: the same topologies in this library and in Kafka Streams, on the same data and broker. `bench/README.md`
//! says how it is run and what is measured.

pub mod app;
pub mod arguments;
pub mod data;
pub mod embedded;
pub mod figures;
pub mod load;
pub mod measure;
pub mod topology;
pub mod workload;
