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
use super::{Change, Flush, StreamOperator, TableChildren};
use crate::dsl::sliding_windows::SlidingWindows;
use crate::dsl::windows::EmitStrategy;
use crate::error::Result;
use crate::record::{Headers, Record};
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{AnyState, WindowState};
use crate::windowed::{Window, Windowed};
use std::rc::Rc;
use std::sync::Arc;
use streams_state::Order;

const UNKNOWN: i64 = -1;

pub(crate) struct SlidingAggregate<F, K, A> {
    pub(crate) windows: SlidingWindows,
    pub(crate) emit: EmitStrategy,
    /// Changes the aggregate of a key's window by a record's value.
    pub(crate) aggregator: Arc<F>,
    pub(crate) initial: Initial<A>,
    /// A window begins with a copy of another one's aggregate, by way of its bytes.
    pub(crate) value: BoxSerde<A>,
    pub(crate) store: usize,
    /// Under this name the time of the last emission travels with the committed offsets.
    pub(crate) store_name: Arc<str>,
    pub(crate) sends_old_values: bool,
    pub(crate) observed_ms: i64,
    pub(crate) last_close_ms: Option<i64>,
    pub(crate) children: TableChildren<Windowed<K>, A>,
}

/// An aggregate and the timestamp of its latest record.
struct Aggregated<A> {
    value: Rc<Option<A>>,
    timestamp: i64,
}

impl<A> Clone for Aggregated<A> {
    fn clone(&self) -> Self {
        Aggregated {
            value: self.value.clone(),
            timestamp: self.timestamp,
        }
    }
}

/// A change to forward: the window's start, its new and old aggregate, the result's timestamp.
type Written<A> = (i64, Rc<Option<A>>, Rc<Option<A>>, i64);

/// What the windows around a record tell.
struct Around<A> {
    starts: Vec<i64>,
    /// The window with the records behind this one.
    right: Option<Aggregated<A>>,
    /// The last window that ends before this record.
    left: Option<Aggregated<A>>,
    left_exists: bool,
    right_exists: bool,
    previous_timestamp: Option<i64>,
}

impl<A> Default for Around<A> {
    fn default() -> Self {
        Around {
            starts: Vec::new(),
            right: None,
            left: None,
            left_exists: false,
            right_exists: false,
            previous_timestamp: None,
        }
    }
}

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
        let mut written = Vec::new();
        // Where the aggregator fails, the windows before have their results all the same.
        let updated = catch(|| match early {
            true => self.process_early(record, close_ms, &mut written, context),
            false => self.process_reverse(record, close_ms, &mut written, context),
        });
        let (state, _) = context.state::<WindowState<K, A>>(self.store);
        if self.emit == EmitStrategy::OnWindowClose || state.is_cached() || written.is_empty() {
            return updated;
        }
        let key = state.copy_key(record.key)?;
        self.forward_updates(key, written, record.headers, context)?;
        updated
    }
}

impl<F, K: 'static, A: 'static> SlidingAggregate<F, K, A> {
    fn window(&self, start_ms: i64) -> Window {
        let end_ms = start_ms.saturating_add(self.windows.time_difference_ms());
        Window::new(start_ms, end_ms)
    }

    fn copy(&self, value: &Option<A>) -> Result<Option<A>> {
        let Some(value) = value else { return Ok(None) };
        let mut bytes = Vec::new();
        self.value.serialize(value, &mut bytes)?;
        Ok(Some(self.value.deserialize(&bytes)?))
    }

