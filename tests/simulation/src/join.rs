//! A stream joined with a table.

use crate::expect::{Check, Strictness, text};
use std::collections::{BTreeMap, BTreeSet};
use streams_core::simulation::{Random, Run, SimulatedRecord, Simulation};
use streams_core::{Consumed, Error, Materialized, Produced, StreamsBuilder};

const KEYS: [&str; 6] = ["anna", "berta", "carl", "dora", "emil", "frida"];

/// Joins records with the row that their key had when they were written: time goes with the order of writing, and a task whose
/// inputs lag waits for them (KIP-695).
pub(crate) fn stream_with_table(
    random: &mut Random,
    strictness: Strictness,
) -> Result<(Simulation, Check), Error> {
    let partitions = random.between(1, 4) as i32;
    let builder = StreamsBuilder::new();
    let table =
        builder.table::<String, String>("table", Consumed::new(), Materialized::named("rows"));
    builder
        .stream::<String, String>("stream", Consumed::new())
        .left_join(&table, |value, row: Option<&String>| {
            format!("{value} {}", row.map_or("nobody", String::as_str))
        })
        .to("out", Produced::new());
    let mut rows: BTreeMap<&str, String> = BTreeMap::new();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut input = Vec::new();
    for number in 0..random.between(1, 300) {
        let index = random.below(KEYS.len() as u64) as usize;
        let key = KEYS[index];
        let (topic, value) = if random.below(3) == 0 {
            let row = (random.below(5) > 0).then(|| format!("row{number}"));
            match &row {
                Some(row) => rows.insert(key, row.clone()),
                None => rows.remove(key),
            };
            ("table", row)
        } else {
            let value = format!("value{number}");
            let row = rows.get(key).map_or("nobody", String::as_str);
            expected
                .entry(key.to_owned())
                .or_default()
                .push(format!("{value} {row}"));
            ("stream", Some(value))
        };
        input.push(SimulatedRecord {
            topic: topic.to_owned(),
            partition: index as i32 % partitions,
            timestamp: 1_000 + number as i64,
            key: Some(key.as_bytes().to_vec()),
            value: value.map(String::into_bytes),
        });
    }
    let simulation = Simulation::new(builder.build()?)
        .topic("stream", partitions)
        .topic("table", partitions)
        .topic("out", 1)
        .input(input);
    let check: Check = Box::new(move |run| check_join(run, &expected, strictness));
    Ok((simulation, check))
}

fn check_join(
    run: &Run,
    expected: &BTreeMap<String, Vec<String>>,
    strictness: Strictness,
) -> Result<(), String> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, record) in run.records("out") {
        found
            .entry(text(record.key.as_deref()))
            .or_default()
            .push(text(record.value.as_deref()));
    }
    let is_right = match strictness {
        // A join caches nothing.
        Strictness::Every | Strictness::Latest => found == *expected,
        Strictness::AtLeastOnce => values(&found) == values(expected),
    };
    if is_right {
        return Ok(());
    }
    let wrong = |key: &&String| found.get(*key) != expected.get(*key);
    let keys: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let key = keys.iter().find(|key| wrong(key)).copied();
    let of = |results: &BTreeMap<String, Vec<String>>| {
        key.and_then(|key| results.get(key))
            .cloned()
            .unwrap_or_default()
    };
    Err(format!(
        "{key:?} was joined to {:?} instead of {:?}",
        of(&found),
        of(expected)
    ))
}

/// The results, whichever row they were joined with: what is processed again after a failure meets the table as it is then,
/// which Kafka Streams does not take back either.
fn values(results: &BTreeMap<String, Vec<String>>) -> BTreeSet<(&str, &str)> {
    let mut values = BTreeSet::new();
    for (key, results) in results {
        for result in results {
            let value = result.split(' ').next().unwrap_or_default();
            values.insert((key.as_str(), value));
        }
    }
    values
}
