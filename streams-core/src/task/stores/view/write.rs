//! Putting a value: into the cache, or into the byte store and the changelog.

use super::{Below, Cause, Placement, View, encode, split_session_key, split_window_key};
use crate::error::Result;
use crate::task::stores::StoreIo;
use crate::task::stores::recency::Recency;
use std::cell::RefCell;
use std::rc::Rc;
use streams_state::{Order, VersionedPut};

impl<V: 'static> View<V> {
    /// Sets the value of the current key (`None` deletes). With a cache it reaches the store at the next flush; without
    /// one it is written and logged at once.
    pub(in crate::task::stores) fn put(
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

    /// Writes the current key's value to store and changelog. A tombstone is logged with the time of the record that
    /// caused it, a value with its own. A version is logged with its time whatever it is, and even when the store no longer
    /// takes it, as Kafka Streams does.
    pub(in crate::task::stores) fn write(
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
    pub(super) fn fill(&self, recency: &RefCell<Recency>, io: &StoreIo) -> Result<()> {
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
}
