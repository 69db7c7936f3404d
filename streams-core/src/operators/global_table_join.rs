//! Joins of a stream with a global table, by a key taken from the record.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct GlobalTableJoin<S, F, K, K2, V2, VOut> {
    /// The global table's number.
    pub(crate) table: usize,
    pub(crate) key: BoxSerde<K2>,
    pub(crate) value: BoxSerde<V2>,
    pub(crate) key_bytes: Vec<u8>,
    /// Which row a record asks for.
    pub(crate) selector: Arc<S>,
    /// `None` means no result: what an inner join makes of a missing row.
    pub(crate) joiner: Arc<F>,
    pub(crate) children: StreamChildren<K, VOut>,
}

impl<K, V, K2, V2, VOut, S, F> StreamOperator<K, V> for GlobalTableJoin<S, F, K, K2, V2, VOut>
where
    K2: 'static,
    V2: 'static,
    S: Fn(&K, &V) -> K2,
    F: Fn(&K, &V, Option<&V2>) -> Option<VOut>,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let selected = (self.selector)(record.key, record.value);
        self.key_bytes.clear();
        let present = self
            .key
            .serialize_nullable(&selected, &mut self.key_bytes)?;
        let row = match present {
            true => context
                .globals
                .get(self.table, &self.key_bytes, &*self.value)?,
            false => None,
        };
        match (self.joiner)(record.key, record.value, row.as_ref()) {
            Some(joined) => self.children.forward(record.with_value(&joined), context),
            None => Ok(()),
        }
    }
}
