//! The record cache of a window store: one row for each key with all its windows, and the order in which they changed.
//!
//! What is observable is Kafka Streams' `NamedCache`: a flush hands out each changed window once, in the order of the last
//! change.

use super::eviction::Eviction;
use super::row::{Run, Touch, WindowRow};
use crate::error::Result;
use crate::task::stores::keyed_rows::KeyedRows;
use std::mem::needs_drop;

pub(super) struct WindowRows<V> {
    pub(super) rows: KeyedRows<WindowRow<V>>,
    clock: u64,
    /// Rows with changes.
    listed: Vec<u32>,
    /// Changed runs of a flush under way, the next one last.
    flushing: Vec<ChangedRun>,
    /// The run that a flush is at.
    walk: Option<Walk>,
    /// The window whose value was handed out by the flush and may come back: row, run, start.
    lent: Option<(u32, u32, i64)>,
    /// What the rows' vectors hold.
    pub(super) row_bytes: usize,
    pub(super) windows: usize,
    /// The store below has no window that starts later than this and is not here: the last one that it had at the beginning, or
    /// that has left since.
    pub(super) left_ms: Option<i64>,
    /// How long a value was when it was last read or written as bytes: what values are taken to hold on the heap.
    encoded_len: usize,
    pub(super) eviction: Eviction,
}

/// A run that a flush comes to.
struct ChangedRun {
    changed: u64,
    first_ms: i64,
    slot: u32,
    /// Its number when the flush began.
    run: u32,
}

/// A run whose windows are written one after the other; it counts as unchanged already.
struct Walk {
    slot: u32,
    run: u32,
    next_ms: i64,
    step_ms: i64,
    left: usize,
    touch: Touch,
}

/// A window that a flush is at: its row and start, what it was changed to, and by what.
pub(super) struct Flushing<V> {
    pub(super) slot: u32,
    pub(super) start_ms: i64,
    pub(super) value: Option<V>,
    pub(super) touch: Touch,
}

impl<V> WindowRows<V> {
    pub(super) fn new() -> Self {
        WindowRows {
            rows: KeyedRows::new(),
            clock: 0,
            listed: Vec::new(),
            flushing: Vec::new(),
            walk: None,
            lent: None,
            row_bytes: 0,
            windows: 0,
            left_ms: None,
            encoded_len: 0,
            eviction: Eviction::default(),
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.rows.find(key)
    }

    /// The last start at which the store below may have a window that is not here. At the beginning it is told by the store.
    #[inline]
    pub(super) fn left_ms(&mut self, in_store_ms: impl FnOnce() -> i64) -> i64 {
        *self.left_ms.get_or_insert_with(in_store_ms)
    }

    pub(super) fn add(&mut self, key: &[u8], complete_from_ms: i64) -> u32 {
        self.rows.insert(key, WindowRow::new(complete_from_ms))
    }

    #[inline]
    pub(super) fn row(&self, slot: u32) -> &WindowRow<V> {
        self.rows.row(slot)
    }

    pub(super) fn key(&self, slot: u32) -> &[u8] {
        self.rows.get(slot).map_or(&[], |row| &*row.key)
    }

    /// A row for changes of its windows' values.
    #[inline]
    pub(super) fn row_mut(&mut self, slot: u32) -> &mut WindowRow<V> {
        self.rows.row_mut(slot)
    }

    /// Adds a window that is not here.
    pub(super) fn insert(
        &mut self,
        slot: u32,
        start_ms: i64,
        value: Option<V>,
        touch: Touch,
    ) -> usize {
        let row = self.rows.row_mut(slot);
        let before = row.bytes();
        let at = row.insert(start_ms, value, touch);
        self.row_bytes += row.bytes() - before;
        self.windows += 1;
        at
    }

    /// Adds windows without values, if they lie behind all others of the row.
    pub(super) fn append(&mut self, slot: u32, first_ms: i64, step_ms: i64, len: usize) -> bool {
        let row = self.rows.row_mut(slot);
        let before = row.bytes();
        let appended = row.append(first_ms, step_ms, len);
        self.row_bytes += row.bytes() - before;
        self.windows += if appended { len } else { 0 };
        appended
    }

    /// Takes note of a change of windows that lie side by side; `touch` gets the time of the cache's own count.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32, at: usize, len: usize, step_ms: i64, touch: Touch) {
        self.clock += 1;
        let row = self.rows.row_mut(slot);
        let before = row.bytes();
        let changed = self.clock;
        row.touch(at..at + len, step_ms, Touch { changed, ..touch });
        self.row_bytes += row.bytes();
        self.row_bytes -= before;
        if !row.listed {
            row.listed = true;
            self.listed.push(slot);
        }
    }

