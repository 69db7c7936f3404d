//! The weather programs as their users run them: processes of their own, on a real Apache Kafka and a real Graphite.

mod averages;
mod bad_input;
mod daily_means;
mod dashboard;
mod demo;
mod fold;
mod graphite_outage;
mod operation;
mod points;
mod restore;
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "several test binaries share it, and each uses a part"
)]
mod support;
mod world;
