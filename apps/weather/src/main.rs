//! The weather programs in one binary: `weather --help` says what there is.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;
use streams_core::{Error, Result};
use weather::demo::{DemoArguments, demo};
use weather_graphite::GraphiteSink;
use weather_producer::arguments::ProducerArguments;
use weather_producer::{Rejections, Stop, config, run_program};

/// Weather readings through Kafka: sent, averaged, and written to Graphite
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process, with real observations; needs neither Kafka nor Graphite
    Demo(DemoArguments),
    /// Send weather readings to Kafka
    Producer(ProducerArguments),
    /// Average weather readings per city and window
    Averages(weather_averages::Settings),
    /// Write weather readings and averages to Graphite
    Graphite(weather_graphite::Settings),
}

fn main() -> ExitCode {
    let Program { command } = Program::parse();
    // The demonstration's output is for reading: of its logs only what matters.
    let log_filter = match command {
        Command::Demo(_) => "warn,weather=info",
        _ => "info",
    };
    run_program("weather", log_filter, || run(command))
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(arguments) => demo(&arguments),
        Command::Producer(arguments) => {
            let stop = Stop::on_signals().map_err(|error| Error::fatal(error.to_string()))?;
            let config = config("weather-producer", arguments.config.as_deref())?;
            weather_producer::run(&arguments, &config, &stop).map(drop)
        }
        Command::Averages(settings) => {
            let config = config(&settings.application_id, settings.config.as_deref())?;
            weather_averages::application(&settings, config, &Rejections::default())?.run_blocking()
        }
        Command::Graphite(settings) => {
            let config = config(&settings.application_id, settings.config.as_deref())?;
            let sink = Arc::new(GraphiteSink::start(settings.sink()));
            weather_graphite::application(&settings, config, sink)?.run_blocking()
        }
    }
}
