//! The stores of stream-stream joins, whose rows wait in memory: against a plain list, with little memory and much, commits,
//! rollbacks, endings and deaths in between.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use streams_state::key_encoding::write_window_changelog_key;
use streams_state::{
    Change, Order, StoreBackend, StoreResources, StoreSpec, TaskStores, WindowOrder, WindowSpec,
};

const CASES: u32 = 64;
const RETENTION_MS: i64 = 120_000;
const SEGMENT_MS: i64 = 60_000;
/// Tells the test that it runs as the process that is going to die, and where.
const DIRECTORY: &str = "STREAMS_STATE_JOIN_CRASH_DIRECTORY";

fn specs() -> [StoreSpec; 2] {
    ["left", "right"].map(|name| {
        let window = WindowSpec {
            retention_ms: RETENTION_MS,
            window_size_ms: 10,
            retain_duplicates: true,
            order: WindowOrder::ByKey,
        };
        StoreSpec::window(name, window, StoreBackend::RocksDb)
    })
}

fn open(directory: &Path, budget_bytes: usize) -> TaskStores {
    let resources = StoreResources::new(budget_bytes);
    TaskStores::open(Some(directory), &specs(), &resources).unwrap()
}

/// A put: key, start and value, which is the number of the put with some bytes behind it.
#[derive(Clone, Debug)]
struct Put {
    key: Vec<u8>,
    start_ms: i64,
    value: Vec<u8>,
    /// Whether it was dead when the stores were opened.
    is_gone: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, i64, usize),
    Look(Vec<u8>, i64, i64),
    Scan,
    Commit,
    Rollback,
    /// The stores are closed and opened.
    End,
    /// The stores are opened again without having been closed, and restored.
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::collection::vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 0..3);
    // Time goes on as a rule.
    let time =
        || (0..6_i64, -1..2_i64).prop_map(|(segment, offset)| (segment * 60_000 + offset).max(0));
    let size = prop_oneof![6 => 0..50_usize, 1 => 30_000..60_000_usize];
    prop_oneof![
        12 => (key(), time(), size).prop_map(|(key, time, size)| Step::Put(key, time, size)),
        6 => (key(), time(), time()).prop_map(|(key, from, to)| Step::Look(key, from, to)),
        1 => Just(Step::Scan),
        2 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::End),
        1 => Just(Step::Die),
    ]
}

/// What the first store should be; the second is written alike and never read.
struct Run<'a> {
    directory: &'a Path,
    budget_bytes: usize,
    stores: TaskStores,
    /// Every put that its store has taken, as in the changelog.
    puts: Vec<Put>,
    committed: usize,
    /// Puts before this one were there when the stores were opened; time was not.
    opened_at: usize,
    number: usize,
}

fn latest_ms(puts: &[Put]) -> Option<i64> {
    puts.iter().map(|put| put.start_ms).max()
}

fn first_live_ms(observed_ms: Option<i64>) -> i64 {
    observed_ms.map_or(0, |observed| {
        (observed - RETENTION_MS).max(0) / SEGMENT_MS * SEGMENT_MS
    })
}

