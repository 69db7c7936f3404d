//! Carbon goes away and comes back: no point is lost, nothing is committed that Graphite may not have, and an outage that
//! is too long ends the program with a message.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fold::{self, Reading};
use crate::points::{self, Points};
use crate::support::graphite::RealGraphite;
use crate::support::ports;
use crate::support::process::Program;
use crate::support::wait;
use crate::world::{Committed, DEADLINE, World, now_ms, rfc3339, stop, wait_until_ready};

/// Four points each.
const READINGS: usize = 200;
const POINTS: usize = 4 * READINGS;

fn start_writer(world: &World, graphite: &RealGraphite, environment: &[(&str, &str)]) -> Program {
    let mut all = vec![
        ("GRAPHITE_STEP_S", "10"),
        ("STREAMS_COMMIT_INTERVAL_MS", "100"),
        // A program that was killed leaves its work to the next one after this time.
        ("STREAMS_SESSION_TIMEOUT_MS", "6000"),
    ];
    all.extend(environment);
    let arguments = ["--graphite", graphite.line_address()];
    let writer = world.start("weather-graphite", "writer", &arguments, &all);
    wait_until_ready(&writer);
    writer
}

/// Starts to send 800 points of a city, 100 a second.
fn start_producer(world: &World, city: &str) -> Program {
    let start = rfc3339((now_ms() / 10_000) * 10_000 - READINGS as i64 * 10_000);
    let count = READINGS.to_string();
    let arguments = [
        "generate", "--rate", "25", "--count", &count, "--step-s", "10", "--start", &start,
        "--city", city,
    ];
    world.start("weather-producer", "producer", &arguments, &[])
}

/// What the readings in the topic have to look like in Graphite.
fn expected(world: &World, prefix: &str) -> (Vec<Reading>, Points) {
    let readings = fold::readings(&world.read(&world.readings()));
    let points = points::of_readings(prefix, &readings);
    (readings, points)
}

/// Everything before the committed offsets is in Graphite, whatever has happened to it.
fn assert_committed_is_safe(
    world: &World,
    graphite: &RealGraphite,
    prefix: &str,
    committed: &mut Committed,
) {
    let offsets = committed.offsets();
    let (readings, _) = expected(world, prefix);
    let before: Vec<&Reading> = readings
        .iter()
        .filter(|reading| reading.offset < offsets[reading.partition as usize])
        .collect();
    let safe = points::of_readings(prefix, before.iter().copied());
    let shown = points::shown(graphite, prefix, now_ms() / 1000 - 2 * 3600);
    if let Some((count, first)) = points::difference(&safe, &shown) {
        panic!("{count} points are committed and not in Graphite: {first}");
    }
    println!("{} points are committed, and safe", points::count(&safe));
}

/// Waits until the middle of a city's points, as Graphite shows them.
fn wait_for_the_middle(graphite: &RealGraphite, prefix: &str, city: &str) {
    let pattern = format!("{prefix}.weather.{}.*", points::segment(city));
    let from = (now_ms() / 1000 - 2 * 3600).to_string();
    wait::until("the middle of the points", DEADLINE, || {
        let series = graphite.render(&pattern, &from);
        let count: usize = series.iter().map(|series| series.points.len()).sum();
        count > POINTS * 3 / 8
    });
}

#[test]
fn no_point_is_lost_when_carbon_or_the_program_dies() {
    let world = World::new("graphite-restart");
    let graphite = RealGraphite::start();
    let prefix = format!("vlvs_inf19b.{}", world.user());
    let mut committed = world.committed(&world.graphite_id(), &world.readings());

    // Carbon stops as an operator stops it, then as a crash does.
    let writer = start_writer(&world, &graphite, &[]);
    for (city, ends) in [
        ("Mosbach", RealGraphite::stop_carbon as fn(&RealGraphite)),
        ("Stuttgart", RealGraphite::kill_carbon),
    ] {
        let producer = start_producer(&world, city);
        wait_for_the_middle(&graphite, &prefix, city);
        ends(&graphite);
        assert_committed_is_safe(&world, &graphite, &prefix, &mut committed);
        graphite.start_carbon();
        assert_eq!(producer.wait_for_exit(DEADLINE), 0);
    }
    let (_, points) = expected(&world, &prefix);
    assert_eq!(points::count(&points), 2 * POINTS);
    points::wait_for(&graphite, &prefix, &points, DEADLINE);

    // Both die at once: what only the program's memory had is read from Kafka again.
    let producer = start_producer(&world, "Ulm");
    wait_for_the_middle(&graphite, &prefix, "Ulm");
    graphite.kill_carbon();
    writer.kill();
    writer.wait_for_exit(DEADLINE);
    assert_committed_is_safe(&world, &graphite, &prefix, &mut committed);
    graphite.start_carbon();
    let writer = start_writer(&world, &graphite, &[]);
    assert_eq!(producer.wait_for_exit(DEADLINE), 0);

    let (readings, points) = expected(&world, &prefix);
    assert_eq!(points::count(&points), 3 * POINTS);
    points::wait_for(&graphite, &prefix, &points, DEADLINE);
    wait::until("the end is committed", DEADLINE, || {
        committed.records() == readings.len() as i64
    });
    stop(&writer);
}

