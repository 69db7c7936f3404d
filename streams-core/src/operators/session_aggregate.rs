//! `count`, `reduce` and `aggregate` over sessions, with results on every update or when a session closes.
//!
//! The rules are Kafka's `KStreamSessionWindowAggregate`: a record joins all sessions of its key that it is no further away
//! from than the inactivity gap, which become one; those that were are forwarded as deleted before it. A record whose session
//! would have closed already is dropped.
//!
//! As over windows of time, results of closed sessions are looked for before the record that closes them is put, so that
//! none is lost to the store's retention.

use super::aggregate::Initial;
use super::children::catch;
use super::sink::NO_HEADERS;
use super::table_getter::TableGetter;
use super::{Change, Flush, Share, StreamOperator, TableChildren};
use crate::dsl::session_windows::SessionWindows;
use crate::dsl::windows::EmitStrategy;
use crate::error::Result;
use crate::record::{Headers, Record};
use crate::task::context::Context;
use crate::task::stores::{AnyState, FlushedSession, Found, Session, SessionState};
use crate::windowed::{Window, Windowed};
use std::rc::Rc;
use std::sync::Arc;

const UNKNOWN: i64 = -1;

pub(crate) struct SessionAggregate<F, M, K, A> {
    pub(crate) windows: SessionWindows,
    pub(crate) emit: EmitStrategy,
    /// Changes the aggregate of a session by a record's value.
    pub(crate) aggregator: Arc<F>,
    /// Adds the aggregate of one session to that of another.
    pub(crate) merger: Arc<M>,
    pub(crate) initial: Initial<A>,
    pub(crate) store: usize,
    /// Under this name the time of the last emission travels with the committed offsets.
    pub(crate) store_name: Arc<str>,
    pub(crate) sends_old_values: bool,
    pub(crate) observed_ms: i64,
    pub(crate) last_close_ms: Option<i64>,
    /// The sessions that the current record joins, with memory that stays.
    pub(crate) found: Vec<Session<A>>,
    pub(crate) children: TableChildren<Windowed<K>, A>,
}

/// A change to forward: the session, its new and its old aggregate.
type Written<A> = ((i64, i64), Rc<Option<A>>, Rc<Option<A>>);

impl<K, V, A, F, M> StreamOperator<K, V> for SessionAggregate<F, M, K, A>
where
    K: 'static,
    A: 'static,
    F: Fn(&K, &V, &mut Option<A>),
    M: Fn(&K, &mut Option<A>, &A),
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let cause = context.cause(record.timestamp, record.headers);
        let (state, _) = context.state::<SessionState<K, A>>(self.store);
        if !state.set_key(record.key)? {
            context.drop_record("its key is null, so it belongs to no session");
            return Ok(());
        }
        let timestamp = record.timestamp;
        self.observed_ms = self.observed_ms.max(timestamp);
        let gap_ms = self.windows.inactivity_gap_ms();
        let close_ms = self.observed_ms - self.windows.grace_ms() - gap_ms;
        if self.emit == EmitStrategy::OnWindowClose {
            self.emit_closed(record.headers, close_ms, context)?;
            let (state, _) = context.state::<SessionState<K, A>>(self.store);
            state.set_key(record.key)?;
        }
        let (state, io) = context.state::<SessionState<K, A>>(self.store);
        let (from_ms, to_ms) = (timestamp - gap_ms, timestamp.saturating_add(gap_ms));
        self.found.clear();
        state.find(from_ms, to_ms, io, &mut self.found)?;
        let mut aggregate = (self.initial)();
        let (mut start_ms, mut end_ms) = (timestamp, timestamp);
        for session in &self.found {
            if let Some(other) = session.value.as_ref() {
                (self.merger)(record.key, &mut aggregate, other);
            }
            start_ms = start_ms.min(session.start_ms);
            end_ms = end_ms.max(session.end_ms);
        }
        if end_ms < close_ms {
            return context.drop_late("its session is closed", record.timestamp, record.headers);
        }
        let mut written: Vec<Written<A>> = Vec::new();
        let is_cached = state.is_cached();
        if (start_ms, end_ms) != (timestamp, timestamp) {
            for session in self.found.drain(..) {
                let times = (session.start_ms, session.end_ms);
                state.remove(times, cause, io)?;
                if !is_cached {
                    written.push((times, Rc::new(None), session.value));
                }
            }
        }
        self.found.clear();
        // Where the aggregator fails, the sessions to be merged are gone all the same, as in Kafka Streams.
        let updated = catch(|| {
            (self.aggregator)(record.key, record.value, &mut aggregate);
            let aggregate = Rc::new(aggregate);
            state.put((start_ms, end_ms), aggregate.clone(), cause, io)?;
            if !is_cached {
                written.push(((start_ms, end_ms), aggregate, Rc::new(None)));
            }
            Ok(())
        });
        if self.emit == EmitStrategy::OnWindowClose || is_cached {
            return updated;
        }
        let key = state.copy_key()?;
        self.forward_updates(key, written, context)?;
        updated
    }
}

