//! Stream-stream joins: each record meets those of the other stream that lie in its window.
//!
//! A record first looks for matches and is then put into its own side's store, so that it never meets itself. The rules are
//! those of Kafka's `KStreamJoinWindow` and `KStreamKStreamJoin`. A record without a match waits in a store that both sides
//! share until its window has closed, so that no result without a match is followed by one with.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{
    JoinSide, JoinWindowState, OuterJoinState, Unmatched, Waits, fetch_matches,
};
use std::sync::Arc;

/// Lets a record be joined, then keeps it for those of the other side.
pub(crate) struct JoinWindow<K, V> {
    pub(crate) store: usize,
    pub(crate) children: StreamChildren<K, V>,
}

impl<K: 'static, V: 'static> StreamOperator<K, V> for JoinWindow<K, V> {
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (state, _) = context.state::<JoinWindowState<K, V>>(self.store);
        state.set_record(record.key, record.value)?;
        self.children.forward(record, context)?;
        let (state, io) = context.state::<JoinWindowState<K, V>>(self.store);
        state.put(record.timestamp, record.headers, io)
    }
}

/// The window of a join in milliseconds: how far before and after a record of the left side one of the right side may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinSpan {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinSpan {
    /// How far before and after a record of that side its matches may be.
    pub(crate) fn reach(self, side: JoinSide) -> (i64, i64) {
        match side {
            JoinSide::Left => (self.before_ms, self.after_ms),
            JoinSide::Right => (self.after_ms, self.before_ms),
        }
    }

    /// How long records are kept for matches.
    pub(crate) fn retention_ms(self) -> i64 {
        self.before_ms
            .saturating_add(self.after_ms)
            .saturating_add(self.grace_ms)
    }

    fn waits(self) -> Waits {
        Waits {
            left_ms: self.after_ms.saturating_add(self.grace_ms),
            right_ms: self.before_ms.saturating_add(self.grace_ms),
        }
    }
}

/// Where the matches of a record may be.
pub(crate) fn bounds(timestamp: i64, (before_ms, after_ms): (i64, i64)) -> (i64, i64) {
    (
        timestamp.saturating_sub(before_ms).max(0),
        timestamp.saturating_add(after_ms).max(0),
    )
}

/// One side of a join.
pub(crate) struct StreamJoin<F, K, VThis, VOther, VOut> {
    pub(crate) side: JoinSide,
    pub(crate) span: JoinSpan,
    pub(crate) this_store: usize,
    pub(crate) other_store: usize,
    /// Of left and outer joins.
    pub(crate) outer_store: Option<usize>,
    /// Whether a record of this side makes a result without a match.
    pub(crate) outer: bool,
    /// Whether only records of the left side do.
    pub(crate) left_only: bool,
    pub(crate) key: BoxSerde<K>,
    pub(crate) this_value: BoxSerde<VThis>,
    pub(crate) other_value: BoxSerde<VOther>,
    /// From the values of this and the other side; `None` means no result.
    pub(crate) joiner: Arc<F>,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) matches: Vec<(i64, VOther)>,
    pub(crate) children: StreamChildren<K, VOut>,
}

impl<F, K, VThis, VOther, VOut> StreamOperator<K, VThis> for StreamJoin<F, K, VThis, VOther, VOut>
where
    F: Fn(&K, Option<&VThis>, Option<&VOther>) -> Option<VOut>,
    K: 'static,
    VThis: 'static,
    VOther: 'static,
{
    fn process(&mut self, record: Record<'_, K, VThis>, context: &mut Context) -> Result<()> {
        let stream_ms = self.advance_time(record.timestamp, context);
        let (this, io) = context.state::<JoinWindowState<K, VThis>>(self.this_store);
        let (Some(key), Some(_)) = (this.key_bytes(), this.value_bytes()) else {
            let (key, value) = (this.key_bytes().is_some(), this.value_bytes().is_some());
            return self.process_null(record, (key, value), context);
        };
        let (from_ms, to_ms) = bounds(record.timestamp, self.span.reach(self.side));
        if let Some(outer_store) = self.outer_store {
            self.key_bytes.clear();
            self.key_bytes.extend_from_slice(key);
            if record.timestamp == stream_ms {
                self.emit_closed(outer_store, record, context)?;
            }
            let (_, io) = context.state::<OuterJoinState>(outer_store);
            let (store, other_value) = (self.other_store, &*self.other_value);
            fetch_matches(
                store,
                &self.key_bytes,
                from_ms,
                to_ms,
                other_value,
                io,
                &mut self.matches,
            )?;
            if self.outer && self.matches.is_empty() {
                return self.process_unmatched(outer_store, record, to_ms, stream_ms, context);
            }
        } else {
            let (store, other_value) = (self.other_store, &*self.other_value);
            fetch_matches(
                store,
                key,
                from_ms,
                to_ms,
                other_value,
                io,
                &mut self.matches,
            )?;
        }
        for (timestamp, value) in self.matches.drain(..) {
            if let Some(outer_store) = self.outer_store {
                let (outer, io) = context.state::<OuterJoinState>(outer_store);
                let side = self.side.other();
                outer.remove(side, timestamp, &self.key_bytes, record.timestamp, io)?;
            }
            if let Some(joined) = (self.joiner)(record.key, Some(record.value), Some(&value)) {
                let result = record.with_value(&joined);
                let timestamp = timestamp.max(record.timestamp);
                self.children
                    .forward(result.with_timestamp(timestamp), context)?;
            }
        }
        Ok(())
    }
}

