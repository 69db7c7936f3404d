//! Producing with topic handles and explicit timestamps.

use super::client::{Client, Refusal, Topic};
use super::consume::GroupMetadata;
use super::millis;
use super::signals::PartitionOffsets;
use super::stamps::Stamp;
use crate::record::Headers;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A topic of a producer, with what was acknowledged in it.
pub(in crate::kafka) struct ProduceTopic {
    topic: Topic,
    /// Registered with the client's [`Signals`], which keep it until no delivery report can come any more.
    offsets: Arc<PartitionOffsets>,
}

/// A record to produce.
pub(in crate::kafka) struct Outgoing<'a> {
    /// Which partition, -1 for any.
    pub(in crate::kafka) partition: i32,
    /// Milliseconds since the Unix epoch; 0 means the time at which it is sent.
    pub(in crate::kafka) timestamp: i64,
    /// The key.
    pub(in crate::kafka) key: Option<&'a [u8]>,
    /// The value.
    pub(in crate::kafka) value: Option<&'a [u8]>,
    /// The headers.
    pub(in crate::kafka) headers: &'a Headers,
    /// What its failure is reported with.
    pub(in crate::kafka) tag: u64,
}

// Tags travel as pointers.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

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
    /// A topic to produce to.
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &str) -> Result<Self, Refusal> {
        let offsets = client.signals().register();
        let topic = Topic::with_opaque(client, name, Arc::as_ptr(&offsets) as *mut c_void)?;
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
                    // No address: the number itself comes back.
                    ptr: std::ptr::without_provenance_mut(record.tag as usize),
                },
            ),
            bytes_argument(RD_KAFKA_VTYPE_KEY, record.key),
            bytes_argument(RD_KAFKA_VTYPE_VALUE, record.value),
            argument(RD_KAFKA_VTYPE_HEADERS, Argument { headers }),
        ];
        // SAFETY: topic and client are live, every argument's type says which part of its union is set, and key and
        // value are copied. The opaque pointer is never followed. librdkafka takes the headers over
        // when it accepts the record; else they stay ours.
        let result = Refusal::check(unsafe {
            sys::rd_kafka_produceva(
                self.topic.client().ptr(),
                arguments.as_ptr(),
                argument_count,
            )
        });
        if result.is_err() && !headers.is_null() {
            // SAFETY: the record was refused, so these are still ours.
            unsafe { sys::rd_kafka_headers_destroy(headers) }
        }
        result
    }
}

/// Records of one partition, to be queued together: librdkafka's call for that takes its locks once for all of them.
#[derive(Default)]
pub(in crate::kafka) struct OutgoingBatch<'a> {
    messages: Vec<sys::rd_kafka_message_t>,
    stamps: Vec<Stamp>,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> OutgoingBatch<'a> {
    /// Adds a record, which must have no headers: that call takes none.
    pub(in crate::kafka) fn push(&mut self, record: &Outgoing<'a>) {
        debug_assert!(record.headers.is_empty());
        let pointer = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => (bytes.as_ptr() as *mut c_void, bytes.len()),
            None => (std::ptr::null_mut(), 0),
        };
        let (payload, len) = pointer(record.value);
        let (key, key_len) = pointer(record.key);
        self.messages.push(sys::rd_kafka_message_t {
            err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: std::ptr::null_mut(),
            partition: record.partition,
            payload,
            len,
            key,
            key_len,
            offset: 0,
            // No address: where its stamp is, which takes its place before anybody else sees the record.
            _private: std::ptr::without_provenance_mut(self.stamps.len()),
        });
        self.stamps.push(Stamp {
            timestamp: record.timestamp,
            tag: record.tag,
        });
    }

    /// Forgets all records and keeps the memory.
    pub(in crate::kafka) fn clear(&mut self) {
        self.messages.clear();
        self.stamps.clear();
    }
}

impl ProduceTopic {
    /// Whether [`produce_batch`](Self::produce_batch) can be used: from when a record was queued otherwise, and unless
    /// librdkafka turned out to be another than the one that is built in.
    pub(in crate::kafka) fn takes_batches(&self) -> bool {
        self.topic.client().signals().stamps().work()
    }

    /// Queues copies of the records behind the first `skipped`, which are all for `partition`, and tells of each that was
    /// refused its number and why.
    pub(in crate::kafka) fn produce_batch(
        &self,
        partition: i32,
        batch: &mut OutgoingBatch<'_>,
        skipped: usize,
        mut refused: impl FnMut(usize, RDKafkaErrorCode),
    ) {
        let messages = &mut batch.messages[skipped..];
        let count = c_int::try_from(messages.len()).unwrap_or(c_int::MAX);
        let signals = self.topic.client().signals();
        let queued = signals.stamps().during(&batch.stamps, || {
            // SAFETY: topic and client are live; there are `count` messages, whose keys and values point to bytes that live
            // as long as the batch, by its lifetime, and are copied. librdkafka writes each message's error.
            unsafe {
                sys::rd_kafka_produce_batch(
                    self.topic.ptr(),
                    partition,
                    sys::RD_KAFKA_MSG_F_COPY,
                    messages.as_mut_ptr(),
                    count,
                )
            }
        });
        if queued == count {
            return;
        }
        for (number, message) in messages.iter().enumerate() {
            match RDKafkaErrorCode::from(message.err) {
                RDKafkaErrorCode::NoError => {}
                code => refused(skipped + number, code),
            }
        }
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
