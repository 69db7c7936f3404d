//! Everything in one process: real observations are sent, averaged and shown.
//!
//! It needs neither Kafka nor Graphite: without `KAFKA_BOOTSTRAP_SERVERS` a broker runs inside the process and keeps nothing,
//! and with `GRAPHITE_HOST` the points go to that Graphite too. The windows are days and a second is a day, so that hourly
//! observations make averages that mean something: the first results come about a second after the first reading.

use crate::terminal::Terminal;
use clap::{Args, ValueEnum};
use std::path::Path;
use std::sync::Arc;
use std::thread::{JoinHandle, ScopedJoinHandle};
use std::time::{Duration, Instant};
use streams_core::embedded::EmbeddedBroker;
use streams_core::{Error, KafkaStreams, KafkaStreamsHandle, Result, StreamsConfig};
use weather_graphite::{GraphiteSink, Output};
use weather_producer::{
    PARTITIONS, Pace, Rejections, Replay, Sender, Stop, config, create_topics, system_time_ms,
    topic,
};

/// How long `--once` waits for the results.
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);
/// When the replay is over and this long no result came, there will be none.
const LAST_RESULT_AFTER: Duration = Duration::from_secs(3);

/// What the demonstration is told.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// Stop after the first result of every city, with nothing but its Graphite lines on standard output
    #[arg(long)]
    pub once: bool,
    /// Graphite's plaintext receiver, as host or host:port [default: none, the points are only shown]
    #[arg(long, env = "GRAPHITE_HOST")]
    pub graphite: Option<String>,
    /// First part of the paths in Graphite [default: vlvs_inf19b. and the user id]
    #[arg(long, env = "GRAPHITE_PREFIX")]
    pub prefix: Option<String>,
    /// Your part of the default prefix
    #[arg(long, env = "GRAPHITE_USER_ID", default_value = "demo")]
    pub user_id: String,
    /// Dates of the observations [default: recent if there is a Graphite, which forgets what is too old, else real]
    #[arg(long, value_enum)]
    pub dates: Option<Dates>,
    /// How long a window is, such as 6h, 1day
    #[arg(long, default_value = "1day", value_parser = humantime::parse_duration)]
    pub window: Duration,
    /// Seconds of the observations for each second of the clock
    #[arg(long, default_value_t = 86_400.0)]
    pub speed: f64,
}

/// Which dates the observations get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dates {
    /// Those of the observations, in 2013
    Real,
    /// Moved by whole days so that they end yesterday
    Recent,
}

/// Runs the demonstration until its end, a signal, or with `once` the first result of every city.
///
/// # Errors
/// When something cannot be reached or written, or with `once` no result comes.
pub fn demo(arguments: &DemoArguments) -> Result<()> {
    if !(arguments.speed > 0.0 && arguments.speed.is_finite()) {
        return Err(Error::config("--speed must be a number above 0"));
    }
    let stop = Stop::on_signals().map_err(|error| Error::fatal(error.to_string()))?;
    let directory = tempfile::Builder::new()
        .prefix("weather-demo-")
        .tempdir()
        .map_err(|error| Error::fatal("no directory for the state").with_source(error))?;
    let kafka = Kafka::of_environment()?;

    let replay = replay(arguments);
    let sink = arguments.graphite.as_deref().map(graphite_sink);
    let terminal = Arc::new(Terminal::new(
        sink,
        arguments.once,
        &Replay::CITIES,
        stop.clone(),
    ));
    run(
        arguments,
        &kafka,
        directory.path(),
        &replay,
        &terminal,
        &stop,
    )?;

    let awaited = terminal.awaited();
    // Nobody else holds it any more: the applications have ended.
    if let Ok(terminal) = Arc::try_unwrap(terminal).map_err(drop) {
        terminal.close()?;
    }
    drop(kafka);
    if arguments.once && !awaited.is_empty() && !stop.is_requested() {
        return Err(Error::fatal(format!(
            "no result of {} within {ONCE_TIMEOUT:?}; if the topics hold later readings than those of the demonstration, \
             they are too late: use another Kafka, or none",
            awaited.join(", ")
        )));
    }
    Ok(())
}

