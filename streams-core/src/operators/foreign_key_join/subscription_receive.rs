//! The right table's side, where subscriptions arrive: they are kept under the foreign key, and passed on to be answered.

use super::subscription::{Instruction, Subscription};
use super::write_prefix;
use crate::error::Result;
use crate::operators::{StreamChildren, StreamOperator};
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::SubscriptionState;

/// Kafka's `SubscriptionReceiveProcessorSupplier`.
pub(crate) struct SubscriptionReceive<K, KO> {
    /// The store of subscriptions.
    pub(crate) store: usize,
    pub(crate) foreign_key: BoxSerde<KO>,
    pub(crate) row: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) children: StreamChildren<Option<KO>, Subscription<K>>,
}

impl<K: 'static, KO: 'static> StreamOperator<Option<KO>, Subscription<K>>
    for SubscriptionReceive<K, KO>
{
    fn process(
        &mut self,
        record: Record<'_, Option<KO>, Subscription<K>>,
        context: &mut Context,
    ) -> Result<()> {
        let subscription = record.value;
        let has_key = match record.key {
            Some(foreign_key) => write_prefix(foreign_key, &self.foreign_key, &mut self.row)?,
            None => false,
        };
        if !has_key {
            // A left row that refers to nothing is answered all the same, but nothing can come of it later.
            if subscription.instruction != Instruction::PropagateNullIfNoForeignValue {
                context.drop_record("its foreign key is null");
                return Ok(());
            }
            return self.children.forward(record.with_key(&None), context);
        }
        self.row.extend_from_slice(&subscription.key_bytes);
        let (state, io) = context.state::<SubscriptionState>(self.store);
        if subscription.instruction.deletes() {
            state.delete(&self.row, record.timestamp, record.headers, io)?;
        } else {
            self.bytes.clear();
            subscription.write(&mut self.bytes);
            let cause = (record.timestamp, record.headers);
            state.put(&self.row, &self.bytes, cause, io)?;
        }
        self.children.forward(record, context)
    }
}
