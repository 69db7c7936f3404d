//! `DuplicatesTable`: the rows of a window store with duplicates, which is that of a stream-stream join: the recent ones in
//! memory, over those on disk.
//!
//! Such a store gets a row with every record and is asked for a key's rows in a span of time with every record of the other side.
//! Both are one search in memory. Rows that were committed wait there until the memory is wanted, and then go to disk together, in
//! the order of their keys; they stay in memory for as long as reads show them. Rows that expire before are never written.
//!
//! The disk is asked for what has left, and for scans, which see what waits in a sorted overlay.

use std::cell::{Cell, OnceCell};

use super::duplicate_log::DuplicateLog;
use super::row_chunks::{LoggedRow, Place};
use crate::key_encoding::RowLayout;
use crate::merge::merge;
use crate::overlay::Overlay;
use crate::row_budget::RowBudget;
use crate::table::{Cursor, RowRange, RowSink, Table};
use crate::{Order, Result};

/// Behind every row: one begins with a time, which is not negative.
const ROWS_END: [u8; 1] = [0x80];
/// The row of the position, when it is written with the others.
#[cfg(feature = "rocksdb")]
pub(crate) const POSITION_ROW: [u8; 1] = [0xff];

/// Rows that were put last, over those of `T`.
pub(crate) struct DuplicatesTable<T, B> {
    log: DuplicateLog,
    below: T,
    budget: B,
    layout: RowLayout,
    /// What waits, in order, while the store is scanned.
    sorted: OnceCell<Overlay>,
    was_scanned: Cell<bool>,
    /// Rows in front of this one are dead.
    expired: Option<[u8; 8]>,
    /// Lends its memory to look-ups: starts, sequences and where the rows are.
    found: Cell<Vec<(i64, i32, Place)>>,
}

impl<T: Table, B: RowBudget> DuplicatesTable<T, B> {
    /// Over the rows that are already in `below`, laid out like this.
    pub fn new(below: T, layout: RowLayout, budget: B) -> Self {
        Self {
            log: DuplicateLog::new(i64::MAX),
            below,
            budget,
            layout,
            sorted: OnceCell::new(),
            was_scanned: Cell::new(false),
            expired: None,
            found: Cell::default(),
        }
    }

    fn sorted(&self) -> &Overlay {
        self.sorted.get_or_init(|| {
            let mut sorted = Overlay::default();
            let mut key = Vec::new();
            for row in self.log.waiting() {
                self.write_key(&row, &mut key);
                sorted.put(&key, Some(row.value));
            }
            sorted
        })
    }

    fn write_key(&self, row: &LoggedRow<'_>, key: &mut Vec<u8>) {
        self.layout
            .write_row(row.key, row.start_ms, row.sequence, key);
    }

    /// Adds a row to the log.
    fn log(&mut self, key: &[u8], value: &[u8]) {
        let (record_key, start_ms, sequence) = self
            .layout
            .parse_row(key)
            .expect("the layout has written it");
        self.log.put(LoggedRow {
            key: record_key,
            start_ms,
            sequence,
            value,
        });
        self.budget.note(self.log.bytes());
    }

    /// Before when everything in memory is dead.
    fn expired_ms(&self) -> i64 {
        self.expired.map_or(i64::MIN, |row| {
            let segment = self.layout.segment_of_row(&row);
            let segment = segment.expect("it begins with a time");
            segment.saturating_mul(self.layout.segment_interval_ms)
        })
    }

    /// Hands rows to `sink` in the order of their keys, those that are dead left out.
    fn hand_out<'a>(
        &'a self,
        rows: impl Iterator<Item = LoggedRow<'a>>,
        expired: Option<&[u8]>,
        sink: &mut dyn RowSink,
    ) {
        let known = self.expired.as_ref().map(<[u8; 8]>::as_slice);
        let first = expired.max(known).unwrap_or_default();
        let (mut keys, mut key) = (Vec::new(), Vec::new());
        let mut sorted = Vec::new();
        for row in rows {
            self.write_key(&row, &mut key);
            if key.as_slice() < first {
                continue;
            }
            // The first bytes decide most comparisons without a look at the keys.
            let front = key.first_chunk().expect("it begins with a time");
            let next = key[8..].first_chunk().copied().unwrap_or_default();
            let order = (u64::from_be_bytes(*front), u64::from_be_bytes(next));
            let start = keys.len();
            keys.extend_from_slice(&key);
            sorted.push((order, start..keys.len(), row.value));
        }
        // Of two rows with one key the later is the one that counts; sorting leaves them as they came.
        sorted.sort_by(|a, b| {
            let (a_key, b_key) = (&keys[a.1.clone()], &keys[b.1.clone()]);
            a.0.cmp(&b.0).then_with(|| a_key.cmp(b_key))
        });
        let mut rows = sorted.into_iter().peekable();
        while let Some((_, key, value)) = rows.next() {
            let is_replaced = |(_, next, _): &(_, std::ops::Range<usize>, _)| {
                keys[next.clone()] == keys[key.clone()]
            };
            if !rows.peek().is_some_and(is_replaced) {
                sink.put(&keys[key], value);
            }
        }
    }

    fn remember_expired(&mut self, expired: Option<&[u8]>) {
        let expired = expired.and_then(|row| row.first_chunk()).copied();
        self.expired = self.expired.max(expired);
    }

    fn forget_order(&mut self) {
        self.was_scanned.set(false);
        self.sorted.take();
    }
}

