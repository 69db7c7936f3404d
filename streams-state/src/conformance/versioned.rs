//! What every versioned store must do.

use crate::{
    Change, StoreBackend, StoreResources, StoreSpec, TaskStores, VersionedKeyValueStore,
    VersionedPut, VersionedRecord, VersionedSpec, versioned_change,
};
use std::path::Path;

/// The cases, with an explanation of how they are written.
const CASES: &str = include_str!("versioned.txt");
/// With segments of this length.
const SEGMENT_MS: i64 = 100_000;

/// Checks a versioned store. `open` returns a new, empty store for the spec at each call.
///
/// # Panics
///
/// With the rule that the store breaks.
pub fn versioned(open: &mut dyn FnMut(&VersionedSpec) -> Box<dyn VersionedKeyValueStore>) {
    for case in cases().filter(|case| !case.restores()) {
        let mut store = open(&case.spec);
        assert_eq!(
            store.observed_time_ms(),
            None,
            "a new store has seen no time"
        );
        for line in &case.lines {
            check(line, store.as_mut(), case.name);
        }
    }
    a_version_before_the_epoch_is_refused(open);
    reads_call_their_closure_once(open);
}

/// Runs every case with a restore in it over stores of a task.
pub(super) fn restore(
    backend: &StoreBackend,
    directory: Option<&Path>,
    resources: &StoreResources,
) {
    for case in cases().filter(Case::restores) {
        if let Some(directory) = directory {
            TaskStores::wipe(directory, resources).expect("wipe");
        }
        let spec = StoreSpec::versioned("versions", case.spec.clone(), backend.clone());
        let mut stores = TaskStores::open(directory, &[spec], resources).expect("open");
        let mut batch: Vec<(&str, Vec<u8>)> = Vec::new();
        for line in &case.lines {
            match line.words.as_slice() {
                ["restore", key, value, time] => {
                    let mut bytes = Vec::new();
                    versioned_change(parse(time), bytes_of(value), &mut bytes);
                    batch.push((key, bytes));
                }
                ["restored"] => {
                    let changes: Vec<_> = batch
                        .iter()
                        .map(|(key, value)| Change {
                            key: key.as_bytes(),
                            value: Some(value),
                        })
                        .collect();
                    stores.restore(0, &changes, 1).expect("restore");
                    batch.clear();
                }
                _ => check(line, stores.versioned_mut(0), case.name),
            }
        }
    }
}

/// One case of the text.
struct Case {
    name: &'static str,
    spec: VersionedSpec,
    lines: Vec<Line>,
}

impl Case {
    fn restores(&self) -> bool {
        self.lines.iter().any(|line| line.words[0] == "restore")
    }
}

struct Line {
    text: &'static str,
    words: Vec<&'static str>,
    /// What comes behind the arrow.
    expected: Option<Vec<&'static str>>,
}

fn cases() -> impl Iterator<Item = Case> {
    CASES.split("\n== ").skip(1).map(|case| {
        let mut lines = case.lines();
        let title = lines.next().expect("a case has a title");
        let (name, retention) = title.rsplit_once(", ").expect("a title ends with a number");
        Case {
            name,
            spec: VersionedSpec {
                history_retention_ms: parse(retention),
                segment_interval_ms: SEGMENT_MS,
            },
            lines: lines
                .filter(|line| !line.is_empty())
                .map(read_line)
                .collect(),
        }
    })
}

fn read_line(text: &'static str) -> Line {
    let words = |text: &'static str| text.split(' ').filter(|word| !word.is_empty()).collect();
    let (words, expected) = match text.split_once(" -> ") {
        Some((line, expected)) => (words(line), Some(words(expected))),
        None => (words(text), None),
    };
    Line {
        text,
        words,
        expected,
    }
}

fn parse(number: &str) -> i64 {
    number.parse().expect("a number")
}

fn bytes_of(value: &str) -> Option<&[u8]> {
    match value {
        "null" => None,
        "''" => Some(b""),
        value => Some(value.as_bytes()),
    }
}

fn check(line: &Line, store: &mut dyn VersionedKeyValueStore, case: &str) {
    let at = format!("{}, in the case '{case}'", line.text);
    let (found, expected) = match (line.words.as_slice(), &line.expected) {
        (["put", key, value, time], Some(expected)) => {
            let outcome = store.put(key.as_bytes(), bytes_of(value), parse(time));
            let expected = match expected[0] {
                "latest" => VersionedPut::Latest,
                "rejected" => VersionedPut::Rejected,
                valid_to => VersionedPut::Older {
                    valid_to_ms: parse(valid_to),
                },
            };
            assert_eq!(outcome.expect("put"), expected, "{at}");
            return;
        }
        (["get", key], Some(expected)) => (store.get(key.as_bytes()), expected),
        (["get", key, time], Some(expected)) => {
            (store.get_as_of(key.as_bytes(), parse(time)), expected)
        }
        (["delete", key, time], expected) => {
            let found = store.delete(key.as_bytes(), parse(time));
            let found = found.expect("delete");
            if let Some(expected) = expected {
                // Until when the deleted version was valid is not part of the case.
                let found = found.map(|version| (version.value, version.valid_from_ms));
                let expected =
                    version(expected).map(|version| (version.value, version.valid_from_ms));
                assert_eq!(found, expected, "{at}");
            }
            return;
        }
        _ => panic!("not a line of a case: {at}"),
    };
    assert_eq!(found.expect("get"), version(expected), "{at}");
}

fn version(expected: &[&str]) -> Option<VersionedRecord> {
    let (value, times) = expected.split_first().expect("something is expected");
    bytes_of(value).map(|value| VersionedRecord {
        value: value.to_vec(),
        valid_from_ms: parse(times[0]),
        valid_to_ms: times.get(1).map(|time| parse(time)),
    })
}

fn a_version_before_the_epoch_is_refused(
    open: &mut dyn FnMut(&VersionedSpec) -> Box<dyn VersionedKeyValueStore>,
) {
    let mut store = open(&VersionedSpec::with_history_retention_ms(60_000));
    assert!(
        store.put(b"a", Some(b"1"), -1).is_err(),
        "a version cannot be valid from before the epoch"
    );
    assert_eq!(store.get_as_of(b"a", -1).expect("get"), None);
}

fn reads_call_their_closure_once(
    open: &mut dyn FnMut(&VersionedSpec) -> Box<dyn VersionedKeyValueStore>,
) {
    let mut store = open(&VersionedSpec::with_history_retention_ms(60_000));
    store.put(b"a", Some(b"1"), 10).expect("put");
    store.put(b"a", None, 20).expect("put");
    for as_of in [
        crate::AsOf::Latest,
        crate::AsOf::TimeMs(5),
        crate::AsOf::TimeMs(15),
        crate::AsOf::TimeMs(25),
    ] {
        let mut calls = 0;
        store
            .get_with(b"a", as_of, &mut |_| calls += 1)
            .expect("get_with");
        assert_eq!(
            calls, 1,
            "get_with calls its closure once, found or not: {as_of:?}"
        );
    }
}
