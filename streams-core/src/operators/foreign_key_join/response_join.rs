//! The left table's side again, where responses arrive: they are joined with the row that asked, if it is still the same.

use super::murmur3::hash128;
use super::response::Response;
use super::{JoinKind, ValueHash};
use crate::error::Result;
use crate::operators::table_getter::TableGetter;
use crate::operators::{StreamChildren, StreamOperator};
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use std::sync::Arc;

/// Makes a result from a row and the one it refers to.
pub(crate) type RowJoiner<V, VO, VOut> = Arc<dyn Fn(&V, Option<&VO>) -> VOut + Send + Sync>;

/// Kafka's `ResponseJoinProcessorSupplier`.
pub(crate) struct ResponseJoin<K, V, VO, VOut> {
    pub(crate) this: Box<dyn TableGetter<K, V>>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) joiner: RowJoiner<V, VO, VOut>,
    pub(crate) kind: JoinKind,
    pub(crate) children: StreamChildren<K, Option<VOut>>,
}

impl<K: 'static, V: 'static, VO: 'static, VOut> StreamOperator<K, Response<VO>>
    for ResponseJoin<K, V, VO, VOut>
{
    fn process(
        &mut self,
        record: Record<'_, K, Response<VO>>,
        context: &mut Context,
    ) -> Result<()> {
        let found = self.this.get(record.key, context)?;
        let row = found
            .as_ref()
            .and_then(|found| found.value.as_ref().as_ref());
        let hash: Option<ValueHash> = match row {
            None => None,
            Some(row) => {
                self.bytes.clear();
                self.value.serialize_nullable(row, &mut self.bytes)?;
                Some(hash128(&self.bytes))
            }
        };
        if hash != record.value.hash {
            context.drop_record("the row that asked has changed since");
            return Ok(());
        }
        let other = record.value.value.as_ref();
        let result = match row {
            Some(row) if other.is_some() || self.kind == JoinKind::Left => {
                Some((self.joiner)(row, other))
            }
            _ => None,
        };
        self.children.forward(record.with_value(&result), context)
    }
}
