//! `suppress`: changes of a table held back until their time, or until there are too many of them.
//!
//! The rules are Kafka's `KTableSuppressProcessorSupplier`: a key's change waits from its first time on, and leaves with the
//! last values and the record they came from; the operator's own stream time decides, and starts unknown.

use super::table_getter::TableGetter;
use super::{Change, TableChildren, TableOperator};
use crate::dsl::suppressed::{Buffered, WhenFull};
use crate::error::{Error, Result};
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::record_context::RecordContext;
use crate::task::stores::{Found, Held, Origin, SuppressBufferState};
use std::rc::Rc;
use std::sync::Arc;

/// Until when a change is held, by its key and timestamp.
pub(crate) type HeldUntil<K> = Arc<dyn Fn(&K, i64) -> i64 + Send + Sync>;

pub(crate) struct TableSuppress<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) held_until: HeldUntil<K>,
    /// How long behind that time it leaves.
    pub(crate) wait_ms: i64,
    /// Whether a deletion can go nowhere, because the row was never forwarded.
    pub(crate) drops_deletions: bool,
    pub(crate) buffered: Buffered,
    pub(crate) store: usize,
    pub(crate) observed_ms: i64,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) children: TableChildren<K, V>,
}

impl<K: 'static, V: 'static> TableSuppress<K, V> {
    fn serialized(&self, value: &Option<V>) -> Result<Option<Vec<u8>>> {
        let Some(value) = value else { return Ok(None) };
        let mut bytes = Vec::new();
        self.value.serialize(value, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn emit(&mut self, key: &[u8], held: &Held, context: &mut Context) -> Result<()> {
        if held.new.is_none() && self.drops_deletions {
            return Ok(());
        }
        let key = self.key.deserialize(key)?;
        let read = |bytes: &Option<Vec<u8>>| {
            let bytes = bytes.as_deref();
            bytes.map(|bytes| self.value.deserialize(bytes)).transpose()
        };
        let (new, old) = (read(&held.new)?, read(&held.old)?);
        let from = &held.context;
        let input = context
            .input_topics
            .iter()
            .position(|topic| **topic == *from.topic);
        let outer = (context.origin, context.io.source.take());
        context.origin = Origin {
            input: input.map(|input| input as u32),
            offset: from.offset,
            timestamp: from.timestamp,
        };
        let forwarded = self.children.forward(
            Change {
                key: &key,
                new: &new,
                old: &old,
                timestamp: from.timestamp,
                headers: &from.headers,
                is_latest: true,
            },
            context,
        );
        (context.origin, context.io.source) = outer;
        forwarded
    }

    fn is_full(&self, buffer: &SuppressBufferState) -> bool {
        buffer.len() > self.buffered.records_max || buffer.bytes() > self.buffered.bytes_max
    }

    fn emit_due(&mut self, context: &mut Context) -> Result<()> {
        let until = self.observed_ms.saturating_sub(self.wait_ms);
        loop {
            let (buffer, _) = context.state::<SuppressBufferState>(self.store);
            let due = buffer.first_time().is_some_and(|time| time <= until);
            let full = self.is_full(buffer);
            if !due && full && self.buffered.when_full == WhenFull::ShutDown {
                return Err(self.too_full(buffer));
            }
            if !due && !full {
                return Ok(());
            }
            let Some((key, held)) = buffer.pop() else {
                return Ok(());
            };
            self.emit(&key, &held, context)?;
            let (buffer, _) = context.state::<SuppressBufferState>(self.store);
            buffer.has_left();
        }
    }

    #[cold]
    fn too_full(&self, buffer: &SuppressBufferState) -> Error {
        let of = |max: usize| match max {
            usize::MAX => "any number of".to_owned(),
            max => max.to_string(),
        };
        Error::fatal(format!(
            "the buffer of {} is full, and was told to shut down then: it holds {} of {} records and {} of {} bytes; give it more room, or `emit_early_when_full`",
            self.name,
            buffer.len(),
            of(self.buffered.records_max),
            buffer.bytes(),
            of(self.buffered.bytes_max),
        ))
    }
}

impl<K: 'static, V: 'static> TableOperator<K, V> for TableSuppress<K, V> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        self.observed_ms = self.observed_ms.max(change.timestamp);
        self.key_bytes.clear();
        self.key
            .serialize_nullable(change.key, &mut self.key_bytes)?;
        let origin = context.origin;
        let topic = origin
            .input
            .map(|input| context.input_topics[input as usize].to_string());
        let held = Held {
            context: RecordContext {
                timestamp: change.timestamp,
                offset: origin.offset,
                topic: topic.unwrap_or_default(),
                partition: context.id.partition,
                headers: change.headers.clone(),
            },
            prior: None,
            old: self.serialized(change.old)?,
            new: self.serialized(change.new)?,
        };
        let time = (self.held_until)(change.key, change.timestamp);
        let (buffer, io) = context.state::<SuppressBufferState>(self.store);
        buffer.load(io)?;
        buffer.put(&self.key_bytes, time, held);
        self.emit_due(context)
    }
}

/// Looks a suppressed table up: what is held back is still as it was before.
pub(crate) struct SuppressGetter<K, V> {
    pub(crate) parent: Box<dyn TableGetter<K, V>>,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) store: usize,
}

impl<K: 'static, V: 'static> TableGetter<K, V> for SuppressGetter<K, V> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>> {
        let mut bytes = Vec::new();
        if !self.key.serialize_nullable(key, &mut bytes)? {
            return Ok(None);
        }
        let (buffer, io) = context.state::<SuppressBufferState>(self.store);
        buffer.load(io)?;
        match buffer.prior(&bytes) {
            None => self.parent.get(key, context),
            Some(None) => Ok(None),
            // When that was true is not known.
            Some(Some(prior)) => Ok(Some(Found {
                value: Rc::new(Some(self.value.deserialize(prior)?)),
                timestamp: -1,
            })),
        }
    }
}
