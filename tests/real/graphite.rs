//! A real Graphite is there: it shows what it was sent, and its receiver can be stopped and started.

use std::time::{Duration, SystemTime};

use crate::support::graphite::RealGraphite;
use crate::support::names::unique;
use crate::support::wait;

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_line_becomes_a_point() {
    let graphite = RealGraphite::shared();
    assert!(
        graphite.version().starts_with("1."),
        "{}",
        graphite.version()
    );

    let folder = unique("a-line-becomes-a-point");
    let now = now_s();
    graphite.send(&format!("{folder}.mosbach 21.5 {now}\n"));
    let metric = format!("{folder}.mosbach");
    wait::until("the point", DEADLINE, || {
        let series = graphite.render(&format!("{folder}.*"), "-5min");
        series
            .iter()
            .any(|series| series.target == metric && series.points == [(now, 21.5)])
    });
    assert_eq!(graphite.find(&format!("{folder}.*")), [metric]);
}

#[test]
fn the_receiver_comes_back_on_its_port() {
    let graphite = RealGraphite::start();
    let metric = "the_receiver_comes_back";
    let now = now_s();
    graphite.send(&format!("{metric} 1 {}\n", now - 20));
    wait::until("the first point", DEADLINE, || {
        graphite.render(metric, "-5min").len() == 1
    });

    graphite.kill_carbon();
    graphite.start_carbon();
    graphite.send(&format!("{metric} 2 {}\n", now - 10));
    graphite.stop_carbon();
    graphite.start_carbon();
    graphite.send(&format!("{metric} 3 {now}\n"));

    wait::until("the last point", DEADLINE, || {
        let series = graphite.render(metric, "-5min");
        series
            .iter()
            .any(|series| series.points.last() == Some(&(now, 3.0)))
    });
}

fn now_s() -> i64 {
    let since_1970 = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("the clock is after 1970");
    i64::try_from(since_1970.as_secs()).expect("seconds since 1970 fit")
}