#[test]
fn a_graphite_that_is_down_pauses_reading() {
    const BUFFER_BYTES: usize = 32 * 1024;
    const LINE_BYTES_MIN: usize = 60;
    let world = World::new("graphite-down");
    let graphite = RealGraphite::start();
    let prefix = format!("vlvs_inf19b.{}", world.user());
    graphite.stop_carbon();
    let buffer_bytes = BUFFER_BYTES.to_string();
    let environment = [
        ("GRAPHITE_BUFFER_MAX_BYTES", buffer_bytes.as_str()),
        ("GRAPHITE_SETTLE_MS", "2000"),
    ];
    let writer = start_writer(&world, &graphite, &environment);
    let mut committed = world.committed(&world.graphite_id(), &world.readings());

    let count = (2 * READINGS).to_string();
    let start = rfc3339((now_ms() / 10_000) * 10_000 - 2 * READINGS as i64 * 10_000);
    let arguments = [
        "generate", "--rate", "0", "--count", &count, "--step-s", "10", "--start", &start,
        "--city", "Mosbach",
    ];
    world.produce(&arguments);
    let (readings, points) = expected(&world, &prefix);
    assert_eq!(points::count(&points), 2 * POINTS);

    // It tries again, later and later, and takes no more than fits.
    let waiting = wait::until_some("several attempts", DEADLINE, || {
        let waiting = waiting_points(&writer.stderr());
        (waiting.iter().filter(|points| **points > 0).count() >= 3).then_some(waiting)
    });
    let most = waiting.iter().copied().max().unwrap_or_default();
    println!(
        "{most} points wait while Graphite is down, of {}",
        2 * POINTS
    );
    assert!(
        most * LINE_BYTES_MIN < BUFFER_BYTES * 3 / 2,
        "{most} points wait in {BUFFER_BYTES} bytes"
    );
    assert_eq!(
        committed.records(),
        0,
        "nothing is committed that has not arrived"
    );

    graphite.start_carbon();
    points::wait_for(&graphite, &prefix, &points, DEADLINE);
    wait::until("the end is committed", DEADLINE, || {
        committed.records() == readings.len() as i64
    });
    stop(&writer);
}

/// How many points waited at each failed attempt to reach Graphite, as the log says it.
fn waiting_points(log: &str) -> Vec<usize> {
    log.lines()
        .filter(|line| line.contains("no connection to Graphite"))
        .filter_map(|line| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix("points=")?.parse().ok())
        })
        .collect()
}

#[test]
fn an_outage_that_is_too_long_ends_the_program_with_a_message() {
    let world = World::new("graphite-gone");
    let [port] = ports::free();
    let address = format!("127.0.0.1:{port}");
    let environment: BTreeMap<&str, &str> =
        [("GRAPHITE_MAX_OUTAGE_MS", "3000"), ("RUST_LOG", "off")].into();
    let environment: Vec<_> = environment.into_iter().collect();
    let arguments = ["--graphite", &address];
    let writer = world.start("weather-graphite", "writer", &arguments, &environment);
    assert_eq!(writer.wait_for_exit(Duration::from_secs(60)), 1);
    let message = writer.stderr();
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    for part in [
        "weather-graphite: ",
        &address,
        "could not be reached for 3s",
        "GRAPHITE_HOST",
    ] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}
