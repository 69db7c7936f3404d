//! `to_stream` and `to_stream_with_key`: the changes of a table as a stream.

use super::partitioning::{Partitioned, Rekeyed};
use super::stream::KStream;
use super::table::{Deletable, KTable, Permanent, RowState, Versioned};
use super::table_node;
use crate::operators::to_stream::{ToStream, ToValueStream};
use crate::serdes::{BoxSerde, Nullable};
use std::panic::Location;
use std::sync::Arc;

impl<K: 'static, V: 'static, T: RowState> KTable<K, V, T> {
    fn nullable_stream(
        &self,
        location: &'static Location<'static>,
    ) -> KStream<K, Option<V>, Partitioned> {
        let parts = &self.parts;
        let mut graph = parts.graph.borrow_mut();
        let name = graph.name_or(self.given_name(), "KTABLE-TOSTREAM-");
        let node = graph.add_processor(
            name,
            vec![parts.node],
            table_node::<K, V>(|scope, id| {
                Ok(Box::new(ToStream {
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        let value = parts
            .value
            .clone()
            .map(|value| Arc::new(Nullable(value)) as BoxSerde<Option<V>>);
        KStream::new(parts.graph.clone(), node, Some(parts.key.clone()), value)
    }
}

impl<K: 'static, V: 'static> KTable<K, V, Deletable> {
    /// The changes of the table as a stream: a deletion has the value `None`.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, i64>("stock", Consumed::new(), Materialized::new())
    ///     .to_stream()
    ///     .for_each(|item, pieces| match pieces {
    ///         Some(pieces) => println!("{pieces} of {item}"),
    ///         None => println!("no more {item}"),
    ///     });
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to_stream(&self) -> KStream<K, Option<V>, Partitioned> {
        self.nullable_stream(Location::caller())
    }

    /// As [`KTable::to_stream`], with keys made of each row's key and value: a `to_stream` and a
    /// [`select_key`](KStream::select_key), of which [`KTable::named`] names the first.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, String>("user-regions", Consumed::new(), Materialized::new())
    ///     .to_stream_with_key(|user, region| match region {
    ///         Some(region) => format!("{region}/{user}"),
    ///         None => format!("nowhere/{user}"),
    ///     })
    ///     .to("moves", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("user-regions", Utf8, Utf8);
    /// # let output = driver.output("moves", Utf8, Nullable(Utf8));
    /// driver.pipe(&input, "ann", "asia")?;
    /// let (key, _) = driver.read_key_values(&output)?.remove(0);
    /// assert_eq!(key, "asia/ann");
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to_stream_with_key<K2: 'static>(
        &self,
        mapper: impl Fn(&K, &Option<V>) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, Option<V>, Rekeyed> {
        self.to_stream().select_key(mapper)
    }
}

impl<K: 'static, V: 'static> KTable<K, V, Versioned> {
    /// The changes of the table as a stream, in the order they arrived, those behind a row's latest version among them: a
    /// deletion has the value `None`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Nullable, Utf8};
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .versioned_table::<String, f64>("prices", Consumed::new(), Materialized::versioned("prices", day))
    ///     .to_stream()
    ///     .to("price-changes", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("prices", Utf8, F64), driver.output("price-changes", Utf8, Nullable(F64)));
    /// driver.pipe_at(&input, "pen", &2.0, 20)?;
    /// driver.pipe_at(&input, "pen", &1.0, 10)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(2.0), Some(1.0)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to_stream(&self) -> KStream<K, Option<V>, Partitioned> {
        self.nullable_stream(Location::caller())
    }

    /// As [`KTable::to_stream`], with keys made of each row's key and value: a `to_stream` and a
    /// [`select_key`](KStream::select_key), of which [`KTable::named`] names the first.
    #[track_caller]
    pub fn to_stream_with_key<K2: 'static>(
        &self,
        mapper: impl Fn(&K, &Option<V>) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, Option<V>, Rekeyed> {
        self.to_stream().select_key(mapper)
    }
}

impl<K: 'static, V: 'static> KTable<K, V, Permanent> {
    /// The changes of the table as a stream of its new values.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .count()
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::new());
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to_stream(&self) -> KStream<K, V, Partitioned> {
        let parts = &self.parts;
        let mut graph = parts.graph.borrow_mut();
        let name = graph.name_or(self.given_name(), "KTABLE-TOSTREAM-");
        let node = graph.add_processor(
            name,
            vec![parts.node],
            table_node::<K, V>(|scope, id| {
                Ok(Box::new(ToValueStream {
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        KStream::new(
            parts.graph.clone(),
            node,
            Some(parts.key.clone()),
            parts.value.clone(),
        )
    }
    /// As [`KTable::to_stream`], with keys made of each row's key and value: a `to_stream` and a
    /// [`select_key`](KStream::select_key), of which [`KTable::named`] names the first.
    #[track_caller]
    pub fn to_stream_with_key<K2: 'static>(
        &self,
        mapper: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, V, Rekeyed> {
        self.to_stream().select_key(mapper)
    }
}
