//! Counts the values of a topic, each count one record: what the tests of a guarantee run and kill.
//!
//! `count APPLICATION-ID INPUT OUTPUT`; settings come from the environment.

use std::env;
use std::io;
use std::process::ExitCode;

use streams_core::{
    Consumed, Error, KafkaStreams, Materialized, Produced, Result, StreamsBuilder, StreamsConfig,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [application_id, input, output] = &arguments[..] else {
        return Err(Error::config("usage: count APPLICATION-ID INPUT OUTPUT"));
    };
    let builder = StreamsBuilder::new();
    builder
        .stream::<Option<String>, String>(input, Consumed::new())
        .select_key(|_key, value: &String| value.clone())
        .group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to(output, Produced::new());
    let config = StreamsConfig::new(application_id).with_environment()?;
    KafkaStreams::new(builder.build()?, config)?.run_blocking()
}
