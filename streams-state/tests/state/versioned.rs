//! Random puts into a versioned store against a list of intervals, with commits, rollbacks and reopenings in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use streams_state::{
    Change, StoreBackend, StoreResources, StoreSpec, TaskStores, VersionedPut, VersionedRecord,
    VersionedSpec, versioned_change,
};

use crate::custom::CustomMaps;

const CASES: u32 = 96;
const RETENTION_MS: i64 = 30;
const SEGMENT_MS: i64 = 10;
const TIME_MAX_MS: i64 = 99;
/// A key no operation uses: it shows a store that was opened again the time it has seen.
const CLOCK: &[u8] = b"clock";

#[derive(Clone, Debug)]
enum Operation {
    Put(u8, Option<u8>, i64),
    Commit,
    Rollback,
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let value = prop::option::weighted(0.7, any::<u8>());
    prop_oneof![
        20 => (0..2_u8, value, 0..=TIME_MAX_MS).prop_map(|(key, value, time)| Operation::Put(key, value, time)),
        2 => Just(Operation::Commit),
        1 => Just(Operation::Rollback),
        1 => Just(Operation::Reopen),
    ]
}

/// One version that was replaced, or a deletion that nothing precedes, which is as long as nothing.
#[derive(Clone, Debug)]
struct Interval {
    from: i64,
    to: i64,
    value: Option<u8>,
}

/// The versions of one key: no segments, nothing ever expires.
#[derive(Clone, Debug, Default)]
struct Key {
    latest: Option<(i64, u8)>,
    intervals: Vec<Interval>,
}

impl Key {
    fn put(&mut self, value: Option<u8>, time: i64) -> VersionedPut {
        if let Some((from, latest)) = self.latest
            && time >= from
        {
            if time > from {
                self.intervals.push(Interval {
                    from,
                    to: time,
                    value: Some(latest),
                });
            }
            self.latest = value.map(|value| (time, value));
            return VersionedPut::Latest;
        }
        let around = |interval: &&mut Interval| interval.from <= time && time < interval.to;
        if let Some(found) = self.intervals.iter_mut().find(around) {
            let to = found.to;
            if found.from == time {
                found.value = value;
            } else {
                found.to = time;
                self.intervals.push(Interval {
                    from: time,
                    to,
                    value,
                });
            }
            return VersionedPut::Older { valid_to_ms: to };
        }
        let later = self.intervals.iter().map(|interval| interval.from);
        let later = later.chain(self.latest.map(|(from, _)| from));
        if let Some(to) = later.filter(|from| *from > time).min() {
            self.intervals.push(Interval {
                from: time,
                to,
                value,
            });
            return VersionedPut::Older { valid_to_ms: to };
        }
        match value {
            Some(value) => self.latest = Some((time, value)),
            None if self.intervals.iter().any(|interval| interval.to == time) => {}
            None => self.intervals.push(Interval {
                from: time,
                to: time,
                value: None,
            }),
        }
        VersionedPut::Latest
    }

    fn get_as_of(&self, time: i64, observed: i64) -> Option<VersionedRecord> {
        if let Some((from, value)) = self.latest
            && from <= time
        {
            return Some(record(value, from, None));
        }
        if time < observed - RETENTION_MS {
            return None;
        }
        let around = |interval: &&Interval| interval.from <= time && time < interval.to;
        let found = self.intervals.iter().find(around)?;
        Some(record(found.value?, found.from, Some(found.to)))
    }
}

fn record(value: u8, valid_from_ms: i64, valid_to_ms: Option<i64>) -> VersionedRecord {
    VersionedRecord {
        value: vec![value],
        valid_from_ms,
        valid_to_ms,
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    keys: BTreeMap<u8, Key>,
    observed: Option<i64>,
    /// Every put that was not rejected, as a changelog has it.
    puts: Vec<(u8, Option<u8>, i64)>,
}

impl Model {
    fn put(&mut self, key: u8, value: Option<u8>, time: i64) -> VersionedPut {
        if self
            .observed
            .is_some_and(|observed| time < observed - RETENTION_MS)
        {
            return VersionedPut::Rejected;
        }
        self.observed = self.observed.max(Some(time));
        self.puts.push((key, value, time));
        self.keys.entry(key).or_default().put(value, time)
    }
}

struct Run<'a> {
    spec: StoreSpec,
    directory: &'a Path,
    stores: TaskStores,
    model: Model,
    committed: Model,
}

fn open(spec: &StoreSpec, directory: &Path) -> TaskStores {
    let specs = std::slice::from_ref(spec);
    TaskStores::open(Some(directory), specs, &StoreResources::in_memory()).unwrap()
}

