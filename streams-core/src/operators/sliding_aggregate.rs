//! `count`, `reduce` and `aggregate` over sliding windows, with results on every update or when a window closes.
//!
//! The rules are Kafka's `KStreamSlidingWindowAggregate`: for each record there is a window that ends with it and, as soon as
//! there is a later record in it, one that begins a millisecond behind it. The timestamp kept with a window's aggregate is that
//! of its latest record, by which the algorithm tells windows apart. Records before the first full window share the window
//! from 0 on.
//!
//! As over windows of time, results of closed windows are looked for before the record that closes them is put.

use super::aggregate::Initial;
use super::children::catch;
use super::window_results::WindowResults;
use super::{Flush, Share, StreamOperator, TableChildren};
use crate::dsl::sliding_windows::SlidingWindows;
use crate::dsl::windows::EmitStrategy;
use crate::error::{Error, Result};
use crate::record::{Headers, Record};
use crate::task::context::Context;
use crate::task::stores::{AnyState, FlushedWindow, Starts, Updated, WindowState};
use crate::windowed::Windowed;
use std::sync::Arc;

const UNKNOWN: i64 = -1;

pub(crate) struct SlidingAggregate<F, K, A> {
    pub(crate) windows: SlidingWindows,
    pub(crate) emit: EmitStrategy,
    /// Changes the aggregate of a key's window by a record's value.
    pub(crate) aggregator: Arc<F>,
    pub(crate) initial: Initial<A>,
    pub(crate) store: usize,
    /// Under this name the time of the last emission travels with the committed offsets.
    pub(crate) store_name: Arc<str>,
    pub(crate) sends_old_values: bool,
    pub(crate) observed_ms: i64,
    pub(crate) last_close_ms: Option<i64>,
    /// The windows around the record at hand, and what it has written without a cache.
    pub(crate) found: Vec<(i64, i64)>,
    pub(crate) written: Vec<FlushedWindow<A>>,
    pub(crate) children: TableChildren<Windowed<K>, A>,
}

/// A window that is there: its start, and the timestamp of its latest record.
type Found = (i64, i64);

impl<K, V, A, F> StreamOperator<K, V> for SlidingAggregate<F, K, A>
where
    K: 'static,
    A: 'static,
    F: Fn(&K, &V, &mut Option<A>),
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (state, _) = context.state::<WindowState<K, A>>(self.store);
        if !state.set_key(record.key)? {
            context.drop_record("its key is null, so it belongs to no window");
            return Ok(());
        }
        let difference_ms = self.windows.time_difference_ms();
        self.observed_ms = self.observed_ms.max(record.timestamp);
        let close_ms = self.observed_ms - self.windows.grace_ms();
        if record.timestamp.saturating_add(difference_ms) < close_ms {
            return context.drop_late("its windows are closed", record.timestamp, record.headers);
        }
        let early = record.timestamp < difference_ms;
        if self.emit == EmitStrategy::OnWindowClose && !early {
            self.emit_closed(record.headers, close_ms, context)?;
        }
        let mut found = std::mem::take(&mut self.found);
        let mut written = std::mem::take(&mut self.written);
        written.clear();
        // Where the aggregator fails, the windows before have their results all the same.
        let updated = catch(|| {
            let mut update = Update {
                operator: self,
                record,
                close_ms,
                written: &mut written,
            };
            match early {
                true => update.process_early(&mut found, context),
                false => update.process_reverse(&mut found, context),
            }
        });
        self.found = found;
        let mut forwarded = Ok(());
        if self.emit == EmitStrategy::OnWindowUpdate && !written.is_empty() {
            forwarded = self
                .results()
                .forward_written(record, &mut written, context);
        }
        self.written = written;
        forwarded?;
        updated
    }
}

/// A record on its way through its windows.
struct Update<'a, 'r, F, K, V, A> {
    operator: &'a SlidingAggregate<F, K, A>,
    record: Record<'r, K, V>,
    close_ms: i64,
    written: &'a mut Vec<FlushedWindow<A>>,
}

