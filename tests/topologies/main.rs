//! Topologies answer as Kafka Streams answers.
//!
//! Each file in `goldens/` was written by Kafka Streams' own `TopologyTestDriver`: the version that wrote it, the
//! topology's description, and for each input the records it led to in every topic, internal ones included. The same
//! topology is built here, fed with the inputs the golden names, and must write the same text. Topics of one input are in
//! alphabetical order; the class of a topic extractor, which Java prints, is `closure` in both.

mod aggregations;
mod joins;
mod processors;
mod stateless;
mod table_joins;
mod tables;
mod transcript;
mod versioned;
mod windows;
