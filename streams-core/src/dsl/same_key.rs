//! `SameKey`: both sides of a join have keys of one type.

use super::stream::KStream;
use super::table::KTable;

/// The keys of one side of a join, which are of the same type as those of the other.
///
/// ```compile_fail,E0277
/// # use streams_core::{Consumed, Materialized, StreamsBuilder};
/// let builder = StreamsBuilder::new();
/// let clicks = builder.stream::<String, String>("clicks", Consumed::new());
/// let users = builder.table::<i64, String>("users", Consumed::new(), Materialized::new());
/// clicks.join(&users, |click, user| format!("{user} {click}"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a join needs keys of one type: `{K}` on this side, but `{Self}` on the other",
    label = "joined with keys of type `{Self}`",
    note = "make keys of one type with `select_key` on a stream, or `.to_stream().select_key(..).to_table(..)` on a table",
    note = "a table is also joined by a key taken from the other side's values: `join_global` for streams, `join_foreign_key` for tables"
)]
pub trait SameKey<K>: Sized {
    #[doc(hidden)]
    fn table<V, T>(table: &KTable<Self, V, T>) -> &KTable<K, V, T>;
    #[doc(hidden)]
    fn stream<V, P>(stream: &KStream<Self, V, P>) -> &KStream<K, V, P>;
}

impl<K> SameKey<K> for K {
    fn table<V, T>(table: &KTable<K, V, T>) -> &KTable<K, V, T> {
        table
    }

    fn stream<V, P>(stream: &KStream<K, V, P>) -> &KStream<K, V, P> {
        stream
    }
}
