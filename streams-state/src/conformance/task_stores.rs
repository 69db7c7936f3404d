//! What the stores of a task must do together.

use std::path::Path;

use crate::key_encoding::write_window_changelog_key;
use crate::{
    Change, Order, PutOutcome, StoreBackend, StoreResources, StoreSpec, TaskStores, WindowOrder,
    WindowSpec,
};

const COUNTS: usize = 0;
const WINDOWS: usize = 1;
const DUPLICATES: usize = 2;

/// Checks commit, rollback, restore and reopening of stores with this backend and resources, in `directory`, which must be
/// empty or not exist. `durable` says whether what is committed there is found again after closing.
///
/// # Panics
///
/// With the rule that is broken.
pub fn task_stores(
    backend: &StoreBackend,
    directory: &Path,
    resources: &StoreResources,
    durable: bool,
) {
    for directory in [Some(directory), None] {
        if let Some(directory) = directory {
            TaskStores::wipe(directory, resources).expect("wipe");
        }
        let task = Task {
            backend: backend.clone(),
            resources: resources.clone(),
            directory,
            durable: durable && directory.is_some(),
        };
        task.rollback_forgets_what_is_uncommitted();
        task.positions_come_with_the_commit();
        task.restore_lies_below_uncommitted_writes();
        task.restored_windows_move_time();
        task.only_what_is_durable_survives();
        super::versioned::restore(backend, directory, resources);
    }
}

struct Task<'a> {
    backend: StoreBackend,
    resources: StoreResources,
    directory: Option<&'a Path>,
    durable: bool,
}

