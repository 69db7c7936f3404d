//! Where tasks go on a real Kafka: to instances that have their state. One of three is killed, and its tasks go on where their
//! standby copies are; a fourth one comes, and gets tasks when it has made copies of them, while the others go on.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::exactly_once::{DEADLINE, Load, World, stop, wait_until_ready};
use crate::standby::{PROMOTED, RESTORING, STANDBY, numbers};
use crate::support::process::Program;
use crate::support::wait;

const PARTITIONS: usize = 6;
/// With more to restore than this a task is not for everybody.
const ACCEPTABLE_LAG: (&str, &str) = ("STREAMS_ACCEPTABLE_RECOVERY_LAG", "300");
/// So many counts that each task has many times as many.
const COUNTS_MIN: usize = 40_000;
/// What a copy may lack when its task comes: what is written until the group has noticed that an instance is gone is written by
/// nobody, and what a copy reads comes in batches.
const TAIL_MAX: i64 = 1_500;
/// How long there may be no result at all while a task moves.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The tasks that an instance has been given and has kept.
fn tasks(program: &Program) -> BTreeSet<String> {
    let mut tasks = BTreeSet::new();
    for line in program.stderr().lines() {
        let Some((_, list)) = line.split_once(" tasks=[") else {
            continue;
        };
        let list = list.split(']').next().unwrap_or_default().split(", ");
        let list = list.filter(|task| !task.is_empty()).map(str::to_owned);
        if line.contains(": assigned ") {
            tasks.extend(list);
        } else if line.contains(": revoked ") || line.contains(": lost") {
            for task in list {
                tasks.remove(&task);
            }
        }
    }
    tasks
}

/// How many tasks an instance may be given.
fn allowed(program: &Program) -> i64 {
    let counts = numbers(&program.stderr(), "may be given client", "count");
    counts.last().copied().unwrap_or(i64::MAX / 100)
}

/// How much was restored of tasks, one after the other.
fn tails(log: &str) -> Vec<i64> {
    let (starts, ends) = (
        numbers(log, RESTORING, "position"),
        numbers(log, RESTORING, "end"),
    );
    assert_eq!(starts.len(), ends.len(), "{log}");
    starts
        .iter()
        .zip(&ends)
        .map(|(start, end)| end - start)
        .collect()
}

fn tasks_go_where_their_state_is(name: &str, protocol: &'static str) {
    let world = World::with(name, protocol, PARTITIONS as i32, true);
    let load = Load::start(&world);
    let environment = [STANDBY, ACCEPTABLE_LAG];
    let mut programs: Vec<Program> = ["first", "second", "third"]
        .map(|instance| world.start(instance, &environment))
        .into();
    programs.iter().for_each(wait_until_ready);
    let results = || world.counts().values().map(Vec::len).sum::<usize>();
    wait::until("enough state", DEADLINE, || results() >= COUNTS_MIN);
    let shares = |programs: &[Program]| -> Vec<usize> {
        programs
            .iter()
            .map(|program| tasks(program).len())
            .collect()
    };
    let is_settled = |programs: &[Program]| {
        let allowed: i64 = programs.iter().map(allowed).sum();
        let given: usize = shares(programs).iter().sum();
        // Each task is for who runs it and who has its copy.
        given == PARTITIONS && allowed == 2 * PARTITIONS as i64
    };
    wait::until("copies everywhere", DEADLINE, || is_settled(&programs));
    println!("{protocol}: {:?} tasks each", shares(&programs));

    let killed = programs.pop().expect("three");
    let orphans = tasks(&killed);
    assert!(!orphans.is_empty(), "{}", killed.stderr());
    let before: Vec<usize> = programs
        .iter()
        .map(|program| program.stderr().len())
        .collect();
    let since = |program: &Program, before: usize| program.stderr()[before..].to_owned();
    killed.kill();
    killed.wait_for_exit(DEADLINE);
    let at = Instant::now();
    let heirs = || programs.iter().flat_map(tasks).collect::<BTreeSet<_>>();
    wait::until("its tasks elsewhere", DEADLINE, || {
        heirs().len() == PARTITIONS
    });
    let moved = at.elapsed();
    let promoted = || {
        let logs = programs.iter().zip(&before).map(|(p, b)| since(p, *b));
        logs.map(|log| log.matches(PROMOTED).count()).sum::<usize>()
    };
    wait::until("copies that are promoted", DEADLINE, || {
        promoted() >= orphans.len()
    });
    // Restorations that it takes are in the log by then.
    thread::sleep(Duration::from_secs(3));
    let restored: Vec<i64> = programs
        .iter()
        .zip(&before)
        .flat_map(|(program, before)| tails(&since(program, *before)))
        .collect();
    println!("{protocol}: {orphans:?} moved in {moved:?}, restored {restored:?}");
    assert!(
        restored.iter().all(|tail| *tail <= TAIL_MAX),
        "{restored:?}"
    );

    let fourth = world.start("fourth", &environment);
    let (mut last, mut since, mut silence) = (results(), Instant::now(), Duration::ZERO);
    wait::until("a share of the tasks", DEADLINE, || {
        let now = results();
        if now > last {
            silence = silence.max(since.elapsed());
            (last, since) = (now, Instant::now());
        }
        tasks(&fourth).len() >= PARTITIONS / 3
    });
    let log = fourth.stderr();
    println!(
        "{protocol}: the fourth has {:?}, longest silence {silence:?}",
        tasks(&fourth)
    );
    thread::sleep(Duration::from_secs(3));
    let restored = tails(&fourth.stderr());
    println!("{protocol}: the fourth restored {restored:?}");
    assert!(
        restored.iter().all(|tail| *tail <= TAIL_MAX),
        "{restored:?}"
    );
    let promoted = fourth.stderr().matches(PROMOTED).count();
    assert!(promoted >= PARTITIONS / 3, "{log}");
    assert!(silence < SILENCE_MAX, "{silence:?}");

    let sent = load.stop();
    world.check(sent);
    programs.push(fourth);
    programs.iter().for_each(stop);
    world.check(sent);
}

#[test]
fn tasks_go_where_their_state_is_in_a_classic_group() {
    tasks_go_where_their_state_is("warm", "classic");
}

#[test]
fn tasks_go_where_their_state_is_in_a_consumer_group() {
    tasks_go_where_their_state_is("warm-consumer", "consumer");
}
