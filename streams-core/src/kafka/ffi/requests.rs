//! Shows the requests of a consumer, and what they come to, to those that make up for librdkafka's faults.

use super::heartbeats::Heartbeats;
use super::leaving_brokers::LeavingBrokers;
use rdkafka::bindings as sys;
use std::ffi::{CStr, c_char, c_int, c_void};

pub(super) const NAME: &CStr = c"requests";
const NO_ERROR: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Those that look at a client's requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) heartbeats: Heartbeats,
    leaving_brokers: LeavingBrokers,
}

impl Requests {
    /// librdkafka's interceptor of new clients, called before the client has threads: asks for its requests to be shown.
    ///
    /// # Safety
    /// `opaque` points to the `Requests` of the client, which outlive it.
    pub(super) unsafe extern "C" fn on_new(
        rk: *mut sys::rd_kafka_t,
        _conf: *const sys::rd_kafka_conf_t,
        opaque: *mut c_void,
        _text: *mut c_char,
        _text_size: usize,
    ) -> sys::rd_kafka_resp_err_t {
        let name = NAME.as_ptr();
        // SAFETY: the client is live and is being made; the name is copied, and the pointer is that of its `Requests`.
        unsafe {
            sys::rd_kafka_interceptor_add_on_thread_start(
                rk,
                name,
                Some(Self::on_thread_start),
                opaque,
            );
            sys::rd_kafka_interceptor_add_on_request_sent(rk, name, Some(Self::on_request), opaque);
            sys::rd_kafka_interceptor_add_on_response_received(
                rk,
                name,
                Some(Self::on_response),
                opaque,
            )
        }
    }

    /// librdkafka's interceptor of new threads; runs in them.
    unsafe extern "C" fn on_thread_start(
        _rk: *mut sys::rd_kafka_t,
        thread: sys::rd_kafka_thread_type_t,
        _name: *const c_char,
        _opaque: *mut c_void,
    ) -> sys::rd_kafka_resp_err_t {
        if thread == sys::rd_kafka_thread_type_t::RD_KAFKA_THREAD_MAIN {
            LeavingBrokers::note_main_thread();
        }
        NO_ERROR
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
        // SAFETY: the pointer is that of the client's `Requests`, which outlive it; client and socket are librdkafka's own.
        unsafe {
            let requests = &*opaque.cast::<Requests>();
            requests.heartbeats.on_request(rk, socket, api_key);
        }
        NO_ERROR
    }

    /// librdkafka's interceptor of responses, and of requests that come to none; runs in its threads, in that of the
    /// connection first and then in the one that goes on with it.
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
        // SAFETY: the pointer is that of the client's `Requests`, which outlive it.
        let requests = unsafe { &*opaque.cast::<Requests>() };
        requests.heartbeats.on_response(api_key, error);
        requests.leaving_brokers.on_response(api_key, error);
        NO_ERROR
    }
}
