//! `TaskStores`: all stores of one task, opened together and committed together.

use std::path::Path;

use crate::custom::{CustomKeyValueTable, CustomWindowStore};
use crate::database::Database;
use crate::directory;
use crate::memory::MemoryTable;
use crate::spec::validate;
use crate::table::{
    NoSink, TableKeyValueStore, TableSessionStore, TableVersionedStore, TableWindowStore,
};
use crate::task_store::TaskStore;
use crate::{
    Change, CustomBackend, KeyValueStore, Result, SessionStore, StoreBackend, StoreKind,
    StoreResources, StoreSpec, VersionedKeyValueStore, WindowStore,
};

/// All stores of one task.
///
/// # Commit
///
/// Writes are visible at once to reads of the same store and wait in memory for [`commit`](TaskStores::commit). Those of all
/// stores on disk **and** the positions are written together, in one atomic write. So what is on disk is always the
/// state after some commit, together with the point in each changelog it corresponds to. It need not be the last one: rows of
/// key-value stores stay in memory, where they are read again and overwritten, until it is wanted for others.
///
/// # Crash
///
/// There is no write-ahead log on disk: the changelog is the log. What is in memory only, or was not flushed by RocksDB, is
/// lost in a crash together with its positions, of all stores at once, and restoring goes on from
/// [`position`](TaskStores::position). How much must be replayed is bounded by the budget of [`StoreResources`], and by
/// [`close`](TaskStores::close), which leaves nothing to replay.
///
/// # Examples
///
/// ```
/// use streams_state::{Change, StoreBackend, StoreResources, StoreSpec, TaskStores};
///
/// let specs = [StoreSpec::key_value("counts", StoreBackend::Memory)];
/// let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
///
/// // Restore what the changelog has up to offset 42, then work.
/// let changes = [Change { key: b"ape", value: Some(b"1") }];
/// stores.restore(0, &changes, 42)?;
/// stores.key_value_mut(0).put(b"ape", Some(b"2"))?;
/// stores.commit(&[Some(43)])?;
/// assert_eq!(stores.position(0), Some(43));
///
/// // What is not committed can be forgotten.
/// stores.key_value_mut(0).put(b"ape", Some(b"3"))?;
/// stores.rollback();
/// assert_eq!(stores.key_value(0).get(b"ape")?.as_deref(), Some(b"2".as_slice()));
/// stores.close()?;
/// # Ok::<(), streams_state::StoreError>(())
/// ```
pub struct TaskStores {
    // Stores hold on to the database, so they are declared, and dropped, before it.
    entries: Vec<Entry>,
    database: Option<Database>,
    /// Whether something is committed that the disk does not have.
    is_behind: bool,
}

struct Entry {
    spec: StoreSpec,
    store: TaskStore,
    on_disk: bool,
    position: Option<i64>,
    /// The position that is being committed.
    next_position: Option<i64>,
}

impl TaskStores {
    /// Opens the stores of a task in its `directory`, which is created when it does not exist. Without a directory
    /// everything is in memory, RocksDB stores too, which answer exactly as they do on disk.
    ///
    /// A store on disk that is no longer among `specs`, or whose retention or order has changed, is deleted.
    ///
    /// # Errors
    ///
    /// [`InvalidArgument`](crate::StoreErrorKind::InvalidArgument) for a spec that makes no sense,
    /// [`Locked`](crate::StoreErrorKind::Locked) when the directory is open elsewhere,
    /// [`Corruption`](crate::StoreErrorKind::Corruption) or [`Io`](crate::StoreErrorKind::Io) when it cannot be read,
    /// and whatever a custom backend returns.
    pub fn open(
        directory: Option<&Path>,
        specs: &[StoreSpec],
        resources: &StoreResources,
    ) -> Result<Self> {
        validate(specs)?;
        let database = match directory {
            Some(directory) => open_database(directory, specs, resources)?,
            None => None,
        };
        let entries = specs
            .iter()
            .map(|spec| open_store(directory, spec, database.as_ref()))
            .collect::<Result<_>>()?;
        Ok(Self {
            entries,
            database,
            is_behind: false,
        })
    }

