//! The typed view of a window store: a value for each key and window start.

use super::merged::{Changes, Merged};
use super::view::{Below, Cause, Updated, View, split_window_key};
use super::window_row::{Rest, Touch};
use super::window_rows::WindowRows;
use super::{AnyState, Found, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::BoxSerde;
use crate::task::stores::Origin;
use crate::topology::store::StateArguments;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use streams_state::{Order, WindowEntries};

pub struct WindowState<K, V> {
    key: BoxSerde<K>,
    /// Without a cache of its own: windows have theirs here.
    view: View<V>,
    cache: Option<WindowRows<V>>,
    scan_order: ScanOrder,
}

/// Windows at equal distances: the first one's start, the distance, how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts {
    pub(crate) first_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) len: usize,
}

impl Starts {
    pub(crate) fn one(start_ms: i64) -> Self {
        Starts {
            first_ms: start_ms,
            step_ms: 1,
            len: 1,
        }
    }

    fn get(self, number: usize) -> i64 {
        self.first_ms + number as i64 * self.step_ms
    }
}

/// A change of a window that was written: what it has now, what it had if that was asked for, the aggregate's timestamp and
/// what caused it.
pub(crate) struct FlushedWindow<V> {
    pub(crate) start_ms: i64,
    pub(crate) new: Option<V>,
    pub(crate) old: Option<V>,
    pub(crate) timestamp: i64,
    pub(crate) origin: Origin,
    rest: Option<Rc<Rest>>,
}

impl<V> FlushedWindow<V> {
    /// A window that was written without a cache.
    pub(crate) fn written(start_ms: i64, new: Option<V>, timestamp: i64, cause: Cause<'_>) -> Self {
        FlushedWindow {
            start_ms,
            new,
            old: None,
            timestamp,
            origin: cause.origin,
            rest: None,
        }
    }

    /// The headers of the record that changed it.
    pub(crate) fn headers(&self) -> &Headers {
        const NONE: &Headers = &Headers::new();
        self.rest.as_ref().map_or(NONE, |rest| &rest.headers)
    }
}

/// How the store below orders windows when it scans them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScanOrder {
    /// By start, then key.
    ByTime,
    /// By segment, then key, then start.
    BySegment { segment_ms: i64 },
}

/// The place of a window in a scan: segment or start, key, start.
type Place = (i64, Vec<u8>, i64);

impl ScanOrder {
    fn place(self, key: Vec<u8>, start_ms: i64) -> Place {
        let first = match self {
            ScanOrder::ByTime => start_ms,
            ScanOrder::BySegment { segment_ms } => start_ms.div_euclid(segment_ms),
        };
        (first, key, start_ms)
    }
}

impl<K: 'static, V: 'static> WindowState<K, V> {
    pub(crate) fn new(
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        scan_order: ScanOrder,
        arguments: &StateArguments,
    ) -> Self {
        let mut view = View::new(Below::Window, value, arguments);
        WindowState {
            key,
            scan_order,
            cache: view.cache.take().map(|_| WindowRows::new()),
            view,
        }
    }

    /// Serializes the key for calls of [`WindowState::update`]; false for a null key, which no store takes.
    #[inline]
    pub(crate) fn set_key(&mut self, key: &K) -> Result<bool> {
        self.view.key_bytes.clear();
        let present = self.key.serialize_nullable(key, &mut self.view.key_bytes)?;
        self.view.key_bytes.extend_from_slice(&[0; 8]);
        Ok(present)
    }

    #[inline]
    fn set_start(&mut self, start_ms: i64) {
        let at = self.view.key_bytes.len() - 8;
        self.view.key_bytes[at..].copy_from_slice(&start_ms.to_be_bytes());
    }

    /// The value of a key's window.
    pub(crate) fn get(&mut self, key: &K, start_ms: i64, io: &StoreIo) -> Result<Option<Found<V>>> {
        if !self.set_key(key)? {
            return Ok(None);
        }
        let found = self.find(start_ms, io)?;
        Ok(found.map(|(value, timestamp)| Found {
            value: Rc::new(Some(value)),
            timestamp,
        }))
    }

