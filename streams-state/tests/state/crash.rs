//! A process that dies without a word: what is on disk is a state between two commits, with the positions of that
//! state, in all stores alike.

use std::path::Path;
use std::process::Command;

use streams_state::{
    Order, StoreBackend, StoreResources, StoreSpec, TaskStores, WindowOrder, WindowSpec,
};

/// Tells the test that it runs as the process that is going to die, and where.
const DIRECTORY: &str = "STREAMS_STATE_CRASH_DIRECTORY";
/// Tells that process after how many commits.
const COMMITS: &str = "STREAMS_STATE_CRASH_COMMITS";
const KEYS_PER_COMMIT: i64 = 50;
const VALUE_BYTES: usize = 512;

fn open(directory: &Path) -> TaskStores {
    let specs = ["left", "right"].map(|name| StoreSpec::key_value(name, StoreBackend::RocksDb));
    // So little memory that some commits are flushed on the way and the last ones are not.
    let resources = StoreResources::new(1 << 20);
    TaskStores::open(Some(directory), &specs, &resources).unwrap()
}

/// Commit `n` writes the keys `n * 50..(n + 1) * 50` to both stores, and the last of them as the position.
fn work(stores: &mut TaskStores, commits: std::ops::Range<i64>) {
    for commit in commits {
        for key in commit * KEYS_PER_COMMIT..(commit + 1) * KEYS_PER_COMMIT {
            for index in 0..2 {
                let store = stores.key_value_mut(index);
                store
                    .put(&key.to_be_bytes(), Some(&[key as u8; VALUE_BYTES]))
                    .unwrap();
            }
        }
        let position = Some((commit + 1) * KEYS_PER_COMMIT);
        stores.commit(&[position, position]).unwrap();
    }
}

/// Checks that both stores hold exactly what their position says, and returns that position.
fn check(stores: &TaskStores) -> i64 {
    let position = stores.position(0).unwrap_or(0);
    assert_eq!(stores.position(1).unwrap_or(0), position);
    for index in 0..2 {
        let entries = stores.key_value(index).range(None, None, Order::Forward);
        let keys: Vec<_> = entries
            .unwrap()
            .map(|entry| {
                let (key, value) = entry.unwrap();
                let key = i64::from_be_bytes(key.try_into().unwrap());
                assert_eq!(value, [key as u8; VALUE_BYTES]);
                key
            })
            .collect();
        assert_eq!(keys, (0..position).collect::<Vec<_>>());
    }
    position
}

/// Dies after some commits, in the middle of the next, when the test below has started it to do so.
#[test]
fn dies_when_told_to() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let commits: i64 = std::env::var(COMMITS).unwrap().parse().unwrap();
    let mut stores = open(Path::new(&directory));
    let done = check(&stores) / KEYS_PER_COMMIT;
    work(&mut stores, done..done + commits);
    stores.key_value_mut(0).put(b"lost", Some(b"1")).unwrap();
    std::process::abort();
}

#[test]
fn a_crash_loses_rows_and_positions_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut positions = Vec::new();
    for commits in [1, 3, 40, 60] {
        let before = positions.last().copied().unwrap_or(0);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::dies_when_told_to"])
            .env(DIRECTORY, directory.path())
            .env(COMMITS, commits.to_string())
            .output()
            .unwrap()
            .status;
        assert!(!status.success(), "the process was to die");

        let stores = open(directory.path());
        let position = check(&stores);
        assert!(position >= before, "what was on disk stays there");
        assert!(position <= before + commits * KEYS_PER_COMMIT);
        positions.push(position);
        stores.close().unwrap();
    }
    assert_eq!(positions[0], 0, "one commit is too little to be flushed");
    let last = *positions.last().unwrap();
    assert!(last > 0, "full write buffers reach the disk: {positions:?}");

    // Replaying from the position gives what no crash would have given.
    let mut stores = open(directory.path());
    let done = check(&stores) / KEYS_PER_COMMIT;
    work(&mut stores, done..120);
    stores.close().unwrap();
    assert_eq!(check(&open(directory.path())), 120 * KEYS_PER_COMMIT);
}

