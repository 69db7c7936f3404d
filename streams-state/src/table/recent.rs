//! `RecentRows`: the latest rows of a store that is asked for a key's rows in a span of time with every record, as the stores
//! of stream-stream joins are, without a look at the disk.
//!
//! From some start on every row of the store is here as well, so a look-up that does not reach further back is answered
//! here, also when the answer is nothing. Rows leave when reads no longer show them, and the older half leaves when all stores
//! of the process together have more than their limit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Result, StoreError};

/// What the recent rows of all stores of the process may take, in bytes.
const BYTES_MAX: usize = 128 << 20;
/// What they take.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// What a key takes beside its bytes and rows: its place in the table and what allocations cost.
const KEY_OVERHEAD_BYTES: usize = 96;
/// In front of a value: start, sequence and length.
const HEAD_LEN: usize = 8 + 4 + 4;

pub(super) struct RecentRows {
    /// Every row that starts here or later is here.
    from_ms: i64,
    /// By key, its rows one behind the other: `[start i64][sequence i32][length u32][value]`, by start, then sequence.
    keys: HashMap<Box<[u8]>, Vec<u8>>,
    bytes: usize,
    /// When rows of all keys were last looked through.
    swept_ms: i64,
}

/// One row of a key.
struct Row<'a> {
    place: (i64, i32),
    value: &'a [u8],
    len: usize,
}

