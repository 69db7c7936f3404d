//! The record cache: typed values by key bytes, and the order in which they were changed.
//!
//! What is observable is Kafka Streams' `NamedCache`: a flush hands out each changed key once, in the order of the last
//! change. Memory is given back for all unchanged entries together, never one by one.

use super::SourceRecord;
use super::admission::Admission;
use crate::record::Headers;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

/// Which input record caused a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The task's input, `None` for a change made by a punctuator.
    pub(crate) input: Option<u32>,
    pub(crate) offset: i64,
    /// The timestamp of the record that caused it.
    pub(crate) timestamp: i64,
}

impl Origin {
    /// What a dead letter comes from, in the eyes of who sends it: nobody is asked about one that cannot be written.
    pub(crate) const DEAD_LETTER: Origin = Origin {
        input: None,
        offset: -2,
        timestamp: -1,
    };
}

pub(crate) struct Entry<V> {
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Rc<Option<V>>,
    pub(crate) timestamp: i64,
    pub(crate) origin: Origin,
    pub(crate) headers: Headers,
    /// The source record of the last change, where handlers want it.
    source: Option<Arc<SourceRecord>>,
    /// When it was last changed by the cache's own count; 0 is unchanged.
    changed: u64,
    /// How long its value was when it was last read or written as bytes: what it is taken to hold on the heap.
    encoded_len: usize,
}

pub(crate) struct Cache<V> {
    index: HashTable<u32>,
    entries: Vec<Entry<V>>,
    /// Entries changed since the last flush, each once.
    changed: Vec<u32>,
    /// The changed entries of a flush under way, in order, the next one last.
    flushing: Vec<u32>,
    clock: u64,
    bytes: usize,
    hasher: DefaultHashBuilder,
    /// Of values that are only read.
    pub(super) reads: Admission,
}

/// What an entry costs besides its key: the entry, its share of the table, the value's allocation.
const fn entry_overhead<V>() -> usize {
    size_of::<Entry<V>>() + 2 * size_of::<u32>() + size_of::<V>() + 2 * size_of::<usize>()
}

