//! A real Apache Kafka: one broker that is its own controller (KRaft), on free loopback ports.
//!
//! The jars are in the user's cache, where `./dev setup` puts them; the version is the one in
//! `tests/kafka/pom.xml`. With `STREAMS_TEST_BROKERS` set, [`RealKafka::shared`] is the Kafka that runs there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports;
use super::supervised::{self, Supervised};

/// A broker starts in 3 to 5 seconds; a machine with all cores busy needs several times that.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// Apache Kafka, either started by these tests or running elsewhere.
pub struct RealKafka {
    bootstrap: String,
    own: Option<OwnBroker>,
}

/// What belongs to a broker that the tests started.
struct OwnBroker {
    // Before the directory, so that it is dropped, and the broker dead, before the directory is removed.
    process: Mutex<Option<Supervised>>,
    directory: TempDir,
}

impl RealKafka {
    /// The Kafka that all tests of this binary share: started at the first use, gone with the test process.
    /// Tests keep out of each other's way by the names of their topics and groups.
    ///
    /// # Panics
    ///
    /// When Kafka is missing or does not start; the message says what to do.
    pub fn shared() -> &'static RealKafka {
        static SHARED: OnceLock<Result<RealKafka, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var("STREAMS_TEST_BROKERS") {
            Ok(bootstrap) if !bootstrap.is_empty() => Ok(RealKafka {
                bootstrap,
                own: None,
            }),
            _ => RealKafka::try_start(&[]),
        });
        match shared {
            Ok(kafka) => kafka,
            Err(message) => panic!("{message}"),
        }
    }

    /// A broker for one test alone, which may stop it; `settings` are added to `server.properties`.
    /// It is stopped, and its data removed, when the value is dropped.
    ///
    /// # Panics
    ///
    /// When Kafka is missing or does not start; the message says what to do.
    pub fn start(settings: &[(&str, &str)]) -> RealKafka {
        RealKafka::try_start(settings).unwrap_or_else(|message| panic!("{message}"))
    }

    /// The bootstrap servers, as `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Stops the broker as an operator would (SIGTERM), and waits until it is gone.
    pub fn stop(&self) {
        self.end_with("TERM");
    }

    /// Kills the broker (SIGKILL), and waits until it is gone.
    pub fn kill(&self) {
        self.end_with("KILL");
    }

    /// Starts a stopped or killed broker again, on the same port and with the same data.
    pub fn start_again(&self) {
        let own = self.own();
        let mut process = own
            .process
            .lock()
            .expect("no test panics while it holds this");
        assert!(process.is_none(), "the broker is still running");
        *process = Some(
            own.launch(&self.bootstrap)
                .unwrap_or_else(|message| panic!("{message}")),
        );
    }

    /// Stops the broker and starts it again.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    fn end_with(&self, signal: &str) {
        let mut process = self
            .own()
            .process
            .lock()
            .expect("no test panics while it holds this");
        let running = process.take().expect("the broker is running");
        running.signal(signal);
        running.wait_for_exit(Duration::from_secs(60));
    }

    fn own(&self) -> &OwnBroker {
        self.own.as_ref().expect(
            "this broker is not the tests' own (STREAMS_TEST_BROKERS is set): use RealKafka::start",
        )
    }

    fn try_start(settings: &[(&str, &str)]) -> Result<RealKafka, String> {
        let libraries = libraries()?;
        let directory = tempfile::Builder::new()
            .prefix("kafka-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .map_err(|error| format!("no directory for Kafka: {error}"))?;
        let [port, controller_port] = ports::free();
        let properties = directory.path().join("server.properties");
        let data = directory.path().join("data");
        fs::write(
            &properties,
            server_properties(port, controller_port, &data, settings),
        )
        .map_err(|error| format!("{} cannot be written: {error}", properties.display()))?;

        let format = java(&libraries, "kafka.tools.StorageTool")
            .args([
                "format",
                "--cluster-id",
                "AAAAAAAAAAAAAAAAAAAAAQ",
                "--config",
            ])
            .arg(&properties)
            .output()
            .map_err(|error| format!("java cannot be started: {error}; run `./dev setup`"))?;
        if !format.status.success() {
            return Err(format!(
                "Kafka's directory cannot be formatted: {}",
                String::from_utf8_lossy(&format.stderr)
            ));
        }

        let bootstrap = format!("127.0.0.1:{port}");
        let own = OwnBroker {
            process: Mutex::new(None),
            directory,
        };
        let running = own.launch(&bootstrap)?;
        *own.process.lock().expect("nobody else knows it yet") = Some(running);
        Ok(RealKafka {
            bootstrap,
            own: Some(own),
        })
    }
}

