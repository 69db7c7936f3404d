//! A foreign key is of another type than the keys of the table it refers to.
//~ the foreign key is a `usize`, but the keys of the other table are of type `i64`
//~ joined by a foreign key of type `usize`
//~ return a `i64`, or an `Option<i64>` that is `None` for a row that refers to none
//= order.len() => order.parse::<i64>().ok()

use streams_core::{Consumed, Materialized, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.table::<String, String>("orders", Consumed::new(), Materialized::new());
    let names = builder.table::<i64, String>("names", Consumed::new(), Materialized::new());
    orders.join_foreign_key(&names, |order| order.len(), |order, name| format!("{order} {name}"));
}
