//! Which source files may name which library. The Rust of every crate but these tests is looked at, without its
//! comments and strings: those may say what a boundary is for.

use crate::repository::{files, read};

/// Words of code, and the only places below which they may stand.
const BOUNDARIES: [(&[&str], &[&str]); 3] = [
    (&["rdkafka", "rdkafka_sys"], &["streams-core/src/kafka/"]),
    (
        &["rocksdb", "librocksdb_sys"],
        &["streams-state/src/rocksdb/"],
    ),
    (
        &["unsafe"],
        &[
            "streams-core/src/kafka/",
            "streams-core/src/task/stores/window/values.rs",
        ],
    ),
];

/// The lines of a Rust file that name something outside its place.
fn violations(file: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (words, places) in BOUNDARIES {
        if places.iter().any(|place| file.starts_with(place)) {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            let code = code(line);
            for word in words.iter().filter(|word| names(&code, word)) {
                violations.push(format!(
                    "{file}:{number}: `{word}` outside {places:?}: {}",
                    line.trim()
                ));
            }
        }
    }
    violations
}

/// The line without its strings and its comment. A string that spans lines has no end here; that its words are
/// still looked at does no harm, because prose does not have the form of a path.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut rest = line.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' if in_string => drop(rest.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && rest.peek() == Some(&'/') => break,
            _ if !in_string => code.push(letter),
            _ => {}
        }
    }
    code
}

/// Whether `code` contains `word` as a keyword, or as the crate in a path. A module or function may have a crate's
/// name: `crate::rocksdb::..` is the boundary itself, seen from outside.
fn names(code: &str, word: &str) -> bool {
    let of_a_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let is_whole = !before.ends_with(of_a_word) && !after.starts_with(of_a_word);
        let continues_a_path =
            before.trim_end_matches("::").ends_with(of_a_word) && before.ends_with("::");
        let is_crate =
            after.starts_with("::") || before.ends_with("use ") || before.ends_with("crate ");
        is_whole && (word == "unsafe" || is_crate && !continues_a_path)
    })
}

#[test]
fn libraries_are_named_in_their_place_only() {
    let violations: Vec<String> = files()
        .iter()
        .filter(|file| file.ends_with(".rs") && !file.starts_with("tests/"))
        .flat_map(|file| violations(file, &read(file)))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_planted_name_is_found() {
    for (file, line) in [
        (
            "streams-core/src/runtime/worker.rs",
            "use rdkafka::consumer::BaseConsumer;",
        ),
        (
            "streams-core/src/kafka.rs",
            "let client = rdkafka_sys::rd_kafka_new();",
        ),
        (
            "apps/weather/src/main.rs",
            "    rdkafka::util::get_rdkafka_version();",
        ),
        (
            "streams-core/src/task/stores.rs",
            "use {rocksdb::DB, std::fs};",
        ),
        (
            "streams-state/src/open.rs",
            "let db = ::rocksdb::DB::open_default(path)?;",
        ),
        (
            "streams-core/src/task/mod.rs",
            "let x = unsafe { *pointer };",
        ),
    ] {
        assert_eq!(violations(file, line).len(), 1, "{file}: {line}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (file, line) in [
        (
            "streams-core/src/kafka/consumer.rs",
            "use rdkafka::consumer::BaseConsumer;",
        ),
        ("streams-state/src/rocksdb/mod.rs", "use rocksdb::DB;"),
        ("streams-state/src/lib.rs", "pub mod rocksdb;"),
        ("streams-state/tests/state/conformance.rs", "fn rocksdb() {"),
        (
            "streams-core/src/config/names.rs",
            "variable: 'rocksdb.config.setter' is a \\",
        ),
        (
            "apps/weather/src/main.rs",
            "use streams_state::rocksdb::Options;",
        ),
        (
            "streams-state/src/open.rs",
            "use crate::rocksdb::RocksDbStore;",
        ),
        (
            "streams-core/src/task/stores.rs",
            "let backend = Backend::RocksDb; // on rocksdb",
        ),
        (
            "streams-core/src/config.rs",
            "//! What librdkafka calls it, see rdkafka.",
        ),
        (
            "streams-core/src/config.rs",
            "const PREFIX: &str = \"librdkafka.\"; // rdkafka takes it",
        ),
        ("streams-core/src/lib.rs", "#![deny(unsafe_code)]"),
        (
            "streams-state/src/lib.rs",
            "#[cfg(feature = \"rocksdb\")] // or not",
        ),
        (
            "streams-state/src/error.rs",
            "with the feature `rocksdb`\")]",
        ),
    ] {
        assert_eq!(violations(file, line), [""; 0], "{file}: {line}");
    }
}
