//! Random operations against sorted maps, with commits, rollbacks, restores and reopenings in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use streams_state::key_encoding::write_window_changelog_key;
use streams_state::{
    Change, Order, PutOutcome, StoreBackend, StoreResources, StoreSpec, TaskStores, WindowOrder,
    WindowSpec, WindowStore,
};

use crate::custom::{CustomMaps, WindowMap};

const CASES: u32 = 48;
const KEY_VALUE: usize = 0;
const WINDOW: usize = 1;

#[derive(Clone, Debug)]
enum Operation {
    Put(Vec<u8>, Option<Vec<u8>>),
    PutWindow(Vec<u8>, Option<Vec<u8>>, i64),
    Range(Option<Vec<u8>>, Option<Vec<u8>>),
    Prefix(Vec<u8>),
    Fetch(Vec<u8>, i64, i64),
    FetchKeys(Option<Vec<u8>>, Option<Vec<u8>>, i64, i64),
    Restore(Vec<u8>, Option<Vec<u8>>),
    Commit,
    Rollback,
    Reopen,
}

/// Short keys over few bytes: collisions and prefixes are what can go wrong.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)];
    prop::collection::vec(byte, 0..4)
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::weighted(0.75, prop::collection::vec(any::<u8>(), 0..3))
}

/// Some segments of time, on and around their borders.
fn time() -> impl Strategy<Value = i64> {
    (0..8_i64, -1..2_i64).prop_map(|(segment, offset)| (segment * 60_000 + offset).max(0))
}

fn operation() -> impl Strategy<Value = Operation> {
    let bound = || prop::option::of(key());
    prop_oneof![
        6 => (key(), value()).prop_map(|(key, value)| Operation::Put(key, value)),
        6 => (key(), value(), time()).prop_map(|(key, value, time)| Operation::PutWindow(key, value, time)),
        3 => (bound(), bound()).prop_map(|(from, to)| Operation::Range(from, to)),
        2 => key().prop_map(Operation::Prefix),
        3 => (key(), time(), time()).prop_map(|(key, from, to)| Operation::Fetch(key, from, to)),
        2 => (bound(), bound(), time(), time())
            .prop_map(|(from, to, start, end)| Operation::FetchKeys(from, to, start, end)),
        1 => (key(), value()).prop_map(|(key, value)| Operation::Restore(key, value)),
        2 => Just(Operation::Commit),
        1 => Just(Operation::Rollback),
        1 => Just(Operation::Reopen),
    ]
}

/// A put of a window: key, value and start.
type WindowPut = (Vec<u8>, Option<Vec<u8>>, i64);

/// What the stores should be.
struct Model {
    spec: WindowSpec,
    uncommitted: BTreeMap<Vec<u8>, Vec<u8>>,
    committed: BTreeMap<Vec<u8>, Vec<u8>>,
    window: WindowMap,
    window_puts: Vec<WindowPut>,
    window_puts_committed: usize,
}

impl Model {
    fn new(spec: &WindowSpec) -> Self {
        Self {
            spec: spec.clone(),
            uncommitted: BTreeMap::new(),
            committed: BTreeMap::new(),
            window: WindowMap::new(spec),
            window_puts: Vec::new(),
            window_puts_committed: 0,
        }
    }

    fn rollback(&mut self) {
        self.uncommitted.clone_from(&self.committed);
        self.window_puts.truncate(self.window_puts_committed);
        self.window = WindowMap::new(&self.spec);
        for (key, value, start_ms) in &self.window_puts {
            self.window.put(key, value.as_deref(), *start_ms).unwrap();
        }
    }

    fn commit(&mut self) {
        self.committed.clone_from(&self.uncommitted);
        self.window_puts_committed = self.window_puts.len();
    }
}

fn set(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => map.insert(key.to_vec(), value.to_vec()),
        None => map.remove(key),
    };
}

struct Run<'a> {
    specs: [StoreSpec; 2],
    directory: &'a Path,
    stores: TaskStores,
    model: Model,
}

