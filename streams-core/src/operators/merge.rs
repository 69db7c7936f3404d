//! `merge`, and every other place where records only pass: they go on as they came.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;

pub(crate) struct Merge<K, V> {
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V> StreamOperator<K, V> for Merge<K, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        self.children.forward(record, context)
    }
}
