//! What leaves the cache: at a flush, when memory is short, when windows close.

use super::row::{Left, Touch};
use super::{FlushedWindow, WindowState};
use crate::error::Result;
use crate::task::stores::StoreIo;
use crate::task::stores::view::split_window_key;
use streams_state::Order;

/// A window whose result is due.
pub(crate) struct ClosedWindow<K, V> {
    pub(crate) key: K,
    pub(crate) start_ms: i64,
    pub(crate) value: Option<V>,
    pub(crate) timestamp: i64,
}

impl<K: 'static, V: 'static> WindowState<K, V> {
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

    pub(super) fn write_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<FlushedWindow<V>>> {
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

    /// Begins to make room in the cache, down to `target_bytes`, with the windows that start before this time but for the last
    /// ones of each key, as many as are to be kept.
    pub(crate) fn begin_eviction(&mut self, cold_before_ms: i64, keep: usize, target_bytes: usize) {
        if let Some(cache) = &mut self.cache {
            cache.begin_eviction(cold_before_ms, keep, target_bytes);
        }
    }

    /// Writes the changed ones of the windows of a key that leave the cache, and returns them; `None` when there is room.
    pub(crate) fn evict_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
        evicted: &mut Vec<FlushedWindow<V>>,
    ) -> Result<Option<K>> {
        evicted.clear();
        let Some(cache) = &mut self.cache else {
            return Ok(None);
        };
        let Some((key, leaving)) = cache.evict_next() else {
            return Ok(None);
        };
        self.view.key_bytes.clear();
        self.view.key_bytes.extend_from_slice(&key);
        self.view.key_bytes.extend_from_slice(&[0; 8]);
        for Left {
            start_ms,
            value,
            touch,
        } in leaving
        {
            if touch.changed != 0 {
                evicted.extend(self.write_window(start_ms, value, touch, with_old, io)?);
            }
        }
        Ok(Some(self.key.deserialize(&key)?))
    }

    /// Gives the memory of unchanged windows back that start before this time.
    pub(crate) fn forget_before(&mut self, start_ms: i64) {
        if let Some(cache) = &mut self.cache {
            cache.forget_before(start_ms);
        }
    }

    /// All windows that start between these times, both included, in the order of the store below.
    pub(crate) fn close(
        &mut self,
        from_ms: i64,
        to_ms: i64,
        io: &mut StoreIo,
    ) -> Result<Vec<ClosedWindow<K, V>>> {
        if self.scan_order.is_by_time()
            && let Some(cache) = &mut self.cache
        {
            let store = io.stores.window(self.view.index);
            if from_ms > cache.left_ms(|| store.newest_start_ms()) {
                let visible_ms = store.first_visible_ms();
                return self.close_cached(from_ms, to_ms, visible_ms);
            }
        }
        let mut closed = Vec::new();
        for entry in self.fetch(None, from_ms, to_ms, Order::Forward, io)? {
            let (key, start_ms, value, timestamp) = entry?;
            closed.push(ClosedWindow {
                key,
                start_ms,
                value: Some(value),
                timestamp,
            });
        }
        Ok(closed)
    }

    /// The same where the cache has all of these windows. They stay in it until they are written.
    fn close_cached(
        &mut self,
        from_ms: i64,
        to_ms: i64,
        visible_ms: i64,
    ) -> Result<Vec<ClosedWindow<K, V>>> {
        let Some(cache) = &self.cache else {
            return Ok(Vec::new());
        };
        let windows = cache.between(from_ms, to_ms, visible_ms);
        let mut closed = Vec::with_capacity(windows.len());
        for (start_ms, slot) in windows {
            let row = cache.row(slot);
            if let Some((run, at)) = row.find(start_ms)
                && let Some(value) = row.values().get(at)
            {
                closed.push(ClosedWindow {
                    key: self.key.deserialize(cache.key(slot))?,
                    start_ms,
                    value: Some(self.view.copy(value)?),
                    timestamp: row.runs()[run].touch.timestamp,
                });
            }
        }
        Ok(closed)
    }
}
