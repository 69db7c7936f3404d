//! Producing with topic handles and explicit timestamps, and what the delivery reports say.

use super::client::{Client, Refusal, Signals, Topic};
use super::consume::GroupMetadata;
use super::{millis, string};
use crate::record::Headers;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Behind the last acknowledged record of each partition of one topic.
#[derive(Debug, Default)]
struct PartitionOffsets(Mutex<Vec<i64>>);

impl PartitionOffsets {
    fn next(&self, partition: i32) -> Option<i64> {
        let index = usize::try_from(partition).ok()?;
        let offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.get(index).copied().filter(|offset| *offset > 0)
    }

    fn acknowledge(&self, partition: i32, offset: i64) {
        let Ok(index) = usize::try_from(partition) else {
            return;
        };
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if offsets.len() <= index {
            offsets.resize(index + 1, 0);
        }
        offsets[index] = offsets[index].max(offset + 1);
    }
}

/// What the delivery reports of a producer came to.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Delivered {
    failure: Mutex<Option<DeliveryFailure>>,
    failure_count: AtomicU64,
    offsets: Mutex<Vec<Arc<PartitionOffsets>>>,
    signals: Arc<Signals>,
}

/// A record that could not be written.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct DeliveryFailure {
    /// Why.
    pub(in crate::kafka) code: RDKafkaErrorCode,
    /// Why, in words.
    pub(in crate::kafka) text: String,
    /// The topic it was for.
    pub(in crate::kafka) topic: String,
    /// The partition it was for.
    pub(in crate::kafka) partition: i32,
}

impl Delivered {
    pub(super) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// How many records failed so far; cheap to ask.
    pub(in crate::kafka) fn failure_count(&self) -> u64 {
        self.failure_count.load(Ordering::Relaxed)
    }

    /// The first failure since this was last asked.
    pub(in crate::kafka) fn take_failure(&self) -> Option<DeliveryFailure> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// librdkafka's delivery report callback; runs in the thread that polls or flushes the producer.
    pub(super) unsafe extern "C" fn on_delivery(
        _rk: *mut sys::rd_kafka_t,
        message: *const sys::rd_kafka_message_t,
        opaque: *mut c_void,
    ) {
        // SAFETY: librdkafka passes a live message and the `Delivered` of this client, which outlives it. The message's
        // own pointer is that of the topic's `PartitionOffsets`, which that `Delivered` keeps.
        let (delivered, message, offsets) = unsafe {
            let message = &*message;
            (
                &*opaque.cast::<Delivered>(),
                message,
                &*message._private.cast::<PartitionOffsets>(),
            )
        };
        if message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            offsets.acknowledge(message.partition, message.offset);
            return;
        }
        delivered.failure_count.fetch_add(1, Ordering::Relaxed);
        let mut failure = delivered
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            // SAFETY: the message is live and so are the texts of it and of its topic.
            let (text, topic) = unsafe {
                (
                    string(sys::rd_kafka_message_produce_errstr(message)),
                    string(sys::rd_kafka_topic_name(message.rkt)),
                )
            };
            *failure = Some(DeliveryFailure {
                code: message.err.into(),
                text,
                topic,
                partition: message.partition,
            });
        }
    }

    /// librdkafka's error callback; runs in the thread that polls or flushes the producer.
    pub(super) unsafe extern "C" fn on_error(
        rk: *mut sys::rd_kafka_t,
        _code: c_int,
        reason: *const c_char,
        opaque: *mut c_void,
    ) {
        // SAFETY: librdkafka passes live strings and the `Delivered` of this client, which outlives it.
        let (delivered, client) = unsafe {
            (
                &*opaque.cast::<Delivered>(),
                string(sys::rd_kafka_name(rk)),
            )
        };
        let reason = string(reason);
        tracing::warn!(target: "rdkafka", client, "{reason}");
        delivered.signals.set_trouble(reason);
    }
}

/// A topic of a producer, with what was acknowledged in it.
pub(in crate::kafka) struct ProduceTopic {
    topic: Topic,
    /// Registered with the client's [`Delivered`], which keeps it until no delivery report can come any more.
    offsets: Arc<PartitionOffsets>,
}

