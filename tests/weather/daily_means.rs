//! The real observations: their daily means are those that were computed elsewhere.

use crate::fold::{self, DAY_MS, MINUTE_MS, Results};
use crate::world::{DEADLINE, World, stop, wait_until_ready};

/// Airport, day of 2013, how many temperatures, and their mean in °C, computed from the source with other software.
const KNOWN: [(&str, &str, u64, f64); 4] = [
    ("JFK", "2013-01-01", 17, 3.847_059),
    ("JFK", "2013-07-19", 24, 30.1875),
    ("EWR", "2013-07-19", 24, 32.870_833),
    ("LGA", "2013-12-30", 24, 4.483_333),
];
/// The figures have six decimals.
const TOLERANCE: f64 = 6e-7;
const OBSERVATIONS: usize = 26_115;
/// 2014-01-02T00:00:00Z.
const CLOSING_MS: i64 = 1_388_620_800_000;

#[test]
fn daily_means_of_the_real_data_are_the_known_ones() {
    let world = World::new("daily-means");
    let averages = world.start("weather-averages", "averages", &["--window", "1day"], &[]);
    wait_until_ready(&averages);
    world.produce(&["replay", "--speed", "0"]);
    world.send_closing(&["EWR", "JFK", "LGA"], CLOSING_MS);

    let all = fold::readings(&world.read(&world.readings()));
    assert_eq!(all.len(), OBSERVATIONS + 3);
    let is_possible = |reading: &fold::Reading| {
        reading
            .values
            .get("windSpeed")
            .is_none_or(|speed| *speed < 120.0)
    };
    let (possible, impossible): (Vec<_>, Vec<_>) = all.into_iter().partition(is_possible);
    // The 1,048 miles per hour of the source.
    assert_eq!(impossible.len(), 1);
    let expected = fold::fold(&possible, DAY_MS, MINUTE_MS);
    assert_eq!(expected.late, 0);

    let mut results = Results::new(world.reader(&world.averages()), DAY_MS);
    results.wait_for(expected.closed.len(), DEADLINE);
    stop(&averages);
    let (windows, _) = results.finish();
    fold::assert_same(&windows, &expected.closed);
    assert_eq!(world.read(&world.dead_letters()).len(), 1);

    for (airport, day, count, mean) in KNOWN {
        let start: jiff::Timestamp = format!("{day}T00:00:00Z").parse().expect("a day");
        let window = &windows[&(airport.to_owned(), start.as_millisecond())];
        let temp = &window.values["tempCurrent"];
        println!("{airport} {day}: n = {}, {:.6} °C", temp.count, temp.mean);
        assert_eq!(temp.count, count, "{airport} {day}");
        assert!(
            (temp.mean - mean).abs() < TOLERANCE,
            "{airport} {day}: {}",
            temp.mean
        );
    }
}