/// Tells the process that is going to die which of its commits have rows for a file of their own.
const LARGE_COMMITS: &str = "STREAMS_STATE_CRASH_LARGE_COMMITS";
/// As many rows as go to disk as a file of their own, past the write buffers.
const LARGE_COMMIT_ROWS: i64 = 4_000;
const COUNT: usize = 0;
const WINDOWS: usize = 1;

/// A key-value store with many rows, and a window store with a few that stay in the write buffer.
fn open_unequal(directory: &Path) -> TaskStores {
    let window = WindowSpec {
        retention_ms: 1_000_000,
        window_size_ms: 10,
        retain_duplicates: false,
        order: WindowOrder::ByKey,
    };
    let specs = [
        StoreSpec::key_value("count", StoreBackend::RocksDb),
        StoreSpec::window("windows", window, StoreBackend::RocksDb),
    ];
    // Too little for the rows of a large commit to wait in.
    TaskStores::open(Some(directory), &specs, &StoreResources::new(1 << 20)).unwrap()
}

/// Commit `n` writes one window, and either one row or so many that they become a file.
fn work_unequally(stores: &mut TaskStores, commits: std::ops::Range<i64>, large: &[i64]) {
    for commit in commits {
        let rows = if large.contains(&commit) {
            LARGE_COMMIT_ROWS
        } else {
            1
        };
        for row in 0..rows {
            let key = [commit.to_be_bytes(), row.to_be_bytes()].concat();
            let store = stores.key_value_mut(COUNT);
            store.put(&key, Some(&[1; VALUE_BYTES])).unwrap();
        }
        let store = stores.window_mut(WINDOWS);
        store.put(b"key", Some(b"1"), commit).unwrap();
        stores
            .commit(&[Some(commit + 1), Some(commit + 1)])
            .unwrap();
    }
}

/// Dies after some commits, when the test below has started it to do so.
#[test]
fn dies_after_unequal_commits() {
    let (Some(directory), Some(large)) = (
        std::env::var_os(DIRECTORY),
        std::env::var(LARGE_COMMITS).ok(),
    ) else {
        return;
    };
    let commits: i64 = std::env::var(COMMITS).unwrap().parse().unwrap();
    let large: Vec<i64> = large.split(',').map(|n| n.parse().unwrap()).collect();
    let mut stores = open_unequal(Path::new(&directory));
    work_unequally(&mut stores, 0..commits, &large);
    std::process::abort();
}

#[test]
fn a_crash_after_many_rows_of_one_store_loses_none_of_another() {
    for (commits, large) in [(1, "0"), (6, "3"), (6, "5"), (8, "2,5")] {
        let directory = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::dies_after_unequal_commits"])
            .env(DIRECTORY, directory.path())
            .env(COMMITS, commits.to_string())
            .env(LARGE_COMMITS, large)
            .output()
            .unwrap()
            .status;
        assert!(!status.success(), "the process was to die");

        let stores = open_unequal(directory.path());
        let last_large: i64 = large.split(',').next_back().unwrap().parse().unwrap();
        for store in [COUNT, WINDOWS] {
            let position = stores.position(store).unwrap_or(0);
            assert!(
                position > last_large,
                "{commits} commits, large {large}: what is on disk is not restored, but store {store} is at {position}"
            );
        }
        for commit in 0..stores.position(WINDOWS).unwrap() {
            let row = stores.window(WINDOWS).get(b"key", commit).unwrap();
            assert!(
                row.is_some(),
                "{commits} commits, large {large}: no {commit}"
            );
        }
        for commit in 0..stores.position(COUNT).unwrap() {
            let key = [commit.to_be_bytes(), 0_i64.to_be_bytes()].concat();
            let row = stores.key_value(COUNT).get(&key).unwrap();
            assert!(
                row.is_some(),
                "{commits} commits, large {large}: no {commit}"
            );
        }
    }
}
