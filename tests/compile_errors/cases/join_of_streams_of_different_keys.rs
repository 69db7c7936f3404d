//! A stream is joined with a stream of another key type.
//~ a join needs keys of one type: `String` on this side, but `i64` on the other
//~ joined with keys of type `i64`
//~ make keys of one type with `select_key` on a stream
//= clicks.join_stream( => clicks.select_key(|_, click| click.len() as i64).join_stream(

use std::time::Duration;
use streams_core::{Consumed, JoinWindows, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let clicks = builder.stream::<String, String>("clicks", Consumed::new());
    let views = builder.stream::<i64, String>("views", Consumed::new());
    clicks.join_stream(
        &views,
        |click, view| format!("{view} {click}"),
        JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60)),
    );
}
