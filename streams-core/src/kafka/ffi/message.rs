//! A fetched message, read in place.

use super::client::{Client, TopicKey};
use super::layout::has_no_headers;
use super::string;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

/// A message that librdkafka fetched: key and value point into the fetched buffer, which lives until the last message of
/// it is dropped.
pub(in crate::kafka) struct Message {
    message: NonNull<sys::rd_kafka_message_t>,
    /// Messages refer to their client's topics, so it must outlive them.
    _client: Arc<Client>,
}

// SAFETY: a message is owned by whoever holds it; librdkafka's counters behind it are atomic, and it may be destroyed on
// any thread. It is not `Sync`: headers are parsed on first use.
unsafe impl Send for Message {}

impl Message {
    /// Takes over a message.
    ///
    /// # Safety
    /// `message` is a live message of `client` that nobody else will destroy.
    pub(super) unsafe fn from_raw(
        message: NonNull<sys::rd_kafka_message_t>,
        client: &Arc<Client>,
    ) -> Message {
        Message {
            message,
            _client: client.clone(),
        }
    }

    #[inline]
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the message is live until drop and its public fields do not change.
        unsafe { self.message.as_ref() }
    }

    /// Whether this is an error in the guise of a message.
    #[inline]
    pub(in crate::kafka) fn is_error(&self) -> bool {
        self.raw().err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// The error, when [`Message::is_error`].
    pub(in crate::kafka) fn error_code(&self) -> RDKafkaErrorCode {
        self.raw().err.into()
    }

    /// The error's words.
    pub(in crate::kafka) fn error_text(&self) -> String {
        // SAFETY: the message is live; the text lives as long as it.
        string(unsafe { sys::rd_kafka_message_errstr(self.raw()) })
    }

    /// The topic it came from.
    #[inline]
    pub(in crate::kafka) fn topic_key(&self) -> TopicKey {
        TopicKey(self.raw().rkt as usize)
    }

    /// The topic's name, empty for an error that belongs to none.
    pub(in crate::kafka) fn topic_name(&self) -> String {
        if self.raw().rkt.is_null() {
            return String::new();
        }
        // SAFETY: the message holds a reference to its topic, whose name lives as long.
        string(unsafe { sys::rd_kafka_topic_name(self.raw().rkt) })
    }

    /// Its partition.
    #[inline]
    pub(in crate::kafka) fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// Its offset.
    #[inline]
    pub(in crate::kafka) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Milliseconds since the Unix epoch, -1 when the log has none.
    #[inline]
    pub(in crate::kafka) fn timestamp(&self) -> i64 {
        // SAFETY: the message is live; a null second argument means the kind of timestamp is not wanted.
        unsafe { sys::rd_kafka_message_timestamp(self.raw(), std::ptr::null_mut()) }
    }

    /// The key's bytes, `None` for null.
    #[inline]
    pub(in crate::kafka) fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka keeps `key_len` bytes there as long as the message lives.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    /// The value's bytes, `None` for null.
    #[inline]
    pub(in crate::kafka) fn value(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka keeps `len` bytes there as long as the message lives.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// Shows every header to `each`, in order.
    #[inline]
    pub(in crate::kafka) fn headers(&self, mut each: impl FnMut(&str, Option<&[u8]>)) {
        // SAFETY: the message is live, was fetched, and is not shared between threads.
        unsafe {
            if !has_no_headers(self.message.as_ptr()) {
                each_header(self.raw(), &mut each);
            }
        }
    }
}

/// Shows every header of a message, in order.
///
/// # Safety
/// The message is live and not used by another thread.
pub(super) unsafe fn each_header(
    message: *const sys::rd_kafka_message_t,
    each: &mut dyn FnMut(&str, Option<&[u8]>),
) {
    let mut headers: *mut sys::rd_kafka_headers_t = std::ptr::null_mut();
    // SAFETY: the message is live and not shared between threads; the headers belong to it and live as long.
    let code = unsafe { sys::rd_kafka_message_headers(message, &raw mut headers) };
    if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return;
    }
    for index in 0.. {
        let mut name: *const c_char = std::ptr::null();
        let mut value: *const c_void = std::ptr::null();
        let mut value_len = 0usize;
        // SAFETY: as above; the call fails with NOENT behind the last header and then sets nothing.
        let code = unsafe {
            sys::rd_kafka_header_get_all(
                headers,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut value_len,
            )
        };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        // SAFETY: name and value are the header's, which live as long as the message.
        unsafe {
            each(
                &CStr::from_ptr(name).to_string_lossy(),
                bytes(value, value_len),
            )
        }
    }
}

/// # Safety
/// A non-null `start` points to `len` bytes that live as long as the result is used.
#[inline]
pub(super) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the message is ours and destroyed once; its client is still alive.
        unsafe { sys::rd_kafka_message_destroy(self.message.as_ptr()) }
    }
}
