//! A message of librdkafka as the runtime reads records.

use super::ffi::Message;
use crate::record::{FetchedRecord, Headers};

/// A record in librdkafka's buffer: key and value are read in place, nothing is copied until an operator wants to own it.
///
/// It keeps the buffer it was fetched in and its client alive, so records are dropped soon rather than collected.
pub struct KafkaRecord(pub(super) Message);

impl FetchedRecord for KafkaRecord {
    #[inline]
    fn offset(&self) -> i64 {
        self.0.offset()
    }

    #[inline]
    fn timestamp(&self) -> i64 {
        self.0.timestamp()
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    #[inline]
    fn value(&self) -> Option<&[u8]> {
        self.0.value()
    }

    fn read_headers(&self, headers: &mut Headers) {
        headers.clear();
        self.0.headers(|name, value| {
            headers.add(name, value);
        });
    }
}

impl std::fmt::Debug for KafkaRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaRecord")
            .field("topic", &self.0.topic_name())
            .field("partition", &self.0.partition())
            .field("offset", &self.0.offset())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_be_dropped_on_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<KafkaRecord>();
    }
}