impl<V> Cache<V> {
    pub(crate) fn new() -> Self {
        Cache {
            index: HashTable::new(),
            entries: Vec::new(),
            changed: Vec::new(),
            flushing: Vec::new(),
            clock: 0,
            bytes: 0,
            hasher: DefaultHashBuilder::default(),
            reads: Admission::default(),
        }
    }

    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index
            .find(hash, |slot| &*self.entries[*slot as usize].key == key)
            .copied()
    }

    /// Whether an entry has only been read, and never written.
    #[inline]
    pub(super) fn is_only_read(&self, slot: u32) -> bool {
        self.entry(slot).origin == Origin::default()
    }

    #[inline]
    pub(crate) fn entry(&self, slot: u32) -> &Entry<V> {
        &self.entries[slot as usize]
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, slot: u32) -> &mut Entry<V> {
        &mut self.entries[slot as usize]
    }

    /// Adds an unchanged entry; the key must not be there.
    pub(crate) fn insert(&mut self, key: &[u8], value: Rc<Option<V>>, timestamp: i64) -> u32 {
        let slot = u32::try_from(self.entries.len()).expect("a cache holds fewer than 2^32 keys");
        self.entries.push(Entry {
            key: key.into(),
            value,
            timestamp,
            origin: Origin::default(),
            headers: Headers::new(),
            source: None,
            changed: 0,
            encoded_len: 0,
        });
        let hash = self.hasher.hash_one(key);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, slot, |slot| {
            hasher.hash_one(&*entries[*slot as usize].key)
        });
        self.bytes += key.len() + entry_overhead::<V>();
        slot
    }

    /// Takes note of how long an entry's value is as bytes.
    pub(crate) fn note_encoded_len(&mut self, slot: u32, encoded_len: usize) {
        let entry = &mut self.entries[slot as usize];
        self.bytes = self.bytes - entry.encoded_len + encoded_len;
        entry.encoded_len = encoded_len;
    }

    /// Takes note of the source record of an entry's last change.
    #[inline]
    pub(crate) fn set_source(&mut self, slot: u32, source: &Option<Arc<SourceRecord>>) {
        let entry = &mut self.entries[slot as usize];
        if source.is_none() && entry.source.is_none() {
            return;
        }
        let bytes = |source: &Option<Arc<SourceRecord>>| source.as_ref().map_or(0, |s| s.bytes());
        self.bytes = self.bytes - bytes(&entry.source) + bytes(source);
        entry.source.clone_from(source);
    }

    /// Gives up the source record of an entry's last change.
    #[inline]
    pub(crate) fn take_source(&mut self, slot: u32) -> Option<Arc<SourceRecord>> {
        let source = self.entries[slot as usize].source.take();
        self.bytes -= source.as_ref().map_or(0, |source| source.bytes());
        source
    }

    /// Marks an entry as changed now.
    #[inline]
    pub(crate) fn mark_changed(&mut self, slot: u32) {
        self.clock += 1;
        let entry = &mut self.entries[slot as usize];
        if entry.changed == 0 {
            self.changed.push(slot);
        }
        entry.changed = self.clock;
    }

    /// The next changed entry, which counts as unchanged from now on. A flush takes them until there is none; what changes
    /// meanwhile comes behind.
    pub(crate) fn take_changed(&mut self) -> Option<u32> {
        loop {
            while let Some(slot) = self.flushing.pop() {
                let entry = &mut self.entries[slot as usize];
                if entry.changed != 0 {
                    entry.changed = 0;
                    return Some(slot);
                }
            }
            if self.changed.is_empty() {
                return None;
            }
            std::mem::swap(&mut self.changed, &mut self.flushing);
            let entries = &self.entries;
            self.flushing
                .sort_unstable_by_key(|slot| std::cmp::Reverse(entries[*slot as usize].changed));
        }
    }

    /// The keys of the flush under way, in order.
    pub(crate) fn flushed_next(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let slots = self.flushing.iter().rev();
        slots.map(|slot| &*self.entries[*slot as usize].key)
    }

    /// The changed entries, in no particular order; they stay changed.
    pub(crate) fn changed_entries(&self) -> impl Iterator<Item = &Entry<V>> {
        self.changed
            .iter()
            .chain(&self.flushing)
            .map(|slot| &self.entries[*slot as usize])
            .filter(|entry| entry.changed != 0)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops everything when nothing is changed.
    pub(crate) fn forget_clean(&mut self) {
        if self.changed.is_empty() && self.flushing.is_empty() {
            self.index.clear();
            self.entries.clear();
            self.bytes = 0;
            self.reads.emptied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(cache: &mut Cache<i32>) -> Vec<u8> {
        let mut keys = Vec::new();
        while let Some(slot) = cache.take_changed() {
            keys.push(cache.entry(slot).key[0]);
        }
        keys
    }

    #[test]
    fn a_flush_hands_out_each_key_once_in_the_order_of_its_last_change() {
        let mut cache = Cache::new();
        let slots: Vec<u32> = (0..3u8)
            .map(|key| cache.insert(&[key], Rc::new(Some(0)), 0))
            .collect();
        for slot in [0, 1, 2, 0] {
            cache.mark_changed(slots[slot]);
        }
        assert_eq!(flush(&mut cache), [1, 2, 0]);
        assert_eq!(flush(&mut cache), [0u8; 0]);
    }

    #[test]
    fn what_changes_during_a_flush_is_flushed_too() {
        let mut cache = Cache::new();
        let a = cache.insert(b"a", Rc::new(Some(0)), 0);
        let b = cache.insert(b"b", Rc::new(Some(0)), 0);
        cache.mark_changed(a);
        cache.mark_changed(b);
        assert_eq!(cache.take_changed(), Some(a));
        cache.mark_changed(a);
        assert_eq!(cache.take_changed(), Some(b));
        assert_eq!(cache.take_changed(), Some(a));
        assert_eq!(cache.take_changed(), None);
    }

    #[test]
    fn only_a_cache_without_changes_gives_memory_back() {
        let mut cache = Cache::new();
        let a = cache.insert(b"a", Rc::new(Some(0)), 0);
        cache.mark_changed(a);
        cache.forget_clean();
        assert_eq!(cache.find(b"a"), Some(a));
        cache.take_changed();
        cache.take_changed();
        cache.note_encoded_len(a, 100);
        cache.note_encoded_len(a, 50);
        assert_eq!(cache.bytes(), 1 + 50 + entry_overhead::<i32>());
        cache.forget_clean();
        assert_eq!(cache.find(b"a"), None);
        assert_eq!(cache.bytes(), 0);
    }
}