impl<F, K: 'static, V, A: 'static> Update<'_, '_, F, K, V, A>
where
    F: Fn(&K, &V, &mut Option<A>),
{
    /// A record that has a full window before it: goes through its windows from the last to the first.
    fn process_reverse(&mut self, found: &mut Vec<Found>, context: &mut Context) -> Result<()> {
        let difference_ms = self.operator.windows.time_difference_ms();
        let timestamp = self.record.timestamp;
        let from_ms = (timestamp - 2 * difference_ms).max(0);
        let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
        let enough_ms = timestamp - difference_ms;
        state.windows_back((from_ms, timestamp + 1), enough_ms, io, found)?;
        let around = found
            .iter()
            .find(|(start_ms, _)| *start_ms <= timestamp && start_ms + difference_ms > timestamp);
        let right = self.right(found, around.copied(), context)?;
        let mut left: Option<i64> = None;
        let mut left_exists = false;
        let mut previous_timestamp = None;
        let behind = usize::from(
            found
                .first()
                .is_some_and(|(start_ms, _)| *start_ms > timestamp),
        );
        let reaches = |(start_ms, _): &Found| start_ms + difference_ms >= timestamp;
        let (around, before) = found[behind..].split_at(found[behind..].partition_point(reaches));
        self.update_back(around, context)?;
        if let Some((start_ms, latest)) = around.last()
            && start_ms + difference_ms == timestamp
        {
            if *latest >= timestamp {
                // A record of that time was here before, so all its windows are.
                return Ok(());
            }
            left_exists = true;
            previous_timestamp = Some(*latest);
        }
        if let Some((start_ms, latest)) = before.first() {
            left = Some(*start_ms);
            previous_timestamp = Some(*latest);
        }
        // The last window that ends before this record, if its latest record is within reach. What is put first may move the
        // store's time behind it.
        let reached =
            previous_timestamp.is_some_and(|previous| timestamp - difference_ms <= previous);
        let left = match left_exists {
            true => None,
            false => Some(self.begin(left.filter(|_| reached), context)?),
        };
        if let Some(previous) = previous_timestamp {
            let start_ms = previous + 1;
            if !exists(found, start_ms) && start_ms + difference_ms >= timestamp {
                let empty = self.begin(None, context)?;
                self.create(start_ms, empty, timestamp, context)?;
            }
        }
        if let Some(left) = left {
            self.create(timestamp - difference_ms, left, timestamp, context)?;
        }
        self.put_right(right, context)
    }

    /// A record before the first full window: it goes into the one from 0 on.
    fn process_early(&mut self, found: &mut Vec<Found>, context: &mut Context) -> Result<()> {
        let timestamp = self.record.timestamp;
        let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
        state.windows(0, timestamp + 1, io, found)?;
        let combined = found
            .first()
            .copied()
            .filter(|(start_ms, _)| *start_ms == 0);
        let around = found
            .iter()
            .rfind(|(start_ms, _)| (1..=timestamp).contains(start_ms));
        let right = self.right(found, around.copied().or(combined), context)?;
        // What is put first may move the store's time behind the first window.
        let first = self.begin(combined.map(|(start_ms, _)| start_ms), context)?;
        for (start_ms, _) in found.iter().copied() {
            if (1..=timestamp).contains(&start_ms) {
                self.update(start_ms, context)?;
            }
        }
        self.put_right(right, context)?;
        if let Some((_, previous)) = combined.filter(|(_, latest)| *latest < timestamp)
            && !exists(found, previous + 1)
        {
            let empty = self.begin(None, context)?;
            self.create(previous + 1, empty, timestamp, context)?;
        }
        let latest = combined.map_or(timestamp, |(_, latest)| latest.max(timestamp));
        self.create(0, first, latest, context)
    }

    /// What the records behind this one are aggregated to, if there are any and no window has them alone: as `around`, a
    /// window around this record, has it before this record is added.
    fn right(
        &self,
        found: &[Found],
        around: Option<Found>,
        context: &mut Context,
    ) -> Result<Option<(A, i64)>> {
        let timestamp = self.record.timestamp;
        match around {
            Some((start_ms, latest)) if latest > timestamp && !exists(found, timestamp + 1) => {
                let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
                state.find(start_ms, io)
            }
            _ => Ok(None),
        }
    }

    /// The window right behind a record takes over what those behind it are aggregated to.
    fn put_right(&mut self, right: Option<(A, i64)>, context: &mut Context) -> Result<()> {
        match right {
            None => Ok(()),
            Some((value, timestamp)) => {
                let start_ms = self.record.timestamp + 1;
                self.put(start_ms, Some(value), timestamp, None, context)
            }
        }
    }

    /// What a window begins with: the aggregate of another one, or none yet. Twice, where the old value is asked for.
    fn begin(&self, of: Option<i64>, context: &mut Context) -> Result<(Option<A>, Option<A>)> {
        let mut before = || match of {
            None => Ok((self.operator.initial)()),
            Some(start_ms) => {
                let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
                Ok::<_, Error>(state.find(start_ms, io)?.map(|(value, _)| value))
            }
        };
        let value = before()?;
        let old = match self.operator.sends_old_values {
            true => before()?,
            false => None,
        };
        Ok((value, old))
    }

    /// A window with this record and what it begins with.
    fn create(
        &mut self,
        start_ms: i64,
        (mut value, old): (Option<A>, Option<A>),
        timestamp: i64,
        context: &mut Context,
    ) -> Result<()> {
        if self.is_closed(start_ms) {
            return self.drop_late(context);
        }
        (self.operator.aggregator)(self.record.key, self.record.value, &mut value);
        self.put(start_ms, value, timestamp, old, context)
    }

    fn put(
        &mut self,
        start_ms: i64,
        new: Option<A>,
        timestamp: i64,
        old: Option<A>,
        context: &mut Context,
    ) -> Result<()> {
        let mut cause = context.cause(self.record.timestamp, self.record.headers);
        cause.timestamp = timestamp;
        let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
        if let Updated::Written { new, .. } = state.put_window(start_ms, new, cause, io)? {
            let mut written = FlushedWindow::written(start_ms, new, timestamp, cause);
            written.old = old;
            self.written.push(written);
        }
        Ok(())
    }

    /// Adds a record to a window that is still open.
    fn update(&mut self, start_ms: i64, context: &mut Context) -> Result<()> {
        if self.is_closed(start_ms) {
            return self.drop_late(context);
        }
        let record = self.record;
        let cause = context.cause(record.timestamp, record.headers);
        let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
        let aggregator = &self.operator.aggregator;
        let change = |aggregate: &mut Option<A>| aggregator(record.key, record.value, aggregate);
        let with_old = self.operator.sends_old_values;
        state.update(
            Starts::one(start_ms),
            cause,
            with_old,
            io,
            change,
            self.written,
        )
    }

    /// Adds a record to those of these windows that are still open; they come from the last one back.
    fn update_back(&mut self, found: &[Found], context: &mut Context) -> Result<()> {
        let open = found.partition_point(|(start_ms, _)| !self.is_closed(*start_ms));
        let record = self.record;
        let cause = context.cause(record.timestamp, record.headers);
        let (state, io) = context.state::<WindowState<K, A>>(self.operator.store);
        let aggregator = &self.operator.aggregator;
        let change = |aggregate: &mut Option<A>| aggregator(record.key, record.value, aggregate);
        let with_old = self.operator.sends_old_values;
        state.update_back(&found[..open], cause, with_old, io, change, self.written)?;
        for _ in open..found.len() {
            self.drop_late(context)?;
        }
        Ok(())
    }

    fn is_closed(&self, start_ms: i64) -> bool {
        start_ms.saturating_add(self.operator.windows.time_difference_ms()) < self.close_ms
    }

    fn drop_late(&self, context: &mut Context) -> Result<()> {
        context.drop_late(
            "its window is closed",
            self.record.timestamp,
            self.record.headers,
        )
    }
}

