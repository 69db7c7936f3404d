//! The dashboard asks for series that exist.

use std::collections::BTreeSet;
use streams_core::windowed::Window;
use weather_averages::{CityWindow, WindowAverages};
use weather_graphite::Series;
use weather_producer::{Attribute, Reading};

const DASHBOARD: &str = include_str!("../deploy/grafana/dashboards/weather.json");

/// The last parts of all paths that readings and results can have.
fn series_names() -> BTreeSet<String> {
    let reading = Attribute::KNOWN
        .into_iter()
        .fold(Reading::new("Mosbach", 0), |reading, attribute| {
            reading.with(attribute, 1.0)
        });
    let mut state = CityWindow::default();
    state.add(&reading);
    let averages = WindowAverages::new("Mosbach", Window::new(0, 600_000), &state);
    let mut series = Series::new("p", 1);
    let mut points = series.of_reading(&reading);
    points.extend(series.of_window(&averages));
    points
        .iter()
        .filter_map(|point| point.path().rsplit('.').next().map(str::to_owned))
        .collect()
}

#[test]
fn every_query_names_a_series_that_is_written() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let names = series_names();
    let mut targets = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let target = target["target"].as_str().unwrap();
            let (_, after) = target
                .split_once("vlvs_inf19b.$user.weather.$city.")
                .unwrap_or_else(|| panic!("{target} is not below the prefix"));
            let name: String = after.chars().take_while(|c| c.is_alphanumeric()).collect();
            assert!(names.contains(&name), "{target}: nothing writes {name}");
            targets += 1;
        }
    }
    assert!(targets >= 8, "{targets}");
}

#[test]
fn variables_lead_to_users_and_cities() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            (
                variable["name"].as_str().unwrap(),
                variable["query"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        queries,
        [
            ("user", "vlvs_inf19b.*"),
            ("city", "vlvs_inf19b.$user.weather.*")
        ]
    );
}
