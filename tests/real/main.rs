//! Tests on a real Apache Kafka and a real Graphite, which they start and stop themselves (`./dev test` gets both).

mod exactly_once;
mod graphite;
mod hand_over;
mod kafka;
mod lifecycle;
mod processes;
mod standby;
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "several test binaries share it, and each uses a part"
)]
mod support;
mod warm_up;
