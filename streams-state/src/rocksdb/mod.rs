//! Stores on disk: one RocksDB for a task, one column family for a store.
//!
//! The column family every database has, `default`, says how far each store has read its changelog: one of its own would be
//! one more set of write buffers and levels in each task, idle or not. It is written in the same batch as the rows and flushed
//! together with them, so after a crash the two still belong together. A flush that names column families flushes these alone,
//! so whoever asks for one names them all ([`Database::flush`]).
//!
//! The name of a column family tells how its rows are laid out. A store whose layout changes is thereby a new store,
//! which begins without a position and is restored from its changelog; rows are never read in a layout they were not
//! written in.

mod key_value;
mod memory;
mod options;
mod recent_rows;
mod table;
mod undo_log;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, Error, ErrorKind, FlushOptions,
    IngestExternalFileOptions, IteratorMode, SstFileWriter, WriteBatch,
};

use self::key_value::KeyValueTable;
pub(crate) use self::memory::SharedMemory;
use self::table::{BatchSink, FileSink, RocksDbTable, column_family};
use crate::layout::layout_name;
use crate::table::{
    DuplicatesTable, POSITION_ROW, RowSink, TableKeyValueStore, TableSessionStore,
    TableVersionedStore, TableWindowStore,
};
use crate::task_store::{TaskStore, Transactional};
use crate::{Result, StoreError, StoreKind, StoreResources, StoreSpec};

/// Where the positions are: the column family every RocksDB has.
const POSITIONS: &str = "default";
/// Where they were in databases of earlier versions.
const POSITIONS_BEFORE: &str = "positions";
/// In front of the name of a column family: its position follows as the value.
const POSITION: &str = "position/";
/// In front of the name of a column family that must not be used any more.
const DROPPING: &str = "dropping/";

/// A file of rows that is about to become one of the database. RocksDB leaves files alone that have no number.
const INGESTED: &str = "ingested.sst";
/// Fewer bytes of rows than this are not worth a file.
const INGESTED_BYTES_MIN: usize = 1 << 20;

/// The database of one task.
pub(crate) struct Database {
    db: Arc<DB>,
    path: PathBuf,
    column_families: BTreeSet<String>,
    memory: SharedMemory,
}

