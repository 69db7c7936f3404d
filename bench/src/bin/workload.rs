//! Runs one workload and says what it took: the program that is measured. `workload --help` says how.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;
use streams_bench::app;
use streams_bench::arguments::{self, Arguments, USAGE};
use streams_bench::embedded::{self, ChildBroker};
use streams_bench::figures::Figures;
use tracing_subscriber::filter::LevelFilter;

/// The variable that says from which level on the application's log is shown.
const LOG_LEVEL: &str = "RUST_LOG";

fn main() -> ExitCode {
    let started = Instant::now();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let is_broker = words.first().is_some_and(|word| word == embedded::SERVE);
    let words = if is_broker { &words[1..] } else { &words[..] };
    let arguments = match arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("workload: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let level = std::env::var(LOG_LEVEL).ok();
    if let Some(level) = level.and_then(|level| level.parse::<LevelFilter>().ok()) {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .init();
    }
    let result = match is_broker {
        true => embedded::serve(&arguments.run).map_err(Into::into),
        false => run(arguments, words, started),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, words: &[String], started: Instant) -> Result<(), Box<dyn Error>> {
    let Arguments { mut run, embedded } = arguments;
    let state = tempfile::Builder::new().prefix("workload-").tempdir()?;
    if run.state_dir.is_empty() {
        run.state_dir = state.path().display().to_string();
    }
    let broker = match embedded {
        true => Some(ChildBroker::start(words)?),
        false => None,
    };
    if let Some(broker) = &broker {
        broker.bootstrap().clone_into(&mut run.bootstrap);
    }
    let said = app::run(&run, started)?;
    println!("{said}");
    if let Some(figures) = Figures::of(run.workload.shape, &said) {
        eprintln!(
            "{}: {:.3} µs CPU per record (whole process {:.3}, of that last commit and end {:.3}), {:.2} M records/s, peak memory {:.0} MB",
            run.workload.name,
            figures.cpu_us,
            figures.cpu_us_whole,
            figures.cpu_us_close,
            figures.rate / 1e6,
            figures.peak_memory_mb
        );
    }
    Ok(())
}
