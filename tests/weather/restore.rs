//! A state directory is lost: windows that were open are restored from the changelog, and their results stay right.

use crate::fold::{self, MINUTE_MS, Results};
use crate::support::wait;
use crate::world::{DEADLINE, World, now_ms, rfc3339, stop, wait_until_ready};

const WINDOW_MS: i64 = 10 * MINUTE_MS;
const GRACE_MS: i64 = MINUTE_MS;
const CITIES: usize = 2_000;
const MINUTES_PER_PART: i64 = 25;

#[test]
fn results_stay_right_when_the_state_is_lost() {
    let world = World::new("restore");
    // Not long ago: brokers delete a windowed changelog by the times of its records, which are those of the readings.
    let first_ms = (now_ms() / WINDOW_MS - 12) * WINDOW_MS;
    let cities: Vec<String> = (0..CITIES).map(|number| format!("City {number}")).collect();
    let part = |start_ms: i64, seed: &str| {
        let (start, count) = (
            rfc3339(start_ms),
            (CITIES as i64 * MINUTES_PER_PART).to_string(),
        );
        let mut arguments = vec!["generate", "--rate", "0", "--step-s", "60"];
        arguments.extend(["--seed", seed, "--start", &start, "--count", &count]);
        arguments.extend(cities.iter().flat_map(|city| ["--city", city.as_str()]));
        world.produce(&arguments);
    };
    let averages = || {
        let environment = [("STREAMS_COMMIT_INTERVAL_MS", "200")];
        world.start("weather-averages", "only", &[], &environment)
    };
    let mut committed = world.committed(&world.averages_id(), &world.readings());
    let mut wait_for_all = |records: i64| {
        wait::until("all readings are averaged", DEADLINE, || {
            committed.records() == records
        });
    };

    let before = averages();
    wait_until_ready(&before);
    part(first_ms, "1");
    wait_for_all(CITIES as i64 * MINUTES_PER_PART);
    stop(&before);

    // Five minutes into a window.
    let state = world.state("only");
    std::fs::remove_dir_all(&state).expect("the state can be deleted");
    let after = averages();
    wait_until_ready(&after);
    let restored = restored(&after.stderr());
    let records: f64 = restored.iter().map(|task| task.records).sum();
    println!(
        "restored {records} records of {} tasks in {:.3} s: {:.0} records/s (the slowest task {:.0} records/s)",
        restored.len(),
        longest_s(&restored),
        records / longest_s(&restored),
        restored
            .iter()
            .map(|task| task.records_per_s)
            .fold(f64::INFINITY, f64::min),
    );
    assert!(
        records >= CITIES as f64,
        "{CITIES} windows were open, {records} records are restored"
    );

    part(first_ms + MINUTES_PER_PART * MINUTE_MS, "2");
    let end_ms = first_ms + 2 * MINUTES_PER_PART * MINUTE_MS;
    // With 40 cities there is one in every partition.
    let closing: Vec<&str> = cities.iter().take(40).map(String::as_str).collect();
    world.send_closing(&closing, end_ms + WINDOW_MS + GRACE_MS);

    let readings = fold::readings(&world.read(&world.readings()));
    let expected = fold::fold(&readings, WINDOW_MS, GRACE_MS);
    assert_eq!(expected.late, 0);
    assert_eq!(expected.closed.len(), CITIES * 5);
    let mut results = Results::new(world.reader(&world.averages()), WINDOW_MS);
    results.wait_for(expected.closed.len(), DEADLINE);
    stop(&after);
    let (windows, _) = results.finish();
    fold::assert_same(&windows, &expected.closed);
}

/// What the log says of a task's restoration.
struct Restored {
    records: f64,
    seconds: f64,
    records_per_s: f64,
}

fn restored(log: &str) -> Vec<Restored> {
    let restored: Vec<Restored> = log
        .lines()
        .filter(|line| line.contains(" restored task="))
        .map(|line| Restored {
            records: number(line, "records"),
            seconds: number(line, "seconds"),
            records_per_s: number(line, "records_per_s"),
        })
        .collect();
    assert!(!restored.is_empty(), "nothing was restored:\n{log}");
    restored
}

/// Tasks are restored at the same time.
fn longest_s(restored: &[Restored]) -> f64 {
    restored.iter().map(|task| task.seconds).fold(0.0, f64::max)
}

fn number(line: &str, name: &str) -> f64 {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in: {line}"))
}
