//! A disk for simulations: in memory, and as forgetful as RocksDB without a write-ahead log when its process dies.
//!
//! What the runtime asks of a database is the same as of RocksDB, and so is what survives. Every write is whole or absent.
//! What was written since the last flush may be lost in a crash, from its end: RocksDB flushes all stores of a task together,
//! at moments of its own, so some first writes are there and all later ones are not. Closing flushes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::layout::layout_name;
use crate::merge::merge;
use crate::overlay::Overlay;
use crate::row_budget::FixedBudget;
use crate::table::{
    Cursor, DuplicatesTable, Row, RowRange, RowSink, Table, TableKeyValueStore, TableSessionStore,
    TableVersionedStore, TableWindowStore,
};
use crate::task_store::{TaskStore, Transactional};
use crate::{Order, Result, StoreError, StoreKind, StoreSpec};

/// How much memory the store of one side of a join may take before its rows are written: little, so that it happens.
const ROW_BYTES: usize = 16 << 10;

/// What is about to be done to a [`SimulatedDisk`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOperation<'a> {
    /// The stores of the task in this directory are opened.
    Open(&'a Path),
    /// Rows and positions are written at once.
    Write {
        /// The directory of the task.
        directory: &'a Path,
        /// The stores whose positions are written, by name, with the new position.
        positions: &'a [(String, i64)],
    },
    /// Everything written before is brought to disk.
    Flush(&'a Path),
    /// The stores of the task in this directory are deleted.
    Wipe(&'a Path),
}

/// What a store on a [`SimulatedDisk`] holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulatedStore {
    /// The next offset of its changelog, once there is one.
    pub position: Option<i64>,
    /// Its rows, as the store lays them out.
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

type Watch = dyn Fn(&DiskOperation<'_>) -> Result<()> + Send + Sync;

/// A disk for the stores of the tasks of one process, for simulations: see
/// [`StoreResources::simulated`](crate::StoreResources::simulated). Cheap to clone; clones are the same disk.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use streams_state::{SimulatedDisk, StoreBackend, StoreResources, StoreSpec, TaskStores};
///
/// let disk = SimulatedDisk::new(|_operation| Ok(()));
/// let resources = StoreResources::simulated(&disk);
/// let specs = [StoreSpec::key_value("counts", StoreBackend::RocksDb)];
/// let directory = Path::new("0_0");
/// let mut stores = TaskStores::open(Some(directory), &specs, &resources)?;
/// for position in 1..=3 {
///     stores.key_value_mut(0).put(b"ape", Some(&[position as u8]))?;
///     stores.commit(&[Some(position)])?;
/// }
///
/// // The process dies: of three writes that were not flushed the first two have reached the disk.
/// disk.crash(|writes| { assert_eq!(writes, 3); 2 });
/// let stores = TaskStores::open(Some(directory), &specs, &resources)?;
/// assert_eq!(stores.position(0), Some(2));
/// assert_eq!(stores.key_value(0).get(b"ape")?, Some(vec![2]));
/// # Ok::<(), streams_state::StoreError>(())
/// ```
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Disk>);

struct Disk {
    databases: Mutex<BTreeMap<PathBuf, Arc<Mutex<Contents>>>>,
    watch: Box<Watch>,
}

/// What is in the database of one task. Stores go by the names of their layouts.
#[derive(Default)]
struct Contents {
    /// What a crash leaves in any case.
    durable: BTreeMap<String, SimulatedStore>,
    /// The writes since, oldest first.
    unflushed: Vec<Batch>,
    /// Both together: what the process sees.
    seen: BTreeMap<String, SimulatedStore>,
    is_open: bool,
    /// How many processes have died on it: what they had open writes no more.
    crashes: u64,
}

#[derive(Clone)]
struct Batch(Vec<(String, Write)>);

#[derive(Clone)]
enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteBelow(Vec<u8>),
    Position(i64),
}

impl Batch {
    fn apply(self, stores: &mut BTreeMap<String, SimulatedStore>) {
        for (name, write) in self.0 {
            let store = stores.entry(name).or_default();
            match write {
                Write::Put(key, value) => {
                    store.rows.insert(key, value);
                }
                Write::Delete(key) => {
                    store.rows.remove(&key);
                }
                Write::DeleteBelow(bound) => store.rows = store.rows.split_off(&bound),
                Write::Position(position) => store.position = Some(position),
            }
        }
    }
}

impl Contents {
    fn flush(&mut self) {
        self.unflushed.clear();
        self.durable.clone_from(&self.seen);
    }

    /// Loses all but the first `kept` writes since the last flush.
    fn lose_after(&mut self, kept: usize) {
        let mut unflushed = std::mem::take(&mut self.unflushed);
        unflushed.truncate(kept);
        for batch in unflushed {
            batch.apply(&mut self.durable);
        }
        self.seen.clone_from(&self.durable);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid between any two statements, so a crash elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedDisk {
    /// An empty disk. `watch` is told of everything that is about to be done: when it returns an error, that becomes of it
    /// instead, as with a disk that is full.
    pub fn new(
        watch: impl Fn(&DiskOperation<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Disk {
            databases: Mutex::default(),
            watch: Box::new(watch),
        }))
    }

    /// The process dies. `kept` is told for each task how many writes have not been flushed, and says how many of the first of
    /// them have reached the disk. What was open does nothing from now on and may be dropped.
    pub fn crash(&self, mut kept: impl FnMut(usize) -> usize) {
        for contents in lock(&self.0.databases).values() {
            let mut contents = lock(contents);
            let unflushed = contents.unflushed.len();
            contents.lose_after(kept(unflushed));
            contents.is_open = false;
            contents.crashes += 1;
        }
    }

    /// The directories of tasks that have stores on this disk, in order.
    pub fn directories(&self) -> Vec<PathBuf> {
        lock(&self.0.databases).keys().cloned().collect()
    }

    /// What a store in the directory of a task holds, be it flushed or not; `None` when it is not there.
    pub fn store(&self, directory: &Path, spec: &StoreSpec) -> Option<SimulatedStore> {
        let contents = lock(&self.0.databases).get(directory).cloned()?;
        let contents = lock(&contents);
        contents.seen.get(&layout_name(spec)).cloned()
    }

    pub(crate) fn open(&self, directory: &Path, specs: &[&StoreSpec]) -> Result<SimulatedDatabase> {
        (self.0.watch)(&DiskOperation::Open(directory))?;
        let contents = Arc::clone(
            lock(&self.0.databases)
                .entry(directory.to_owned())
                .or_default(),
        );
        let crashes = {
            let mut contents = lock(&contents);
            if contents.is_open {
                return Err(StoreError::locked(format!(
                    "{} is open already",
                    directory.display()
                )));
            }
            contents.is_open = true;
            let wanted: BTreeSet<String> = specs.iter().map(|spec| layout_name(spec)).collect();
            contents.seen.retain(|name, _| wanted.contains(name));
            for name in wanted {
                contents.seen.entry(name).or_default();
            }
            contents.flush();
            contents.crashes
        };
        Ok(SimulatedDatabase {
            disk: self.clone(),
            directory: directory.to_owned(),
            contents,
            crashes,
        })
    }

    pub(crate) fn wipe(&self, directory: &Path) -> Result<()> {
        (self.0.watch)(&DiskOperation::Wipe(directory))?;
        lock(&self.0.databases).remove(directory);
        Ok(())
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk")
            .field("directories", &self.directories())
            .finish()
    }
}

/// The database of one task on a simulated disk.
pub(crate) struct SimulatedDatabase {
    disk: SimulatedDisk,
    directory: PathBuf,
    contents: Arc<Mutex<Contents>>,
    /// Of the contents, when it was opened.
    crashes: u64,
}

impl SimulatedDatabase {
    pub fn open_store(&self, spec: &StoreSpec) -> Result<TaskStore> {
        let table = SimulatedTable {
            overlay: Overlay::default(),
            name: layout_name(spec),
            contents: Arc::clone(&self.contents),
        };
        Ok(match &spec.kind {
            StoreKind::KeyValue => TaskStore::KeyValue(Box::new(TableKeyValueStore::new(table))),
            StoreKind::Window(window) => {
                if window.retain_duplicates {
                    let budget = FixedBudget(ROW_BYTES);
                    let table = DuplicatesTable::new(table, window.row_layout(), budget);
                    TaskStore::Window(Box::new(TableWindowStore::new(table, window)?))
                } else {
                    TaskStore::Window(Box::new(TableWindowStore::new(table, window)?))
                }
            }
            StoreKind::Session(session) => {
                TaskStore::Session(Box::new(TableSessionStore::new(table, session)?))
            }
            StoreKind::Versioned(versioned) => {
                TaskStore::Versioned(Box::new(TableVersionedStore::new(table, versioned)?))
            }
        })
    }

    pub fn position(&self, spec: &StoreSpec) -> Option<i64> {
        lock(&self.contents)
            .seen
            .get(&layout_name(spec))
            .and_then(|store| store.position)
    }

    pub fn write<'a>(
        &self,
        stores: impl IntoIterator<Item = (&'a StoreSpec, &'a dyn Transactional, Option<i64>)>,
    ) -> Result<()> {
        let mut batch = Batch(Vec::new());
        let mut positions = Vec::new();
        for (spec, store, position) in stores {
            let name = layout_name(spec);
            store.stage(&mut BatchSink {
                batch: &mut batch,
                name: &name,
            });
            if let Some(position) = position {
                positions.push((spec.name.clone(), position));
                batch.0.push((name, Write::Position(position)));
            }
        }
        self.write_batch(batch, &positions)
    }

    pub fn restore(
        &self,
        spec: &StoreSpec,
        position: i64,
        write: impl FnOnce(&mut dyn RowSink) -> Result<()>,
    ) -> Result<()> {
        let name = layout_name(spec);
        let mut batch = Batch(Vec::new());
        write(&mut BatchSink {
            batch: &mut batch,
            name: &name,
        })?;
        batch.0.push((name, Write::Position(position)));
        self.write_batch(batch, &[(spec.name.clone(), position)])
    }

    fn write_batch(&self, batch: Batch, positions: &[(String, i64)]) -> Result<()> {
        if batch.0.is_empty() {
            return Ok(());
        }
        (self.disk.0.watch)(&DiskOperation::Write {
            directory: &self.directory,
            positions,
        })?;
        let mut contents = lock(&self.contents);
        if contents.crashes == self.crashes {
            batch.clone().apply(&mut contents.seen);
            contents.unflushed.push(batch);
        }
        Ok(())
    }

    pub fn close(self) -> Result<()> {
        let flushed = (self.disk.0.watch)(&DiskOperation::Flush(&self.directory));
        if flushed.is_err() {
            let mut contents = lock(&self.contents);
            if contents.crashes == self.crashes {
                contents.lose_after(0);
            }
        }
        flushed
    }
}

impl Drop for SimulatedDatabase {
    /// RocksDB flushes what it has, too, when it is dropped.
    fn drop(&mut self) {
        let mut contents = lock(&self.contents);
        if contents.crashes == self.crashes {
            contents.flush();
            contents.is_open = false;
        }
    }
}

struct BatchSink<'a> {
    batch: &'a mut Batch,
    name: &'a str,
}

