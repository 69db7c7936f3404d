//! What Graphite has to show: the points of readings and of windows, written without the programs' code.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fold::{Reading, Windows};
use crate::support::graphite::RealGraphite;
use crate::support::wait;

/// Points by metric and time in Unix seconds.
pub type Points = BTreeMap<String, BTreeMap<i64, f64>>;

/// The finest step of the retention, in seconds.
pub const STEP_S: i64 = 10;

/// How a city's name has to look in a path.
pub fn segment(city: &str) -> String {
    city.to_lowercase().replace(' ', "-").replace('ü', "ue")
}

/// What windows have to look like below `prefix`: mean, lowest, highest and count of every value, at the window's start.
pub fn of_windows(prefix: &str, windows: &Windows) -> Points {
    let mut points = Points::new();
    for ((city, start_ms), window) in windows {
        let city = segment(city);
        let mut add = |name: String, value: f64| {
            let metric = format!("{prefix}.weather.{city}.{name}");
            points
                .entry(metric)
                .or_default()
                .insert(start_ms / 1000, value);
        };
        add("count".to_owned(), window.count as f64);
        for (name, statistics) in &window.values {
            let name = if name == "tempCurrent" { "temp" } else { name };
            add(format!("{name}Avg"), statistics.mean);
            add(format!("{name}Min"), statistics.min);
            add(format!("{name}Max"), statistics.max);
            add(format!("{name}Count"), statistics.count as f64);
        }
    }
    points
}

/// What readings have to look like below `prefix`: the last one of each step, in the order of the log. Values whose names
/// belong to windows are none.
pub fn of_readings<'a>(prefix: &str, readings: impl IntoIterator<Item = &'a Reading>) -> Points {
    let mut points = Points::new();
    for reading in readings {
        let time_s = reading.time_ms / 1000;
        for (name, value) in &reading.values {
            if ["Avg", "Min", "Max"]
                .iter()
                .any(|ending| name.ends_with(ending))
            {
                continue;
            }
            let metric = format!("{prefix}.weather.{}.{name}", segment(&reading.city));
            let step_s = time_s - time_s.rem_euclid(STEP_S);
            points.entry(metric).or_default().insert(step_s, *value);
        }
    }
    points
}

/// What Graphite shows below `prefix` since a time in Unix seconds.
pub fn shown(graphite: &RealGraphite, prefix: &str, from_s: i64) -> Points {
    graphite
        .render(&format!("{prefix}.weather.*.*"), &from_s.to_string())
        .into_iter()
        .map(|series| (series.target, series.points.into_iter().collect()))
        .collect()
}

/// How many points there are.
pub fn count(points: &Points) -> usize {
    points.values().map(BTreeMap::len).sum()
}

/// The first of the points that are not in `shown`, or are there with another value, and how many there are.
pub fn difference(expected: &Points, shown: &Points) -> Option<(usize, String)> {
    let different: Vec<_> = expected
        .iter()
        .flat_map(|(metric, points)| {
            points
                .iter()
                .map(move |(time_s, value)| (metric, time_s, value))
        })
        .filter_map(|(metric, time_s, value)| {
            let shown = shown.get(metric).and_then(|points| points.get(time_s));
            (shown != Some(value)).then(|| {
                format!("{metric} at {time_s} is to be {value}, and Graphite has {shown:?}")
            })
        })
        .collect();
    different
        .first()
        .map(|first| (different.len(), first.clone()))
}

/// Waits until Graphite shows these points below `prefix`, and no others.
#[track_caller]
pub fn wait_for(graphite: &RealGraphite, prefix: &str, expected: &Points, deadline: Duration) {
    let from_s = first_time_s(expected) - STEP_S;
    let start = std::time::Instant::now();
    let last = wait::until_some(
        "the points in Graphite, or the deadline",
        deadline * 2,
        || {
            let shown = shown(graphite, prefix, from_s);
            let difference = difference(expected, &shown);
            let is_over = difference.is_none() || start.elapsed() > deadline;
            is_over.then_some((shown, difference))
        },
    );
    let (shown, difference) = last;
    if let Some((count, first)) = difference {
        panic!(
            "{count} of {} points are not in Graphite after {deadline:?}: {first}",
            self::count(expected)
        );
    }
    assert_eq!(
        count(&shown),
        count(expected),
        "Graphite has points of nothing"
    );
}

/// The earliest time of any point, in Unix seconds.
pub fn first_time_s(points: &Points) -> i64 {
    points
        .values()
        .filter_map(|points| points.keys().next())
        .copied()
        .min()
        .expect("there are points")
}