/// A record to produce.
pub(in crate::kafka) struct Outgoing<'a> {
    /// Which partition, -1 for any.
    pub(in crate::kafka) partition: i32,
    /// Milliseconds since the Unix epoch, 0 for now.
    pub(in crate::kafka) timestamp: i64,
    /// The key.
    pub(in crate::kafka) key: Option<&'a [u8]>,
    /// The value.
    pub(in crate::kafka) value: Option<&'a [u8]>,
    /// The headers.
    pub(in crate::kafka) headers: &'a Headers,
}

/// The topic, partition, flags, timestamp, opaque, key, value and headers of a record.
const ARGUMENT_COUNT_MAX: usize = 8;

fn argument(
    vtype: sys::rd_kafka_vtype_t,
    u: sys::rd_kafka_vu_s__bindgen_ty_1,
) -> sys::rd_kafka_vu_t {
    sys::rd_kafka_vu_t { vtype, u }
}

fn bytes_argument(vtype: sys::rd_kafka_vtype_t, bytes: Option<&[u8]>) -> sys::rd_kafka_vu_t {
    let (ptr, size) = match bytes {
        // An empty slice's pointer is not null, which is what tells empty from absent.
        Some(bytes) => (bytes.as_ptr() as *mut c_void, bytes.len()),
        None => (std::ptr::null_mut(), 0),
    };
    argument(
        vtype,
        sys::rd_kafka_vu_s__bindgen_ty_1 {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size },
        },
    )
}

impl ProduceTopic {
    /// A topic to produce to; `client` must be a producer.
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &str) -> Result<Self, Refusal> {
        let delivered = client
            .delivered()
            .ok_or_else(|| Refusal::of(RDKafkaErrorCode::InvalidArgument))?;
        let topic = Topic::new(client, name)?;
        let offsets = Arc::new(PartitionOffsets::default());
        delivered
            .offsets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(offsets.clone());
        Ok(ProduceTopic { topic, offsets })
    }

    /// The offset behind the last acknowledged record.
    pub(in crate::kafka) fn next_offset(&self, partition: i32) -> Option<i64> {
        self.offsets.next(partition)
    }

    /// Queues a copy of a record.
    pub(in crate::kafka) fn produce(&self, record: &Outgoing<'_>) -> Result<(), Refusal> {
        use sys::rd_kafka_vtype_t::{
            RD_KAFKA_VTYPE_HEADERS, RD_KAFKA_VTYPE_KEY, RD_KAFKA_VTYPE_MSGFLAGS,
            RD_KAFKA_VTYPE_OPAQUE, RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_VTYPE_RKT,
            RD_KAFKA_VTYPE_TIMESTAMP, RD_KAFKA_VTYPE_VALUE,
        };
        use sys::rd_kafka_vu_s__bindgen_ty_1 as Argument;
        let mut headers = std::ptr::null_mut();
        let mut argument_count = ARGUMENT_COUNT_MAX - 1;
        if !record.headers.is_empty() {
            headers = native_headers(record.headers)?;
            argument_count += 1;
        }
        let arguments: [sys::rd_kafka_vu_t; ARGUMENT_COUNT_MAX] = [
            argument(
                RD_KAFKA_VTYPE_RKT,
                Argument {
                    rkt: self.topic.ptr(),
                },
            ),
            argument(
                RD_KAFKA_VTYPE_PARTITION,
                Argument {
                    i32_: record.partition,
                },
            ),
            argument(
                RD_KAFKA_VTYPE_MSGFLAGS,
                Argument {
                    i: sys::RD_KAFKA_MSG_F_COPY,
                },
            ),
            argument(
                RD_KAFKA_VTYPE_TIMESTAMP,
                Argument {
                    i64_: record.timestamp,
                },
            ),
            argument(
                RD_KAFKA_VTYPE_OPAQUE,
                Argument {
                    ptr: Arc::as_ptr(&self.offsets) as *mut c_void,
                },
            ),
            bytes_argument(RD_KAFKA_VTYPE_KEY, record.key),
            bytes_argument(RD_KAFKA_VTYPE_VALUE, record.value),
            argument(RD_KAFKA_VTYPE_HEADERS, Argument { headers }),
        ];
        // SAFETY: topic and client are live, every argument's type says which part of its union is set, and key and
        // value are copied. The opaque pointer is kept by the client's `Delivered`. librdkafka takes the headers over
        // when it accepts the record; else they stay ours.
        let result = Refusal::check(unsafe {
            sys::rd_kafka_produceva(self.topic.client().ptr(), arguments.as_ptr(), argument_count)
        });
        if result.is_err() && !headers.is_null() {
            // SAFETY: the record was refused, so these are still ours.
            unsafe { sys::rd_kafka_headers_destroy(headers) }
        }
        result
    }
}

