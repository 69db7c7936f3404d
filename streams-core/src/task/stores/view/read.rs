//! What a view reads: from the cache, or from the byte store.

use super::{Below, View, split_session_key, split_window_key};
use crate::error::Result;
use crate::task::stores::{Found, StoreIo};
use std::rc::Rc;
use streams_state::{AsOf, Version, timestamped};

impl<V: 'static> View<V> {
    pub(in crate::task::stores) fn read_value(&self, stored: &[u8]) -> Result<(V, i64)> {
        if self.timestamped {
            let (timestamp, value) = timestamped::decode(stored)?;
            Ok((self.value.deserialize(value)?, timestamp))
        } else {
            Ok((self.value.deserialize(stored)?, -1))
        }
    }

    /// Reads a stored value in place of another one, and returns its timestamp.
    fn read_value_into(&self, stored: &[u8], place: &mut Option<V>) -> Result<i64> {
        let (timestamp, bytes) = match self.timestamped {
            true => timestamped::decode(stored)?,
            false => (-1, stored),
        };
        match place {
            Some(value) => self.value.deserialize_into(bytes, value)?,
            None => *place = Some(self.value.deserialize(bytes)?),
        }
        Ok(timestamp)
    }

    /// The timestamp of a stored value alone.
    pub(in crate::task::stores) fn read_timestamp(&self, stored: &[u8]) -> Result<i64> {
        match self.timestamped {
            true => Ok(timestamped::decode(stored)?.0),
            false => Ok(-1),
        }
    }

    /// The entry under the current key bytes, past the cache.
    pub(in crate::task::stores) fn load(&self, io: &StoreIo) -> Result<Option<(V, i64)>> {
        if self.below == Below::Versioned {
            return self.load_version(AsOf::Latest, io);
        }
        let mut found = Ok(None);
        self.read_stored(io, |stored| {
            found = stored.map(|stored| self.read_value(stored)).transpose();
        })?;
        found
    }

    /// The same, in place of the value that was looked up last if nobody has that any more.
    fn load_shared(&mut self, io: &StoreIo) -> Result<Option<Found<V>>> {
        if self.below == Below::Versioned {
            return Ok(self.load(io)?.map(Found::read));
        }
        let mut value = std::mem::replace(&mut self.spare, self.absent.clone());
        if Rc::get_mut(&mut value).is_none() {
            value = Rc::new(None);
        }
        let place = Rc::get_mut(&mut value).expect("made the only owner above");
        let mut timestamp = Ok(None);
        self.read_stored(io, |stored| {
            timestamp = stored
                .map(|stored| self.read_value_into(stored, place))
                .transpose();
        })?;
        self.spare = value.clone();
        Ok(timestamp?.map(|timestamp| Found { value, timestamp }))
    }

    /// Calls `read` with what the byte store has under the current key bytes: in one without versions.
    #[inline]
    fn read_stored(&self, io: &StoreIo, mut read: impl FnMut(Option<&[u8]>)) -> Result<()> {
        self.prefetches.loaded();
        if let Some(recency) = &self.recency {
            self.fill(recency, io)?;
            recency.borrow_mut().touch(&self.key_bytes);
        }
        let mut read = |stored: Option<&[u8]>| {
            self.loaded_len.set(stored.map_or(0, <[u8]>::len));
            read(stored);
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
            Below::Versioned => unreachable!("versions are read as such"),
        }
        Ok(())
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

    /// The value of the current key, which has no place in the cache afterwards unless it had one before.
    pub(in crate::task::stores) fn peek(&self, io: &StoreIo) -> Result<Option<Found<V>>> {
        if let Some(cache) = &self.cache
            && let Some(slot) = cache.find(&self.key_bytes)
        {
            let entry = cache.entry(slot);
            return Ok(Found::held(&entry.value, entry.timestamp));
        }
        Ok(self.load(io)?.map(Found::read))
    }

    /// The value of the current key, the caller's own unless the cache has it.
    pub(in crate::task::stores) fn get(&mut self, io: &StoreIo) -> Result<Option<Found<V>>> {
        match self.get_cached(io)? {
            Some(slot) => Ok(self.held(slot)),
            None => Ok(self.load(io)?.map(Found::read)),
        }
    }

    /// The value of the current key, for a look at it.
    pub(in crate::task::stores) fn look_up(&mut self, io: &StoreIo) -> Result<Option<Found<V>>> {
        match self.get_cached(io)? {
            Some(slot) => Ok(self.held(slot)),
            None => self.load_shared(io),
        }
    }

    /// The cache's slot of the current key, unless its value passes by the cache.
    fn get_cached(&mut self, io: &StoreIo) -> Result<Option<u32>> {
        let Some(cache) = &mut self.cache else {
            return Ok(None);
        };
        match cache.find(&self.key_bytes) {
            Some(slot) => {
                if cache.is_only_read(slot) {
                    cache.reads.found();
                }
                Ok(Some(slot))
            }
            None if !cache.reads.admit() => Ok(None),
            None => self.fill_slot(io).map(Some),
        }
    }

    fn held(&self, slot: u32) -> Option<Found<V>> {
        let cache = self.cache.as_ref()?;
        let entry = cache.entry(slot);
        Found::held(&entry.value, entry.timestamp)
    }

    /// The value the current key had at a time: in a versioned store.
    pub(in crate::task::stores) fn get_as_of(
        &self,
        time_ms: i64,
        io: &StoreIo,
    ) -> Result<Option<Found<V>>> {
        let found = self.load_version(AsOf::TimeMs(time_ms), io)?;
        Ok(found.map(Found::read))
    }

    /// The cache's slot of the current key, filled from the store when it is new.
    #[inline]
    pub(super) fn cached_slot(&mut self, io: &StoreIo) -> Result<u32> {
        let cache = self.cache.as_ref().expect("only called with a cache");
        if let Some(slot) = cache.find(&self.key_bytes) {
            return Ok(slot);
        }
        self.fill_slot(io)
    }

    /// A new slot of the cache for the current key, filled from the store.
    fn fill_slot(&mut self, io: &StoreIo) -> Result<u32> {
        let (value, timestamp) = match self.load(io)? {
            Some((value, timestamp)) => (Rc::new(Some(value)), timestamp),
            None => (self.absent.clone(), -1),
        };
        let cache = self.cache.as_mut().expect("only called with a cache");
        let slot = cache.insert(&self.key_bytes, value, timestamp);
        cache.note_encoded_len(slot, self.loaded_len.get());
        Ok(slot)
    }
}
