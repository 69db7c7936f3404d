//! Makes up for an answer to a group member's heartbeat that was lost.
//!
//! In the protocol of KIP-848 the coordinator tells a member of new partitions, and of partitions to give back, once: in the
//! answer to a heartbeat. When that answer is lost, as when the broker stands still for longer than a heartbeat may take, the
//! member must say all about itself in its next heartbeat to be told again. Kafka's own consumer does so after every failure
//! (`ConsumerHeartbeatRequestManager`). librdkafka does after a broken connection, but not after a time-out: the partitions
//! would have no reader until the member is thrown out for not giving them back, or for ever if they are new to it. So the
//! connection of the next heartbeat is broken.

use rdkafka::bindings as sys;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::net::{Shutdown, TcpStream};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// `ConsumerGroupHeartbeat`, the heartbeat of that protocol.
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

const NAME: &CStr = c"heartbeats";

/// What became of the heartbeats of one client.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    /// One timed out, and librdkafka has not been made to say all since.
    is_one_lost: AtomicBool,
}

impl Heartbeats {
    /// Has the heartbeats of a client looked at.
    ///
    /// # Safety
    /// `heartbeats` outlive the client that is made of `config`.
    pub(super) unsafe fn watch(config: *mut sys::rd_kafka_conf_t, heartbeats: &Heartbeats) {
        let opaque = std::ptr::from_ref(heartbeats).cast_mut().cast();
        // SAFETY: the configuration is live and the caller's; the name is copied.
        unsafe {
            sys::rd_kafka_conf_interceptor_add_on_new(
                config,
                NAME.as_ptr(),
                Some(Self::on_new),
                opaque,
            );
        }
    }

    /// librdkafka's interceptor of new clients: asks for each request and each response to be shown.
    unsafe extern "C" fn on_new(
        rk: *mut sys::rd_kafka_t,
        _conf: *const sys::rd_kafka_conf_t,
        opaque: *mut c_void,
        _text: *mut c_char,
        _text_size: usize,
    ) -> sys::rd_kafka_resp_err_t {
        // SAFETY: the client is live and is being made; the name is copied, and the pointer is that of its `Heartbeats`.
        unsafe {
            sys::rd_kafka_interceptor_add_on_request_sent(
                rk,
                NAME.as_ptr(),
                Some(Self::on_request),
                opaque,
            );
            sys::rd_kafka_interceptor_add_on_response_received(
                rk,
                NAME.as_ptr(),
                Some(Self::on_response),
                opaque,
            )
        }
    }

    /// librdkafka's interceptor of requests; runs in the thread of the connection, which is open.
    unsafe extern "C" fn on_request(
        rk: *mut sys::rd_kafka_t,
        socket: c_int,
        _broker: *const c_char,
        _broker_id: i32,
        api_key: i16,
        _api_version: i16,
        _correlation_id: i32,
        _size: usize,
        opaque: *mut c_void,
    ) -> sys::rd_kafka_resp_err_t {
        if api_key == CONSUMER_GROUP_HEARTBEAT {
            // SAFETY: the pointer is that of the client's `Heartbeats`, which outlive it.
            let heartbeats = unsafe { &*opaque.cast::<Heartbeats>() };
            if heartbeats.is_one_lost.swap(false, Ordering::Relaxed) {
                // A subscriber that panics must not unwind into C.
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    // SAFETY: the client is live and so is its name.
                    let client = super::string(unsafe { sys::rd_kafka_name(rk) });
                    tracing::info!(
                        client,
                        "a heartbeat was not answered in time; the group is asked for all partitions again"
                    );
                    // SAFETY: librdkafka's socket, open until this thread closes it. It is not closed here.
                    let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(socket) });
                    // Where that fails the connection is broken already.
                    let _ = socket.shutdown(Shutdown::Both);
                }));
            }
        }
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// librdkafka's interceptor of responses, and of requests that come to none; runs in its threads.
    unsafe extern "C" fn on_response(
        _rk: *mut sys::rd_kafka_t,
        _socket: c_int,
        _broker: *const c_char,
        _broker_id: i32,
        api_key: i16,
        _api_version: i16,
        _correlation_id: i32,
        _size: usize,
        _round_trip: i64,
        error: sys::rd_kafka_resp_err_t,
        opaque: *mut c_void,
    ) -> sys::rd_kafka_resp_err_t {
        use sys::rd_kafka_resp_err_t as codes;
        let is_time_out = matches!(
            error,
            codes::RD_KAFKA_RESP_ERR__TIMED_OUT | codes::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
        );
        if api_key == CONSUMER_GROUP_HEARTBEAT && is_time_out {
            // SAFETY: the pointer is that of the client's `Heartbeats`, which outlive it.
            let heartbeats = unsafe { &*opaque.cast::<Heartbeats>() };
            heartbeats.is_one_lost.store(true, Ordering::Relaxed);
        }
        codes::RD_KAFKA_RESP_ERR_NO_ERROR
    }
}
