//! The topologies. `bench/java/Topologies.java` has the same ones.

use crate::workload::Shape;
use std::sync::Arc;
use std::time::Duration;
use streams_core::serdes::{
    F64, I64, Nullable, RawBytes, Serde, SerdeError, SessionWindowed, TimeWindowed, Utf8,
};
use streams_core::{
    Consumed, EmitStrategy, Grouped, JoinWindows, KStream, KTable, Materialized, Partitioned,
    Produced, Repartitioned, Result, SessionWindows, SlidingWindows, StreamJoined, StreamsBuilder,
    TimeWindows, Topology,
};

/// Sum and count of readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    count: i64,
}

impl Mean {
    fn add(&mut self, value: &[u8]) {
        self.sum += reading(value);
        self.count += 1;
    }

    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// A [`Mean`] in 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct MeanSerde;

impl Serde<Mean> for MeanSerde {
    fn serialize(&self, mean: &Mean, bytes: &mut Vec<u8>) -> std::result::Result<(), SerdeError> {
        bytes.extend_from_slice(&mean.sum.to_be_bytes());
        bytes.extend_from_slice(&mean.count.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> std::result::Result<Mean, SerdeError> {
        let [sum, count] = bytes.as_chunks::<8>().0 else {
            return Err(SerdeError::new("a mean is 16 bytes"));
        };
        Ok(Mean {
            sum: f64::from_be_bytes(*sum),
            count: i64::from_be_bytes(*count),
        })
    }
}

/// The number a value begins with.
fn reading(value: &[u8]) -> f64 {
    value
        .first_chunk::<8>()
        .map_or(f64::NAN, |bytes| f64::from_be_bytes(*bytes))
}

/// Long enough for Kafka Streams to find every session again that a later one replaces: its cache asks the store for it, which
/// is over with sessions older than gap and grace, and then its deletion is never forwarded.
const SESSION_GRACE: Duration = Duration::from_secs(3600);

/// How much longer windows are kept than they are open when results come at their close. Kafka Streams looks for closed windows
/// once a second of its own clock, and finds only those that its store still has; by default it has none that closed.
const CLOSED_RETENTION: Duration = Duration::from_secs(600);

/// Half of each value.
fn halves(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(100);
    joined.extend_from_slice(&left[..50]);
    joined.extend_from_slice(&right[..50]);
    joined
}

/// What is called with the value of every record that counts.
pub type Seen = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The topology of this shape from its inputs to the output.
///
/// # Errors
/// When it is not consistent.
pub fn build(shape: Shape, inputs: &[String], output: &str, seen: &Seen) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let bytes = || Produced::with(Utf8, RawBytes);
    match shape {
        Shape::Pass => records(&builder, &inputs[0], seen)
            .filter(|_, value| reading(value) >= 0.0)
            .map_values(|value: &Vec<u8>| {
                let mut changed = value.clone();
                changed[8] ^= 1;
                changed
            })
            .to(output, bytes()),
        Shape::WordCount => {
            let seen = Arc::clone(seen);
            builder
                .stream(&inputs[0], Consumed::with(Utf8, Utf8))
                .flat_map_values(|line: &String| {
                    line.split(' ').map(str::to_owned).collect::<Vec<_>>()
                })
                .select_key(|_, word: &String| word.clone())
                .repartition(Repartitioned::with(Utf8, Utf8).named("words"))
                .peek(move |_, word| seen(word.as_bytes()))
                .group_by_key_with(Grouped::with(Utf8, Utf8))
                .count_with(Materialized::named("counts"))
                .to_stream()
                .to(output, Produced::with(Utf8, I64));
        }
        Shape::Windows {
            size_ms,
            advance_ms,
            on_close,
        } => {
            let size = Duration::from_millis(size_ms);
            let windows = TimeWindows::of_size(size).advance_by(Duration::from_millis(advance_ms));
            let mut means = Materialized::named("means").with_value(MeanSerde);
            if on_close {
                means = means.with_retention(size + CLOSED_RETENTION);
            }
            let emit = match on_close {
                true => EmitStrategy::on_window_close(),
                false => EmitStrategy::on_window_update(),
            };
            records(&builder, &inputs[0], seen)
                .group_by_key_with(Grouped::with(Utf8, RawBytes))
                .windowed_by(windows)
                .emit_strategy(emit)
                .aggregate(
                    Mean::default,
                    |_, value: &Vec<u8>, mean: &mut Mean| mean.add(value),
                    means,
                )
                .to_stream()
                .map_values(Mean::value)
                .to(output, Produced::with(TimeWindowed::new(Utf8, size), F64));
        }
        Shape::Sliding { difference_ms } => {
            let difference = Duration::from_millis(difference_ms);
            records(&builder, &inputs[0], seen)
                .group_by_key_with(Grouped::with(Utf8, RawBytes))
                .windowed_by(SlidingWindows::of_time_difference(difference))
                .aggregate(
                    Mean::default,
                    |_, value: &Vec<u8>, mean: &mut Mean| mean.add(value),
                    Materialized::named("means").with_value(MeanSerde),
                )
                .to_stream()
                .map_values(Mean::value)
                .to(
                    output,
                    Produced::with(TimeWindowed::new(Utf8, difference), F64),
                );
        }
        Shape::Sessions { gap_ms } => records(&builder, &inputs[0], seen)
            .group_by_key_with(Grouped::with(Utf8, RawBytes))
            .windowed_by(SessionWindows::of_inactivity_gap_and_grace(
                Duration::from_millis(gap_ms),
                SESSION_GRACE,
            ))
            .count_with(Materialized::named("sessions"))
            .to_stream()
            .to(
                output,
                Produced::with(SessionWindowed::new(Utf8), Nullable(I64)),
            ),
        Shape::StreamTable { .. } => {
            let table: KTable<String, Vec<u8>, _> = builder.table(
                &inputs[1],
                Consumed::with(Utf8, RawBytes),
                Materialized::named("rows"),
            );
            records(&builder, &inputs[0], seen)
                .join(&table, |value, row| halves(value, row))
                .to(output, bytes());
        }
        Shape::StreamStream { difference_ms } => {
            let windows =
                JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(difference_ms));
            let right = records(&builder, &inputs[1], seen);
            records(&builder, &inputs[0], seen)
                .join_stream_with(
                    &right,
                    |left, right| halves(left, right),
                    windows,
                    StreamJoined::with(Utf8, RawBytes, RawBytes),
                )
                .to(output, bytes());
        }
        Shape::Count => records(&builder, &inputs[0], seen)
            .group_by_key_with(Grouped::with(Utf8, RawBytes))
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to(output, Produced::with(Utf8, I64)),
        Shape::Restore { .. } => {
            let _: KTable<String, Vec<u8>, _> = builder.table(
                &inputs[0],
                Consumed::with(Utf8, RawBytes),
                Materialized::named("restored"),
            );
        }
    }
    builder.build()
}

fn records(
    builder: &StreamsBuilder,
    topic: &str,
    seen: &Seen,
) -> KStream<String, Vec<u8>, Partitioned> {
    let seen = Arc::clone(seen);
    builder
        .stream(topic, Consumed::with(Utf8, RawBytes))
        .peek(move |_, value: &Vec<u8>| seen(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    #[test]
    fn every_workload_has_a_topology() {
        for workload in Workload::all() {
            let inputs = ["a".to_owned(), "b".to_owned()];
            let seen: Seen = Arc::new(|_| {});
            let topology = build(workload.shape, &inputs, "out", &seen);
            assert!(topology.is_ok(), "{}: {topology:?}", workload.name);
        }
    }

    #[test]
    fn a_mean_is_sixteen_bytes_and_back() {
        let mut mean = Mean::default();
        mean.add(&1.5_f64.to_be_bytes());
        mean.add(&3.0_f64.to_be_bytes());
        let mut bytes = Vec::new();
        MeanSerde
            .serialize(&mean, &mut bytes)
            .expect("it has bytes");
        assert_eq!(bytes.len(), 16);
        let back = MeanSerde.deserialize(&bytes).expect("its own bytes");
        assert_eq!((back, back.value()), (mean, 2.25));
        assert!(MeanSerde.deserialize(&bytes[..15]).is_err());
    }
}
