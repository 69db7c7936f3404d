//! Replays every scenario. Arguments are parts of paths: only those scenarios are replayed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use streams_conformance::{compare, run, scenario};

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files = Vec::new();
    find(&directory, &mut files);
    files.sort();
    let total = files.len();
    files.retain(|file| {
        let name = file.to_string_lossy();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
    });
    let (mut failed, mut unknown) = (0, 0);
    for file in &files {
        let name = file.strip_prefix(&directory).unwrap_or(file);
        if let Err(message) = replay(file) {
            match message.starts_with("not interpreted") {
                true => unknown += 1,
                false => failed += 1,
            }
            println!("---- {}\n{message}", name.display());
        }
    }
    for name in undocumented(&directory, &files) {
        failed += 1;
        println!("---- {name}\nstreams-core/docs/differences.md does not name it");
    }
    println!(
        "{} of {total} scenarios replayed, {failed} failed, {unknown} not interpreted",
        files.len()
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The scenarios that differ on purpose and are not on the page that says why.
fn undocumented(directory: &Path, files: &[PathBuf]) -> Vec<String> {
    let page = directory.join("../../../streams-core/docs/differences.md");
    let page = std::fs::read_to_string(page).expect("the page can be read");
    files
        .iter()
        .filter(|file| {
            std::fs::read_to_string(file).is_ok_and(|text| text.contains("\"differs\":"))
        })
        .map(|file| {
            let name = file.strip_prefix(directory).unwrap_or(file);
            name.with_extension("").display().to_string()
        })
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect()
}

/// Where the interpreter calls the library is no part of what the library says.
fn without_lines(text: String) -> String {
    let words = text
        .split_inclusive(' ')
        .map(|word| match word.contains(".rs:") {
            true => "(here) ",
            false => word,
        });
    words.collect()
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the scenarios can be read") {
        let path = entry.expect("the scenarios can be read").path();
        if path.is_dir() {
            find(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
}

fn replay(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let scenario = scenario::Scenario::read(json).map_err(|error| error.to_string())?;
    let recorded = scenario.recorded().map_err(|error| error.to_string())?;
    let answers = std::panic::catch_unwind(|| run::run(&scenario))
        .map_err(|_| "the library panics".to_owned())?
        .map_err(|error| error.to_string())?;
    let expected = scenario.difference();
    let difference = compare::difference(&recorded, &answers).map(without_lines);
    match (expected, difference) {
        (None, None) => Ok(()),
        (None, Some(difference)) => Err(difference),
        (Some(expected), Some(difference)) if expected == difference => Ok(()),
        (Some(_), Some(difference)) => Err(format!(
            "it differs, but not as 'difference' says:\n{}",
            serde_json::json!(difference.lines().collect::<Vec<_>>())
        )),
        (Some(_), None) => Err("nothing differs any more".to_owned()),
    }
}
