//! `map` and `select_key`: another key, and for `map` another value.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct Map<F, K2, V2> {
    pub(crate) mapper: Arc<F>,
    pub(crate) children: StreamChildren<K2, V2>,
}

impl<K, V, K2, V2, F: Fn(&K, &V) -> (K2, V2)> StreamOperator<K, V> for Map<F, K2, V2> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (key, value) = (self.mapper)(record.key, record.value);
        self.children
            .forward(record.with_key(&key).with_value(&value), context)
    }
}

pub(crate) struct SelectKey<F, K2, V> {
    pub(crate) selector: Arc<F>,
    pub(crate) children: StreamChildren<K2, V>,
}

impl<K, V, K2, F: Fn(&K, &V) -> K2> StreamOperator<K, V> for SelectKey<F, K2, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let key = (self.selector)(record.key, record.value);
        self.children.forward(record.with_key(&key), context)
    }
}
