//! What a client tells besides its records: log lines, complaints, and the reports of deliveries.

use super::heartbeats::Heartbeats;
use super::message::{bytes, each_header};
use super::requests::Requests;
use super::stamps::Stamps;
use super::string;
use crate::record::OwnedRecord;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What librdkafka's callbacks leave behind; it is their opaque pointer.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Signals {
    trouble: Mutex<Option<String>>,
    failures: Mutex<Vec<DeliveryFailure>>,
    has_failures: AtomicBool,
    offsets: Mutex<Vec<Arc<PartitionOffsets>>>,
    stamps: Stamps,
    requests: Requests,
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
    /// What it was sent with.
    pub(in crate::kafka) tag: u64,
    /// The record itself.
    pub(in crate::kafka) record: OwnedRecord,
}

/// Behind the last acknowledged record of each partition of one topic.
#[derive(Debug, Default)]
pub(super) struct PartitionOffsets(Mutex<Vec<i64>>);

/// A lock that a panic elsewhere does not take away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartitionOffsets {
    /// The offset behind the last acknowledged record.
    pub(super) fn next(&self, partition: i32) -> Option<i64> {
        let index = usize::try_from(partition).ok()?;
        lock(&self.0)
            .get(index)
            .copied()
            .filter(|offset| *offset > 0)
    }

    fn acknowledge(&self, partition: i32, offset: i64) {
        let Ok(index) = usize::try_from(partition) else {
            return;
        };
        let mut offsets = lock(&self.0);
        if offsets.len() <= index {
            offsets.resize(index + 1, 0);
        }
        offsets[index] = offsets[index].max(offset + 1);
    }
}

impl Signals {
    /// Logs what the client complains about and remembers it, because a later time-out says nothing about its cause. That all
    /// brokers are down comes with every attempt and says less than what came before.
    pub(in crate::kafka) fn complain(&self, client: &str, text: &str) {
        if text.ends_with("brokers are down") {
            tracing::debug!(target: "rdkafka", client, "{text}");
            lock(&self.trouble).get_or_insert_with(|| text.to_owned());
            return;
        }
        tracing::warn!(target: "rdkafka", client, "{text}");
        *lock(&self.trouble) = Some(text.to_owned());
    }

    /// The last complaint.
    pub(in crate::kafka) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// What a producer puts on records that it queues in batches.
    pub(super) fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// How a group member's heartbeats do.
    pub(in crate::kafka) fn heartbeats(&self) -> &Heartbeats {
        &self.requests.heartbeats
    }

    /// What looks at the requests of a consumer.
    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Whether records failed that nobody has taken; cheap to ask.
    pub(in crate::kafka) fn has_failures(&self) -> bool {
        self.has_failures.load(Ordering::Acquire)
    }

    /// What `look` says of the first failure that nobody has taken.
    pub(in crate::kafka) fn first_failure<T>(
        &self,
        look: impl FnOnce(&DeliveryFailure) -> T,
    ) -> Option<T> {
        lock(&self.failures).first().map(look)
    }

    /// The failures since this was last asked.
    pub(in crate::kafka) fn take_failures(&self) -> Vec<DeliveryFailure> {
        let mut failures = lock(&self.failures);
        self.has_failures.store(false, Ordering::Release);
        std::mem::take(&mut *failures)
    }

    /// Makes a place for acknowledged offsets that is kept as long as these signals are.
    pub(super) fn register(&self) -> Arc<PartitionOffsets> {
        let offsets = Arc::new(PartitionOffsets::default());
        lock(&self.offsets).push(offsets.clone());
        offsets
    }

    #[cold]
    fn note_failure(&self, failure: DeliveryFailure) {
        let mut failures = lock(&self.failures);
        failures.push(failure);
        self.has_failures.store(true, Ordering::Release);
    }