impl<F, K, VThis, VOther, VOut> StreamJoin<F, K, VThis, VOther, VOut>
where
    F: Fn(&K, Option<&VThis>, Option<&VOther>) -> Option<VOut>,
    K: 'static,
    VThis: 'static,
    VOther: 'static,
{
    /// The time of both sides, with this record; an inner join has no use for it.
    fn advance_time(&self, timestamp: i64, context: &mut Context) -> i64 {
        match self.outer_store {
            None => timestamp,
            Some(outer_store) => {
                let (outer, _) = context.state::<OuterJoinState>(outer_store);
                outer.time.stream_ms = outer.time.stream_ms.max(timestamp);
                outer.time.stream_ms
            }
        }
    }

    /// A record without a key belongs to no other, so it makes its result at once if it makes one alone (KIP-962).
    #[cold]
    fn process_null(
        &mut self,
        record: Record<'_, K, VThis>,
        (has_key, has_value): (bool, bool),
        context: &mut Context,
    ) -> Result<()> {
        if self.outer && !has_key && has_value {
            return self.forward_alone(record, context);
        }
        context.drop_record("its key or value is null, so it has no part in a join");
        Ok(())
    }

    fn forward_alone(
        &mut self,
        record: Record<'_, K, VThis>,
        context: &mut Context,
    ) -> Result<()> {
        match (self.joiner)(record.key, Some(record.value), None) {
            Some(joined) => self.children.forward(record.with_value(&joined), context),
            None => Ok(()),
        }
    }

    /// A record without a match waits for one, unless it is too late for any.
    fn process_unmatched(
        &mut self,
        outer_store: usize,
        record: Record<'_, K, VThis>,
        to_ms: i64,
        stream_ms: i64,
        context: &mut Context,
    ) -> Result<()> {
        if to_ms < stream_ms {
            return self.forward_alone(record, context);
        }
        let (this, _) = context.state::<JoinWindowState<K, VThis>>(self.this_store);
        let value = this.lend_value();
        let (outer, io) = context.state::<OuterJoinState>(outer_store);
        outer.add(self.side, record.timestamp, &self.key_bytes, &value, io)?;
        let (this, _) = context.state::<JoinWindowState<K, VThis>>(self.this_store);
        this.return_value(value);
        Ok(())
    }

    /// Forwards the records of both sides whose window has closed without a match, with their own time and the headers of the
    /// record at hand.
    fn emit_closed(
        &mut self,
        outer_store: usize,
        record: Record<'_, K, VThis>,
        context: &mut Context,
    ) -> Result<()> {
        let waits = self.span.waits();
        let wait_ms = match self.side {
            JoinSide::Left => waits.left_ms,
            JoinSide::Right => waits.right_ms,
        };
        let (now_ms, interval_ms) = (context.now_ms, context.outer_join_emit_interval_ms);
        let (outer, io) = context.state::<OuterJoinState>(outer_store);
        if !outer.begins_search(wait_ms, now_ms, interval_ms) {
            return Ok(());
        }
        let closed = outer.take_closed(waits, self.left_only, io)?;
        for unmatched in &closed {
            self.forward_unmatched(unmatched, record, context)?;
        }
        let (outer, io) = context.state::<OuterJoinState>(outer_store);
        outer.remove_closed(&closed, record.timestamp, io)
    }

    fn forward_unmatched(
        &mut self,
        unmatched: &Unmatched,
        record: Record<'_, K, VThis>,
        context: &mut Context,
    ) -> Result<()> {
        let (_, timestamp, key) = unmatched.parse()?;
        let key = self.key.deserialize(key)?;
        for value in unmatched.values() {
            let (side, bytes) = value?;
            let joined = if side == self.side {
                let value = self.this_value.deserialize(bytes)?;
                (self.joiner)(&key, Some(&value), None)
            } else {
                let value = self.other_value.deserialize(bytes)?;
                (self.joiner)(&key, None, Some(&value))
            };
            if let Some(joined) = joined {
                let result = Record::new(&key, &joined, timestamp, record.headers);
                self.children.forward(result, context)?;
            }
        }
        Ok(())
    }
}
