//! What an aggregation over windows forwards: at a flush, when its cache is full, and without a cache at once.

use super::{Change, Share, TableChildren};
use crate::error::Result;
use crate::record::{Headers, Record};
use crate::task::context::Context;
use crate::task::stores::{AnyState, FlushedWindow, WindowState};
use crate::windowed::{Window, Windowed};

/// A store of windows and who gets its changes.
pub(super) struct WindowResults<'a, K, A> {
    pub(super) store: usize,
    /// How long a window is in milliseconds.
    pub(super) size_ms: i64,
    pub(super) sends_old_values: bool,
    pub(super) children: &'a mut TableChildren<Windowed<K>, A>,
}

impl<K: 'static, A: 'static> WindowResults<'_, K, A> {
    fn window(&self, start_ms: i64) -> Window {
        Window::new(start_ms, start_ms.saturating_add(self.size_ms))
    }

    /// Writes and forwards what the cache holds back, as [`Flush::flush`](super::Flush::flush) does.
    pub(super) fn flush(&mut self, context: &mut Context) -> Result<bool> {
        let outer = context.origin;
        while !context.io.effects.are_many() {
            let (state, io) = context.state::<WindowState<K, A>>(self.store);
            let Some((key, flushed)) = state.flush_next(self.sends_old_values, io)? else {
                context.origin = outer;
                return Ok(true);
            };
            context.origin = flushed.origin;
            let window = self.window(flushed.start_ms);
            self.forward(
                &Windowed { key, window },
                &flushed,
                flushed.headers(),
                context,
            )?;
            let (state, _) = context.state::<WindowState<K, A>>(self.store);
            state.give_back(flushed.new);
        }
        context.origin = outer;
        Ok(false)
    }

    /// Begins to let windows go that start before this time, but for as many of each key, and whole keys if that is not enough.
    pub(super) fn begin_eviction(
        &mut self,
        (cold_before_ms, keep): (i64, usize),
        share: Share,
        context: &mut Context,
    ) {
        let (state, _) = context.state::<WindowState<K, A>>(self.store);
        let target_bytes = share.of(state.memory_bytes());
        state.begin_eviction(cold_before_ms, keep, target_bytes);
    }

    /// Lets them go, as [`Flush::evict`](super::Flush::evict) does; what they have changed is written and, if `forwards` says
    /// so, forwarded.
    pub(super) fn evict(&mut self, forwards: bool, context: &mut Context) -> Result<bool> {
        let outer = context.origin;
        let with_old = self.sends_old_values && forwards;
        let mut evicted = Vec::new();
        while !context.io.effects.are_many() {
            let (state, io) = context.state::<WindowState<K, A>>(self.store);
            let Some(key) = state.evict_next(with_old, io, &mut evicted)? else {
                context.origin = outer;
                return Ok(true);
            };
            if forwards {
                self.forward_all(key, &mut evicted, context)?;
            }
        }
        context.origin = outer;
        Ok(false)
    }

    fn forward_all(
        &mut self,
        key: K,
        flushed: &mut Vec<FlushedWindow<A>>,
        context: &mut Context,
    ) -> Result<()> {
        let mut key = Windowed {
            key,
            window: Window::new(0, 0),
        };
        for flushed in flushed.drain(..) {
            context.origin = flushed.origin;
            key.window = self.window(flushed.start_ms);
            self.forward(&key, &flushed, flushed.headers(), context)?;
        }
        Ok(())
    }

    /// Forwards the windows that start between these times, both included: they have closed.
    pub(super) fn forward_closed(
        &mut self,
        headers: &Headers,
        (from_ms, to_ms): (i64, i64),
        context: &mut Context,
    ) -> Result<()> {
        let (state, io) = context.state::<WindowState<K, A>>(self.store);
        for closed in state.close(from_ms, to_ms, io)? {
            let window = self.window(closed.start_ms);
            let change = Change {
                key: &Windowed {
                    key: closed.key,
                    window,
                },
                new: &closed.value,
                old: &None,
                timestamp: closed.timestamp,
                headers,
                is_latest: true,
            };
            self.children.forward(change, context)?;
        }
        Ok(())
    }

    /// Forwards what was written without a cache.
    pub(super) fn forward_written<V>(
        &mut self,
        record: Record<'_, K, V>,
        written: &mut Vec<FlushedWindow<A>>,
        context: &mut Context,
    ) -> Result<()> {
        if written.is_empty() {
            return Ok(());
        }
        let (state, _) = context.state::<WindowState<K, A>>(self.store);
        let mut key = Windowed {
            key: state.copy_key(record.key)?,
            window: Window::new(0, 0),
        };
        for written in written.drain(..) {
            key.window = self.window(written.start_ms);
            self.forward(&key, &written, record.headers, context)?;
        }
        Ok(())
    }

    fn forward(
        &mut self,
        key: &Windowed<K>,
        flushed: &FlushedWindow<A>,
        headers: &Headers,
        context: &mut Context,
    ) -> Result<()> {
        let change = Change {
            key,
            new: &flushed.new,
            old: &flushed.old,
            timestamp: flushed.timestamp,
            headers,
            is_latest: true,
        };
        self.children.forward(change, context)
    }
}