impl OwnBroker {
    /// Starts the broker and waits until it answers for itself.
    fn launch(&self, bootstrap: &str) -> Result<Supervised, String> {
        let directory = self.directory.path();
        let log = directory.join("broker.log");
        let mut command = java(&libraries()?, "kafka.Kafka");
        command.arg(directory.join("server.properties"));
        let process = Supervised::start(&command, &log, &log, Some(directory));

        let start = Instant::now();
        while !answers(bootstrap) {
            if let Some(code) = process.exit_code() {
                return Err(format!(
                    "Kafka ended at its start with code {code}; the end of its log:\n{}",
                    supervised::tail(&log)
                ));
            }
            if start.elapsed() > START_DEADLINE {
                return Err(format!(
                    "Kafka does not answer on {bootstrap} after {START_DEADLINE:?}; the end of its log:\n{}",
                    supervised::tail(&log)
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(process)
    }
}

/// Runs one of Kafka's command-line tools, such as `org.apache.kafka.tools.TopicCommand`, to its end.
/// It is stopped after two minutes, with exit code 124.
///
/// # Panics
///
/// When Kafka is missing; the message says what to do.
pub fn run_tool(class: &str, arguments: &[&str], input: &str) -> Output {
    let libraries = libraries().unwrap_or_else(|message| panic!("{message}"));
    let mut command = java(&libraries, class);
    command.args(arguments);
    run(&command, "120", input)
}

/// Runs kcat to its end. It is stopped after one minute, with exit code 124.
///
/// # Panics
///
/// When kcat is missing; the message says what to do.
pub fn run_kcat(bootstrap: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("kcat");
    command.args(["-b", bootstrap]).args(arguments);
    let output = run(&command, "60", input);
    assert!(
        output.status.code() != Some(127),
        "kcat is missing: run `./dev setup`"
    );
    output
}

/// The class path of Apache Kafka, for a Java program of the tests' own: `<directory>/*`.
///
/// # Panics
///
/// When Kafka is missing; the message says what to do.
pub fn class_path() -> OsString {
    let libraries = libraries().unwrap_or_else(|message| panic!("{message}"));
    libraries.join("*").into_os_string()
}

/// Where `./dev setup` has put Kafka's jars.
pub(super) fn libraries() -> Result<PathBuf, String> {
    let pom = include_str!("../kafka/pom.xml");
    let version = pom
        .split_once("<kafka.version>")
        .and_then(|(_, rest)| rest.split_once("</kafka.version>"))
        .map(|(version, _)| version)
        .expect("tests/kafka/pom.xml names the version");
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(env::var_os("HOME").ok_or("HOME is not set")?).join(".cache"),
    };
    let libraries = cache.join(format!("streams/kafka-{version}/libs"));
    if libraries.is_dir() {
        Ok(libraries)
    } else {
        Err(format!(
            "Apache Kafka {version} is missing: there is no {}. Run `./dev setup`, which gets it from Maven \
             Central, or set STREAMS_TEST_BROKERS to the host:port of a Kafka that runs elsewhere",
            libraries.display()
        ))
    }
}

/// A Java machine that starts fast and takes little memory.
fn java(libraries: &Path, class: &str) -> Command {
    java_with_heap("512m", libraries, class)
}

/// The same with a limit of its own to what it keeps.
pub(super) fn java_with_heap(heap: &str, libraries: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap}"))
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(libraries.join("*"))
        .arg(class);
    command
}

fn server_properties(
    port: u16,
    controller_port: u16,
    data: &Path,
    settings: &[(&str, &str)],
) -> String {
    let mut properties = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         group.consumer.min.session.timeout.ms=6000\n\
         group.consumer.session.timeout.ms=6000\n\
         group.consumer.min.heartbeat.interval.ms=500\n\
         group.consumer.heartbeat.interval.ms=1000\n",
        data.display()
    );
    for (name, value) in settings {
        properties.push_str(&format!("{name}={value}\n"));
    }
    properties
}

/// Whether the broker lists itself in its metadata: an open port alone may still belong to a fenced broker.
fn answers(bootstrap: &str) -> bool {
    let output = run_kcat(bootstrap, &["-L", "-m", "2"], "");
    output.status.success()
        && String::from_utf8_lossy(&output.stdout).contains(&format!("at {bootstrap}"))
}

/// Runs a command with `input`, at most for `seconds`.
fn run(command: &Command, seconds: &str, input: &str) -> Output {
    let mut child = Command::new("timeout")
        .arg(seconds)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout (coreutils) can be started");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // From another thread, because the child may write more than a pipe holds before it has read everything.
    let output = thread::scope(|scope| {
        // A child that ends early closes the pipe; what it says of that is in its output.
        scope.spawn(move || pipe.write_all(input.as_bytes()));
        child.wait_with_output()
    });
    output.expect("the output of a child can be read")
}
