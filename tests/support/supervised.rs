//! A child process that cannot outlive the test process, however that ends.
//!
//! A small shell stands between the two. It holds the reading end of a pipe whose writing end only the test
//! process has: when the test process is gone, also by SIGKILL or an abort, the pipe ends, and the shell kills
//! the child. Destructors would not do: statics are never dropped, and a killed process runs none.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::wait;

/// Arguments: where the child's output goes, a directory to remove when the pipe has ended (or nothing), then the
/// program and its arguments. The shell's own output is one line, the child's process id. The watcher stops
/// listening to the shell's SIGTERM once it has work to do, so that a child which dies of that very work does not
/// stop the removal.
const SHELL_SCRIPT: &str = r#"
output=$1 remove=$2; shift 2
exec 3<&0
{ exec "$@" </dev/null >>"$output" 3<&- ; } &
child=$!
echo $child
exec >/dev/null
{
  read -r _ <&3
  trap '' TERM
  while kill -KILL $child; do sleep 0.05; done
  [ -z "$remove" ] || rm -rf "$remove"
} 2>/dev/null &
watcher=$!
wait $child
status=$?
kill $watcher 2>/dev/null
exit $status
"#;

/// A running child process, killed when this is dropped or the test process ends.
pub struct Supervised {
    shell: Mutex<Child>,
    lifeline: Option<ChildStdin>,
    pid: u32,
}

impl Supervised {
    /// Starts `command`, whose input is empty and whose standard output and error are appended to the files.
    /// `remove_at_end` is a directory to remove when the test process ends with the child still running.
    pub fn start(
        command: &Command,
        stdout: &Path,
        stderr: &Path,
        remove_at_end: Option<&Path>,
    ) -> Supervised {
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(stderr)
            .unwrap_or_else(|error| panic!("{} cannot be opened: {error}", stderr.display()));

        let mut shell = Command::new("sh");
        shell
            .args(["-c", SHELL_SCRIPT, "supervised"])
            .arg(stdout)
            .arg(remove_at_end.unwrap_or(Path::new("")))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            shell.current_dir(directory);
        }
        // A group of its own: Ctrl-C in a terminal ends the tests, and the shell then does its work.
        let mut shell = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("sh can be started");

        let lifeline = shell.stdin.take();
        let mut first_line = String::new();
        BufReader::new(shell.stdout.take().expect("stdout is piped"))
            .read_line(&mut first_line)
            .expect("the shell says the process id");
        let pid = first_line
            .trim()
            .parse()
            .expect("the shell says the process id first");
        Supervised {
            shell: Mutex::new(shell),
            lifeline,
            pid,
        }
    }

    /// The process id of the child.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends the child a signal, named as `kill` names it: `TERM`, `KILL`, `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid.to_string()])
            .status()
            .expect("kill can be started");
        assert!(
            status.success(),
            "process {} cannot be sent {name}: it has ended",
            self.pid
        );
    }

    /// The child's exit code, once it has ended; 128 plus the signal's number when a signal ended it.
    pub fn exit_code(&self) -> Option<i32> {
        let status = self
            .shell
            .lock()
            .expect("no test panics while it holds this")
            .try_wait()
            .expect("the shell is our child")?;
        Some(status.code().expect("nobody sends signals to the shell"))
    }

    /// Waits until the child has ended, and gives its exit code.
    ///
    /// # Panics
    ///
    /// When it still runs after `deadline`.
    #[track_caller]
    pub fn wait_for_exit(&self, deadline: Duration) -> i32 {
        wait::until_some(
            &format!("the end of process {}", self.pid),
            deadline,
            || self.exit_code(),
        )
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The shell kills the child when the pipe ends, so waiting for it is waiting for the child.
        drop(self.lifeline.take());
        if let Ok(shell) = self.shell.get_mut() {
            let _ = shell.wait();
        }
    }
}

/// The end of a log file, for the message of a failure.
pub fn tail(path: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
