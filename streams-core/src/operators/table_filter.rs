//! `filter` of a table: a row for which the predicate does not hold is a deleted one.

use super::{Change, TableChildren, TableOperator};
use crate::error::Result;
use crate::task::context::Context;
use std::sync::Arc;

pub(crate) struct TableFilter<F, K, V> {
    pub(crate) predicate: Arc<F>,
    pub(crate) keep: bool,
    /// Whether the old values that arrive can be trusted to be there.
    pub(crate) sends_old_values: bool,
    /// Whether the deletion of what was not there goes on all the same, as it must for a versioned table (KIP-914).
    pub(crate) keeps_absent: bool,
    pub(crate) children: TableChildren<K, V>,
}

impl<K, V, F: Fn(&K, &V) -> bool> TableFilter<F, K, V> {
    fn filtered<'a>(&self, key: &K, value: &'a Option<V>) -> &'a Option<V> {
        match value {
            Some(content) if (self.predicate)(key, content) == self.keep => value,
            _ => &None,
        }
    }
}

impl<K, V, F: Fn(&K, &V) -> bool> TableOperator<K, V> for TableFilter<F, K, V> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let new = self.filtered(change.key, change.new);
        let old = match self.sends_old_values {
            true => self.filtered(change.key, change.old),
            false => &None,
        };
        // It was not there before and is not there now: nothing happened.
        if !self.keeps_absent && self.sends_old_values && new.is_none() && old.is_none() {
            return Ok(());
        }
        self.children.forward(change.with_values(new, old), context)
    }
}
