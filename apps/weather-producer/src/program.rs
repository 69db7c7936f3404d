//! What the weather programs have in common: logs, configuration, and how they end.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use streams_core::{Result, StreamsConfig};
use tracing_subscriber::EnvFilter;

/// Runs a program: logs go to standard error, as much as `RUST_LOG` says or `log_filter` if it says nothing; an error is
/// one line there and a non-zero exit code.
pub fn run_program(name: &str, log_filter: &str, run: impl FnOnce() -> Result<()>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log_filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration of an application of that id: a file if one is given, then the environment.
///
/// # Errors
/// When the file cannot be read, or names or values in either are wrong.
pub fn config(application_id: &str, file: Option<&Path>) -> Result<StreamsConfig> {
    let config = match file {
        Some(path) => StreamsConfig::from_file(path)?.set("application.id", application_id)?,
        None => StreamsConfig::new(application_id),
    };
    config.with_environment()
}
