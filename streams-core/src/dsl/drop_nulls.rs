//! `drop_null_keys` and `drop_null_values`: the choice what to do about records without a key or value.

use super::partitioning::Partitioning;
use super::repartition::erased;
use super::stream::KStream;
use super::stream_node;
use crate::error::Error;
use crate::operators::present::{PresentKeys, PresentValues};
use crate::serdes::{BoxSerde, Nullable, Present, Serde, SerdeError};
use crate::topology::build::Graph;
use std::panic::Location;
use std::sync::Arc;

impl<K: 'static, V: 'static, P: Partitioning> KStream<Option<K>, V, P> {
    /// The records that have a key. The others go no further and are counted, as Kafka Streams drops them in aggregations and
    /// inner joins.
    ///
    /// It adds no node to the topology: numbers and names of what follows stay those of Kafka Streams.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("clicks", Consumed::with(Nullable(Utf8), Utf8))
    ///     .drop_null_keys()
    ///     .group_by_key()
    ///     .count()
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::with(Utf8, I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("clicks", Nullable(Utf8), Utf8);
    /// # let output = driver.output("clicks-per-user", Utf8, I64);
    /// driver.pipe(&input, None, "home")?;
    /// driver.pipe(&input, Some("ann".to_owned()), "home")?;
    /// assert_eq!(driver.read_key_values(&output)?, [("ann".to_owned(), 1)]);
    /// assert_eq!(driver.dropped_records(), 1);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn drop_null_keys(&self) -> KStream<K, V, P> {
        let location = Location::caller();
        let mut graph = self.graph.borrow_mut();
        let node = graph.add_hidden(
            self.node,
            stream_node::<Option<K>, V>(|scope, id| {
                Ok(Box::new(PresentKeys {
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        graph.set_lift(
            node,
            Arc::new(|serdes| {
                let (key, value) = serdes.of::<K, V>()?.clone();
                let key: BoxSerde<Option<K>> = Arc::new(Nullable(key));
                Some(erased(key, value))
            }),
        );
        let key = self
            .key
            .clone()
            .map(|key| present(&mut graph, key, location));
        self.behind(node, key, self.value.clone())
    }
}

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, Option<V>, P> {
    /// The records that have a value. The others go no further and are counted, as Kafka Streams drops them in aggregations
    /// without windows and in joins.
    ///
    /// It adds no node to the topology: numbers and names of what follows stay those of Kafka Streams.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("payments", Consumed::with(Utf8, Nullable(I64)))
    ///     .drop_null_values()
    ///     .group_by_key()
    ///     .reduce(|sum, cents| sum + cents)
    ///     .to_stream()
    ///     .to("sums", Produced::with(Utf8, I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("payments", Utf8, Nullable(I64));
    /// # let output = driver.output("sums", Utf8, I64);
    /// driver.pipe(&input, "ann", Some(100))?;
    /// driver.pipe(&input, "ann", None)?;
    /// assert_eq!(driver.read_values(&output)?, [100]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn drop_null_values(&self) -> KStream<K, V, P> {
        let location = Location::caller();
        let mut graph = self.graph.borrow_mut();
        let node = graph.add_hidden(
            self.node,
            stream_node::<K, Option<V>>(|scope, id| {
                Ok(Box::new(PresentValues {
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        graph.set_lift(
            node,
            Arc::new(|serdes| {
                let (key, value) = serdes.of::<K, V>()?.clone();
                let value: BoxSerde<Option<V>> = Arc::new(Nullable(value));
                Some(erased(key, value))
            }),
        );
        let value = self
            .value
            .clone()
            .map(|value| present(&mut graph, value, location));
        self.behind(node, self.key.clone(), value)
    }
}

/// The serde of what is inside the options a serde serves.
pub(super) fn present<T: 'static>(
    graph: &mut Graph,
    nullable: BoxSerde<Option<T>>,
    location: &'static Location<'static>,
) -> BoxSerde<T> {
    match Present::of(nullable) {
        Some(present) => Arc::new(present),
        None => {
            graph.fail(Error::topology(format!(
                "the serde of the nullable keys or values at {location} cannot serve those that are present: wrap the serde of the present ones in `Nullable` instead"
            )));
            Arc::new(Unusable)
        }
    }
}

/// Stands in for a serde in a topology that is not going to be built.
pub(super) struct Unusable;

impl<T> Serde<T> for Unusable {
    fn serialize(&self, _: &T, _: &mut Vec<u8>) -> Result<(), SerdeError> {
        Err(SerdeError::null())
    }

    fn deserialize(&self, _: &[u8]) -> Result<T, SerdeError> {
        Err(SerdeError::null())
    }
}

#[cfg(test)]
mod tests {
    use crate::serdes::{I64, Nullable, Serde, SerdeError, Utf8};
    use crate::{Consumed, Produced, StreamsBuilder};

    #[test]
    fn nobody_sees_it() {
        let described = |dropping: bool| {
            let builder = StreamsBuilder::new();
            let stream = builder.stream("in", Consumed::with(Utf8, Nullable(I64)));
            stream.for_each(|_, _| {});
            let stream = match dropping {
                true => stream.drop_null_values(),
                false => builder.stream("other", Consumed::with(Utf8, I64)),
            };
            stream
                .filter(|_, _| true)
                .to("out", Produced::with(Utf8, I64));
            stream.peek(|_, _| {});
            builder.build().expect("a topology").describe()
        };
        let text = described(true);
        assert!(
            text.contains("Source: KSTREAM-SOURCE-0000000000 (topics: [in])\n      --> KSTREAM-FILTER-0000000002, KSTREAM-FOREACH-0000000001, KSTREAM-PEEK-0000000004"),
            "{text}"
        );
        assert!(
            text.contains("<-- KSTREAM-SOURCE-0000000000\n    Sink"),
            "{text}"
        );
        assert!(described(false).contains("other"));
    }

    /// Writes what is absent as one byte.
    struct Own;

    impl Serde<Option<u8>> for Own {
        fn serialize(&self, value: &Option<u8>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
            bytes.push(value.unwrap_or(0));
            Ok(())
        }

        fn deserialize(&self, bytes: &[u8]) -> Result<Option<u8>, SerdeError> {
            Ok(bytes.first().copied())
        }
    }

    #[test]
    fn a_serde_that_knows_options_only_is_an_error_that_says_what_to_write() {
        let builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::with(Own, I64))
            .drop_null_keys()
            .group_by_key()
            .count();
        let error = builder.build().expect_err("no serde for the keys");
        assert!(error.to_string().contains("`Nullable`"), "{error}");
    }
}
