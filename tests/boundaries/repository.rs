//! The files of the repository, and what may be in them.

use std::fs;
use std::path::PathBuf;

/// What a visitor sees at the top, next to hidden files.
const TOP_LEVEL: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "apps",
    "bench",
    "dev",
    "streams-core",
    "streams-state",
    "tests",
];

/// Hidden directories at the top that belong to the project; others are those of git and of editors.
const HIDDEN_DIRECTORIES: [&str; 2] = [".cargo", ".ci"];

/// Absolute paths of one machine. Written in two parts, so that this file does not contain them itself.
const PATHS_OF_ONE_MACHINE: [(&str, &str); 4] = [
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/wo", "rk/"),
    ("/Us", "ers/"),
];

/// Signs of unfinished work, likewise in two parts.
const SIGNS_OF_UNFINISHED_WORK: [(&str, &str); 6] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("todo", "!("),
    ("unimplemented", "!("),
    ("dbg", "!("),
    ("#[ig", "nore"),
];

/// The top of the repository.
pub fn root() -> PathBuf {
    let tests = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("tests/ exists");
    tests
        .parent()
        .expect("tests/ is in the repository")
        .to_path_buf()
}

/// Every file of the project, relative to the top.
pub fn files() -> Vec<String> {
    let root = root();
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the project can be read") {
            let path = entry.expect("the project can be read").path();
            let relative = path
                .strip_prefix(&root)
                .expect("it is below the top")
                .to_str()
                .expect("the names of files are text")
                .to_owned();
            if !path.is_dir() {
                files.push(relative);
            } else if !is_foreign(&relative) {
                directories.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Whether a directory at the top is none of the project's: what cargo builds, what git and editors keep.
fn is_foreign(directory: &str) -> bool {
    let is_hidden = directory.starts_with('.') && !directory.contains('/');
    directory == "target" || (is_hidden && !HIDDEN_DIRECTORIES.contains(&directory))
}

/// The text of a file, relative to the top.
pub fn read(file: &str) -> String {
    let bytes = fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is at the top and not expected there, or expected and not there.
fn top_level_violations(files: &[String]) -> Vec<String> {
    let mut names: Vec<&str> = files
        .iter()
        .map(|file| file.split_once('/').map_or(file.as_str(), |(top, _)| top))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    names.dedup();
    let unexpected = names
        .iter()
        .filter(|name| !TOP_LEVEL.contains(name))
        .map(|name| format!("{name} is at the top of the repository"));
    let missing = TOP_LEVEL
        .iter()
        .filter(|name| !names.contains(name))
        .map(|name| format!("{name} is missing at the top of the repository"));
    unexpected.chain(missing).collect()
}

/// Lines that only one machine understands, or that are not finished.
fn text_violations(file: &str, text: &str) -> Vec<String> {
    let forbidden: Vec<String> = PATHS_OF_ONE_MACHINE
        .iter()
        .chain(&SIGNS_OF_UNFINISHED_WORK)
        .map(|(start, end)| format!("{start}{end}"))
        .collect();
    let mut violations = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for word in &forbidden {
            if starts_somewhere(line, word) {
                violations.push(format!("{file}:{number}: {word:?} in: {}", line.trim()));
            }
        }
    }
    violations
}

/// Whether `word` is in `line` and does not continue a longer word or path.
fn starts_somewhere(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "_.})/-".contains(before))
    })
}

#[test]
fn the_top_level_is_as_documented() {
    assert_eq!(top_level_violations(&files()), [""; 0]);
}

#[test]
fn every_file_is_finished_and_speaks_of_no_machine() {
    let violations: Vec<String> = files()
        .iter()
        .filter(|file| *file != "Cargo.lock")
        .flat_map(|file| text_violations(file, &read(file)))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_planted_file_at_the_top_is_found() {
    let mut files: Vec<String> = TOP_LEVEL.iter().map(|name| format!("{name}/x")).collect();
    files.push(".gitignore".to_owned());
    assert_eq!(top_level_violations(&files), [""; 0]);

    files.push("notes.txt".to_owned());
    files.remove(0);
    assert_eq!(
        top_level_violations(&files),
        [
            "notes.txt is at the top of the repository",
            "Cargo.lock is missing at the top of the repository"
        ]
    );
}

#[test]
fn planted_text_is_found() {
    for (start, end) in PATHS_OF_ONE_MACHINE.iter().chain(&SIGNS_OF_UNFINISHED_WORK) {
        let line = format!("first\nlet x = \"{start}{end}\";\n");
        assert_eq!(text_violations("a.rs", &line).len(), 1, "{line}");
    }
    assert_eq!(
        text_violations("a.rs", "https://example.org/home\nteamwork/s, MASTODON"),
        [""; 0]
    );
}
