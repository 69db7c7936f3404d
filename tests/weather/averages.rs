//! 200,000 readings through all three programs: what comes out is a plain fold of what went in, also when an instance
//! goes and comes back, and Graphite shows the same, to the second.

use std::time::{Duration, Instant};

use crate::fold::{self, MINUTE_MS, Results};
use crate::points;
use crate::support::graphite::RealGraphite;
use crate::support::wait;
use crate::world::{DEADLINE, World, now_ms, rfc3339, stop, wait_until_ready};

const READINGS: i64 = 200_000;
const WINDOW_MS: i64 = 10 * MINUTE_MS;
const GRACE_MS: i64 = MINUTE_MS;
const CITIES: [&str; 8] = [
    "Mosbach",
    "Stuttgart",
    "Bad Mergentheim",
    "Würzburg",
    "Karlsruhe",
    "Mannheim",
    "Tübingen",
    "Ulm",
];
const STEP_MS: i64 = 500;
/// Within the grace, so that no reading is too late, whichever instance has heard what.
const OUT_OF_ORDER_S: &str = "30";

#[test]
fn two_instances_give_what_a_plain_fold_gives_and_graphite_shows_it() {
    let world = World::new("averages");
    let graphite = RealGraphite::shared();
    // Windows begin at whole steps of the retention, and the finest one reaches back 6 hours.
    let start_ms = (now_ms() / WINDOW_MS) * WINDOW_MS - 5 * 60 * MINUTE_MS;
    let end_ms = start_ms + READINGS / CITIES.len() as i64 * STEP_MS;

    let averages = |instance: &str| {
        let environment = [
            ("STREAMS_NUM_STREAM_THREADS", "2"),
            ("STREAMS_COMMIT_INTERVAL_MS", "1000"),
        ];
        world.start("weather-averages", instance, &[], &environment)
    };
    let first = averages("first");
    let second = averages("second");
    let writer = world.start(
        "weather-graphite",
        "writer",
        &["--graphite", graphite.line_address()],
        &[
            ("GRAPHITE_STEP_S", "10"),
            ("STREAMS_COMMIT_INTERVAL_MS", "1000"),
        ],
    );
    for program in [&first, &second, &writer] {
        wait_until_ready(program);
    }

    let (start, count) = (rfc3339(start_ms), READINGS.to_string());
    let mut arguments = vec![
        "generate",
        "--seed",
        "7",
        "--rate",
        "20000",
        "--step-s",
        "0.5",
        "--count",
        &count,
        "--start",
        &start,
        "--out-of-order-s",
        OUT_OF_ORDER_S,
    ];
    arguments.extend(CITIES.iter().flat_map(|city| ["--city", city]));
    let began = Instant::now();
    let producer = world.start("weather-producer", "producer", &arguments, &[]);

    // One instance leaves in the middle of the readings, and comes back.
    let mut results = Results::new(world.reader(&world.averages()), WINDOW_MS);
    results.wait_for(8 * CITIES.len(), DEADLINE);
    stop(&second);
    let at_stop = world
        .committed(&world.averages_id(), &world.readings())
        .records();
    let second = averages("second");
    assert!(
        at_stop < READINGS,
        "all readings were averaged before an instance stopped"
    );
    assert_eq!(producer.wait_for_exit(DEADLINE), 0, "{}", producer.stderr());
    wait_until_ready(&second);
    world.send_closing(&CITIES, end_ms + WINDOW_MS + GRACE_MS);

    let readings = fold::readings(&world.read(&world.readings()));
    assert_eq!(readings.len() as i64, READINGS + CITIES.len() as i64);
    assert!(
        readings.windows(2).any(|pair| pair[0].partition == pair[1].partition
            && pair[1].time_ms < pair[0].time_ms),
        "the readings are to be out of order"
    );
    let expected = fold::fold(&readings, WINDOW_MS, GRACE_MS);
    assert_eq!(expected.late, 0, "the readings are to be within the grace");
    results.wait_for(expected.closed.len(), DEADLINE);
    println!(
        "{READINGS} readings averaged by two instances in {:.1} s, {at_stop} of them before one stopped",
        began.elapsed().as_secs_f64()
    );

    stop(&first);
    stop(&second);
    let (windows, repeated) = results.finish();
    fold::assert_same(&windows, &expected.closed);
    println!(
        "{} windows equal the fold, {repeated} came more than once",
        windows.len()
    );

    let prefix = format!("vlvs_inf19b.{}", world.user());
    let mut shown = points::of_windows(&prefix, &expected.closed);
    shown.extend(points::of_readings(&prefix, &readings));
    points::wait_for(graphite, &prefix, &shown, Duration::from_secs(180));
    println!(
        "{} points in Graphite equal the fold, after {:.1} s",
        points::count(&shown),
        began.elapsed().as_secs_f64()
    );

    // A point counts as delivered some seconds after it was written; then its reading is not read again.
    let mut committed = world.committed(&world.graphite_id(), &world.readings());
    wait::until("the readings are committed", DEADLINE, || {
        committed.records() == readings.len() as i64
    });
    stop(&writer);
}
