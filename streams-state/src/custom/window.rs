//! `CustomWindowStore`: a user's window store, with the uncommitted writes in front.

use std::collections::BTreeMap;

use crate::key_encoding::{RowLayout, parse_window_changelog_key};
use crate::memory::MemoryTable;
use crate::table::{RowSink, TableWindowStore};
use crate::task_store::Transactional;
use crate::{Change, Order, PutOutcome, Result, WindowEntries, WindowKey, WindowSpec, WindowStore};

/// First byte of an uncommitted write that deletes; nothing follows.
const DELETE: u8 = 0;
/// First byte of an uncommitted write; the value follows.
const VALUE: u8 = 1;

/// A user's window store.
///
/// Uncommitted writes are a window store in memory, which also keeps the time and the sequence, so that retention is
/// what it is for every other backend. Numbers of duplicates are the user store's own once they are committed; only
/// their order counts, and that is the order of the puts.
pub(crate) struct CustomWindowStore {
    uncommitted: TableWindowStore<MemoryTable>,
    store: Box<dyn WindowStore>,
    retain_duplicates: bool,
    layout: RowLayout,
    write: Vec<u8>,
}

impl CustomWindowStore {
    pub fn new(store: Box<dyn WindowStore>, spec: &WindowSpec) -> Result<Self> {
        Ok(Self {
            uncommitted: TableWindowStore::new(MemoryTable::default(), spec)?,
            store,
            retain_duplicates: spec.retain_duplicates,
            layout: RowLayout {
                order: spec.order,
                segment_interval_ms: spec.segment_interval_ms(),
            },
            write: Vec::new(),
        })
    }

    /// The entries of both, as one scan in the order of the layout.
    fn overlay<'a>(
        &self,
        committed: WindowEntries<'a>,
        uncommitted: WindowEntries<'_>,
        order: Order,
    ) -> Result<WindowEntries<'a>> {
        let mut uncommitted = uncommitted.peekable();
        if uncommitted.peek().is_none() {
            return Ok(committed);
        }
        let mut merged = BTreeMap::new();
        for entry in committed {
            let (key, value) = entry?;
            merged.insert(self.place(&key, false), (key, value));
        }
        for entry in uncommitted {
            let (key, write) = entry?;
            let place = self.place(&key, true);
            match decode(&write) {
                Some(value) => merged.insert(place, (key, value.to_vec())),
                None => merged.remove(&place),
            };
        }
        let entries = merged.into_values().map(Ok);
        Ok(match order {
            Order::Forward => Box::new(entries),
            Order::Backward => Box::new(entries.rev()),
        })
    }

    /// Where an entry belongs in a scan. Duplicates that are not committed come behind those that are; without
    /// duplicates both have the same place, so that one replaces the other.
    fn place(&self, key: &WindowKey, uncommitted: bool) -> (Vec<u8>, bool, i32) {
        let mut row = Vec::new();
        self.layout.write_row(&key.key, key.start_ms, 0, &mut row);
        (row, uncommitted && self.retain_duplicates, key.sequence)
    }
}

/// The value of an uncommitted write; `None` when it deletes.
fn decode(write: &[u8]) -> Option<&[u8]> {
    match write.split_first() {
        Some((&VALUE, value)) => Some(value),
        _ => None,
    }
}

impl WindowStore for CustomWindowStore {
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()> {
        if start_ms < self.uncommitted.first_visible_ms() {
            read(None);
            return Ok(());
        }
        let mut found = false;
        self.uncommitted.get_with(key, start_ms, &mut |write| {
            if let Some(write) = write {
                found = true;
                read(decode(write));
            }
        })?;
        if found {
            return Ok(());
        }
        self.store.get_with(key, start_ms, read)
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        self.store.prefetch(keys)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, start_ms: i64) -> Result<PutOutcome> {
        if value.is_none() && self.retain_duplicates {
            return self.uncommitted.put(key, None, start_ms);
        }
        self.write.clear();
        match value {
            Some(value) => {
                self.write.push(VALUE);
                self.write.extend_from_slice(value);
            }
            None => self.write.push(DELETE),
        }
        self.uncommitted.put(key, Some(&self.write), start_ms)
    }

    fn fetch(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        let from_ms = from_ms.max(self.uncommitted.first_visible_ms());
        let committed = self.store.fetch(key, from_ms, to_ms, order)?;
        let uncommitted = self.uncommitted.fetch(key, from_ms, to_ms, order)?;
        self.overlay(committed, uncommitted, order)
    }

    fn fetch_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        let from_ms = from_ms.max(self.uncommitted.first_visible_ms());
        let committed = self.store.fetch_keys(from, to, from_ms, to_ms, order)?;
        let uncommitted = self
            .uncommitted
            .fetch_keys(from, to, from_ms, to_ms, order)?;
        self.overlay(committed, uncommitted, order)
    }

    fn fetch_all(&self, from_ms: i64, to_ms: i64, order: Order) -> Result<WindowEntries<'_>> {
        self.fetch_keys(None, None, from_ms, to_ms, order)
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.uncommitted.observed_time_ms()
    }

    fn first_visible_ms(&self) -> i64 {
        self.uncommitted.first_visible_ms()
    }
}

impl Transactional for CustomWindowStore {
    fn stage(&self, _sink: &mut dyn RowSink) {}

    fn committed(&mut self) -> Result<()> {
        for entry in self.uncommitted.fetch_all(0, i64::MAX, Order::Forward)? {
            let (key, write) = entry?;
            self.store.put(&key.key, decode(&write), key.start_ms)?;
        }
        self.uncommitted.keep_only_progress();
        Ok(())
    }

    fn rollback(&mut self) {
        self.uncommitted.rollback();
    }

    fn uncommitted_bytes(&self) -> usize {
        self.uncommitted.uncommitted_bytes()
    }

    fn restore(&mut self, changes: &[Change<'_>], _sink: &mut dyn RowSink) -> Result<()> {
        for change in changes {
            let (key, start_ms, _) = parse_window_changelog_key(change.key)?;
            if self.uncommitted.observe_restored(start_ms) {
                self.store.put(key, change.value, start_ms)?;
            }
        }
        Ok(())
    }
}
