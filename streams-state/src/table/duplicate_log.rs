//! `DuplicateLog`: rows of a store with duplicates, in memory, in the order in which they came.
//!
//! A row is a few bytes at the end of a chunk, and knows where the row of its key before it is; a table leads from a key to its
//! last row. So a put and a look-up search once, whatever the rows are, and nothing is allocated for a row. Chunks leave whole, the
//! oldest first. What leads into a chunk that has left leads nowhere, and is looked through from time to time.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::row_chunks::{Header, LoggedRow, Place, Rows};
use crate::touch;

/// The last row of a key.
struct Slot {
    hash: u32,
    at: Place,
}

/// As many bits as a table of less than 2^25 places uses.
fn wide(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Rows as they came.
pub(super) struct DuplicateLog {
    rows: Rows,
    index: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    /// Every row of the store that starts here or later is here.
    from_ms: i64,
    /// The first row that the disk does not have.
    waits_from: Place,
    /// The first row since the last commit.
    uncommitted_from: Place,
    uncommitted_bytes: usize,
    /// What the chunks take.
    bytes: usize,
    /// How many chunks have left since the index was looked through.
    left: usize,
}

impl DuplicateLog {
    /// For a store that has no row that starts here or later.
    pub fn new(from_ms: i64) -> Self {
        Self {
            rows: Rows::default(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            from_ms,
            waits_from: 0,
            uncommitted_from: 0,
            uncommitted_bytes: 0,
            bytes: 0,
            left: 0,
        }
    }

    /// Whether every row that starts here or later is here.
    pub fn reaches(&self, from_ms: i64) -> bool {
        from_ms >= self.from_ms
    }

    /// Takes note that rows from before this start may be missing.
    pub fn miss_before(&mut self, start_ms: i64) {
        self.from_ms = self.from_ms.max(start_ms);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "half of the hash is enough"
    )]
    fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// Adds a row.
    pub fn put(&mut self, row: LoggedRow<'_>) {
        let hash = self.hash(row.key);
        let rows = &self.rows;
        let slot = self.index.find_mut(wide(hash), |slot| {
            slot.hash == hash && rows.has(slot.at) && rows.key(slot.at) == row.key
        });
        let before = slot.as_ref().map(|slot| slot.at);
        let newest_before_ms = before.map_or(i64::MIN, |at| {
            let before = self.rows.header(at);
            before.newest_before_ms.max(before.start_ms)
        });
        let header = Header {
            before: 0,
            key_len: u32::try_from(row.key.len()).expect("a key is shorter than a record"),
            value_len: u32::try_from(row.value.len()).expect("a value is shorter than a record"),
            sequence: row.sequence,
            start_ms: row.start_ms,
            newest_before_ms,
        };
        let len = header.row_len();
        let at = self.rows.append(row, header, before);
        self.bytes += len;
        self.uncommitted_bytes += len;
        match slot {
            Some(slot) => slot.at = at,
            None => {
                let slot = Slot { hash, at };
                self.index
                    .insert_unique(wide(hash), slot, |slot| wide(slot.hash));
            }
        }
    }

    fn find(&self, key: &[u8]) -> Option<Place> {
        let hash = self.hash(key);
        let is_of_key = |slot: &Slot| {
            slot.hash == hash && self.rows.has(slot.at) && self.rows.key(slot.at) == key
        };
        self.index.find(wide(hash), is_of_key).map(|slot| slot.at)
    }

    /// Touches what look-ups of these keys are going to read first, and returns how many of them are here.
    pub fn prefetch(&self, keys: &[&[u8]]) -> usize {
        touch::prefetch(keys, |key| {
            let hash = self.hash(key);
            let is_of_key = |slot: &Slot| slot.hash == hash && self.rows.has(slot.at);
            let slot = self.index.find(wide(hash), is_of_key)?;
            Some(self.rows.bytes_at(slot.at))
        })
    }

    /// The rows of a key that start between the bounds, both included, the last that came first, and where they are.
    pub fn rows_of(
        &self,
        key: &[u8],
        (from_ms, to_ms): (i64, i64),
    ) -> impl Iterator<Item = (Place, LoggedRow<'_>)> {
        let mut next = self.find(key);
        std::iter::from_fn(move || {
            loop {
                let at = next?;
                let header = self.rows.header(at);
                next = match header.newest_before_ms < from_ms {
                    true => None,
                    false => self.rows.before(at, &header),
                };
                if (from_ms..=to_ms).contains(&header.start_ms) {
                    return Some((at, self.rows.row(at)));
                }
            }
        })
    }

    /// The row that was found here.
    pub fn row(&self, at: Place) -> LoggedRow<'_> {
        self.rows.row(at)
    }

    /// The rows that the disk does not have, as they came.
    pub fn waiting(&self) -> impl Iterator<Item = LoggedRow<'_>> {
        let places = self.rows.places(self.waits_from);
        places.map(|at| self.rows.row(at))
    }

    /// How many bytes those take.
    pub fn waiting_bytes(&self) -> usize {
        self.rows.bytes_from(self.waits_from)
    }

    /// How many bytes the rows since the last commit take.
    pub fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.index.allocation_size()
    }

    /// Everything is committed.
    pub fn committed(&mut self) {
        self.uncommitted_from = self.rows.end();
        self.uncommitted_bytes = 0;
    }

    /// Everything is committed, and the disk has it.
    pub fn written(&mut self) {
        self.committed();
        self.waits_from = self.uncommitted_from;
    }

    /// What is committed is on disk now; what is not waits.
    pub fn committed_is_written(&mut self) {
        self.waits_from = self.uncommitted_from;
    }

    /// The committed rows that the disk does not have, as they came.
    pub fn committed_waiting(&self) -> impl Iterator<Item = LoggedRow<'_>> {
        let (rows, end) = (&self.rows, self.uncommitted_from);
        let first = self.rows.first;
        rows.places(self.waits_from)
            .take_while(move |at| at.wrapping_sub(first) < end.wrapping_sub(first))
            .map(|at| rows.row(at))
    }

    /// Forgets the rows since the last commit.
    pub fn rollback(&mut self) {
        let places: Vec<Place> = self.rows.places(self.uncommitted_from).collect();
        for at in places.into_iter().rev() {
            let header = self.rows.header(at);
            let hash = self.hash(self.rows.key(at));
            if let Ok(mut slot) = self.index.find_entry(wide(hash), |slot| slot.at == at) {
                match self.rows.before(at, &header) {
                    Some(before) => slot.get_mut().at = before,
                    None => drop(slot.remove()),
                }
            }
        }
        self.bytes -= self.rows.truncate(self.uncommitted_from);
        self.uncommitted_from = self.rows.end();
        self.uncommitted_bytes = 0;
    }

    /// Lets the first chunk go if it may: told of the latest start in it and whether the disk has all its rows. Nothing is
    /// uncommitted.
    pub fn drop_first(&mut self, may_go: impl FnOnce(i64, bool) -> bool) -> bool {
        debug_assert_eq!(
            self.uncommitted_bytes, 0,
            "what may be undone stays where it is"
        );
        let Some((newest_ms, behind)) = self.rows.first_chunk() else {
            return false;
        };
        let first = self.rows.first;
        let is_written = self.waits_from.wrapping_sub(first) >= behind.wrapping_sub(first);
        if !may_go(newest_ms, is_written) {
            return false;
        }
        self.miss_before(newest_ms.saturating_add(1));
        self.bytes -= self.rows.drop_first_chunk();
        if self.waits_from.wrapping_sub(first) < self.rows.first.wrapping_sub(first) {
            self.waits_from = self.rows.first;
        }
        self.uncommitted_from = self.rows.end();
        self.left += 1;
        // Far more often than the numbers of places begin anew.
        if self.left > self.rows.chunks.len() {
            self.left = 0;
            let rows = &self.rows;
            self.index.retain(|slot| rows.has(slot.at));
            let len = self.index.len();
            if self.index.capacity() > 4 * len {
                self.index.shrink_to(2 * len, |slot| wide(slot.hash));
            }
        }
        true
    }

    /// Whether there are as many chunks as there may be.
    pub fn is_full(&self) -> bool {
        self.rows.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::super::row_chunks::{CHUNK_BYTES, CHUNK_STEP, UNIT_BITS};
    use super::*;
    use proptest::prelude::*;

    fn row<'a>(key: &'a [u8], start_ms: i64, sequence: i32, value: &'a [u8]) -> LoggedRow<'a> {
        LoggedRow {
            key,
            start_ms,
            sequence,
            value,
        }
    }

    fn sequences<'a>(rows: impl Iterator<Item = LoggedRow<'a>>) -> Vec<i32> {
        rows.map(|row| row.sequence).collect()
    }

    fn found(log: &DuplicateLog, key: &[u8], times: (i64, i64)) -> Vec<i32> {
        sequences(log.rows_of(key, times).map(|(_, row)| row))
    }

    #[test]
    fn a_look_up_ends_where_rows_are_too_old() {
        let mut log = DuplicateLog::new(0);
        for (sequence, start_ms) in [(1, 10), (2, 30), (3, 20), (4, 40)] {
            log.put(row(b"k", start_ms, sequence, b"v"));
            log.put(row(b"l", start_ms, -sequence, b""));
        }
        assert_eq!(found(&log, b"k", (0, 99)), [4, 3, 2, 1]);
        assert_eq!(found(&log, b"k", (20, 30)), [3, 2]);
        assert_eq!(found(&log, b"l", (41, 99)), []);
        assert_eq!(found(&log, b"none", (0, 99)), []);
    }

    /// As many bytes as make each row a chunk of its own, or nearly.
    fn value(size: u8) -> Vec<u8> {
        vec![size; [0, 3, CHUNK_BYTES / 3, CHUNK_BYTES + 9][usize::from(size % 4)]]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8, u8),
        Commit,
        Write,
        Rollback,
        Drop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            10 => (0..5u8, 0..50u8, 0..4u8).prop_map(|(key, start, size)| Step::Put(key, start, size)),
            2 => Just(Step::Commit),
            1 => Just(Step::Write),
            1 => Just(Step::Rollback),
            2 => Just(Step::Drop),
        ]
    }

    proptest! {
        /// Whatever is done, and wherever the numbers of places are, rows are those of a plain list.
        #[test]
        fn rows_are_those_of_a_list(
            steps in proptest::collection::vec(step(), 0..120),
            first in prop_oneof![Just(0), Just(u32::MAX << UNIT_BITS), Just((u32::MAX << UNIT_BITS) - 3 * CHUNK_STEP)],
        ) {
            let mut log = DuplicateLog::new(0);
            (log.rows.first, log.waits_from, log.uncommitted_from) = (first, first, first);
            // Key, start, sequence and size.
            let mut list: Vec<(u8, i64, i32, u8)> = Vec::new();
            let (mut written, mut committed, mut from_ms) = (0, 0, 0);
            for (step, sequence) in steps.into_iter().zip(0..) {
                match step {
                    Step::Put(key, start, size) => {
                        log.put(row(&[key], i64::from(start), sequence, &value(size)));
                        list.push((key, i64::from(start), sequence, size));
                    }
                    Step::Commit => {
                        log.committed();
                        committed = list.len();
                    }
                    Step::Write => {
                        log.written();
                        (written, committed) = (list.len(), list.len());
                    }
                    Step::Rollback => {
                        log.rollback();
                        list.truncate(committed);
                    }
                    Step::Drop if committed == list.len() => {
                        let mut gone = None;
                        if log.drop_first(|newest_ms, is_written| {
                            gone = Some((newest_ms, is_written));
                            is_written
                        }) {
                            let (newest_ms, _) = gone.expect("it was asked");
                            from_ms = from_ms.max(newest_ms + 1);
                            prop_assert!(log.reaches(from_ms) && !log.reaches(from_ms - 1));
                            let left = log.rows.places(log.rows.first).count();
                            let dropped = list.len() - left;
                            prop_assert!(dropped > 0 && dropped <= written);
                            prop_assert!(list.drain(..dropped).all(|(_, start_ms, ..)| start_ms <= newest_ms));
                            (written, committed) = (written - dropped, committed - dropped);
                        }
                    }
                    Step::Drop => {}
                }
                let waiting: Vec<i32> = list[written..].iter().map(|row| row.2).collect();
                prop_assert_eq!(sequences(log.waiting()), waiting);
                let waiting: Vec<i32> = list[written..committed].iter().map(|row| row.2).collect();
                prop_assert_eq!(sequences(log.committed_waiting()), waiting);
                for key in 0..5 {
                    let name = [key];
                    let rows = list.iter().rev().filter(|row| row.0 == key && (10..=40).contains(&row.1));
                    let rows: Vec<_> = rows.map(|row| (row.2, value(row.3))).collect();
                    let found = log.rows_of(&name, (10, 40)).map(|(_, row)| (row.sequence, row.value.to_vec()));
                    prop_assert_eq!(found.collect::<Vec<_>>(), rows);
                }
                let bytes: usize = log.rows.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
                prop_assert_eq!(log.bytes, bytes);
            }
        }
    }
}
