//! The embedded broker in a process of its own, so that what it takes is not the application's; and applications on it.

use crate::app::Run;
use crate::{data, load};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, Command, Stdio};
use streams_core::embedded::EmbeddedBroker;
use streams_core::{Error, Result};

/// The word with which the program starts itself as a broker.
pub const SERVE: &str = "serve";

/// A broker in a child process; it ends with this.
#[derive(Debug)]
pub struct ChildBroker {
    child: Child,
    bootstrap: String,
}

impl ChildBroker {
    /// Starts this program again with the same arguments as a broker that holds the inputs.
    ///
    /// # Errors
    /// When it cannot be started or filled.
    pub fn start(arguments: &[String]) -> Result<ChildBroker> {
        let failed = |error: std::io::Error| Error::fatal(format!("the broker: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .arg(SERVE)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut bootstrap = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output)
                .read_line(&mut bootstrap)
                .map_err(failed)?;
        }
        let bootstrap = bootstrap.trim().to_owned();
        if bootstrap.is_empty() {
            return Err(Error::fatal("the broker ended: see its message above"));
        }
        Ok(ChildBroker { child, bootstrap })
    }

    /// Its address.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for ChildBroker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may have ended already.
        let _ = self.child.wait();
    }
}

/// Drains a workload on such a broker, in one more process, and gives what that says of itself.
///
/// # Errors
/// When it fails.
pub fn drain(workload: &str, options: &[&str]) -> Result<Value> {
    let (_, said) = drain_watched(workload, options, |_| Ok(()))?;
    Ok(said)
}

/// The same, with the number of the process, which `watch` is told when it has begun.
///
/// # Errors
/// When it or `watch` fails.
pub fn drain_watched(
    workload: &str,
    options: &[&str],
    watch: impl FnOnce(u32) -> Result<()>,
) -> Result<(u32, Value)> {
    let failed = |error: std::io::Error| Error::fatal(format!("the workload: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program.with_file_name("workload"))
        .args([workload, "--embedded"])
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let pid = child.id();
    let watched = watch(pid);
    if watched.is_err() {
        // It may have ended already.
        let _ = child.kill();
    }
    let output = child.wait_with_output().map_err(failed)?;
    watched?;
    let said = String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Value>(line).ok());
    let said = said.filter(|_| output.status.success());
    said.map(|said| (pid, said))
        .ok_or_else(|| Error::fatal("the workload failed: see its message above"))
}

/// Is that broker: fills it with the inputs of `run`, says its address and waits until its standard input ends.
///
/// # Errors
/// When it cannot be started or filled.
pub fn serve(run: &Run) -> Result<()> {
    let broker = EmbeddedBroker::builder()
        .start()
        .map_err(|error| Error::fatal(error.to_string()))?;
    let bootstrap = broker.bootstrap_servers();
    fill(run, &bootstrap)?;
    println!("{bootstrap}");
    let mut rest = Vec::new();
    // Whatever comes, or an end that is an error, is an end.
    let _ = stdin().read_to_end(&mut rest);
    broker.shutdown();
    Ok(())
}

/// Creates and fills everything `run` needs.
///
/// # Errors
/// When the cluster does not take it.
pub fn fill(run: &Run, bootstrap: &str) -> Result<()> {
    let client = load::broker(bootstrap)?;
    for topic in data::topics(&run.workload) {
        load::fill(&client, &topic)?;
    }
    if let Some(changelog) = data::changelog(&run.workload, &run.application_id) {
        load::fill(&client, &changelog)?;
    }
    load::create(&client, &run.output, run.workload.partitions)
}
