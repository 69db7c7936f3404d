//! `split`: each record goes to the first branch whose predicate holds.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use std::sync::Arc;

/// The condition of a branch.
pub(crate) type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

pub(crate) struct Branch<K, V> {
    /// One for each child, in order; the default branch's always holds. A record no branch wants is dropped.
    pub(crate) predicates: Vec<Predicate<K, V>>,
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V> StreamOperator<K, V> for Branch<K, V> {
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        match self
            .predicates
            .iter()
            .position(|predicate| predicate(record.key, record.value))
        {
            Some(branch) => self.children.forward_to_index(branch, record, context),
            None => Ok(()),
        }
    }
}