/// Starts both applications and the replay, and waits for the end.
fn run(
    arguments: &DemoArguments,
    kafka: &Kafka,
    state_dir: &Path,
    replay: &Replay,
    terminal: &Arc<Terminal>,
    stop: &Stop,
) -> Result<()> {
    create_topics(
        &kafka.config("weather-demo", state_dir)?,
        &[
            topic("weather", PARTITIONS, false),
            topic("weather-averages", PARTITIONS, true),
            topic("weather.dlq", 1, false),
        ],
    )?;
    let averages = {
        let settings = weather_averages::Settings {
            window: arguments.window,
            ..weather_averages::Settings::default()
        };
        let config = kafka.config("weather-averages", state_dir)?;
        weather_averages::application(&settings, config, &Rejections::default())?
    };
    let graphite = {
        let mut settings =
            weather_graphite::Settings::new(arguments.graphite.as_deref().unwrap_or_default());
        settings.prefix.clone_from(&arguments.prefix);
        settings.user_id.clone_from(&arguments.user_id);
        let config = kafka.config("weather-graphite", state_dir)?;
        weather_graphite::application(&settings, config, terminal.clone() as Arc<dyn Output>)?
    };
    let applications = [Running::start(averages)?, Running::start(graphite)?];

    let stop_sending = Stop::new();
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(arguments, kafka, state_dir, replay, &stop_sending));
        wait(arguments, &applications, &sender, terminal, stop);
        stop_sending.request();
        sender
            .join()
            .unwrap_or_else(|_| Err(Error::fatal("the sender of the readings panicked")))
    });
    let ended = applications.map(Running::end);
    for result in ended {
        result?;
    }
    sent
}

fn replay(arguments: &DemoArguments) -> Replay {
    let replay = Replay::new_york_2013();
    let dates = arguments.dates.unwrap_or(match arguments.graphite {
        Some(_) => Dates::Recent,
        None => Dates::Real,
    });
    match dates {
        Dates::Real => replay,
        Dates::Recent => {
            let replay = replay.ending_before(system_time_ms());
            tracing::info!(
                "the observations of 2013 are shown {} days later, so that Graphite keeps them; --dates real shows their own dates",
                replay.days_moved()
            );
            replay
        }
    }
}

fn graphite_sink(host: &str) -> GraphiteSink {
    GraphiteSink::start(weather_graphite::Settings::new(host).sink())
}

/// Sends the replay.
fn send(
    arguments: &DemoArguments,
    kafka: &Kafka,
    state_dir: &Path,
    replay: &Replay,
    stop: &Stop,
) -> Result<()> {
    let config = kafka.config("weather-producer", state_dir)?;
    let mut sender = Sender::new(&config, "weather")?;
    let pace = Pace::EventTime {
        speed: arguments.speed,
    };
    sender.send_all(replay.readings(), pace, stop)?;
    sender.flush()
}

/// Waits until it is time to end: somebody asked, an application or the sender failed, the replay is over and shown, or
/// `--once` has waited long enough.
fn wait(
    arguments: &DemoArguments,
    applications: &[Running; 2],
    sender: &ScopedJoinHandle<'_, Result<()>>,
    terminal: &Terminal,
    stop: &Stop,
) {
    let start = Instant::now();
    while stop.sleep(Duration::from_millis(20)) {
        let is_over = sender.is_finished() && terminal.idle() > LAST_RESULT_AFTER;
        let is_late = arguments.once && start.elapsed() > ONCE_TIMEOUT;
        if is_over || is_late || applications.iter().any(Running::has_ended) {
            return;
        }
    }
}

/// The Kafka of the demonstration.
struct Kafka {
    /// The broker inside the process, if it is that.
    embedded: Option<EmbeddedBroker>,
    /// Sets this run's applications apart from those of earlier runs, whose positions and state a real Kafka remembers.
    suffix: String,
}

impl Kafka {
    fn of_environment() -> Result<Self> {
        let config = config("weather-demo", None)?;
        if let Some(servers) = config.bootstrap_servers() {
            tracing::info!("using the Kafka at {servers}");
            return Ok(Kafka {
                embedded: None,
                suffix: format!("-demo-{}", system_time_ms()),
            });
        }
        let broker = EmbeddedBroker::builder()
            .default_partitions(PARTITIONS)
            .start()
            .map_err(|error| {
                Error::fatal("the embedded broker did not start").with_source(error)
            })?;
        tracing::info!(
            "using the broker inside this process, at {}; it forgets everything when it stops",
            broker.bootstrap_servers()
        );
        Ok(Kafka {
            embedded: Some(broker),
            suffix: String::new(),
        })
    }

    fn config(&self, application_id: &str, state_dir: &Path) -> Result<StreamsConfig> {
        let id = format!("{application_id}{}", self.suffix);
        let config = config(&id, None)?
            .set("state.dir", state_dir.display())?
            // A demonstration is watched: results are to appear at once.
            .set("producer.linger.ms", 5)?
            .set("commit.interval.ms", 1000)?;
        match &self.embedded {
            Some(broker) => config.set("bootstrap.servers", broker.bootstrap_servers()),
            None => Ok(config),
        }
    }
}

/// An application on a thread of its own.
struct Running {
    handle: KafkaStreamsHandle,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    fn start(application: KafkaStreams) -> Result<Self> {
        let handle = application.handle();
        let thread = std::thread::Builder::new()
            .name("application".into())
            .spawn(move || application.run_blocking())
            .map_err(|error| Error::fatal("no thread for an application").with_source(error))?;
        Ok(Running { handle, thread })
    }

    fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn end(self) -> Result<()> {
        self.handle.close();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Error::fatal("an application's thread panicked")))
    }
}
