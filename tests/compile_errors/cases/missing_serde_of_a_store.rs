//! An aggregate without a default serde is kept in a store.
//~ the store of this table needs a serde for its values of type `Mean`
//~ no serde for the values
//~ add `.with_value(serde)` to the `Materialized`, for instance `.with_value(Json)`, or implement `DefaultSerde` for `Mean`
//= Materialized::new() => Materialized::new().with_value(Own)

use streams_core::serdes::{Serde, SerdeError};
use streams_core::{Consumed, Materialized, StreamsBuilder};

#[derive(Default)]
struct Mean(u8);

struct Own;

impl Serde<Mean> for Own {
    fn serialize(&self, mean: &Mean, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.push(mean.0);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Mean, SerdeError> {
        Ok(Mean(bytes[0]))
    }
}

fn main() {
    let _ = Own;
    StreamsBuilder::new()
        .stream::<String, i64>("temperatures", Consumed::new())
        .group_by_key()
        .aggregate(Mean::default, |_, _, mean| mean.0 += 1, Materialized::new());
}
