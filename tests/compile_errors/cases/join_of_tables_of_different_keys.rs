//! Two tables of different key types are joined.
//~ a join needs keys of one type: `i64` on this side, but `String` on the other
//~ a table is also joined by a key taken from the other side's values: `join_global` for streams, `join_foreign_key` for tables
//= names.join(&towns, => names.to_stream().select_key(|id, _| id.to_string()).to_table(Materialized::new()).join(&towns,

use streams_core::{Consumed, Materialized, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let names = builder.table::<i64, String>("names", Consumed::new(), Materialized::new());
    let towns = builder.table::<String, String>("towns", Consumed::new(), Materialized::new());
    names.join(&towns, |name, town| format!("{name}, {town}"));
}