    /// Changes the values of windows of a row one by one, the last of them first; each becomes what was changed last. `change`
    /// gets the value and its timestamp, and says what that becomes. The row has all of them.
    #[inline]
    pub(super) fn update_back(
        &mut self,
        slot: u32,
        starts: impl Iterator<Item = i64>,
        touch: &Touch,
        mut change: impl FnMut(&mut Option<V>, i64) -> Result<i64>,
    ) -> Result<()> {
        let row = self.rows.row_mut(slot);
        let before = row.bytes();
        if !row.listed {
            row.listed = true;
            self.listed.push(slot);
        }
        let clock = &mut self.clock;
        let updated = row.update_back(starts, |value, place| {
            let timestamp = change(value, place.timestamp)?;
            *clock += 1;
            let (changed, touch) = (*clock, touch.clone());
            *place = Touch {
                changed,
                timestamp,
                ..touch
            };
            Ok(())
        });
        self.row_bytes = self.row_bytes - before + row.bytes();
        updated
    }

    /// The windows that start between these times, both included, and are changed or start at or behind the third one, by their
    /// start, then their key's bytes: start, row.
    pub(super) fn between(&self, from_ms: i64, to_ms: i64, visible_ms: i64) -> Vec<(i64, u32)> {
        let mut all = Vec::new();
        for (slot, row) in self.rows.iter() {
            // The first bytes decide most comparisons without a look at the keys.
            let mut front = [0; 8];
            let len = row.key.len().min(front.len());
            front[..len].copy_from_slice(&row.key[..len]);
            let front = u64::from_be_bytes(front);
            for run in &row.row.runs()[row.row.first_run_from(from_ms)..] {
                if run.first_ms > to_ms {
                    break;
                }
                let from_ms = match run.touch.changed {
                    0 => from_ms.max(visible_ms),
                    _ => from_ms,
                };
                let starts = run.windows().map(|(start_ms, _)| start_ms);
                let starts = starts.skip_while(|start_ms| *start_ms < from_ms);
                let starts = starts.take_while(|start_ms| *start_ms <= to_ms);
                all.extend(starts.map(|start_ms| (start_ms, front, slot)));
            }
        }
        all.sort_unstable_by(|(start_ms, front, a), (other_ms, other, b)| {
            let by_front = (start_ms, front).cmp(&(other_ms, other));
            by_front.then_with(|| self.key(*a).cmp(self.key(*b)))
        });
        all.into_iter()
            .map(|(start_ms, _, slot)| (start_ms, slot))
            .collect()
    }

    pub(super) fn note_encoded_len(&mut self, encoded_len: usize) {
        self.encoded_len = encoded_len;
    }

    pub(super) fn bytes(&self) -> usize {
        let heap = match needs_drop::<V>() {
            true => self.windows * self.encoded_len,
            false => 0,
        };
        let lists = self.listed.len() * size_of::<u32>();
        self.rows.bytes() + self.row_bytes + lists + heap
    }

    /// The next changed window, which counts as unchanged from now on and has its value handed out. A flush takes them until
    /// there is none; what changes meanwhile comes behind.
    pub(super) fn take_changed(&mut self) -> Option<Flushing<V>> {
        loop {
            if let Some(flushing) = self.walk_on() {
                return Some(flushing);
            }
            if self.flushing.is_empty() && !self.begin_round() {
                return None;
            }
            let Some(next) = self.flushing.pop() else {
                continue;
            };
            let Some(row) = self.rows.get_mut(next.slot) else {
                continue;
            };
            let row = &mut row.row;
            if let Some((index, _)) = row.find_again(next.first_ms, next.run)
                && row.runs()[index].touch.changed == next.changed
            {
                let run = row.run_mut(index);
                self.walk = Some(Walk {
                    slot: next.slot,
                    run: index as u32,
                    next_ms: run.first_ms,
                    step_ms: run.step_ms,
                    left: run.len(),
                    touch: run.touch.clone(),
                });
                run.touch.changed = 0;
                run.touch.rest = None;
            }
        }
    }

