//! Records that may have no key are counted by key.
//~ the keys of this grouping may be null (`Option<String>`), and a record without a key belongs to no group
//~ what shall become of records without a key?
//~ write `.drop_null_keys()` in front of this call
//= .count() => .drop_null_keys().count()

use streams_core::serdes::{Nullable, Utf8};
use streams_core::{Consumed, StreamsBuilder};

fn main() {
    StreamsBuilder::new()
        .stream("clicks", Consumed::with(Nullable(Utf8), Utf8))
        .group_by_key()
        .count()
        .to_stream();
}
