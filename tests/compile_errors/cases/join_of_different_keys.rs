//! A stream is joined with a table of another key type.
//~ a join needs keys of one type: `String` on this side, but `i64` on the other
//~ joined with keys of type `i64`
//~ make keys of one type with `select_key` on a stream
//= clicks.join( => clicks.select_key(|_, click| click.len() as i64).join(

use streams_core::{Consumed, Materialized, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let clicks = builder.stream::<String, String>("clicks", Consumed::new());
    let users = builder.table::<i64, String>("users", Consumed::new(), Materialized::new());
    clicks.join(
        &users,
        |click, user| format!("{user} {click}"),
    );
}
