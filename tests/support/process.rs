//! The project's own programs, started as their users start them.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::supervised::{self, Supervised};
use super::wait;

/// What the names of variables begin with that programs of this workspace read.
pub const SETTINGS: [&str; 5] = ["STREAMS_", "KAFKA_", "GRAPHITE_", "WEATHER_", "RUST_LOG"];

/// A running program of this workspace. It is killed when this is dropped.
pub struct Program {
    process: Supervised,
    directory: TempDir,
}

impl Program {
    /// Starts the binary `name` (or the example, as `examples/name`) with arguments and additional environment
    /// variables, in an empty working directory of its own. Variables of the tests' own environment that would set
    /// something up in the program do not reach it.
    ///
    /// # Panics
    ///
    /// When it has not been built; the message says what to do.
    pub fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Program {
        let directory = tempfile::Builder::new()
            .prefix("program-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory can be made below target/");
        let mut command = Command::new(path(name));
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if SETTINGS.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&variable);
            }
        }
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(directory.path());
        let process = Supervised::start(
            &command,
            &directory.path().join("stdout"),
            &directory.path().join("stderr"),
            Some(directory.path()),
        );
        Program { process, directory }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the program has written to its standard output so far.
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// What the program has written to its standard error so far.
    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    /// Waits until the standard output contains `text`, and gives the whole of it.
    ///
    /// # Panics
    ///
    /// When the program ends without it, or `deadline` passes; the message has the end of its standard error.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str, deadline: Duration) -> String {
        let what = format!("{text:?} on the program's standard output");
        wait::until_some(&what, deadline, || {
            // Asked before reading, so that the last words of a program that has ended are read.
            let exit_code = self.process.exit_code();
            let stdout = self.stdout();
            if stdout.contains(text) {
                return Some(stdout);
            }
            assert!(
                exit_code.is_none(),
                "the program ended with code {exit_code:?} before {what} came:\n{stdout}\nits standard error:\n{}",
                supervised::tail(&self.directory.path().join("stderr"))
            );
            None
        })
    }

    /// Asks the program to stop, as an operator or a service manager does (SIGTERM).
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Kills the program (SIGKILL), as a crash does.
    pub fn kill(&self) {
        self.process.signal("KILL");
    }

    /// Sends the program a signal, named as `kill` names it: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Its exit code, once it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.process.exit_code()
    }

    /// Waits until the program has ended, and gives its exit code; 128 plus the signal's number when a signal
    /// ended it.
    ///
    /// # Panics
    ///
    /// When it still runs after `deadline`.
    #[track_caller]
    pub fn wait_for_exit(&self, deadline: Duration) -> i32 {
        self.process.wait_for_exit(deadline)
    }

    fn text(&self, file: &str) -> String {
        let bytes = fs::read(self.directory.path().join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Where cargo puts the program: next to `deps`, where this test binary is.
pub fn path(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test binary is in target/<profile>/deps");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "{} has not been built: run `./dev test`, or first `cargo build --workspace --all-features --bins --examples`",
        program.display()
    );
    program
}
