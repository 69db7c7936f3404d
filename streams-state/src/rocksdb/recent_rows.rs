//! `RecentRows`: the rows of a key-value store that were read or written last, in memory, over those on disk.
//!
//! A row is a few bytes in one buffer, found by a table of offsets: nothing is allocated for a row, and a read or a write of
//! one is a single look-up. Rows that were committed wait here until the memory is wanted; then they go to disk together, in
//! the order of their keys. The disk has every row that does not wait, so one that is not here is read there.

mod memory;

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::overlay::Overlay;
use crate::records::Records;
use crate::rocksdb::undo_log::{Before, UndoLog};
use crate::table::RowSink;
use crate::touch;

/// The disk does not have this row.
const WAITS: u32 = 1 << 31;
/// It was written since the last commit.
const UNCOMMITTED: u32 = 1 << 30;
/// It was read or written since memory was last given back.
const TOUCHED: u32 = 1 << 29;
/// It was replaced by another record.
const DEAD: u32 = 1 << 28;

/// What is known of a key without asking the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// Its row, `None` when there is none.
    Row(Option<&'a [u8]>),
    /// Only the disk knows.
    Nothing,
}

/// Rows in memory over those on disk.
#[derive(Default)]
pub(super) struct RecentRows {
    index: HashTable<u32>,
    records: Records,
    dead_bytes: usize,
    waiting: usize,
    undo: UndoLog,
    /// The most memory it took since some was given back to the process.
    held_bytes: usize,
    /// Whether the disk has no row that is not here.
    is_all: bool,
    hasher: DefaultHashBuilder,
}

impl RecentRows {
    /// Nothing in memory; `disk_is_empty` says whether there is nothing below either.
    pub fn new(disk_is_empty: bool) -> Self {
        Self {
            is_all: disk_is_empty,
            ..Self::default()
        }
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let records = &self.records;
        self.index
            .find(self.hasher.hash_one(key), |at| records.key(*at) == key)
            .copied()
    }

    /// Touches what look-ups of these keys are going to read, and returns about how many of them are here: one that is not may
    /// count.
    pub fn prefetch(&self, keys: &[&[u8]]) -> usize {
        touch::prefetch(keys, |key| {
            // The table has a few bits of each hash: nearly always the first place that fits is the key's.
            let at = self.index.find(self.hasher.hash_one(key), |_| true)?;
            Some(self.records.from(*at))
        })
    }

    fn is_marked(&self, at: u32, mark: u32) -> bool {
        self.records.marks(at) & mark != 0
    }

