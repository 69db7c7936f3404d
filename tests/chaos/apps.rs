//! The instances of the application.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process;
use crate::support::supervised::{self, Supervised};

/// How many processes share the work.
pub const APP_COUNT: usize = 3;
/// Longer than the cluster takes to replace a broker that is gone, and much shorter than usual, so that there is time for many
/// faults.
pub const SESSION_TIMEOUT_MS: &str = "10000";

/// For how long after its start SIGTERM may kill an instance instead of stopping it: until it listens for that.
const STARTING: Duration = Duration::from_secs(3);
/// The exit code of a process that SIGTERM killed.
const KILLED_BY_TERM: i32 = 143;

/// One instance, which is started again and again with the same state directory and log.
pub struct App {
    number: usize,
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    process: Option<Supervised>,
    started_at: Instant,
    is_told_at_start: bool,
}

impl App {
    /// An instance that does not run yet; `number` counts from 1.
    pub fn new(number: usize, directory: &Path, bootstrap: &str, protocol: &str) -> App {
        let directory = directory.join(format!("app-{number}"));
        fs::create_dir_all(&directory).expect("a directory can be made");
        let mut environment = vec![
            ("KAFKA_BOOTSTRAP_SERVERS", bootstrap.to_owned()),
            ("STREAMS_PROCESSING_GUARANTEE", "exactly_once_v2".to_owned()),
            ("STREAMS_NUM_STREAM_THREADS", "2".to_owned()),
            ("STREAMS_REPLICATION_FACTOR", "3".to_owned()),
            ("STREAMS_NUM_STANDBY_REPLICAS", "1".to_owned()),
            // Every update is a record.
            ("STREAMS_STATESTORE_CACHE_MAX_BYTES", "0".to_owned()),
            ("STREAMS_MEMORY_MAX_BYTES", (256 << 20).to_string()),
            ("STREAMS_REPARTITION_PURGE_INTERVAL_MS", "5000".to_owned()),
            ("STREAMS_GROUP_PROTOCOL", protocol.to_owned()),
            ("STREAMS_STATE_DIR", directory.display().to_string()),
            ("RUST_LOG", "info".to_owned()),
        ];
        // In the other protocol the brokers decide on these.
        if protocol == "classic" {
            environment.extend([
                (
                    "STREAMS_CONSUMER_SESSION_TIMEOUT_MS",
                    SESSION_TIMEOUT_MS.to_owned(),
                ),
                ("STREAMS_CONSUMER_HEARTBEAT_INTERVAL_MS", "1000".to_owned()),
            ]);
        }
        App {
            number,
            directory,
            environment,
            process: None,
            started_at: Instant::now(),
            is_told_at_start: false,
        }
    }

    /// Starts it.
    pub fn start(&mut self) {
        let mut command = Command::new(process::path("examples/ledger"));
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if process::SETTINGS
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                command.env_remove(&variable);
            }
        }
        command
            .arg("ledger")
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir(&self.directory);
        self.process = Some(Supervised::start(&command, &self.log(), &self.log(), None));
        self.started_at = Instant::now();
        self.is_told_at_start = false;
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.directory.with_extension("log")
    }

    /// Sends it a signal, named as `kill` names it.
    pub fn signal(&mut self, name: &str) {
        self.is_told_at_start = self.started_at.elapsed() < STARTING;
        self.running().signal(name);
    }

    /// Whether it ended as it should when it was told to stop.
    pub fn has_stopped_in_order(&self, code: i32) -> bool {
        code == 0 || code == KILLED_BY_TERM && self.is_told_at_start
    }

    /// Its exit code, once it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.process.as_ref().and_then(Supervised::exit_code)
    }

    /// What is said of an instance that ended without being asked to.
    pub fn last_words(&self, code: i32) -> String {
        format!(
            "app {} ended by itself with code {code}; the end of its log:\n{}",
            self.number,
            supervised::tail(&self.log())
        )
    }

    fn running(&self) -> &Supervised {
        self.process.as_ref().expect("it has been started")
    }
}
