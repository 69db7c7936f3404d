//! Changes of the values of windows, in the cache or, without one, at once.

use super::row::{Rest, Run, Touch};
use super::{FlushedWindow, Starts, WindowState};
use crate::error::Result;
use crate::task::stores::StoreIo;
use crate::task::stores::view::{Cause, Updated, split_window_key};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

impl<K: 'static, V: 'static> WindowState<K, V> {
    /// Changes the values of windows of the key given to [`WindowState::set_key`], in the order of their start; each one's
    /// timestamp becomes the later one of its own and the record's.
    ///
    /// Without a cache each is written at once and noted in `written`, its old value only when `with_old` says so. Where a
    /// change panics, those before it are made.
    #[inline]
    pub(crate) fn update(
        &mut self,
        starts: Starts,
        cause: Cause<'_>,
        with_old: bool,
        io: &mut StoreIo,
        mut change: impl FnMut(&mut Option<V>),
        written: &mut Vec<FlushedWindow<V>>,
    ) -> Result<()> {
        if self.cache.is_some() {
            return self.update_cached(starts, cause, io, change);
        }
        for number in 0..starts.len {
            let start_ms = starts.get(number);
            self.set_start(start_ms);
            let updated = self.view.update(cause, with_old, io, &mut change)?;
            if let Updated::Written {
                new,
                old,
                timestamp,
                ..
            } = updated
            {
                written.push(FlushedWindow {
                    old,
                    ..FlushedWindow::written(start_ms, new, timestamp, cause)
                });
            }
        }
        Ok(())
    }

    /// The same for windows of any distances that are there, in this order, which is from the last one back.
    #[inline]
    pub(crate) fn update_back(
        &mut self,
        found: &[(i64, i64)],
        cause: Cause<'_>,
        with_old: bool,
        io: &mut StoreIo,
        mut change: impl FnMut(&mut Option<V>),
        written: &mut Vec<FlushedWindow<V>>,
    ) -> Result<()> {
        let starts = found.iter().map(|(start_ms, _)| *start_ms);
        let (Some(cache), Some((first_ms, _))) = (&mut self.cache, found.first()) else {
            for start_ms in starts {
                let one = Starts::one(start_ms);
                self.update(one, cause, with_old, io, &mut change, written)?;
            }
            return Ok(());
        };
        let (key, _) = split_window_key(&self.view.key_bytes);
        let Some(slot) = cache.find(key) else {
            unreachable!("the window at {first_ms} ms was found in the cache");
        };
        let touch = touch(cause, io);
        let (view, undo) = (&mut self.view, io.undo_updates);
        cache.update_back(slot, starts, &touch, |value, before_ms| {
            let timestamp = match value {
                Some(_) => touch.timestamp.max(before_ms),
                None => touch.timestamp,
            };
            view.change(value, undo, &mut change)?;
            Ok(timestamp)
        })
    }

    #[inline]
    fn update_cached(
        &mut self,
        starts: Starts,
        cause: Cause<'_>,
        io: &mut StoreIo,
        mut change: impl FnMut(&mut Option<V>),
    ) -> Result<()> {
        if starts.len == 0 {
            return Ok(());
        }
        let slot = self.row(io);
        let at = self.lay_side_by_side(slot, starts, io)?;
        let cache = self.cache.as_mut().expect("only called with a cache");
        let later = at.is_none_or(|at| {
            let row = cache.row(slot);
            let runs = row.runs_of(at..at + starts.len);
            let later = |run: &Run| run.touch.timestamp > cause.timestamp;
            row.runs()[runs].iter().any(later)
        });
        let touch = touch(cause, io);
        if let Some(at) = at
            && !later
        {
            let values = cache.row_mut(slot).values_mut();
            let undo = io.undo_updates;
            let mut done = 0;
            let view = &mut self.view;
            let changed = catch_unwind(AssertUnwindSafe(|| {
                let places = at..at + starts.len;
                values.change_each(places, &mut done, |value| {
                    view.change(value, undo, &mut change)
                })
            }));
            if done > 0 {
                cache.touch(slot, at, done, starts.step_ms, touch);
            }
            return changed.unwrap_or_else(|panic| resume_unwind(panic));
        }
        for number in 0..starts.len {
            self.update_one(slot, starts.get(number), &touch, io, &mut change)?;
        }
        Ok(())
    }

