//! The workloads that are not drained in pairs: latency, start-up, exactly-once, memory.

use crate::app::Mode;
use crate::application::{Launch, Side};
use crate::latency::{self, Load};
use crate::load;
use crate::statistics::Spread;
use crate::suite::{Suite, result};
use crate::variant::Variant;
use crate::workload::Workload;
use serde_json::{Value, json};
use std::time::Duration;
use streams_core::{Error, Result};

/// The names of these workloads.
pub const NAMES: [&str; 6] = ["W12", "W13", "W14", "W15-stateless", "W15-10k", "W15-2M"];

/// Measures the one of this name.
///
/// # Errors
/// When an application fails, or there is no such workload.
pub fn measure(suite: &mut Suite, name: &str) -> Result<Value> {
    match name {
        "W12" => latencies(suite),
        "W13" => start_up(suite),
        "W14" => exactly_once(suite),
        "W15-stateless" => memory(suite, name, "W1", "96m"),
        "W15-10k" => memory(suite, name, "W3-10k", "96m"),
        "W15-2M" => memory(suite, name, "W9-2M", "128m"),
        _ => Err(Error::fatal(format!("there is no workload '{name}'"))),
    }
}

fn named(name: &str) -> Workload {
    Workload::named(name).expect("it is one of the table")
}

fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// The pass-through at ten thousand records a second, without linger.
fn latencies(suite: &mut Suite) -> Result<Value> {
    let seconds = |full, short| Duration::from_secs(if suite.quick { short } else { full });
    let load = Load {
        rate: 10_000,
        warm_up: seconds(15, 3),
        measured: seconds(15, 3),
    };
    let mut workload = named("W1");
    workload.partitions = 1;
    on_applications_core(true);
    let mut runs = Vec::new();
    let mut ratios = [const { Vec::new() }; 3];
    let percentiles = ["p50", "p99", "p99.9"];
    let without_application = |topic: &str| {
        let client = load::broker(suite.bootstrap())?;
        load::create(&client, topic, 1)?;
        latency::measure(suite.bootstrap(), topic, topic, load)
    };
    // A broker that has just started compiles itself.
    if !suite.quick {
        without_application("bench-w12-warm-up")?;
    }
    for pair in 0..suite.pairs.max(1) {
        let latency = |side: Side| -> Result<Value> {
            let name = format!("bench-w12-{}{pair}", side.name());
            let (input, output) = (format!("{name}-input"), format!("{name}-output"));
            let client = load::broker(suite.bootstrap())?;
            load::create(&client, &input, 1)?;
            load::create(&client, &output, 1)?;
            let mut application = Launch {
                side,
                workload: &workload,
                mode: Mode::Serve,
                bootstrap: suite.bootstrap(),
                application_id: &name,
                inputs: vec![input.clone()],
                output: &output,
                settings: settings(&[("producer.linger.ms", "0")]),
                heap: "2g",
                marker: 1,
            }
            .start()?;
            application.wait_until_running()?;
            let measured = latency::measure(suite.bootstrap(), &input, &output, load)?;
            application.wait()?;
            Ok(measured)
        };
        // By turns the one and the other comes first, as the broker gets warmer all the time.
        let (java, ours) = match pair % 2 {
            0 => (latency(Side::Java)?, latency(Side::Rust)?),
            _ => {
                let ours = latency(Side::Rust)?;
                (latency(Side::Java)?, ours)
            }
        };
        for (ratios, percentile) in ratios.iter_mut().zip(percentiles) {
            let of = |said: &Value| said[percentile].as_f64().unwrap_or(f64::NAN);
            ratios.push(of(&java) / of(&ours));
        }
        println!(
            "W12            pair {}: Java {java} µs, ours {ours} µs",
            pair + 1
        );
        runs.push(json!({"java_us": java, "ours_us": ours}));
    }
    let floor = without_application("bench-w12-floor")?;
    println!("W12            without an application: {floor} µs");
    runs.push(json!({"without_application_us": floor}));
    on_applications_core(false);
    let metrics = percentiles
        .into_iter()
        .zip(ratios.map(Spread::of))
        .collect();
    Ok(result("W12", None, runs, &metrics))
}

/// Keeps this program on the applications' core while it has work of its own during a measurement: the broker, through which
/// every record goes twice, has its core to itself.
fn on_applications_core(there: bool) {
    let cores = crate::machine::cores();
    if cores == 1 {
        return;
    }
    let list = match there {
        true => "0".to_owned(),
        false => format!("0-{}", cores - 1),
    };
    // Without it the figures are noisier, on both sides.
    let _ = std::process::Command::new("taskset")
        .args(["-a", "-c", "-p", &list, &std::process::id().to_string()])
        .output();
}

