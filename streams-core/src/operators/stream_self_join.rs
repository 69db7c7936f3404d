//! A stream joined with itself, with one store instead of two: what `topology.optimization` makes of such a join.
//!
//! The results and their order are those of the join with two stores (Kafka's `KStreamKStreamSelfJoin`).

use super::stream_stream_join::{JoinSpan, bounds};
use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{JoinSide, JoinWindowState, fetch_matches};
use std::sync::Arc;

pub(crate) struct StreamSelfJoin<F, K, V, VOut> {
    pub(crate) span: JoinSpan,
    pub(crate) store: usize,
    pub(crate) value: BoxSerde<V>,
    /// `None` means no result.
    pub(crate) joiner: Arc<F>,
    /// The largest time seen, -1 before the first record.
    pub(crate) stream_ms: i64,
    pub(crate) matches: Vec<(i64, V)>,
    pub(crate) children: StreamChildren<K, VOut>,
}

impl<F, K, V, VOut> StreamOperator<K, V> for StreamSelfJoin<F, K, V, VOut>
where
    F: Fn(&K, &V, &V) -> Option<VOut>,
    K: 'static,
    V: 'static,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (state, _) = context.state::<JoinWindowState<K, V>>(self.store);
        if state.key_bytes().is_none() || state.value_bytes().is_none() {
            context.drop_record("its key or value is null, so it has no part in a join");
            return Ok(());
        }
        self.stream_ms = self.stream_ms.max(record.timestamp);
        let expired_ms = self.stream_ms.saturating_sub(self.span.retention_ms());
        // The pair with itself, as long as a store would still show the record.
        let mut with_itself = record.timestamp > expired_ms.saturating_add(1);
        let left = self.span.reach(JoinSide::Left);
        self.fetch(record.timestamp, left, context)?;
        for (timestamp, value) in &self.matches {
            let joined = (self.joiner)(record.key, record.value, value);
            let timestamp = record.timestamp.max(*timestamp);
            forward(&mut self.children, record, joined, timestamp, context)?;
        }
        let right = self.span.reach(JoinSide::Right);
        if left != right {
            self.fetch(record.timestamp, right, context)?;
        }
        for (timestamp, value) in &self.matches {
            if *timestamp > record.timestamp && with_itself {
                with_itself = false;
                let joined = (self.joiner)(record.key, record.value, record.value);
                forward(
                    &mut self.children,
                    record,
                    joined,
                    record.timestamp,
                    context,
                )?;
            }
            let joined = (self.joiner)(record.key, value, record.value);
            let timestamp = record.timestamp.max(*timestamp);
            forward(&mut self.children, record, joined, timestamp, context)?;
        }
        self.matches.clear();
        if with_itself {
            let joined = (self.joiner)(record.key, record.value, record.value);
            forward(
                &mut self.children,
                record,
                joined,
                record.timestamp,
                context,
            )?;
        }
        Ok(())
    }
}

impl<F, K: 'static, V: 'static, VOut> StreamSelfJoin<F, K, V, VOut> {
    fn fetch(&mut self, timestamp: i64, reach: (i64, i64), context: &mut Context) -> Result<()> {
        let (from_ms, to_ms) = bounds(timestamp, reach);
        let (state, io) = context.state::<JoinWindowState<K, V>>(self.store);
        let key = state.key_bytes().unwrap_or_default();
        fetch_matches(
            self.store,
            key,
            from_ms,
            to_ms,
            &*self.value,
            io,
            &mut self.matches,
        )
    }
}

fn forward<K, V, VOut>(
    children: &mut StreamChildren<K, VOut>,
    record: Record<'_, K, V>,
    joined: Option<VOut>,
    timestamp: i64,
    context: &mut Context,
) -> Result<()> {
    match joined {
        Some(joined) => {
            let result = record.with_value(&joined).with_timestamp(timestamp);
            children.forward(result, context)
        }
        None => Ok(()),
    }
}
