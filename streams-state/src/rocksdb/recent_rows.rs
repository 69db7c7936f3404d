//! `RecentRows`: the rows of a key-value store that were read or written last, in memory, over those on disk.
//!
//! A row is a few bytes in one buffer, found by a table of offsets: nothing is allocated for a row, and a read or a write of
//! one is a single look-up. Rows that were committed wait here until the memory is wanted; then they go to disk together, in
//! the order of their keys. The disk has every row that does not wait, so one that is not here is read there.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::overlay::Overlay;
use crate::table::RowSink;

/// Records begin at multiples of this, so that a table of 32-bit numbers finds them in a buffer of up to 32 GiB.
const ALIGN: usize = 8;
/// In front of the bytes of a row: the length of its key with the marks in the highest bits, and that of its value.
const HEADER: usize = 8;
/// The disk does not have this row.
const WAITS: u32 = 1 << 31;
/// It was written since the last commit.
const UNCOMMITTED: u32 = 1 << 30;
/// It was read or written since memory was last given back.
const TOUCHED: u32 = 1 << 29;
/// It was replaced by another record.
const DEAD: u32 = 1 << 28;
const KEY_LEN: u32 = DEAD - 1;
/// In place of a value's length: the row is deleted.
const DELETED: u32 = u32::MAX;
/// The table's share of a row, in bytes: a number and a mark, at a load between seven and fourteen sixteenths.
const INDEX_BYTES: usize = 8;
/// What undoing a write takes beside the bytes that it replaced.
const UNDO_BYTES: usize = size_of::<Undo>();
const _: () = assert!(UNDO_BYTES == 16, "there may be hundreds of thousands");

/// What is known of a key without asking the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// Its row, `None` when there is none.
    Row(Option<&'a [u8]>),
    /// Only the disk knows.
    Nothing,
}

/// A write since the last commit, and what it replaced.
struct Undo {
    /// Where the record of its key was, whose key bytes stay there until the commit.
    at: u32,
    before: Before,
}

enum Before {
    /// There was no row here.
    Unknown,
    /// The row that the disk has.
    OnDisk,
    /// A committed row that waited: where its value begins in `undo_values`, in multiples of [`ALIGN`], and how long it is,
    /// [`DELETED`] included.
    Waiting(u32, u32),
}

/// How much room for undoing writes stays for the next commit, in bytes.
const UNDO_BYTES_KEPT: usize = 64 << 10;

/// Rows in memory over those on disk.
#[derive(Default)]
pub(super) struct RecentRows {
    index: HashTable<u32>,
    records: Vec<u8>,
    dead_bytes: usize,
    waiting: usize,
    undo: Vec<Undo>,
    undo_values: Vec<u8>,
    /// How many bytes of records were added since the last commit.
    added_bytes: usize,
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

    fn header(&self, at: u32) -> (u32, u32) {
        let start = at as usize * ALIGN;
        let word = |start: usize| {
            let bytes = &self.records[start..start + 4];
            u32::from_ne_bytes(bytes.try_into().expect("four bytes were taken"))
        };
        (word(start), word(start + 4))
    }

    fn set_marks(&mut self, at: u32, key_word: u32) {
        let start = at as usize * ALIGN;
        self.records[start..start + 4].copy_from_slice(&key_word.to_ne_bytes());
    }

    fn key(&self, at: u32) -> &[u8] {
        key_at(&self.records, at)
    }

    fn value(&self, at: u32) -> Option<&[u8]> {
        let (key_word, value_len) = self.header(at);
        if value_len == DELETED {
            return None;
        }
        let start = at as usize * ALIGN + HEADER + (key_word & KEY_LEN) as usize;
        Some(&self.records[start..start + value_len as usize])
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let records = &self.records;
        self.index
            .find(self.hasher.hash_one(key), |at| key_at(records, *at) == key)
            .copied()
    }

    fn is_marked(&self, at: u32, mark: u32) -> bool {
        self.header(at).0 & mark != 0
    }

