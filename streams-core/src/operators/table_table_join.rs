//! Table-table joins on the primary key: inner, left and outer.
//!
//! Each side of a join is an operator that looks the other table's row up; both forward to one merge node. The rules are
//! Kafka's `KTableKTableInnerJoin`, `LeftJoin`, `RightJoin` and `OuterJoin`, which differ only in which of the two rows
//! must be there for a result.

use super::table_getter::TableGetter;
use super::{Change, TableChildren, TableOperator};
use crate::error::Result;
use crate::task::context::Context;
use crate::task::stores::Found;
use std::rc::Rc;
use std::sync::Arc;

/// Makes a result from the row of this side and that of the other; at least one of them is there.
pub(crate) type Joiner<V1, V2, VOut> = Arc<dyn Fn(Option<&V1>, Option<&V2>) -> VOut + Send + Sync>;

/// Which rows a result needs, seen from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) this: bool,
    pub(crate) other: bool,
}

impl Needs {
    fn has_result(self, this: bool, other: bool) -> bool {
        let satisfied = |there: bool, needed: bool| there || !needed;
        (this || other) && satisfied(this, self.this) && satisfied(other, self.other)
    }
}

pub(crate) struct JoinSide<K, V1, V2, VOut> {
    pub(crate) other: Box<dyn TableGetter<K, V2>>,
    pub(crate) joiner: Joiner<V1, V2, VOut>,
    pub(crate) needs: Needs,
    /// Whether this side is versioned: then only the latest version of each row is joined (KIP-914).
    pub(crate) only_latest: bool,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, VOut>,
}

impl<K, V1, V2, VOut> TableOperator<K, V1> for JoinSide<K, V1, V2, VOut> {
    fn process(&mut self, change: Change<'_, K, V1>, context: &mut Context) -> Result<()> {
        if self.only_latest && !change.is_latest {
            context.drop_record("its table has a later version of this row");
            return Ok(());
        }
        let other = self.other.get(change.key, context)?;
        let timestamp = match &other {
            Some(found) => change.timestamp.max(found.timestamp),
            None if self.needs.other => return Ok(()),
            None if change.new.is_none() && change.old.is_none() => return Ok(()),
            None => change.timestamp,
        };
        let row = other
            .as_ref()
            .and_then(|found| found.value.as_ref().as_ref());
        let join = |value: &Option<V1>| {
            self.needs
                .has_result(value.is_some(), row.is_some())
                .then(|| (self.joiner)(value.as_ref(), row))
        };
        let new = join(change.new);
        let old = match self.sends_old_values {
            true => join(change.old),
            false => None,
        };
        self.children.forward(
            change.with_values(&new, &old).with_timestamp(timestamp),
            context,
        )
    }
}

/// Where both sides meet.
pub(crate) struct JoinMerge<K, V> {
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, V>,
}

impl<K, V> TableOperator<K, V> for JoinMerge<K, V> {
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let old = match self.sends_old_values {
            true => change.old,
            false => &None,
        };
        self.children
            .forward(change.with_values(change.new, old), context)
    }
}

/// Looks a result up by joining the rows of both tables.
pub(crate) struct JoinGetter<K, V1, V2, VOut> {
    pub(crate) this: Box<dyn TableGetter<K, V1>>,
    pub(crate) other: Box<dyn TableGetter<K, V2>>,
    pub(crate) joiner: Joiner<V1, V2, VOut>,
    pub(crate) needs: Needs,
}

impl<K, V1, V2, VOut> TableGetter<K, VOut> for JoinGetter<K, V1, V2, VOut> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<VOut>>> {
        let this = self.this.get(key, context)?;
        let other = self.other.get(key, context)?;
        if !self.needs.has_result(this.is_some(), other.is_some()) {
            return Ok(None);
        }
        let timestamp = |found: Option<i64>| found.unwrap_or(-1);
        let joined = (self.joiner)(
            this.as_ref()
                .and_then(|found| found.value.as_ref().as_ref()),
            other
                .as_ref()
                .and_then(|found| found.value.as_ref().as_ref()),
        );
        Ok(Some(Found {
            value: Rc::new(Some(joined)),
            timestamp: timestamp(this.map(|found| found.timestamp))
                .max(timestamp(other.map(|found| found.timestamp))),
        }))
    }
}