impl BatchSink<'_> {
    fn push(&mut self, write: Write) {
        self.batch.0.push((self.name.to_owned(), write));
    }
}

impl RowSink for BatchSink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(Write::Put(key.to_vec(), value.to_vec()));
    }

    fn delete(&mut self, key: &[u8]) {
        self.push(Write::Delete(key.to_vec()));
    }

    fn delete_below(&mut self, bound: &[u8]) {
        self.push(Write::DeleteBelow(bound.to_vec()));
    }
}

/// The rows of one store, under the uncommitted ones.
struct SimulatedTable {
    overlay: Overlay,
    name: String,
    contents: Arc<Mutex<Contents>>,
}

impl SimulatedTable {
    fn with_rows<T>(&self, read: impl FnOnce(&BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> T {
        static NONE: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let contents = lock(&self.contents);
        let store = contents.seen.get(&self.name);
        read(store.map_or(&NONE, |store| &store.rows))
    }
}

impl Table for SimulatedTable {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        if let Some(write) = self.overlay.get(key) {
            read(write);
            return Ok(());
        }
        let value = self.with_rows(|rows| rows.get(key).cloned());
        read(value.as_deref());
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.overlay.put(key, value);
    }

    fn scan(&self, range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>> {
        merge(&self.overlay, range, order, |range| {
            let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
            let mut rows: Vec<_> =
                self.with_rows(|rows| rows.range::<[u8], _>(range.bounds()).map(owned).collect());
            // Taken from the end.
            if order == Order::Forward {
                rows.reverse();
            }
            Ok(Box::new(SimulatedCursor { rows }))
        })
    }

    fn approximate_len(&self) -> Result<u64> {
        Ok(self.with_rows(BTreeMap::len) as u64 + self.overlay.len() as u64)
    }

    fn uncommitted_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    fn stage(&self, expired: Option<&[u8]>, sink: &mut dyn RowSink) {
        self.overlay.stage(expired, sink);
    }

    fn committed(&mut self, _expired: Option<&[u8]>) -> Result<()> {
        self.overlay.clear();
        Ok(())
    }

    fn rollback(&mut self) {
        self.overlay.clear();
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

struct SimulatedCursor {
    /// The row it stands on, last; the next ones before it.
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Cursor for SimulatedCursor {
    fn row(&self) -> Option<Row<'_>> {
        self.rows
            .last()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    fn advance(&mut self) -> Result<()> {
        self.rows.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StoreBackend, StoreErrorKind, StoreResources, TaskStores};
    use std::sync::atomic::{AtomicBool, Ordering};

    const DIRECTORY: &str = "0_0";

    fn open(disk: &SimulatedDisk) -> TaskStores {
        let specs = ["left", "right"].map(|name| StoreSpec::key_value(name, StoreBackend::RocksDb));
        let resources = StoreResources::simulated(disk);
        TaskStores::open(Some(Path::new(DIRECTORY)), &specs, &resources).unwrap()
    }

    fn commit(stores: &mut TaskStores, positions: std::ops::RangeInclusive<i64>) {
        for position in positions {
            for index in 0..2 {
                let store = stores.key_value_mut(index);
                store.put(&[position as u8], Some(b"x")).unwrap();
            }
            stores.commit(&[Some(position); 2]).unwrap();
        }
    }

    /// How far both stores are; each has a row for every position up to there.
    fn position(stores: &TaskStores) -> i64 {
        let position = stores.position(0).unwrap_or(0);
        assert_eq!(stores.position(1).unwrap_or(0), position);
        for index in 0..2 {
            let rows = stores.key_value(index).range(None, None, Order::Backward);
            let keys: Vec<u8> = rows.unwrap().map(|row| row.unwrap().0[0]).collect();
            assert_eq!(keys, (1..=position as u8).rev().collect::<Vec<_>>());
        }
        position
    }

    #[test]
    fn a_crash_keeps_what_was_flushed_and_whole_writes_behind_it() {
        let disk = SimulatedDisk::new(|_| Ok(()));
        let mut stores = open(&disk);
        commit(&mut stores, 1..=3);
        stores.close().unwrap();
        let mut stores = open(&disk);
        commit(&mut stores, 4..=7);
        stores.key_value_mut(0).put(b"lost", Some(b"1")).unwrap();
        disk.crash(|unflushed| unflushed - 1);
        // What the dead process still holds changes nothing.
        stores.commit(&[Some(99); 2]).unwrap();
        stores.close().unwrap();
        let stores = open(&disk);
        assert_eq!(position(&stores), 6);
        disk.crash(|_| 0);
        assert_eq!(position(&open(&disk)), 6);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_closing_on_it_loses_what_was_not_flushed() {
        let full = Arc::new(AtomicBool::new(false));
        let disk = {
            let full = Arc::clone(&full);
            SimulatedDisk::new(move |_| match full.load(Ordering::Relaxed) {
                true => Err(StoreError::io("no space left")),
                false => Ok(()),
            })
        };
        let mut stores = open(&disk);
        commit(&mut stores, 1..=2);
        full.store(true, Ordering::Relaxed);
        for index in 0..2 {
            stores.key_value_mut(index).put(&[3], Some(b"x")).unwrap();
        }
        let error = stores.commit(&[Some(3); 2]).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Io);
        full.store(false, Ordering::Relaxed);
        stores.commit(&[Some(3); 2]).unwrap();
        assert_eq!(position(&stores), 3);
        full.store(true, Ordering::Relaxed);
        assert!(stores.close().is_err());
        full.store(false, Ordering::Relaxed);
        assert_eq!(position(&open(&disk)), 0);
    }

    #[test]
    fn a_task_is_open_once() {
        let disk = SimulatedDisk::new(|_| Ok(()));
        let stores = open(&disk);
        let specs = [StoreSpec::key_value("left", StoreBackend::RocksDb)];
        let resources = StoreResources::simulated(&disk);
        let again = TaskStores::open(Some(Path::new(DIRECTORY)), &specs, &resources);
        assert_eq!(again.err().unwrap().kind(), StoreErrorKind::Locked);
        drop(stores);
        assert!(TaskStores::open(Some(Path::new(DIRECTORY)), &specs, &resources).is_ok());
        assert!(disk.store(Path::new(DIRECTORY), &specs[0]).is_some());
        let dropped = StoreSpec::key_value("right", StoreBackend::RocksDb);
        assert_eq!(disk.store(Path::new(DIRECTORY), &dropped), None);
    }
}