impl Task<'_> {
    fn open(&self) -> TaskStores {
        let window = WindowSpec {
            retention_ms: 120_000,
            window_size_ms: 10,
            retain_duplicates: false,
            order: WindowOrder::ByKey,
        };
        let duplicates = WindowSpec {
            retain_duplicates: true,
            order: WindowOrder::ByTime,
            ..window.clone()
        };
        let specs = [
            StoreSpec::key_value("counts", self.backend.clone()),
            StoreSpec::window("windows", window, self.backend.clone()),
            StoreSpec::window("duplicates", duplicates, self.backend.clone()),
        ];
        TaskStores::open(self.directory, &specs, &self.resources).expect("open")
    }

    fn open_empty(&self) -> TaskStores {
        if let Some(directory) = self.directory {
            TaskStores::wipe(directory, &self.resources).expect("wipe");
        }
        let stores = self.open();
        for index in [COUNTS, WINDOWS, DUPLICATES] {
            assert_eq!(
                stores.position(index),
                None,
                "an empty store has no position"
            );
        }
        assert_eq!(content(&stores), Vec::<String>::new(), "wiped is empty");
        stores
    }

    fn rollback_forgets_what_is_uncommitted(&self) {
        let mut stores = self.open_empty();
        write(&mut stores, b"a", b"1", 10);
        write(&mut stores, b"b", b"1", 10);
        assert!(stores.uncommitted_bytes() > 0, "writes wait in memory");
        stores.commit(&[None; 3]).expect("commit");
        assert_eq!(
            stores.uncommitted_bytes(),
            0,
            "a commit leaves none waiting"
        );
        let committed = content(&stores);

        write(&mut stores, b"a", b"2", 10);
        write(&mut stores, b"c", b"2", 500_000);
        stores.key_value_mut(COUNTS).put(b"b", None).expect("put");
        stores.window_mut(WINDOWS).put(b"b", None, 10).expect("put");
        assert_ne!(content(&stores), committed, "reads see uncommitted writes");
        stores.rollback();
        assert_eq!(content(&stores), committed, "a rollback forgets them");
        assert_eq!(stores.uncommitted_bytes(), 0);
        let observed_ms = stores.window(WINDOWS).observed_time_ms();
        assert_eq!(observed_ms, Some(10), "time too");

        let outcome = stores.window_mut(DUPLICATES).put(b"a", Some(b"3"), 10);
        let sequence = 3;
        assert_eq!(
            outcome.expect("put"),
            PutOutcome::Stored { sequence },
            "and sequence numbers"
        );
        stores.close().expect("close");
    }

    fn positions_come_with_the_commit(&self) {
        let mut stores = self.open_empty();
        write(&mut stores, b"a", b"1", 10);
        stores.commit(&[Some(7), None, Some(9)]).expect("commit");
        stores.commit(&[None, Some(1), None]).expect("commit");
        let positions = [COUNTS, WINDOWS, DUPLICATES].map(|index| stores.position(index));
        assert_eq!(
            positions,
            [Some(7), Some(1), Some(9)],
            "None leaves a position as it is"
        );
        stores.close().expect("close");
    }

    fn restore_lies_below_uncommitted_writes(&self) {
        let mut stores = self.open_empty();
        let change = |key, value| Change { key, value };
        let records = [
            change(b"a".as_slice(), Some(b"1".as_slice())),
            change(b"b", Some(b"1")),
            change(b"a", Some(b"2")),
            change(b"b", None),
            change(b"c", Some(b"1")),
        ];
        stores.restore(COUNTS, &records, 5).expect("restore");
        assert_eq!(stores.position(COUNTS), Some(5));
        let expected = ["a 2", "c 1"];
        assert_eq!(
            content(&stores),
            expected,
            "the last record of a key counts"
        );

        stores
            .key_value_mut(COUNTS)
            .put(b"c", Some(b"9"))
            .expect("put");
        let records = [change(b"c".as_slice(), Some(b"3".as_slice()))];
        stores.restore(COUNTS, &records, 6).expect("restore");
        assert_eq!(content(&stores), ["a 2", "c 9"], "uncommitted lies above");
        stores.rollback();
        assert_eq!(
            content(&stores),
            ["a 2", "c 3"],
            "and what it hid comes back"
        );
        stores.close().expect("close");
    }

    fn restored_windows_move_time(&self) {
        let mut stores = self.open_empty();
        let key = |key: &[u8], start_ms, sequence| {
            let mut bytes = Vec::new();
            write_window_changelog_key(key, start_ms, sequence, &mut bytes);
            bytes
        };
        let keys = [key(b"a", 10, 0), key(b"b", 500_000, 0), key(b"c", 20, 0)];
        let records: Vec<_> = keys
            .iter()
            .map(|key| Change {
                key,
                value: Some(b"1"),
            })
            .collect();
        stores.restore(WINDOWS, &records, 3).expect("restore");
        let window = stores.window(WINDOWS);
        assert_eq!(window.observed_time_ms(), Some(500_000));
        assert_eq!(window.get(b"a", 10).expect("get"), None, "too old by now");
        let value = window.get(b"b", 500_000).expect("get");
        assert_eq!(value.as_deref(), Some(b"1".as_slice()));

        let keys = [key(b"a", 10, 1), key(b"a", 10, 2)];
        let records: Vec<_> = keys
            .iter()
            .map(|key| Change {
                key,
                value: Some(b"1"),
            })
            .collect();
        stores.restore(DUPLICATES, &records, 2).expect("restore");
        let found = stores
            .window(DUPLICATES)
            .fetch(b"a", 10, 10, Order::Forward);
        assert_eq!(found.expect("fetch").count(), 2, "duplicates are restored");

        let short = [Change {
            key: b"short",
            value: None,
        }];
        assert!(
            stores.restore(WINDOWS, &short, 4).is_err(),
            "a record without a window key is refused"
        );
        assert_eq!(stores.position(WINDOWS), Some(3), "and moves no position");
        stores.close().expect("close");
    }

    fn only_what_is_durable_survives(&self) {
        let mut stores = self.open_empty();
        write(&mut stores, b"a", b"1", 10);
        stores.commit(&[Some(1), Some(2), Some(3)]).expect("commit");
        let committed = content(&stores);
        write(&mut stores, b"a", b"2", 10);
        stores.close().expect("close");

        let stores = self.open();
        let positions = [COUNTS, WINDOWS, DUPLICATES].map(|index| stores.position(index));
        if self.durable {
            assert_eq!(content(&stores), committed, "what was committed is there");
            assert_eq!(positions, [Some(1), Some(2), Some(3)]);
        } else {
            assert_eq!(content(&stores), Vec::<String>::new(), "memory is empty");
            assert_eq!(positions, [None; 3], "so it is restored from the beginning");
        }
        stores.close().expect("close");
    }
}

/// Writes to each of the stores.
fn write(stores: &mut TaskStores, key: &[u8], value: &[u8], start_ms: i64) {
    let counts = stores.key_value_mut(COUNTS);
    counts.put(key, Some(value)).expect("put");
    for index in [WINDOWS, DUPLICATES] {
        let window = stores.window_mut(index);
        window.put(key, Some(value), start_ms).expect("put");
    }
}

/// Every entry of every store, as text.
fn content(stores: &TaskStores) -> Vec<String> {
    let counts = stores
        .key_value(COUNTS)
        .range(None, None, Order::Forward)
        .expect("range");
    let mut content: Vec<_> = counts
        .map(|entry| {
            let (key, value) = entry.expect("entry");
            format!("{} {}", key.escape_ascii(), value.escape_ascii())
        })
        .collect();
    for index in [WINDOWS, DUPLICATES] {
        let entries = stores
            .window(index)
            .fetch_all(0, i64::MAX, Order::Forward)
            .expect("fetch_all");
        content.extend(entries.map(|entry| {
            let (key, value) = entry.expect("entry");
            format!(
                "{} {} {}",
                key.key.escape_ascii(),
                key.start_ms,
                value.escape_ascii()
            )
        }));
    }
    content
}
