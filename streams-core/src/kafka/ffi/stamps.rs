//! Timestamps of records that are queued in batches.
//!
//! `rd_kafka_produce_batch` costs half of what the call for a single record does, but gives all records the time of the call.
//! An interceptor, which librdkafka shows each record before anybody else sees it, puts the right one in its place. It is in
//! a field behind those of `rd_kafka_message_t`, for which librdkafka has a function to read but none to write. So the field
//! is written only after it was found, in a record with a known timestamp, to be the one which that function reads.

use super::layout::{is_known, timestamp_field};
use rdkafka::bindings as sys;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// What a record in a batch is to carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Milliseconds since the Unix epoch; 0 means the time at which it is sent.
    pub(super) timestamp: i64,
    /// What its failure is reported with.
    pub(super) tag: u64,
}

/// The stamps of the batch that is being queued, and whether they can be put on records at all.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Stamps {
    batch: AtomicPtr<Stamp>,
    state: AtomicU8,
}

const NOT_TRIED: u8 = 0;
const WORKS: u8 = 1;
const FAILS: u8 = 2;

pub(super) const NAME: &CStr = c"stamps";

impl Stamps {
    /// Whether batches can be stamped: known once a record was queued on its own.
    #[inline]
    pub(super) fn work(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WORKS
    }

    /// Stamps the records that `queue` queues by what their opaque pointers say: the number of their stamp.
    pub(super) fn during<T>(&self, stamps: &[Stamp], queue: impl FnOnce() -> T) -> T {
        self.batch
            .store(stamps.as_ptr().cast_mut(), Ordering::Relaxed);
        let queued = queue();
        self.batch.store(std::ptr::null_mut(), Ordering::Relaxed);
        queued
    }

    /// librdkafka's interceptor of new clients: asks for each record to be shown. Without it no record is ever found to have its
    /// timestamp, and none goes out in a batch.
    ///
    /// # Safety
    /// `opaque` points to the `Stamps` of the client, which outlive it.
    pub(super) unsafe extern "C" fn on_new(
        rk: *mut sys::rd_kafka_t,
        _conf: *const sys::rd_kafka_conf_t,
        opaque: *mut c_void,
        _text: *mut c_char,
        _text_size: usize,
    ) -> sys::rd_kafka_resp_err_t {
        // SAFETY: the client is live and is being made; the name is copied.
        unsafe {
            sys::rd_kafka_interceptor_add_on_send(rk, NAME.as_ptr(), Some(Self::on_send), opaque)
        }
    }

    /// librdkafka's interceptor of records; runs in the thread that queues them, inside that call.
    unsafe extern "C" fn on_send(
        _rk: *mut sys::rd_kafka_t,
        message: *mut sys::rd_kafka_message_t,
        opaque: *mut c_void,
    ) -> sys::rd_kafka_resp_err_t {
        // SAFETY: the pointer is that of the client's `Stamps`, which outlive it.
        let stamps = unsafe { &*opaque.cast::<Stamps>() };
        let batch = stamps.batch.load(Ordering::Relaxed);
        if batch.is_null() {
            if stamps.state.load(Ordering::Relaxed) == NOT_TRIED {
                // SAFETY: librdkafka passes a live record that it has just made, and nobody else has yet.
                let works = unsafe { has_timestamp_where_expected(message) };
                let state = if works { WORKS } else { FAILS };
                stamps.state.store(state, Ordering::Relaxed);
            }
        } else {
            // SAFETY: a record of the batch that `during` waits for, so its opaque pointer is the number of one of the stamps
            // there; the field is where it was found to be in an earlier record.
            unsafe {
                let stamp = *batch.add((*message)._private.addr());
                (*message)._private = std::ptr::without_provenance_mut(stamp.tag as usize);
                if stamp.timestamp != 0 {
                    timestamp_field(message).write(stamp.timestamp);
                }
            }
        }
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }
}

/// Looks whether what is written to the field is what librdkafka then reads as the timestamp; it is left as it was.
///
/// # Safety
/// The message is a record to produce that nobody else has.
unsafe fn has_timestamp_where_expected(message: *mut sys::rd_kafka_message_t) -> bool {
    if !is_known() {
        return false;
    }
    // SAFETY: of that version every record to produce goes on behind the public part; the message is live.
    unsafe {
        let read = || sys::rd_kafka_message_timestamp(message, std::ptr::null_mut());
        let field = timestamp_field(message);
        let before = read();
        if field.read() != before {
            return false;
        }
        field.write(before ^ 1);
        let works = read() == before ^ 1;
        field.write(before);
        works
    }
}
