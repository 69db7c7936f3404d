//! What is on disk after a task ends, and what becomes of it when its stores change.

use std::path::Path;
use std::time::{Duration, Instant};

use streams_state::{
    Change, StoreBackend, StoreErrorKind, StoreResources, StoreSpec, TaskStores, WindowOrder,
    WindowSpec,
};

fn key_value(name: &str) -> StoreSpec {
    StoreSpec::key_value(name, StoreBackend::RocksDb)
}

fn window(name: &str, retention_ms: i64) -> StoreSpec {
    let spec = WindowSpec {
        retention_ms,
        window_size_ms: 10,
        retain_duplicates: false,
        order: WindowOrder::ByKey,
    };
    StoreSpec::window(name, spec, StoreBackend::RocksDb)
}

fn open(directory: &Path, specs: &[StoreSpec]) -> TaskStores {
    TaskStores::open(Some(directory), specs, &StoreResources::in_memory()).unwrap()
}

fn put(stores: &mut TaskStores, index: usize, key: &str) {
    let store = stores.key_value_mut(index);
    store.put(key.as_bytes(), Some(b"1")).unwrap();
}

fn has(stores: &TaskStores, index: usize, key: &str) -> bool {
    let value = stores.key_value(index).get(key.as_bytes()).unwrap();
    value.is_some()
}

#[test]
fn stores_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut stores = open(directory.path(), &[key_value("old"), key_value("kept")]);
    put(&mut stores, 0, "a");
    put(&mut stores, 1, "a");
    stores.commit(&[Some(1), Some(2)]).unwrap();
    stores.close().unwrap();

    let stores = open(directory.path(), &[key_value("kept"), key_value("new")]);
    assert!(has(&stores, 0, "a"));
    assert_eq!([stores.position(0), stores.position(1)], [Some(2), None]);
    stores.close().unwrap();

    // The name is back, its rows and its position are not.
    let stores = open(directory.path(), &[key_value("old"), key_value("kept")]);
    assert!(!has(&stores, 0, "a"));
    assert_eq!([stores.position(0), stores.position(1)], [None, Some(2)]);
}

#[test]
fn a_store_whose_rows_would_be_laid_out_differently_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let mut stores = open(directory.path(), &[window("w", 200_000)]);
    stores.window_mut(0).put(b"a", Some(b"1"), 150_000).unwrap();
    stores.commit(&[Some(1)]).unwrap();
    stores.close().unwrap();

    // Other segments, other rows.
    let stores = open(directory.path(), &[window("w", 400_000)]);
    assert_eq!(stores.position(0), None);
    assert_eq!(stores.window(0).get(b"a", 150_000).unwrap(), None);
    stores.close().unwrap();
}

#[test]
fn windows_are_found_again_and_expire_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let specs = [window("w", 120_000)];
    let mut stores = open(directory.path(), &specs);
    stores.window_mut(0).put(b"a", Some(b"1"), 10).unwrap();
    stores.window_mut(0).put(b"a", Some(b"2"), 70_000).unwrap();
    stores.commit(&[Some(2)]).unwrap();
    stores.close().unwrap();

    let mut stores = open(directory.path(), &specs);
    assert_eq!(stores.window(0).observed_time_ms(), None);
    let fetch = |stores: &TaskStores| {
        let order = streams_state::Order::Forward;
        let entries = stores.window(0).fetch(b"a", 0, i64::MAX, order).unwrap();
        entries
            .map(|entry| entry.unwrap().0.start_ms)
            .collect::<Vec<_>>()
    };
    assert_eq!(fetch(&stores), [10, 70_000]);
    stores.window_mut(0).put(b"b", Some(b"3"), 180_000).unwrap();
    assert_eq!(fetch(&stores), [70_000]);
    stores.commit(&[Some(3)]).unwrap();
    stores.close().unwrap();

    // The dead segment was deleted, so it does not come back although no time has been observed yet.
    let stores = open(directory.path(), &specs);
    assert_eq!(fetch(&stores), [70_000]);
}

#[test]
fn restoring_expires_too() {
    let directory = tempfile::tempdir().unwrap();
    let specs = [window("w", 120_000)];
    let mut stores = open(directory.path(), &specs);
    for (position, start_ms) in [(1, 10), (2, 500_000)] {
        let mut key = Vec::new();
        streams_state::key_encoding::write_window_changelog_key(b"a", start_ms, 0, &mut key);
        let change = Change {
            key: &key,
            value: Some(b"1"),
        };
        stores.restore(0, &[change], position).unwrap();
    }
    stores.close().unwrap();
    let stores = open(directory.path(), &specs);
    assert_eq!(stores.position(0), Some(2));
    assert_eq!(stores.window(0).get(b"a", 10).unwrap(), None);
    assert!(stores.window(0).get(b"a", 500_000).unwrap().is_some());
}

#[test]
fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let specs = [key_value("a")];
    let stores = open(directory.path(), &specs);
    let resources = StoreResources::in_memory();
    let second = TaskStores::open(Some(directory.path()), &specs, &resources);
    let error = second.err().expect("the directory is locked");
    assert_eq!(error.kind(), StoreErrorKind::Locked, "{error}");
    stores.close().unwrap();
    open(directory.path(), &specs);
}

#[test]
fn a_damaged_database_says_so_and_can_be_wiped() {
    let directory = tempfile::tempdir().unwrap();
    let specs = [key_value("a")];
    let mut stores = open(directory.path(), &specs);
    put(&mut stores, 0, "a");
    stores.commit(&[Some(1)]).unwrap();
    stores.close().unwrap();
    std::fs::write(directory.path().join("rocksdb/CURRENT"), b"nonsense").unwrap();

    let resources = StoreResources::in_memory();
    let damaged = TaskStores::open(Some(directory.path()), &specs, &resources);
    let error = damaged.err().expect("the database is damaged");
    assert_eq!(error.kind(), StoreErrorKind::Corruption, "{error}");
    TaskStores::wipe(directory.path(), &StoreResources::in_memory()).unwrap();
    let stores = open(directory.path(), &specs);
    assert_eq!(stores.position(0), None);
    assert!(!has(&stores, 0, "a"));
}

#[test]
fn stores_of_many_tasks_share_the_budget() {
    let budget_bytes = 8 << 20;
    let resources = StoreResources::new(budget_bytes);
    let root = tempfile::tempdir().unwrap();
    let mut tasks: Vec<_> = (0..4)
        .map(|task| {
            let directory = root.path().join(task.to_string());
            TaskStores::open(Some(&directory), &[key_value("a")], &resources).unwrap()
        })
        .collect();
    let value = vec![7; 1 << 10];
    for round in 0..16_u64 {
        for stores in &mut tasks {
            for key in 0..256_u64 {
                let key = [round.to_be_bytes(), key.to_be_bytes()].concat();
                stores.key_value_mut(0).put(&key, Some(&value)).unwrap();
            }
            stores.commit(&[Some(round as i64)]).unwrap();
        }
    }
    // 16 MiB were written, so memory has been flushed on the way. Flushes that are still under way hold their memory a little
    // longer; then what is used fits the budget with one memtable to spare.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let used_bytes = resources.memory_used_bytes();
        assert!(used_bytes > 0);
        if used_bytes < budget_bytes * 3 / 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{used_bytes} bytes");
        std::thread::sleep(Duration::from_millis(10));
    }
    for stores in tasks {
        assert_eq!(stores.key_value(0).prefix_scan(b"").unwrap().count(), 4096);
        stores.close().unwrap();
    }
}