impl<'a> Run<'a> {
    fn new(backend: &StoreBackend, window: &WindowSpec, directory: &'a Path) -> Self {
        let specs = [
            StoreSpec::key_value("k", backend.clone()),
            StoreSpec::window("w", window.clone(), backend.clone()),
        ];
        let stores =
            TaskStores::open(Some(directory), &specs, &StoreResources::in_memory()).unwrap();
        Self {
            specs,
            directory,
            stores,
            model: Model::new(window),
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Put(key, value) => {
                let store = self.stores.key_value_mut(KEY_VALUE);
                store.put(key, value.as_deref()).unwrap();
                set(&mut self.model.uncommitted, key, value.as_deref());
            }
            Operation::PutWindow(key, value, start_ms) => self.put_window(key, value, *start_ms),
            Operation::Range(from, to) => self.check_range(from.as_deref(), to.as_deref()),
            Operation::Prefix(prefix) => self.check_prefix(prefix),
            Operation::Fetch(key, from_ms, to_ms) => {
                self.check_windows(|store, order| {
                    store.fetch(key, *from_ms, *to_ms, order).unwrap()
                });
            }
            Operation::FetchKeys(from, to, from_ms, to_ms) => {
                self.check_windows(|store, order| {
                    let (from, to) = (from.as_deref(), to.as_deref());
                    store.fetch_keys(from, to, *from_ms, *to_ms, order).unwrap()
                });
            }
            Operation::Restore(key, value) => {
                // What is restored lies below the uncommitted writes, so there must be none that hides it.
                self.rollback();
                let value = value.as_deref();
                let position = self.stores.position(KEY_VALUE).map_or(1, |last| last + 1);
                let change = Change { key, value };
                self.stores.restore(KEY_VALUE, &[change], position).unwrap();
                set(&mut self.model.uncommitted, key, value);
                self.model.commit();
            }
            Operation::Commit => self.commit(),
            Operation::Rollback => self.rollback(),
            Operation::Reopen => self.reopen(),
        }
    }

    fn put_window(&mut self, key: &[u8], value: &Option<Vec<u8>>, start_ms: i64) {
        let store = self.stores.window_mut(WINDOW);
        let outcome = store.put(key, value.as_deref(), start_ms).unwrap();
        let model = &mut self.model;
        let expected = model.window.put(key, value.as_deref(), start_ms).unwrap();
        assert_eq!(outcome, expected);
        if outcome != PutOutcome::Expired {
            let put = (key.to_vec(), value.clone(), start_ms);
            model.window_puts.push(put);
        }
        let observed_ms = self.stores.window(WINDOW).observed_time_ms();
        assert_eq!(observed_ms, model.window.observed_time_ms());
        let read = self.stores.window(WINDOW).get(key, start_ms).unwrap();
        assert_eq!(read, model.window.get(key, start_ms).unwrap());
    }

    fn check_range(&self, from: Option<&[u8]>, to: Option<&[u8]>) {
        let mut expected: Vec<_> = self
            .model
            .uncommitted
            .iter()
            .filter(|(key, _)| {
                from.is_none_or(|from| key.as_slice() >= from)
                    && to.is_none_or(|to| key.as_slice() <= to)
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for order in [Order::Forward, Order::Backward] {
            let entries = self.stores.key_value(KEY_VALUE).range(from, to, order);
            let entries: Vec<_> = entries.unwrap().map(Result::unwrap).collect();
            assert_eq!(entries, expected);
            expected.reverse();
        }
    }

    fn check_prefix(&self, prefix: &[u8]) {
        let entries = self.stores.key_value(KEY_VALUE).prefix_scan(prefix);
        let found: Vec<_> = entries.unwrap().map(|entry| entry.unwrap().0).collect();
        let keys = self.model.uncommitted.keys();
        let expected: Vec<_> = keys.filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }

    /// The order between keys that are prefixes of each other is the store's own, so entries are compared sorted.
    fn check_windows(
        &self,
        fetch: impl for<'s> Fn(&'s dyn WindowStore, Order) -> streams_state::WindowEntries<'s>,
    ) {
        let sorted = |entries: streams_state::WindowEntries<'_>| {
            let mut entries: Vec<_> = entries
                .map(|entry| {
                    let (key, value) = entry.unwrap();
                    (key.start_ms, key.key, value)
                })
                .collect();
            entries.sort();
            entries
        };
        for order in [Order::Forward, Order::Backward] {
            let found = sorted(fetch(self.stores.window(WINDOW), order));
            assert_eq!(found, sorted(fetch(&self.model.window, order)));
        }
    }

