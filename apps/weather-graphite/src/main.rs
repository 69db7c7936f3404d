//! Writes weather readings and averages to Graphite: `weather-graphite --help` says what can be set.

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use weather_graphite::{GraphiteSink, Settings, application};
use weather_producer::{config, run_program};

/// Writes weather readings and averages to Graphite
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let Program { settings } = Program::parse();
    run_program("weather-graphite", "info", || {
        let config = config(&settings.application_id, settings.config.as_deref())?;
        let sink = Arc::new(GraphiteSink::start(settings.sink()));
        application(&settings, config, sink)?.run_blocking()
    })
}
