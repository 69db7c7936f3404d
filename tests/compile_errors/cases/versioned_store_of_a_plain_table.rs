//! A table with a history is another kind of table.
//~ this store would remember earlier versions of its rows
//~ a versioned store
//~ use `StreamsBuilder::versioned_table` for a table with a history; a global table has none
//= builder.table:: => builder.versioned_table::

use std::time::Duration;
use streams_core::{Consumed, Materialized, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let hour = Duration::from_secs(60 * 60);
    builder.table::<String, f64>("prices", Consumed::new(), Materialized::versioned("prices", hour));
}
