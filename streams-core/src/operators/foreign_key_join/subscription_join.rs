//! The right table's side, where a subscription that has arrived is answered with the row it refers to.

use super::response::Response;
use super::subscription::{Instruction, Subscription};
use crate::error::Result;
use crate::operators::table_getter::TableGetter;
use crate::operators::{StreamChildren, StreamOperator};
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;

/// Kafka's `SubscriptionJoinProcessorSupplier`.
pub(crate) struct SubscriptionJoin<K, KO, VO> {
    pub(crate) other: Box<dyn TableGetter<KO, VO>>,
    pub(crate) value: BoxSerde<VO>,
    /// What is sent, kept for its allocation.
    pub(crate) response: Response<VO>,
    pub(crate) children: StreamChildren<K, Response<VO>>,
}

impl<K: 'static, KO, VO: 'static> StreamOperator<Option<KO>, Subscription<K>>
    for SubscriptionJoin<K, KO, VO>
{
    fn process(
        &mut self,
        record: Record<'_, Option<KO>, Subscription<K>>,
        context: &mut Context,
    ) -> Result<()> {
        let subscription = record.value;
        let found = match record.key {
            Some(foreign_key) => self.other.get(foreign_key, context)?,
            None => None,
        };
        let row = found
            .as_ref()
            .and_then(|found| found.value.as_ref().as_ref());
        let told = match subscription.instruction {
            Instruction::DeleteKeyNoPropagate => return Ok(()),
            Instruction::PropagateOnlyIfForeignValue if found.is_none() => return Ok(()),
            Instruction::DeleteKeyAndPropagate => None,
            Instruction::PropagateNullIfNoForeignValue
            | Instruction::PropagateOnlyIfForeignValue => row,
        };
        self.response.set_value(told, &self.value)?;
        self.response.hash = subscription.hash;
        self.response.partition = subscription.partition;
        let timestamp = match &found {
            Some(found) => record.timestamp.max(found.timestamp),
            None => record.timestamp,
        };
        let key = subscription
            .key
            .as_ref()
            .expect("it was read from a topic, with its key");
        self.children.forward(
            record
                .with_key(key)
                .with_value(&self.response)
                .with_timestamp(timestamp),
            context,
        )
    }
}
