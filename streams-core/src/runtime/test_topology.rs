//! What the tests of this module run.

use crate::topology::Topology;
use crate::{Consumed, Materialized, Produced, StreamsBuilder};

/// Counts the records of each key of `input` in `store` and writes every count to `output`.
pub(crate) fn count_by_key(input: &str, store: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(input, Consumed::new())
        .group_by_key()
        .count_with(Materialized::named(store))
        .to_stream()
        .to(output, Produced::new());
    builder.build().unwrap()
}

/// Writes the records of `input` to `output`, and panics on the value `bad`.
pub(crate) fn copy_but_bad(input: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(input, Consumed::new())
        .map_values(|value: &String| match &**value {
            "bad" => std::panic::resume_unwind(Box::new("a bad value")),
            value => value.to_owned(),
        })
        .to(output, Produced::new());
    builder.build().unwrap()
}

/// As [`count_by_key`], but by value, through the repartition topic `<application id>-<store>-repartition`.
pub(crate) fn count_by_value(input: &str, store: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(input, Consumed::new())
        .select_key(|_key, value: &String| value.clone())
        .group_by_key()
        .count_with(Materialized::named(store))
        .to_stream()
        .to(output, Produced::new());
    builder.build().unwrap()
}

/// Writes the records of `input` to `output`, each with what the global table `table` has for its key.
pub(crate) fn join_global(input: &str, table: &str, output: &str) -> Topology {
    let builder = StreamsBuilder::new();
    let names = builder.global_table::<String, String>(table, Consumed::new(), Materialized::new());
    builder
        .stream::<String, String>(input, Consumed::new())
        .join_global(
            &names,
            |key, _value| key.clone(),
            |_key, value, name| format!("{value} {name}"),
        )
        .to(output, Produced::new());
    builder.build().unwrap()
}
