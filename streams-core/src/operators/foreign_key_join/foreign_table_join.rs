//! The right table's side, where a row changes: everybody who refers to it is told.

use super::response::Response;
use super::subscription::SubscriptionFields;
use super::write_prefix;
use crate::error::{Error, Result};
use crate::operators::{Change, StreamChildren, TableOperator};
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::SubscriptionState;

/// How many subscriptions are read before they are answered.
const BATCH: usize = 256;

/// Kafka's `ForeignTableJoinProcessorSupplier`.
pub(crate) struct ForeignTableJoin<K, KO, VO> {
    /// The store of subscriptions.
    pub(crate) store: usize,
    /// Whether the table is versioned: then only the latest version of each row is joined (KIP-914).
    pub(crate) only_latest: bool,
    pub(crate) key: BoxSerde<K>,
    pub(crate) foreign_key: BoxSerde<KO>,
    pub(crate) value: BoxSerde<VO>,
    pub(crate) prefix: Vec<u8>,
    /// The subscriber's key, kept for its allocation.
    pub(crate) subscriber: Option<K>,
    /// What is sent, kept for its allocation.
    pub(crate) response: Response<VO>,
    pub(crate) children: StreamChildren<K, Response<VO>>,
}

impl<K: 'static, KO: 'static, VO: 'static> TableOperator<KO, VO> for ForeignTableJoin<K, KO, VO> {
    fn process(&mut self, change: Change<'_, KO, VO>, context: &mut Context) -> Result<()> {
        if !write_prefix(change.key, &self.foreign_key, &mut self.prefix)? {
            context.drop_record("its key is null, so nothing refers to it");
            return Ok(());
        }
        if self.only_latest && !change.is_latest {
            context.drop_record("its table has a later version of this row");
            return Ok(());
        }
        self.response.set_value(change.new.as_ref(), &self.value)?;
        let mut from = self.prefix.clone();
        loop {
            let (state, io) = context.state::<SubscriptionState>(self.store);
            let rows = state.rows(&self.prefix, &from, BATCH, io)?;
            for (row, subscription) in &rows {
                self.answer(row, subscription, change, context)?;
            }
            match rows.into_iter().nth(BATCH - 1) {
                None => return Ok(()),
                Some((last, _)) => {
                    from = last;
                    from.push(0);
                }
            }
        }
    }
}

impl<K: 'static, KO, VO: 'static> ForeignTableJoin<K, KO, VO> {
    fn answer(
        &mut self,
        row: &[u8],
        subscription: &[u8],
        change: Change<'_, KO, VO>,
        context: &mut Context,
    ) -> Result<()> {
        let fields = SubscriptionFields::read(subscription).map_err(damaged)?;
        self.response.hash = fields.hash;
        self.response.partition = fields.partition;
        let key_bytes = &row[self.prefix.len()..];
        match &mut self.subscriber {
            Some(key) => self.key.deserialize_into(key_bytes, key),
            None => self.key.deserialize(key_bytes).map(|key| {
                self.subscriber = Some(key);
            }),
        }
        .map_err(damaged)?;
        let Some(key) = &self.subscriber else {
            return Ok(());
        };
        let record = Record::new(key, &self.response, change.timestamp, change.headers);
        self.children.forward(record, context)
    }
}

#[cold]
fn damaged(error: crate::serdes::SerdeError) -> Error {
    Error::from(error).context(
        "the store of a foreign-key join cannot be read: delete the task's directory to restore it",
    )
}