impl Database {
    /// Opens the database at `path` with a column family for each of `specs`, and drops every other.
    pub fn open(path: &Path, specs: &[&StoreSpec], resources: &StoreResources) -> Result<Self> {
        let at_path = |error: Error| {
            store_error("open the stores of a task", error)
                .context(format_args!("{}", path.display()))
        };
        let memory = resources.shared_or_own();
        let options = options::database(&memory, path);
        let existing = existing_column_families(path, &options).map_err(at_path)?;
        let wanted: BTreeSet<_> = specs.iter().map(|spec| layout_name(spec)).collect();

        // What is missing is created here: each by itself would write the database's options anew.
        let descriptors = existing
            .iter()
            .chain(&wanted)
            .map(String::as_str)
            .chain([POSITIONS])
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|name| {
                let options = match name {
                    POSITIONS => options::positions(&memory),
                    _ => options::column_family(&memory),
                };
                ColumnFamilyDescriptor::new(name, options)
            });
        let mut db = DB::open_cf_descriptors(&options, path, descriptors).map_err(at_path)?;
        move_positions(&mut db).map_err(at_path)?;
        drop_unwanted(&mut db, &existing, &wanted).map_err(at_path)?;
        for name in &wanted {
            // One that was half dropped is gone only now.
            if db.cf_handle(name).is_none() {
                db.create_cf(name, &options::column_family(&memory))
                    .map_err(at_path)?;
            }
        }
        let mut column_families = wanted;
        column_families.insert(POSITIONS.to_owned());
        Ok(Self {
            db: Arc::new(db),
            path: path.to_owned(),
            column_families,
            memory,
        })
    }

    /// The store of a spec the database was opened with.
    pub fn open_store(&self, spec: &StoreSpec) -> Result<TaskStore> {
        let name = layout_name(spec);
        let table = || {
            let memory = self.memory.for_writes();
            RocksDbTable::new(Arc::clone(&self.db), name.clone(), memory)
        };
        Ok(match &spec.kind {
            StoreKind::KeyValue => {
                let memory = self.memory.for_rows();
                let table = KeyValueTable::new(Arc::clone(&self.db), name, memory)?;
                TaskStore::KeyValue(Box::new(TableKeyValueStore::new(table)))
            }
            StoreKind::Window(window) if window.retain_duplicates => {
                let memory = self.memory.for_rows();
                let table = DuplicatesTable::new(table(), window.row_layout(), memory);
                TaskStore::Window(Box::new(TableWindowStore::new(table, window)?))
            }
            StoreKind::Window(window) => {
                TaskStore::Window(Box::new(TableWindowStore::new(table(), window)?))
            }
            StoreKind::Session(session) => {
                TaskStore::Session(Box::new(TableSessionStore::new(table(), session)?))
            }
            StoreKind::Versioned(versioned) => {
                TaskStore::Versioned(Box::new(TableVersionedStore::new(table(), versioned)?))
            }
        })
    }

    /// How far a store has read its changelog.
    pub fn position(&self, spec: &StoreSpec) -> Result<Option<i64>> {
        let name = layout_name(spec);
        let position = self.position_at(spec, self.positions(), &position_key(&name))?;
        match &spec.kind {
            StoreKind::Window(window) if window.retain_duplicates => {
                // The later of the two is the one that was written last.
                let rows = column_family(&self.db, &name);
                Ok(position.max(self.position_at(spec, rows, &POSITION_ROW)?))
            }
            _ => Ok(position),
        }
    }

    fn position_at(
        &self,
        spec: &StoreSpec,
        column_family: &ColumnFamily,
        key: &[u8],
    ) -> Result<Option<i64>> {
        let value = self
            .db
            .get_cf(column_family, key)
            .map_err(|error| store_error("read a position", error))?;
        value
            .map(|bytes| match bytes.as_slice().try_into() {
                Ok(bytes) => Ok(i64::from_be_bytes(bytes)),
                Err(_) => Err(StoreError::corruption(format!(
                    "the position of store `{}` has {} bytes instead of 8",
                    spec.name,
                    bytes.len()
                ))),
            })
            .transpose()
    }

    /// Whether rows and uncommitted writes of all stores of the process take more than they may.
    pub fn is_memory_over(&self) -> bool {
        self.memory.is_over()
    }

    /// Writes what is uncommitted in the stores, together with their positions, in one batch.
    pub fn write<'a>(
        &self,
        stores: impl IntoIterator<Item = (&'a StoreSpec, &'a dyn Transactional, Option<i64>)>,
    ) -> Result<()> {
        let mut batch = WriteBatch::default();
        let mut ingested = false;
        for (spec, store, position) in stores {
            let name = layout_name(spec);
            let column_family = column_family(&self.db, &name);
            if store
                .sorted_bytes()
                .is_some_and(|bytes| bytes >= INGESTED_BYTES_MIN)
            {
                self.ingest(&mut batch, column_family, store, position)?;
                ingested = true;
            } else {
                store.stage(&mut BatchSink {
                    batch: &mut batch,
                    column_family,
                });
            }
            if let Some(position) = position {
                self.put_position(&mut batch, &name, position);
            }
        }
        self.write_batch(batch)?;
        if ingested {
            // These rows survive a crash, so that their position had better. It takes along the rows of the other stores, whose
            // positions are beside it.
            self.flush()
                .map_err(|error| store_error("commit the stores of a task", error))?;
        }
        Ok(())
    }

    /// Writes many rows as a file of their own, past the write buffers and the sorting there, and deletions by range to `batch`.
    ///
    /// They are on disk before their position is. After a crash in between, the changelog is read from an earlier position over
    /// them, and ends at the same rows; where it would not, the file has the position as well, and what came before is brought to
    /// disk first. The opposite order would lose rows.
    fn ingest<'a>(
        &'a self,
        batch: &mut WriteBatch,
        column_family: &'a ColumnFamily,
        store: &dyn Transactional,
        position: Option<i64>,
    ) -> Result<()> {
        let failed = |error| store_error("write the rows of a store", error);
        let position = store.position_row().zip(position);
        if position.is_some() {
            self.flush().map_err(failed)?;
        }
        let path = self.path.join(INGESTED);
        let options = options::ingested(&self.memory);
        let file = SstFileWriter::create(&options);
        file.open(&path).map_err(failed)?;
        let mut sink = FileSink {
            file,
            written: Ok(()),
            batch: BatchSink {
                batch,
                column_family,
            },
        };
        store.stage(&mut sink);
        if let Some((row, position)) = position {
            sink.put(row, &position.to_be_bytes());
        }
        sink.written.map_err(failed)?;
        sink.file.finish().map_err(failed)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db
            .ingest_external_file_cf_opts(column_family, &options, vec![&path])
            .map_err(failed)
    }

    /// Writes what `write` hands to the sink of a store, together with its position, in one batch.
    pub fn restore(
        &self,
        spec: &StoreSpec,
        position: i64,
        write: impl FnOnce(&mut dyn RowSink) -> Result<()>,
    ) -> Result<()> {
        let name = layout_name(spec);
        let mut batch = WriteBatch::default();
        write(&mut BatchSink {
            batch: &mut batch,
            column_family: column_family(&self.db, &name),
        })?;
        self.put_position(&mut batch, &name, position);
        self.write_batch(batch)
    }

    /// Brings everything to disk and closes the database. Every store must have been dropped.
    pub fn close(self) -> Result<()> {
        self.flush()
            .map_err(|error| store_error("close the stores of a task", error))
    }

    /// Brings rows and positions to disk, all of them or none.
    fn flush(&self) -> std::result::Result<(), Error> {
        let handles: Vec<_> = self
            .column_families
            .iter()
            .map(|name| column_family(&self.db, name))
            .collect();
        let handles: Vec<_> = handles.iter().collect();
        self.db.flush_cfs_opt(&handles, &FlushOptions::default())
    }

    fn positions(&self) -> &ColumnFamily {
        column_family(&self.db, POSITIONS)
    }

    fn put_position(&self, batch: &mut WriteBatch, name: &str, position: i64) {
        batch.put_cf(self.positions(), position_key(name), position.to_be_bytes());
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.db
            .write_opt(batch, &options::write())
            .map_err(|error| store_error("commit the stores of a task", error))
    }
}

