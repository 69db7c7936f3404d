//! Standby copies on a real Kafka: an instance is killed, the other one goes on with its copy and restores no more than what
//! that had not read yet.

use std::thread;
use std::time::Duration;

use crate::exactly_once::{DEADLINE, Load, World, stop, wait_until_ready};
use crate::support::process::Program;
use crate::support::wait;

const STANDBY: (&str, &str) = ("STREAMS_NUM_STANDBY_REPLICAS", "1");
/// What an instance logs when a copy has everything that was there when it was opened.
const CAUGHT_UP: &str = "standby copy has caught up";
const PROMOTED: &str = "standby copy is promoted";
/// What it logs when a store is restored, from one offset to another.
const RESTORING: &str = " restoring task=";
/// How much lasts long enough to be told from a tail.
const COUNTS_MIN: usize = 10_000;

/// The numbers behind `name=` in the lines of a log that contain `line`.
fn numbers(log: &str, line: &str, name: &str) -> Vec<i64> {
    let lines = log.lines().filter(|l| l.contains(line));
    let number = |line: &str| {
        let (_, after) = line.split_once(&format!(" {name}="))?;
        after.split_whitespace().next()?.parse().ok()
    };
    lines.filter_map(number).collect()
}

#[test]
fn a_killed_instance_is_replaced_by_the_copies_of_the_other() {
    let world = World::new("standby");
    let load = Load::start(&world);
    let first = world.start("first", &[STANDBY]);
    wait_until_ready(&first);
    let results = || world.counts().values().map(Vec::len).sum::<usize>();
    wait::until("enough state", DEADLINE, || results() >= COUNTS_MIN);
    let second = world.start("second", &[STANDBY]);
    wait_until_ready(&second);

    // The counts are on one instance, or shared by both: one that keeps copies of some is left alone.
    let has_copies = |program: &Program| program.stderr().contains(CAUGHT_UP);
    wait::until("a copy that has caught up", DEADLINE, || {
        has_copies(&first) || has_copies(&second)
    });
    let (heir, killed) = match has_copies(&second) {
        true => (second, first),
        false => (first, second),
    };
    thread::sleep(Duration::from_secs(2));
    let before = heir.stderr().len();
    killed.kill();
    killed.wait_for_exit(DEADLINE);
    let since = || heir.stderr()[before..].to_owned();
    wait::until("its tasks to go on", DEADLINE, || {
        let log = since();
        log.contains(PROMOTED) && log.contains("all tasks are processed")
    });
    let log = since();
    let sent = load.stop();
    world.check(sent);
    stop(&heir);
    world.check(sent);

    let starts = numbers(&log, RESTORING, "position");
    let ends = numbers(&log, RESTORING, "end");
    assert_eq!(starts.len(), ends.len(), "{log}");
    let tails: Vec<i64> = starts.iter().zip(&ends).map(|(s, e)| e - s).collect();
    println!("{sent} counts are committed; restored after the kill: {tails:?}");
    let tail: i64 = tails.iter().sum();
    assert!(tail < COUNTS_MIN as i64 / 4, "{tails:?}\n{log}");
    assert!(!log.contains("starting from an empty store"), "{log}");
}
