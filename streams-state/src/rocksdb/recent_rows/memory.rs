//! What `RecentRows` takes, and how it gives memory back.

use super::{DEAD, RecentRows, TOUCHED, WAITS};
use crate::records::INDEX_BYTES;

impl RecentRows {
    /// Gives back the memory of rows that the disk has, until `target` bytes are left, if rows that wait do not need more: of
    /// those that were not used since the last time, and then of others. Only between two commits.
    pub fn shrink(&mut self, target: usize) {
        let waiting_bytes: usize = self
            .offsets()
            .filter(|at| self.is_marked(*at, WAITS))
            .map(|at| self.records.record_len(at) + INDEX_BYTES)
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
        if self.dead_bytes > self.records.bytes() / 4 {
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
        let (mut next, mut to) = (self.records.first(), 0);
        while let Some(at) = next {
            next = self.records.behind(at);
            let marks = self.records.marks(at);
            if marks & DEAD == 0 && keep(marks, self.records.record_len(at)) {
                self.records.set_marks(at, marks & !TOUCHED);
                let behind = self.records.move_to(at, to);
                self.insert(to);
                to = behind;
            }
        }
        self.records.truncate(to);
        self.dead_bytes = 0;
    }

    /// How much memory it takes, in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.records.bytes() + self.index.len() * INDEX_BYTES + self.undo.bytes()
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

    /// How much memory what was written since the last commit takes, in bytes.
    pub fn uncommitted_bytes(&self) -> usize {
        match self.undo.is_empty() {
            true => 0,
            false => self.undo.bytes() + self.undo.added_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Known;
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_waits_always_does() {
        let mut rows = RecentRows::new(false);
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
        assert_eq!(rows.get(b"w"), Known::Row(Some(b"value")));
        assert_eq!(rows.bytes(), 6 * (16 + INDEX_BYTES));
    }

    #[test]
    fn memory_of_rows_that_went_is_held_until_it_is_given_back() {
        let mut rows = RecentRows::new(false);
        for key in 0..100u8 {
            rows.remember(&[key], b"value");
        }
        let full = rows.held_bytes();
        assert_eq!(full, 100 * (16 + INDEX_BYTES));
        rows.shrink(0);
        rows.shrink(0);
        assert_eq!((rows.bytes(), rows.held_bytes()), (0, full));
        rows.give_back(2 * full);
        assert_eq!(rows.held_bytes(), full);
        rows.give_back(full / 2);
        assert_eq!(rows.held_bytes(), full / 2);
        rows.remember(b"a", b"value");
        assert_eq!(rows.held_bytes(), full / 2);
    }
}