impl RecentRows {
    /// For a store that has no row that starts here or later.
    pub fn new(from_ms: i64) -> Self {
        Self {
            from_ms,
            keys: HashMap::new(),
            bytes: 0,
            swept_ms: 0,
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

    /// Forgets everything; the store has no row that starts here or later.
    pub fn clear(&mut self, from_ms: i64) {
        *self = Self::new(from_ms);
    }

    /// Adds a row. Reads no longer show rows that start before `first_visible_ms`.
    pub fn put(
        &mut self,
        key: &[u8],
        (start_ms, sequence): (i64, i32),
        value: &[u8],
        first_visible_ms: i64,
    ) {
        let Ok(value_len) = u32::try_from(value.len()) else {
            self.miss_before(start_ms + 1);
            return;
        };
        let before = self.bytes;
        let rows = match self.keys.get_mut(key) {
            Some(rows) => rows,
            None => {
                self.bytes += key.len() + KEY_OVERHEAD_BYTES;
                self.keys.entry(key.into()).or_default()
            }
        };
        self.bytes -= rows.capacity();
        drop_front(rows, first_visible_ms);
        let len = HEAD_LEN + value.len();
        if rows.capacity() < rows.len() + len {
            // Less room in advance than a vector would take: there are many keys.
            rows.reserve_exact(len.max(rows.len() / 4));
        }
        let at = place_for(rows, (start_ms, sequence));
        let mut head = [0; HEAD_LEN];
        head[..8].copy_from_slice(&start_ms.to_be_bytes());
        head[8..12].copy_from_slice(&sequence.to_be_bytes());
        head[12..].copy_from_slice(&value_len.to_be_bytes());
        if at == rows.len() {
            rows.extend_from_slice(&head);
            rows.extend_from_slice(value);
        } else {
            rows.splice(at..at, head.into_iter().chain(value.iter().copied()));
        }
        self.bytes += rows.capacity();
        self.note_bytes(before);
    }

    /// Gives memory back that is no longer needed, from time to time.
    pub fn sweep(&mut self, observed_ms: i64, first_visible_ms: i64) {
        let is_full = BYTES.load(Ordering::Relaxed) > BYTES_MAX;
        if is_full {
            self.miss_before(self.from_ms.max(first_visible_ms).midpoint(observed_ms) + 1);
        }
        // Half of what is visible may lie about unseen.
        let visible_ms = observed_ms - first_visible_ms;
        if !is_full && observed_ms - self.swept_ms <= visible_ms / 2 {
            return;
        }
        self.swept_ms = observed_ms;
        let (before, keep_ms) = (self.bytes, self.from_ms.max(first_visible_ms));
        let bytes = &mut self.bytes;
        self.keys.retain(|key, rows| {
            *bytes -= rows.capacity();
            drop_front(rows, keep_ms);
            if rows.is_empty() {
                *bytes -= key.len() + KEY_OVERHEAD_BYTES;
                return false;
            }
            if rows.capacity() > 2 * rows.len() {
                rows.shrink_to(rows.len());
            }
            *bytes += rows.capacity();
            true
        });
        self.note_bytes(before);
    }

    fn note_bytes(&self, before: usize) {
        BYTES.fetch_add(self.bytes, Ordering::Relaxed);
        BYTES.fetch_sub(before, Ordering::Relaxed);
    }

    /// Shows the rows of a key that start between the bounds, both included.
    pub fn read(
        &self,
        key: &[u8],
        (from_ms, to_ms): (i64, i64),
        read: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<()> {
        let mut rest = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        while let Some(row) = first_row(rest) {
            let (start_ms, _) = row.place;
            if start_ms > to_ms {
                return Ok(());
            }
            if start_ms >= from_ms {
                read(start_ms, row.value);
            }
            rest = &rest[row.len..];
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(StoreError::corruption("rows in memory have no end")),
        }
    }
}

impl Drop for RecentRows {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[inline]
fn first_row(rows: &[u8]) -> Option<Row<'_>> {
    let (start, rest) = rows.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let value = rest.get(..u32::from_be_bytes(*len) as usize)?;
    Some(Row {
        place: (i64::from_be_bytes(*start), i32::from_be_bytes(*sequence)),
        value,
        len: HEAD_LEN + value.len(),
    })
}

/// Where a row belongs among others.
fn place_for(rows: &[u8], place: (i64, i32)) -> usize {
    let mut at = 0;
    while let Some(row) = first_row(&rows[at..])
        && row.place < place
    {
        at += row.len;
    }
    at
}

/// Drops rows that start before this time.
fn drop_front(rows: &mut Vec<u8>, start_ms: i64) {
    let gone = place_for(rows, (start_ms, i32::MIN));
    rows.drain(..gone);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &RecentRows, key: &[u8], times: (i64, i64)) -> Vec<(i64, Vec<u8>)> {
        let mut found = Vec::new();
        let mut note = |start_ms, value: &[u8]| found.push((start_ms, value.to_vec()));
        rows.read(key, times, &mut note).unwrap();
        found
    }

    #[test]
    fn rows_come_by_start_and_then_as_they_came() {
        let mut rows = RecentRows::new(0);
        for (number, (start_ms, value)) in [(20, "a"), (10, "b"), (20, "c"), (15, "")]
            .into_iter()
            .enumerate()
        {
            rows.put(b"k", (start_ms, number as i32), value.as_bytes(), 0);
        }
        rows.put(b"l", (20, 9), b"d", 0);
        let values = |times| -> String {
            let found = read(&rows, b"k", times);
            found
                .into_iter()
                .map(|(_, value)| String::from_utf8(value).unwrap() + ".")
                .collect()
        };
        assert_eq!(values((0, 99)), "b..a.c.");
        assert_eq!(values((11, 19)), ".");
        assert_eq!(read(&rows, b"none", (0, 99)), []);
    }

    #[test]
    fn rows_leave_when_reads_no_longer_show_them() {
        let mut rows = RecentRows::new(0);
        for start_ms in [10, 20] {
            rows.put(b"k", (start_ms, 1), b"v", 0);
            rows.put(b"silent", (start_ms, 1), b"v", 0);
        }
        rows.put(b"k", (30, 1), b"v", 20);
        assert_eq!(read(&rows, b"k", (0, 99)).len(), 2);
        rows.sweep(40, 25);
        assert!(rows.keys.len() == 1 && rows.reaches(0));
        rows.sweep(90, 80);
        assert_eq!((rows.keys.len(), rows.bytes), (0, 0));
        rows.miss_before(50);
        assert!(rows.reaches(50) && !rows.reaches(49));
    }
}
