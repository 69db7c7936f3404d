//! Every backend of the crate, from outside: the conformance suite, random operations against a model, and crashes.

mod conformance;
mod custom;
#[cfg(feature = "rocksdb")]
mod durability;
#[cfg(feature = "rocksdb")]
mod joins;
mod model;
mod single;
mod versioned;

#[cfg(feature = "rocksdb")]
mod crash;
