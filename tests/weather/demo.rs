//! `weather demo --once`, which is what one tries first: results soon, nothing but Graphite's lines on standard output, and
//! the end by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::graphite::RealGraphite;
use crate::support::kafka::RealKafka;
use crate::support::names::unique;
use crate::support::process::Program;
use crate::support::wait;
use crate::world::DEADLINE;

/// When the first results are to be there.
const FIRST_RESULT: Duration = Duration::from_secs(5);
/// A machine with all cores busy may need a second try for that.
const TRIES: usize = 3;

/// Runs it to its end; gives its lines, and how long the first took.
fn demo(environment: &[(&str, &str)]) -> (Vec<Line>, Duration) {
    let start = Instant::now();
    let program = Program::start("weather", &["demo", "--once"], environment);
    program.wait_for_stdout("\n", DEADLINE);
    let first = start.elapsed();
    assert_eq!(program.wait_for_exit(DEADLINE), 0, "{}", program.stderr());
    println!(
        "demo: first result after {:.2} s, its end after {:.2} s",
        first.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    let lines: Vec<Line> = program.stdout().lines().map(Line::of).collect();
    (lines, first)
}

/// A line as Graphite takes it.
#[derive(Clone, Debug)]
struct Line {
    path: String,
    value: f64,
    time_s: i64,
}

impl Line {
    fn of(line: &str) -> Line {
        let parts: Vec<&str> = line.split(' ').collect();
        let [path, value, time_s] = parts[..] else {
            panic!("{line:?} is no line of Graphite's");
        };
        Line {
            path: path.to_owned(),
            value: value.parse().unwrap_or_else(|_| panic!("{line:?}")),
            time_s: time_s.parse().unwrap_or_else(|_| panic!("{line:?}")),
        }
    }
}

/// One line per city and attribute, of three cities and one day each.
fn check(lines: &[Line], prefix: &str) {
    let paths: BTreeSet<&str> = lines.iter().map(|line| line.path.as_str()).collect();
    assert_eq!(paths.len(), lines.len(), "one line per city and attribute");
    for city in ["ewr", "jfk", "lga"] {
        for name in [
            "tempAvg",
            "tempMin",
            "tempMax",
            "tempCount",
            "count",
            "humidityAvg",
        ] {
            let path = format!("{prefix}.weather.{city}.{name}");
            assert!(paths.contains(path.as_str()), "no {path} in {paths:?}");
        }
    }
    for line in lines {
        assert!(
            line.path.starts_with(&format!("{prefix}.weather.")),
            "{line:?}"
        );
        assert!(line.value.is_finite(), "{line:?}");
        assert_eq!(line.time_s % 86_400, 0, "a window is a day: {line:?}");
    }
}

#[test]
fn it_shows_real_data_on_the_embedded_broker_within_five_seconds() {
    let lines = wait::until_some("first results within 5 s", DEADLINE * 3, {
        let mut tries = 0;
        move || {
            let (lines, first) = demo(&[]);
            tries += 1;
            assert!(
                first < FIRST_RESULT || tries < TRIES,
                "the first result took {first:?}, after {tries} tries"
            );
            (first < FIRST_RESULT).then_some(lines)
        }
    });
    check(&lines, "vlvs_inf19b.demo");
    let temp = lines
        .iter()
        .find(|line| line.path == "vlvs_inf19b.demo.weather.jfk.tempAvg")
        .expect("JFK has a temperature");
    // 2013-01-01, computed from the source with other software.
    assert_eq!(temp.time_s, 1_356_998_400);
    assert!((temp.value - 3.847_059).abs() < 6e-7, "{temp:?}");
}

#[test]
fn it_runs_on_a_real_kafka() {
    let servers = RealKafka::shared().bootstrap();
    let (lines, _) = demo(&[("KAFKA_BOOTSTRAP_SERVERS", servers)]);
    check(&lines, "vlvs_inf19b.demo");
}

#[test]
fn its_points_arrive_in_a_real_graphite() {
    let graphite = RealGraphite::shared();
    let user = unique("demo");
    let (lines, _) = demo(&[
        ("GRAPHITE_HOST", graphite.line_address()),
        ("GRAPHITE_USER_ID", &user),
    ]);
    let prefix = format!("vlvs_inf19b.{user}");
    check(&lines, &prefix);
    wait::until("every line in Graphite", DEADLINE, || {
        let series = graphite.render(&format!("{prefix}.weather.*.*"), "-400d");
        lines.iter().all(|line| {
            series.iter().any(|series| {
                series.target == line.path && series.points.contains(&(line.time_s, line.value))
            })
        })
    });
}
