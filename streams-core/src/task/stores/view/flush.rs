//! Writing what the cache holds back, and showing it before that.

use super::{Below, View};
use crate::error::Result;
use crate::task::stores::cache::Cache;
use crate::task::stores::merged::Changes;
use crate::task::stores::{Flushed, StoreIo};
use std::rc::Rc;

impl<V: 'static> View<V> {
    /// Writes the next changed entry and returns it for whoever is downstream, its key in `key_bytes`; `None` when the
    /// flush is done. In a table's store, a tombstone for a key that the store does not have is neither written nor
    /// returned, as `CachingKeyValueStore` has it for stores with a flush listener.
    pub(in crate::task::stores) fn flush_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<Flushed<V>>> {
        loop {
            let Some(cache) = &mut self.cache else {
                return Ok(None);
            };
            if self.below == Below::KeyValue {
                self.prefetches
                    .flush(cache, |keys| io.stores.key_value(self.index).prefetch(keys));
            }
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
    pub(in crate::task::stores) fn changes<K>(
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
                Some(value) => Some(self.encoded(value, entry.timestamp)?),
            };
            changes.push((key, value));
        }
        Ok(changes)
    }

    /// Writes changed entries without telling anybody, as [`AnyState::write_changed`](crate::task::stores::AnyState::write_changed) does.
    pub(in crate::task::stores) fn write_changed(&mut self, io: &mut StoreIo) -> Result<bool> {
        while !io.effects.are_many() {
            if self.flush_next(false, io)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
