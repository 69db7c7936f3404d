//! Records are grouped by something that not all of them have.
//~ the keys of this grouping may be null (`Option<String>`), and a record without a key belongs to no group
//~ or give them a key: `.group_by(|key, _| key.clone().unwrap_or_default(), ..)`
//= .windowed_by( => .drop_null_keys().windowed_by(

use std::time::Duration;
use streams_core::{Consumed, Grouped, StreamsBuilder, TimeWindows};

fn main() {
    StreamsBuilder::new()
        .stream::<String, String>("people", Consumed::new())
        .group_by(|_, person| person.split(',').nth(1).map(str::to_owned), Grouped::new())
        .windowed_by(
            TimeWindows::of_size(Duration::from_secs(60)),
        )
        .count();
}
