//! A table with a history is suppressed.
//~ a versioned table cannot be suppressed
//~ this table remembers earlier versions of its rows
//~ keep it in a store without history: `Materialized::named(..)` instead of `Materialized::versioned(..)`
//= .count_with(Materialized::versioned("clicks", HOUR)) => .count_with(Materialized::named("clicks"))

use std::time::Duration;
use streams_core::{BufferConfig, Consumed, Materialized, StreamsBuilder, Suppressed};

const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    StreamsBuilder::new()
        .stream::<String, String>("clicks", Consumed::new())
        .group_by_key()
        .count_with(Materialized::versioned("clicks", HOUR))
        .suppress(Suppressed::until_time_limit(HOUR, BufferConfig::unbounded()));
}
