//! The windows of one key in the record cache, in the order of their start.
//!
//! A record changes all windows of a hopping aggregation that it lies in, so windows that lie side by side mostly have the same
//! last change. What is known of that change is kept once for a run of windows, and a window costs little more than its
//! value.

use super::values::{Values, make_room, shrink};
use crate::error::Result;
use crate::record::Headers;
use crate::task::stores::SourceRecord;
use crate::task::stores::cache::Origin;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// What is known of the last change of a window.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    /// When it was by the cache's own count; 0 is unchanged since it was last written.
    pub(super) changed: u64,
    /// The aggregate's.
    pub(super) timestamp: i64,
    pub(super) origin: Origin,
    /// What is rarely there.
    pub(super) rest: Option<Rc<Rest>>,
}

/// The offset of a record that there is none of: the window is as the store below has it.
const LOADED: i64 = i64::MIN;

/// Headers of the record that changed a window, and the source record where handlers want it.
#[derive(Debug)]
pub(in crate::task::stores) struct Rest {
    pub(in crate::task::stores) headers: Headers,
    pub(in crate::task::stores) source: Option<Arc<SourceRecord>>,
}

impl Touch {
    /// Of a window that is as the store below has it.
    pub(super) fn loaded(timestamp: i64) -> Self {
        Touch {
            changed: 0,
            timestamp,
            origin: Origin {
                offset: LOADED,
                ..Origin::default()
            },
            rest: None,
        }
    }

    /// Whether it was only read from the store below, so that it is to be seen no longer than there.
    pub(super) fn is_loaded(&self) -> bool {
        self.origin.offset == LOADED
    }
}

/// Windows at equal distances with the same last change.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) first_ms: i64,
    pub(super) step_ms: i64,
    /// Where its values begin.
    at: u32,
    len: u32,
    pub(super) touch: Touch,
}

impl Run {
    fn start_ms(&self, value_at: usize) -> i64 {
        self.first_ms + (value_at - self.at as usize) as i64 * self.step_ms
    }

    fn end(&self) -> usize {
        (self.at + self.len) as usize
    }