    /// The next window of the run that a flush is at, unless it was changed again.
    fn walk_on(&mut self) -> Option<Flushing<V>> {
        let walk = self.walk.as_mut()?;
        while walk.left > 0 {
            let start_ms = walk.next_ms;
            walk.next_ms = walk.next_ms.saturating_add(walk.step_ms);
            walk.left -= 1;
            let slot = walk.slot;
            let row = self.rows.row_mut(slot);
            if let Some((index, at)) = row.find_again(start_ms, walk.run)
                && row.runs()[index].touch.changed == 0
            {
                let value = row.values_mut().take(at);
                self.lent = Some((slot, walk.run, start_ms));
                return Some(Flushing {
                    slot,
                    start_ms,
                    value,
                    touch: walk.touch.clone(),
                });
            }
        }
        self.walk = None;
        None
    }

    /// Collects what has changed; false when nothing has.
    fn begin_round(&mut self) -> bool {
        for slot in self.listed.drain(..) {
            let Some(row) = self.rows.get_mut(slot) else {
                continue;
            };
            if !std::mem::take(&mut row.row.listed) {
                continue;
            }
            for (number, run) in row.row.runs().iter().enumerate() {
                if run.touch.changed != 0 {
                    self.flushing.push(ChangedRun {
                        changed: run.touch.changed,
                        first_ms: run.first_ms,
                        slot,
                        run: number as u32,
                    });
                }
            }
        }
        self.flushing
            .sort_unstable_by_key(|next| std::cmp::Reverse(next.changed));
        !self.flushing.is_empty()
    }

    /// Puts a value back that the flush has handed out.
    pub(super) fn give_back(&mut self, value: Option<V>) {
        let Some((slot, run, start_ms)) = self.lent.take() else {
            return;
        };
        let Some(row) = self.rows.get_mut(slot) else {
            return;
        };
        if let Some((index, at)) = row.row.find_again(start_ms, run)
            && row.row.runs()[index].touch.changed == 0
        {
            row.row.values_mut().set(at, value);
        }
    }