    /// What is known of a key.
    pub fn get(&mut self, key: &[u8]) -> Known<'_> {
        match self.find(key) {
            Some(at) => {
                let (key_word, _) = self.header(at);
                if key_word & TOUCHED == 0 {
                    self.set_marks(at, key_word | TOUCHED);
                }
                Known::Row(self.value(at))
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
            let before = Before::Unknown;
            self.undo.push(Undo { at, before });
            return;
        };
        let (key_word, _) = self.header(at);
        if key_word & UNCOMMITTED == 0 {
            let before = if key_word & WAITS == 0 {
                self.waiting += 1;
                Before::OnDisk
            } else {
                self.keep_value(at)
            };
            self.undo.push(Undo { at, before });
        }
        self.replace(at, value, WRITTEN);
    }

    /// Copies the value of a record to where a rollback finds it.
    fn keep_value(&mut self, at: u32) -> Before {
        let (key_word, value_len) = self.header(at);
        let start =
            u32::try_from(self.undo_values.len() / ALIGN).expect("less than 32 GiB of rows");
        if value_len != DELETED {
            let from = at as usize * ALIGN + HEADER + (key_word & KEY_LEN) as usize;
            let value = &self.records[from..from + value_len as usize];
            self.undo_values.extend_from_slice(value);
            let len = self.undo_values.len().next_multiple_of(ALIGN);
            self.undo_values.resize(len, 0);
        }
        Before::Waiting(start, value_len)
    }

    /// Gives the key of a record another value, in place if that is as long.
    fn replace(&mut self, at: u32, value: Option<&[u8]>, marks: u32) {
        let (key_word, value_len) = self.header(at);
        let key_len = key_word & KEY_LEN;
        match value {
            Some(value) if value_len == encoded_len(Some(value)) => {
                let start = at as usize * ALIGN + HEADER + key_len as usize;
                self.records[start..start + value.len()].copy_from_slice(value);
                self.set_marks(at, key_len | marks);
            }
            None if value_len == DELETED => self.set_marks(at, key_len | marks),
            _ => {
                let key_start = at as usize * ALIGN + HEADER;
                let new = self.append_copy(key_start..key_start + key_len as usize, value, marks);
                let hash = self.hasher.hash_one(self.key(new));
                let slot = self.index.find_mut(hash, |slot| *slot == at);
                *slot.expect("the record is in the table") = new;
                self.bury(at);
            }
        }
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>, marks: u32) -> u32 {
        let at = self.begin(key.len(), value, marks);
        self.records.extend_from_slice(key);
        self.end(value, at)
    }

    fn append_copy(
        &mut self,
        key: std::ops::Range<usize>,
        value: Option<&[u8]>,
        marks: u32,
    ) -> u32 {
        let at = self.begin(key.len(), value, marks);
        self.records.extend_from_within(key);
        self.end(value, at)
    }

    fn begin(&mut self, key_len: usize, value: Option<&[u8]>, marks: u32) -> u32 {
        let at = u32::try_from(self.records.len() / ALIGN).expect("less than 32 GiB of rows");
        let key_len = u32::try_from(key_len).expect("a key is shorter than a record");
        assert!(
            key_len <= KEY_LEN,
            "a key is shorter than the largest record of Kafka"
        );
        self.records
            .extend_from_slice(&(key_len | marks).to_ne_bytes());
        self.records
            .extend_from_slice(&encoded_len(value).to_ne_bytes());
        at
    }

    fn end(&mut self, value: Option<&[u8]>, at: u32) -> u32 {
        self.records.extend_from_slice(value.unwrap_or_default());
        let len = self.records.len().next_multiple_of(ALIGN);
        self.records.resize(len, 0);
        self.added_bytes += len - at as usize * ALIGN;
        at
    }

    fn insert(&mut self, at: u32) {
        let hash = self.hasher.hash_one(self.key(at));
        let (records, hasher) = (&self.records, &self.hasher);
        self.index
            .insert_unique(hash, at, |at| hasher.hash_one(key_at(records, *at)));
    }

    /// Marks a record that the table does not lead to any more.
    fn bury(&mut self, at: u32) {
        let (key_word, _) = self.header(at);
        self.set_marks(at, (key_word & KEY_LEN) | DEAD);
        self.dead_bytes += self.record_len(at);
    }

    fn record_len(&self, at: u32) -> usize {
        let (key_word, value_len) = self.header(at);
        record_len(key_word, value_len)
    }

