//! Exactly once on a cluster that fails: three brokers, three instances of an application, and what befalls them, at random
//! from a seed. What readers of committed records see must be what a plain fold over the inputs gives.
//!
//! `chaos --minutes M [--seed S] [--rate PAYMENTS-PER-SECOND] [--protocol classic|consumer]`

mod apps;
mod clients;
mod faults;
mod load;
mod random;
mod report;
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "several test binaries share it, and each uses a part"
)]
mod support;
mod verdict;
mod watch;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use apps::{APP_COUNT, App, SESSION_TIMEOUT_MS};
use faults::Faults;
use load::Load;
use random::Random;
use support::cluster::{BROKER_COUNT, Cluster};
use watch::{Inputs, Watch};

const TURN: Duration = Duration::from_millis(50);
/// How long results may take to come once nothing fails any more, and how long a first result may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long to look for results that should not come.
const LAST_LOOK: Duration = Duration::from_secs(3);

struct Arguments {
    time: Duration,
    seed: u64,
    rate: u64,
    protocol: String,
}

fn arguments() -> Result<Arguments, String> {
    let usage = "usage: ./dev chaos --minutes M [--seed S] [--rate PAYMENTS-PER-SECOND] [--protocol classic|consumer]";
    let (mut minutes, mut seed, mut rate, mut protocol) = (None, None, 100, None);
    let mut given = env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or(usage)?;
        let number = || value.parse::<u64>().map_err(|_| usage);
        match name.as_str() {
            "--minutes" => minutes = Some(value.parse::<f64>().map_err(|_| usage)?),
            "--seed" => seed = Some(number()?),
            "--rate" => rate = number()?.max(1),
            "--protocol" if ["classic", "consumer"].contains(&value.as_str()) => {
                protocol = Some(value);
            }
            _ => return Err(usage.to_owned()),
        }
    }
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_millis() as u64 % 1_000_000)
    });
    // Both are to be found to work, so the seed decides.
    let by_seed = ["classic", "consumer"][(seed % 2) as usize].to_owned();
    Ok(Arguments {
        time: Duration::from_secs_f64(minutes.ok_or(usage)? * 60.0),
        seed,
        rate,
        protocol: protocol.unwrap_or(by_seed),
    })
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    verdict::check_itself();
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}", arguments.seed));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory can be made below target/");
    println!(
        "chaos: seed {}, group.protocol={}, {BROKER_COUNT} brokers, {APP_COUNT} apps, {} payments/s",
        arguments.seed, arguments.protocol, arguments.rate
    );
    if run(&arguments, &directory) {
        let _ = fs::remove_dir_all(&directory);
        ExitCode::SUCCESS
    } else {
        println!("chaos: FAILED; logs are in {}", directory.display());
        ExitCode::FAILURE
    }
}

fn run(arguments: &Arguments, directory: &Path) -> bool {
    let mut cluster = start_cluster(directory);
    let bootstrap = cluster.bootstrap();
    let asking = clients::reader(&bootstrap);
    cluster.wait_until_ready(|| clients::brokers_are_there(&asking, BROKER_COUNT));
    clients::create_topics(&bootstrap);
    load::write_owners(&bootstrap);

    let mut apps: Vec<App> = (1..=APP_COUNT)
        .map(|number| App::new(number, directory, &bootstrap, &arguments.protocol))
        .collect();
    for app in &mut apps {
        app.start();
    }
    let watch = Watch::start(&bootstrap);
    let sent = Arc::new(AtomicU64::new(0));
    let load = Load::start(
        &bootstrap,
        arguments.rate,
        Random::new(arguments.seed),
        Arc::clone(&sent),
    );
    let mut faults = Faults::new(
        &mut cluster,
        &mut apps,
        &asking,
        // Not those of the load.
        Random::new(!arguments.seed),
    );
    let first = Instant::now();
    while watch.count() == 0 {
        faults.turn(false);
        assert!(
            first.elapsed() < PATIENCE,
            "no result came; the log of the first app is {}",
            faults.apps[0].log().display()
        );
        thread::sleep(TURN);
    }
    println!(
        "chaos: running; the first result came after {:.1} s",
        first.elapsed().as_secs_f64()
    );

    let end = Instant::now() + arguments.time;
    let mut told = Instant::now();
    while Instant::now() < end {
        faults.turn(true);
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!(
                "chaos: {} payments sent, {} results seen",
                sent.load(Ordering::Relaxed),
                watch.count()
            );
        }
        thread::sleep(TURN);
    }
    while !faults.is_over() {
        faults.turn(false);
        thread::sleep(TURN);
    }
    let payments = load.stop();
    let inputs = Inputs::read(&bootstrap);
    let expected = verdict::expected(&inputs);
    let all: usize = expected.values().map(Vec::len).sum();
    let (mut seen, mut progressed) = (watch.count(), Instant::now());
    while seen < all as u64 && progressed.elapsed() < PATIENCE {
        faults.turn(false);
        thread::sleep(TURN);
        if watch.count() > seen {
            (seen, progressed) = (watch.count(), Instant::now());
        }
    }
    let (history, started) = (std::mem::take(&mut faults.history), faults.started);
    let mut ended = faults.ended_by_themselves;
    for (number, app) in (1..).zip(&mut apps) {
        app.signal("TERM");
        let code = support::wait::until_some("the end of an app", PATIENCE, || app.exit_code());
        if !app.has_stopped_in_order(code) {
            ended += 1;
            println!("app {number}: {}", app.last_words(code));
        }
    }
    thread::sleep(LAST_LOOK);
    let results = watch.stop();
    println!(
        "chaos: {} payments in the log, {} results committed",
        inputs.payments.len(),
        results.by_key.values().map(Vec::len).sum::<usize>()
    );
    let findings = verdict::compare(&expected, &results);
    let is_right = report::print(&history, &findings, &results.gaps, started);
    println!("chaos: {ended} apps ended by themselves");
    is_right && ended == 0 && inputs.payments.len() as u64 >= payments
}

fn start_cluster(directory: &Path) -> Cluster {
    let brokers: PathBuf = directory.join("brokers");
    Cluster::start(
        &brokers,
        &[
            // A broker that is gone is noticed within seconds, so that there is time for many faults.
            ("broker.session.timeout.ms", "5000"),
            ("broker.heartbeat.interval.ms", "1000"),
            ("replica.lag.time.max.ms", "5000"),
            // Leaders go back to where they belong while the application runs.
            ("leader.imbalance.check.interval.seconds", "20"),
            ("group.consumer.min.session.timeout.ms", SESSION_TIMEOUT_MS),
            ("group.consumer.session.timeout.ms", SESSION_TIMEOUT_MS),
            ("group.consumer.min.heartbeat.interval.ms", "500"),
            ("group.consumer.heartbeat.interval.ms", "1000"),
        ],
    )
}