impl<T: Table, B: RowBudget> Table for DuplicatesTable<T, B> {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let (record_key, start_ms, sequence) = self.layout.parse_row(key)?;
        let mut rows = self.log.rows_of(record_key, (start_ms, start_ms));
        match rows.find(|(_, row)| row.sequence == sequence) {
            Some((_, row)) => {
                read(Some(row.value));
                Ok(())
            }
            None => self.below.get_with(key, read),
        }
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        self.log.prefetch(keys)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        debug_assert!(value.is_some(), "no duplicate is ever deleted");
        let Some(value) = value else { return };
        if let Some(sorted) = self.sorted.get_mut() {
            sorted.put(key, Some(value));
        }
        self.log(key, value);
    }

    fn scan(&self, mut range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>> {
        self.was_scanned.set(true);
        if range.upper.as_deref().is_none_or(|upper| upper > &ROWS_END) {
            range.upper = Some(ROWS_END.to_vec());
        }
        merge(self.sorted(), range, order, |range| {
            self.below.scan(range, order)
        })
    }

    fn approximate_len(&self) -> Result<u64> {
        Ok(self.below.approximate_len()? + self.log.waiting().count() as u64)
    }

    fn uncommitted_bytes(&self) -> usize {
        self.log.uncommitted_bytes()
    }

    fn empty_from(&mut self, start_ms: i64) {
        self.log = DuplicateLog::new(start_ms);
        self.forget_order();
    }

    fn read_recent(
        &self,
        key: &[u8],
        (from_ms, to_ms): (i64, i64),
        read: &mut dyn FnMut(i64, &[u8]),
    ) -> bool {
        if !self.log.reaches(from_ms) {
            return false;
        }
        let mut found = self.found.take();
        found.clear();
        let rows = self.log.rows_of(key, (from_ms, to_ms));
        found.extend(rows.map(|(at, row)| (row.start_ms, row.sequence, at)));
        if found.len() > 1 {
            found.sort_unstable();
        }
        for (start_ms, _, at) in &found {
            read(*start_ms, self.log.row(*at).value);
        }
        self.found.set(found);
        true
    }

    fn hide_before(&mut self, first_visible_ms: i64) {
        let expired_ms = self.expired_ms();
        let is_hidden = |newest_ms: i64, is_written: bool| {
            newest_ms < expired_ms || (is_written && newest_ms < first_visible_ms)
        };
        while self.log.drop_first(is_hidden) {}
        let share = self.budget.share();
        if self.log.bytes() > share || self.log.is_full() {
            while (self.log.bytes() > share / 4 * 3 || self.log.is_full())
                && self.log.drop_first(|_newest_ms, is_written| is_written)
            {}
        }
        self.budget.note(self.log.bytes());
    }

    fn may_wait(&self) -> bool {
        self.sorted.get().is_none()
            && self.log.bytes() <= self.budget.share()
            && !self.log.is_full()
    }

    fn committed_in_memory(&mut self, expired: Option<&[u8]>) {
        self.log.committed();
        self.remember_expired(expired);
    }

    fn sorted_bytes(&self) -> Option<usize> {
        Some(self.log.waiting_bytes())
    }

    #[cfg(feature = "rocksdb")]
    fn position_row(&self) -> Option<&'static [u8]> {
        Some(&POSITION_ROW)
    }

    fn stage(&self, expired: Option<&[u8]>, sink: &mut dyn RowSink) {
        if let Some(expired) = expired {
            sink.delete_below(expired);
        }
        self.hand_out(self.log.waiting(), expired, sink);
    }

    fn committed(&mut self, expired: Option<&[u8]>) -> Result<()> {
        self.log.written();
        self.remember_expired(expired);
        match self.was_scanned.replace(false) {
            true => self.sorted.get_mut().into_iter().for_each(Overlay::clear),
            false => drop(self.sorted.take()),
        }
        self.below.committed(expired)
    }

    fn rollback(&mut self) {
        self.log.rollback();
        self.forget_order();
        self.budget.note(self.log.bytes());
    }

    fn may_restore_in_memory(&self) -> bool {
        self.may_wait() && self.log.uncommitted_bytes() == 0
    }

    fn restore_in_memory(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Some(value) = value {
            self.log(key, value);
            self.log.committed();
        }
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, sink: &mut dyn RowSink) -> Result<()> {
        // Rows that wait go first, or they would be behind the position that is written with these.
        self.hand_out(self.log.committed_waiting(), None, sink);
        self.log.committed_is_written();
        let (_, start_ms, _) = self.layout.parse_row(key)?;
        self.log.miss_before(start_ms.saturating_add(1));
        self.below.restore(key, value, sink)
    }

    fn restore_expired(&mut self, expired: &[u8], sink: &mut dyn RowSink) -> Result<()> {
        self.remember_expired(Some(expired));
        self.below.restore_expired(expired, sink)
    }
}
