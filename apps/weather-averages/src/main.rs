//! Averages weather readings per city and window: `weather-averages --help` says what can be set.

use clap::Parser;
use std::process::ExitCode;
use weather_averages::{Settings, application};
use weather_producer::{Rejections, config, run_program};

/// Averages weather readings per city and window
#[derive(Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let Program { settings } = Program::parse();
    run_program("weather-averages", "info", || {
        let config = config(&settings.application_id, settings.config.as_deref())?;
        application(&settings, config, &Rejections::default())?.run_blocking()
    })
}
