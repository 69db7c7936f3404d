//! Random topologies and records, run by this library and by Kafka Streams. Started by `./dev conformance`.

use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use streams_conformance::java::Java;
use streams_conformance::scenario::Scenario;
use streams_conformance::step::Wrong;
use streams_conformance::{compare, generate, run, shrink};

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
    // What panics is reported as a mismatch; where, is in its message.
    match test(class_path, cases, seed) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("conformance: {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// Runs cases until there are enough that both could run; returns how many differed.
fn test(class_path: &str, cases: u64, first_seed: u64) -> Result<u64, Wrong> {
    let mut java = Java::start(class_path)?;
    let (mut done, mut skipped, mut refused, mut mismatches) = (0u64, 0u64, 0u64, 0u64);
    let mut unknown: BTreeMap<String, u64> = BTreeMap::new();
    let mut seed = first_seed;
    println!("seed {first_seed}");
    while done < cases && skipped <= 20 * cases {
        let scenario = generate::scenario(seed);
        match case(&mut java, &scenario)? {
            Verdict::NotInterpreted(what) => {
                skipped += 1;
                *unknown.entry(what).or_default() += 1;
            }
            Verdict::Same { refused: both } => {
                done += 1;
                refused += u64::from(both);
            }
            Verdict::Different(difference) => {
                done += 1;
                mismatches += 1;
                println!(
                    "seed {seed} differs: {}",
                    difference.lines().next().unwrap_or_default()
                );
                if mismatches == 1 {
                    report(&mut java, scenario, seed, &difference);
                }
            }
        }
        seed = seed.wrapping_add(1);
    }
    for (what, count) in unknown {
        println!("{count} times {what}");
    }
    println!(
        "{done} cases, {mismatches} mismatches (seed {first_seed}; {refused} topologies refused by both, {skipped} not expressible here)"
    );
    Ok(mismatches)
}

enum Verdict {
    Same { refused: bool },
    Different(String),
    NotInterpreted(String),
}

fn case(java: &mut Java, json: &Json) -> Result<Verdict, Wrong> {
    let scenario = Scenario::read(json.clone())?;
    let ours = match std::panic::catch_unwind(|| run::run(&scenario)) {
        Ok(Err(wrong)) if wrong.is_not_interpreted() => {
            return Ok(Verdict::NotInterpreted(wrong.to_string()));
        }
        Ok(ours) => ours?,
        Err(_) => return Ok(Verdict::Different("this library panics\n".to_owned())),
    };
    let theirs = java.ask(json)?;
    Ok(match compare::difference(&theirs, &ours) {
        None => Verdict::Same {
            refused: ours.error.is_some(),
        },
        Some(difference) => Verdict::Different(difference),
    })
}

/// What must stay while a scenario is made smaller: who refuses, fails or panics, or that records differ.
fn kind(difference: &str) -> &str {
    let kinds = [
        "this library refuses",
        "Kafka Streams refuses",
        "this library fails",
        "Kafka Streams fails",
        "panics",
        "describe()",
    ];
    kinds
        .into_iter()
        .find(|kind| difference.contains(kind))
        .unwrap_or_default()
}

fn report(java: &mut Java, scenario: Json, seed: u64, difference: &str) {
    println!("{difference}\nmaking it smaller ..");
    std::panic::set_hook(Box::new(|_| {}));
    let kind = kind(difference);
    let shrunk = shrink::shrink(
        scenario,
        |smaller| matches!(case(java, smaller), Ok(Verdict::Different(other)) if self::kind(&other) == kind),
    );
    let _ = std::panic::take_hook();
    if let Ok(Verdict::Different(difference)) = case(java, &shrunk) {
        println!(
            "---- smallest, as a scenario:\n{}\n{difference}",
            shrink::layout(&shrunk)
        );
        println!("---- again: ./dev conformance --cases 1 --seed {seed}");
    }
}
