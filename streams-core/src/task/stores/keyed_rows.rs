//! Rows by the bytes of a record key: the index of the caches of windows and of sessions.
//!
//! A row has a number for as long as it is there, so that lists of rows need no keys.

use super::prefetch::AT_ONCE;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// What a row costs besides itself: its share of the table and of the allocator's own records.
const ROW_OVERHEAD: usize = 24;

pub(super) struct KeyedRows<R> {
    index: HashTable<u32>,
    slots: Vec<Option<KeyedRow<R>>>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
    key_bytes: usize,
}

pub(super) struct KeyedRow<R> {
    pub(super) key: Box<[u8]>,
    pub(super) row: R,
}

impl<R> KeyedRows<R> {
    pub(super) fn new() -> Self {
        KeyedRows {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hasher: DefaultHashBuilder::default(),
            key_bytes: 0,
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_key = |slot: &u32| match &self.slots[*slot as usize] {
            Some(found) => &*found.key == key,
            None => false,
        };
        self.index.find(hash, is_key).copied()
    }

    /// Touches the rows of these keys, and what `touch` reads of each. Returns about how many are here: one that is not may count.
    pub(super) fn prefetch(&self, keys: &[&[u8]], touch: impl Fn(&R) -> bool) -> usize {
        let mut slots = [0; AT_ONCE];
        let mut len = 0;
        for key in keys.iter().take(AT_ONCE) {
            // The table has a few bits of each hash: nearly always the first place that fits is the key's.
            if let Some(slot) = self.index.find(self.hasher.hash_one(key), |_| true) {
                slots[len] = *slot;
                len += 1;
            }
        }
        for row in slots[..len].iter().filter_map(|slot| self.get(*slot)) {
            std::hint::black_box((row.key.first(), touch(&row.row)));
        }
        len
    }

    /// Adds a row; the key must not be there.
    pub(super) fn insert(&mut self, key: &[u8], row: R) -> u32 {
        let row = Some(KeyedRow {
            key: key.into(),
            row,
        });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = row;
                slot
            }
            None => {
                self.slots.push(row);
                u32::try_from(self.slots.len() - 1).expect("a cache has fewer than 2^32 rows")
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = |slot: &u32| match &slots[*slot as usize] {
            Some(found) => hasher.hash_one(&*found.key),
            None => 0,
        };
        self.index.insert_unique(hash(&slot), slot, hash);
        self.key_bytes += key.len();
        slot
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<KeyedRow<R>> {
        let removed = self.slots[slot as usize].take()?;
        let hash = self.hasher.hash_one(&*removed.key);
        if let Ok(entry) = self.index.find_entry(hash, |found| *found == slot) {
            entry.remove();
        }
        self.free.push(slot);
        self.key_bytes -= removed.key.len();
        Some(removed)
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&KeyedRow<R>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut KeyedRow<R>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The row of a slot that was found or inserted.
    #[inline]
    pub(super) fn row(&self, slot: u32) -> &R {
        &self.get(slot).expect("the slot of a row that is there").row
    }

    /// The row of a slot that was found or inserted.
    #[inline]
    pub(super) fn row_mut(&mut self, slot: u32) -> &mut R {
        &mut self
            .get_mut(slot)
            .expect("the slot of a row that is there")
            .row
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &KeyedRow<R>)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|(row, slot)| Some((slot, row.as_ref()?)))
    }

    /// Numbers of rows are below this.
    pub(super) fn slot_count(&self) -> u32 {
        self.slots.len() as u32
    }

    /// What keys and index take; the rows are their owner's to count.
    pub(super) fn bytes(&self) -> usize {
        let each = size_of::<Option<KeyedRow<R>>>() + ROW_OVERHEAD;
        self.slots.len() * each + self.key_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_here_are_prefetched() {
        let mut rows = KeyedRows::new();
        for key in [b"a", b"b"] {
            rows.insert(key, 1);
        }
        let touched = std::cell::Cell::new(0);
        let touch = |row: &i32| {
            touched.set(touched.get() + row);
            true
        };
        assert_eq!(rows.prefetch(&[b"a", b"b"], touch), 2);
        assert_eq!(touched.get(), 2);
        assert_eq!(KeyedRows::new().prefetch(&[b"a", b"b"], touch), 0);
    }

    #[test]
    fn a_slot_is_used_again_and_found_by_its_new_key() {
        let mut rows = KeyedRows::new();
        let (a, b) = (rows.insert(b"a", 1), rows.insert(b"b", 2));
        assert_eq!((rows.find(b"a"), rows.find(b"b")), (Some(a), Some(b)));
        let all = rows.bytes();
        assert_eq!(rows.remove(a).map(|row| row.row), Some(1));
        assert_eq!(rows.find(b"a"), None);
        assert_eq!(rows.insert(b"c", 3), a);
        assert_eq!(rows.find(b"c"), Some(a));
        assert_eq!(rows.find(b"a"), None);
        assert_eq!(rows.bytes(), all);
        assert_eq!(rows.iter().map(|(_, row)| row.row).sum::<i32>(), 5);
    }
}