    /// How many stores there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the task has no store.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The key-value store at `index` of the specs.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn key_value(&self, index: usize) -> &dyn KeyValueStore {
        let Entry { spec, store, .. } = &self.entries[index];
        match store {
            TaskStore::KeyValue(store) => store.as_ref(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The key-value store at `index` of the specs, for writing.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn key_value_mut(&mut self, index: usize) -> &mut dyn KeyValueStore {
        let Entry { spec, store, .. } = &mut self.entries[index];
        match store {
            TaskStore::KeyValue(store) => store.as_mut(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The window store at `index` of the specs.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn window(&self, index: usize) -> &dyn WindowStore {
        let Entry { spec, store, .. } = &self.entries[index];
        match store {
            TaskStore::Window(store) => store.as_ref(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The window store at `index` of the specs, for writing.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn window_mut(&mut self, index: usize) -> &mut dyn WindowStore {
        let Entry { spec, store, .. } = &mut self.entries[index];
        match store {
            TaskStore::Window(store) => store.as_mut(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The session store at `index` of the specs.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn session(&self, index: usize) -> &dyn SessionStore {
        let Entry { spec, store, .. } = &self.entries[index];
        match store {
            TaskStore::Session(store) => store.as_ref(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The session store at `index` of the specs, for writing.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn session_mut(&mut self, index: usize) -> &mut dyn SessionStore {
        let Entry { spec, store, .. } = &mut self.entries[index];
        match store {
            TaskStore::Session(store) => store.as_mut(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The versioned store at `index` of the specs.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn versioned(&self, index: usize) -> &dyn VersionedKeyValueStore {
        let Entry { spec, store, .. } = &self.entries[index];
        match store {
            TaskStore::Versioned(store) => store.as_ref(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// The versioned store at `index` of the specs, for writing.
    ///
    /// # Panics
    ///
    /// When there is no such store or it is of another kind, which is a bug of the caller.
    pub fn versioned_mut(&mut self, index: usize) -> &mut dyn VersionedKeyValueStore {
        let Entry { spec, store, .. } = &mut self.entries[index];
        match store {
            TaskStore::Versioned(store) => store.as_mut(),
            other => wrong_kind(spec, other.kind()),
        }
    }

    /// Applies records of the changelog of the store at `index`, below anything uncommitted. Of several records with
    /// the same key the last one counts. `position` is the offset behind them, and is written together with them.
    ///
    /// # Errors
    ///
    /// [`Corruption`](crate::StoreErrorKind::Corruption) when a record of a window store has no window key, or one of a
    /// versioned store no time ([`versioned_change`](crate::versioned_change)); otherwise when the disk cannot be written.
    /// A versioned store takes no changelog records above uncommitted writes.
    ///
    /// # Panics
    ///
    /// When there is no such store, which is a bug of the caller.
    pub fn restore(&mut self, index: usize, changes: &[Change<'_>], position: i64) -> Result<()> {
        if self.restore_in_memory(index, changes, position)? {
            return Ok(());
        }
        let entry = &self.entries[index];
        let has_waiting = entry.store.transactional().sorted_bytes() > Some(0);
        if entry.on_disk && has_waiting && self.uncommitted_bytes() == 0 {
            // What waits goes to disk, and these rows wait in its place.
            self.catch_up()?;
            if self.restore_in_memory(index, changes, position)? {
                return Ok(());
            }
        }
        let entry = &mut self.entries[index];
        let store = entry.store.transactional_mut();
        let result = match &self.database {
            Some(database) if entry.on_disk => {
                database.restore(&entry.spec, position, |sink| store.restore(changes, sink))
            }
            _ => store.restore(changes, &mut NoSink),
        };
        result.map_err(|error| error.context(format_args!("store `{}`", entry.spec.name)))?;
        entry.position = Some(position);
        Ok(())
    }

    /// Applies changelog records to a store on disk without writing them, if they may wait.
    fn restore_in_memory(
        &mut self,
        index: usize,
        changes: &[Change<'_>],
        position: i64,
    ) -> Result<bool> {
        let entry = &mut self.entries[index];
        if !entry.on_disk {
            return Ok(false);
        }
        let waits = entry
            .store
            .transactional_mut()
            .restore_in_memory(changes)
            .map_err(|error| error.context(format_args!("store `{}`", entry.spec.name)))?;
        if waits {
            entry.position = Some(position);
            self.is_behind = true;
        }
        Ok(waits)
    }

    /// Brings to disk what is committed and waits. Nothing is uncommitted.
    fn catch_up(&mut self) -> Result<()> {
        self.write(|entry| entry.position)?;
        self.is_behind = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.on_disk) {
            entry.store.transactional_mut().committed()?;
        }
        Ok(())
    }

    /// The next changelog offset of the store at `index`: everything before it is in the store. `None` means from the
    /// beginning, as for every store that is not on disk when it has just been opened.
    ///
    /// # Panics
    ///
    /// When there is no such store, which is a bug of the caller.
    pub fn position(&self, index: usize) -> Option<i64> {
        self.entries[index].position
    }

    /// Commits everything written since the last commit together with the positions: the disk gets both in one atomic
    /// write, now or later. `positions[i]` is the next changelog offset of store `i`, `None` leaves it as it is.
    ///
    /// When the disk cannot be written, nothing is committed and nothing is forgotten, so it can be called again. A custom
    /// store that fails leaves the stores on disk committed; it is restored from its changelog at the next start.
    ///
    /// # Errors
    ///
    /// When the disk cannot be written, or a custom store fails.
    ///
    /// # Panics
    ///
    /// When there are not as many positions as stores, which is a bug of the caller.
    pub fn commit(&mut self, positions: &[Option<i64>]) -> Result<()> {
        assert_eq!(
            positions.len(),
            self.entries.len(),
            "commit takes one position for each store"
        );
        let mut on_disk = self.entries.iter().filter(|entry| entry.on_disk);
        // All or none, so that the stores of a task on disk are always at the same point.
        let waits = on_disk.all(|entry| entry.store.transactional().may_wait());
        for (entry, position) in self.entries.iter_mut().zip(positions) {
            entry.next_position = position.or(entry.position);
        }
        if !waits {
            self.write(|entry| entry.next_position)?;
        }
        self.is_behind = waits;
        for entry in &mut self.entries {
            let store = entry.store.transactional_mut();
            if waits && entry.on_disk {
                store.committed_in_memory();
            } else {
                store
                    .committed()
                    .map_err(|error| error.context(format_args!("store `{}`", entry.spec.name)))?;
            }
            entry.position = entry.next_position;
        }
        Ok(())
    }

    /// Writes everything that the disk does not have, with these positions.
    fn write(&self, position: impl Fn(&Entry) -> Option<i64>) -> Result<()> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let on_disk = self.entries.iter().filter(|entry| entry.on_disk);
        database.write(on_disk.map(|entry| {
            let store = entry.store.transactional();
            (&entry.spec, store, position(entry))
        }))
    }

    /// Forgets everything written since the last commit, in every store.
    pub fn rollback(&mut self) {
        for entry in &mut self.entries {
            entry.store.transactional_mut().rollback();
        }
    }

    /// What a process finds that opens the stores again after this one has ended without closing them: stores on disk as
    /// of the last commit, with their positions; stores in memory, and custom ones, empty. For tests without a directory,
    /// whose stores on disk are in memory too.
    ///
    /// # Examples
    ///
    /// ```
    /// use streams_state::{StoreBackend, StoreResources, StoreSpec, TaskStores};
    ///
    /// let specs = [
    ///     StoreSpec::key_value("on-disk", StoreBackend::RocksDb),
    ///     StoreSpec::key_value("in-memory", StoreBackend::Memory),
    /// ];
    /// let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
    /// for index in 0..2 {
    ///     stores.key_value_mut(index).put(b"ape", Some(b"1"))?;
    /// }
    /// stores.commit(&[Some(7), Some(7)])?;
    /// stores.key_value_mut(0).put(b"ape", Some(b"2"))?;
    ///
    /// let stores = stores.reopen()?;
    /// assert_eq!(stores.key_value(0).get(b"ape")?.as_deref(), Some(b"1".as_slice()));
    /// assert_eq!(stores.key_value(1).get(b"ape")?, None);
    /// assert_eq!((stores.position(0), stores.position(1)), (Some(7), None));
    /// # Ok::<(), streams_state::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever a custom backend returns.
    pub fn reopen(mut self) -> Result<Self> {
        for entry in &mut self.entries {
            match entry.spec.backend {
                StoreBackend::RocksDb => entry.store.transactional_mut().reopen(),
                StoreBackend::Memory | StoreBackend::Custom(_) => {
                    *entry = open_store(None, &entry.spec, None)?;
                }
            }
        }
        Ok(self)
    }

    /// Roughly how much memory the writes since the last commit take, in bytes.
    pub fn uncommitted_bytes(&self) -> usize {
        self.entries
            .iter()
            .map(|entry| entry.store.transactional().uncommitted_bytes())
            .sum()
    }

    /// Whether the rows in memory of this process take more than their part of the budget of [`StoreResources`], which a
    /// commit mends.
    pub fn is_memory_over(&self) -> bool {
        let database = self.database.as_ref();
        database.is_some_and(Database::is_memory_over)
    }

    /// Forgets what is uncommitted and brings everything else to disk, so that the next start has nothing to replay.
    ///
    /// # Errors
    ///
    /// When the disk cannot be written. The stores are closed all the same, and the next start replays what was not
    /// written.
    pub fn close(mut self) -> Result<()> {
        self.rollback();
        let written = match self.is_behind {
            true => self.write(|entry| entry.position),
            false => Ok(()),
        };
        drop(self.entries);
        written.and(self.database.map_or(Ok(()), Database::close))
    }

    /// Deletes every store in the directory of a task, for a task that must start from nothing. A directory that does
    /// not exist is empty already.
    ///
    /// # Errors
    ///
    /// When the disk cannot be written. The stores must not be open.
    pub fn wipe(directory: &Path, resources: &StoreResources) -> Result<()> {
        Database::wipe(directory, resources)
    }
}

#[cold]
fn wrong_kind(spec: &StoreSpec, kind: &str) -> ! {
    panic!("store `{}` is a {kind} store", spec.name)
}

fn open_database(
    directory: &Path,
    specs: &[StoreSpec],
    resources: &StoreResources,
) -> Result<Option<Database>> {
    let on_disk: Vec<_> = specs
        .iter()
        .filter(|spec| matches!(spec.backend, StoreBackend::RocksDb))
        .collect();
    if on_disk.is_empty() {
        directory::wipe_one(&directory::of_database(directory))?;
        return Ok(None);
    }
    Database::open(directory, &on_disk, resources).map(Some)
}

fn open_store(
    directory: Option<&Path>,
    spec: &StoreSpec,
    database: Option<&Database>,
) -> Result<Entry> {
    let mut on_disk = false;
    let mut position = None;
    let store = match (&spec.backend, database) {
        (StoreBackend::Custom(backend), _) => open_custom(directory, spec, backend.as_ref())?,
        (StoreBackend::RocksDb, Some(database)) => {
            on_disk = true;
            position = database.position(spec)?;
            database.open_store(spec)?
        }
        (StoreBackend::Memory | StoreBackend::RocksDb, _) => {
            let table = MemoryTable::default();
            match &spec.kind {
                StoreKind::KeyValue => {
                    TaskStore::KeyValue(Box::new(TableKeyValueStore::new(table)))
                }
                StoreKind::Window(window) => {
                    TaskStore::Window(Box::new(TableWindowStore::new(table, window)?))
                }
                StoreKind::Session(session) => {
                    TaskStore::Session(Box::new(TableSessionStore::new(table, session)?))
                }
                StoreKind::Versioned(versioned) => {
                    TaskStore::Versioned(Box::new(TableVersionedStore::new(table, versioned)?))
                }
            }
        }
    };
    Ok(Entry {
        spec: spec.clone(),
        store,
        on_disk,
        position,
        next_position: None,
    })
}

fn open_custom(
    directory: Option<&Path>,
    spec: &StoreSpec,
    backend: &dyn CustomBackend,
) -> Result<TaskStore> {
    let own = directory.map(|directory| directory::of_custom_store(directory, &spec.name));
    let own = own.as_deref();
    Ok(match &spec.kind {
        StoreKind::KeyValue => {
            let store = backend.open_key_value(&spec.name, own)?;
            TaskStore::KeyValue(Box::new(TableKeyValueStore::new(CustomKeyValueTable::new(
                store,
            ))))
        }
        StoreKind::Window(window) => {
            let store = backend.open_window(&spec.name, window, own)?;
            TaskStore::Window(Box::new(CustomWindowStore::new(store, window)?))
        }
        // Its rows are entries of a key-value store like any other.
        StoreKind::Session(session) => {
            let store = backend.open_key_value(&spec.name, own)?;
            TaskStore::Session(Box::new(TableSessionStore::new(
                CustomKeyValueTable::new(store),
                session,
            )?))
        }
        StoreKind::Versioned(versioned) => {
            let store = backend.open_key_value(&spec.name, own)?;
            TaskStore::Versioned(Box::new(TableVersionedStore::new(
                CustomKeyValueTable::new(store),
                versioned,
            )?))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WindowOrder, WindowSpec};

    fn stores(backend: StoreBackend) -> TaskStores {
        let window = WindowSpec {
            retention_ms: 10,
            window_size_ms: 10,
            retain_duplicates: false,
            order: WindowOrder::ByKey,
        };
        let specs = [
            StoreSpec::key_value("k", backend.clone()),
            StoreSpec::window("w", window, backend),
        ];
        TaskStores::open(None, &specs, &StoreResources::in_memory()).unwrap()
    }

    #[test]
    fn without_a_directory_everything_is_in_memory() {
        let mut stores = stores(StoreBackend::RocksDb);
        stores.key_value_mut(0).put(b"a", Some(b"1")).unwrap();
        stores.commit(&[Some(1), None]).unwrap();
        assert_eq!(stores.position(0), Some(1));
        assert_eq!(stores.position(1), None);
        assert_eq!(stores.len(), 2);
    }

    #[test]
    #[should_panic(expected = "store `w` is a window store")]
    fn the_wrong_kind_is_a_bug_of_the_caller() {
        stores(StoreBackend::Memory).key_value(1);
    }

    #[test]
    fn stores_can_move_to_another_thread() {
        fn assert_send<T: Send>() {}
        assert_send::<TaskStores>();
    }
}