fn exists(found: &[Found], start_ms: i64) -> bool {
    found.iter().any(|(found_ms, _)| *found_ms == start_ms)
}

impl<F, K: 'static, A: 'static> SlidingAggregate<F, K, A> {
    fn results(&mut self) -> WindowResults<'_, K, A> {
        WindowResults {
            store: self.store,
            size_ms: self.windows.time_difference_ms(),
            sends_old_values: self.sends_old_values,
            children: &mut self.children,
        }
    }

    /// Forwards the windows that closed since the last emission, in the order of their start, then their key.
    fn emit_closed(
        &mut self,
        headers: &Headers,
        close_ms: i64,
        context: &mut Context,
    ) -> Result<()> {
        let last_close_ms = *self.last_close_ms.get_or_insert_with(|| {
            let restored = context.processor_metadata.get(&*self.store_name);
            restored.copied().unwrap_or(UNKNOWN)
        });
        if last_close_ms != UNKNOWN && last_close_ms >= close_ms {
            return Ok(());
        }
        let difference_ms = self.windows.time_difference_ms();
        // The end belongs to a window, so one that ends now is still open.
        let upper_ms = close_ms - difference_ms - 1;
        if upper_ms < 0 {
            return Ok(());
        }
        let lower_ms = match last_close_ms {
            UNKNOWN => 0,
            last => (last - difference_ms).max(0),
        };
        self.results()
            .forward_closed(headers, (lower_ms, upper_ms), context)?;
        self.last_close_ms = Some(close_ms);
        context
            .processor_metadata
            .insert(self.store_name.to_string(), close_ms);
        Ok(())
    }
}

impl<F, K: 'static, A: 'static> Flush for SlidingAggregate<F, K, A> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        if self.emit == EmitStrategy::OnWindowClose || self.children.is_empty() {
            let (state, io) = context.state::<WindowState<K, A>>(self.store);
            return state.write_changed(io);
        }
        self.results().flush(context)
    }

    fn begin_eviction(&mut self, share: Share, context: &mut Context) {
        // A record in order is in windows that start at this time or later, and asks for the last one before it.
        let cold_before_ms = self.observed_ms - self.windows.time_difference_ms();
        self.results()
            .begin_eviction((cold_before_ms, 1), share, context);
    }

    fn evict(&mut self, context: &mut Context) -> Result<bool> {
        let forwards = self.emit == EmitStrategy::OnWindowUpdate;
        self.results().evict(forwards, context)
    }
}