fn position_key(name: &str) -> Vec<u8> {
    [POSITION, name].concat().into_bytes()
}

fn existing_column_families(
    path: &Path,
    options: &::rocksdb::Options,
) -> std::result::Result<Vec<String>, Error> {
    // RocksDB has this file as soon as, and as long as, there is a database.
    if path.join("CURRENT").exists() {
        DB::list_cf(options, path)
    } else {
        Ok(Vec::new())
    }
}

/// Brings positions from where they were in databases of earlier versions to where they are.
fn move_positions(db: &mut DB) -> std::result::Result<(), Error> {
    let Some(before) = db.cf_handle(POSITIONS_BEFORE) else {
        return Ok(());
    };
    let positions = column_family(db, POSITIONS);
    let mut batch = WriteBatch::default();
    for row in db.iterator_cf(before, IteratorMode::Start) {
        let (key, value) = row?;
        batch.put_cf(positions, key, value);
    }
    db.write_opt(batch, &options::write())?;
    db.flush_cf(positions)?;
    db.drop_cf(POSITIONS_BEFORE)
}

/// Drops every column family of a store that is not wanted.
///
/// A position must never outlive its rows, or a store of the same name that comes back would be empty and believe it
/// is up to date. So positions go first, for good, with a note that the rows are not to be used; a crash in between
/// leaves the note, and the next start goes on.
fn drop_unwanted(
    db: &mut DB,
    existing: &[String],
    wanted: &BTreeSet<String>,
) -> std::result::Result<(), Error> {
    let unwanted = existing
        .iter()
        .filter(|name| ![POSITIONS, POSITIONS_BEFORE].contains(&name.as_str()))
        .filter(|name| !wanted.contains(*name));
    let mut dropping: BTreeSet<String> = unwanted.cloned().collect();
    dropping.extend(noted_as_dropping(db)?);
    if dropping.is_empty() {
        return Ok(());
    }

    let mut batch = WriteBatch::default();
    for name in &dropping {
        batch.delete_cf(column_family(db, POSITIONS), position_key(name));
        batch.put_cf(column_family(db, POSITIONS), [DROPPING, name].concat(), []);
    }
    db.write_opt(batch, &options::write())?;
    db.flush_cf(column_family(db, POSITIONS))?;

    for name in &dropping {
        if db.cf_handle(name).is_some() {
            db.drop_cf(name)?;
        }
    }

    let mut batch = WriteBatch::default();
    for name in &dropping {
        batch.delete_cf(column_family(db, POSITIONS), [DROPPING, name].concat());
    }
    db.write_opt(batch, &options::write())?;
    db.flush_cf(column_family(db, POSITIONS))
}

