//! The Grafana dashboard that is shipped: each of its variables and queries gets data from a real Graphite that has the
//! shipped retentions, filled by the programs with the three cities.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::fold::{self, MINUTE_MS, Results};
use crate::points;
use crate::support::graphite::RealGraphite;
use crate::support::wait;
use crate::world::{DEADLINE, World, now_ms, rfc3339, stop, wait_until_ready};

const CITIES: [&str; 3] = ["Bad Mergentheim", "Mosbach", "Stuttgart"];
const WINDOW_MS: i64 = 10 * MINUTE_MS;
const HOURS: i64 = 3;

fn deployed(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../apps/weather/deploy")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list of {what}"))
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("no {what}"))
}

#[test]
fn every_variable_and_query_of_the_dashboard_returns_data() {
    let world = World::new("dashboard");
    let graphite = RealGraphite::start_with_retentions(
        &deployed("graphite/storage-schemas.conf"),
        &deployed("graphite/storage-aggregation.conf"),
    );
    let windows = fill(&world, &graphite);

    let dashboard: Value = serde_json::from_str(&deployed("grafana/dashboards/weather.json"))
        .expect("the dashboard is JSON");
    let variables = variables(&dashboard, &graphite);
    assert_eq!(variables["user"], world.user());
    assert_eq!(variables["city"], "{bad-mergentheim,mosbach,stuttgart}");

    // The shown time, for Graphite: `now-1y` is `-1y` there.
    let from = text(&dashboard["time"]["from"], "time to show").replace("now", "");
    let mut queries = 0;
    for panel in list(&dashboard["panels"], "panels") {
        for target in list(&panel["targets"], "queries") {
            let query = substitute(text(&target["target"], "query"), &variables);
            // Over the last hours, and over what the dashboard shows at first.
            for from in ["-6h", &from] {
                let series = graphite.render(&query, from);
                assert_eq!(series.len(), CITIES.len(), "{query} from {from}");
                for series in series {
                    assert!(
                        !series.points.is_empty(),
                        "{query} from {from}: {}",
                        series.target
                    );
                    let is_named_after_a_city = CITIES
                        .iter()
                        .any(|city| series.target.starts_with(&points::segment(city)));
                    assert!(is_named_after_a_city, "{query}: {}", series.target);
                }
            }
            queries += 1;
        }
    }
    assert!(queries >= 8, "{queries} queries");

    // Coarser archives keep what a window said, each ending by its own rule.
    let prefix = format!("vlvs_inf19b.{}", world.user());
    let expected = points::of_windows(&prefix, &windows);
    let coarse = points::shown(&graphite, &prefix, now_ms() / 1000 - 30 * 24 * 3600);
    assert_eq!(
        points::difference(&expected, &coarse),
        None,
        "in the archive of 10 minutes"
    );
}

/// Runs the pipeline until Graphite has readings and windows of the three cities; gives the windows.
fn fill(world: &World, graphite: &RealGraphite) -> fold::Windows {
    let averages = world.start("weather-averages", "averages", &[], &[]);
    let writer = world.start(
        "weather-graphite",
        "writer",
        &["--graphite", graphite.line_address()],
        &[("GRAPHITE_STEP_S", "10")],
    );
    wait_until_ready(&averages);
    wait_until_ready(&writer);

    let start_ms = (now_ms() / WINDOW_MS) * WINDOW_MS - (HOURS + 1) * 60 * MINUTE_MS;
    let start = rfc3339(start_ms);
    let count = (HOURS * 60 * CITIES.len() as i64).to_string();
    world.produce(&[
        "generate", "--rate", "0", "--start", &start, "--count", &count,
    ]);
    world.send_closing(&CITIES, start_ms + HOURS * 60 * MINUTE_MS + WINDOW_MS);

    let readings = fold::readings(&world.read(&world.readings()));
    let windows = fold::fold(&readings, WINDOW_MS, MINUTE_MS).closed;
    let mut results = Results::new(world.reader(&world.averages()), WINDOW_MS);
    results.wait_for(windows.len(), DEADLINE);
    let prefix = format!("vlvs_inf19b.{}", world.user());
    let mut expected = points::of_windows(&prefix, &windows);
    expected.extend(points::of_readings(&prefix, &readings));
    points::wait_for(graphite, &prefix, &expected, DEADLINE);
    stop(&writer);
    stop(&averages);
    windows
}

/// What each variable stands for when everything it offers is chosen, found as Grafana finds it.
fn variables(dashboard: &Value, graphite: &RealGraphite) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for variable in list(&dashboard["templating"]["list"], "variables") {
        let query = substitute(text(&variable["query"], "query of a variable"), &values);
        let offered: Vec<String> = wait::until_some(&query, DEADLINE, || {
            let paths = graphite.find(&query);
            (!paths.is_empty()).then_some(paths)
        })
        .iter()
        .map(|path| {
            let path = path.trim_end_matches('.');
            path.rsplit('.').next().unwrap_or(path).to_owned()
        })
        .collect();
        // Grafana's Graphite data source writes several values as a glob.
        let value = match variable["multi"].as_bool() {
            Some(true) => format!("{{{}}}", offered.join(",")),
            _ => offered[0].clone(),
        };
        values.insert(
            text(&variable["name"], "name of a variable").to_owned(),
            value,
        );
    }
    values
}

fn substitute(query: &str, variables: &BTreeMap<String, String>) -> String {
    let query = variables
        .iter()
        .fold(query.to_owned(), |query, (name, value)| {
            query.replace(&format!("${name}"), value)
        });
    assert!(
        !query.contains('$'),
        "nothing stands for a variable in {query}"
    );
    query
}

#[test]
fn the_provisioning_leads_to_the_dashboard_and_its_data_source() {
    let sources = deployed("grafana/provisioning/datasources/graphite.yaml");
    let boards = deployed("grafana/provisioning/dashboards/weather.yaml");
    let compose = deployed("docker-compose.yml");
    let setting = |text: &str, name: &str| {
        text.lines()
            .find_map(|line| {
                let line = line.trim().trim_start_matches("- ");
                Some(
                    line.strip_prefix(name)?
                        .strip_prefix(':')?
                        .trim()
                        .to_owned(),
                )
            })
            .unwrap_or_else(|| panic!("no {name} in:\n{text}"))
    };

    let dashboard: Value = serde_json::from_str(&deployed("grafana/dashboards/weather.json"))
        .expect("the dashboard is JSON");
    let uid = setting(&sources, "uid");
    for panel in list(&dashboard["panels"], "panels") {
        assert_eq!(panel["datasource"]["uid"], uid.as_str());
        for target in list(&panel["targets"], "queries") {
            assert_eq!(target["datasource"]["uid"], uid.as_str());
        }
    }
    for variable in list(&dashboard["templating"]["list"], "variables") {
        assert_eq!(variable["datasource"]["uid"], uid.as_str());
    }
    // Folders of Grafana's container, and what is mounted there.
    let folder = setting(&boards, "path");
    assert!(compose.contains(&format!("- ./grafana/dashboards:{folder}:ro")));
    assert!(compose.contains("- ./grafana/provisioning:/etc/grafana/provisioning:ro"));
    let variable = setting(&sources, "url").replace(['$', '{', '}'], "");
    assert!(compose.contains(&format!("{variable}: http://graphite:80")));
}
