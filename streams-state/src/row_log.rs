//! `RowLog`: rows one behind the other as they were written, found by a hash of their keys.
//!
//! A write costs one look-up and a copy; nothing is allocated for a row, and it takes little more than its own bytes. Their order
//! is worked out when somebody asks for it.

use std::cell::OnceCell;
use std::hash::BuildHasher;
use std::ops::Bound;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::records::{INDEX_BYTES, Records, Write};
use crate::table::RowRange;

/// Rows that were replaced by longer or shorter ones may take this much, and as much as the others do.
const DEAD_BYTES: usize = 64 * 1024;

/// A row that was replaced.
const DEAD: u32 = 1 << 28;

/// The last write to each key.
#[derive(Default)]
pub(crate) struct RowLog {
    index: HashTable<u32>,
    records: Records,
    dead_bytes: usize,
    /// Where the rows are in the order of their keys, since somebody asked for it.
    order: OnceCell<Vec<u32>>,
    hasher: DefaultHashBuilder,
}

impl RowLog {
    /// The last write to a key; inside it `None` for a deletion.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.find(key).map(|at| self.records.get(at).1)
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        let records = &self.records;
        let is_key = |at: &u32| records.key(*at) == key;
        self.index.find(self.hasher.hash_one(key), is_key).copied()
    }

    /// Writes a row, `None` deletes it.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.order.take();
        let hash = self.hasher.hash_one(key);
        let records = &self.records;
        let is_key = |at: &u32| records.key(*at) == key;
        if let Some(slot) = self.index.find_mut(hash, is_key) {
            if !self.records.overwrite(*slot, value) {
                self.dead_bytes += self.records.record_len(*slot);
                self.records.set_marks(*slot, DEAD);
                *slot = self.records.append(key, value, 0);
                self.compact();
            }
            return;
        }
        let at = self.records.append(key, value, 0);
        let (records, hasher) = (&self.records, &self.hasher);
        let rehash = |at: &u32| hasher.hash_one(records.key(*at));
        self.index.insert_unique(hash, at, rehash);
    }

    /// Gives the memory of replaced rows back where they are most of all; those that stay have no marks.
    fn compact(&mut self) {
        if self.dead_bytes < DEAD_BYTES || self.dead_bytes < self.records.bytes() / 2 {
            return;
        }
        let mut records = Records::with_capacity(self.records.bytes() - self.dead_bytes);
        for at in &mut self.index {
            let (key, value) = self.records.get(*at);
            *at = records.append(key, value, 0);
        }
        self.records = records;
        self.dead_bytes = 0;
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.records.bytes() + self.index.len() * INDEX_BYTES
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the order of the rows was asked for since the last write.
    pub fn is_ordered(&self) -> bool {
        self.order.get().is_some()
    }

    /// Forgets all rows, and keeps a little memory.
    pub fn clear(&mut self) {
        self.order.take();
        self.index.clear();
        self.records.clear(DEAD_BYTES);
        self.dead_bytes = 0;
        self.index.shrink_to(DEAD_BYTES / INDEX_BYTES, |_| 0);
    }

    /// Where the rows are, in the order in which they lie: reading them so, the processor knows what comes next.
    fn places(&self) -> impl Iterator<Item = u32> + Clone {
        self.records
            .places()
            .filter(|at| self.records.marks(*at) & DEAD == 0)
    }

    fn order(&self) -> &[u32] {
        self.order
            .get_or_init(|| self.records.sorted(self.places()))
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> LogRange<'_> {
        LogRange {
            records: &self.records,
            rows: self.order().iter(),
        }
    }

    /// No rows.
    pub fn nothing(&self) -> LogRange<'_> {
        LogRange {
            records: &self.records,
            rows: [].iter(),
        }
    }

    /// The rows in a range that is not empty.
    pub fn range(&self, range: &RowRange) -> LogRange<'_> {
        let order = self.order();
        let below = |bound: &[u8]| order.partition_point(|at| self.records.key(*at) < bound);
        let (lower, upper) = range.bounds();
        let from = match lower {
            Bound::Included(lower) | Bound::Excluded(lower) => below(lower),
            Bound::Unbounded => 0,
        };
        let to = match upper {
            Bound::Included(upper) | Bound::Excluded(upper) => below(upper),
            Bound::Unbounded => order.len(),
        };
        LogRange {
            records: &self.records,
            rows: order[from..to.max(from)].iter(),
        }
    }
}

/// Some rows of a log in the order of their keys.
pub(crate) struct LogRange<'a> {
    records: &'a Records,
    rows: std::slice::Iter<'a, u32>,
}

impl<'a> Iterator for LogRange<'a> {
    type Item = Write<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next().map(|at| self.records.get(*at))
    }
}

impl DoubleEndedIterator for LogRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rows.next_back().map(|at| self.records.get(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(log: &RowLog) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        log.iter()
            .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
            .collect()
    }

    #[test]
    fn rows_come_in_the_order_of_their_keys_whatever_their_lengths() {
        let keys: [&[u8]; 6] = [
            b"",
            b"same front, longer than sixteen bytes, 1",
            b"same front, longer than sixteen bytes, 2",
            b"same front",
            b"same front\0",
            b"z",
        ];
        let mut log = RowLog::default();
        for key in keys {
            log.put(key, Some(key));
        }
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let found: Vec<_> = log.iter().map(|(key, _)| key).collect();
        assert_eq!(found, sorted);
        let range = RowRange::inclusive(Some(b"same front\0"), Some(b"t"));
        let found: Vec<_> = log.range(&range).rev().map(|(key, _)| key).collect();
        assert_eq!(found, [sorted[4], sorted[3], sorted[2]]);
        let nothing = RowRange::inclusive(Some(b"x"), Some(b"y"));
        assert_eq!(log.range(&nothing).count(), 0);
    }

    #[test]
    fn the_last_write_counts_and_what_it_replaced_does_not_stay_for_ever() {
        let mut log = RowLog::default();
        log.put(b"other", Some(b"1"));
        for number in 0..20_000_usize {
            let value = vec![b'v'; number % 7];
            log.put(b"key", Some(&value));
            assert_eq!(log.get(b"key"), Some(Some(value.as_slice())));
        }
        assert!(log.bytes() < 3 * DEAD_BYTES, "{} bytes", log.bytes());
        log.put(b"key", None);
        assert_eq!(log.get(b"key"), Some(None));
        log.put(b"key", None);
        assert_eq!(log.get(b"none"), None);
        let other = (b"other".to_vec(), Some(b"1".to_vec()));
        assert_eq!(all(&log), [(b"key".to_vec(), None), other]);
        log.clear();
        assert_eq!((log.len(), log.bytes()), (0, 0));
        assert_eq!(all(&log), []);
    }
}
