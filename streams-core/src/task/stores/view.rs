//! What key-value and window views share: values by key bytes, through the cache, into the byte store and the changelog.
//!
//! A window's key bytes are the key and its start behind it; its changelog key has a sequence number of 0 behind that.

use super::cache::{Cache, Origin};
use super::merged::Changes;
use super::recency::Recency;
use super::{Changelog, Flushed, Found, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::{BoxSerde, Serde};
use crate::topology::store::StateArguments;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use streams_state::{AsOf, Order, Version, VersionedPut, timestamped};

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
    /// How long the value was that was read last.
    pub(super) loaded_len: Cell<usize>,
    absent: Rc<Option<V>>,
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
            loaded_len: Cell::new(0),
            absent: Rc::new(None),
        }
    }

    /// Lets the keys go that were not used for longest, beyond this many.
    pub(super) fn limit_entries(&mut self, max_entries: usize) {
        self.recency = Some(RefCell::new(Recency::new(max_entries)));
    }

    pub(super) fn is_versioned(&self) -> bool {
        self.below == Below::Versioned
    }

    pub(super) fn read_value(&self, stored: &[u8]) -> Result<(V, i64)> {
        if self.timestamped {
            let (timestamp, value) = timestamped::decode(stored)?;
            Ok((self.value.deserialize(value)?, timestamp))
        } else {
            Ok((self.value.deserialize(stored)?, -1))
        }
    }

    /// The timestamp of a stored value alone.
    pub(super) fn read_timestamp(&self, stored: &[u8]) -> Result<i64> {
        match self.timestamped {
            true => Ok(timestamped::decode(stored)?.0),
            false => Ok(-1),
        }
    }

    /// The entry under the current key bytes, past the cache.
    pub(super) fn load(&self, io: &StoreIo) -> Result<Option<(V, i64)>> {
        if let Some(recency) = &self.recency {
            self.fill(recency, io)?;
            recency.borrow_mut().touch(&self.key_bytes);
        }
        let mut found = Ok(None);
        let mut read = |stored: Option<&[u8]>| {
            self.loaded_len.set(stored.map_or(0, <[u8]>::len));
            found = stored.map(|stored| self.read_value(stored)).transpose();
        };
        match self.below {
            Below::KeyValue => io
                .stores
                .key_value(self.index)
                .get_with(&self.key_bytes, &mut read)?,
            Below::Window => {
                let (key, start_ms) = split_window_key(&self.key_bytes);
                io.stores
                    .window(self.index)
                    .get_with(key, start_ms, &mut read)?;
            }
            Below::Session => {
                let (key, start_ms, end_ms) = split_session_key(&self.key_bytes);
                io.stores
                    .session(self.index)
                    .get_with(key, start_ms, end_ms, &mut read)?;
            }
            Below::Versioned => return self.load_version(AsOf::Latest, io),
        }
        found
    }

    /// The value of the current key, which has no place in the cache afterwards unless it had one before.
    pub(super) fn peek(&self, io: &StoreIo) -> Result<Option<Found<V>>> {
        if let Some(cache) = &self.cache
            && let Some(slot) = cache.find(&self.key_bytes)
        {
            let entry = cache.entry(slot);
            return Ok(entry.value.is_some().then(|| Found {
                value: entry.value.clone(),
                timestamp: entry.timestamp,
            }));
        }
        Ok(self.load(io)?.map(|(value, timestamp)| Found {
            value: Rc::new(Some(value)),
            timestamp,
        }))
    }

    /// A version of the current key, in a versioned store.
    fn load_version(&self, as_of: AsOf, io: &StoreIo) -> Result<Option<(V, i64)>> {
        let mut found = Ok(None);
        let mut read = |version: Option<Version<'_>>| {
            found = version
                .map(|version| {
                    Ok((
                        self.value.deserialize(version.value)?,
                        version.valid_from_ms,
                    ))
                })
                .transpose();
        };
        io.stores
            .versioned(self.index)
            .get_with(&self.key_bytes, as_of, &mut read)?;
        found
    }

    /// The value the current key had at a time: in a versioned store.
    pub(super) fn get_as_of(&self, time_ms: i64, io: &StoreIo) -> Result<Option<Found<V>>> {
        let found = self.load_version(AsOf::TimeMs(time_ms), io)?;
        Ok(found.map(|(value, timestamp)| Found {
            value: Rc::new(Some(value)),
            timestamp,
        }))
    }

    /// The value of the current key.
    pub(super) fn get(&mut self, io: &StoreIo) -> Result<Option<Found<V>>> {
        if self.cache.is_some() {
            let slot = self.cached_slot(io)?;
            let cache = self.cache.as_ref().expect("checked above");
            let entry = cache.entry(slot);
            return Ok(entry.value.is_some().then(|| Found {
                value: entry.value.clone(),
                timestamp: entry.timestamp,
            }));
        }
        Ok(self.load(io)?.map(|(value, timestamp)| Found {
            value: Rc::new(Some(value)),
            timestamp,
        }))
    }

    /// The cache's slot of the current key, filled from the store when it is new.
    #[inline]
    fn cached_slot(&mut self, io: &StoreIo) -> Result<u32> {
        let cache = self.cache.as_ref().expect("only called with a cache");
        if let Some(slot) = cache.find(&self.key_bytes) {
            return Ok(slot);
        }
        let (value, timestamp) = match self.load(io)? {
            Some((value, timestamp)) => (Rc::new(Some(value)), timestamp),
            None => (self.absent.clone(), -1),
        };
        let cache = self.cache.as_mut().expect("only called with a cache");
        let slot = cache.insert(&self.key_bytes, value, timestamp);
        cache.note_encoded_len(slot, self.loaded_len.get());
        Ok(slot)
    }

    /// Sets the value of the current key (`None` deletes). With a cache it reaches the store at the next flush; without
    /// one it is written and logged at once.
    pub(super) fn put(
        &mut self,
        value: Rc<Option<V>>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<Placement> {
        let Some(cache) = &mut self.cache else {
            return self.write(
                value.as_ref().as_ref(),
                cause.timestamp,
                cause.origin.timestamp,
                io,
            );
        };
        let slot = match cache.find(&self.key_bytes) {
            Some(slot) => slot,
            None => cache.insert(&self.key_bytes, self.absent.clone(), -1),
        };
        let entry = cache.entry_mut(slot);
        entry.value = value;
        entry.timestamp = cause.timestamp;
        entry.origin = cause.origin;
        entry.headers.clone_from(cause.headers);
        cache.set_source(slot, &io.source);
        cache.mark_changed(slot);
        Ok(Placement::Latest)
    }

    /// Changes the value of the current key in place; its timestamp becomes the later one of both.
    ///
    /// The old value of an update without a cache is read from its bytes once more, and only when `with_old` says so.
    #[inline]
    pub(super) fn update(
        &mut self,
        cause: Cause<'_>,
        with_old: bool,
        io: &mut StoreIo,
        change: impl FnOnce(&mut Option<V>),
    ) -> Result<Updated<V>> {
        if self.cache.is_some() {
            let slot = self.cached_slot(io)?;
            self.own_value(slot)?;
            let cache = self.cache.as_mut().expect("checked above");
            let entry = cache.entry_mut(slot);
            let value = Rc::get_mut(&mut entry.value).expect("made the only owner above");
            let timestamp = match value {
                Some(_) => entry.timestamp.max(cause.timestamp),
                None => cause.timestamp,
            };
            match io.undo_updates {
                false => change(value),
                true => change_or_undo(&*self.value, &mut self.value_bytes, value, change)?,
            }
            entry.timestamp = timestamp;
            entry.origin = cause.origin;
            entry.headers.clone_from(cause.headers);
            cache.set_source(slot, &io.source);
            cache.mark_changed(slot);
            return Ok(Updated::Cached);
        }
        let (mut value, old, timestamp) = match self.load(io)? {
            None => (None, None, cause.timestamp),
            Some((value, stored)) => {
                let old = match with_old {
                    true => self.load(io)?.map(|(value, _)| value),
                    false => None,
                };
                (Some(value), old, stored.max(cause.timestamp))
            }
        };
        change(&mut value);
        let placement = self.write(value.as_ref(), timestamp, cause.origin.timestamp, io)?;
        Ok(Updated::Written {
            new: value,
            old,
            timestamp,
            placement,
        })
    }

    /// Changes a value that the cache holds, in place.
    #[inline]
    pub(super) fn change(
        &mut self,
        value: &mut Option<V>,
        undo: bool,
        change: impl FnOnce(&mut Option<V>),
    ) -> Result<()> {
        match undo {
            false => change(value),
            true => change_or_undo(&*self.value, &mut self.value_bytes, value, change)?,
        }
        Ok(())
    }

    /// A copy of a value, by way of its bytes.
    pub(super) fn copy(&mut self, value: &V) -> Result<V> {
        self.value_bytes.clear();
        self.value.serialize(value, &mut self.value_bytes)?;
        Ok(self.value.deserialize(&self.value_bytes)?)
    }

    /// A value and its timestamp as the store has them.
    pub(super) fn encoded(&self, value: &V, timestamp: i64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let timestamp = self.timestamped.then_some(timestamp);
        encode(&*self.value, timestamp, value, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes the cache the only owner of a value that a reader up the stack may still hold, by way of its bytes.
    #[inline]
    fn own_value(&mut self, slot: u32) -> Result<()> {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let entry = cache.entry_mut(slot);
        if Rc::get_mut(&mut entry.value).is_some() {
            return Ok(());
        }
        entry.value = Rc::new(match entry.value.as_ref() {
            None => None,
            Some(value) => {
                self.value_bytes.clear();
                self.value.serialize(value, &mut self.value_bytes)?;
                Some(self.value.deserialize(&self.value_bytes)?)
            }
        });
        Ok(())
    }

    /// Writes the current key's value to store and changelog. A tombstone is logged with the time of the record that
    /// caused it, a value with its own. A version is logged with its time whatever it is, and even when the store no longer
    /// takes it, as Kafka Streams does.
    pub(super) fn write(
        &mut self,
        value: Option<&V>,
        timestamp: i64,
        context_timestamp: i64,
        io: &mut StoreIo,
    ) -> Result<Placement> {
        self.value_bytes.clear();
        let bytes = match value {
            None => None,
            Some(value) => {
                encode(
                    &*self.value,
                    self.timestamped.then_some(timestamp),
                    value,
                    &mut self.value_bytes,
                )?;
                Some(self.value_bytes.as_slice())
            }
        };
        if let Some(recency) = &self.recency {
            self.fill(recency, io)?;
            self.make_room(
                &mut recency.borrow_mut(),
                value.is_some(),
                context_timestamp,
                io,
            )?;
        }
        let mut placement = Placement::Latest;
        match self.below {
            Below::KeyValue => io
                .stores
                .key_value_mut(self.index)
                .put(&self.key_bytes, bytes)?,
            Below::Window => {
                let (key, start_ms) = split_window_key(&self.key_bytes);
                io.stores.window_mut(self.index).put(key, bytes, start_ms)?;
            }
            Below::Session => {
                let (key, start_ms, end_ms) = split_session_key(&self.key_bytes);
                io.stores
                    .session_mut(self.index)
                    .put(key, start_ms, end_ms, bytes)?;
            }
            Below::Versioned => {
                let store = io.stores.versioned_mut(self.index);
                placement = match store.put(&self.key_bytes, bytes, timestamp)? {
                    VersionedPut::Latest => Placement::Latest,
                    VersionedPut::Older { valid_to_ms } => Placement::Older {
                        valid_to: valid_to_ms,
                    },
                    VersionedPut::Rejected => Placement::Expired,
                };
            }
        }
        if let Some(changelog) = &self.changelog {
            let skip = if self.timestamped { 8 } else { 0 };
            let logged = match value {
                Some(_) if self.timed => timestamp,
                _ if self.below == Below::Versioned => timestamp,
                _ => context_timestamp,
            };
            let key_len = self.key_bytes.len();
            if self.below == Below::Window {
                self.key_bytes.extend_from_slice(&0i32.to_be_bytes());
            }
            changelog.log(
                io,
                &self.key_bytes,
                bytes.map(|bytes| &bytes[skip..]),
                logged,
            );
            self.key_bytes.truncate(key_len);
        }
        Ok(placement)
    }

    /// Tells a store's recency of the keys that were restored.
    #[inline]
    fn fill(&self, recency: &RefCell<Recency>, io: &StoreIo) -> Result<()> {
        let mut recency = recency.borrow_mut();
        if recency.is_to_be_filled() {
            let store = io.stores.key_value(self.index);
            for entry in store.range(None, None, Order::Forward)? {
                recency.put(&entry?.0);
            }
        }
        Ok(())
    }

    /// Takes note of a write of the current key, and deletes the key that must go for it, in the changelog too: before the
    /// write itself, as `ChangeLoggingKeyValueBytesStore` has it.
    fn make_room(
        &self,
        recency: &mut Recency,
        is_put: bool,
        context_timestamp: i64,
        io: &mut StoreIo,
    ) -> Result<()> {
        if !is_put {
            recency.remove(&self.key_bytes);
            return Ok(());
        }
        if let Some(eldest) = recency.put(&self.key_bytes) {
            io.stores.key_value_mut(self.index).put(&eldest, None)?;
            if let Some(changelog) = &self.changelog {
                changelog.log(io, &eldest, None, context_timestamp);
            }
        }
        Ok(())
    }

    /// Writes the next changed entry and returns it for whoever is downstream, its key in `key_bytes`; `None` when the
    /// flush is done. In a table's store, a tombstone for a key that the store does not have is neither written nor
    /// returned, as `CachingKeyValueStore` has it for stores with a flush listener.
    pub(super) fn flush_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<Flushed<V>>> {
        loop {
            let Some(cache) = &mut self.cache else {
                return Ok(None);
            };
            let Some(slot) = cache.take_changed() else {
                return Ok(None);
            };
            let entry = cache.entry(slot);
            let (new, timestamp, origin) = (entry.value.clone(), entry.timestamp, entry.origin);
            let headers = entry.headers.clone();
            self.key_bytes.clear();
            self.key_bytes.extend_from_slice(&entry.key);
            io.source = cache.take_source(slot);
            let old = if with_old || new.is_none() {
                self.load(io)?.map(|(value, _)| value)
            } else {
                None
            };
            if self.elides_tombstones && new.is_none() && old.is_none() {
                continue;
            }
            self.write(new.as_ref().as_ref(), timestamp, origin.timestamp, io)?;
            if let Some(cache) = &mut self.cache {
                cache.note_encoded_len(slot, self.value_bytes.len());
            }
            return Ok(Some(Flushed {
                old: match with_old {
                    true => Rc::new(old),
                    false => self.absent.clone(),
                },
                timestamp: match new.as_ref() {
                    Some(_) => timestamp,
                    None => origin.timestamp,
                },
                new,
                origin,
                headers,
            }));
        }
    }

    /// What the cache holds back, as the store would have it, for the keys that are wanted.
    pub(super) fn changes<K>(
        &self,
        mut wanted: impl FnMut(&[u8]) -> Option<K>,
    ) -> Result<Changes<K>> {
        let mut changes = Vec::new();
        for entry in self.cache.iter().flat_map(Cache::changed_entries) {
            let Some(key) = wanted(&entry.key) else {
                continue;
            };
            let value = match entry.value.as_ref() {
                None => None,
                Some(value) => {
                    let mut bytes = Vec::new();
                    let timestamp = self.timestamped.then_some(entry.timestamp);
                    encode(&*self.value, timestamp, value, &mut bytes)?;
                    Some(bytes)
                }
            };
            changes.push((key, value));
        }
        Ok(changes)
    }

    /// Writes changed entries without telling anybody, as [`AnyState::write_changed`](super::AnyState::write_changed) does.
    pub(super) fn write_changed(&mut self, io: &mut StoreIo) -> Result<bool> {
        while !io.effects.are_many() {
            if self.flush_next(false, io)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
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

/// Changes a value in place. If that panics, the value is made again from its bytes before the panic goes on.
fn change_or_undo<V: 'static>(
    serde: &dyn Serde<V>,
    bytes: &mut Vec<u8>,
    value: &mut Option<V>,
    change: impl FnOnce(&mut Option<V>),
) -> Result<()> {
    bytes.clear();
    if let Some(value) = value {
        serde.serialize(value, bytes)?;
    }
    let was_there = value.is_some();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| change(value))) {
        *value = match was_there {
            true => Some(serde.deserialize(bytes)?),
            false => None,
        };
        resume_unwind(panic);
    }
    Ok(())
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

/// The key, the start and the end of a binary session key, which has the end first.
pub(super) fn split_session_key(bytes: &[u8]) -> (&[u8], i64, i64) {
    let (rest, start) = bytes
        .split_last_chunk::<8>()
        .expect("a session key ends with its start");
    let (key, end) = rest
        .split_last_chunk::<8>()
        .expect("a session's end is in front of its start");
    (key, i64::from_be_bytes(*start), i64::from_be_bytes(*end))
}

/// The key and the window's start of a binary window key.
pub(super) fn split_window_key(bytes: &[u8]) -> (&[u8], i64) {
    let (key, start) = bytes
        .split_last_chunk::<8>()
        .expect("a window key ends with its start");
    (key, i64::from_be_bytes(*start))
}
