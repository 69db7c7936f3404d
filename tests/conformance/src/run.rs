//! A scenario run by this library.

use crate::handlers::NoteDown;
use crate::interpreter;
use crate::scenario::{Answers, Input, Record, Scenario};
use crate::step::Wrong;
use std::time::Duration;
use streams_core::{DeadLetter, Header, Headers, StreamsConfig, Topology, TopologyTestDriver};

/// Builds the scenario's topology, feeds it, and tells what it answered.
///
/// # Errors
/// When the scenario is wrong, or the interpreter does not know what it asks for.
pub fn run(scenario: &Scenario) -> Result<Answers, Wrong> {
    let config = match config(scenario) {
        Ok(config) => config,
        Err(error) => return Ok(refused(&error)),
    };
    let topology = match interpreter::build(&scenario.steps(), &config) {
        Ok(Ok(topology)) => topology,
        Ok(Err(error)) => return Ok(refused(&error)),
        Err(wrong) if wrong.is_refused() => return Ok(refused(&wrong)),
        Err(wrong) => return Err(wrong),
    };
    let describe = topology.describe();
    let mut driver = match driver(&topology, config, scenario) {
        Ok(driver) => driver,
        Err(error) => return Ok(refused(&error)),
    };
    let mut answers = Answers {
        describe: describe.trim_end().lines().map(str::to_owned).collect(),
        ..Answers::default()
    };
    drain(&mut driver, 0, &mut answers);
    for (input, step) in scenario.input.iter().zip(1..) {
        let done = give(&mut driver, input);
        drain(&mut driver, step, &mut answers);
        if let Err(error) = done {
            answers.failed = Some((step, error.to_string()));
            break;
        }
    }
    Ok(answers)
}

fn refused(error: &impl ToString) -> Answers {
    Answers {
        error: Some(error.to_string()),
        ..Answers::default()
    }
}

fn config(scenario: &Scenario) -> streams_core::Result<StreamsConfig> {
    let mut config = StreamsConfig::new("test");
    for (name, value) in &scenario.settings {
        config = match &**value {
            "handler:deserialization:continue" | "handler:processing:continue" => {
                config.set(name, "LogAndContinue")?
            }
            "handler:deserialization:fail" | "handler:processing:fail" => {
                config.set(name, "LogAndFail")?
            }
            "handler:production:default" => config.set(name, "Default")?,
            // Given in code.
            value if value.starts_with("handler:") => config,
            _ => config.set(name, value)?,
        };
    }
    Ok(config)
}

fn driver(
    topology: &Topology,
    config: StreamsConfig,
    scenario: &Scenario,
) -> streams_core::Result<TopologyTestDriver> {
    let mut driver = TopologyTestDriver::builder(topology)
        .config(config)
        .wall_clock(0);
    for value in scenario.settings.values() {
        driver = match &**value {
            "handler:deserialization:context" => driver.deserialization_exception_handler(NoteDown),
            "handler:processing:context" => driver.processing_exception_handler(NoteDown),
            "handler:production:context" => driver.production_exception_handler(NoteDown),
            _ => driver,
        };
    }
    match scenario.commits_explicitly {
        true => driver.commit_explicitly().build(),
        false => driver.commit_every_record().build(),
    }
}

fn give(driver: &mut TopologyTestDriver, input: &Input) -> streams_core::Result<()> {
    match input {
        Input::Advance(ms) => {
            driver.advance_wall_clock(Duration::from_millis(ms.max(&0).unsigned_abs()))
        }
        Input::Commit => driver.commit(),
        Input::Record { topic, record } => {
            let mut headers = Headers::new();
            for (name, value) in &record.headers {
                headers.add(name, value.as_deref());
            }
            let (key, value) = (record.key.clone(), record.value.clone());
            let timestamp = record.timestamp.unwrap_or_default();
            driver.pipe_bytes(topic, key, value, timestamp, headers)
        }
    }
}

fn drain(driver: &mut TopologyTestDriver, step: usize, answers: &mut Answers) {
    let topics: Vec<String> = driver.produced_topic_names().map(str::to_owned).collect();
    for topic in topics {
        while let Ok(Some(record)) = driver.read_produced(&topic) {
            let headers = record.headers.iter();
            let record = Record {
                key: record.key,
                value: record.value,
                timestamp: record.timestamp,
                headers: headers
                    .map(|header| {
                        let value = match is_javas(header) {
                            true => Some(b"*".to_vec()),
                            false => header.value.clone(),
                        };
                        (header.key.clone(), value)
                    })
                    .collect(),
            };
            let records = answers.produced.entry(topic.clone()).or_default();
            records.push((step, record));
        }
    }
}

/// What only Java writes into a dead letter: names of classes, stack traces, messages of its own.
fn is_javas(header: &Header) -> bool {
    let says = |begin: &[u8]| {
        header
            .value
            .as_ref()
            .is_some_and(|text| text.starts_with(begin))
    };
    match &*header.key {
        DeadLetter::EXCEPTION | DeadLetter::STACKTRACE => true,
        DeadLetter::MESSAGE => !says(b"fails on "),
        _ => false,
    }
}
