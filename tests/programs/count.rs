//! Counts the values of a topic, each count one record: what the tests of a guarantee run and kill.
//!
//! `count APPLICATION-ID INPUT OUTPUT [by-key]`; settings come from the environment. With `by-key` the records are counted by
//! their keys, without a repartition topic.

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
    let (application_id, input, output, is_by_key) = match &arguments[..] {
        [application_id, input, output] => (application_id, input, output, false),
        [application_id, input, output, by_key] if by_key == "by-key" => {
            (application_id, input, output, true)
        }
        _ => {
            let usage = "usage: count APPLICATION-ID INPUT OUTPUT [by-key]";
            return Err(Error::config(usage));
        }
    };
    let builder = StreamsBuilder::new();
    let grouped = if is_by_key {
        builder
            .stream::<String, String>(input, Consumed::new())
            .group_by_key()
    } else {
        builder
            .stream::<Option<String>, String>(input, Consumed::new())
            .select_key(|_key, value: &String| value.clone())
            .group_by_key()
    };
    grouped
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to(output, Produced::new());
    let config = StreamsConfig::new(application_id).with_environment()?;
    KafkaStreams::new(builder.build()?, config)?.run_blocking()
}
