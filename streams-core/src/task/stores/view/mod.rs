//! What key-value and window views share: values by key bytes, through the cache, into the byte store and the changelog.
//!
//! A window's key bytes are the key and its start behind it; its changelog key has a sequence number of 0 behind that.

mod binary_key;
mod flush;
mod read;
mod update;
mod write;

pub(super) use binary_key::{split_session_key, split_window_key};

use super::cache::{Cache, Origin};
use super::prefetch::Prefetches;
use super::recency::Recency;
use super::{Changelog, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::{BoxSerde, Serde};
use crate::topology::store::StateArguments;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Which byte store is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    KeyValue,
    Window,
    Session,
    /// A versioned store: what is read is the latest version, what is put is the version of its timestamp. Never cached.
    Versioned,
}

/// Where a value that was put came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is what its key has now. In a store without versions it always is.
    Latest,
    /// The store has a later version of its key.
    Older {
        /// The time of that version, in milliseconds.
        valid_to: i64,
    },
    /// It is older than what the store remembers, and is not in it.
    Expired,
}

pub(super) struct View<V> {
    pub(super) index: usize,
    below: Below,
    value: BoxSerde<V>,
    timestamped: bool,
    timed: bool,
    changelog: Option<Changelog>,
    pub(super) cache: Option<Cache<V>>,
    /// Whether a flush leaves out the deletion of what the store does not have.
    pub(super) elides_tombstones: bool,
    /// Set for a store of limited size.
    recency: Option<RefCell<Recency>>,
    /// The key of the call under way.
    pub(super) key_bytes: Vec<u8>,
    pub(super) value_bytes: Vec<u8>,
    pub(super) prefetches: Prefetches,
    /// How long the value was that was read last.
    pub(super) loaded_len: Cell<usize>,
    pub(super) absent: Rc<Option<V>>,
    /// The value that was looked up last without a place in the cache; what it has allocated is used again.
    spare: Rc<Option<V>>,
}

/// What an update without a cache did.
pub(crate) enum Updated<V> {
    /// The cache has it; a flush will tell.
    Cached,
    Written {
        new: Option<V>,
        old: Option<V>,
        timestamp: i64,
        placement: Placement,
    },
}

/// A record that changes a store: its time, where it came from, its headers.
#[derive(Clone, Copy)]
pub struct Cause<'a> {
    pub(crate) timestamp: i64,
    pub(crate) origin: Origin,
    pub(crate) headers: &'a Headers,
}

impl<V: 'static> View<V> {
    pub(super) fn new(below: Below, value: BoxSerde<V>, arguments: &StateArguments) -> Self {
        View {
            index: arguments.index,
            below,
            value,
            timestamped: arguments.timestamped,
            timed: arguments.timed,
            changelog: arguments.changelog.clone().map(Changelog::new),
            cache: arguments.cached.then(Cache::new),
            elides_tombstones: arguments.elides_tombstones,
            recency: None,
            key_bytes: Vec::new(),
            value_bytes: Vec::new(),
            prefetches: Prefetches::default(),
            loaded_len: Cell::new(0),
            absent: Rc::new(None),
            spare: Rc::new(None),
        }
    }

    /// Lets the keys go that were not used for longest, beyond this many.
    pub(super) fn limit_entries(&mut self, max_entries: usize) {
        self.recency = Some(RefCell::new(Recency::new(max_entries)));
    }

    pub(super) fn is_versioned(&self) -> bool {
        self.below == Below::Versioned
    }

    /// A value and its timestamp as the store has them.
    pub(super) fn encoded(&self, value: &V, timestamp: i64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let timestamp = self.timestamped.then_some(timestamp);
        encode(&*self.value, timestamp, value, &mut bytes)?;
        Ok(bytes)
    }

    /// A copy of a value, by way of its bytes.
    pub(super) fn copy(&mut self, value: &V) -> Result<V> {
        copied(&*self.value, value, &mut self.value_bytes)
    }

    /// Reads ahead what the byte store has of these keys.
    pub(super) fn prefetch(&mut self, keys: &[&[u8]], io: &StoreIo) {
        if self.below == Below::KeyValue {
            let store = io.stores.key_value(self.index);
            self.prefetches.records(keys, |keys| store.prefetch(keys));
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::bytes)
    }

    pub(super) fn forget_clean(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.forget_clean();
        }
    }
}

/// A value as the store has it: behind its timestamp if the store keeps one.
fn encode<V: 'static>(
    serde: &dyn Serde<V>,
    timestamp: Option<i64>,
    value: &V,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    if let Some(timestamp) = timestamp {
        bytes.extend_from_slice(&timestamp.to_be_bytes());
    }
    Ok(serde.serialize(value, bytes)?)
}

/// A copy of a value, by way of its bytes.
fn copied<V: 'static>(serde: &dyn Serde<V>, value: &V, bytes: &mut Vec<u8>) -> Result<V> {
    bytes.clear();
    serde.serialize(value, bytes)?;
    Ok(serde.deserialize(bytes)?)
}