    fn commit(&mut self) {
        let position = self.stores.position(KEY_VALUE).map_or(1, |last| last + 1);
        self.stores.commit(&[Some(position), None]).unwrap();
        assert_eq!(self.stores.position(KEY_VALUE), Some(position));
        self.model.commit();
    }

    fn rollback(&mut self) {
        self.stores.rollback();
        self.model.rollback();
    }

    /// Closes and opens the stores. What is in memory is restored, as a task does it.
    fn reopen(&mut self) {
        self.rollback();
        let before = self.stores.position(KEY_VALUE);
        let resources = StoreResources::in_memory();
        let nowhere = TaskStores::open(None, &[], &resources).unwrap();
        std::mem::replace(&mut self.stores, nowhere)
            .close()
            .unwrap();
        self.stores = TaskStores::open(Some(self.directory), &self.specs, &resources).unwrap();
        match self.stores.position(KEY_VALUE) {
            Some(position) => assert_eq!(Some(position), before),
            None => {
                let rows = self.model.committed.iter();
                let changes: Vec<_> = rows
                    .map(|(key, value)| Change {
                        key,
                        value: Some(value),
                    })
                    .collect();
                let position = before.unwrap_or(0);
                self.stores.restore(KEY_VALUE, &changes, position).unwrap();
            }
        }
        // Time is what was seen since the store was opened. Restoring the windows once more changes no entry, and
        // lets the store see what the model has seen.
        for (index, (key, value, start_ms)) in self.model.window_puts.iter().enumerate() {
            let mut changelog_key = Vec::new();
            write_window_changelog_key(key, *start_ms, 0, &mut changelog_key);
            let change = Change {
                key: &changelog_key,
                value: value.as_deref(),
            };
            self.stores
                .restore(WINDOW, &[change], index as i64)
                .unwrap();
        }
    }
}

fn check(backend: &StoreBackend, order: WindowOrder) {
    let spec = WindowSpec {
        retention_ms: 120_000,
        window_size_ms: 10,
        retain_duplicates: false,
        order,
    };
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let operations = prop::collection::vec(operation(), 1..150);
    TestRunner::new(config)
        .run(&operations, |operations| {
            let directory = tempfile::tempdir().unwrap();
            let mut run = Run::new(backend, &spec, directory.path());
            for operation in &operations {
                run.apply(operation);
            }
            run.check_range(None, None);
            run.check_windows(|store, order| store.fetch_all(0, i64::MAX, order).unwrap());
            Ok(())
        })
        .unwrap();
}

#[test]
fn memory() {
    check(&StoreBackend::Memory, WindowOrder::ByKey);
    check(&StoreBackend::Memory, WindowOrder::ByTime);
}

#[test]
#[cfg(feature = "rocksdb")]
fn rocksdb_by_key() {
    check(&StoreBackend::RocksDb, WindowOrder::ByKey);
}

#[test]
#[cfg(feature = "rocksdb")]
fn rocksdb_by_time() {
    check(&StoreBackend::RocksDb, WindowOrder::ByTime);
}

#[test]
fn custom() {
    let backend = StoreBackend::Custom(Arc::new(CustomMaps));
    check(&backend, WindowOrder::ByKey);
    check(&backend, WindowOrder::ByTime);
}
