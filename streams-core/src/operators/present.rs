//! `drop_null_keys` and `drop_null_values`: records without go no further, and what comes behind sees the content.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;

pub(crate) struct PresentKeys<K, V> {
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V> StreamOperator<Option<K>, V> for PresentKeys<K, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, Option<K>, V>, context: &mut Context) -> Result<()> {
        match record.key {
            Some(key) => self.children.forward(record.with_key(key), context),
            None => {
                context.drop_record("its key is null");
                Ok(())
            }
        }
    }
}

pub(crate) struct PresentValues<K, V> {
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V> StreamOperator<K, Option<V>> for PresentValues<K, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, Option<V>>, context: &mut Context) -> Result<()> {
        match record.value {
            Some(value) => self.children.forward(record.with_value(value), context),
            None => {
                context.drop_record("its value is null");
                Ok(())
            }
        }
    }
}
