//! The node behind the aggregations of cogrouped streams: changes go on as they came (Kafka's `KTablePassThrough`).

use super::{Change, TableChildren, TableOperator};
use crate::error::Result;
use crate::task::context::Context;

pub(crate) struct CogroupMerge<K, A> {
    pub(crate) children: TableChildren<K, A>,
}

impl<K, A> TableOperator<K, A> for CogroupMerge<K, A> {
    #[inline]
    fn process(&mut self, change: Change<'_, K, A>, context: &mut Context) -> Result<()> {
        self.children.forward(change, context)
    }
}