    /// What is known of a key.
    pub fn get(&mut self, key: &[u8]) -> Known<'_> {
        match self.find(key) {
            Some(at) => {
                let marks = self.records.marks(at);
                if marks & TOUCHED == 0 {
                    self.records.set_marks(at, marks | TOUCHED);
                }
                Known::Row(self.records.get(at).1)
            }
            None if self.is_all => Known::Row(None),
            None => Known::Nothing,
        }
    }

    /// Keeps a row that was read from disk. There is none of its key here.
    pub fn remember(&mut self, key: &[u8], value: &[u8]) {
        let at = self.append(key, Some(value), TOUCHED);
        self.insert(at);
    }

    /// Writes a row, `None` deletes it.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        const WRITTEN: u32 = WAITS | UNCOMMITTED | TOUCHED;
        let Some(at) = self.find(key) else {
            let at = self.append(key, value, WRITTEN);
            self.insert(at);
            self.waiting += 1;
            self.undo.note(at, Before::Unknown);
            return;
        };
        let marks = self.records.marks(at);
        if marks & UNCOMMITTED == 0 {
            if marks & WAITS == 0 {
                self.waiting += 1;
                self.undo.note(at, Before::OnDisk);
            } else {
                let before = Before::Waiting(self.records.get(at).1);
                self.undo.note(at, before);
            }
        }
        self.replace(at, value, WRITTEN);
    }

    /// Gives the key of a record another value, in place if that is as long.
    fn replace(&mut self, at: u32, value: Option<&[u8]>, marks: u32) {
        if self.records.overwrite(at, value) {
            self.records.set_marks(at, marks);
            return;
        }
        let new = self.records.append_to_key_of(at, value, marks);
        self.undo.added_bytes += self.records.record_len(new);
        let hash = self.hasher.hash_one(self.records.key(new));
        let slot = self.index.find_mut(hash, |slot| *slot == at);
        *slot.expect("the record is in the table") = new;
        self.bury(at);
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>, marks: u32) -> u32 {
        let at = self.records.append(key, value, marks);
        self.undo.added_bytes += self.records.record_len(at);
        at
    }

    fn insert(&mut self, at: u32) {
        let (records, hasher) = (&self.records, &self.hasher);
        let hash = |at: &u32| hasher.hash_one(records.key(*at));
        self.index.insert_unique(hash(&at), at, hash);
    }

    /// Marks a record that the table does not lead to any more.
    fn bury(&mut self, at: u32) {
        self.records.set_marks(at, DEAD);
        self.dead_bytes += self.records.record_len(at);
    }

    /// Takes a key's record out; the disk has its row, or will have it before anybody asks.
    fn remove(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let records = &self.records;
        if let Ok(slot) = self.index.find_entry(hash, |at| records.key(*at) == key) {
            let (at, _) = slot.remove();
            if self.is_marked(at, WAITS) {
                self.waiting -= 1;
            }
            self.bury(at);
        }
    }

    /// Whether rows wait for the disk, or were written since the last commit.
    pub fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// How many rows the disk does not have yet.
    pub fn waiting_len(&self) -> usize {
        self.waiting
    }

    /// About how many bytes they take.
    pub fn waiting_bytes(&self) -> usize {
        match self.index.len() {
            0 => 0,
            rows => self.bytes() / rows * self.waiting,
        }
    }

    /// Whether anything was written since the last commit.
    pub fn has_uncommitted(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Everything written is committed.
    pub fn committed(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        for (at, _) in undo.iter() {
            let marks = self.records.marks(at);
            if marks & DEAD == 0 {
                self.records.set_marks(at, marks & !UNCOMMITTED);
            } else if let Some(at) = self.find(self.records.key(at)) {
                // It was written again with another length.
                let marks = self.records.marks(at);
                self.records.set_marks(at, marks & !UNCOMMITTED);
            }
        }
        self.undo = undo;
        self.undo.clear();
    }

    /// Forgets what was written since the last commit.
    pub fn rollback(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        for (at, before) in undo.iter() {
            let key = self.records.key(at).to_vec();
            match before {
                Before::Unknown => self.remove(&key),
                Before::OnDisk => {
                    // From now on the disk is asked.
                    self.is_all = false;
                    self.remove(&key);
                }
                Before::Waiting(value) => {
                    let now = self.find(&key).expect("what waits is here");
                    self.replace(now, value, WAITS | TOUCHED);
                }
            }
        }
        self.undo = undo;
        self.undo.clear();
    }

    /// The rows that the disk does not have, in the order of their keys; with those that were written since the last commit.
    fn sorted_waiting(&self) -> Vec<u32> {
        let waiting = self.offsets().filter(|at| self.is_marked(*at, WAITS));
        self.records.sorted(waiting)
    }

    /// Where records are that the table leads to, in the order in which they came.
    fn offsets(&self) -> impl Iterator<Item = u32> + Clone {
        self.records
            .places()
            .filter(|at| !self.is_marked(*at, DEAD))
    }

    /// Hands the rows that the disk does not have to `sink`, in the order of their keys.
    pub fn stage(&self, sink: &mut dyn RowSink) {
        for at in self.sorted_waiting() {
            match self.records.get(at) {
                (key, Some(value)) => sink.put(key, value),
                (key, None) => sink.delete(key),
            }
        }
    }

    /// The disk has all rows now, and everything is committed.
    pub fn written(&mut self) {
        let mut next = self.records.first();
        while let Some(at) = next {
            next = self.records.behind(at);
            let marks = self.records.marks(at);
            if marks & (WAITS | DEAD) != WAITS {
                continue;
            }
            let (key, value) = self.records.get(at);
            if value.is_none() {
                let key = key.to_vec();
                self.remove(&key);
            } else {
                self.records.set_marks(at, marks & !(WAITS | UNCOMMITTED));
            }
        }
        self.waiting = 0;
        self.undo.clear();
    }

    /// A row of the changelog is written to the disk.
    pub fn restore_below(&mut self, key: &[u8]) {
        self.is_all = false;
        self.remove(key);
    }

    /// Takes a row of the changelog, which waits for the disk as if it were committed. Nothing is uncommitted.
    pub fn restore(&mut self, key: &[u8], value: Option<&[u8]>) {
        debug_assert!(!self.has_uncommitted(), "it would be undone with them");
        match self.find(key) {
            Some(at) => {
                self.waiting += usize::from(!self.is_marked(at, WAITS));
                self.replace(at, value, WAITS | TOUCHED);
            }
            // There is nothing to delete.
            None if value.is_none() && self.is_all => {}
            None => {
                let at = self.append(key, value, WAITS | TOUCHED);
                self.insert(at);
                self.waiting += 1;
            }
        }
        self.undo.added_bytes = 0;
    }

    /// Empties it into two overlays: what is committed and waits, and what was written since.
    pub fn into_overlays(mut self) -> (Overlay, Overlay) {
        let mut uncommitted = Overlay::default();
        for (at, _) in self.undo.iter() {
            let key = self.records.key(at);
            if let Some(at) = self.find(key) {
                uncommitted.put(key, self.records.get(at).1);
            }
        }
        self.rollback();
        let mut committed = Overlay::default();
        for at in self.offsets().filter(|at| self.is_marked(*at, WAITS)) {
            let (key, value) = self.records.get(at);
            committed.put(key, value);
        }
        (committed, uncommitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Default, Debug, PartialEq, Eq)]
    struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

    impl RowSink for Disk {
        fn put(&mut self, key: &[u8], value: &[u8]) {
            self.0.insert(key.to_vec(), value.to_vec());
        }

        fn delete(&mut self, key: &[u8]) {
            self.0.remove(key);
        }

        fn delete_below(&mut self, _bound: &[u8]) {
            unreachable!("key-value stores do not expire");
        }
    }

    fn get(rows: &mut RecentRows, disk: &Disk, key: &[u8]) -> Option<Vec<u8>> {
        match rows.get(key) {
            Known::Row(row) => row.map(<[u8]>::to_vec),
            Known::Nothing => {
                let row = disk.0.get(key).cloned();
                if let Some(row) = &row {
                    rows.remember(key, row);
                }
                row
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, Option<Vec<u8>>),
        Get(u8),
        Commit,
        Rollback,
        Write,
        Shrink(usize),
        Restore(u8, Option<Vec<u8>>),
        RestoreBelow(u8, Option<Vec<u8>>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let value = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4));
        prop_oneof![
            8 => (0..20u8, value()).prop_map(|(key, value)| Step::Put(key, value)),
            8 => (0..20u8).prop_map(Step::Get),
            2 => Just(Step::Commit),
            1 => Just(Step::Rollback),
            1 => Just(Step::Write),
            2 => (0..400usize).prop_map(Step::Shrink),
            2 => (0..20u8, value()).prop_map(|(key, value)| Step::Restore(key, value)),
            1 => (0..20u8, value()).prop_map(|(key, value)| Step::RestoreBelow(key, value)),
        ]
    }

    proptest! {
        /// Whatever is done, reads show what a map would, and the disk ends as the committed map.
        #[test]
        fn memory_and_disk_together_are_a_map(steps in proptest::collection::vec(step(), 0..200)) {
            let mut rows = RecentRows::new(true);
            let mut disk = Disk::default();
            let mut committed = BTreeMap::new();
            let mut now = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        rows.put(&[key], value.as_deref());
                        match value {
                            Some(value) => now.insert(vec![key], value),
                            None => now.remove(&vec![key]),
                        };
                    }
                    Step::Get(key) => {
                        let row = get(&mut rows, &disk, &[key]);
                        prop_assert_eq!(row.as_ref(), now.get(&vec![key]));
                    }
                    Step::Commit => {
                        rows.committed();
                        committed.clone_from(&now);
                    }
                    Step::Rollback => {
                        rows.rollback();
                        prop_assert_eq!(rows.uncommitted_bytes(), 0);
                        now.clone_from(&committed);
                    }
                    Step::Write => {
                        rows.stage(&mut disk);
                        rows.written();
                        committed.clone_from(&now);
                        prop_assert_eq!(&disk.0, &now);
                    }
                    Step::Shrink(target) if !rows.has_uncommitted() => rows.shrink(target),
                    Step::Restore(key, value) if !rows.has_uncommitted() => {
                        rows.restore(&[key], value.as_deref());
                        match value {
                            Some(value) => now.insert(vec![key], value),
                            None => now.remove(&vec![key]),
                        };
                        committed.clone_from(&now);
                    }
                    // What waits is written in front of what is restored below.
                    Step::RestoreBelow(key, value) if !rows.has_uncommitted() => {
                        rows.stage(&mut disk);
                        rows.written();
                        rows.restore_below(&[key]);
                        match value {
                            Some(value) => {
                                disk.0.insert(vec![key], value.clone());
                                now.insert(vec![key], value);
                            }
                            None => {
                                disk.0.remove(&vec![key]);
                                now.remove(&vec![key]);
                            }
                        }
                        committed.clone_from(&now);
                    }
                    Step::Shrink(_) | Step::Restore(..) | Step::RestoreBelow(..) => {}
                }
            }
            let (waiting, written) = rows.into_overlays();
            for (key, value) in waiting.iter() {
                match value {
                    Some(value) => disk.put(key, value),
                    None => disk.delete(key),
                }
            }
            prop_assert_eq!(&disk.0, &committed);
            for (key, value) in written.iter() {
                match value {
                    Some(value) => disk.put(key, value),
                    None => disk.delete(key),
                }
            }
            prop_assert_eq!(&disk.0, &now);
        }
    }

    #[test]
    fn keys_that_are_here_are_prefetched() {
        let mut rows = RecentRows::new(true);
        let keys: Vec<[u8; 1]> = (0..40).map(|key| [key]).collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 1]>::as_slice).collect();
        assert_eq!(rows.prefetch(&keys), 0);
        for key in &keys {
            rows.put(key, Some(&[7; 100]));
        }
        assert_eq!(rows.prefetch(&keys), 40);
        assert_eq!(rows.prefetch(&[]), 0);
    }

    #[test]
    fn an_empty_store_is_not_asked_for_keys_it_cannot_have() {
        let mut rows = RecentRows::new(true);
        assert_eq!(rows.get(b"a"), Known::Row(None));
        rows.put(b"a", Some(b"1"));
        rows.stage(&mut Disk::default());
        rows.written();
        assert_eq!(rows.get(b"b"), Known::Row(None));
        rows.shrink(0);
        assert_eq!(rows.get(b"a"), Known::Nothing);
        assert_eq!(rows.get(b"b"), Known::Nothing);
    }
}
