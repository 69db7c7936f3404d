//! What each workload costs inside the process: deserialization, operators, record cache and the store below, with RocksDB in
//! a temporary directory as in production and the memory that a thread has by default.
//!
//! Records are made on the way and what is produced is counted and dropped, so this is the library without a Kafka client.
//! Printed is CPU time of the process (RocksDB works in the background too) of the second half of the records.
//!
//!     cargo bench --bench workloads -- [FILTER] [--records N] [--memory]
//!
//! `--memory` keeps the stores in memory, and with `--records` the work is the same in every run: what `./dev bench
//! instructions` counts. `--names` lists the workloads that it counts.

mod data;
mod topologies;

use data::{Prepared, mix};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use streams_core::{RecordPath, Result};
use topologies::{WORKLOADS, Workload};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCH: u64 = 1000;

struct Options {
    filter: String,
    records: Option<u64>,
    memory: bool,
    names: bool,
}

fn options() -> Options {
    let mut options = Options {
        filter: String::new(),
        records: None,
        memory: !cfg!(feature = "rocksdb"),
        names: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--memory" => options.memory = true,
            "--names" => options.names = true,
            "--records" => options.records = arguments.next().and_then(|n| n.parse().ok()),
            // `cargo test` runs benches to see that they work.
            "--test" => options.records = Some(2 * BATCH),
            "--bench" => {}
            filter => options.filter = filter.to_owned(),
        }
    }
    options
}

/// None where the number of records is given: instructions are counted then, and valgrind cannot run this clock.
fn cpu_ns(options: &Options) -> i64 {
    if options.records.is_some() {
        return 0;
    }
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn open(
    workload: &Workload,
    options: &Options,
) -> Result<(RecordPath<Prepared>, Option<tempfile::TempDir>)> {
    let topology = (workload.topology)()?;
    if options.memory {
        return Ok((RecordPath::new(&topology)?, None));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    // What `memory.max.bytes` leaves to stores by default.
    let resources = streams_state::StoreResources::new(376 << 20);
    let path = RecordPath::on_disk(&topology, directory.path(), &resources)?;
    Ok((path, Some(directory)))
}

/// Processes the records of these numbers, in batches as a poll has them.
fn run(
    path: &mut RecordPath<Prepared>,
    workload: &Workload,
    numbers: std::ops::Range<u64>,
) -> Result<()> {
    let streams = if workload.rows > 0 {
        1
    } else {
        workload.inputs as u64
    };
    for from in numbers.clone().step_by(BATCH as usize) {
        let batch = from..(from + BATCH).min(numbers.end);
        let time_ms = |number: u64| (number * 1000 / workload.rate) as i64;
        let records = batch.map(|number| {
            let key = mix(number ^ 0x5eed) % workload.keys;
            let input = (number % streams) as usize;
            (input, Prepared::new(key, number, time_ms(number)))
        });
        path.process_inputs(records, time_ms(from))?;
    }
    Ok(())
}

fn measure(workload: &Workload, options: &Options) -> Result<()> {
    let (mut path, _directory) = open(workload, options)?;
    let rows = options
        .records
        .map_or(workload.rows, |records| workload.rows.min(records));
    for from in (0..rows).step_by(BATCH as usize) {
        let rows = from..(from + BATCH).min(rows);
        path.process_inputs(rows.map(|row| (1, Prepared::new(row, row, 0))), 0)?;
    }
    let records = options.records.unwrap_or(workload.records);
    run(&mut path, workload, 0..records / 2)?;
    path.commit(0)?;
    let (before, region, start_ns) = (path.produced(), Region::new(ALLOCATOR), cpu_ns(options));
    run(&mut path, workload, records / 2..records)?;
    path.commit(0)?;
    let measured = (records - records / 2) as f64;
    let cost_ns = (cpu_ns(options) - start_ns) as f64 / measured;
    let produced = path.produced();
    println!(
        "{:<38} {:>8.0} {:>9.2} {:>9.3} {:>9.3} {:>8.0} {:>8.1} {:>8.2}",
        workload.name,
        cost_ns,
        region.change().allocations as f64 / measured,
        (produced.outputs - before.outputs) as f64 / measured,
        (produced.changes - before.changes) as f64 / measured,
        workload.java_ns,
        workload.java_ns / cost_ns,
        workload.java_outputs,
    );
    Ok(())
}

fn main() -> Result<()> {
    let options = options();
    if options.names {
        for workload in WORKLOADS.iter().filter(|workload| workload.is_counted) {
            println!("{}", workload.name);
        }
        return Ok(());
    }
    println!(
        "{:<38} {:>8} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "per record", "ns CPU", "allocs", "outputs", "changes", "Java ns", "ratio", "outputs"
    );
    let is_name = WORKLOADS
        .iter()
        .any(|workload| workload.name == options.filter);
    for workload in WORKLOADS.iter().filter(|workload| match is_name {
        true => workload.name == options.filter,
        false => workload.name.contains(&options.filter),
    }) {
        measure(workload, &options)?;
    }
    Ok(())
}
