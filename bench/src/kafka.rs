//! A real Apache Kafka for the applications under measurement: one broker, on a core of its own.

use crate::load;
use crate::machine::{cores, env, free_memory_mb};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use streams_core::{Error, Result};
use tempfile::TempDir;

const START_DEADLINE: Duration = Duration::from_secs(120);
/// Below this the topics go to disk: they and the applications must fit beside each other.
const MEMORY_FOR_TOPICS_MB: u64 = 12_000;
const MEMORY_DIRECTORY: &str = "/dev/shm";

/// A running broker; it is killed, and its data removed, when this is dropped.
#[derive(Debug)]
pub struct Kafka {
    process: Child,
    bootstrap: String,
    directory: TempDir,
}

/// Puts a program on a core, if there is more than one: the applications on the first, all else on the second.
pub fn pinned(core: usize, program: &str) -> Command {
    // The child ends with this process, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if cores() > 1 {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.arg(program);
    command
}

/// Where the topics are: in memory if they fit.
fn place() -> PathBuf {
    match Path::new(MEMORY_DIRECTORY).is_dir() && free_memory_mb() > MEMORY_FOR_TOPICS_MB {
        true => PathBuf::from(MEMORY_DIRECTORY),
        false => std::env::temp_dir(),
    }
}

impl Kafka {
    /// Starts a broker and waits until it takes topics.
    ///
    /// # Errors
    /// When Kafka is missing or does not start.
    pub fn start() -> Result<Kafka> {
        let failed = |error: std::io::Error| Error::fatal(format!("Kafka: {error}"));
        let directory = tempfile::Builder::new()
            .prefix("bench-kafka-")
            .tempdir_in(place())
            .map_err(failed)?;
        let (port, controller_port) = (free_port()?, free_port()?);
        let properties = directory.path().join("server.properties");
        let text = server_properties(port, controller_port, &directory.path().join("data"));
        fs::write(&properties, text).map_err(failed)?;
        let format = java(0, "256m", &TOOL_OPTIONS, "kafka.tools.StorageTool")
            .args(["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ"])
            .arg("--config")
            .arg(&properties)
            .output()
            .map_err(failed)?;
        if !format.status.success() {
            return Err(Error::fatal(format!(
                "Kafka's directory cannot be formatted: {}",
                String::from_utf8_lossy(&format.stderr)
            )));
        }
        let log = fs::File::create(directory.path().join("broker.log")).map_err(failed)?;
        let process = java(1, BROKER_HEAP, &BROKER_OPTIONS, "kafka.Kafka")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let mut kafka = Kafka {
            process,
            bootstrap: format!("127.0.0.1:{port}"),
            directory,
        };
        kafka.wait_until_ready()?;
        Ok(kafka)
    }

    /// Its address.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Whether its topics are in memory.
    pub fn is_in_memory(&self) -> bool {
        self.directory.path().starts_with(MEMORY_DIRECTORY)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let until = Instant::now() + START_DEADLINE;
        loop {
            let ended = self.process.try_wait().ok().flatten().is_some();
            if ended || Instant::now() > until {
                let log = fs::read_to_string(self.directory.path().join("broker.log"));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(20).collect();
                return Err(Error::fatal(format!(
                    "Kafka did not start; the end of its log, last line first:\n{}",
                    lines.join("\n")
                )));
            }
            // A client that finds nobody complains; so it is asked for when somebody listens.
            if std::net::TcpStream::connect(&self.bootstrap).is_ok()
                && load::broker(&self.bootstrap)
                    .and_then(|broker| load::create(&broker, "ready", 1))
                    .is_ok()
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn java(core: usize, heap: &str, options: &[&str], class: &str) -> Command {
    let mut command = pinned(core, "java");
    command
        .args([format!("-Xms{heap}"), format!("-Xmx{heap}")])
        .args(JVM_OPTIONS)
        .args(options)
        .args(["-cp", &env("BENCH_CLASS_PATH"), class]);
    command
}

/// It collects while it works: another collector makes it stand still for 20 to 100 ms every few seconds, and the 99th percentile
/// of latency would be that of its pauses, whoever the application is.
const BROKER_HEAP: &str = "6g";
const BROKER_OPTIONS: [&str; 1] = ["-XX:+UseZGC"];
/// What formats its directory.
const TOOL_OPTIONS: [&str; 1] = ["-XX:+UseSerialGC"];

/// Pinned to one core a JVM would take fewer compiler threads.
pub const JVM_OPTIONS: [&str; 2] = [
    "-XX:ActiveProcessorCount=2",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

fn free_port() -> Result<u16> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Error::fatal(format!("no free port: {error}")))
}

fn server_properties(port: u16, controller_port: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n\
         num.network.threads=1\n\
         num.io.threads=2\n\
         num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         log.segment.delete.delay.ms=1000\n\
         log.cleaner.backoff.ms=3600000\n",
        data.display()
    )
}
