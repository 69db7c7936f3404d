//! Words counted through a repartition topic.

use crate::expect::{Check, Strictness, check_counts, counts};
use std::collections::BTreeMap;
use streams_core::simulation::{Random, SimulatedRecord, Simulation};
use streams_core::{Consumed, Error, Materialized, Produced, StreamsBuilder};

const WORDS: [&str; 7] = ["ape", "bee", "cat", "dog", "eel", "fox", "gnu"];

/// Counts the words of records, whatever their keys.
pub(crate) fn counts_of_words(
    random: &mut Random,
    strictness: Strictness,
) -> Result<(Simulation, Check), Error> {
    let partitions = random.between(1, 3) as i32;
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in", Consumed::new())
        .select_key(|_key, value: &String| value.clone())
        .group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("out", Produced::new());
    let mut expected = BTreeMap::new();
    let mut input = Vec::new();
    for number in 0..random.between(1, 300) {
        let word = *random.pick(&WORDS);
        *expected.entry(word.to_owned()).or_insert(0) += 1;
        input.push(SimulatedRecord {
            topic: "in".to_owned(),
            partition: random.below(partitions as u64) as i32,
            timestamp: 1_000 + number as i64,
            key: Some(b"line".to_vec()),
            value: Some(word.as_bytes().to_vec()),
        });
    }
    let simulation = Simulation::new(builder.build()?)
        .topic("in", partitions)
        .topic("out", random.between(1, 2) as i32)
        .set("repartition.purge.interval.ms", 500)?
        .input(input);
    let check: Check =
        Box::new(move |run| check_counts(&counts(run, "out"), &expected, strictness));
    Ok((simulation, check))
}
