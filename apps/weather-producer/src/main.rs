//! Sends weather readings to Kafka: `weather-producer --help` says from where.

use clap::Parser;
use std::process::ExitCode;
use streams_core::Error;
use weather_producer::arguments::ProducerArguments;
use weather_producer::{Stop, config, run, run_program};

/// Sends weather readings to Kafka
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    arguments: ProducerArguments,
}

fn main() -> ExitCode {
    let Program { arguments } = Program::parse();
    run_program("weather-producer", "info", || {
        let stop = Stop::on_signals().map_err(|error| Error::fatal(error.to_string()))?;
        let config = config("weather-producer", arguments.config.as_deref())?;
        run(&arguments, &config, &stop).map(drop)
    })
}