fn noted_as_dropping(db: &DB) -> std::result::Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for row in db.iterator_cf(column_family(db, POSITIONS), IteratorMode::Start) {
        let (key, _) = row?;
        if let Some(name) = key.strip_prefix(DROPPING.as_bytes()) {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// An error of RocksDB as one of ours.
#[cold]
#[inline(never)]
fn store_error(what: &str, error: Error) -> StoreError {
    let message = format!("cannot {what}");
    let build = match error.kind() {
        ErrorKind::Corruption => StoreError::corruption,
        ErrorKind::InvalidArgument => StoreError::invalid_argument,
        // The lock file is the only one RocksDB fails on with these words.
        _ if error.as_ref().contains("lock file") || error.as_ref().contains("lock hold by") => {
            StoreError::locked
        }
        _ => StoreError::io,
    };
    build(message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Order, WindowOrder, WindowSpec};

    #[test]
    fn positions_are_found_where_earlier_versions_have_them() {
        let spec = StoreSpec::key_value("counts", crate::StoreBackend::RocksDb);
        let (name, resources) = (layout_name(&spec), StoreResources::new(8 << 20));
        let directory = tempfile::tempdir().unwrap();
        let options = options::database(&resources.shared_or_own(), directory.path());
        let before = DB::open_cf(&options, directory.path(), [&name, POSITIONS_BEFORE]).unwrap();
        let mut batch = WriteBatch::default();
        batch.put_cf(column_family(&before, &name), b"ape", b"1");
        batch.put_cf(
            column_family(&before, POSITIONS_BEFORE),
            position_key(&name),
            7_i64.to_be_bytes(),
        );
        before.write_opt(batch, &options::write()).unwrap();
        drop(before);

        for _ in 0..2 {
            let database = Database::open(directory.path(), &[&spec], &resources).unwrap();
            assert_eq!(database.position(&spec).unwrap(), Some(7));
            let TaskStore::KeyValue(store) = database.open_store(&spec).unwrap() else {
                unreachable!("it is a key-value store")
            };
            assert_eq!(store.get(b"ape").unwrap(), Some(b"1".to_vec()));
            drop(store);
            database.close().unwrap();
        }
    }

    /// Rows of a join's store: an early one that is written to memory, then many later ones that go to a file.
    #[test]
    fn a_crash_before_the_positions_are_written_loses_no_row_in_front_of_a_file() {
        const RETENTION_MS: i64 = 1_000_000;
        let window = WindowSpec {
            retention_ms: RETENTION_MS,
            window_size_ms: 10,
            retain_duplicates: true,
            order: WindowOrder::ByKey,
        };
        let spec = StoreSpec::window("join", window, crate::StoreBackend::RocksDb);
        let resources = StoreResources::new(8 << 20);
        let (lived, died) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = |path: &Path| {
            let database = Database::open(path, &[&spec], &resources).unwrap();
            let store = database.open_store(&spec).unwrap();
            (database, store)
        };
        let put = |store: &mut TaskStore, key: &str, time_ms: i64| {
            let TaskStore::Window(store) = store else {
                unreachable!("it is a window store")
            };
            store
                .put(key.as_bytes(), Some(&[b'v'; 256]), time_ms)
                .unwrap();
        };

        let (database, mut store) = open(lived.path());
        put(&mut store, "early", 1);
        database
            .write([(&spec, store.transactional(), Some(1))])
            .unwrap();
        store.transactional_mut().committed().unwrap();
        for number in 0..100 {
            // In a later segment, so that their file does not overlap with the early row.
            put(&mut store, &format!("late-{number}"), RETENTION_MS - 100);
        }
        let mut batch = WriteBatch::default();
        let rows = column_family(&database.db, &layout_name(&spec));
        database
            .ingest(&mut batch, rows, store.transactional(), Some(101))
            .unwrap();

        // What a process leaves that dies here.
        for entry in std::fs::read_dir(lived.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            std::fs::copy(&path, died.path().join(name)).unwrap();
        }
        let (database, store) = open(died.path());
        assert_eq!(database.position(&spec).unwrap(), Some(101));
        let TaskStore::Window(store) = &store else {
            unreachable!("it is a window store")
        };
        assert_eq!(
            store
                .fetch(b"early", 0, 10, Order::Forward)
                .unwrap()
                .count(),
            1
        );
        let late = store
            .fetch(b"late-99", 0, RETENTION_MS, Order::Forward)
            .unwrap();
        assert_eq!(late.count(), 1);
    }
}
