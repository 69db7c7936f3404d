//! Latency at a fixed rate: from when a record was due to when its result can be read.

use crate::load;
use crate::statistics::percentile;
use serde_json::{Value, json};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use streams_core::runtime::broker::{
    Broker, Input, InputSlot, LogProducer, LogReader, ProduceRecord, StartOffset,
};
use streams_core::{Error, FetchedRecord, Headers, Result, TopicPartition};

/// How fast, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Records per second.
    pub rate: u64,
    /// What does not count: JVMs compile meanwhile.
    pub warm_up: Duration,
    /// What counts.
    pub measured: Duration,
}

/// Records are sent when they are due, so many at a time as are. With shorter ticks a record waits for the broker's other
/// requests more than for the application.
const TICK: Duration = Duration::from_micros(500);
/// Behind the last record.
const PATIENCE: Duration = Duration::from_secs(10);
const VALUE_SIZE_BYTES: usize = 100;

/// Sends records to the input of a running pass-through, reads its output, and gives the percentiles in microseconds.
///
/// A record that is sent late, because something before it took its time, is late all the same: its value carries when it was
/// due.
///
/// # Errors
/// When the cluster fails, or results are missing.
pub fn measure(bootstrap: &str, input: &str, output: &str, load: Load) -> Result<Value> {
    let warm_up = records(load.rate, load.warm_up);
    let count = warm_up + records(load.rate, load.measured);
    let start = Instant::now();
    let sender = {
        let (bootstrap, input) = (bootstrap.to_owned(), input.to_owned());
        thread::spawn(move || send(&bootstrap, &input, load.rate, count, start))
    };
    let latencies = read(bootstrap, output, load.rate, count, warm_up, start);
    sender
        .join()
        .map_err(|_| Error::fatal("the sender panicked"))??;
    let mut latencies = latencies?;
    latencies.sort_unstable();
    Ok(json!({
        "p50": percentile(&latencies, 0.5),
        "p99": percentile(&latencies, 0.99),
        "p99.9": percentile(&latencies, 0.999),
        "max": percentile(&latencies, 1.0),
        "records": latencies.len(),
    }))
}

fn records(rate: u64, time: Duration) -> u64 {
    rate * time.as_millis() as u64 / 1000
}

/// When the record of this number is due.
fn due(index: u64, rate: u64) -> Duration {
    Duration::from_nanos(index * 1_000_000_000 / rate)
}

fn send(bootstrap: &str, input: &str, rate: u64, count: u64, start: Instant) -> Result<()> {
    let broker = load::broker_with(bootstrap, &[("linger.ms", "0")])?;
    let mut producer = broker.producer("latency-sender", None)?;
    let (topic, headers): (Arc<str>, _) = (input.into(), Headers::new());
    let mut sent = 0;
    let mut values = Vec::new();
    while sent < count {
        let now = start.elapsed();
        values.clear();
        while sent < count && due(sent, rate) <= now {
            let mut value = [b'x'; VALUE_SIZE_BYTES];
            // A positive number to the topology, and the record's own to the reader.
            value[..8].copy_from_slice(&1.0_f64.to_be_bytes());
            value[16..24].copy_from_slice(&sent.to_be_bytes());
            values.push(value);
            sent += 1;
        }
        producer.send(&mut values.iter().map(|value| ProduceRecord {
            topic: &topic,
            partition: 0,
            timestamp: None,
            key: Some(b"latency!"),
            value: Some(value),
            headers: &headers,
        }))?;
        thread::sleep(TICK);
    }
    producer.flush(load::PATIENCE)
}

fn read(
    bootstrap: &str,
    output: &str,
    rate: u64,
    count: u64,
    warm_up: u64,
    start: Instant,
) -> Result<Vec<u64>> {
    let mut reader = load::broker(bootstrap)?.reader("latency-reader")?;
    reader.add_inputs(&[Input {
        partition: TopicPartition::new(output, 0),
        slot: InputSlot(0),
        offset: StartOffset::Earliest,
    }])?;
    let mut latencies = Vec::with_capacity((count - warm_up) as usize);
    let (mut records, mut seen) = (Vec::new(), 0);
    let mut last = Instant::now();
    while seen < count {
        if last.elapsed() > PATIENCE && start.elapsed() > PATIENCE {
            return Err(Error::fatal(format!("{seen} of {count} results came")));
        }
        reader.poll(Duration::from_millis(100), 10_000, &mut records)?;
        let now = start.elapsed();
        for (_, record) in records.drain(..) {
            last = Instant::now();
            seen += 1;
            let number = record
                .value()
                .and_then(|value| value.get(16..24))
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_be_bytes);
            if let Some(number) = number.filter(|number| *number >= warm_up) {
                let late = now.saturating_sub(due(number, rate));
                latencies.push(late.as_micros() as u64);
            }
        }
    }
    Ok(latencies)
}
