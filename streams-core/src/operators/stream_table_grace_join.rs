//! A stream-table join whose records wait until the table has had time to catch up (KIP-923).
//!
//! Kafka's `KStreamKTableJoinProcessor` with a buffer: a record is joined once the stream's time is a grace period ahead of it,
//! in the order of timestamps, with the row the table had at the record's own time. A record that is later than that when it
//! arrives is joined at once, and so is one without a key.

use super::StreamOperator;
use super::stream_table_join::StreamTableJoin;
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{Due, GraceBufferState, Origin};

pub(crate) struct StreamTableGraceJoin<F, K, V, V2, VOut> {
    pub(crate) join: StreamTableJoin<F, K, V2, VOut>,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) grace_ms: i64,
    /// The buffer.
    pub(crate) store: usize,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) value_bytes: Vec<u8>,
}

impl<K, V, V2, VOut, F> StreamTableGraceJoin<F, K, V, V2, VOut>
where
    K: 'static,
    V: 'static,
    F: Fn(&K, &V, Option<&V2>) -> Option<VOut>,
{
    fn join_due(&mut self, due: &Due, context: &mut Context) -> Result<()> {
        let (from, value) = due.content()?;
        let key = self.key.deserialize(due.key())?;
        let value = self.value.deserialize_nullable(value)?;
        let input = context
            .input_topics
            .iter()
            .position(|topic| **topic == *from.topic);
        let outer = context.origin;
        context.origin = Origin {
            input: input.map(|input| input as u32),
            offset: from.offset,
            timestamp: from.timestamp,
        };
        let record = Record::new(&key, &value, from.timestamp, &from.headers);
        let joined = self.join.process(record, context);
        context.origin = outer;
        joined
    }
}

impl<K, V, V2, VOut, F> StreamOperator<K, V> for StreamTableGraceJoin<F, K, V, V2, VOut>
where
    K: 'static,
    V: 'static,
    F: Fn(&K, &V, Option<&V2>) -> Option<VOut>,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        self.key_bytes.clear();
        let has_key = self
            .key
            .serialize_nullable(record.key, &mut self.key_bytes)?;
        let (origin, partition) = (context.origin, context.id.partition);
        let topic = origin
            .input
            .map(|input| context.input_topics[input as usize].clone());
        let (buffer, io) = context.state::<GraceBufferState>(self.store);
        if !has_key || !buffer.takes(record.timestamp, self.grace_ms, io)? {
            return self.join.process(record, context);
        }
        self.value_bytes.clear();
        let has_value = self
            .value
            .serialize_nullable(record.value, &mut self.value_bytes)?;
        buffer.put(
            &self.key_bytes,
            has_value.then_some(self.value_bytes.as_slice()),
            (
                origin.offset,
                topic.as_deref().unwrap_or_default(),
                partition,
            ),
            (record.timestamp, record.headers),
            io,
        )?;
        for due in buffer.due(self.grace_ms, io)? {
            self.join_due(&due, context)?;
            let (buffer, io) = context.state::<GraceBufferState>(self.store);
            buffer.remove(&due, io)?;
        }
        Ok(())
    }
}
