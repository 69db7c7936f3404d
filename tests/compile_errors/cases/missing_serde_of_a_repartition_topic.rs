//! What goes through a repartition topic has no default serde.
//~ the keys of this stream may have changed, so it goes through a repartition topic, which needs a serde for `Station` and one for `String`
//~ use `group_by_key_with(Grouped::with(key_serde, value_serde))`
//= .group_by_key() => .group_by_key_with(Grouped::with(Own, Utf8))

use streams_core::serdes::{Serde, SerdeError, Utf8};
use streams_core::{Consumed, Grouped, StreamsBuilder};

struct Station(u8);

struct Own;

impl Serde<Station> for Own {
    fn serialize(&self, station: &Station, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.push(station.0);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Station, SerdeError> {
        Ok(Station(bytes[0]))
    }
}

fn main() {
    let _ = Grouped::with(Own, Utf8);
    StreamsBuilder::new()
        .stream::<String, String>("readings", Consumed::new())
        .select_key(|_, reading| Station(reading.len() as u8))
        .group_by_key();
}
