//! A real Graphite: carbon-cache and the web application of Debian's packages, on free loopback ports, in a
//! directory of its own, without root.
//!
//! With `GRAPHITE_HOST` set (and `GRAPHITE_WEB_PORT` or `GRAPHITE_URL`), [`RealGraphite::shared`] is the Graphite
//! that runs there.

mod configuration;

use std::env;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::ports;
use super::supervised::{self, Supervised};
use super::wait;
use configuration::Retentions;

/// Graphite starts in 2 seconds; a machine with all cores busy needs several times that.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a file may be half made.
const FILE_DEADLINE: Duration = Duration::from_secs(5);

/// Another python3 that comes first on the path does not see Debian's modules.
const PYTHON: &str = "/usr/bin/python3";
const CARBON: &str = "/usr/bin/carbon-cache";

/// Graphite, either started by these tests or running elsewhere.
pub struct RealGraphite {
    line_address: String,
    web_url: String,
    own: Option<OwnGraphite>,
}

/// What belongs to a Graphite that the tests started.
struct OwnGraphite {
    // Before the directory, so that they are dropped, and the processes dead, before the directory is removed.
    carbon: Mutex<Option<Supervised>>,
    _web: Supervised,
    directory: TempDir,
}

/// One line of a graph, as `/render` answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's path, or what the target's functions make of it.
    pub target: String,
    /// Time in Unix seconds and value, in the order of time, without the empty ones.
    pub points: Vec<(i64, f64)>,
}

