//! Rows in memory: a sorted map, and what to put back on rollback.

use std::collections::{BTreeMap, HashMap, btree_map};

use crate::table::{Cursor, EmptyCursor, Row, RowRange, RowSink, Table};
use crate::{Order, Result};

/// What an entry to undo takes beside its bytes: two vectors and its share of the table.
const UNDO_OVERHEAD_BYTES: usize = 64;

/// Rows in memory.
///
/// Writes go straight into the map, so a read is one look-up; the first write to a key since the last commit
/// remembers what was there before. That costs less than an overlay, which every read would have to pass first.
#[derive(Default)]
pub(crate) struct MemoryTable {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    undo: HashMap<Vec<u8>, Option<Vec<u8>>>,
    undo_bytes: usize,
}

impl MemoryTable {
    fn remove_below(&mut self, bound: &[u8]) {
        while let Some(first) = self.rows.first_entry()
            && first.key().as_slice() < bound
        {
            first.remove();
        }
    }
}

impl Table for MemoryTable {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        read(self.rows.get(key).map(Vec::as_slice));
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let known = self.undo.contains_key(key);
        let before = match (self.rows.get_mut(key), value) {
            (Some(slot), Some(value)) if known => {
                slot.clear();
                slot.extend_from_slice(value);
                return;
            }
            (Some(slot), Some(value)) => Some(std::mem::replace(slot, value.to_vec())),
            (Some(_), None) => self.rows.remove(key),
            (None, Some(value)) => self.rows.insert(key.to_vec(), value.to_vec()),
            (None, None) => None,
        };
        if !known {
            self.undo_bytes +=
                key.len() + before.as_ref().map_or(0, Vec::len) + UNDO_OVERHEAD_BYTES;
            self.undo.insert(key.to_vec(), before);
        }
    }

    fn scan(&self, range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>> {
        if range.is_empty() {
            return Ok(Box::new(EmptyCursor));
        }
        let mut cursor = MemoryCursor {
            rows: self.rows.range::<[u8], _>(range.bounds()),
            order,
            row: None,
        };
        cursor.advance()?;
        Ok(Box::new(cursor))
    }

    fn approximate_len(&self) -> Result<u64> {
        Ok(self.rows.len() as u64)
    }

    fn uncommitted_bytes(&self) -> usize {
        self.undo_bytes
    }

    fn stage(&self, _expired: Option<&[u8]>, _sink: &mut dyn RowSink) {}

    fn committed(&mut self, expired: Option<&[u8]>) -> Result<()> {
        self.undo.clear();
        self.undo_bytes = 0;
        if let Some(expired) = expired {
            self.remove_below(expired);
        }
        Ok(())
    }

    fn rollback(&mut self) {
        for (key, before) in self.undo.drain() {
            match before {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.undo_bytes = 0;
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _sink: &mut dyn RowSink) -> Result<()> {
        if let Some(before) = self.undo.get_mut(key) {
            *before = value.map(<[u8]>::to_vec);
            return Ok(());
        }
        match value {
            Some(value) => self.rows.insert(key.to_vec(), value.to_vec()),
            None => self.rows.remove(key),
        };
        Ok(())
    }

    fn restore_expired(&mut self, expired: &[u8], _sink: &mut dyn RowSink) -> Result<()> {
        self.undo.retain(|key, _| key.as_slice() >= expired);
        self.remove_below(expired);
        Ok(())
    }
}

struct MemoryCursor<'a> {
    rows: btree_map::Range<'a, Vec<u8>, Vec<u8>>,
    order: Order,
    row: Option<(&'a Vec<u8>, &'a Vec<u8>)>,
}

impl Cursor for MemoryCursor<'_> {
    fn row(&self) -> Option<Row<'_>> {
        self.row
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    fn advance(&mut self) -> Result<()> {
        self.row = match self.order {
            Order::Forward => self.rows.next(),
            Order::Backward => self.rows.next_back(),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::NoSink;

    fn get(table: &MemoryTable, key: &str) -> Option<Vec<u8>> {
        table.rows.get(key.as_bytes()).cloned()
    }

    #[test]
    fn rollback_puts_back_what_the_first_write_found() {
        let mut table = MemoryTable::default();
        table.put(b"a", Some(b"1"));
        table.put(b"b", Some(b"1"));
        table.committed(None).unwrap();

        table.put(b"a", Some(b"2"));
        table.put(b"a", Some(b"3"));
        table.put(b"b", None);
        table.put(b"b", Some(b"2"));
        table.put(b"c", Some(b"1"));
        assert!(table.uncommitted_bytes() > 0);
        table.rollback();

        assert_eq!(get(&table, "a"), Some(b"1".to_vec()));
        assert_eq!(get(&table, "b"), Some(b"1".to_vec()));
        assert_eq!(get(&table, "c"), None);
        assert_eq!(table.uncommitted_bytes(), 0);
    }

    #[test]
    fn restored_rows_lie_below_uncommitted_ones() {
        let mut table = MemoryTable::default();
        table.put(b"a", Some(b"new"));
        table.restore(b"a", Some(b"old"), &mut NoSink).unwrap();
        assert_eq!(get(&table, "a"), Some(b"new".to_vec()));
        table.rollback();
        assert_eq!(get(&table, "a"), Some(b"old".to_vec()));
    }

    #[test]
    fn expired_rows_leave_with_the_commit() {
        let mut table = MemoryTable::default();
        for key in [b"a", b"b", b"c", b"d"] {
            table.put(key, Some(b"1"));
        }
        table.committed(Some(b"c")).unwrap();
        let left: Vec<_> = table.rows.keys().map(Vec::as_slice).collect();
        assert_eq!(left, [b"c", b"d"]);
    }
}
