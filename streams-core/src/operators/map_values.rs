//! `map_values`: another value under the same key.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct MapValues<F, K, V2> {
    pub(crate) mapper: Arc<F>,
    pub(crate) children: StreamChildren<K, V2>,
}

impl<K, V, V2, F: Fn(&K, &V) -> V2> StreamOperator<K, V> for MapValues<F, K, V2> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let value = (self.mapper)(record.key, record.value);
        self.children.forward(record.with_value(&value), context)
    }
}