impl Run<'_> {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Put(key, start_ms, size) => self.put(key, *start_ms, *size),
            Step::Look(key, from_ms, to_ms) => self.look(key, *from_ms, *to_ms),
            Step::Scan => self.scan(),
            Step::Commit => self.commit(),
            Step::Rollback => self.rollback(),
            Step::End => self.end(),
            Step::Die => self.die(),
        }
    }

    fn put(&mut self, key: &[u8], start_ms: i64, size: usize) {
        self.number += 1;
        let mut value = self.number.to_be_bytes().to_vec();
        value.resize(8 + size, 1);
        let observed_ms = self.observed_ms().max(Some(start_ms));
        for index in 0..2 {
            let store = self.stores.window_mut(index);
            store.put(key, Some(&value), start_ms).unwrap();
        }
        if start_ms >= first_live_ms(observed_ms) {
            let key = key.to_vec();
            self.puts.push(Put {
                key,
                start_ms,
                value,
                is_gone: false,
            });
        }
    }

    /// Puts before `end` that are dead by then are so for good.
    fn bury(&mut self, end: usize) {
        let first_ms = first_live_ms(latest_ms(&self.puts[self.opened_at..end]));
        for put in &mut self.puts[..end] {
            put.is_gone |= put.start_ms < first_ms;
        }
    }

    fn observed_ms(&self) -> Option<i64> {
        latest_ms(&self.puts[self.opened_at..])
    }

    /// What reads show, in no order.
    fn expected(&self, wanted: impl Fn(&Put) -> bool) -> Vec<(i64, Vec<u8>)> {
        let first_ms = self
            .observed_ms()
            .map_or(0, |observed| observed - RETENTION_MS + 1);
        let mut rows: Vec<_> = self
            .puts
            .iter()
            .filter(|put| put.start_ms >= first_ms && !put.is_gone && wanted(put))
            .map(|put| (put.start_ms, put.value.clone()))
            .collect();
        rows.sort();
        rows
    }

    fn look(&self, key: &[u8], from_ms: i64, to_ms: i64) {
        let mut found = Vec::new();
        let mut note = |start_ms, value: &[u8]| found.push((start_ms, value.to_vec()));
        let store = self.stores.window(0);
        store.fetch_with(key, from_ms, to_ms, &mut note).unwrap();
        assert!(found.is_sorted_by_key(|row| row.0));
        // Numbers of duplicates, and so their order, begin anew with each opening.
        if self.opened_at == 0 {
            assert!(found.is_sorted());
        }
        found.sort();
        let is_wanted = |put: &Put| put.key == key && (from_ms..=to_ms).contains(&put.start_ms);
        assert_eq!(found, self.expected(is_wanted));
    }

    fn scan(&self) {
        for order in [Order::Forward, Order::Backward] {
            let entries = self.stores.window(0).fetch_all(0, i64::MAX, order);
            let rows = entries.unwrap().map(|entry| {
                let (key, value) = entry.unwrap();
                (key.start_ms, value)
            });
            let mut found: Vec<_> = rows.collect();
            found.sort();
            assert_eq!(found, self.expected(|_| true));
        }
    }

    fn commit(&mut self) {
        let position = Some(self.puts.len() as i64);
        self.stores.commit(&[position, position]).unwrap();
        self.committed = self.puts.len();
    }

    fn rollback(&mut self) {
        self.stores.rollback();
        self.puts.truncate(self.committed);
    }

    fn open(&mut self) {
        let nowhere = TaskStores::open(None, &[], &StoreResources::in_memory()).unwrap();
        std::mem::replace(&mut self.stores, nowhere)
            .close()
            .unwrap();
        self.stores = open(self.directory, self.budget_bytes);
    }

    fn end(&mut self) {
        self.rollback();
        self.bury(self.committed);
        self.open();
        let position = self.stores.position(0).unwrap_or(0);
        assert_eq!(position, self.committed as i64);
        self.opened_at = self.committed;
    }

    fn die(&mut self) {
        self.rollback();
        let nowhere = TaskStores::open(None, &[], &StoreResources::in_memory()).unwrap();
        drop(std::mem::replace(&mut self.stores, nowhere));
        self.stores = open(self.directory, self.budget_bytes);
        let position = self.stores.position(0).unwrap_or(0);
        assert_eq!(self.stores.position(1).unwrap_or(0), position);
        let position = position as usize;
        assert!(position <= self.committed);
        for (put, offset) in self.puts[position..].iter().zip(position as i64..) {
            let mut key = Vec::new();
            write_window_changelog_key(&put.key, put.start_ms, 1, &mut key);
            let value = Some(put.value.as_slice());
            for index in 0..2 {
                let change = Change { key: &key, value };
                self.stores.restore(index, &[change], offset + 1).unwrap();
            }
        }
        // What was dead when the disk was last written is gone, and no more.
        self.bury(position);
        self.opened_at = position;
    }
}

fn check(budget_bytes: usize) {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec(step(), 1..120);
    TestRunner::new(config)
        .run(&steps, |steps| {
            let directory = tempfile::tempdir().unwrap();
            let mut run = Run {
                directory: directory.path(),
                budget_bytes,
                stores: open(directory.path(), budget_bytes),
                puts: Vec::new(),
                committed: 0,
                opened_at: 0,
                number: 0,
            };
            for step in &steps {
                run.apply(step);
            }
            run.scan();
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_list_with_much_memory() {
    check(64 << 20);
}

#[test]
fn a_list_with_little_memory() {
    check(256 << 10);
}

const PUTS_PER_COMMIT: i64 = 1000;

/// Commit `n` puts `n * 1000..(n + 1) * 1000` into both stores.
fn work(stores: &mut TaskStores, commits: std::ops::Range<i64>) {
    for commit in commits {
        for number in commit * PUTS_PER_COMMIT..(commit + 1) * PUTS_PER_COMMIT {
            for index in 0..2 {
                let key = (number % 7).to_be_bytes();
                let mut value = number.to_be_bytes().to_vec();
                value.resize(200, 1);
                let store = stores.window_mut(index);
                store.put(&key, Some(&value), number / 10).unwrap();
            }
        }
        let position = Some((commit + 1) * PUTS_PER_COMMIT);
        stores.commit(&[position, position]).unwrap();
    }
}

/// Checks that a store has each put up to its position once, and returns the position.
fn check_store(stores: &TaskStores, index: usize) -> i64 {
    let position = stores.position(index).unwrap_or(0);
    let rows = stores.window(index).fetch_all(0, i64::MAX, Order::Forward);
    let mut numbers: Vec<i64> = rows
        .unwrap()
        .map(|row| i64::from_be_bytes(row.unwrap().1[..8].try_into().unwrap()))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..position).collect::<Vec<_>>());
    position
}

/// Dies after some commits, when the test below has started it to do so.
#[test]
fn dies_when_told_to() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    // Enough memory for files of rows, and little enough that they are written.
    let mut stores = open(Path::new(&directory), 8 << 20);
    work(&mut stores, 0..40);
    std::process::abort();
}

/// Were a row read from the changelog that a file has already brought to disk, there would be two of it.
#[test]
fn a_file_of_rows_brings_its_position() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "joins::dies_when_told_to"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success(), "the process was to die");
    let stores = open(directory.path(), 8 << 20);
    let positions = [0, 1].map(|index| check_store(&stores, index));
    assert!(
        positions.iter().all(|position| *position > 0),
        "{positions:?}"
    );
}
