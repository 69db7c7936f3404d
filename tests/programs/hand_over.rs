//! What `tests/hand_over/HandOver.java` is, here: either goes on where the other stopped.
//!
//! `hand_over APPLICATION-ID`; settings come from the environment.

use std::env;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use streams_core::serdes::{F64, TimeWindowed, Utf8};
use streams_core::{
    Consumed, Error, Grouped, KafkaStreams, Materialized, Produced, Result, StreamsBuilder,
    StreamsConfig, TimeWindows, Topology,
};
use tracing_subscriber::EnvFilter;

const WINDOW: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(60 * 60);

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hand_over: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [application_id] = &arguments[..] else {
        return Err(Error::config("usage: hand_over APPLICATION-ID"));
    };
    let config = StreamsConfig::new(application_id).with_environment()?;
    KafkaStreams::new(topology()?, config)?
        .with_state_listener(|new, _old| println!("{new}"))
        .run_blocking()
}

fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("lines", Consumed::new())
        .flat_map_values(|line: &String| {
            line.split(' ').map(str::to_owned).collect::<Vec<String>>()
        })
        .group_by(|_key, word| word.clone(), Grouped::new())
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("word-counts", Produced::new());

    builder
        .stream::<String, i64>("readings", Consumed::new())
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .aggregate(
            || "0 0".to_owned(),
            |_key, reading, mean| {
                let (count, sum) = parts(mean);
                *mean = format!("{} {}", count + 1, sum + reading);
            },
            Materialized::named("means"),
        )
        .to_stream()
        .map_values(|mean| {
            let (count, sum) = parts(mean);
            sum as f64 / count as f64
        })
        .to(
            "window-means",
            Produced::with(TimeWindowed::new(Utf8, WINDOW), F64),
        );

    let regions =
        builder.table::<String, String>("regions", Consumed::new(), Materialized::named("regions"));
    builder
        .stream::<String, String>("views", Consumed::new())
        .join(&regions, |view, region| format!("{view} {region}"))
        .to("regional-views", Produced::new());
    builder.build()
}

/// How many readings a mean is of, and their sum.
fn parts(mean: &str) -> (i64, i64) {
    let (count, sum) = mean.split_once(' ').unwrap_or(("0", "0"));
    (count.parse().unwrap_or(0), sum.parse().unwrap_or(0))
}
