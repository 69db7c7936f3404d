//! The database of a task, when the crate is built without one: asking for it is an error that says so.

use std::path::Path;

use crate::table::RowSink;
use crate::task_store::{TaskStore, Transactional};
use crate::{Result, StoreError, StoreResources, StoreSpec};

/// A database there is never one of.
pub(crate) enum Database {}

impl Database {
    pub fn open(
        _directory: &Path,
        specs: &[&StoreSpec],
        _resources: &StoreResources,
    ) -> Result<Self> {
        let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        Err(StoreError::unsupported(format!(
            "the stores {names:?} want RocksDB, which this build does not have"
        )))
    }

    pub fn open_store(&self, _spec: &StoreSpec) -> Result<TaskStore> {
        match *self {}
    }

    pub fn position(&self, _spec: &StoreSpec) -> Result<Option<i64>> {
        match *self {}
    }

    pub fn write<'a>(
        &self,
        _stores: impl IntoIterator<Item = (&'a StoreSpec, &'a dyn Transactional, Option<i64>)>,
    ) -> Result<()> {
        match *self {}
    }

    pub fn restore(
        &self,
        _spec: &StoreSpec,
        _position: i64,
        _write: impl FnOnce(&mut dyn RowSink) -> Result<()>,
    ) -> Result<()> {
        match *self {}
    }

    pub fn close(self) -> Result<()> {
        match self {}
    }
}
