//! What a record costs inside the process: filter, map_values, JSON, a 10-second tumbling mean over 10,000 keys.
//!
//! Records are ready in memory and nothing is sent, so this is deserialization, operators, record cache and store. Printed
//! is CPU time of this thread; other programs on the machine change it little. Allocations are counted by the allocator.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Duration;
use streams_core::serdes::{Json, TimeWindowed, Utf8};
use streams_core::{
    Consumed, FetchedRecord, Headers, KStream, Materialized, Produced, RecordPath, StreamsBuilder,
    TimeWindows, Topology,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: usize = 10_000;
/// How many records lie in a millisecond of event time: a window of ten seconds sees each key a hundred times.
const RECORDS_PER_MS: usize = 100;
const RECORDS_PER_WINDOW: usize = 10_000 * RECORDS_PER_MS;
const BATCH: usize = 1000;
const WINDOWS: usize = 6;

#[derive(serde::Serialize, serde::Deserialize)]
struct Reading {
    temperature: f64,
    humidity: f64,
    pressure: f64,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Mean {
    sum: f64,
    count: u64,
}

/// A record whose bytes live elsewhere.
struct Prepared {
    key: &'static [u8],
    value: &'static [u8],
    offset: i64,
    timestamp: i64,
}

impl FetchedRecord for Prepared {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn key(&self) -> Option<&[u8]> {
        Some(self.key)
    }

    fn value(&self) -> Option<&[u8]> {
        Some(self.value)
    }

    fn read_headers(&self, headers: &mut Headers) {
        headers.clear();
    }
}

fn topology() -> streams_core::Result<Topology> {
    let size = Duration::from_secs(10);
    let builder = StreamsBuilder::new();
    let readings: KStream<String, Reading> = builder.stream("weather", Consumed::with(Utf8, Json));
    readings
        .filter(|_city, reading| reading.temperature.is_finite())
        .map_values(|reading| reading.temperature)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(size))
        .aggregate(
            Mean::default,
            |_city, temperature, mean| {
                mean.sum += temperature;
                mean.count += 1;
            },
            Materialized::named("means").with_value(Json),
        )
        .to_stream()
        .map_values(|mean| mean.sum / mean.count as f64)
        .to(
            "averages",
            Produced::with(TimeWindowed::new(Utf8, size), streams_core::serdes::F64),
        );
    builder.build()
}

fn prepare() -> Vec<(&'static [u8], &'static [u8])> {
    (0..KEYS)
        .map(|key| {
            let value = format!(
                r#"{{"temperature":{:.2},"humidity":{},"pressure":{:.1}}}"#,
                (key % 400) as f64 / 10.0 - 10.0,
                key % 100,
                980.0 + (key % 50) as f64
            );
            let key: &'static [u8] = format!("city-{key:05}").into_bytes().leak();
            (key, &*value.into_bytes().leak())
        })
        .collect()
}

fn cpu_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn main() -> streams_core::Result<()> {
    // `cargo test` runs benches to see that they work; one window does.
    let windows = match std::env::args().any(|argument| argument == "--test") {
        true => 1,
        false => WINDOWS,
    };
    let data = prepare();
    let mut path = RecordPath::new(&topology()?)?;
    let mut costs_ns = Vec::new();
    let mut seen_allocations = 0;
    let mut seen_records = 0;
    let mut all_allocations = 0;
    for window in 0..windows {
        let from = window * RECORDS_PER_WINDOW;
        let region = Region::new(ALLOCATOR);
        let start_ns = cpu_ns();
        let mut first_pass = 0;
        for batch in (from..from + RECORDS_PER_WINDOW).step_by(BATCH) {
            let records = (batch..batch + BATCH).map(|index| Prepared {
                key: data[index % KEYS].0,
                value: data[index % KEYS].1,
                offset: index as i64,
                timestamp: (index / RECORDS_PER_MS) as i64,
            });
            path.process(records, (batch / RECORDS_PER_MS) as i64)?;
            if batch + BATCH == from + KEYS {
                first_pass = region.change().allocations;
            }
        }
        let in_window = region.change().allocations;
        path.commit(((from + RECORDS_PER_WINDOW) / RECORDS_PER_MS) as i64)?;
        costs_ns.push((cpu_ns() - start_ns) as f64 / RECORDS_PER_WINDOW as f64);
        seen_allocations += in_window - first_pass;
        seen_records += RECORDS_PER_WINDOW - KEYS;
        all_allocations += region.change().allocations;
    }
    costs_ns.sort_by(f64::total_cmp);
    println!(
        "record path (filter, map_values, JSON, 10 s tumbling mean, {KEYS} keys): {:.0} ns CPU per record (median of {} runs of {RECORDS_PER_WINDOW} records; {:.0} to {:.0})",
        costs_ns[costs_ns.len() / 2],
        costs_ns.len(),
        costs_ns[0],
        costs_ns[costs_ns.len() - 1],
    );
    println!(
        "allocations per record: {} for keys already in their window ({} in {} records), {:.4} with new windows, flush and commit",
        seen_allocations / seen_records,
        seen_allocations,
        seen_records,
        all_allocations as f64 / (windows * RECORDS_PER_WINDOW) as f64
    );
    Ok(())
}