    /// A copy of the value of a window of the key given to [`WindowState::set_key`], and its timestamp.
    pub(crate) fn find(&mut self, start_ms: i64, io: &StoreIo) -> Result<Option<(V, i64)>> {
        self.set_start(start_ms);
        if let Some(cache) = &self.cache {
            let (key, _) = split_window_key(&self.view.key_bytes);
            if let Some(slot) = cache.find(key)
                && let Some((run, at)) = cache.row(slot).find(start_ms)
            {
                let touch = &cache.row(slot).runs()[run].touch;
                match cache.row(slot).value(at) {
                    Some(value) => {
                        let timestamp = touch.timestamp;
                        return Ok(Some((self.view.copy(value)?, timestamp)));
                    }
                    None if touch.changed != 0 => return Ok(None),
                    // Deleted and written, or handed out by a flush that has written it.
                    None => {}
                }
            }
        }
        self.view.load(io)
    }

    /// Sets the value of a key's window, `None` deletes; false for a null key, which is left to the caller.
    pub(crate) fn put(
        &mut self,
        key: &K,
        start_ms: i64,
        value: Option<V>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<bool> {
        if !self.set_key(key)? {
            return Ok(false);
        }
        self.put_window(start_ms, value, cause, io).map(|_| true)
    }

    /// Sets the value of a window of the key given to [`WindowState::set_key`], `None` deletes it.
    pub(crate) fn put_window(
        &mut self,
        start_ms: i64,
        value: Option<V>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<Updated<V>> {
        self.set_start(start_ms);
        if self.cache.is_none() {
            let (timestamp, origin_ms) = (cause.timestamp, cause.origin.timestamp);
            let placement = self.view.write(value.as_ref(), timestamp, origin_ms, io)?;
            return Ok(Updated::Written {
                new: value,
                old: None,
                timestamp,
                placement,
            });
        }
        let slot = self.row(start_ms, io);
        let cache = self.cache.as_mut().expect("checked above");
        let at = match cache.row(slot).find(start_ms) {
            Some((_, at)) => {
                cache.row_mut(slot).values_mut(at..at + 1)[0] = value;
                at
            }
            None => cache.insert(slot, start_ms, value, Touch::loaded(-1)),
        };
        cache.touch(slot, at, 1, 1, touch(cause, io));
        Ok(Updated::Cached)
    }

    /// The cache's row of the current key, made if it is not there. `start_ms` is the first window that is wanted.
    #[inline]
    fn row(&mut self, start_ms: i64, io: &StoreIo) -> u32 {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let (key, _) = split_window_key(&self.view.key_bytes);
        if let Some(slot) = cache.find(key) {
            return slot;
        }
        let newest_ms = io.stores.window(self.view.index).newest_start_ms();
        let complete_from_ms = match start_ms > newest_ms {
            true => start_ms,
            false => i64::MAX,
        };
        cache.add(key, complete_from_ms)
    }

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
        let slot = self.row(starts.first_ms, io);
        let at = self.lay_side_by_side(slot, starts, io)?;
        let cache = self.cache.as_mut().expect("only called with a cache");
        let later = at.is_none_or(|at| {
            let row = cache.row(slot);
            let runs = row.runs_of(at..at + starts.len);
            let later = |run: &super::window_row::Run| run.touch.timestamp > cause.timestamp;
            row.runs()[runs].iter().any(later)
        });
        let touch = touch(cause, io);
        if let Some(at) = at
            && !later
        {
            let values = cache.row_mut(slot).values_mut(at..at + starts.len);
            let undo = io.undo_updates;
            let mut done = 0;
            let view = &mut self.view;
            let changed = catch_unwind(AssertUnwindSafe(|| {
                for value in values {
                    view.change(value, undo, &mut change)?;
                    done += 1;
                }
                Ok(())
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
        let value = &mut row.values_mut(at..at + 1)[0];
        let timestamp = match value {
            Some(_) => touch.timestamp.max(before_ms),
            None => touch.timestamp,
        };
        self.view.change(value, io.undo_updates, change)?;
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
        if !clean || row.values_mut(all.clone()).iter().all(Option::is_some) {
            return Ok(());
        }
        for at in all.clone() {
            let cache = self.cache.as_mut().expect("only called with a cache");
            let row = cache.row(slot);
            let run = &row.runs()[row.runs_of(at..at + 1).start];
            if run.touch.changed == 0 && row.value(at).is_none() {
                self.set_start(starts.get(at - all.start));
                let loaded = self.view.load(io)?.map(|(value, _)| value);
                let cache = self.cache.as_mut().expect("only called with a cache");
                cache.row_mut(slot).values_mut(at..at + 1)[0] = loaded;
            }
        }
        Ok(())
    }

    /// Adds those of these windows to the cache, from this number on, that it does not have.
    fn add_windows(&mut self, slot: u32, starts: Starts, from: usize, io: &StoreIo) -> Result<()> {
        let newest_ms = io.stores.window(self.view.index).newest_start_ms();
        for number in from..starts.len {
            let start_ms = starts.get(number);
            let cache = self.cache.as_ref().expect("only called with a cache");
            let row = cache.row(slot);
            if row.find(start_ms).is_some() {
                continue;
            }
            let mut loaded = None;
            if start_ms > newest_ms || start_ms >= row.complete_from_ms {
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

    /// The windows of the key given to [`WindowState::set_key`] that start between the bounds, both included, with the
    /// timestamp of each: everything the cache has, be it too old for the store below, and of the store what the cache does
    /// not have.
    pub(crate) fn windows(
        &mut self,
        from_ms: i64,
        to_ms: i64,
        order: Order,
        io: &StoreIo,
        windows: &mut Vec<(i64, i64)>,
    ) -> Result<()> {
        windows.clear();
        let (key, _) = split_window_key(&self.view.key_bytes);
        let store = io.stores.window(self.view.index);
        if self.cache.is_none() {
            for entry in store.fetch(key, from_ms, to_ms, order)? {
                let (window, value) = entry?;
                windows.push((window.start_ms, self.view.read_timestamp(&value)?));
            }
            return Ok(());
        }
        let slot = self.row(from_ms, io);
        self.complete(slot, from_ms, io)?;
        let cache = self.cache.as_ref().expect("checked above");
        let row = cache.row(slot);
        let first_visible_ms = store.first_visible_ms();
        for run in &row.runs()[row.first_run_from(from_ms)..] {
            if run.first_ms > to_ms {
                break;
            }
            for (start_ms, at) in run.windows() {
                let is_seen = !run.touch.is_loaded() || start_ms >= first_visible_ms;
                if (from_ms..=to_ms).contains(&start_ms) && is_seen && row.value(at).is_some() {
                    windows.push((start_ms, run.touch.timestamp));
                }
            }
        }
        if order == Order::Backward {
            windows.reverse();
        }
        Ok(())
    }

    /// Sees to it that a row has all windows of its key from this start on.
    #[inline]
    fn complete(&mut self, slot: u32, from_ms: i64, io: &StoreIo) -> Result<()> {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let behind_ms = cache.row(slot).complete_from_ms;
        if from_ms >= behind_ms {
            return Ok(());
        }
        let store = io.stores.window(self.view.index);
        if from_ms <= store.newest_start_ms() {
            let (key, _) = split_window_key(&self.view.key_bytes);
            for entry in store.fetch(key, from_ms, behind_ms.saturating_sub(1), Order::Forward)? {
                let (window, value) = entry?;
                if cache.row(slot).find(window.start_ms).is_none() {
                    let (value, timestamp) = self.view.read_value(&value)?;
                    let touch = Touch::loaded(timestamp);
                    cache.insert(slot, window.start_ms, Some(value), touch);
                }
            }
        }
        cache.row_mut(slot).complete_from_ms = from_ms;
        Ok(())
    }

    /// Writes the next changed window of the cache and returns it with its key, `None` when the flush is done. The value is
    /// to be brought back with [`WindowState::give_back`].
    pub(crate) fn flush_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<(K, FlushedWindow<V>)>> {
        match self.write_next(with_old, io)? {
            None => Ok(None),
            Some(flushed) => {
                let (key, _) = split_window_key(&self.view.key_bytes);
                Ok(Some((self.key.deserialize(key)?, flushed)))
            }
        }
    }

    /// Puts a value back that a flush has handed out.
    pub(crate) fn give_back(&mut self, value: Option<V>) {
        if let Some(cache) = &mut self.cache {
            cache.give_back(value);
        }
    }

    fn write_next(&mut self, with_old: bool, io: &mut StoreIo) -> Result<Option<FlushedWindow<V>>> {
        loop {
            let Some(cache) = &mut self.cache else {
                return Ok(None);
            };
            let Some(window) = cache.take_changed() else {
                return Ok(None);
            };
            self.view.key_bytes.clear();
            self.view
                .key_bytes
                .extend_from_slice(cache.key(window.slot));
            self.view.key_bytes.extend_from_slice(&[0; 8]);
            let (start_ms, value, touch) = (window.start_ms, window.value, window.touch);
            if let Some(flushed) = self.write_window(start_ms, value, touch, with_old, io)? {
                return Ok(Some(flushed));
            }
            self.give_back(None);
        }
    }

    /// Writes a window of the current key. In the store of an aggregation, a tombstone for a window that the store does not
    /// have is neither written nor returned.
    fn write_window(
        &mut self,
        start_ms: i64,
        new: Option<V>,
        touch: Touch,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<FlushedWindow<V>>> {
        self.set_start(start_ms);
        let mut old = None;
        let may_be_there = start_ms <= io.stores.window(self.view.index).newest_start_ms();
        if (with_old || new.is_none()) && may_be_there {
            old = self.view.load(io)?.map(|(value, _)| value);
        }
        if self.view.elides_tombstones && new.is_none() && old.is_none() {
            return Ok(None);
        }
        io.source = touch.rest.as_ref().and_then(|rest| rest.source.clone());
        let origin = touch.origin;
        self.view
            .write(new.as_ref(), touch.timestamp, origin.timestamp, io)?;
        if let Some(cache) = &mut self.cache {
            cache.note_encoded_len(self.view.value_bytes.len());
        }
        Ok(Some(FlushedWindow {
            start_ms,
            timestamp: match new {
                Some(_) => touch.timestamp,
                None => origin.timestamp,
            },
            new,
            old: old.filter(|_| with_old),
            origin,
            rest: touch.rest,
        }))
    }

    /// Begins to make room in the cache, with the windows that start before this time.
    pub(crate) fn begin_eviction(&mut self, cold_before_ms: i64) {
        if let Some(cache) = &mut self.cache {
            cache.begin_eviction(cold_before_ms);
        }
    }

    /// Writes the changed ones of the windows of a key that leave the cache, and returns them; `None` when there is room.
    pub(crate) fn evict_next(
        &mut self,
        target_bytes: usize,
        with_old: bool,
        io: &mut StoreIo,
        evicted: &mut Vec<FlushedWindow<V>>,
    ) -> Result<Option<K>> {
        evicted.clear();
        let Some(cache) = &mut self.cache else {
            return Ok(None);
        };
        let Some((key, leaving)) = cache.evict_next(target_bytes) else {
            return Ok(None);
        };
        self.view.key_bytes.clear();
        self.view.key_bytes.extend_from_slice(&key);
        self.view.key_bytes.extend_from_slice(&[0; 8]);
        for (start_ms, value, touch) in leaving {
            if touch.changed != 0 {
                evicted.extend(self.write_window(start_ms, value, touch, with_old, io)?);
            }
        }
        Ok(Some(self.key.deserialize(&key)?))
    }

    /// Windows that start between the bounds (inclusive), of one key or of all, with what the cache holds back.
    pub(crate) fn fetch<'a>(
        &'a mut self,
        key: Option<&K>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
        io: &'a mut StoreIo,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let store = io.stores.window(self.view.index);
        let mut only = None;
        let entries: WindowEntries<'a> = match key {
            Some(key) => {
                let bytes = only.insert(Vec::new());
                self.key.serialize(key, bytes)?;
                store.fetch(bytes, from_ms, to_ms, order)?
            }
            None => store.fetch_all(from_ms, to_ms, order)?,
        };
        let wanted = |key: &[u8], start_ms| {
            (from_ms..=to_ms).contains(&start_ms) && only.as_deref().is_none_or(|only| only == key)
        };
        self.merged(entries, &wanted, (from_ms, to_ms), order)
    }

    /// Windows that start between the bounds (inclusive), of the keys between bounds (inclusive), with what the cache holds
    /// back.
    pub(crate) fn fetch_keys<'a>(
        &'a mut self,
        keys: (Option<&K>, Option<&K>),
        from_ms: i64,
        to_ms: i64,
        order: Order,
        io: &'a mut StoreIo,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let bound = |key: Option<&K>| -> Result<Option<Vec<u8>>> {
            let Some(key) = key else { return Ok(None) };
            let mut bytes = Vec::new();
            self.key.serialize(key, &mut bytes)?;
            Ok(Some(bytes))
        };
        let (from, to) = (bound(keys.0)?, bound(keys.1)?);
        let store = io.stores.window(self.view.index);
        let entries = store.fetch_keys(from.as_deref(), to.as_deref(), from_ms, to_ms, order)?;
        let wanted = |key: &[u8], start_ms| {
            (from_ms..=to_ms).contains(&start_ms)
                && from.as_deref().is_none_or(|from| from <= key)
                && to.as_deref().is_none_or(|to| key <= to)
        };
        self.merged(entries, &wanted, (from_ms, to_ms), order)
    }

    /// A scan of the store below with what the cache holds back of the wanted windows.
    fn merged<'a>(
        &'a self,
        entries: WindowEntries<'a>,
        wanted: &dyn Fn(&[u8], i64) -> bool,
        times: (i64, i64),
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let scan_order = self.scan_order;
        let mut changes: Changes<Place> = Vec::new();
        if let Some(cache) = &self.cache {
            let read = |key: &[u8], start_ms: i64, value: &Option<V>, timestamp: i64| {
                if wanted(key, start_ms) {
                    let bytes = value
                        .as_ref()
                        .map(|value| self.view.encoded(value, timestamp));
                    changes.push((scan_order.place(key.to_vec(), start_ms), bytes.transpose()?));
                }
                Ok(())
            };
            cache.held_back(read, times)?;
        }
        let entries = entries.map(move |entry| {
            entry.map(|(window, value)| (scan_order.place(window.key, window.start_ms), value))
        });
        let (key_serde, view) = (&self.key, &self.view);
        Ok(Merged::new(entries, changes, order).map(move |entry| {
            let ((_, key, start_ms), value) = entry?;
            let (value, timestamp) = view.read_value(&value)?;
            Ok((key_serde.deserialize(&key)?, start_ms, value, timestamp))
        }))
    }

    /// A copy of a key, by way of its bytes.
    pub(crate) fn copy_key(&self, key: &K) -> Result<K> {
        let mut bytes = Vec::new();
        self.key.serialize(key, &mut bytes)?;
        Ok(self.key.deserialize(&bytes)?)
    }

    /// Gives the memory of unchanged windows back that start before this time.
    pub(crate) fn forget_before(&mut self, start_ms: i64) {
        if let Some(cache) = &mut self.cache {
            cache.forget_before(start_ms);
        }
    }
}

/// What the cache notes of a change.
#[inline]
fn touch(cause: Cause<'_>, io: &StoreIo) -> Touch {
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

impl<K: 'static, V: 'static> AnyState for WindowState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, WindowRows::bytes)
    }

    fn forget_clean(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.forget_clean();
        }
    }

    fn write_changed(&mut self, io: &mut StoreIo) -> Result<()> {
        while let Some(flushed) = self.write_next(false, io)? {
            self.give_back(flushed.new);
        }
        Ok(())
    }
}