impl RealGraphite {
    /// The Graphite that all tests of this binary share: started at the first use, gone with the test process.
    /// Tests keep out of each other's way by the names of their metrics.
    ///
    /// # Panics
    ///
    /// When Graphite is missing or does not start; the message says what to do.
    pub fn shared() -> &'static RealGraphite {
        static SHARED: OnceLock<Result<RealGraphite, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var("GRAPHITE_HOST") {
            Ok(host) if !host.is_empty() => RealGraphite::elsewhere(&host),
            _ => RealGraphite::try_start(&Retentions::default()),
        });
        match shared {
            Ok(graphite) => graphite,
            Err(message) => panic!("{message}"),
        }
    }

    /// A Graphite for one test alone, which may stop its receiver. It is stopped, and its data removed, when the
    /// value is dropped.
    ///
    /// # Panics
    ///
    /// When Graphite is missing or does not start; the message says what to do.
    pub fn start() -> RealGraphite {
        RealGraphite::try_start(&Retentions::default())
            .unwrap_or_else(|message| panic!("{message}"))
    }

    /// As [`RealGraphite::start`], with these texts as `storage-schemas.conf` and `storage-aggregation.conf`.
    ///
    /// # Panics
    ///
    /// As [`RealGraphite::start`].
    pub fn start_with_retentions(schemas: &str, aggregation: &str) -> RealGraphite {
        let retentions = Retentions {
            schemas,
            aggregation,
        };
        RealGraphite::try_start(&retentions).unwrap_or_else(|message| panic!("{message}"))
    }

    /// Where the receiver of the plaintext protocol is, as `host:port`.
    pub fn line_address(&self) -> &str {
        &self.line_address
    }

    /// Where the web application is, as `http://host:port`.
    pub fn web_url(&self) -> &str {
        &self.web_url
    }

    /// Sends lines `metric value timestamp\n` to the receiver.
    pub fn send(&self, lines: &str) {
        TcpStream::connect(&self.line_address)
            .and_then(|mut connection| connection.write_all(lines.as_bytes()))
            .unwrap_or_else(|error| {
                panic!("Graphite's receiver at {}: {error}", self.line_address)
            });
    }

    /// The version the web application names.
    pub fn version(&self) -> String {
        self.get("/version/", &[]).trim().to_owned()
    }

    /// The paths of metrics and folders that match a pattern such as `weather.*`, one level deep, sorted.
    pub fn find(&self, pattern: &str) -> Vec<String> {
        let answer = self.get_json(
            "/metrics/find",
            &[("query", pattern), ("format", "completer")],
        );
        let mut paths: Vec<String> = answer["metrics"]
            .as_array()
            .expect("Graphite answers with a list of metrics")
            .iter()
            .map(|metric| string(&metric["path"]))
            .collect();
        paths.sort();
        paths
    }

    /// What a graph of `target` shows since `from`, given as Graphite understands it: `-1h`, or Unix seconds.
    /// A new metric shows up within a second or so, so poll.
    pub fn render(&self, target: &str, from: &str) -> Vec<Series> {
        let query = [
            ("target", target),
            ("from", from),
            ("format", "json"),
            ("noNullPoints", "true"),
        ];
        self.get_json("/render", &query)
            .as_array()
            .expect("Graphite answers with a list of series")
            .iter()
            .map(series)
            .collect()
    }

    /// Stops the receiver (SIGTERM), and waits until it is gone. Carbon loses what it was sent within the last
    /// second, even so.
    pub fn stop_carbon(&self) {
        self.end_carbon_with("TERM");
    }

    /// Kills the receiver (SIGKILL), and waits until it is gone.
    pub fn kill_carbon(&self) {
        self.end_carbon_with("KILL");
    }

    /// Starts a stopped or killed receiver again, on the same port and with the same data.
    pub fn start_carbon(&self) {
        let own = self.own();
        let mut carbon = own
            .carbon
            .lock()
            .expect("no test panics while it holds this");
        assert!(carbon.is_none(), "the receiver is still running");
        let running = launch_carbon(own.directory.path(), &self.line_address)
            .unwrap_or_else(|message| panic!("{message}"));
        *carbon = Some(running);
    }

    fn end_carbon_with(&self, signal: &str) {
        let mut carbon = self
            .own()
            .carbon
            .lock()
            .expect("no test panics while it holds this");
        let running = carbon.take().expect("the receiver is running");
        running.signal(signal);
        running.wait_for_exit(Duration::from_secs(30));
    }

    fn own(&self) -> &OwnGraphite {
        self.own.as_ref().expect(
            "this Graphite is not the tests' own (GRAPHITE_HOST is set): use RealGraphite::start",
        )
    }

    fn elsewhere(host_and_port: &str) -> Result<RealGraphite, String> {
        let (host, line_port) = host_and_port
            .split_once(':')
            .unwrap_or((host_and_port, "2003"));
        let web_url = env::var("GRAPHITE_URL").unwrap_or_else(|_| {
            let port = env::var("GRAPHITE_WEB_PORT").unwrap_or_else(|_| "8080".to_owned());
            format!("http://{host}:{port}")
        });
        let graphite = RealGraphite {
            line_address: format!("{host}:{line_port}"),
            web_url: web_url.trim_end_matches('/').to_owned(),
            own: None,
        };
        graphite.answers().map_err(|error| {
            format!(
                "the Graphite that GRAPHITE_HOST, GRAPHITE_WEB_PORT and GRAPHITE_URL name does not answer at {} and \
                 {}: {error}. Start it, or unset them, and the tests start their own",
                graphite.line_address, graphite.web_url
            )
        })?;
        Ok(graphite)
    }

    fn try_start(retentions: &Retentions<'_>) -> Result<RealGraphite, String> {
        for (file, package) in [
            (CARBON, "graphite-carbon"),
            (
                "/usr/lib/python3/dist-packages/graphite/settings.py",
                "graphite-web",
            ),
        ] {
            if !Path::new(file).exists() {
                return Err(format!(
                    "Graphite is missing: there is no {file}. Run `./dev setup`, which installs Debian's {package}, \
                     or set GRAPHITE_HOST to a Graphite that runs elsewhere"
                ));
            }
        }
        let directory = tempfile::Builder::new()
            .prefix("graphite-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .map_err(|error| format!("no directory for Graphite: {error}"))?;
        let root = directory.path();
        let [line_port, pickle_port, query_port, web_port] = ports::free();
        configuration::write(
            root,
            line_port,
            pickle_port,
            query_port,
            web_port,
            retentions,
        )
        .map_err(|error| format!("Graphite's configuration cannot be written: {error}"))?;

        let migrate = django(root, &["migrate", "--run-syncdb", "--verbosity=0"])
            .output()
            .map_err(|error| format!("{PYTHON} cannot be started: {error}"))?;
        if !migrate.status.success() {
            return Err(format!(
                "Graphite's database cannot be made: {}",
                String::from_utf8_lossy(&migrate.stderr)
            ));
        }

        let line_address = format!("127.0.0.1:{line_port}");
        let web_address = format!("127.0.0.1:{web_port}");
        let web_log = root.join("web.log");
        // One process, without the one that would restart it when a source file changes.
        let command = django(
            root,
            &["runserver", "--noreload", "--insecure", &web_address],
        );
        let web = Supervised::start(&command, &web_log, &web_log, Some(root));
        let carbon = launch_carbon(root, &line_address)?;
        let graphite = RealGraphite {
            line_address,
            web_url: format!("http://{web_address}"),
            own: Some(OwnGraphite {
                carbon: Mutex::new(Some(carbon)),
                _web: web,
                directory,
            }),
        };
        wait_for_start("Graphite's web application", &web_log, || {
            graphite.answers()
        })?;
        Ok(graphite)
    }

    /// Whether both faces are there.
    fn answers(&self) -> Result<(), String> {
        TcpStream::connect(&self.line_address).map_err(|error| error.to_string())?;
        self.try_get("/version/", &[]).map(drop)
    }

    /// The web application reads files while carbon makes them, fails on one that is half made, and is asked again.
    fn get(&self, path: &str, query: &[(&str, &str)]) -> String {
        let what = format!(
            "{}{path} {query:?} to answer without error 500",
            self.web_url
        );
        wait::until_some(&what, FILE_DEADLINE, || match self.try_get(path, query) {
            Ok(body) => Some(body),
            Err(error) if error.ends_with("500") => None,
            Err(error) => panic!("{}{path} {query:?}: {error}", self.web_url),
        })
    }

    fn get_json(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let body = self.get(path, query);
        serde_json::from_str(&body)
            .unwrap_or_else(|error| panic!("{}{path} {query:?}: {error} in {body}", self.web_url))
    }

    fn try_get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, String> {
        ureq::get(format!("{}{path}", self.web_url))
            .query_pairs(query.iter().copied())
            .config()
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .call()
            .and_then(|mut response| response.body_mut().read_to_string())
            .map_err(|error| error.to_string())
    }
}

