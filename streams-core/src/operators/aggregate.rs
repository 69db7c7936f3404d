//! `count`, `reduce` and `aggregate` of a grouped stream, without windows.
//!
//! The rules are Kafka's `KStreamAggregate`: the result's timestamp is the later one of the record's and the stored
//! aggregate's; with the record cache a result is forwarded at the flush, otherwise at once.

use super::table_source::EXPIRED;
use super::{Change, Flush, StreamOperator, TableChildren};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use crate::task::stores::{AnyState, Cause, KeyValueState, Placement, Updated};
use std::sync::Arc;

/// Makes the aggregate there is before the first value, `None` for operations that begin with nothing.
pub(crate) type Initial<A> = Arc<dyn Fn() -> Option<A> + Send + Sync>;

pub(crate) struct Aggregate<F, K, A> {
    /// Changes the aggregate of a key by a record's value; `None` is no aggregate yet, or none any more.
    pub(crate) aggregator: Arc<F>,
    /// What Java's initializer makes; without a cache that, not nothing, is the old value of a new aggregate.
    pub(crate) initial: Initial<A>,
    pub(crate) store: usize,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, A>,
}

impl<K, V, A, F> StreamOperator<K, V> for Aggregate<F, K, A>
where
    K: 'static,
    A: 'static,
    F: Fn(&K, &V, &mut Option<A>),
{
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let cause = context.cause(record.timestamp, record.headers);
        let (state, io) = context.state::<KeyValueState<K, A>>(self.store);
        let aggregator = &self.aggregator;
        let updated = state.update(record.key, cause, self.sends_old_values, io, |aggregate| {
            aggregator(record.key, record.value, aggregate)
        })?;
        match updated {
            Some(Updated::Cached) => Ok(()),
            Some(Updated::Written {
                placement: Placement::Expired,
                ..
            }) => context.drop_late(EXPIRED, record.timestamp, record.headers),
            Some(Updated::Written {
                new,
                old,
                timestamp,
                placement,
            }) => self.children.forward(
                Change {
                    key: record.key,
                    new: &new,
                    old: &old.or_else(|| self.sends_old_values.then(&*self.initial).flatten()),
                    timestamp,
                    headers: record.headers,
                    is_latest: placement == Placement::Latest,
                },
                context,
            ),
            None => {
                context.drop_record("its key is null, so it belongs to no group");
                Ok(())
            }
        }
    }
}

impl<F, K: 'static, A: 'static> Flush for Aggregate<F, K, A> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        flush_key_value(
            self.store,
            self.sends_old_values,
            &mut self.children,
            context,
        )
    }
}

/// Flushes a key-value store's cache into the operators behind it, as [`Flush::flush`] does.
pub(crate) fn flush_key_value<K: 'static, A: 'static>(
    store: usize,
    with_old: bool,
    children: &mut TableChildren<K, A>,
    context: &mut Context,
) -> Result<bool> {
    if children.is_empty() {
        let (state, io) = context.state::<KeyValueState<K, A>>(store);
        return state.write_changed(io);
    }
    let outer = context.origin;
    while !context.io.effects.are_many() {
        let (state, io) = context.state::<KeyValueState<K, A>>(store);
        let Some((key, flushed)) = state.flush_next(with_old, io)? else {
            context.origin = outer;
            return Ok(true);
        };
        context.origin = flushed.origin;
        children.forward(
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
    context.origin = outer;
    Ok(false)
}

impl Context {
    /// What changes a store now: the current record.
    #[inline]
    pub(crate) fn cause<'a>(
        &self,
        timestamp: i64,
        headers: &'a crate::record::Headers,
    ) -> Cause<'a> {
        let mut origin = self.origin;
        origin.timestamp = timestamp;
        Cause {
            timestamp,
            origin,
            headers,
        }
    }
}
