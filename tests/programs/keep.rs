//! Keeps the latest value of each key of a topic: what the benchmark of restarts kills and starts again.
//!
//! `keep APPLICATION-ID INPUT`; settings come from the environment. What happens when is printed, in milliseconds since the
//! start: `1234 RUNNING`, `1100 restored 5000`.

use std::env;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use streams_core::{
    Consumed, Error, KafkaStreams, Materialized, RestoreListener, Result, StreamsBuilder,
    StreamsConfig, TopicPartition,
};
use tracing_subscriber::EnvFilter;

/// Prints what was restored.
struct Watch(Instant);

impl RestoreListener for Watch {
    fn on_restore_start(&self, _store: &str, _changelog: &TopicPartition, start: i64, end: i64) {
        let now = self.0.elapsed().as_millis();
        println!("{now} restoring {}", end - start);
    }

    fn on_restore_end(&self, _store: &str, _changelog: &TopicPartition, records: u64) {
        println!("{} restored {records}", self.0.elapsed().as_millis());
    }

    fn on_restore_suspended(&self, _store: &str, _changelog: &TopicPartition, records: u64) {
        println!("{} suspended {records}", self.0.elapsed().as_millis());
    }
}

fn main() -> ExitCode {
    let started = Instant::now();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    match run(started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keep: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(started: Instant) -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [application_id, input] = &arguments[..] else {
        return Err(Error::config("usage: keep APPLICATION-ID INPUT"));
    };
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(input, Consumed::new())
        .group_by_key()
        .reduce_with(|_, value| value.clone(), Materialized::named("latest"));
    let config = StreamsConfig::new(application_id).with_environment()?;
    KafkaStreams::new(builder.build()?, config)?
        .with_restore_listener(Watch(started))
        .with_state_listener(move |new, _old| {
            println!("{} {new}", started.elapsed().as_millis());
        })
        .run_blocking()
}