    /// A window among others of the cache that have other distances or later timestamps.
    #[cold]
    fn update_one(
        &mut self,
        slot: u32,
        start_ms: i64,
        touch: &Touch,
        io: &mut StoreIo,
        change: &mut dyn FnMut(&mut Option<V>),
    ) -> Result<()> {
        let at = self.lay_side_by_side(slot, Starts::one(start_ms), io)?;
        let at = at.expect("one window lies beside itself");
        let cache = self.cache.as_mut().expect("only called with a cache");
        let row = cache.row_mut(slot);
        let run = row.runs_of(at..at + 1).start;
        let before_ms = row.runs()[run].touch.timestamp;
        let timestamp = match row.values().get(at) {
            Some(_) => touch.timestamp.max(before_ms),
            None => touch.timestamp,
        };
        let (view, undo) = (&mut self.view, io.undo_updates);
        row.values_mut()
            .change(at, |value| view.change(value, undo, change))?;
        let touch = Touch {
            timestamp,
            ..touch.clone()
        };
        cache.touch(slot, at, 1, 1, touch);
        Ok(())
    }

    /// Sees to it that the cache has these windows, and says where the first one's value is if they lie side by side.
    #[inline]
    fn lay_side_by_side(
        &mut self,
        slot: u32,
        starts: Starts,
        io: &StoreIo,
    ) -> Result<Option<usize>> {
        let cache = self.cache.as_ref().expect("only called with a cache");
        let (at, found) = cache
            .row(slot)
            .find_run(starts.first_ms, starts.step_ms, starts.len);
        if found > 0 {
            self.load_missing(slot, at, found, starts, io)?;
        }
        if found == starts.len {
            return Ok(Some(at));
        }
        self.add_windows(slot, starts, found, io)?;
        let cache = self.cache.as_ref().expect("only called with a cache");
        let (at, found) = cache
            .row(slot)
            .find_run(starts.first_ms, starts.step_ms, starts.len);
        Ok((found == starts.len).then_some(at))
    }

    /// Reads windows again that were deleted and written: the store may have forgotten them, or have them anew.
    #[inline]
    fn load_missing(
        &mut self,
        slot: u32,
        at: usize,
        found: usize,
        starts: Starts,
        io: &StoreIo,
    ) -> Result<()> {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let row = cache.row_mut(slot);
        let all = at..at + found;
        let clean = row.runs()[row.runs_of(all.clone())]
            .iter()
            .any(|run| run.touch.changed == 0);
        if !clean || row.values().are_there(all.clone()) {
            return Ok(());
        }
        for at in all.clone() {
            let cache = self.cache.as_mut().expect("only called with a cache");
            let row = cache.row(slot);
            let run = &row.runs()[row.runs_of(at..at + 1).start];
            if run.touch.changed == 0 && row.values().get(at).is_none() {
                self.set_start(starts.get(at - all.start));
                let loaded = self.view.load(io)?.map(|(value, _)| value);
                let cache = self.cache.as_mut().expect("only called with a cache");
                cache.row_mut(slot).values_mut().set(at, loaded);
            }
        }
        Ok(())
    }

    /// Adds those of these windows to the cache, from this number on, that it does not have.
    fn add_windows(&mut self, slot: u32, starts: Starts, from: usize, io: &StoreIo) -> Result<()> {
        for number in from..starts.len {
            let start_ms = starts.get(number);
            let cache = self.cache.as_ref().expect("only called with a cache");
            let row = cache.row(slot);
            if row.find(start_ms).is_some() {
                continue;
            }
            let mut loaded = None;
            if start_ms >= row.complete_from_ms {
                // Neither the store has it nor any behind it.
                let len = starts.len - number;
                let cache = self.cache.as_mut().expect("only called with a cache");
                if cache.append(slot, start_ms, starts.step_ms, len) {
                    return Ok(());
                }
            } else {
                self.set_start(start_ms);
                loaded = self.view.load(io)?;
            }
            let (value, timestamp) = match loaded {
                Some((value, timestamp)) => (Some(value), timestamp),
                None => (None, -1),
            };
            let loaded_len = self.view.loaded_len.get();
            let cache = self.cache.as_mut().expect("only called with a cache");
            if value.is_some() {
                cache.note_encoded_len(loaded_len);
            }
            cache.insert(slot, start_ms, value, Touch::loaded(timestamp));
        }
        Ok(())
    }
}

/// What the cache notes of a change.
#[inline]
pub(super) fn touch(cause: Cause<'_>, io: &StoreIo) -> Touch {
    let is_bare = cause.headers.is_empty() && io.source.is_none();
    Touch {
        changed: 0,
        timestamp: cause.timestamp,
        origin: cause.origin,
        rest: (!is_bare).then(|| {
            Rc::new(Rest {
                headers: cause.headers.clone(),
                source: io.source.clone(),
            })
        }),
    }
}
