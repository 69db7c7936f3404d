//! `filter` and `filter_not`: records for which the predicate holds go on.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct Filter<F, K, V> {
    pub(crate) predicate: Arc<F>,
    /// What the predicate must say for a record to go on: false for `filter_not`.
    pub(crate) keep: bool,
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V, F: Fn(&K, &V) -> bool> StreamOperator<K, V> for Filter<F, K, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        if (self.predicate)(record.key, record.value) == self.keep {
            self.children.forward(record, context)?;
        }
        Ok(())
    }
}