fn series(answer: &Value) -> Series {
    let points = answer["datapoints"]
        .as_array()
        .expect("a series has points");
    Series {
        target: string(&answer["target"]),
        points: points
            .iter()
            .filter_map(|point| Some((point[1].as_i64()?, point[0].as_f64()?)))
            .collect(),
    }
}

fn string(value: &Value) -> String {
    value.as_str().expect("Graphite names it").to_owned()
}

fn django(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    command
        .args(["-W", "ignore", "-m", "django"])
        .args(arguments)
        .env("PYTHONPATH", root.join("web"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("DJANGO_SETTINGS_MODULE", "graphite.settings")
        .env("GRAPHITE_SETTINGS_MODULE", "local_settings");
    command
}

fn launch_carbon(root: &Path, line_address: &str) -> Result<Supervised, String> {
    let pid_file = root.join("carbon.pid");
    // One that was killed has left it behind.
    let _ = fs::remove_file(&pid_file);
    let mut command = Command::new(CARBON);
    command
        .arg(format!(
            "--config={}",
            root.join("conf/carbon.conf").display()
        ))
        .arg(format!("--pidfile={}", pid_file.display()))
        .arg(format!("--logdir={}", root.join("log").display()))
        .args(["--nodaemon", "start"]);
    let log = root.join("carbon.log");
    let process = Supervised::start(&command, &log, &log, Some(root));
    wait_for_start("Graphite's receiver", &log, || {
        if let Some(code) = process.exit_code() {
            return Err(format!("it ended with code {code}"));
        }
        TcpStream::connect(line_address)
            .map(drop)
            .map_err(|error| error.to_string())
    })?;
    Ok(process)
}

fn wait_for_start(
    what: &str,
    log: &Path,
    mut poll: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let start = Instant::now();
    while let Err(error) = poll() {
        if start.elapsed() > START_DEADLINE {
            return Err(format!(
                "{what} has not started in {START_DEADLINE:?}: {error}; the end of its log:\n{}",
                supervised::tail(log)
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
