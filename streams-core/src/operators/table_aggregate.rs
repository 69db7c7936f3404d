//! `count`, `reduce` and `aggregate` of a grouped table: the value that left a group is subtracted first, then the one
//! that entered it is added (Kafka's `KTableAggregate`).

use super::aggregate::flush_key_value;
use super::table_repartition::GroupChange;
use super::table_source::EXPIRED;
use super::{Change, Flush, StreamOperator, TableChildren};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;
use crate::task::stores::{KeyValueState, Placement, Updated};
use std::sync::Arc;

pub(crate) struct TableAggregate<Add, Subtract, K, A> {
    /// Adds a value to a group's aggregate, which it makes when there is none.
    pub(crate) adder: Arc<Add>,
    /// Takes a value out; only called when there is an aggregate.
    pub(crate) subtractor: Arc<Subtract>,
    pub(crate) store: usize,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, A>,
}

impl<K, V, A, Add, Subtract> StreamOperator<K, GroupChange<V>>
    for TableAggregate<Add, Subtract, K, A>
where
    K: 'static,
    A: 'static,
    Add: Fn(&K, &V, &mut Option<A>),
    Subtract: Fn(&K, &V, &mut Option<A>),
{
    fn process(
        &mut self,
        record: Record<'_, K, GroupChange<V>>,
        context: &mut Context,
    ) -> Result<()> {
        let cause = context.cause(record.timestamp, record.headers);
        let (state, io) = context.state::<KeyValueState<K, A>>(self.store);
        let (adder, subtractor) = (&self.adder, &self.subtractor);
        let updated = state.update(record.key, cause, self.sends_old_values, io, |aggregate| {
            if let (Some(old), true) = (&record.value.old, aggregate.is_some()) {
                subtractor(record.key, old, aggregate);
            }
            if let Some(new) = &record.value.new {
                adder(record.key, new, aggregate);
            }
        })?;
        match updated {
            Some(Updated::Cached) | None => Ok(()),
            Some(Updated::Written {
                placement: Placement::Expired,
                ..
            }) => context.drop_late(EXPIRED, record.timestamp, record.headers),
            Some(Updated::Written {
                new,
                old,
                timestamp,
                placement,
            }) => self.children.forward(
                Change {
                    key: record.key,
                    new: &new,
                    old: &old,
                    timestamp,
                    headers: record.headers,
                    is_latest: placement == Placement::Latest,
                },
                context,
            ),
        }
    }
}

impl<Add, Subtract, K: 'static, A: 'static> Flush for TableAggregate<Add, Subtract, K, A> {
    fn flush(&mut self, context: &mut Context) -> Result<bool> {
        flush_key_value(
            self.store,
            self.sends_old_values,
            &mut self.children,
            context,
        )
    }
}
