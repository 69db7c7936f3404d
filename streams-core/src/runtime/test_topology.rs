//! What the tests of this module run: a count by key.

use crate::serdes::{I64, Utf8};
use crate::topology::Topology;
use crate::{Consumed, Grouped, Materialized, Produced, StreamsBuilder};

/// Counts the records of each key of `input` in `store` and writes every count to `output`.
pub(crate) fn count_by_key(input: &str, store: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(input, Consumed::with(Utf8, Utf8))
        .group_by_key(Grouped::with(Utf8, Utf8))
        .count(Materialized::named(store))
        .to_stream()
        .to(output, Produced::with(Utf8, I64));
    builder.build().unwrap()
}
