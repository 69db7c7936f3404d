//! Thin safe wrappers of what rust-rdkafka does not offer, or only at a price per record: batch consume, queues and their
//! forwarding, rebalance events as values, produce with topic handles and timestamps, transactions without its 100 ms
//! floor, and requests whose client tells why it gets no answer. Every type here keeps the client it belongs to alive, because
//! librdkafka's objects must not outlive theirs.
#![allow(unsafe_code)]

mod admin;
mod client;
mod consume;
mod heartbeats;
mod layout;
mod leaving_brokers;
mod list;
mod message;
mod produce;
mod queue;
mod requests;
mod signals;
mod stamps;

pub(super) use admin::OffsetSpec;
pub(super) use client::{Client, Refusal, Topic, TopicKey};
pub use consume::GroupMetadata;
pub(super) use consume::RebalanceProtocol;
pub(super) use list::ListedPartition;
pub(super) use message::Message;
pub(super) use produce::{Outgoing, OutgoingBatch, ProduceTopic};
pub(super) use queue::{Event, EventKind, MESSAGE_BATCH_COUNT_MAX, MessageBatch, Queue, Wake};
pub(super) use signals::DeliveryFailure;

use std::ffi::{CStr, c_char};
use std::time::Duration;

/// Copies a C string; null is the empty string.
fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings are NUL-terminated and live at least for the call that handed them out.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A time-out as librdkafka takes it: whole milliseconds, rounded up so that a short wait does not become none.
fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}