    /// A record that has a full window before it: goes through its windows from the last to the first.
    fn process_reverse<V>(
        &self,
        record: Record<'_, K, V>,
        close_ms: i64,
        written: &mut Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()>
    where
        F: Fn(&K, &V, &mut Option<A>),
    {
        let difference_ms = self.windows.time_difference_ms();
        let timestamp = record.timestamp;
        let from_ms = (timestamp - 2 * difference_ms).max(0);
        let (state, io) = context.state::<WindowState<K, A>>(self.store);
        let found = state.fetch_cached(from_ms, timestamp + 1, Order::Backward, io)?;
        let mut around = Around::default();
        for (start_ms, value, latest) in found {
            around.starts.push(start_ms);
            let end_ms = start_ms + difference_ms;
            let window = Aggregated {
                value,
                timestamp: latest,
            };
            if start_ms == timestamp + 1 {
                around.right_exists = true;
            } else if end_ms > timestamp {
                around.right.get_or_insert_with(|| window.clone());
                self.update(record, start_ms, window, close_ms, written, context)?;
            } else if end_ms == timestamp {
                around.left_exists = true;
                self.update(record, start_ms, window, close_ms, written, context)?;
                if latest >= timestamp {
                    // A record of that time was here before, so all its windows are.
                    return Ok(());
                }
                around.previous_timestamp = Some(latest);
            } else {
                around.left = Some(window);
                around.previous_timestamp = Some(latest);
                break;
            }
        }
        if let Some(previous) = around.previous_timestamp {
            let start_ms = previous + 1;
            if !around.starts.contains(&start_ms) && start_ms + difference_ms >= timestamp {
                self.create(record, start_ms, None, close_ms, written, context)?;
            }
        }
        if !around.left_exists {
            let reached = around
                .previous_timestamp
                .is_some_and(|previous| timestamp - difference_ms <= previous);
            let left = around.left.as_ref().filter(|_| reached);
            self.create(
                record,
                timestamp - difference_ms,
                left,
                close_ms,
                written,
                context,
            )?;
        }
        match around.right {
            Some(right) if !around.right_exists && right.timestamp > timestamp => {
                self.put_right(record, right, written, context)
            }
            _ => Ok(()),
        }
    }

    /// A record before the first full window: it goes into the one from 0 on.
    fn process_early<V>(
        &self,
        record: Record<'_, K, V>,
        close_ms: i64,
        written: &mut Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()>
    where
        F: Fn(&K, &V, &mut Option<A>),
    {
        let timestamp = record.timestamp;
        let (state, io) = context.state::<WindowState<K, A>>(self.store);
        let found = state.fetch_cached(0, timestamp + 1, Order::Forward, io)?;
        let mut around = Around::default();
        let mut combined = None;
        for (start_ms, value, latest) in found {
            around.starts.push(start_ms);
            let window = Aggregated {
                value,
                timestamp: latest,
            };
            if start_ms == 0 {
                if latest < timestamp {
                    around.previous_timestamp = Some(latest);
                }
                combined = Some(window);
            } else if start_ms <= timestamp {
                around.right = Some(window.clone());
                self.update(record, start_ms, window, close_ms, written, context)?;
            } else {
                around.right_exists = true;
            }
        }
        if around.right.is_none() {
            around.right = combined
                .clone()
                .filter(|combined| combined.timestamp > timestamp);
        }
        match around.right {
            Some(right) if !around.right_exists && right.timestamp > timestamp => {
                self.put_right(record, right, written, context)?;
            }
            _ => {}
        }
        if let Some(previous) = around.previous_timestamp
            && !around.starts.contains(&(previous + 1))
        {
            self.create(record, previous + 1, None, close_ms, written, context)?;
        }
        match combined {
            None => self.create(record, 0, None, close_ms, written, context),
            Some(combined) => self.update(record, 0, combined, close_ms, written, context),
        }
    }

    /// A new window with this record, and those of another window if there is one.
    fn create<V>(
        &self,
        record: Record<'_, K, V>,
        start_ms: i64,
        of: Option<&Aggregated<A>>,
        close_ms: i64,
        written: &mut Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()>
    where
        F: Fn(&K, &V, &mut Option<A>),
    {
        let value = match of {
            Some(of) => of.value.clone(),
            None => Rc::new((self.initial)()),
        };
        let before = Aggregated {
            value,
            timestamp: record.timestamp,
        };
        self.update(record, start_ms, before, close_ms, written, context)
    }

    /// Adds a record to a window that is still open.
    fn update<V>(
        &self,
        record: Record<'_, K, V>,
        start_ms: i64,
        before: Aggregated<A>,
        close_ms: i64,
        written: &mut Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()>
    where
        F: Fn(&K, &V, &mut Option<A>),
    {
        if self.window(start_ms).end_ms < close_ms {
            return context.drop_late("its window is closed", record.timestamp, record.headers);
        }
        let timestamp = match before.value.as_ref() {
            None => record.timestamp,
            Some(_) => record.timestamp.max(before.timestamp),
        };
        let mut new = self.copy(&before.value)?;
        (self.aggregator)(record.key, record.value, &mut new);
        self.put(
            record,
            start_ms,
            Aggregated {
                value: Rc::new(new),
                timestamp,
            },
            before.value,
            written,
            context,
        )
    }

    /// The window right behind a record takes over what those behind it are aggregated to.
    fn put_right<V>(
        &self,
        record: Record<'_, K, V>,
        right: Aggregated<A>,
        written: &mut Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()> {
        let start_ms = record.timestamp + 1;
        self.put(record, start_ms, right, Rc::new(None), written, context)
    }

    fn put<V>(
        &self,
        record: Record<'_, K, V>,
        start_ms: i64,
        new: Aggregated<A>,
        old: Rc<Option<A>>,
        written: &mut Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()> {
        let mut cause = context.cause(record.timestamp, record.headers);
        cause.timestamp = new.timestamp;
        let (state, io) = context.state::<WindowState<K, A>>(self.store);
        state.put_window(start_ms, new.value.clone(), cause, io)?;
        written.push((start_ms, new.value, old, new.timestamp));
        Ok(())
    }

    /// Forwards what was written without a cache.
    fn forward_updates(
        &mut self,
        key: K,
        written: Vec<Written<A>>,
        headers: &Headers,
        context: &mut Context,
    ) -> Result<()> {
        let mut key = Windowed {
            key,
            window: Window::new(0, 0),
        };
        for (start_ms, new, old, timestamp) in written {
            key.window = self.window(start_ms);
            let old = match self.sends_old_values {
                true => old,
                false => Rc::new(None),
            };
            self.children.forward(
                Change {
                    key: &key,
                    new: &new,
                    old: &old,
                    timestamp,
                    headers,
                    is_latest: true,
                },
                context,
            )?;
        }
        Ok(())
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
        let (state, io) = context.state::<WindowState<K, A>>(self.store);
        let closed = state
            .fetch(None, lower_ms, upper_ms, Order::Forward, io)?
            .collect::<Result<Vec<_>>>()?;
        for (key, start_ms, value, timestamp) in closed {
            let key = Windowed {
                key,
                window: self.window(start_ms),
            };
            self.children.forward(
                Change {
                    key: &key,
                    new: &Some(value),
                    old: &None,
                    timestamp,
                    headers,
                    is_latest: true,
                },
                context,
            )?;
        }
        self.last_close_ms = Some(close_ms);
        context
            .processor_metadata
            .insert(self.store_name.to_string(), close_ms);
        Ok(())
    }
}

impl<F, K: 'static, A: 'static> Flush for SlidingAggregate<F, K, A> {
    fn flush(&mut self, context: &mut Context) -> Result<()> {
        if self.emit == EmitStrategy::OnWindowClose || self.children.is_empty() {
            let (state, io) = context.state::<WindowState<K, A>>(self.store);
            return state.write_changed(io);
        }
        let outer = context.origin;
        loop {
            let (state, io) = context.state::<WindowState<K, A>>(self.store);
            let Some((key, start_ms, flushed)) = state.flush_next(self.sends_old_values, io)?
            else {
                context.origin = outer;
                return Ok(());
            };
            context.origin = flushed.origin;
            let key = Windowed {
                key,
                window: self.window(start_ms),
            };
            self.children.forward(
                Change {
                    key: &key,
                    new: &flushed.new,
                    old: &flushed.old,
                    timestamp: flushed.timestamp,
                    headers: &flushed.headers,
                    is_latest: true,
                },
                context,
            )?;
        }
    }
}
