//! `KeyValueTable`: the rows of a key-value store, the recent ones in memory, the others in its column family.
//!
//! A store that is scanned needs its rows in order. So a scan moves what waits into two sorted overlays, one for what is
//! committed and one for what is not, and a store that has not been scanned between two commits goes back to a table that is
//! read and written without searching.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use ::rocksdb::{ColumnFamily, DB};

use super::memory::RowMemory;
use super::recent_rows::{Known, RecentRows};
use super::table::{approximate_len, column_family, get_with, scan};
use crate::merge::merge;
use crate::overlay::Overlay;
use crate::row_budget::RowBudget;
use crate::table::{Cursor, RowRange, RowSink, Table};
use crate::{Order, Result};

/// The rows of one key-value store.
pub(super) struct KeyValueTable {
    recent: RefCell<RecentRows>,
    /// Instead of `recent` while the store is scanned.
    sorted: OnceCell<Sorted>,
    was_scanned: Cell<bool>,
    /// Whether rows that are read are kept no more before the next commit: all memory is taken by what waits.
    is_full: Cell<bool>,
    memory: RowMemory,
    column_family: String,
    db: Arc<DB>,
}

/// What the disk does not have, in order.
#[derive(Default)]
struct Sorted {
    waiting: Overlay,
    uncommitted: Overlay,
}

impl KeyValueTable {
    /// The column family must exist in `db`.
    pub fn new(db: Arc<DB>, column_family: String, memory: RowMemory) -> Result<Self> {
        let table = Self {
            recent: RefCell::default(),
            sorted: OnceCell::new(),
            was_scanned: Cell::new(false),
            is_full: Cell::new(false),
            memory,
            column_family,
            db,
        };
        let is_empty = scan(
            &table.db,
            table.column_family(),
            RowRange::default(),
            Order::Forward,
        )?
        .row()
        .is_none();
        table.recent.replace(RecentRows::new(is_empty));
        Ok(table)
    }

    fn column_family(&self) -> &ColumnFamily {
        column_family(&self.db, &self.column_family)
    }

    fn sorted(&self) -> &Sorted {
        self.sorted.get_or_init(|| {
            let (waiting, uncommitted) = self.recent.take().into_overlays();
            self.memory.note(0);
            Sorted {
                waiting,
                uncommitted,
            }
        })
    }

    /// Keeps a row that was read, when there is room for it or can be made.
    fn remember(&self, key: &[u8], value: &[u8]) {
        let mut recent = self.recent.borrow_mut();
        let share = self.memory.share();
        if recent.bytes() + key.len() + value.len() > share {
            if self.is_full.get() || recent.has_uncommitted() {
                return;
            }
            recent.shrink(share / 2);
            self.is_full.set(recent.bytes() > share / 4 * 3);
        }
        recent.remember(key, value);
        self.memory.note(recent.held_bytes());
    }

    /// Nothing is uncommitted: keeps to the share.
    fn settle(&mut self) {
        let recent = self.recent.get_mut();
        recent.tidy();
        let share = self.memory.share();
        if recent.bytes() > share {
            recent.shrink(share / 2);
        }
        recent.give_back(share);
        self.is_full.set(false);
        self.memory.note(recent.held_bytes());
    }

    /// Goes back to rows without an order. Nothing waits.
    fn forget_order(&mut self) {
        self.sorted = OnceCell::new();
        self.recent.replace(RecentRows::new(false));
    }
}

impl Table for KeyValueTable {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        if let Some(sorted) = self.sorted.get() {
            let known = sorted.uncommitted.get(key);
            if let Some(write) = known.or_else(|| sorted.waiting.get(key)) {
                read(write);
                return Ok(());
            }
            return get_with(&self.db, self.column_family(), key, read);
        }
        if let Known::Row(row) = self.recent.borrow_mut().get(key) {
            read(row);
            return Ok(());
        }
        get_with(&self.db, self.column_family(), key, &mut |row| {
            if let Some(row) = row {
                self.remember(key, row);
            }
            read(row);
        })
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        match self.sorted.get() {
            Some(_) => 0,
            None => self.recent.borrow().prefetch(keys),
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Some(sorted) = self.sorted.get_mut() {
            sorted.uncommitted.put(key, value);
            return;
        }
        let recent = self.recent.get_mut();
        recent.put(key, value);
        self.memory.note(recent.held_bytes());
    }