impl<F, M, K: 'static, A: 'static> SessionAggregate<F, M, K, A> {
    /// Forwards what was written without a cache; Kafka Streams does so without the record's headers.
    fn forward_updates(
        &mut self,
        key: K,
        written: Vec<Written<A>>,
        context: &mut Context,
    ) -> Result<()> {
        let mut key = Windowed {
            key,
            window: Window::new(0, 0),
        };
        for ((start_ms, end_ms), new, old) in written {
            key.window = Window::new(start_ms, end_ms);
            let old = match self.sends_old_values {
                true => old,
                false => Rc::new(None),
            };
            self.children.forward(
                Change {
                    key: &key,
                    new: &new,
                    old: &old,
                    timestamp: end_ms,
                    headers: &NO_HEADERS,
                    is_latest: true,
                },
                context,
            )?;
        }
        Ok(())
    }

    /// Forwards what was written from the cache.
    fn forward_flushed(
        &mut self,
        (key, (start_ms, end_ms), flushed): FlushedSession<K, A>,
        context: &mut Context,
    ) -> Result<()> {
        context.origin = flushed.origin;
        let key = Windowed {
            key,
            window: Window::new(start_ms, end_ms),
        };
        let change = Change {
            key: &key,
            new: &flushed.new,
            old: &flushed.old,
            timestamp: end_ms,
            headers: &flushed.headers,
            is_latest: true,
        };
        self.children.forward(change, context)
    }

    /// Forwards the sessions that closed since the last emission, by their end, their start and their key.
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
        // The end belongs to a session, so one that ends now is still open.
        let (lower_ms, upper_ms) = (last_close_ms.max(0), close_ms - 1);
        if upper_ms < lower_ms {
            return Ok(());
        }
        let (state, io) = context.state::<SessionState<K, A>>(self.store);
        for (key, session) in state.find_ended(lower_ms, upper_ms, io)? {
            let key = Windowed {
                key,
                window: Window::new(session.start_ms, session.end_ms),
            };
            self.children.forward(
                Change {
                    key: &key,
                    new: &session.value,
                    old: &None,
                    timestamp: session.end_ms,
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

impl<F, M, K: 'static, A: 'static> Flush for SessionAggregate<F, M, K, A> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        if self.emit == EmitStrategy::OnWindowClose || self.children.is_empty() {
            let (state, io) = context.state::<SessionState<K, A>>(self.store);
            return state.write_changed(io);
        }
        let outer = context.origin;
        while !context.io.effects.are_many() {
            let (state, io) = context.state::<SessionState<K, A>>(self.store);
            let Some((key, (start_ms, end_ms), flushed)) =
                state.flush_next(self.sends_old_values, io)?
            else {
                context.origin = outer;
                return Ok(true);
            };
            self.forward_flushed((key, (start_ms, end_ms), flushed), context)?;
        }
        context.origin = outer;
        Ok(false)
    }

    fn begin_eviction(&mut self, share: Share, context: &mut Context) {
        // A record in order reaches sessions that have not been silent for longer than the gap.
        let cold_before_ms = self.observed_ms - self.windows.inactivity_gap_ms();
        let (state, _) = context.state::<SessionState<K, A>>(self.store);
        let target_bytes = share.of(state.memory_bytes());
        state.begin_eviction(cold_before_ms, target_bytes);
    }

    fn evict(&mut self, context: &mut Context) -> Result<bool> {
        let outer = context.origin;
        let forwards = self.emit == EmitStrategy::OnWindowUpdate;
        let with_old = self.sends_old_values && forwards;
        while !context.io.effects.are_many() {
            let (state, io) = context.state::<SessionState<K, A>>(self.store);
            let Some(evicted) = state.evict_next(with_old, io)? else {
                context.origin = outer;
                return Ok(true);
            };
            if forwards {
                for flushed in evicted {
                    self.forward_flushed(flushed, context)?;
                }
            }
        }
        context.origin = outer;
        Ok(false)
    }
}

/// Looks a session up in the store of a windowed table.
pub(crate) struct SessionStoreGetter {
    pub(crate) store: usize,
}

impl<K: 'static, V: 'static> TableGetter<Windowed<K>, V> for SessionStoreGetter {
    fn get(&mut self, key: &Windowed<K>, context: &mut Context) -> Result<Option<Found<V>>> {
        let (state, io) = context.state::<SessionState<K, V>>(self.store);
        let found = state.get(&key.key, (key.window.start_ms, key.window.end_ms), io)?;
        // A session's time is its end.
        Ok(found.map(|found| Found {
            timestamp: key.window.end_ms,
            ..found
        }))
    }
}