    /// Takes a key's record out; the disk has its row, or will have it before anybody asks.
    fn remove(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let records = &self.records;
        if let Ok(slot) = self
            .index
            .find_entry(hash, |at| key_at(records, *at) == key)
        {
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
        for index in 0..self.undo.len() {
            let at = self.undo[index].at;
            let (key_word, _) = self.header(at);
            if key_word & DEAD == 0 {
                self.set_marks(at, key_word & !UNCOMMITTED);
            } else if let Some(at) = self.find(key_at(&self.records, at)) {
                // It was written again with another length.
                let (key_word, _) = self.header(at);
                self.set_marks(at, key_word & !UNCOMMITTED);
            }
        }
        self.forget_undo();
    }

    fn forget_undo(&mut self) {
        self.undo.clear();
        self.undo.shrink_to(UNDO_BYTES_KEPT / UNDO_BYTES);
        self.undo_values.clear();
        self.undo_values.shrink_to(UNDO_BYTES_KEPT);
        self.added_bytes = 0;
    }

    /// Forgets what was written since the last commit.
    pub fn rollback(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        let values = std::mem::take(&mut self.undo_values);
        for Undo { at, before } in &undo {
            let key = self.key(*at).to_vec();
            match before {
                Before::Unknown => self.remove(&key),
                Before::OnDisk => {
                    // From now on the disk is asked.
                    self.is_all = false;
                    self.remove(&key);
                }
                Before::Waiting(start, len) => {
                    let now = self.find(&key).expect("what waits is here");
                    let start = *start as usize * ALIGN;
                    let value = (*len != DELETED).then(|| &values[start..start + *len as usize]);
                    self.replace(now, value, WAITS | TOUCHED);
                }
            }
        }
        self.forget_undo();
    }

    /// The rows that the disk does not have, in the order of their keys; with those that were written since the last commit.
    fn sorted_waiting(&self) -> Vec<u32> {
        // The first bytes decide most comparisons without a look at the records.
        let mut rows: Vec<(u64, u32)> = self
            .offsets()
            .filter(|at| self.is_marked(*at, WAITS))
            .map(|at| (prefix(self.key(at)), at))
            .collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.key(a.1).cmp(self.key(b.1))));
        rows.into_iter().map(|(_, at)| at).collect()
    }

    /// Where records are that the table leads to, in the order in which they came.
    fn offsets(&self) -> impl Iterator<Item = u32> {
        let mut start = 0;
        std::iter::from_fn(move || {
            while start < self.records.len() {
                let at = (start / ALIGN) as u32;
                start += self.record_len(at);
                if !self.is_marked(at, DEAD) {
                    return Some(at);
                }
            }
            None
        })
    }

    /// Hands the rows that the disk does not have to `sink`, in the order of their keys.
    pub fn stage(&self, sink: &mut dyn RowSink) {
        for at in self.sorted_waiting() {
            match self.value(at) {
                Some(value) => sink.put(self.key(at), value),
                None => sink.delete(self.key(at)),
            }
        }
    }

    /// The disk has all rows now, and everything is committed.
    pub fn written(&mut self) {
        let mut start = 0;
        while start < self.records.len() {
            let at = (start / ALIGN) as u32;
            start += self.record_len(at);
            let (key_word, value_len) = self.header(at);
            if key_word & (WAITS | DEAD) != WAITS {
                continue;
            }
            if value_len == DELETED {
                let key = self.key(at).to_vec();
                self.remove(&key);
            } else {
                self.set_marks(at, key_word & !(WAITS | UNCOMMITTED));
            }
        }
        self.waiting = 0;
        self.forget_undo();
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
        self.added_bytes = 0;
    }

    /// Gives back the memory of rows that the disk has, until `target` bytes are left, if rows that wait do not need more: of
    /// those that were not used since the last time, and then of others. Only between two commits.
    pub fn shrink(&mut self, target: usize) {
        let waiting_bytes: usize = self
            .offsets()
            .filter(|at| self.is_marked(*at, WAITS))
            .map(|at| self.record_len(at) + INDEX_BYTES)
            .sum();
        let mut room = target.saturating_sub(waiting_bytes);
        let mut dropped = false;
        self.sweep(|marks, len| {
            if marks & WAITS != 0 {
                return true;
            }
            let keep = marks & TOUCHED != 0 && len + INDEX_BYTES <= room;
            room -= if keep { len + INDEX_BYTES } else { 0 };
            dropped |= !keep;
            keep
        });
        self.is_all &= !dropped;
    }

    /// Gives back the memory of records that nothing leads to, when there are many. Only between two commits.
    pub fn tidy(&mut self) {
        if self.dead_bytes > self.records.len() / 4 {
            self.sweep(|_marks, _len| true);
        }
    }

    /// Moves the records together that `keep` picks by their marks and their length.
    fn sweep(&mut self, mut keep: impl FnMut(u32, usize) -> bool) {
        debug_assert!(
            !self.has_uncommitted(),
            "what may be undone stays where it is"
        );
        self.index.clear();
        let (mut from, mut to) = (0, 0);
        while from < self.records.len() {
            let at = (from / ALIGN) as u32;
            let (key_word, value_len) = self.header(at);
            let len = record_len(key_word, value_len);
            if key_word & DEAD == 0 && keep(key_word, len) {
                self.set_marks(at, key_word & !TOUCHED);
                self.records.copy_within(from..from + len, to);
                self.insert((to / ALIGN) as u32);
                to += len;
            }
            from += len;
        }
        self.records.truncate(to);
        self.dead_bytes = 0;
    }

    /// Empties it into two overlays: what is committed and waits, and what was written since.
    pub fn into_overlays(mut self) -> (Overlay, Overlay) {
        let mut uncommitted = Overlay::default();
        for undo in &self.undo {
            let key = self.key(undo.at);
            if let Some(at) = self.find(key) {
                uncommitted.put(key, self.value(at));
            }
        }
        self.rollback();
        let mut committed = Overlay::default();
        for at in self.offsets().filter(|at| self.is_marked(*at, WAITS)) {
            committed.put(self.key(at), self.value(at));
        }
        (committed, uncommitted)
    }

    /// How much memory it takes, in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.records.len() + self.index.len() * INDEX_BYTES + self.undo_bytes()
    }

    /// How much memory it keeps from others, in bytes: where rows were dropped the next ones go.
    #[inline]
    pub fn held_bytes(&mut self) -> usize {
        self.held_bytes = self.held_bytes.max(self.bytes());
        self.held_bytes
    }

    /// Gives memory that it does not need back to the process, but for `target` bytes.
    pub fn give_back(&mut self, target: usize) {
        if self.held_bytes > target {
            self.records.shrink_to(target);
            self.held_bytes = target;
        }
    }

    #[inline]
    fn undo_bytes(&self) -> usize {
        self.undo.len() * UNDO_BYTES + self.undo_values.len()
    }

    /// How much memory what was written since the last commit takes, in bytes.
    pub fn uncommitted_bytes(&self) -> usize {
        match self.undo.len() {
            0 => 0,
            _ => self.undo_bytes() + self.added_bytes,
        }
    }
}

