//! `peek`, `for_each` and `print`: look at each record; only `peek` hands it on.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct Peek<F, K, V> {
    pub(crate) action: Arc<F>,
    /// Empty behind `for_each` and `print`, which nothing can follow.
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V, F: Fn(&K, &V)> StreamOperator<K, V> for Peek<F, K, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        (self.action)(record.key, record.value);
        self.children.forward(record, context)
    }
}
