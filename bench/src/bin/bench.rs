//! The benchmark: `./dev bench` builds what it needs and starts this.

use std::process::ExitCode;
use std::time::Instant;
use streams_bench::embedded::drain;
use streams_bench::suite::{self, Suite};
use streams_bench::workload::Workload;
use streams_bench::{budget, curves, idle, machine, profile, special, table, threads};
use streams_core::{Error, Result};

const USAGE: &str = "\
usage: ./dev bench [WORKLOAD ..] [--quick] [--pairs N] [--curves]
       ./dev bench --embedded [WORKLOAD ..]
       ./dev bench --profile [WORKLOAD ..]
       ./dev bench check | table | budget | idle | threads

  WORKLOAD    W1 to W15, or one of a kind by its whole name, such as W4-10k-close; all if none is given
  --quick     a sixteenth of the records, and of some keys, one pair: not comparable; kept in target/bench
  --pairs N   how many times each side is measured (2 if not given; 5 by threads)
  --curves    instead, cost against keys, overlap, records in a window and partitions, with a plot of each
  --embedded  ours alone, on the embedded broker
  --profile   the same, with where the application's CPU time goes; needs perf
  check       fails, and lists them, if the latest results miss gates; after --quick those of the quick run
  table       writes the latest results into bench/README.md and README.md
  budget      counts ten million keys with a memory budget, and fails if the process is more than a fifth larger
  idle        measures what an idle task with a store costs, and fails if that is more than 200 KB
  threads     measures two stream threads against one, and fails if they are not 1.8 times as fast";

/// How often two threads are compared with one: the wall clock of a machine that has other work is noisy.
const THREAD_PAIRS: usize = 5;

#[derive(Default)]
struct Arguments {
    names: Vec<String>,
    quick: bool,
    pairs: Option<usize>,
    curves: bool,
    embedded: bool,
    profile: bool,
}

fn parse(words: &[String]) -> std::result::Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--quick" => arguments.quick = true,
            "--curves" => arguments.curves = true,
            "--embedded" => arguments.embedded = true,
            "--profile" => arguments.profile = true,
            "--pairs" => {
                let count = rest.next().and_then(|count| count.parse().ok());
                arguments.pairs = Some(count.ok_or("--pairs takes a number")?);
            }
            "check" | "table" | "budget" | "idle" | "threads" => arguments.names.push(word.clone()),
            name if !chosen(name).is_empty() => arguments.names.push(word.clone()),
            _ => return Err(format!("there is no workload or option '{word}'")),
        }
    }
    Ok(arguments)
}

/// The workloads of this name, or of this kind.
fn chosen(name: &str) -> Vec<String> {
    let all = Workload::all().into_iter().map(|workload| workload.name);
    all.chain(special::NAMES.map(str::to_owned))
        .filter(|full| full == name || full.split('-').next() == Some(name))
        .collect()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("bench: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let quick = arguments.quick;
    let result = match arguments.names.first().map(String::as_str) {
        Some("check") => return check(quick),
        Some("table") => write_tables(quick),
        Some("budget") => budget::check(),
        Some("idle") => idle::check(),
        Some("threads") => threads::check(arguments.pairs.unwrap_or(THREAD_PAIRS)),
        _ if arguments.embedded || arguments.profile => embedded(&arguments),
        _ => measure(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn names(arguments: &Arguments) -> Vec<String> {
    if arguments.names.is_empty() {
        let all = Workload::all().into_iter().map(|workload| workload.name);
        return all.chain(special::NAMES.map(str::to_owned)).collect();
    }
    arguments
        .names
        .iter()
        .flat_map(|name| chosen(name))
        .collect()
}

fn measure(arguments: &Arguments) -> Result<()> {
    machine::cores();
    let started = Instant::now();
    let pairs = arguments
        .pairs
        .unwrap_or(if arguments.quick { 1 } else { 2 });
    let mut suite = Suite::start(pairs, arguments.quick)?;
    if arguments.curves {
        return curves::measure(&mut suite);
    }
    let mut failures = Vec::new();
    for name in names(arguments) {
        let result = match special::NAMES.contains(&name.as_str()) {
            true => special::measure(&mut suite, &name),
            false => {
                let workload = Workload::named(&name).expect("it was chosen");
                let workload = suite.sized(workload);
                suite.pairs(&workload)
            }
        };
        // The others are measured all the same.
        match result.and_then(|result| suite::keep(&result, arguments.quick)) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("{name}: {error}");
                failures.push(name);
            }
        }
    }
    println!(
        "\n{}",
        table::full(|name| suite::kept(name, arguments.quick))
    );
    println!("It took {} s.", started.elapsed().as_secs());
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Error::fatal(format!("failed: {}", failures.join(", ")))),
    }
}

fn embedded(arguments: &Arguments) -> Result<()> {
    for name in names(arguments) {
        let Some(workload) = Workload::named(&name) else {
            continue;
        };
        let records = workload.records / if arguments.quick { 8 } else { 2 };
        match arguments.profile {
            true => profile::print(&name, records)?,
            false => {
                drain(&name, &["--records", &records.to_string()])?;
            }
        }
    }
    Ok(())
}

fn check(quick: bool) -> ExitCode {
    let misses = table::misses(|name| suite::kept(name, quick));
    if misses.is_empty() {
        println!("every gate is reached");
        return ExitCode::SUCCESS;
    }
    for miss in misses {
        println!("missed: {miss}");
    }
    ExitCode::FAILURE
}

fn write_tables(quick: bool) -> Result<()> {
    let kept = |name: &str| suite::kept(name, quick);
    for (file, table) in [
        ("bench/README.md", table::full(kept)),
        ("README.md", table::short(kept)),
    ] {
        let failed = |error: std::io::Error| Error::fatal(format!("{file}: {error}"));
        let text = std::fs::read_to_string(file).map_err(failed)?;
        let text = table::replaced(&text, &table)
            .ok_or_else(|| Error::fatal(format!("{file} has no place for the table")))?;
        std::fs::write(file, text).map_err(failed)?;
    }
    Ok(())
}
