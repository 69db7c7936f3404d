//! What the logic of a processor sees of the library, be its key fixed or not.

use crate::values::{AnyKey, Key};
use streams_core::processor::{FixedKeyContext, FixedKeyRecord, ProcessorContext};
use streams_core::stores::{StoreHandle, StoreType};
use streams_core::{Headers, Record, Result};

/// What the logic sees, be its key fixed or not.
pub(super) trait LogicContext {
    fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>>;
    /// The topic, partition, offset and times.
    fn metadata(&self) -> String;
    fn headers(&self) -> Headers;
    fn forward(&mut self, out: Out<'_>) -> Result<()>;
}

/// A record to forward; a child of none stands for all.
pub(super) struct Out<'a> {
    pub(super) key: &'a Key,
    pub(super) value: Option<String>,
    pub(super) timestamp: i64,
    /// Other headers than those of the record at hand.
    pub(super) headers: Option<&'a Headers>,
    pub(super) child: Option<&'a str>,
}

/// What Java shows of a record that no topic has: one made by a punctuation.
const NOWHERE: &str = "null/-1/-1";

/// Of a processor that may change keys.
pub(super) struct Free<'a, 'b>(pub(super) &'a mut ProcessorContext<'b, Key, Option<String>>);

impl LogicContext for Free<'_, '_> {
    fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        self.0.store(store)
    }

    fn metadata(&self) -> String {
        let place = self.0.record_metadata();
        let place = place.map(|at| format!("{}/{}/{}", at.topic, at.partition, at.offset));
        let (stream, system) = (
            self.0.current_stream_time_ms(),
            self.0.current_system_time_ms(),
        );
        let place = place.unwrap_or_else(|| NOWHERE.to_owned());
        format!("{place} stream {stream} system {system}")
    }

    fn headers(&self) -> Headers {
        self.0.headers().clone()
    }

    fn forward(&mut self, out: Out<'_>) -> Result<()> {
        let before = self.0.headers().clone();
        let headers = out.headers.unwrap_or(&before);
        let record = Record::new(out.key, &out.value, out.timestamp, headers);
        match out.child {
            None => self.0.forward_record(record),
            Some(child) => self.0.forward_to(child, record),
        }
    }
}

/// Of a processor that keeps keys.
pub(super) struct Fixed<'a, 'b, 'c, 'd, K, V> {
    pub(super) context: &'a mut FixedKeyContext<'b, 'c, K, Option<String>>,
    pub(super) record: FixedKeyRecord<'d, K, Option<V>>,
}

impl<K: AnyKey, V> LogicContext for Fixed<'_, '_, '_, '_, K, V> {
    fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        self.context.store(store)
    }

    fn metadata(&self) -> String {
        let place = self.context.record_metadata();
        let place = place.map(|at| format!("{}/{}/{}", at.topic, at.partition, at.offset));
        let (stream, system) = (
            self.context.current_stream_time_ms(),
            self.context.current_system_time_ms(),
        );
        let place = place.unwrap_or_else(|| NOWHERE.to_owned());
        format!("{place} stream {stream} system {system}")
    }

    fn headers(&self) -> Headers {
        self.record.headers().clone()
    }

    fn forward(&mut self, out: Out<'_>) -> Result<()> {
        let record = self
            .record
            .with_value(&out.value)
            .with_timestamp(out.timestamp);
        let record = match out.headers {
            None => record,
            Some(headers) => record.with_headers(headers),
        };
        match out.child {
            None => self.context.forward(record),
            Some(child) => self.context.forward_to(child, record),
        }
    }
}
