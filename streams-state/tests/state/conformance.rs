//! The suite, over every backend: in its place in a task and, for the user-written one, alone too.

use std::sync::Arc;

use streams_state::{StoreBackend, StoreResources, conformance};

use crate::custom::{CustomMaps, KeyValueMap, WindowMap};
use crate::single::Single;

fn check(backend: &StoreBackend) {
    let root = tempfile::tempdir().unwrap();
    let mut opened = 0;
    let mut new_directory = || {
        opened += 1;
        root.path().join(opened.to_string())
    };
    conformance::key_value(&mut || Single::key_value(backend, Some(&new_directory())));
    conformance::window(&mut |spec| Single::window(backend, spec, Some(&new_directory())));
    conformance::versioned(&mut |spec| Single::versioned(backend, spec, Some(&new_directory())));
    let durable = matches!(backend, StoreBackend::RocksDb);
    let resources = StoreResources::in_memory();
    conformance::task_stores(backend, &new_directory(), &resources, durable);
}

#[test]
fn memory() {
    check(&StoreBackend::Memory);
}

#[test]
#[cfg(feature = "rocksdb")]
fn rocksdb() {
    check(&StoreBackend::RocksDb);
}

#[test]
fn rocksdb_without_a_directory() {
    let backend = StoreBackend::RocksDb;
    conformance::key_value(&mut || Single::key_value(&backend, None));
    conformance::window(&mut |spec| Single::window(&backend, spec, None));
    conformance::versioned(&mut |spec| Single::versioned(&backend, spec, None));
}

#[test]
#[cfg(feature = "simulation")]
fn simulated_disk() {
    let disk = streams_state::SimulatedDisk::new(|_| Ok(()));
    let resources = StoreResources::simulated(&disk);
    let directory = std::path::Path::new("0_0");
    conformance::task_stores(&StoreBackend::RocksDb, directory, &resources, true);
}

#[test]
fn custom() {
    check(&StoreBackend::Custom(Arc::new(CustomMaps)));
}

#[test]
fn custom_alone() {
    conformance::key_value(&mut || Box::new(KeyValueMap::default()));
    conformance::window(&mut |spec| Box::new(WindowMap::new(spec)));
}
