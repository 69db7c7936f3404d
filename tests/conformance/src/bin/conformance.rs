//! Random topologies and records, run by this library and by Kafka Streams. Started by `./dev conformance`.

use serde_json::Value as Json;
use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use streams_conformance::java::Java;
use streams_conformance::scenario::{Answers, Scenario};
use streams_conformance::step::Wrong;
use streams_conformance::{compare, generate, run, shrink};

/// How many cases Kafka Streams has at hand, so that it never waits for this library.
const ASKED_MAX: usize = 16;

/// Arguments: the class path of the recorder, the number of cases, the first seed.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [class_path, cases, seed] = &arguments[..] else {
        eprintln!("usage: ./dev conformance --cases N [--seed S]");
        return ExitCode::FAILURE;
    };
    let (Ok(cases), Ok(seed)) = (cases.parse(), seed.parse()) else {
        eprintln!("cases and seed are numbers");
        return ExitCode::FAILURE;
    };
    match test(class_path, cases, seed) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("conformance: {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// What came of the cases so far.
#[derive(Default)]
struct Tally {
    done: u64,
    skipped: u64,
    refused: u64,
    failed: u64,
    /// The first one whole, of each kind of difference.
    different: Vec<(u64, Json, String)>,
    mismatches: u64,
    /// Operations that this library's interpreter does not have.
    unknown: BTreeMap<String, u64>,
}

/// A case that Kafka Streams was asked about.
struct Asked {
    seed: u64,
    scenario: Json,
    ours: Option<Answers>,
}

/// What this library runs, and since when.
static RUNNING: Mutex<Option<(Instant, String)>> = Mutex::new(None);

fn note(running: Option<&Json>) {
    let mut noted = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    *noted = running.map(|scenario| (Instant::now(), scenario.to_string()));
}

/// Ends the program when this library takes far too long for a case, with its scenario. Nothing else could stop it.
fn watch() {
    const TOO_LONG: Duration = Duration::from_secs(15);
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let noted = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((since, scenario)) = &*noted
                && since.elapsed() > TOO_LONG
            {
                println!("this library does not end:\n{scenario}");
                std::process::exit(1);
            }
        }
    });
}

/// Runs cases until there are enough that both could run; returns how many differed.
fn test(class_path: &str, cases: u64, first_seed: u64) -> Result<u64, Wrong> {
    println!("seed {first_seed}");
    let mut java = Java::start(class_path)?;
    watch();
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut asked = VecDeque::new();
    let mut seed = first_seed;
    // What panics is reported as a difference.
    std::panic::set_hook(Box::new(|_| {}));
    while tally.done < cases && tally.skipped <= 20 * cases {
        let waiting = u64::try_from(asked.len()).unwrap_or(u64::MAX);
        if asked.len() < ASKED_MAX && tally.done + waiting < cases {
            let scenario = generate::scenario(seed);
            match ours(&scenario)? {
                Ours::NotInterpreted(what) => {
                    tally.skipped += 1;
                    *tally.unknown.entry(what).or_default() += 1;
                }
                Ours::Answered(ours) => {
                    java.question(&scenario)?;
                    asked.push_back(Asked {
                        seed,
                        scenario,
                        ours,
                    });
                }
            }
            seed = seed.wrapping_add(1);
        } else if let Some(next) = asked.pop_front() {
            let theirs = java.answer(&next.scenario)?;
            tally.take(next, &theirs);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    tally.report(&mut java);
    println!(
        "{} cases in {seconds:.0} s, {} mismatches (seed {first_seed}; both refuse {} topologies and fail in {} cases; {} not expressible here)",
        tally.done, tally.mismatches, tally.refused, tally.failed, tally.skipped
    );
    Ok(tally.mismatches)
}

impl Tally {
    fn take(&mut self, case: Asked, theirs: &Answers) {
        self.done += 1;
        match difference(theirs, case.ours.as_ref()) {
            None => {
                self.refused += u64::from(theirs.error.is_some());
                self.failed += u64::from(theirs.failed.is_some());
            }
            Some(difference) => {
                self.mismatches += 1;
                let line = difference.lines().next().unwrap_or_default();
                println!("seed {} differs: {line}", case.seed);
                let kind = kind(&difference);
                let is_new = |(_, _, other): &(u64, Json, String)| self::kind(other) != kind;
                if self.different.iter().all(is_new) {
                    self.different.push((case.seed, case.scenario, difference));
                }
            }
        }
    }

    fn report(&self, java: &mut Java) {
        for (what, count) in &self.unknown {
            println!("{count} times {what}");
        }
        for (seed, scenario, difference) in &self.different {
            println!("---- seed {seed}: {difference}making it smaller ..");
            let kind = kind(difference);
            let differs = |smaller: &Json| match compare_one(java, smaller) {
                Ok(Some(difference)) => self::kind(&difference) == kind,
                _ => false,
            };
            let shrunk = shrink::shrink(scenario.clone(), differs);
            if let Ok(Some(difference)) = compare_one(java, &shrunk) {
                println!("{}\n{difference}", shrink::layout(&shrunk));
                println!("again: ./dev conformance --cases 1 --seed {seed}\n");
            }
        }
    }
}

enum Ours {
    /// What the library answered; nothing when it panicked.
    Answered(Option<Answers>),
    NotInterpreted(String),
}

fn ours(json: &Json) -> Result<Ours, Wrong> {
    let scenario = Scenario::read(json.clone())?;
    note(Some(json));
    let answers = std::panic::catch_unwind(|| run::run(&scenario));
    note(None);
    match answers {
        Ok(Err(wrong)) if wrong.is_not_interpreted() => Ok(Ours::NotInterpreted(wrong.to_string())),
        Ok(answers) => Ok(Ours::Answered(Some(answers?))),
        Err(_) => Ok(Ours::Answered(None)),
    }
}

fn difference(theirs: &Answers, ours: Option<&Answers>) -> Option<String> {
    match ours {
        Some(ours) => compare::difference(theirs, ours),
        None => Some("this library panics\n".to_owned()),
    }
}

fn compare_one(java: &mut Java, scenario: &Json) -> Result<Option<String>, Wrong> {
    match ours(scenario)? {
        Ours::NotInterpreted(_) => Ok(None),
        Ours::Answered(ours) => Ok(difference(&java.ask(scenario)?, ours.as_ref())),
    }
}

/// What must stay while a scenario is made smaller: who refuses, fails or panics and why, or that records differ.
fn kind(difference: &str) -> String {
    let line = difference.lines().next().unwrap_or_default();
    let is_about_records = line.contains(" (Kafka Streams) and ");
    match is_about_records {
        true => line.starts_with("describe()").to_string(),
        // Without what names and numbers may be in it.
        false => line
            .split_whitespace()
            .take(9)
            .filter(|word| word.chars().all(|each| each.is_ascii_alphabetic()))
            .collect::<Vec<_>>()
            .join(" "),
    }
}
