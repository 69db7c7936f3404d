//! The changes of a table without windows are to wait until its windows close.
//~ only windows close, and the keys of this table are `String`
//~ use `Suppressed::until_time_limit(duration, buffer)`, or aggregate over windows (`windowed_by`) first
//= Suppressed::until_window_closes(BufferConfig::unbounded()) => Suppressed::until_time_limit(MINUTE, BufferConfig::unbounded())

use std::time::Duration;
use streams_core::{BufferConfig, Consumed, StreamsBuilder, Suppressed};

const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let _ = MINUTE;
    StreamsBuilder::new()
        .stream::<String, String>("clicks", Consumed::new())
        .group_by_key()
        .count()
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()));
}
