//! Stream-table joins: each record meets the row its key has in the table at that moment.
//!
//! Kafka's `KStreamKTableJoinProcessor`: only the stream's records make results, with their own timestamp and headers.

use super::table_getter::TableGetter;
use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct StreamTableJoin<F, K, V2, VOut> {
    pub(crate) table: Box<dyn TableGetter<K, V2>>,
    /// Whether the table is versioned, so that a record meets the row of its own time and not the latest.
    pub(crate) as_of_record: bool,
    /// `None` means no result: what an inner join makes of a missing row.
    pub(crate) joiner: Arc<F>,
    pub(crate) children: StreamChildren<K, VOut>,
}

impl<K, V, V2, VOut, F> StreamOperator<K, V> for StreamTableJoin<F, K, V2, VOut>
where
    F: Fn(&K, &V, Option<&V2>) -> Option<VOut>,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let found = match self.as_of_record {
            true => self
                .table
                .get_as_of(record.key, record.timestamp, context)?,
            false => self.table.get(record.key, context)?,
        };
        let row = found
            .as_ref()
            .and_then(|found| found.value.as_ref().as_ref());
        match (self.joiner)(record.key, record.value, row) {
            Some(joined) => self.children.forward(record.with_value(&joined), context),
            None => Ok(()),
        }
    }
}