/// From the start of the process to RUNNING: a pass-through, and a count with a store.
fn start_up(suite: &mut Suite) -> Result<Value> {
    let (mut walls, mut cpus, mut memories) = (Vec::new(), Vec::new(), Vec::new());
    let mut runs = Vec::new();
    for pair in 0..suite.pairs.max(if suite.quick { 1 } else { 3 }) {
        for name in ["W1", "W9-10k"] {
            let mut workload = named(name);
            workload.records = 1000;
            let mut start = |side: Side| -> Result<[f64; 3]> {
                let topics = crate::data::topics(&workload);
                suite.load(&topics)?;
                let id = format!("bench-w13-{}-{}{pair}", name.to_lowercase(), side.name());
                let output = format!("{id}-output");
                load::create(
                    &load::broker(suite.bootstrap())?,
                    &output,
                    workload.partitions,
                )?;
                let mut application = Launch {
                    side,
                    workload: &workload,
                    mode: Mode::Start,
                    bootstrap: suite.bootstrap(),
                    application_id: &id,
                    inputs: topics.into_iter().map(|topic| topic.name).collect(),
                    output: &output,
                    settings: Vec::new(),
                    heap: "2g",
                    marker: 1,
                }
                .start()?;
                let wall = application.wait_until_running()?;
                let said = application.wait()?;
                let cpu = said["running"]["cpu_ms"].as_f64().unwrap_or(f64::NAN);
                let memory = said["running_memory_kb"].as_f64().unwrap_or(f64::NAN);
                Ok([wall.as_secs_f64() * 1e3, cpu, memory / 1024.0])
            };
            let (java, ours) = (start(Side::Java)?, start(Side::Rust)?);
            walls.push(java[0] / ours[0]);
            cpus.push(java[1] / ours[1]);
            memories.push(java[2] / ours[2]);
            println!(
                "W13 {name:<10} pair {}: Java {:.0} ms ({:.0} ms CPU), ours {:.0} ms ({:.0} ms CPU)",
                pair + 1,
                java[0],
                java[1],
                ours[0],
                ours[1]
            );
            let figures = |[wall, cpu, memory]: [f64; 3]| json!({"wall_ms": wall, "cpu_ms": cpu, "memory_mb": memory});
            runs.push(json!({"workload": name, "java": figures(java), "ours": figures(ours)}));
        }
    }
    let metrics = vec![
        ("wall", Spread::of(walls)),
        ("cpu", Spread::of(cpus)),
        ("memory_at_running", Spread::of(memories)),
    ];
    Ok(result("W13", None, runs, &metrics))
}

/// What exactly-once adds to the cost of at-least-once with a commit every 100 ms, of either library.
fn exactly_once(suite: &mut Suite) -> Result<Value> {
    let mut runs = Vec::new();
    let (mut ours, mut javas) = (Vec::new(), Vec::new());
    let is_quick = suite.quick;
    for pair in 0..suite.pairs.max(1) {
        for name in ["W3-10k", "W9-10k"] {
            let workload = suite.sized(named(name));
            let mut cost = |side: Side, guarantee: &str| -> Result<f64> {
                let settings = settings(&[
                    ("commit.interval.ms", "100"),
                    ("processing.guarantee", guarantee),
                ]);
                let measured = suite.run(side, &workload, &settings, "2g")?;
                Ok(measured.figures.cpu_us)
            };
            let mut sides = vec![Side::Rust];
            // Once is enough to see where Kafka Streams is: its figure is not judged.
            if pair == 0 && !is_quick {
                sides.push(Side::Java);
            }
            for side in sides {
                let at_least = cost(side, "at_least_once")?;
                let exactly = cost(side, "exactly_once_v2")?;
                let percent = (exactly / at_least - 1.0) * 100.0;
                match side {
                    Side::Rust => ours.push(percent),
                    Side::Java => javas.push(percent),
                }
                println!(
                    "W14 {name:<10} pair {}: {} {at_least:.3} µs at least once, {exactly:.3} µs exactly once: {percent:+.1} %",
                    pair + 1,
                    side.name()
                );
                runs.push(json!({
                    "workload": name, "side": side.name(),
                    "at_least_once_us": at_least, "exactly_once_us": exactly,
                }));
            }
            suite.clean(&workload)?;
        }
    }
    let metrics = vec![
        (crate::gates::OVERHEAD, Spread::of(ours)),
        ("java_overhead_percent", Spread::of(javas)),
    ];
    Ok(result("W14", None, runs, &metrics))
}

/// Peak memory, against a JVM with a small heap and against one with two gigabytes.
fn memory(suite: &mut Suite, name: &str, of: &str, small: &'static str) -> Result<Value> {
    let is_quick = suite.quick;
    let mut workload = suite.sized(named(of));
    workload.records = workload.records.min(2_000_000);
    let large = Variant::default_of_java();
    let small = Variant {
        heap: small,
        ..Variant::tuned(&workload).unwrap_or_else(Variant::default_of_java)
    };
    let mut peak = |side, variant: &Variant| -> Result<f64> {
        let measured = suite.run(side, &workload, &variant.settings, variant.heap)?;
        Ok(measured.figures.peak_memory_mb)
    };
    let with_small = peak(Side::Java, &small)?;
    // A quick run has the other one alone.
    let with_large = match is_quick {
        true => None,
        false => Some(peak(Side::Java, &large)?),
    };
    let ours = peak(
        Side::Rust,
        &Variant {
            settings: Vec::new(),
            ..large
        },
    )?;
    let of_large = with_large.map(|mb| format!(" ({mb:.0} MB with 2g)"));
    println!(
        "{name:<14} Java with {} of heap {with_small:.0} MB{}; ours {ours:.0} MB",
        small.heap,
        of_large.unwrap_or_default()
    );
    suite.clean(&workload)?;
    let run = json!({
        "java_2g_mb": with_large, "java_small_mb": with_small, "java_small_heap": small.heap, "ours_mb": ours,
    });
    let metrics = vec![
        (
            "memory",
            Spread::of([with_large.map_or(with_small, |mb| mb.min(with_small)) / ours]),
        ),
        ("memory_default", Spread::of(with_large.map(|mb| mb / ours))),
    ];
    Ok(result(name, Some(&workload), vec![run], &metrics))
}