    /// Where the value of its window with this start is.
    #[inline]
    fn find(&self, start_ms: i64) -> Option<usize> {
        let passed_ms = start_ms - self.first_ms;
        if passed_ms == 0 {
            return Some(self.at as usize);
        }
        if self.len == 1 || passed_ms < 0 || passed_ms % self.step_ms != 0 {
            return None;
        }
        let number = passed_ms / self.step_ms;
        (number < i64::from(self.len)).then(|| self.at as usize + number as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn values(&self) -> Range<usize> {
        self.at as usize..self.end()
    }

    /// The starts of its windows, with where their values are.
    pub(super) fn windows(&self) -> impl Iterator<Item = (i64, usize)> + use<> {
        let (first_ms, step_ms) = (self.first_ms, self.step_ms);
        self.values()
            .zip(0..)
            .map(move |(at, number)| (first_ms + number * step_ms, at))
    }
}

/// A window that leaves its row.
pub(super) struct Left<V> {
    pub(super) start_ms: i64,
    pub(super) value: Option<V>,
    pub(super) touch: Touch,
}

/// The windows of one key.
pub(super) struct WindowRow<V> {
    runs: Vec<Run>,
    values: Values<V>,
    /// What the store below has of this key from this start on is here.
    pub(super) complete_from_ms: i64,
    /// Whether the cache has it on its list of changed rows.
    pub(super) listed: bool,
}

impl<V> WindowRow<V> {
    pub(super) fn new(complete_from_ms: i64) -> Self {
        WindowRow {
            runs: Vec::new(),
            values: Values::new(),
            complete_from_ms,
            listed: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn run_mut(&mut self, run: usize) -> &mut Run {
        &mut self.runs[run]
    }

    pub(super) fn values(&self) -> &Values<V> {
        &self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut Values<V> {
        &mut self.values
    }

    /// What its vectors hold.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>() + self.values.bytes()
    }

    /// The first run that begins behind this start.
    #[inline]
    fn run_behind(&self, start_ms: i64) -> usize {
        // Records come in order more often than not.
        match self.runs.last() {
            Some(last) if last.first_ms <= start_ms => self.runs.len(),
            _ => self.runs.partition_point(|run| run.first_ms <= start_ms),
        }
    }

    /// The first run with a window that starts at this time or later.
    pub(super) fn first_run_from(&self, start_ms: i64) -> usize {
        self.runs
            .partition_point(|run| run.start_ms(run.end() - 1) < start_ms)
    }

    /// The run of a window, and where its value is.
    #[inline]
    pub(super) fn find(&self, start_ms: i64) -> Option<(usize, usize)> {
        let index = self.run_behind(start_ms).checked_sub(1)?;
        let at = self.runs[index].find(start_ms)?;
        Some((index, at))
    }

    /// The same, of a window that was in the run of this number: rows seldom change meanwhile.
    #[inline]
    pub(super) fn find_again(&self, start_ms: i64, run: u32) -> Option<(usize, usize)> {
        let index = run as usize;
        match self.runs.get(index).and_then(|run| run.find(start_ms)) {
            Some(at) => Some((index, at)),
            None => self.find(start_ms),
        }
    }

    /// How many windows from this one on, at this distance from each other, lie side by side here, at most `len`, and where
    /// the first one's value is.
    #[inline]
    pub(super) fn find_run(&self, first_ms: i64, step_ms: i64, len: usize) -> (usize, usize) {
        let Some((index, at)) = self.find(first_ms) else {
            return (0, 0);
        };
        let mut found = 0;
        for run in &self.runs[index..] {
            if found >= len || run.start_ms(at + found) != first_ms + found as i64 * step_ms {
                break;
            }
            let left = run.end() - at - found;
            if left > 1 && run.step_ms != step_ms {
                found += 1;
                break;
            }
            found += left;
        }
        (at, found.min(len))
    }

    /// The runs that have any of these values.
    #[inline]
    pub(super) fn runs_of(&self, values: Range<usize>) -> Range<usize> {
        let holds = |run: &Run, at: usize| run.values().contains(&at);
        // The last run is asked first, as for its start.
        let last = match self.runs.last() {
            Some(last) if holds(last, values.end - 1) => self.runs.len() - 1,
            _ => self.runs.partition_point(|run| run.end() < values.end),
        };
        let mut first = last;
        while self.runs[first].at as usize > values.start {
            first -= 1;
        }
        first..last + 1
    }

    /// Adds a window that is not here.
    pub(super) fn insert(&mut self, start_ms: i64, value: Option<V>, touch: Touch) -> usize {
        let mut index = self.run_behind(start_ms);
        if let Some(before) = index.checked_sub(1) {
            let run = &self.runs[before];
            let last_ms = run.start_ms(run.end() - 1);
            if start_ms < last_ms {
                let number = (start_ms - run.first_ms) / run.step_ms + 1;
                self.split(before, number as u32);
                index = before + 1;
            }
        }
        let at = match self.runs.get(index) {
            Some(behind) => behind.at,
            None => self.values.len() as u32,
        };
        self.values.insert(at as usize, value);
        for behind in &mut self.runs[index..] {
            behind.at += 1;
        }
        make_room(&mut self.runs, 1);
        let run = Run {
            first_ms: start_ms,
            step_ms: 1,
            at,
            len: 1,
            touch,
        };
        self.runs.insert(index, run);
        at as usize
    }

    /// Adds windows without values, if they lie behind all others.
    pub(super) fn append(&mut self, first_ms: i64, step_ms: i64, len: usize) -> bool {
        let is_behind = |run: &Run| run.start_ms(run.end() - 1) < first_ms;
        if !self.runs.last().is_none_or(is_behind) {
            return false;
        }
        let at = self.values.len();
        self.values.append_missing(len);
        make_room(&mut self.runs, 1);
        self.runs.push(Run {
            first_ms,
            // One window has none; that of unlimited windows would reach beyond all times.
            step_ms: if len == 1 { 1 } else { step_ms },
            at: at as u32,
            len: len as u32,
            touch: Touch::loaded(-1),
        });
        true
    }

    /// Splits a run in front of its window of this number.
    fn split(&mut self, index: usize, number: u32) {
        let run = &mut self.runs[index];
        let mut behind = run.clone();
        behind.first_ms += i64::from(number) * run.step_ms;
        behind.at += number;
        behind.len -= number;
        run.len = number;
        self.runs.insert(index + 1, behind);
    }

    /// Takes note of a change of windows that lie side by side.
    #[inline]
    pub(super) fn touch(&mut self, values: Range<usize>, step_ms: i64, touch: Touch) {
        let runs = self.runs_of(values.clone());
        let first = &mut self.runs[runs.start];
        if first.values() == values {
            first.touch = touch;
            return;
        }
        self.touch_parts(runs, values, step_ms, touch);
    }

    /// A change of more or less than one run.
    fn touch_parts(
        &mut self,
        runs: Range<usize>,
        values: Range<usize>,
        step_ms: i64,
        touch: Touch,
    ) {
        let (first, last) = (&self.runs[runs.start], &self.runs[runs.end - 1]);
        let head = (first.at as usize != values.start).then(|| Run {
            len: values.start as u32 - first.at,
            ..first.clone()
        });
        let tail = (last.end() != values.end).then(|| Run {
            first_ms: last.start_ms(values.end),
            at: values.end as u32,
            len: (last.end() - values.end) as u32,
            ..last.clone()
        });
        let changed = Run {
            first_ms: first.start_ms(values.start),
            step_ms,
            at: values.start as u32,
            len: values.len() as u32,
            touch,
        };
        let parts = 1 + usize::from(head.is_some()) + usize::from(tail.is_some());
        if self.runs.len() - runs.len() + parts > self.runs.capacity() {
            self.runs.reserve_exact(parts - runs.len());
        }
        let parts = head.into_iter().chain([changed]).chain(tail);
        self.runs.splice(runs, parts);
        self.give_room_back();
    }

    /// How many windows begin before this.
    pub(super) fn count_before(&self, start_ms: i64) -> usize {
        let Some(index) = self.run_behind(start_ms - 1).checked_sub(1) else {
            return 0;
        };
        let run = &self.runs[index];
        let passed = (start_ms - 1 - run.first_ms) / run.step_ms + 1;
        run.at as usize + passed.min(i64::from(run.len)) as usize
    }

    /// How many windows at the front begin before this and are not changed.
    pub(super) fn count_unchanged_before(&self, start_ms: i64) -> usize {
        let changed = self.runs.iter().find(|run| run.touch.changed != 0);
        let unchanged = changed.map_or(self.values.len(), |run| run.at as usize);
        unchanged.min(self.count_before(start_ms))
    }

    /// Takes this many windows out at the front.
    pub(super) fn take_front(&mut self, count: usize, mut take: impl FnMut(Left<V>)) {
        let of_run = |run| Run::windows(run).map(move |(start_ms, _)| (start_ms, &run.touch));
        let mut windows = self.runs.iter().flat_map(of_run);
        self.values.take_front(count, |value| {
            let (start_ms, touch) = windows.next().expect("each value is in a run");
            take(Left {
                start_ms,
                value,
                touch: touch.clone(),
            });
        });
        drop(windows);
        let gone = self.runs.partition_point(|run| run.end() <= count);
        self.runs.drain(..gone);
        for run in &mut self.runs {
            let cut = (count as u32).saturating_sub(run.at);
            run.first_ms += i64::from(cut) * run.step_ms;
            run.len -= cut;
            run.at = (run.at + cut) - count as u32;
        }
        self.give_room_back();
    }

    fn give_room_back(&mut self) {
        shrink(&mut self.runs, 1);
        self.values.shrink(2);
    }

    /// When the window of this number starts; where there is none, no time.
    pub(super) fn start_of(&self, at: usize) -> i64 {
        let index = self.runs.partition_point(|run| run.end() <= at);
        self.runs
            .get(index)
            .map_or(i64::MIN, |run| run.start_ms(at))
    }

    /// The windows from the last one on back to the first: start, place of the value, last change.
    pub(super) fn windows_back(&self) -> impl Iterator<Item = (i64, usize, &Touch)> {
        let of_run = |run: &Run| run.values().rev();
        let runs = self.runs.iter().rev();
        runs.flat_map(move |run| of_run(run).map(move |at| (run.start_ms(at), at, &run.touch)))
    }

    /// Changes windows that are here, from the last one of them on back, each on its own.
    #[inline]
    pub(super) fn update_back(
        &mut self,
        starts: impl Iterator<Item = i64>,
        mut change: impl FnMut(&mut Option<V>, &mut Touch) -> Result<()>,
    ) -> Result<()> {
        let mut index = self.runs.len();
        for start_ms in starts {
            while index > 0 && self.runs[index - 1].first_ms > start_ms {
                index -= 1;
            }
            let Some(run) = index.checked_sub(1).map(|index| &self.runs[index]) else {
                return Ok(());
            };
            let (at, len) = (run.at as usize, run.len);
            if len == 1 && run.first_ms == start_ms {
                let touch = &mut self.runs[index - 1].touch;
                self.values.change(at, |value| change(value, touch))?;
            } else if let Some((_, at)) = self.find(start_ms) {
                let mut touch = run.touch.clone();
                self.values.change(at, |value| change(value, &mut touch))?;
                self.touch(at..at + 1, 1, touch);
                // The window's run may have become three.
                index = self.run_behind(start_ms);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(changed: u64) -> Touch {
        Touch {
            changed,
            ..Touch::loaded(0)
        }
    }

    /// Start, value and change of each window.
    fn shown(row: &WindowRow<i64>) -> Vec<(i64, i64, u64)> {
        let mut all = Vec::new();
        for run in row.runs() {
            for (start_ms, at) in run.windows() {
                all.push((
                    start_ms,
                    *row.values().get(at).expect("a value"),
                    run.touch.changed,
                ));
                assert_eq!(row.find(start_ms).map(|(_, at)| at), Some(at));
            }
        }
        all
    }

    fn row(starts: &[i64]) -> WindowRow<i64> {
        let mut row = WindowRow::new(0);
        for start_ms in starts {
            row.insert(*start_ms, Some(*start_ms), Touch::loaded(0));
        }
        row
    }

    #[test]
    fn windows_that_change_together_become_a_run_and_part_again() {
        let mut row = row(&[10, 20, 0, 30]);
        assert_eq!(row.find_run(0, 10, 9), (0, 4));
        row.touch(0..4, 10, touch(1));
        assert_eq!(row.runs().len(), 1);
        row.touch(2..4, 10, touch(2));
        assert_eq!(
            shown(&row),
            [(0, 0, 1), (10, 10, 1), (20, 20, 2), (30, 30, 2)]
        );
        row.touch(1..2, 10, touch(3));
        assert_eq!(
            shown(&row),
            [(0, 0, 1), (10, 10, 3), (20, 20, 2), (30, 30, 2)]
        );
        row.touch(1..4, 10, touch(4));
        assert_eq!(row.runs().len(), 2);
        assert_eq!(
            shown(&row),
            [(0, 0, 1), (10, 10, 4), (20, 20, 4), (30, 30, 4)]
        );
    }

    #[test]
    fn a_window_comes_in_between() {
        let mut row = row(&[0, 10, 20]);
        row.touch(0..3, 10, touch(1));
        assert_eq!(row.find(5), None);
        assert_eq!(row.insert(5, Some(5), touch(2)), 1);
        assert_eq!(
            shown(&row),
            [(0, 0, 1), (5, 5, 2), (10, 10, 1), (20, 20, 1)]
        );
        assert_eq!(row.find_run(0, 10, 3), (0, 1));
        assert_eq!(row.find_run(5, 5, 3), (1, 2));
        assert_eq!(row.find_run(7, 5, 3), (0, 0));
    }

    #[test]
    fn new_windows_come_behind_all_others_or_one_by_one() {
        let mut row = row(&[0, 10]);
        assert!(!row.append(10, 10, 2));
        assert!(row.append(20, 10, 2));
        assert_eq!(row.find_run(0, 10, 9), (0, 4));
        for at in 2..4 {
            row.values_mut().set(at, Some(7));
        }
        row.touch(1..4, 10, touch(1));
        assert_eq!(
            shown(&row),
            [(0, 0, 0), (10, 10, 1), (20, 7, 1), (30, 7, 1)]
        );
    }

    #[test]
    fn the_front_leaves() {
        let mut row = row(&[0, 10, 20, 30, 40]);
        row.touch(0..4, 10, touch(1));
        assert_eq!(
            [0, 1, 20, 21, 99].map(|ms| row.count_before(ms)),
            [0, 1, 2, 3, 5]
        );
        assert_eq!(row.count_unchanged_before(99), 0);
        let mut front = Vec::new();
        row.take_front(3, |left| front.push(left.start_ms));
        assert_eq!(front, [0, 10, 20]);
        assert_eq!(shown(&row), [(30, 30, 1), (40, 40, 0)]);
        row.touch(0..1, 10, touch(0));
        assert_eq!(row.count_unchanged_before(40), 1);
        assert_eq!([0, 1, 2].map(|at| row.start_of(at)), [30, 40, i64::MIN]);
        row.take_front(2, drop);
        assert!(row.is_empty() && row.runs().is_empty());
    }
}
