//! Where librdkafka's `rd_kafka_msg_t` has two fields that it offers no function for, or only a slow one.
//!
//! `rdkafka-sys` is pinned and linked statically, so the layout is that of one version; nothing is read or written by it when
//! the library says that it is another.

use rdkafka::bindings as sys;
use std::ffi::c_void;
use std::sync::OnceLock;

/// The version of librdkafka whose messages are known here: 2.12.1.
const VERSION: i32 = 0x020c_01ff;
/// Behind the public part are two pointers of a list, flags, and the kind of timestamp.
const TIMESTAMP_AT: usize = size_of::<sys::rd_kafka_message_t>()
    + 2 * size_of::<*mut c_void>()
    + size_of::<i32>()
    + size_of::<sys::rd_kafka_timestamp_type_t>();
/// Headers that were parsed.
const HEADERS_AT: usize = TIMESTAMP_AT + size_of::<i64>();
/// How long headers are that were fetched, behind a status and a broker's number.
const HEADER_BYTES_AT: usize = HEADERS_AT + size_of::<*mut c_void>() + 2 * size_of::<i32>();

/// Whether librdkafka is the version that is known here.
#[inline]
pub(super) fn is_known() -> bool {
    static IS_KNOWN: OnceLock<bool> = OnceLock::new();
    // SAFETY: takes no arguments.
    *IS_KNOWN.get_or_init(|| unsafe { sys::rd_kafka_version() } == VERSION)
}

/// The timestamp of a message.
///
/// # Safety
/// The layout [is known](is_known), and the message is librdkafka's own.
#[inline]
pub(super) unsafe fn timestamp_field(message: *mut sys::rd_kafka_message_t) -> *mut i64 {
    // SAFETY: by the caller's promise the allocation goes on behind the public part.
    unsafe { message.byte_add(TIMESTAMP_AT).cast() }
}

/// Whether a fetched message certainly has no headers. Asking for them makes librdkafka allocate a buffer to read that there
/// are none.
///
/// # Safety
/// The message is a live one that librdkafka fetched.
#[inline]
pub(super) unsafe fn has_no_headers(message: *const sys::rd_kafka_message_t) -> bool {
    if !is_known() {
        return false;
    }
    // SAFETY: of the version that is known every message goes on behind the public part.
    unsafe {
        let parsed: *const c_void = message.byte_add(HEADERS_AT).cast::<*const c_void>().read();
        let bytes: i32 = message.byte_add(HEADER_BYTES_AT).cast::<i32>().read();
        // A single byte is the number of headers, and has room for none.
        parsed.is_null() && bytes <= 1
    }
}