    /// librdkafka's delivery report callback; runs in the thread that polls or flushes the producer.
    pub(super) unsafe extern "C" fn on_delivery(
        _rk: *mut sys::rd_kafka_t,
        message: *const sys::rd_kafka_message_t,
        opaque: *mut c_void,
    ) {
        // SAFETY: librdkafka passes a live message and the `Signals` of this client, which outlive it. The pointer of its topic
        // is that of the topic's `PartitionOffsets`, which those `Signals` keep.
        let (signals, message, offsets) = unsafe {
            let message = &*message;
            (
                &*opaque.cast::<Signals>(),
                message,
                &*sys::rd_kafka_topic_opaque(message.rkt).cast::<PartitionOffsets>(),
            )
        };
        if message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            offsets.acknowledge(message.partition, message.offset);
            return;
        }
        // SAFETY: the message is live, and so are its key, value and headers and the texts of it and of its topic.
        let failure = unsafe {
            let mut record = OwnedRecord {
                timestamp: sys::rd_kafka_message_timestamp(message, std::ptr::null_mut()),
                key: bytes(message.key, message.key_len).map(<[u8]>::to_vec),
                value: bytes(message.payload, message.len).map(<[u8]>::to_vec),
                ..OwnedRecord::default()
            };
            each_header(message, &mut |name, value| {
                record.headers.add(name, value);
            });
            DeliveryFailure {
                code: message.err.into(),
                text: string(sys::rd_kafka_message_produce_errstr(message)),
                topic: string(sys::rd_kafka_topic_name(message.rkt)),
                partition: message.partition,
                tag: message._private.addr() as u64,
                record,
            }
        };
        signals.note_failure(failure);
    }

    /// librdkafka's error callback; runs in the thread that polls or flushes the producer.
    pub(super) unsafe extern "C" fn on_error(
        rk: *mut sys::rd_kafka_t,
        _code: c_int,
        reason: *const c_char,
        opaque: *mut c_void,
    ) {
        // A subscriber that panics must not unwind into C.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: librdkafka passes live strings and the `Signals` of this client, which outlive it.
            let (signals, client) =
                unsafe { (&*opaque.cast::<Signals>(), string(sys::rd_kafka_name(rk))) };
            signals.complain(&client, &string(reason));
        }));
    }

    /// librdkafka's log callback; runs in any of its threads.
    pub(super) unsafe extern "C" fn on_log(
        rk: *const sys::rd_kafka_t,
        level: c_int,
        facility: *const c_char,
        text: *const c_char,
    ) {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let text = string(text);
            let facility = string(facility);
            if rk.is_null() {
                super::super::log::line(level, "", &facility, &text);
                return;
            }
            // SAFETY: the client is live while it logs, and its name and opaque pointer are set before it does. The
            // pointer is that of the client's `Signals`, which outlive it.
            let (client, signals) = unsafe {
                (
                    string(sys::rd_kafka_name(rk)),
                    sys::rd_kafka_opaque(rk).cast::<Signals>().as_ref(),
                )
            };
            match signals {
                Some(signals) if level <= LOG_LEVEL_ERROR && facility != "FATAL" => {
                    signals.complain(&client, &text);
                }
                _ => super::super::log::line(level, &client, &facility, &text),
            }
        }));
    }
}

/// As syslog counts: this and what is below are errors.
const LOG_LEVEL_ERROR: c_int = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_offsets_only_grow() {
        let offsets = Signals::default().register();
        assert_eq!(offsets.next(2), None);
        offsets.acknowledge(2, 0);
        assert_eq!(offsets.next(2), Some(1));
        offsets.acknowledge(2, 9);
        offsets.acknowledge(2, 4);
        offsets.acknowledge(-1, 4);
        assert_eq!(offsets.next(2), Some(10));
        assert_eq!(offsets.next(0), None);
    }

    #[test]
    fn failures_are_kept_until_they_are_taken() {
        let signals = Signals::default();
        for topic in ["first", "second"] {
            signals.note_failure(DeliveryFailure {
                code: RDKafkaErrorCode::MessageTimedOut,
                text: String::new(),
                topic: topic.into(),
                partition: 0,
                tag: 0,
                record: OwnedRecord::default(),
            });
        }
        assert!(signals.has_failures());
        let first = signals.first_failure(|failure| failure.topic.clone());
        assert_eq!(first.as_deref(), Some("first"));
        assert_eq!(signals.take_failures().len(), 2);
        assert!(!signals.has_failures());
        assert!(signals.take_failures().is_empty());
    }
}
