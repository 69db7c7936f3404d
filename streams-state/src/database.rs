//! The database of a task: RocksDB, a simulated one, or an error that says that this build has none.

#![cfg_attr(
    not(all(feature = "rocksdb", feature = "simulation")),
    allow(
        unused_variables,
        reason = "there may be no database to hand them to, or none that is simulated"
    )
)]

use std::path::Path;

#[cfg(not(feature = "rocksdb"))]
use crate::StoreError;
use crate::table::RowSink;
use crate::task_store::{TaskStore, Transactional};
use crate::{Result, StoreResources, StoreSpec, directory};

/// The database of one task.
pub(crate) enum Database {
    #[cfg(feature = "rocksdb")]
    RocksDb(crate::rocksdb::Database),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::SimulatedDatabase),
}

impl Database {
    /// Opens the database in the `directory` of a task with a place for each of `specs`, and drops every other store.
    pub fn open(
        directory: &Path,
        specs: &[&StoreSpec],
        resources: &StoreResources,
    ) -> Result<Self> {
        #[cfg(feature = "simulation")]
        if let Some(disk) = resources.simulated_disk() {
            return disk.open(directory, specs).map(Self::Simulated);
        }
        directory::create(directory)?;
        #[cfg(feature = "rocksdb")]
        let opened = {
            let path = directory::of_database(directory);
            crate::rocksdb::Database::open(&path, specs, resources).map(Self::RocksDb)
        };
        #[cfg(not(feature = "rocksdb"))]
        let opened = {
            let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            Err(StoreError::unsupported(format!(
                "the stores {names:?} want RocksDB, which this build does not have"
            )))
        };
        opened
    }

    /// The store of a spec the database was opened with.
    pub fn open_store(&self, spec: &StoreSpec) -> Result<TaskStore> {
        match *self {
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(ref database) => database.open_store(spec),
            #[cfg(feature = "simulation")]
            Self::Simulated(ref database) => database.open_store(spec),
        }
    }

    /// How far a store has read its changelog.
    pub fn position(&self, spec: &StoreSpec) -> Result<Option<i64>> {
        match *self {
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(ref database) => database.position(spec),
            #[cfg(feature = "simulation")]
            Self::Simulated(ref database) => Ok(database.position(spec)),
        }
    }

    /// Writes what is uncommitted in the stores, together with their positions, at once or not at all.
    pub fn write<'a>(
        &self,
        stores: impl IntoIterator<Item = (&'a StoreSpec, &'a dyn Transactional, Option<i64>)>,
    ) -> Result<()> {
        match *self {
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(ref database) => database.write(stores),
            #[cfg(feature = "simulation")]
            Self::Simulated(ref database) => database.write(stores),
        }
    }

    /// Writes what `write` hands to the sink of a store, together with its position, at once or not at all.
    pub fn restore(
        &self,
        spec: &StoreSpec,
        position: i64,
        write: impl FnOnce(&mut dyn RowSink) -> Result<()>,
    ) -> Result<()> {
        match *self {
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(ref database) => database.restore(spec, position, write),
            #[cfg(feature = "simulation")]
            Self::Simulated(ref database) => database.restore(spec, position, write),
        }
    }

    /// Whether the rows in memory of this process take more than their part of the budget.
    pub fn is_memory_over(&self) -> bool {
        match *self {
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(ref database) => database.is_memory_over(),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => false,
        }
    }

    /// Brings everything to disk and closes the database. Every store must have been dropped.
    pub fn close(self) -> Result<()> {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::RocksDb(database) => database.close(),
            #[cfg(feature = "simulation")]
            Self::Simulated(database) => database.close(),
        }
    }

    /// Deletes the database in the `directory` of a task, and whatever custom stores keep there.
    pub fn wipe(directory: &Path, resources: &StoreResources) -> Result<()> {
        #[cfg(feature = "simulation")]
        if let Some(disk) = resources.simulated_disk() {
            return disk.wipe(directory);
        }
        directory::wipe(directory)
    }
}
