//! `to_stream`: the changes of a table as records.

use super::{Change, StreamChildren, TableOperator};
use crate::error::Result;
use crate::record::Record;
use crate::task::context::Context;

/// For a table whose rows can be deleted: a deletion is a record with the value `None`.
pub(crate) struct ToStream<K, V> {
    pub(crate) children: StreamChildren<K, Option<V>>,
}

impl<K, V> TableOperator<K, V> for ToStream<K, V> {
    #[inline]
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        self.children.forward(
            Record::new(change.key, change.new, change.timestamp, change.headers),
            context,
        )
    }
}

/// For a table whose rows only change.
pub(crate) struct ToValueStream<K, V> {
    pub(crate) children: StreamChildren<K, V>,
}

impl<K, V> TableOperator<K, V> for ToValueStream<K, V> {
    #[inline]
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let value = change
            .new
            .as_ref()
            .expect("the type of such a table says that its rows are never deleted");
        self.children.forward(
            Record::new(change.key, value, change.timestamp, change.headers),
            context,
        )
    }
}
