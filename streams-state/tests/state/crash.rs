//! A process that dies without a word: what is on disk is a state between two commits, with the positions of that
//! state, in all stores alike.

use std::path::Path;
use std::process::Command;

use streams_state::{Order, StoreBackend, StoreResources, StoreSpec, TaskStores};

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
