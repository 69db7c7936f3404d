//! The simulator itself: it does the same for the same seed, and finds bugs that are planted.

use streams_core::simulation::PlantedBug;
use streams_simulation::{check, check_with, search};

/// Seeds of every kind of scenario.
const SEEDS: std::ops::Range<u64> = 1..40;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in SEEDS {
        let (one, same) = (check_with(seed, true, None), check_with(seed, true, None));
        assert!(one.run.trace().len() > 10, "seed {seed} does something");
        assert_eq!(one.run.trace(), same.run.trace(), "seed {seed}");
        assert_eq!(one.run.effect_count(), check(seed).run.effect_count());
    }
}

#[test]
fn things_go_wrong() {
    let crashes: u64 = SEEDS.map(|seed| check(seed).run.crash_count()).sum();
    assert!(crashes > 15, "{crashes} processes died");
}

#[test]
fn tasks_and_their_state_are_looked_at() {
    let checks: u64 = SEEDS
        .map(|seed| check(seed).run.placement_check_count())
        .sum();
    assert!(checks > 1000, "{checks} subscriptions were looked at");
}

#[test]
fn nothing_is_lost_nor_twice() {
    for seed in 1..=500 {
        let outcome = check(seed);
        let name = &outcome.name;
        assert_eq!(outcome.violation, None, "seed {seed}: {name}");
    }
}

fn is_found(bug: PlantedBug) {
    let found = search(bug, 1..501);
    assert!(found.is_some(), "500 seeds do not find {bug:?}");
}

#[test]
fn a_commit_before_the_flush_is_found() {
    is_found(PlantedBug::CommitBeforeFlush);
}

#[test]
fn state_written_before_its_transaction_commits_is_found() {
    is_found(PlantedBug::StateBeforeTransaction);
}

#[test]
fn tasks_that_go_anywhere_are_found() {
    is_found(PlantedBug::TasksGoAnywhere);
}