    fn scan(&self, range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>> {
        self.was_scanned.set(true);
        let Sorted {
            waiting,
            uncommitted,
        } = self.sorted();
        merge(uncommitted, range, order, |range| {
            merge(waiting, range, order, |range| {
                scan(&self.db, self.column_family(), range, order)
            })
        })
    }

    fn approximate_len(&self) -> Result<u64> {
        let in_memory = match self.sorted.get() {
            Some(sorted) => sorted.uncommitted.len() + sorted.waiting.len(),
            None => self.recent.borrow().waiting_len(),
        };
        Ok(approximate_len(&self.db, self.column_family())? + in_memory as u64)
    }

    fn uncommitted_bytes(&self) -> usize {
        match self.sorted.get() {
            Some(sorted) => sorted.uncommitted.bytes(),
            None => self.recent.borrow().uncommitted_bytes(),
        }
    }

    fn may_wait(&self) -> bool {
        self.sorted.get().is_none() && self.recent.borrow().bytes() <= self.memory.share()
    }

    fn sorted_bytes(&self) -> Option<usize> {
        match self.sorted.get() {
            Some(_) => None,
            None => Some(self.recent.borrow().waiting_bytes()),
        }
    }

    fn stage(&self, expired: Option<&[u8]>, sink: &mut dyn RowSink) {
        match self.sorted.get() {
            Some(sorted) => {
                sorted.waiting.stage(expired, sink);
                sorted.uncommitted.stage(expired, sink);
            }
            None => self.recent.borrow().stage(sink),
        }
    }

    fn committed(&mut self, _expired: Option<&[u8]>) -> Result<()> {
        let was_scanned = self.was_scanned.replace(false);
        if let Some(sorted) = self.sorted.get_mut() {
            if was_scanned {
                sorted.waiting.clear();
                sorted.uncommitted.clear();
            } else {
                self.forget_order();
            }
            return Ok(());
        }
        self.recent.get_mut().written();
        self.settle();
        Ok(())
    }

    fn committed_in_memory(&mut self, _expired: Option<&[u8]>) {
        self.recent.get_mut().committed();
        self.settle();
    }

    fn rollback(&mut self) {
        match self.sorted.get_mut() {
            Some(sorted) => sorted.uncommitted.clear(),
            None => self.recent.get_mut().rollback(),
        }
    }

    fn may_restore_in_memory(&self) -> bool {
        self.may_wait() && !self.recent.borrow().has_uncommitted()
    }

    fn restore_in_memory(&mut self, key: &[u8], value: Option<&[u8]>) {
        let recent = self.recent.get_mut();
        recent.restore(key, value);
        self.memory.note(recent.held_bytes());
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, sink: &mut dyn RowSink) -> Result<()> {
        if self.recent.get_mut().has_waiting() {
            self.sorted();
        }
        if let Some(sorted) = self.sorted.get_mut() {
            // Rows that wait go first, or they would be behind the position that is written with these.
            sorted.waiting.stage(None, sink);
            sorted.waiting.clear();
            if sorted.uncommitted.len() == 0 {
                self.forget_order();
            }
        } else {
            self.recent.get_mut().restore_below(key);
        }
        match value {
            Some(value) => sink.put(key, value),
            None => sink.delete(key),
        }
        Ok(())
    }

    fn restore_expired(&mut self, expired: &[u8], sink: &mut dyn RowSink) -> Result<()> {
        self.sorted();
        sink.delete_below(expired);
        Ok(())
    }
}
