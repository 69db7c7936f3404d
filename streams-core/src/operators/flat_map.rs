//! `flat_map` and `flat_map_values`: any number of records for one.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct FlatMap<F, K2, V2> {
    pub(crate) mapper: Arc<F>,
    pub(crate) children: StreamChildren<K2, V2>,
}

impl<K, V, K2, V2, I, F> StreamOperator<K, V> for FlatMap<F, K2, V2>
where
    I: IntoIterator<Item = (K2, V2)>,
    F: Fn(&K, &V) -> I,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        for (key, value) in (self.mapper)(record.key, record.value) {
            self.children
                .forward(record.with_key(&key).with_value(&value), context)?;
        }
        Ok(())
    }
}

pub(crate) struct FlatMapValues<F, K, V2> {
    pub(crate) mapper: Arc<F>,
    pub(crate) children: StreamChildren<K, V2>,
}

impl<K, V, V2, I, F> StreamOperator<K, V> for FlatMapValues<F, K, V2>
where
    I: IntoIterator<Item = V2>,
    F: Fn(&K, &V) -> I,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        for value in (self.mapper)(record.key, record.value) {
            self.children.forward(record.with_value(&value), context)?;
        }
        Ok(())
    }
}