impl Run<'_> {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Put(key, value, time) => {
                let bytes = value.map(|value| [value]);
                let store = self.stores.versioned_mut(0);
                let outcome = store
                    .put(&[*key], bytes.as_ref().map(<[u8; 1]>::as_slice), *time)
                    .unwrap();
                assert_eq!(outcome, self.model.put(*key, *value, *time));
                assert_eq!(store.observed_time_ms(), self.model.observed);
            }
            Operation::Commit => {
                self.stores.commit(&[Some(1)]).unwrap();
                self.committed = self.model.clone();
            }
            Operation::Rollback => {
                self.stores.rollback();
                self.model = self.committed.clone();
            }
            Operation::Reopen => self.reopen(),
        }
        self.check();
    }

    fn check(&self) {
        let store = self.stores.versioned(0);
        let observed = self.model.observed.unwrap_or(-1);
        for key in 0..2_u8 {
            let expected = self.model.keys.get(&key).cloned().unwrap_or_default();
            let latest = expected
                .latest
                .map(|(from, value)| record(value, from, None));
            assert_eq!(store.get(&[key]).unwrap(), latest);
            for time in 0..=TIME_MAX_MS + 1 {
                assert_eq!(
                    store.get_as_of(&[key], time).unwrap(),
                    expected.get_as_of(time, observed),
                    "key {key} as of {time}"
                );
            }
        }
    }

    fn restore(&mut self, changes: &[(&[u8], Vec<u8>)]) {
        let changes: Vec<_> = changes
            .iter()
            .map(|(key, value)| Change {
                key,
                value: Some(value),
            })
            .collect();
        self.stores.restore(0, &changes, 1).unwrap();
    }

    /// Closes and opens the store. What is in memory is restored, as a task does it.
    fn reopen(&mut self) {
        self.model = self.committed.clone();
        let nowhere = TaskStores::open(None, &[], &StoreResources::in_memory()).unwrap();
        std::mem::replace(&mut self.stores, nowhere)
            .close()
            .unwrap();
        self.stores = open(&self.spec, self.directory);
        let change = |value: Option<u8>, time: i64| {
            let mut bytes = Vec::new();
            let value = value.map(|value| [value]);
            versioned_change(time, value.as_ref().map(<[u8; 1]>::as_slice), &mut bytes);
            bytes
        };
        if self.stores.position(0).is_none() {
            let keys: Vec<_> = self.model.puts.iter().map(|(key, ..)| [*key]).collect();
            let changes: Vec<_> = keys
                .iter()
                .zip(&self.model.puts)
                .map(|(key, (_, value, time))| (key.as_slice(), change(*value, *time)))
                .collect();
            // In two batches, so that the second builds on rows of the first.
            let (first, second) = changes.split_at(changes.len() / 2);
            self.restore(first);
            self.restore(second);
        } else if let Some(observed) = self.model.observed {
            self.restore(&[(CLOCK, change(None, observed))]);
        }
    }
}

fn check(backend: &StoreBackend) {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let operations = prop::collection::vec(operation(), 1..60);
    TestRunner::new(config)
        .run(&operations, |operations| {
            let directory = tempfile::tempdir().unwrap();
            let versioned = VersionedSpec {
                history_retention_ms: RETENTION_MS,
                segment_interval_ms: SEGMENT_MS,
            };
            let spec = StoreSpec::versioned("v", versioned, backend.clone());
            let mut run = Run {
                stores: open(&spec, directory.path()),
                spec,
                directory: directory.path(),
                model: Model::default(),
                committed: Model::default(),
            };
            for operation in &operations {
                run.apply(operation);
            }
            Ok(())
        })
        .unwrap();
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
fn custom() {
    check(&StoreBackend::Custom(Arc::new(CustomMaps)));
}

#[test]
fn nothing_is_restored_above_uncommitted_writes() {
    let spec = VersionedSpec::with_history_retention_ms(RETENTION_MS);
    let specs = [StoreSpec::versioned("v", spec, StoreBackend::Memory)];
    let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory()).unwrap();
    stores.versioned_mut(0).put(b"a", Some(b"1"), 1).unwrap();
    let mut value = Vec::new();
    versioned_change(2, Some(b"2"), &mut value);
    let change = Change {
        key: b"a",
        value: Some(&value),
    };
    assert!(stores.restore(0, &[change], 1).is_err());
    stores.commit(&[None]).unwrap();
    stores.restore(0, &[change], 1).unwrap();
    assert_eq!(stores.versioned(0).get(b"a").unwrap().unwrap().value, b"2");
}
