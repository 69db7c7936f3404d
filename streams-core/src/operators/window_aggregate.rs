//! `count`, `reduce` and `aggregate` over tumbling and hopping windows, with results on every update or when a window closes.
//!
//! The rules are Kafka's `KStreamWindowAggregate`: a window takes records while its end lies behind the operator's own
//! stream time less the grace period; that time starts unknown and is not restored.
//!
//! One rule is not Kafka's. There, results of closed windows are looked for once a second, and after the record that closes
//! them was put; a window that leaves the store's retention before that is lost, which takes no more than a silence of one
//! window or a backlog. Here they are forwarded before that record is put, and as soon as a window has closed.

use super::aggregate::Initial;
use super::children::catch;
use super::window_results::WindowResults;
use super::{Flush, Share, StreamOperator, TableChildren};
use crate::dsl::windows::{EmitStrategy, TimeWindows};
use crate::error::Result;
use crate::record::{Headers, Record};
use crate::task::context::Context;
use crate::task::stores::{AnyState, FlushedWindow, Starts, WindowState};
use crate::windowed::Windowed;
use std::sync::Arc;

const UNKNOWN: i64 = -1;

pub(crate) struct WindowAggregate<F, K, A> {
    pub(crate) windows: TimeWindows,
    pub(crate) emit: EmitStrategy,
    /// Changes the aggregate of a key's window by a record's value.
    pub(crate) aggregator: Arc<F>,
    /// What Java's initializer makes; without a cache that, not nothing, is the old value of a new aggregate.
    pub(crate) initial: Initial<A>,
    pub(crate) store: usize,
    /// Under this name the time of the last emission travels with the committed offsets.
    pub(crate) store_name: Arc<str>,
    pub(crate) sends_old_values: bool,
    pub(crate) times: Times,
    /// What the record at hand has written without a cache.
    pub(crate) written: Vec<FlushedWindow<A>>,
    pub(crate) children: TableChildren<Windowed<K>, A>,
}

/// What the operator knows of time.
pub(crate) struct Times {
    observed_ms: i64,
    last_close_ms: Option<i64>,
    /// The next window closes when the closing time reaches this.
    next_close_ms: i64,
    forgotten_ms: i64,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            observed_ms: UNKNOWN,
            last_close_ms: None,
            next_close_ms: i64::MIN,
            forgotten_ms: 0,
        }
    }
}

impl<K, V, A, F> StreamOperator<K, V> for WindowAggregate<F, K, A>
where
    K: 'static,
    A: 'static,
    F: Fn(&K, &V, &mut Option<A>),
{
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let cause = context.cause(record.timestamp, record.headers);
        let (mut state, mut io) = context.state::<WindowState<K, A>>(self.store);
        if !state.set_key(record.key)? {
            context.drop_record("its key is null, so it belongs to no window");
            return Ok(());
        }
        self.times.observed_ms = self.times.observed_ms.max(record.timestamp);
        let close_ms = self.times.observed_ms - self.windows.grace_ms();
        if self.emit == EmitStrategy::OnWindowClose && close_ms >= self.times.next_close_ms {
            self.emit_closed(record.headers, close_ms, context)?;
            (state, io) = context.state::<WindowState<K, A>>(self.store);
            state.set_key(record.key)?;
        }
        let (starts, late) = self.open_windows(record.timestamp, close_ms);
        let written = &mut self.written;
        written.clear();
        let (aggregator, with_old) = (&self.aggregator, self.sends_old_values);
        let aggregate = |aggregate: &mut Option<A>| aggregator(record.key, record.value, aggregate);
        // Where the aggregator fails, the windows in front have their results all the same.
        let updated = catch(|| state.update(starts, cause, with_old, io, aggregate, written));
        for _ in 0..late {
            context.drop_late("its window is closed", record.timestamp, record.headers)?;
        }
        if self.emit == EmitStrategy::OnWindowUpdate && !self.written.is_empty() {
            self.forward_updates(record, context)?;
        }
        updated
    }
}

