//! `RocksDbTable`: the rows of one store, in its column family, under the uncommitted ones.

use std::sync::Arc;

use ::rocksdb::{ColumnFamily, DB, DBRawIterator, Error, ReadOptions, SstFileWriter, WriteBatch};

use super::memory::RowMemory;
use super::store_error;
use crate::merge::merge;
use crate::overlay::Overlay;
use crate::row_budget::RowBudget;
use crate::table::{Cursor, Row, RowRange, RowSink, Table};
use crate::{Order, Result};

/// What an estimate of the number of rows is called.
const ROWS_ESTIMATE: &str = "rocksdb.estimate-num-keys";

/// The rows of one store on disk.
pub(super) struct RocksDbTable {
    overlay: Overlay,
    memory: RowMemory,
    column_family: String,
    db: Arc<DB>,
}

impl RocksDbTable {
    /// The column family must exist in `db`.
    pub fn new(db: Arc<DB>, column_family: String, memory: RowMemory) -> Self {
        Self {
            overlay: Overlay::default(),
            memory,
            column_family,
            db,
        }
    }

    fn column_family(&self) -> &ColumnFamily {
        column_family(&self.db, &self.column_family)
    }
}

/// A column family that was created when the database was opened.
pub(super) fn column_family<'a>(db: &'a DB, name: &str) -> &'a ColumnFamily {
    db.cf_handle(name)
        .expect("column families are created and dropped only while the database is opened")
}

impl Table for RocksDbTable {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        if let Some(write) = self.overlay.get(key) {
            read(write);
            return Ok(());
        }
        get_with(&self.db, self.column_family(), key, read)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.overlay.put(key, value);
        self.memory.note(self.overlay.bytes());
    }

    fn scan(&self, range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>> {
        merge(&self.overlay, range, order, |range| {
            scan(&self.db, self.column_family(), range, order)
        })
    }

    fn approximate_len(&self) -> Result<u64> {
        let on_disk = approximate_len(&self.db, self.column_family())?;
        Ok(on_disk + self.overlay.len() as u64)
    }

    fn uncommitted_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    fn stage(&self, expired: Option<&[u8]>, sink: &mut dyn RowSink) {
        self.overlay.stage(expired, sink);
    }

    fn committed(&mut self, _expired: Option<&[u8]>) -> Result<()> {
        self.rollback();
        Ok(())
    }

    fn rollback(&mut self) {
        self.overlay.clear();
        self.memory.note(0);
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, sink: &mut dyn RowSink) -> Result<()> {
        match value {
            Some(value) => sink.put(key, value),
            None => sink.delete(key),
        }
        Ok(())
    }

    fn restore_expired(&mut self, expired: &[u8], sink: &mut dyn RowSink) -> Result<()> {
        sink.delete_below(expired);
        Ok(())
    }
}

/// Reads a committed row.
pub(super) fn get_with(
    db: &DB,
    column_family: &ColumnFamily,
    key: &[u8],
    read: &mut dyn FnMut(Option<&[u8]>),
) -> Result<()> {
    let value = db
        .get_pinned_cf(column_family, key)
        .map_err(|error| store_error("read a store", error))?;
    read(value.as_deref());
    Ok(())
}

/// A scan of the committed rows.
pub(super) fn scan<'a>(
    db: &'a DB,
    column_family: &ColumnFamily,
    range: RowRange,
    order: Order,
) -> Result<Box<dyn Cursor + 'a>> {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(range.lower);
    if let Some(upper) = range.upper {
        options.set_iterate_upper_bound(upper);
    }
    let mut rows = db.raw_iterator_cf_opt(column_family, options);
    match order {
        Order::Forward => rows.seek_to_first(),
        Order::Backward => rows.seek_to_last(),
    }
    let cursor = RocksDbCursor { rows, order };
    cursor.check()?;
    Ok(Box::new(cursor))
}

/// About how many rows are committed.
pub(super) fn approximate_len(db: &DB, column_family: &ColumnFamily) -> Result<u64> {
    let len = db
        .property_int_value_cf(column_family, ROWS_ESTIMATE)
        .map_err(|error| store_error("read the size of a store", error))?;
    Ok(len.unwrap_or(0))
}

struct RocksDbCursor<'a> {
    rows: DBRawIterator<'a>,
    order: Order,
}

impl RocksDbCursor<'_> {
    /// An iterator that failed looks like one at its end, so the end is asked why.
    fn check(&self) -> Result<()> {
        if self.rows.valid() {
            return Ok(());
        }
        self.rows
            .status()
            .map_err(|error| store_error("scan a store", error))
    }
}

impl Cursor for RocksDbCursor<'_> {
    fn row(&self) -> Option<Row<'_>> {
        self.rows.item()
    }

    fn advance(&mut self) -> Result<()> {
        if self.rows.valid() {
            match self.order {
                Order::Forward => self.rows.next(),
                Order::Backward => self.rows.prev(),
            }
        }
        self.check()
    }
}

/// Puts the rows of one store into the batch of the commit.
pub(super) struct BatchSink<'a> {
    pub batch: &'a mut WriteBatch,
    pub column_family: &'a ColumnFamily,
}

impl RowSink for BatchSink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.column_family, key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.batch.delete_cf(self.column_family, key);
    }

    fn delete_below(&mut self, bound: &[u8]) {
        self.batch
            .delete_range_cf(self.column_family, [].as_slice(), bound);
    }
}

/// Puts the rows of one store into a file, in the order of their keys.
pub(super) struct FileSink<'a> {
    pub file: SstFileWriter<'a>,
    /// The first failure.
    pub written: std::result::Result<(), Error>,
    /// For what a file cannot hold; written behind it.
    pub batch: BatchSink<'a>,
}

impl RowSink for FileSink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        if self.written.is_ok() {
            self.written = self.file.put(key, value);
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if self.written.is_ok() {
            self.written = self.file.delete(key);
        }
    }

    fn delete_below(&mut self, bound: &[u8]) {
        self.batch.delete_below(bound);
    }
}
