//! A supervised process ends with its supervisor, and tells how it ended.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::supervised::{self, Supervised};
use crate::support::wait;

const DEADLINE: Duration = Duration::from_secs(30);

fn start(
    program: &str,
    arguments: &[&str],
    directory: &TempDir,
    remove_at_end: Option<&Path>,
) -> Supervised {
    let log = directory.path().join("log");
    let mut command = Command::new(program);
    command.args(arguments);
    Supervised::start(&command, &log, &log, remove_at_end)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

fn is_alive(pid: u32) -> bool {
    Command::new("kill")
        .args(["-0", &pid.to_string()])
        .output()
        .expect("kill can be started")
        .status
        .success()
}

#[test]
fn it_ends_when_the_supervisor_lets_go_and_its_directory_with_it() {
    let directory = directory();
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("a directory can be made");
    let sleeper = start("sleep", &["1000"], &directory, Some(&data));
    let pid = sleeper.pid();
    assert!(is_alive(pid));

    drop(sleeper);
    assert!(!is_alive(pid));
    wait::until("the end of the directory", DEADLINE, || !data.exists());
}

#[test]
fn its_exit_code_is_the_childs() {
    let directory = directory();
    let ended = start("sh", &["-c", "exit 3"], &directory, None);
    assert_eq!(ended.wait_for_exit(DEADLINE), 3);

    let killed = start("sleep", &["1000"], &directory, None);
    killed.signal("KILL");
    assert_eq!(killed.wait_for_exit(DEADLINE), 128 + 9);
}

#[test]
fn a_missing_program_is_named_in_the_log() {
    let directory = directory();
    let missing = start("no-such-program", &[], &directory, None);
    assert_eq!(missing.wait_for_exit(DEADLINE), 127);
    assert!(supervised::tail(&directory.path().join("log")).contains("no-such-program"));
}