impl Client {
    /// Serves delivery reports, waiting up to `timeout` for the first.
    pub(in crate::kafka) fn serve(&self, timeout: Duration) {
        // SAFETY: the client is live; callbacks run in here.
        unsafe {
            sys::rd_kafka_poll(self.ptr(), millis(timeout));
        }
    }

    /// Sends what is queued without lingering, and waits until all of it is reported.
    pub(in crate::kafka) fn flush(&self, timeout: Duration) -> Result<(), Refusal> {
        // SAFETY: the client is live; callbacks run in here.
        Refusal::check_code(unsafe { sys::rd_kafka_flush(self.ptr(), millis(timeout)) })
    }

    /// Drops what is queued or under way; the reports say so.
    pub(in crate::kafka) fn purge(&self) {
        // SAFETY: the client is live.
        unsafe {
            sys::rd_kafka_purge(
                self.ptr(),
                sys::RD_KAFKA_PURGE_F_QUEUE as c_int | sys::RD_KAFKA_PURGE_F_INFLIGHT as c_int,
            );
        }
    }

    /// Fences earlier producers of the transactional id.
    pub(in crate::kafka) fn init_transactions(&self, timeout: Duration) -> Result<(), Refusal> {
        // SAFETY: the client is live.
        Refusal::check(unsafe { sys::rd_kafka_init_transactions(self.ptr(), millis(timeout)) })
    }

    /// Starts a transaction.
    pub(in crate::kafka) fn begin_transaction(&self) -> Result<(), Refusal> {
        // SAFETY: the client is live.
        Refusal::check(unsafe { sys::rd_kafka_begin_transaction(self.ptr()) })
    }

    /// Commits offsets of a group when the transaction commits.
    pub(in crate::kafka) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        // SAFETY: client, list and group are live and only read.
        Refusal::check(unsafe {
            sys::rd_kafka_send_offsets_to_transaction(
                self.ptr(),
                offsets.ptr(),
                group.ptr(),
                millis(timeout),
            )
        })
    }

    /// Flushes and commits.
    pub(in crate::kafka) fn commit_transaction(&self, timeout: Duration) -> Result<(), Refusal> {
        // SAFETY: the client is live; callbacks run in here.
        Refusal::check(unsafe { sys::rd_kafka_commit_transaction(self.ptr(), millis(timeout)) })
    }

    /// Drops what is queued and aborts.
    pub(in crate::kafka) fn abort_transaction(&self, timeout: Duration) -> Result<(), Refusal> {
        // SAFETY: the client is live; callbacks run in here.
        Refusal::check(unsafe { sys::rd_kafka_abort_transaction(self.ptr(), millis(timeout)) })
    }
}

/// Builds librdkafka's header list; the caller owns it.
fn native_headers(headers: &Headers) -> Result<*mut sys::rd_kafka_headers_t, Refusal> {
    // SAFETY: a new list, filled with copies of name and value, whose lengths are given; on failure it is destroyed.
    unsafe {
        let native = sys::rd_kafka_headers_new(headers.len());
        for header in headers {
            let (value, value_len) = match &header.value {
                Some(value) => (value.as_ptr().cast::<c_void>(), value.len()),
                None => (std::ptr::null(), 0),
            };
            let added = sys::rd_kafka_header_add(
                native,
                header.key.as_ptr().cast::<c_char>(),
                header.key.len() as isize,
                value,
                value_len as isize,
            );
            if let Err(refusal) = Refusal::check_code(added) {
                sys::rd_kafka_headers_destroy(native);
                return Err(refusal);
            }
        }
        Ok(native)
    }
}
