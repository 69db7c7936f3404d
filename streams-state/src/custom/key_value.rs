//! `CustomKeyValueTable`: a user's key-value store as a [`Table`].

use crate::merge::merge;
use crate::overlay::Overlay;
use crate::table::{Cursor, Row, RowRange, RowSink, Table};
use crate::{Entries, KeyValueStore, Order, Result};

/// A user's key-value store, with the uncommitted writes in front.
pub(crate) struct CustomKeyValueTable {
    overlay: Overlay,
    store: Box<dyn KeyValueStore>,
}

impl CustomKeyValueTable {
    pub fn new(store: Box<dyn KeyValueStore>) -> Self {
        Self {
            overlay: Overlay::default(),
            store,
        }
    }

    /// Deletes the committed rows whose keys are smaller than `bound`.
    fn delete_below(&mut self, bound: &[u8]) -> Result<()> {
        let mut dead = Vec::new();
        for entry in self.store.range(None, Some(bound), Order::Forward)? {
            let (key, _) = entry?;
            if key != bound {
                dead.push(key);
            }
        }
        for key in dead {
            self.store.put(&key, None)?;
        }
        Ok(())
    }
}

impl Table for CustomKeyValueTable {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        match self.overlay.get(key) {
            Some(write) => {
                read(write);
                Ok(())
            }
            None => self.store.get_with(key, read),
        }
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        self.store.prefetch(keys)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.overlay.put(key, value);
    }

    fn scan(&self, range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>> {
        merge(&self.overlay, range, order, |range| {
            // The bounds of the store are inclusive: what lies at the upper bound is asked for and left out again.
            let entries = self
                .store
                .range(Some(&range.lower), range.upper.as_deref(), order)?;
            let mut cursor = EntriesCursor {
                entries,
                row: None,
                upper: range.upper,
            };
            cursor.advance()?;
            Ok(Box::new(cursor))
        })
    }

    fn approximate_len(&self) -> Result<u64> {
        Ok(self.store.approximate_len()? + self.overlay.len() as u64)
    }

    fn uncommitted_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    fn stage(&self, _expired: Option<&[u8]>, _sink: &mut dyn RowSink) {}

    fn committed(&mut self, expired: Option<&[u8]>) -> Result<()> {
        for (key, value) in self.overlay.iter() {
            self.store.put(key, value)?;
        }
        self.overlay.clear();
        expired.map_or(Ok(()), |expired| self.delete_below(expired))
    }

    fn rollback(&mut self) {
        self.overlay.clear();
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _sink: &mut dyn RowSink) -> Result<()> {
        self.store.put(key, value)
    }

    fn restore_expired(&mut self, expired: &[u8], _sink: &mut dyn RowSink) -> Result<()> {
        self.delete_below(expired)
    }
}

struct EntriesCursor<'a> {
    entries: Entries<'a>,
    row: Option<(Vec<u8>, Vec<u8>)>,
    upper: Option<Vec<u8>>,
}

impl Cursor for EntriesCursor<'_> {
    fn row(&self) -> Option<Row<'_>> {
        self.row
            .as_ref()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    fn advance(&mut self) -> Result<()> {
        self.row = self.entries.next().transpose()?;
        if let (Some((key, _)), Some(upper)) = (&self.row, &self.upper)
            && key == upper
        {
            self.row = self.entries.next().transpose()?;
        }
        Ok(())
    }
}