fn key_at(records: &[u8], at: u32) -> &[u8] {
    let start = at as usize * ALIGN;
    let word = &records[start..start + 4];
    let word = u32::from_ne_bytes(word.try_into().expect("four bytes were taken"));
    &records[start + HEADER..start + HEADER + (word & KEY_LEN) as usize]
}

fn encoded_len(value: Option<&[u8]>) -> u32 {
    value.map_or(DELETED, |value| {
        u32::try_from(value.len()).expect("a value is shorter than a record")
    })
}

fn record_len(key_word: u32, value_len: u32) -> usize {
    let value_len = if value_len == DELETED { 0 } else { value_len };
    (HEADER + (key_word & KEY_LEN) as usize + value_len as usize).next_multiple_of(ALIGN)
}

/// The first bytes of a key as a number that is in the same order.
fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
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
    fn what_is_used_stays_and_what_waits_always_does() {
        let mut rows = RecentRows::new(false);
        let disk = Disk::default();
        for key in 0..100u8 {
            rows.remember(&[key], b"value");
        }
        rows.shrink(usize::MAX);
        for key in 0..10u8 {
            assert_eq!(rows.get(&[key]), Known::Row(Some(b"value")));
        }
        rows.put(b"w", Some(b"value"));
        rows.committed();
        rows.shrink(6 * (16 + INDEX_BYTES));
        let kept = (0..100u8).filter(|key| rows.find(&[*key]).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(get(&mut rows, &disk, b"w").as_deref(), Some(&b"value"[..]));
        assert_eq!(rows.bytes(), 6 * (16 + INDEX_BYTES));
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
