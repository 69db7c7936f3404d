//! Records counted by key and window, out of order within the grace period.

use crate::expect::{Check, Strictness, check_counts, counts};
use std::collections::BTreeMap;
use std::time::Duration;
use streams_core::simulation::{Random, SimulatedRecord, Simulation};
use streams_core::windowed::Windowed;
use streams_core::{Consumed, Error, Materialized, Produced, StreamsBuilder, TimeWindows};

const SIZE_MS: i64 = 100;
/// Nothing is ever too late: what is late depends on when a task last started, in Kafka Streams too.
const GRACE: Duration = Duration::from_secs(60);
const KEYS: [&str; 5] = ["red", "green", "blue", "white", "black"];

/// Counts records by key and window.
pub(crate) fn counts_in_windows(
    random: &mut Random,
    strictness: Strictness,
) -> Result<(Simulation, Check), Error> {
    let partitions = random.between(1, 4) as i32;
    let windows = TimeWindows::of_size_and_grace(Duration::from_millis(SIZE_MS as u64), GRACE);
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in", Consumed::new())
        .group_by_key()
        .windowed_by(windows)
        .count_with(Materialized::named("windows"))
        .to_stream()
        .map(|key: &Windowed<String>, count: &i64| {
            (format!("{}@{}", key.key, key.window.start_ms), *count)
        })
        .to("out", Produced::new());
    let mut expected = BTreeMap::new();
    let mut input = Vec::new();
    let mut time = 10_000_i64;
    for _ in 0..random.between(1, 300) {
        time += random.below(40) as i64;
        let timestamp = time - random.below(250) as i64;
        let index = random.below(KEYS.len() as u64) as usize;
        let start = timestamp.div_euclid(SIZE_MS) * SIZE_MS;
        *expected
            .entry(format!("{}@{start}", KEYS[index]))
            .or_insert(0) += 1;
        input.push(SimulatedRecord {
            topic: "in".to_owned(),
            partition: index as i32 % partitions,
            timestamp,
            key: Some(KEYS[index].as_bytes().to_vec()),
            value: Some(b"x".to_vec()),
        });
    }
    let simulation = Simulation::new(builder.build()?)
        .topic("in", partitions)
        .topic("out", 1)
        .input(input);
    let check: Check =
        Box::new(move |run| check_counts(&counts(run, "out"), &expected, strictness));
    Ok((simulation, check))
}
