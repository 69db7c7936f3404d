//! Which windows of a key there are.

use super::WindowState;
use super::row::Touch;
use crate::error::Result;
use crate::task::stores::StoreIo;
use crate::task::stores::view::split_window_key;
use streams_state::Order;

impl<K: 'static, V: 'static> WindowState<K, V> {
    /// The windows of the key given to [`WindowState::set_key`] that start between the bounds, both included, with the
    /// timestamp of each: everything the cache has, be it too old for the store below, and of the store what the cache does
    /// not have.
    pub(crate) fn windows(
        &mut self,
        from_ms: i64,
        to_ms: i64,
        io: &StoreIo,
        windows: &mut Vec<(i64, i64)>,
    ) -> Result<()> {
        windows.clear();
        let (key, _) = split_window_key(&self.view.key_bytes);
        let store = io.stores.window(self.view.index);
        if self.cache.is_none() {
            for entry in store.fetch(key, from_ms, to_ms, Order::Forward)? {
                let (window, value) = entry?;
                windows.push((window.start_ms, self.view.read_timestamp(&value)?));
            }
            return Ok(());
        }
        let slot = self.row(io);
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
                if (from_ms..=to_ms).contains(&start_ms)
                    && is_seen
                    && row.values().get(at).is_some()
                {
                    windows.push((start_ms, run.touch.timestamp));
                }
            }
        }
        Ok(())
    }

    /// The same windows, the last one first, down to the first one that starts before `enough_ms`.
    pub(crate) fn windows_back(
        &mut self,
        (from_ms, to_ms): (i64, i64),
        enough_ms: i64,
        io: &StoreIo,
        windows: &mut Vec<(i64, i64)>,
    ) -> Result<()> {
        windows.clear();
        let store = io.stores.window(self.view.index);
        if self.cache.is_none() {
            let (key, _) = split_window_key(&self.view.key_bytes);
            for entry in store.fetch(key, from_ms, to_ms, Order::Backward)? {
                let (window, value) = entry?;
                windows.push((window.start_ms, self.view.read_timestamp(&value)?));
                if window.start_ms < enough_ms {
                    break;
                }
            }
            return Ok(());
        }
        let slot = self.row(io);
        let first_visible_ms = store.first_visible_ms();
        let complete_from_ms = self.complete_from_ms(slot);
        if complete_from_ms > from_ms {
            // What the row has may be enough.
            let here_ms = from_ms.max(complete_from_ms);
            self.row_back(slot, (here_ms, to_ms), enough_ms, first_visible_ms, windows);
            if windows
                .last()
                .is_some_and(|(start_ms, _)| *start_ms < enough_ms)
            {
                return Ok(());
            }
            windows.clear();
            self.complete(slot, from_ms, io)?;
        }
        self.row_back(slot, (from_ms, to_ms), enough_ms, first_visible_ms, windows);
        Ok(())
    }

    fn complete_from_ms(&self, slot: u32) -> i64 {
        let cache = self.cache.as_ref().expect("only called with a cache");
        cache.row(slot).complete_from_ms
    }

    /// The windows that a row has.
    #[inline]
    fn row_back(
        &self,
        slot: u32,
        (from_ms, to_ms): (i64, i64),
        enough_ms: i64,
        first_visible_ms: i64,
        windows: &mut Vec<(i64, i64)>,
    ) {
        let cache = self.cache.as_ref().expect("only called with a cache");
        let row = cache.row(slot);
        for (start_ms, at, touch) in row.windows_back() {
            if start_ms < from_ms {
                return;
            }
            let is_seen = !touch.is_loaded() || start_ms >= first_visible_ms;
            if start_ms <= to_ms && is_seen && row.values().get(at).is_some() {
                windows.push((start_ms, touch.timestamp));
                if start_ms < enough_ms {
                    return;
                }
            }
        }
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
        if from_ms <= cache.left_ms(|| store.newest_start_ms()) {
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
}
