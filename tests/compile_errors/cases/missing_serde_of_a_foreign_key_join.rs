//! A join by foreign key sends rows of a type without a default serde.
//~ a join by foreign key sends rows from one table to the other and keeps its results, which needs a serde for `Order`
//~ no serde for `Order`
//~ use `join_foreign_key_with` or `left_join_foreign_key_with`, with `TableJoined::with(value_serde, other_value_serde)` and `Materialized::new().with_value(result_serde)`, or implement `DefaultSerde` for `Order`
//= orders.join_foreign_key( => orders.join_foreign_key_with(
//= |order| order.0.to_string() => |_, order| order.0.to_string()
//= name.clone()) => name.clone(), TableJoined::with(Own, Utf8), Materialized::new())

use streams_core::serdes::{Serde, SerdeError, Utf8};
use streams_core::{Consumed, Materialized, StreamsBuilder, TableJoined};

struct Order(u8);

struct Own;

impl Serde<Order> for Own {
    fn serialize(&self, order: &Order, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.push(order.0);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Order, SerdeError> {
        Ok(Order(bytes[0]))
    }
}

fn main() {
    let _ = TableJoined::<String, String, String, String>::new();
    let builder = StreamsBuilder::new();
    let orders = builder.table::<String, Order>("orders", Consumed::with(Utf8, Own), Materialized::new());
    let names = builder.table::<String, String>("names", Consumed::new(), Materialized::new());
    orders.join_foreign_key(&names, |order| order.0.to_string(), |_, name| name.clone());
}
