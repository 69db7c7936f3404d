//! `simulate N [SEED]`: runs N seeds from SEED on, or only the one in the environment variable `SEED`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use streams_simulation::{Outcome, check, check_with};

/// How many lines of a trace are shown of a violation; `SEED=n` shows all.
const TRACE_LINES: usize = 40;
/// How many violations are shown.
const SHOWN_MAX: u64 = 5;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    // A thread that panics is a violation and told as such.
    std::panic::set_hook(Box::new(|_| {}));
    if let Ok(seed) = std::env::var("SEED") {
        return replay(&seed);
    }
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    match numbers.as_deref() {
        Ok([count]) => run(1, *count),
        Ok([count, first]) => run(*first, *count),
        _ => {
            eprintln!("usage: simulate N [SEED], or SEED=n simulate");
            ExitCode::from(2)
        }
    }
}

fn replay(seed: &str) -> ExitCode {
    let Ok(seed) = seed.parse() else {
        eprintln!("SEED must be a number, not '{seed}'");
        return ExitCode::from(2);
    };
    let outcome = check_with(seed, true, None);
    for line in outcome.run.trace() {
        println!("{line}");
    }
    println!(
        "seed {seed}: {}; {} s simulated, {} effects, {} processes died",
        outcome.name,
        outcome.run.simulated_ms() / 1000,
        outcome.run.effect_count(),
        outcome.run.crash_count()
    );
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

fn run(first: u64, count: u64) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let violations = AtomicU64::new(0);
    let (effects, crashes, simulated_ms) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let told = Mutex::new(Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let outcome = check(first + index);
                    effects.fetch_add(outcome.run.effect_count(), Ordering::Relaxed);
                    crashes.fetch_add(outcome.run.crash_count(), Ordering::Relaxed);
                    simulated_ms.fetch_add(outcome.run.simulated_ms(), Ordering::Relaxed);
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    if outcome.violation.is_some()
                        && violations.fetch_add(1, Ordering::Relaxed) < SHOWN_MAX
                    {
                        show(first + index, &outcome);
                    }
                    if told.elapsed() > PROGRESS_INTERVAL {
                        *told = Instant::now();
                        let rate = index as f64 / started.elapsed().as_secs_f64();
                        println!("{index} of {count} seeds, {rate:.0} seeds/s");
                    }
                }
            });
        }
    });
    let violations = violations.into_inner();
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!(
        "{} h simulated, {} effects, {} processes died",
        simulated_ms.into_inner() / 3_600_000,
        effects.into_inner(),
        crashes.into_inner()
    );
    println!("{rate:.0} seeds/s");
    println!("{count} seeds, {violations} violations");
    if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn show(seed: u64, outcome: &Outcome) {
    let trace = outcome.run.trace();
    for line in &trace[trace.len().saturating_sub(TRACE_LINES)..] {
        println!("    {line}");
    }
    let violation = outcome.violation.as_deref().unwrap_or_default();
    println!("seed {seed} ({}): {violation}", outcome.name);
    println!("    SEED={seed} ./dev simulate shows all of it");
}
