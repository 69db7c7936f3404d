//! What a user sees for a topology that cannot work: programs that do not compile, and what the compiler must say.
//!
//! Each file in `cases/` is a program with one mistake. Lines `//~ text` say what the message contains; everything is compared
//! without rustc's own words around it, which change from version to version. A line `//= before => after` is the correction
//! that the message asks for: with all of them applied the program compiles, so that the advice is known to be good.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "../support/root.rs"]
mod root;

/// The library, built for this test without what needs native code.
struct Library {
    rmeta: PathBuf,
    dependencies: PathBuf,
}

impl Library {
    fn build() -> Library {
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--locked",
                "--package=streams-core",
                "--no-default-features",
                "--features=test-driver",
                "--message-format=json",
            ])
            .current_dir(root::root())
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let library = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["reason"] == "compiler-artifact")
            .filter(|message| message["target"]["name"] == "streams_core")
            .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .find(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "rlib")
            })
            .expect("cargo names the library it built");
        let mut dependencies = library
            .parent()
            .expect("it lies in a directory")
            .to_path_buf();
        if !dependencies.ends_with("deps") {
            dependencies.push("deps");
        }
        Library {
            rmeta: library,
            dependencies,
        }
    }

    /// What rustc has against a program: its errors as it shows them.
    fn errors(&self, name: &str, program: &str) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join(name);
        fs::write(&file, program).expect("the program can be written");
        let output = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=bin", "--emit=metadata"])
            .args(["--error-format=json", "--cap-lints=allow"])
            .arg(format!("--extern=streams_core={}", self.rmeta.display()))
            .arg(format!("-Ldependency={}", self.dependencies.display()))
            .arg("--out-dir")
            .arg(directory.path())
            .arg(&file)
            .output()
            .expect("rustc runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<String> = stderr
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| {
                message["level"] == "error"
                    && !message["spans"].as_array().is_none_or(Vec::is_empty)
            })
            .map(|message| message["rendered"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(errors.is_empty(), output.status.success(), "{stderr}");
        errors
    }
}

fn cases() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("compile_errors/cases");
    let mut cases: Vec<(String, String)> = fs::read_dir(directory)
        .expect("the cases lie beside this file")
        .map(|entry| {
            let path = entry.expect("a case").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name");
            (
                name.to_owned(),
                fs::read_to_string(&path).expect("a program"),
            )
        })
        .collect();
    cases.sort();
    cases
}

fn lines<'a>(program: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    program
        .lines()
        .filter_map(move |line| line.strip_prefix(mark))
}

/// What is wrong with a case, if anything.
fn check(library: &Library, name: &str, program: &str) -> Result<(), String> {
    let errors = library.errors(name, program);
    // A message may be broken over several lines and framed.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let [error] = errors.as_slice() else {
        return Err(format!(
            "{name}: one mistake is one error, got {}:\n{}",
            errors.len(),
            errors.join("\n")
        ));
    };
    let shown = words(error);
    for expected in lines(program, "//~ ") {
        if !shown.contains(&words(expected)) {
            return Err(format!(
                "{name}: the error does not say '{expected}':\n{error}"
            ));
        }
    }
    let mut corrected = program.to_owned();
    for correction in lines(program, "//= ") {
        let (before, after) = correction
            .split_once(" => ")
            .ok_or_else(|| format!("{name}: '{correction}' is no correction"))?;
        if !corrected.contains(&format!("{before}\n")) && corrected.matches(before).count() < 2 {
            return Err(format!("{name}: there is no '{before}' to correct"));
        }
        // The line that says what to correct contains it as well, and is a comment.
        corrected = corrected.replace(before, after);
    }
    let errors = library.errors(name, &corrected);
    if !errors.is_empty() {
        return Err(format!(
            "{name}: corrected as the error says, it still does not compile:\n{}",
            errors.join("\n")
        ));
    }
    Ok(())
}

#[test]
fn mistakes_are_explained_and_the_advice_is_good() {
    let library = Library::build();
    let cases = cases();
    assert!(cases.len() >= 8, "the cases were found");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(name, program)| check(&library, name, program).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