impl<F, K: 'static, A: 'static> WindowAggregate<F, K, A> {
    /// The windows of a time that still take records, and how many do not.
    #[inline]
    fn open_windows(&self, timestamp: i64, close_ms: i64) -> (Starts, u32) {
        let mut late = 0;
        let mut starts = Starts {
            first_ms: timestamp,
            step_ms: self.windows.advance_ms(),
            len: 0,
        };
        for start_ms in self.windows.starts_for(timestamp) {
            if start_ms.saturating_add(self.windows.size_ms()) <= close_ms {
                late += 1;
                continue;
            }
            starts.first_ms = start_ms;
            // The last one that begins with this time or before.
            starts.len = ((timestamp - start_ms) / starts.step_ms + 1) as usize;
            break;
        }
        (starts, late)
    }

    fn results(&mut self) -> WindowResults<'_, K, A> {
        WindowResults {
            store: self.store,
            size_ms: self.windows.size_ms(),
            sends_old_values: self.sends_old_values,
            children: &mut self.children,
        }
    }

    /// Forwards what was written without a cache.
    fn forward_updates<V>(
        &mut self,
        record: Record<'_, K, V>,
        context: &mut Context,
    ) -> Result<()> {
        let mut written = std::mem::take(&mut self.written);
        if self.sends_old_values {
            for window in &mut written {
                window.old = window.old.take().or_else(|| (self.initial)());
            }
        }
        let forwarded = self
            .results()
            .forward_written(record, &mut written, context);
        self.written = written;
        forwarded
    }

    /// Forwards the windows that closed since the last emission, in the order of their start, then their key.
    #[cold]
    fn emit_closed(
        &mut self,
        headers: &Headers,
        close_ms: i64,
        context: &mut Context,
    ) -> Result<()> {
        self.times.next_close_ms = self.next_close_ms(close_ms);
        let last_close_ms = *self.times.last_close_ms.get_or_insert_with(|| {
            let restored = context.processor_metadata.get(&*self.store_name);
            restored.copied().unwrap_or(UNKNOWN)
        });
        if last_close_ms != UNKNOWN && last_close_ms >= close_ms {
            return Ok(());
        }
        let upper = close_ms - self.windows.size_ms();
        if upper < 0 {
            return Ok(());
        }
        let lower = match last_close_ms {
            UNKNOWN => 0,
            last => (last - self.windows.size_ms()).max(0) + 1,
        };
        if last_close_ms != UNKNOWN
            && self.windows.first_and_last_for(upper) == self.windows.first_and_last_for(lower - 1)
        {
            return Ok(());
        }
        self.results()
            .forward_closed(headers, (lower, upper), context)?;
        let (state, _) = context.state::<WindowState<K, A>>(self.store);
        state.forget_before(upper.saturating_add(1));
        self.times.last_close_ms = Some(close_ms);
        context
            .processor_metadata
            .insert(self.store_name.to_string(), close_ms);
        Ok(())
    }

    /// When the first window closes that is open at this closing time.
    fn next_close_ms(&self, close_ms: i64) -> i64 {
        let newest_closed_ms = close_ms - self.windows.size_ms();
        if newest_closed_ms < 0 {
            return self.windows.size_ms();
        }
        let start_ms = newest_closed_ms / self.windows.advance_ms() * self.windows.advance_ms();
        start_ms + self.windows.advance_ms() + self.windows.size_ms()
    }

    /// Windows that take no more records need no place in the cache.
    fn forget_closed(&mut self, context: &mut Context) {
        let dead_ms = self.times.observed_ms - self.windows.grace_ms() - self.windows.size_ms();
        if dead_ms > self.times.forgotten_ms {
            self.times.forgotten_ms = dead_ms;
            let (state, _) = context.state::<WindowState<K, A>>(self.store);
            state.forget_before(dead_ms);
        }
    }
}

impl<F, K: 'static, A: 'static> Flush for WindowAggregate<F, K, A> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        let is_all = if self.emit == EmitStrategy::OnWindowClose || self.children.is_empty() {
            let (state, io) = context.state::<WindowState<K, A>>(self.store);
            state.write_changed(io)?
        } else {
            self.results().flush(context)?
        };
        if is_all {
            self.forget_closed(context);
        }
        Ok(is_all)
    }

    fn begin_eviction(&mut self, share: Share, context: &mut Context) {
        // A record in order reaches windows that have not ended.
        let cold_before_ms = self.times.observed_ms - self.windows.size_ms() + 1;
        self.results()
            .begin_eviction((cold_before_ms, 0), share, context);
    }

    fn evict(&mut self, context: &mut Context) -> Result<bool> {
        let forwards = self.emit == EmitStrategy::OnWindowUpdate;
        self.results().evict(forwards, context)
    }
}
