//! What an operator meets: locks, slips of the pen in settings, brokers that are away, orderly stops.

use std::time::Instant;

use streams_core::serdes::Utf8;
use streams_core::{Consumed, KafkaStreams, Produced, StreamsBuilder, StreamsConfig};

use crate::support::kafka::RealKafka;
use crate::support::names::unique;
use crate::support::ports;
use crate::support::process::Program;
use crate::support::wait;
use crate::world::{DEADLINE, READY, STOP_DEADLINE, World, stop, wait_until_ready};

/// Nothing but the program's own words.
const NO_LOGS: (&str, &str) = ("RUST_LOG", "off");

/// Expects that the program has ended with an error and one line that says all of this.
#[track_caller]
fn assert_fails(program: &Program, name: &str, parts: &[&str]) {
    assert_eq!(program.wait_for_exit(DEADLINE), 1, "{}", program.stderr());
    let message = program.stderr();
    println!("{}", message.trim_end());
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(message.starts_with(&format!("{name}: ")), "{message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    assert_eq!(program.stdout(), "");
}

#[test]
fn a_state_directory_is_of_one_process() {
    let world = World::new("locked");
    let first = world.start("weather-averages", "shared", &[], &[]);
    wait_until_ready(&first);
    let second = world.start("weather-averages", "shared", &[], &[NO_LOGS]);
    let owner = format!("process {}", first.pid());
    assert_fails(
        &second,
        "weather-averages",
        &["in use", &owner, "state.dir"],
    );

    // The first is not disturbed, and stops in order.
    let asked = Instant::now();
    first.terminate();
    assert_eq!(first.wait_for_exit(STOP_DEADLINE), 0, "{}", first.stderr());
    println!("SIGTERM to exit 0: {:.2} s", asked.elapsed().as_secs_f64());
    let third = world.start("weather-averages", "shared", &[], &[]);
    wait_until_ready(&third);
}

#[test]
fn each_program_stops_in_order() {
    let world = World::new("stops");
    let averages = world.start("weather-averages", "averages", &[], &[]);
    let [port] = ports::free();
    let address = format!("127.0.0.1:{port}");
    // With its Graphite away, too.
    let writer = world.start("weather-graphite", "writer", &["--graphite", &address], &[]);
    let producer = world.start("weather-producer", "producer", &["generate"], &[]);
    let replay = world.start("weather", "producer", &["producer", "replay"], &[]);
    wait_until_ready(&averages);
    wait_until_ready(&writer);
    let programs = [averages, writer, producer, replay];
    let asked = Instant::now();
    for program in &programs {
        program.terminate();
    }
    for program in &programs {
        assert_eq!(
            program.wait_for_exit(STOP_DEADLINE),
            0,
            "{}",
            program.stderr()
        );
    }
    println!(
        "SIGTERM to exit 0 of four programs: {:.2} s",
        asked.elapsed().as_secs_f64()
    );
}

#[test]
fn a_stop_right_after_the_start_is_in_order_too() {
    let world = World::new("early");
    for moment in ["state changed", " assigned", READY] {
        let program = world.start("weather-averages", "averages", &[], &[]);
        wait::until(moment, DEADLINE, || program.stderr().contains(moment));
        stop(&program);
    }
}

#[test]
fn a_setting_that_does_not_exist_is_an_error_that_suggests_the_nearest() {
    let world = World::new("settings");
    let wrong = [NO_LOGS, ("STREAMS_COMIT_INTERVAL_MS", "1")];
    let parts = ["STREAMS_COMIT_INTERVAL_MS", "STREAMS_COMMIT_INTERVAL_MS"];
    for name in ["weather-averages", "weather-graphite"] {
        assert_fails(&world.start(name, name, &[], &wrong), name, &parts);
    }
    let producer = world.start("weather-producer", "producer", &["generate"], &wrong);
    assert_fails(&producer, "weather-producer", &parts);

    let bad_value = [NO_LOGS, ("STREAMS_NUM_STREAM_THREADS", "many")];
    let program = world.start("weather-averages", "averages", &[], &bad_value);
    assert_fails(
        &program,
        "weather-averages",
        &["STREAMS_NUM_STREAM_THREADS", "many"],
    );
}

#[test]
fn what_is_not_there_is_named() {
    let world = World::new("missing");
    let [port] = ports::free();
    let address = format!("127.0.0.1:{port}");
    let away = [NO_LOGS, ("KAFKA_BOOTSTRAP_SERVERS", address.as_str())];
    let averages = world.start("weather-averages", "averages", &[], &away);
    let producer = world.start("weather-producer", "producer", &["generate"], &away);

    // An application that does not make its own topics waits for them, then says which are missing.
    let topic = unique("nobody-makes-this");
    let builder = StreamsBuilder::new();
    builder
        .stream(&*topic, Consumed::with(Utf8, Utf8))
        .to("somewhere", Produced::with(Utf8, Utf8));
    let config = StreamsConfig::new(unique("missing-topic"))
        .set("bootstrap.servers", RealKafka::shared().bootstrap())
        .expect("it is a setting");
    let error = builder
        .build()
        .and_then(|topology| KafkaStreams::new(topology, config))
        .and_then(KafkaStreams::run_blocking)
        .expect_err("the topic is missing")
        .to_string();
    assert!(
        error.contains(&topic) && error.contains("create"),
        "{error}"
    );

    assert_fails(&averages, "weather-averages", &[&address]);
    assert_fails(&producer, "weather-producer", &[&address]);
}

#[test]
fn state_that_cannot_be_written_is_named() {
    let world = World::new("unwritable");
    let file = world.state("a-file");
    std::fs::write(&file, "not a directory").expect("a file can be written");
    let path = file.display().to_string();
    let environment = [NO_LOGS, ("STREAMS_STATE_DIR", path.as_str())];
    let program = world.start("weather-averages", "averages", &[], &environment);
    assert_fails(&program, "weather-averages", &[&path]);
}
