//! What leaves the cache of windows when memory is short, and what is given back because nothing in it is changed.

use super::row::{Left, WindowRow};
use super::rows::WindowRows;
use crate::task::stores::sweep::Sweep;

/// Windows of a row that leave the cache.
pub(super) type Leaving<V> = Vec<Left<V>>;

/// How far an eviction has come.
#[derive(Default)]
pub(super) struct Eviction {
    /// Windows that begin before this go.
    cold_before_ms: i64,
    /// How many of those of a row stay, the last ones.
    keep: usize,
    sweep: Sweep,
}

impl<V> WindowRows<V> {
    /// Gives the memory of unchanged windows back that start before this time.
    pub(super) fn forget_before(&mut self, start_ms: i64) {
        for slot in 0..self.rows.slot_count() {
            let Some(row) = self.rows.get(slot) else {
                continue;
            };
            let count = row.row.count_unchanged_before(start_ms);
            if count > 0 {
                drop(self.take_front(slot, count, start_ms));
            }
        }
    }

    /// Gives the memory of all rows back in which nothing is changed.
    pub(super) fn forget_clean(&mut self) {
        for slot in 0..self.rows.slot_count() {
            let clean = |row: &WindowRow<V>| row.runs().iter().all(|run| run.touch.changed == 0);
            if self.rows.get(slot).is_some_and(|row| clean(&row.row)) {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        if let Some(row) = self.rows.remove(slot) {
            let last = row.row.windows_back().next();
            self.left_ms = self.left_ms.max(last.map(|(start_ms, ..)| start_ms));
            self.row_bytes -= row.row.bytes();
            self.windows -= row.row.len();
        }
    }

    /// Takes windows out at the front of a row; a row that has no other goes with them.
    fn take_front(&mut self, slot: u32, count: usize, before_ms: i64) -> Leaving<V> {
        let row = self.rows.row_mut(slot);
        let before = row.bytes();
        row.complete_from_ms = row.complete_from_ms.max(before_ms);
        let mut taken = Vec::with_capacity(count);
        row.take_front(count, |left| taken.push(left));
        self.left_ms = self.left_ms.max(taken.last().map(|left| left.start_ms));
        self.row_bytes = self.row_bytes - before + row.bytes();
        self.windows -= count;
        if row.is_empty() {
            self.remove(slot);
        }
        taken
    }

    /// Begins to make room: windows that begin before this time go, but for as many of each row as are to be kept, and whole
    /// rows until there are no more than `target_bytes`.
    pub(super) fn begin_eviction(&mut self, cold_before_ms: i64, keep: usize, target_bytes: usize) {
        self.eviction.cold_before_ms = cold_before_ms;
        self.eviction.keep = keep;
        self.eviction
            .sweep
            .begin(self.rows.slot_count(), target_bytes);
    }

    /// The key of the next row that lets windows go, and these; `None` when there is room or the cache has no more to give.
    pub(super) fn evict_next(&mut self) -> Option<(Box<[u8]>, Leaving<V>)> {
        while let Some(slot) = self.eviction.sweep.next_cold(self.rows.slot_count()) {
            let Some(row) = self.rows.get(slot) else {
                continue;
            };
            let mut before_ms = self.eviction.cold_before_ms;
            let mut count = row.row.count_before(before_ms);
            if self.eviction.keep > 0 && count > 0 {
                count = count.saturating_sub(self.eviction.keep);
                before_ms = row.row.start_of(count);
            }
            if count > 0 {
                let key = row.key.clone();
                return Some((key, self.take_front(slot, count, before_ms)));
            }
        }
        while self.bytes() > self.eviction.sweep.target_bytes() {
            let slot = self.eviction.sweep.next_whole(self.rows.slot_count())?;
            if let Some(row) = self.rows.get(slot) {
                let (key, count) = (row.key.clone(), row.row.len());
                return Some((key, self.take_front(slot, count, i64::MAX)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{flush, touch};
    use super::*;

    #[test]
    fn cold_windows_go_first_and_then_whole_rows() {
        let mut rows = WindowRows::new();
        for key in [b"a", b"b", b"c"] {
            for start_ms in [0, 10, 20] {
                touch(&mut rows, key, start_ms);
            }
        }
        let all = rows.bytes();
        rows.begin_eviction(10, 0, all);
        for key in [b"a", b"b", b"c"] {
            let (of, windows) = rows.evict_next().unwrap();
            assert_eq!(
                (&*of, windows.len(), windows[0].start_ms),
                (key.as_slice(), 1, 0)
            );
        }
        assert!(rows.evict_next().is_none());
        rows.begin_eviction(10, 0, 1);
        let (of, windows) = rows.evict_next().unwrap();
        assert_eq!((&*of, windows.len()), (b"a".as_slice(), 2));
        assert_eq!(rows.find(b"a"), None);
        assert_eq!(flush(&mut rows).len(), 4);
        rows.forget_before(20);
        rows.forget_clean();
        assert_eq!((rows.windows, rows.row_bytes), (0, 0));
    }

    #[test]
    fn the_last_cold_window_may_stay_and_what_left_is_known() {
        let mut rows = WindowRows::new();
        for (key, start_ms) in [(b"a", 0), (b"a", 10), (b"a", 20), (b"b", 10)] {
            touch(&mut rows, key, start_ms);
        }
        assert_eq!(rows.left_ms(|| -1), -1);
        let all = rows.bytes();
        rows.begin_eviction(15, 1, all);
        let (of, windows) = rows.evict_next().unwrap();
        assert_eq!(
            (&*of, windows.len(), windows[0].start_ms),
            (b"a".as_slice(), 1, 0)
        );
        assert!(rows.evict_next().is_none());
        let slot = rows.find(b"a").unwrap();
        assert_eq!(rows.row(slot).complete_from_ms, 10);
        assert_eq!(rows.left_ms(|| 99), 0);
        let between = |rows: &WindowRows<i32>, visible_ms| {
            let windows = rows.between(10, 20, visible_ms).into_iter();
            let keys = windows.map(|(start_ms, slot)| (start_ms, rows.key(slot)[0]));
            keys.collect::<Vec<_>>()
        };
        assert_eq!(between(&rows, 99), [(10, b'a'), (10, b'b'), (20, b'a')]);
        flush(&mut rows);
        assert_eq!(between(&rows, 20), [(20, b'a')]);
        rows.forget_clean();
        assert_eq!(rows.left_ms(|| 99), 20);
    }
}
