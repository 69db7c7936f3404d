//! A stream into a topic, through one and back, or into a table.

use super::options::{History, Materialized, Produced, Repartitioned, ValueSerde, Writes};
use super::partitioning::{Partitioned, Partitioning, RepartitionSerdes};
use super::repartition::{RepartitionParts, add_repartition};
use super::stream::KStream;
use super::stream_node;
use super::table::{Deletable, KTable};
use super::table_store::{SourceStore, add_table_source};
use crate::operators::sink::{Sink, Target, TopicExtractor};
use crate::record::Record;
use crate::serdes::{BoxSerde, Nullable};
use crate::topology::TopicName;
use std::panic::Location;
use std::sync::Arc;

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Sends the stream through a topic of its own and back, partitioned by its keys.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, Repartitioned, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("words", Consumed::new())
    ///     .select_key(|_, word| word.clone())
    ///     .repartition(Repartitioned::new().named("by-word").with_number_of_partitions(8))
    ///     .to("out", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("words", Utf8, Utf8);
    /// # let output = driver.output("out", Utf8, Utf8);
    /// driver.pipe(&input, "", "rust")?;
    /// assert_eq!(driver.read_key_values(&output)?, [("rust".to_owned(), "rust".to_owned())]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn repartition(&self, repartitioned: Repartitioned<K, V>) -> KStream<K, V, Partitioned> {
        let location = Location::caller();
        let mut graph = self.graph.borrow_mut();
        let base = match &repartitioned.name {
            Some(name) => name.clone(),
            None => graph.new_name("KSTREAM-REPARTITION-"),
        };
        drop(graph);
        let source = add_repartition(
            &self.graph,
            self.node,
            &base,
            RepartitionParts {
                key: repartitioned.key.clone(),
                value: repartitioned.value.clone(),
                partition_count: repartitioned.partition_count,
                partitioner: repartitioned.partitioner,
            },
            location,
        );
        self.graph.borrow_mut().keep_repartition(source);
        self.behind(source, Some(repartitioned.key), Some(repartitioned.value))
    }

    /// Writes the stream to a topic, which must exist.
    ///
    /// A record with a negative timestamp stops the application.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// use streams_core::serdes::{I64, Utf8};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("numbers", Consumed::with(Utf8, I64))
    ///     .to("copies", Produced::with(Utf8, I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("numbers", Utf8, I64), driver.output("copies", Utf8, I64));
    /// driver.pipe(&input, "a", &1)?;
    /// assert_eq!(driver.read_values(&output)?, [1]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to(&self, topic: impl Into<String>, produced: impl Writes<K, V>) {
        let topic = TopicName::External(topic.into().into());
        self.add_sink(Some(topic), None, produced.produced(), Location::caller());
    }

    /// Writes each record to the topic the extractor names, which must exist.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder.stream("orders", Consumed::with(Utf8, I64)).to_extracted(
    ///     |record| format!("orders-{}", record.key),
    ///     Produced::with(Utf8, I64),
    /// );
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("orders", Utf8, I64), driver.output("orders-de", Utf8, I64));
    /// driver.pipe(&input, "de", &1)?;
    /// assert_eq!(driver.read_values(&output)?, [1]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to_extracted(
        &self,
        extractor: impl for<'a> Fn(Record<'a, K, V>) -> String + Send + Sync + 'static,
        produced: impl Writes<K, V>,
    ) {
        let extractor: TopicExtractor<K, V> = Arc::new(extractor);
        self.add_sink(
            None,
            Some(extractor),
            produced.produced(),
            Location::caller(),
        );
    }

    fn add_sink(
        &self,
        topic: Option<TopicName>,
        extractor: Option<TopicExtractor<K, V>>,
        produced: Produced<K, V>,
        location: &'static Location<'static>,
    ) {
        let mut graph = self.graph.borrow_mut();
        let given = self.name.as_deref().or(produced.name.as_deref());
        let name = graph.name_or(given, "KSTREAM-SINK-");
        let target = topic.clone();
        let factory = stream_node::<K, V>(move |scope, id| {
            Ok(Box::new(Sink {
                name: scope.node(id).name.clone(),
                target: match (&target, &extractor) {
                    (Some(topic), _) => Target::Topic(topic.full_name(scope.application_id)),
                    (None, Some(extractor)) => Target::Extractor(extractor.clone()),
                    (None, None) => unreachable!("a sink has a topic or an extractor"),
                },
                key: produced.key.clone(),
                value: produced.value.clone(),
                partitioner: produced.partitioner.clone(),
                partition_count: None,
                exactly_one: false,
                skip_null_keys: false,
            }))
        });
        graph.add_sink(name, vec![self.node], topic, factory, location);
    }

    /// A table of the stream: each record replaces the row of its key, and one with the value `None` deletes it.
    ///
    /// A stream whose values cannot be null is made one with `map_values(|v| Some(v.clone()))`. The row's serde comes from
    /// `materialized`.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, StreamsBuilder, TopologyTestDriver, Produced};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let stock = builder
    ///     .stream("stock-levels", Consumed::with(Utf8, Nullable(I64)))
    ///     .to_table(Materialized::named("stock"));
    /// stock.filter(|_, pieces| *pieces < 10).to_stream().to("to-order", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("stock-levels", Utf8, Nullable(I64));
    /// # let output = driver.output("to-order", Utf8, Nullable(I64));
    /// driver.pipe(&input, "pens", &Some(3))?;
    /// assert_eq!(driver.read_values(&output)?, [Some(3)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn to_table<R: 'static, S: ValueSerde<R>, H: History>(
        &self,
        materialized: Materialized<S, H>,
    ) -> KTable<K, R, H::Rows<Deletable>>
    where
        V: IsOptional<R>,
        P: RepartitionSerdes<K, V>,
    {
        let location = Location::caller();
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(self.name.as_deref(), "KSTREAM-TOTABLE-");
        let store_name = match &materialized.name {
            Some(name) => {
                graph.check_name(name);
                name.clone()
            }
            None => graph.new_name("KSTREAM-TOTABLE-STATE-STORE-"),
        };
        drop(graph);
        let row = materialized.value.into_serde();
        let (parent, key) = match P::serdes() {
            None => (self.node, self.known_key()),
            Some((key, _)) => {
                let source = add_repartition(
                    &self.graph,
                    self.node,
                    &name,
                    RepartitionParts {
                        key: key.clone(),
                        value: V::optional_serde(row.clone()),
                        partition_count: None,
                        partitioner: None,
                    },
                    location,
                );
                (source, key)
            }
        };
        let mut graph = self.graph.borrow_mut();
        add_table_source(
            &mut graph,
            &self.graph,
            parent,
            name,
            SourceStore {
                name: store_name,
                queryable: materialized.name.is_some(),
                options: materialized.options,
                history: materialized.history,
                wanted: materialized.name.is_some(),
                topic: None,
            },
            (key, row),
            location,
        )
    }
}

/// What stands for a nullable value: `Option<R>` is optional in `R`.
///
/// A stream without deletions makes no table:
///
/// ```compile_fail,E0277
/// # use streams_core::{Consumed, Materialized, StreamsBuilder};
/// StreamsBuilder::new()
///     .stream::<String, i64>("stock-levels", Consumed::new())
///     .to_table::<i64, _, _>(Materialized::named("stock"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a table is made of a stream whose values can be null (deletions): `{Self}` cannot",
    note = "write `.map_values(|value| Some(value.clone()))` before `to_table`"
)]
pub trait IsOptional<R>: sealed::Sealed {
    #[doc(hidden)]
    fn optional_serde(row: BoxSerde<R>) -> BoxSerde<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl<R> Sealed for Option<R> {}
}

impl<R: 'static> IsOptional<R> for Option<R> {
    fn optional_serde(row: BoxSerde<R>) -> BoxSerde<Option<R>> {
        Arc::new(Nullable(row))
    }
}
