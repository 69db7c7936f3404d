//! A join of two streams keeps records of a type without a default serde.
//~ a join of two streams keeps their records, which needs a serde for `Click`
//~ no serde for `Click`
//~ use `join_stream_with`, `left_join_stream_with` or `outer_join_stream_with` and `StreamJoined::with(key_serde, value_serde, other_value_serde)`, or implement `DefaultSerde` for `Click`
//= clicks.join_stream( => clicks.join_stream_with(
//= windows) => windows, StreamJoined::with(Utf8, Own, Utf8))

use std::time::Duration;
use streams_core::serdes::{Serde, SerdeError, Utf8};
use streams_core::{Consumed, JoinWindows, StreamJoined, StreamsBuilder};

struct Click(u8);

struct Own;

impl Serde<Click> for Own {
    fn serialize(&self, click: &Click, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.push(click.0);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Click, SerdeError> {
        Ok(Click(bytes[0]))
    }
}

fn main() {
    let _ = (StreamJoined::<String, String, String>::new(), Utf8);
    let builder = StreamsBuilder::new();
    let clicks = builder.stream::<String, Click>("clicks", Consumed::with(Utf8, Own));
    let views = builder.stream::<String, String>("views", Consumed::new());
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    clicks.join_stream(&views, |click, view| format!("{view} {}", click.0), windows);
}
