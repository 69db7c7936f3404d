//! A type without a default serde is read from a topic.
//~ no serde for `Reading`
//~ `Reading` has no serde by default
//~ pass one, for instance `Consumed::with(Utf8, Json)`, or implement `DefaultSerde` for `Reading`
//= Consumed::new() => Consumed::with(Utf8, Own)

use streams_core::serdes::{Serde, SerdeError, Utf8};
use streams_core::{Consumed, StreamsBuilder};

struct Reading(u8);

struct Own;

impl Serde<Reading> for Own {
    fn serialize(&self, reading: &Reading, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.push(reading.0);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Reading, SerdeError> {
        Ok(Reading(bytes[0]))
    }
}

fn main() {
    let _ = Utf8;
    let _ = Own;
    StreamsBuilder::new().stream::<String, Reading>("readings", Consumed::new());
}
