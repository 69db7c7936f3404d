//! The key of a windowed table is written with the serde of the key alone.
//~ the records of this stream have keys of type `Windowed<String>` and values of type `i64`, which `Produced<String, i64>` does not write
//~ a windowed key takes `TimeWindowed::new(key_serde, window_size)` or `SessionWindowed::new(key_serde)`
//= Produced::with(Utf8, I64) => Produced::with(TimeWindowed::new(Utf8, minute), I64)

use std::time::Duration;
use streams_core::serdes::{I64, TimeWindowed, Utf8};
use streams_core::{Consumed, Produced, StreamsBuilder, TimeWindows};

fn main() {
    let minute = Duration::from_secs(60);
    let _ = TimeWindowed::new(Utf8, minute);
    StreamsBuilder::new()
        .stream::<String, String>("clicks", Consumed::new())
        .group_by_key()
        .windowed_by(TimeWindows::of_size(minute))
        .count()
        .to_stream()
        .to("clicks-per-minute", Produced::with(Utf8, I64));
}
