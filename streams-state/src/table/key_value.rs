//! `TableKeyValueStore`: the key-value store of every backend, over the rows of a [`Table`].

use crate::table::{RowRange, RowSink, Table, entries};
use crate::task_store::Transactional;
use crate::touch;
use crate::{Change, Entries, KeyValueStore, Order, Result};

/// A table as a key-value store: the rows are the entries.
pub(crate) struct TableKeyValueStore<T> {
    table: T,
}

impl<T: Table> TableKeyValueStore<T> {
    pub fn new(table: T) -> Self {
        Self { table }
    }
}

impl<T: Table> KeyValueStore for TableKeyValueStore<T> {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.table.get_with(key, read)
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        self.table.prefetch(keys)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.table.put(key, value);
        Ok(())
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<Entries<'_>> {
        let range = RowRange::inclusive(from, to);
        Ok(entries(self.table.scan(range, order)?))
    }

    fn prefix_scan(&self, prefix: &[u8]) -> Result<Entries<'_>> {
        let range = RowRange::prefix(prefix);
        Ok(entries(self.table.scan(range, Order::Forward)?))
    }

    fn approximate_len(&self) -> Result<u64> {
        self.table.approximate_len()
    }
}

impl<T: Table> Transactional for TableKeyValueStore<T> {
    fn stage(&self, sink: &mut dyn RowSink) {
        self.table.stage(None, sink);
    }

    fn committed(&mut self) -> Result<()> {
        self.table.committed(None)
    }

    fn may_wait(&self) -> bool {
        self.table.may_wait()
    }

    fn committed_in_memory(&mut self) {
        self.table.committed_in_memory(None);
    }

    fn sorted_bytes(&self) -> Option<usize> {
        self.table.sorted_bytes()
    }

    fn restore_in_memory(&mut self, changes: &[Change<'_>]) -> Result<bool> {
        if !self.table.may_restore_in_memory() {
            return Ok(false);
        }
        for changes in changes.chunks(touch::AT_ONCE) {
            let mut keys = [&[][..]; touch::AT_ONCE];
            for (key, change) in keys.iter_mut().zip(changes) {
                *key = change.key;
            }
            self.table.prefetch(&keys[..changes.len()]);
            for change in changes {
                self.table.restore_in_memory(change.key, change.value);
            }
        }
        Ok(true)
    }

    fn rollback(&mut self) {
        self.table.rollback();
    }

    fn uncommitted_bytes(&self) -> usize {
        self.table.uncommitted_bytes()
    }

    fn restore(&mut self, changes: &[Change<'_>], sink: &mut dyn RowSink) -> Result<()> {
        for change in changes {
            self.table.restore(change.key, change.value, sink)?;
        }
        Ok(())
    }
}