    /// Every window that the store below does not have yet as it is, with its key: start, value, timestamp.
    pub(super) fn held_back(
        &self,
        mut read: impl FnMut(&[u8], i64, Option<&V>, i64) -> Result<()>,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<()> {
        for (slot, row) in self.rows.iter() {
            for run in &row.row.runs()[row.row.first_run_from(from_ms)..] {
                if run.first_ms > to_ms {
                    break;
                }
                for (start_ms, at) in run.windows() {
                    if (from_ms..=to_ms).contains(&start_ms)
                        && self.is_held_back(slot, run, start_ms)
                    {
                        read(
                            &row.key,
                            start_ms,
                            row.row.values().get(at),
                            run.touch.timestamp,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a window is still to be written: it has changed, or the flush that is at its run has not come to it.
    fn is_held_back(&self, slot: u32, run: &Run, start_ms: i64) -> bool {
        run.touch.changed != 0
            || self.walk.as_ref().is_some_and(|walk| {
                let passed_ms = start_ms - walk.next_ms;
                walk.slot == slot
                    && passed_ms >= 0
                    && passed_ms < (walk.left as i64).saturating_mul(walk.step_ms)
                    && passed_ms % walk.step_ms == 0
            })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn touch(rows: &mut WindowRows<i32>, key: &[u8], start_ms: i64) {
        let slot = match rows.find(key) {
            Some(slot) => slot,
            None => rows.add(key, 0),
        };
        let at = match rows.row(slot).find(start_ms) {
            Some((_, at)) => at,
            None => rows.insert(slot, start_ms, Some(0), Touch::loaded(0)),
        };
        rows.touch(slot, at, 1, 10, Touch::loaded(7));
    }

    pub(in super::super) fn flush(rows: &mut WindowRows<i32>) -> Vec<(u8, i64)> {
        let mut all = Vec::new();
        while let Some(window) = rows.take_changed() {
            all.push((rows.key(window.slot)[0], window.start_ms));
            rows.give_back(window.value);
        }
        all
    }

    #[test]
    fn a_flush_hands_out_each_window_once_in_the_order_of_its_last_change() {
        let mut rows = WindowRows::new();
        for (key, start_ms) in [(b"a", 0), (b"b", 0), (b"a", 10), (b"a", 0)] {
            touch(&mut rows, key, start_ms);
        }
        assert_eq!(flush(&mut rows), [(b'b', 0), (b'a', 10), (b'a', 0)]);
        assert_eq!(flush(&mut rows), []);
        let slot = rows.find(b"a").unwrap();
        assert_eq!(rows.row(slot).values().get(1), Some(&0), "values come back");
    }

    #[test]
    fn a_flush_finds_windows_whose_row_changes_meanwhile() {
        let mut rows = WindowRows::new();
        for start_ms in [100, 200, 300] {
            touch(&mut rows, b"a", start_ms);
        }
        let first = rows.take_changed().unwrap();
        assert_eq!(first.start_ms, 100);
        // Two runs in front of the others, which move on by as many.
        touch(&mut rows, b"a", 10);
        touch(&mut rows, b"a", 50);
        rows.give_back(first.value);
        let expected = [200, 300, 10, 50].map(|start_ms| (b'a', start_ms));
        assert_eq!(flush(&mut rows), expected);
        let row = rows.row(rows.find(b"a").unwrap());
        assert_eq!(row.len(), 5);
        assert!((0..5).all(|at| row.values().get(at) == Some(&0)));
    }

    #[test]
    fn what_changes_during_a_flush_is_flushed_too() {
        let mut rows = WindowRows::new();
        for key in [b"a", b"b"] {
            touch(&mut rows, key, 0);
        }
        let first = rows.take_changed().unwrap();
        assert_eq!(rows.key(first.slot), b"a");
        touch(&mut rows, b"a", 0);
        rows.give_back(Some(99));
        assert_eq!(flush(&mut rows), [(b'b', 0), (b'a', 0)]);
    }

    #[test]
    fn windows_of_a_run_are_held_back_until_the_flush_comes_to_them() {
        let mut rows = WindowRows::<i32>::new();
        let slot = rows.add(b"a", 0);
        for start_ms in [0, 10, 20] {
            rows.insert(slot, start_ms, Some(1), Touch::loaded(0));
        }
        rows.touch(slot, 0, 3, 10, Touch::loaded(7));
        let held_back = |rows: &WindowRows<i32>| {
            let mut starts = Vec::new();
            let mut note = |_: &[u8], start_ms, _: Option<&i32>, _| {
                starts.push(start_ms);
                Ok(())
            };
            rows.held_back(&mut note, (0, i64::MAX)).unwrap();
            starts
        };
        assert_eq!(held_back(&rows), [0, 10, 20]);
        rows.take_changed();
        assert_eq!(held_back(&rows), [10, 20]);
        rows.take_changed();
        assert_eq!(held_back(&rows), [20]);
    }

    #[test]
    fn windows_change_one_by_one_from_the_last_on_back() {
        let mut rows = WindowRows::new();
        for start_ms in [0, 7, 20] {
            touch(&mut rows, b"a", start_ms);
        }
        // A run of two, of which one changes.
        let slot = rows.find(b"a").unwrap();
        rows.touch(slot, 0, 2, 7, Touch::loaded(3));
        let change = |value: &mut Option<i32>, before_ms: i64| {
            *value = value.map(|value| value + 1);
            Ok(before_ms + 1)
        };
        let starts = [20, 7].into_iter();
        rows.update_back(slot, starts, &Touch::loaded(0), change)
            .unwrap();
        let row = rows.row(slot);
        let shown: Vec<_> = row
            .windows_back()
            .map(|(start_ms, at, touch)| (start_ms, row.values().get(at).copied(), touch.timestamp))
            .collect();
        assert_eq!(shown, [(20, Some(1), 8), (7, Some(1), 4), (0, Some(0), 3)]);
        assert_eq!(flush(&mut rows), [(b'a', 0), (b'a', 20), (b'a', 7)]);
    }

    #[test]
    fn what_rows_hold_is_known_with_many_windows_too() {
        let mut rows = WindowRows::<i32>::new();
        let slot = rows.add(b"a", 0);
        let held = |rows: &WindowRows<i32>| rows.row(slot).bytes();
        for number in 0..200 {
            assert!(rows.append(slot, number * 10, 10, 1));
            rows.row_mut(slot)
                .values_mut()
                .set(number as usize, Some(1));
            rows.touch(slot, number as usize, 1, 10, Touch::loaded(7));
            assert_eq!(rows.row_bytes, held(&rows));
        }
        for at in [70, 130, 199] {
            rows.row_mut(slot).values_mut().set(at, None);
            rows.touch(slot, at, 1, 10, Touch::loaded(8));
        }
        assert_eq!(flush(&mut rows).len(), 200);
        assert_eq!(rows.row_bytes, held(&rows));
        rows.forget_before(1000);
        assert_eq!(rows.row_bytes, held(&rows));
        rows.forget_clean();
        assert_eq!((rows.windows, rows.row_bytes), (0, 0));
    }
}
