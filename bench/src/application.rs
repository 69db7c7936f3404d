//! Applications under measurement, as child processes: ours and Kafka Streams'.

use crate::app::Mode;
use crate::kafka::{JVM_OPTIONS, pinned};
use crate::machine::env;
use crate::workload::Workload;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use streams_core::{Error, Result};
use tempfile::TempDir;

/// Which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Kafka Streams.
    Java,
    /// This one.
    Rust,
}

impl Side {
    /// As it is reported.
    pub fn name(self) -> &'static str {
        match self {
            Side::Java => "java",
            Side::Rust => "rust",
        }
    }
}

/// What one run of an application needs to know.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Which library.
    pub side: Side,
    /// What it does.
    pub workload: &'a Workload,
    /// Until when.
    pub mode: Mode,
    /// The cluster.
    pub bootstrap: &'a str,
    /// The group and the prefix of internal topics.
    pub application_id: &'a str,
    /// Where the records are.
    pub inputs: Vec<String>,
    /// Where the results go.
    pub output: &'a str,
    /// Settings of Kafka Streams by name.
    pub settings: Vec<(String, String)>,
    /// The JVM's heap, smallest and largest.
    pub heap: &'a str,
    /// A number of its own.
    pub marker: u64,
}

/// A running application.
#[derive(Debug)]
pub struct Application {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    started: Instant,
    /// From the start of the process to RUNNING, once it said so.
    pub until_running: Option<Duration>,
    side: Side,
    log: TempDir,
    // Until the application has ended.
    _state: TempDir,
}

impl Launch<'_> {
    /// Starts it on the first core.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<Application> {
        let failed = |error: std::io::Error| Error::fatal(format!("the application: {error}"));
        let directory = || tempfile::Builder::new().prefix("bench-").tempdir();
        let (state, log) = (directory().map_err(failed)?, directory().map_err(failed)?);
        let mut command = match self.side {
            Side::Java => self.java(),
            Side::Rust => pinned(0, &beside("workload")),
        };
        command.arg(&self.workload.name);
        for (option, value) in self.workload.options() {
            command.args([format!("--{option}"), value]);
        }
        let shape = self.workload.shape.to_string();
        let mode = match self.mode {
            Mode::Drain => "drain",
            Mode::Start => "start",
            Mode::Serve => "serve",
        };
        let state_dir = state.path().display().to_string();
        for (option, value) in [
            ("shape", shape.as_str()),
            ("mode", mode),
            ("bootstrap", self.bootstrap),
            ("application-id", self.application_id),
            ("output", self.output),
            ("state-dir", &state_dir),
            ("marker", &self.marker.to_string()),
        ] {
            command.args([&format!("--{option}"), value]);
        }
        for input in &self.inputs {
            command.args(["--input", input]);
        }
        for (name, value) in &self.settings {
            command.args(["--set", &format!("{name}={value}")]);
        }
        let errors = File::create(log.path().join("log")).map_err(failed)?;
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().expect("it is piped");
        Ok(Application {
            child,
            lines: BufReader::new(output).lines(),
            started,
            until_running: None,
            side: self.side,
            log,
            _state: state,
        })
    }

    fn java(&self) -> Command {
        let mut command = pinned(0, "java");
        command
            .args([format!("-Xms{}", self.heap), format!("-Xmx{}", self.heap)])
            .args(JVM_OPTIONS)
            // What it takes by itself on a machine of two cores.
            .arg("-XX:+UseG1GC")
            .args(["-cp", &env("BENCH_CLASS_PATH"), "bench.Workload"]);
        command
    }
}

/// A program that was built with this one.
fn beside(program: &str) -> String {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name(program).display().to_string()
}

impl Application {
    /// Waits for RUNNING.
    ///
    /// # Errors
    /// When it ends before.
    pub fn wait_until_running(&mut self) -> Result<Duration> {
        while self.until_running.is_none() {
            if self.next()?.is_none() {
                return Err(self.failed());
            }
        }
        Ok(self.until_running.unwrap_or_default())
    }

    /// Waits until it has ended, and gives what it says of itself; one that serves is asked to.
    ///
    /// # Errors
    /// When it failed.
    pub fn wait(&mut self) -> Result<Value> {
        drop(self.child.stdin.take());
        let mut result = None;
        while let Some(said) = self.next()? {
            if said["event"] == "result" {
                result = Some(said);
            }
        }
        let status = self.child.wait();
        match result {
            Some(result) if status.is_ok_and(|status| status.success()) => Ok(result),
            _ => Err(self.failed()),
        }
    }

    /// The next thing it says; `None` at its end.
    fn next(&mut self) -> Result<Option<Value>> {
        for line in self.lines.by_ref() {
            let line = line.map_err(|error| Error::fatal(error.to_string()))?;
            let Ok(said) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if said["event"] == "running" && self.until_running.is_none() {
                self.until_running = Some(self.started.elapsed());
            }
            return Ok(Some(said));
        }
        Ok(None)
    }

    fn failed(&self) -> Error {
        let log = std::fs::read_to_string(self.log.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        Error::fatal(format!(
            "the application in {} failed; the end of what it said:\n{}",
            self.side.name(),
            lines[lines.len().saturating_sub(20)..].join("\n")
        ))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Usually it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Deletes the topics whose names begin so.
///
/// # Errors
/// When the program that does it fails.
pub fn delete_topics(bootstrap: &str, prefix: &str) -> Result<()> {
    let output = pinned(1, "java")
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .args([&env("BENCH_CLASS_PATH"), "bench.Workload", "delete-topics"])
        .args([bootstrap, prefix])
        .output()
        .map_err(|error| Error::fatal(format!("java: {error}")))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Error::fatal(format!(
            "topics cannot be deleted: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}
