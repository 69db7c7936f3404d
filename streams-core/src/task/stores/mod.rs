//! Typed views over byte stores, with the record cache in between.
//!
//! A view serializes keys and values, keeps the typed values of recently used keys, and writes changes to the byte store
//! and the changelog together: at once without the cache, and once per changed key at a flush with it.

mod admission;
mod cache;
pub(crate) mod grace_buffer;
mod join_window;
mod key_value;
mod keyed_rows;
mod merged;
pub(crate) mod outer_join;
mod prefetch;
mod recency;
pub(crate) mod record_context;
mod session;
mod session_rows;
mod subscriptions;
mod suppress_buffer;
pub(crate) mod suppress_changelog;
mod sweep;
mod view;
mod window;

pub(crate) use cache::Origin;
pub(crate) use grace_buffer::{Due, GraceBufferState};
pub(crate) use join_window::{JoinWindowState, fetch_matches};
pub(crate) use key_value::KeyValueState;
pub(crate) use outer_join::{JoinSide, OuterJoinState, Unmatched, Waits};
pub(crate) use prefetch::AT_ONCE;
pub use session::SessionState;
pub(crate) use session::{FlushedSession, Session, SessionOrder};
pub(crate) use subscriptions::SubscriptionState;
pub(crate) use suppress_buffer::{Held, SuppressBufferState};
pub(crate) use view::{Cause, Placement, Updated};
pub(crate) use window::{FlushedWindow, ScanOrder, Starts, WindowState};

use super::effects::Effects;
use crate::record::Headers;
use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::TaskStores;

/// A typed view of one store, whatever its types.
pub trait AnyState: Any {
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// An estimate of what its cache holds.
    fn memory_bytes(&self) -> usize;
    /// Gives the memory of unchanged entries back.
    fn forget_clean(&mut self);
    /// Writes changed entries of the cache to store and changelog, for stores whose changes nobody waits for, until that was
    /// all or there is much to send; says whether it was all.
    fn write_changed(&mut self, io: &mut StoreIo) -> crate::error::Result<bool>;
    /// Makes look-ups of these keys cheaper, should they come.
    fn prefetch(&mut self, _keys: &[&[u8]], _io: &StoreIo) {}
}

/// Where views write: the task's byte stores and what is to be produced.
pub struct StoreIo {
    pub(crate) stores: TaskStores,
    pub(crate) effects: Effects,
    /// The source record of what is being processed, where handlers want it.
    pub(crate) source: Option<Arc<SourceRecord>>,
    /// Whether a cached aggregate must be as before after its aggregator has panicked.
    pub(crate) undo_updates: bool,
}

impl StoreIo {
    pub(crate) fn new(stores: TaskStores) -> Self {
        StoreIo {
            stores,
            effects: Effects::new(),
            source: None,
            undo_updates: false,
        }
    }
}

/// The bytes of a source record, for handlers.
#[derive(Debug, Default)]
pub(crate) struct SourceRecord {
    key: Vec<u8>,
    value: Vec<u8>,
    has_key: bool,
    has_value: bool,
}

impl SourceRecord {
    pub(crate) fn set(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        for (bytes, present, new) in [
            (&mut self.key, &mut self.has_key, key),
            (&mut self.value, &mut self.has_value, value),
        ] {
            bytes.clear();
            bytes.extend_from_slice(new.unwrap_or_default());
            *present = new.is_some();
        }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.has_key.then_some(&*self.key)
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.has_value.then_some(&*self.value)
    }

    /// What it holds.
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Where the changes of one store are logged.
#[derive(Clone, Debug)]
pub(crate) struct Changelog {
    topic: Arc<str>,
    partition: i32,
}

impl Changelog {
    pub(crate) fn new(target: (Arc<str>, i32)) -> Self {
        Changelog {
            topic: target.0,
            partition: target.1,
        }
    }

    /// Java's changelog records have no headers and carry the value's timestamp as their own.
    fn log(&self, io: &mut StoreIo, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        self.log_with_headers(io, key, value, timestamp, &Headers::new());
    }

    /// What the stores of stream-stream joins and of foreign-key joins log, which keep a record's headers.
    fn log_with_headers(
        &self,
        io: &mut StoreIo,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
        headers: &Headers,
    ) {
        io.effects.push(
            &self.topic,
            self.partition,
            Some(timestamp),
            Some(key),
            value,
            headers,
        );
    }

    /// As what a buffer holds is logged: the producer gives the record its timestamp.
    fn log_now(&self, io: &mut StoreIo, key: &[u8], value: Option<&[u8]>) {
        self.log_now_with_headers(io, key, value, &Headers::new());
    }

    /// As [`Changelog::log_now`], with headers.
    fn log_now_with_headers(
        &self,
        io: &mut StoreIo,
        key: &[u8],
        value: Option<&[u8]>,
        headers: &Headers,
    ) {
        io.effects
            .push(&self.topic, self.partition, None, Some(key), value, headers);
    }
}

/// A value and when it was true, as a store has it; the value is never `None` behind a found entry.
pub(crate) struct Found<V> {
    pub(crate) value: Rc<Option<V>>,
    pub(crate) timestamp: i64,
}

impl<V> Found<V> {
    /// What a store has.
    fn read((value, timestamp): (V, i64)) -> Self {
        let value = Rc::new(Some(value));
        Found { value, timestamp }
    }

    /// What a cache has, which may be that there is nothing.
    fn held(value: &Rc<Option<V>>, timestamp: i64) -> Option<Self> {
        let value = value.is_some().then(|| value.clone())?;
        Some(Found { value, timestamp })
    }
}

impl<V> Clone for Found<V> {
    fn clone(&self) -> Self {
        Found {
            value: self.value.clone(),
            timestamp: self.timestamp,
        }
    }
}

/// A change that a flush hands downstream: the entry as the cache had it, after it was written.
pub(crate) struct Flushed<V> {
    pub(crate) new: Rc<Option<V>>,
    pub(crate) old: Rc<Option<V>>,
    pub(crate) timestamp: i64,
    pub(crate) origin: Origin,
    pub(crate) headers: Headers,
}
