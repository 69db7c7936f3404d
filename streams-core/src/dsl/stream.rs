//! `KStream`: a stream of records and its verbs, but for the joins.

use super::branched::BranchedKStream;
use super::builder::add_source;
use super::grouped_stream::{KGroupedStream, Regroup};
use super::options::{Grouped, Materialized, Named, Produced, Repartitioned, ValueSerde};
use super::partitioning::{Partitioned, Partitioning, Rekeyed, RepartitionSerdes};
use super::table::{self, Deletable, KTable, SourceStore};
use super::{GraphRef, stream_node};
use crate::operators::filter::Filter;
use crate::operators::flat_map::{FlatMap, FlatMapValues};
use crate::operators::map::{Map, SelectKey};
use crate::operators::map_values::MapValues;
use crate::operators::merge::Merge;
use crate::operators::peek::Peek;
use crate::operators::process::{Process, ProcessValues};
use crate::operators::sink::{Sink, Target, TopicExtractor};
use crate::operators::{Punctuate, Reached, StreamOperator};
use crate::partitioner::StreamPartitioner;
use crate::processor::{FixedKeyProcessor, Processor};
use crate::record::Record;
use crate::serdes::{BoxSerde, Nullable};
use crate::timestamp_extractor::FailOnInvalidTimestamp;
use crate::topology::node::OperatorFactory;
use crate::topology::{NodeId, Scope, TopicName};
use std::cell::RefCell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// A stream of records with keys `K` and values `V`.
///
/// Closures get references: an operator that passes a record on copies nothing. `P` tells whether the records still lie in
/// the partition of their key; code that is handed a stream can leave it out when they do.
///
/// Made by [`StreamsBuilder::stream`](crate::StreamsBuilder::stream). A stream may be used any number of times.
pub struct KStream<K, V, P = Partitioned> {
    pub(crate) graph: GraphRef,
    pub(crate) node: NodeId,
    /// Known as long as the key is the one that was read.
    pub(crate) key: Option<BoxSerde<K>>,
    pub(crate) value: Option<BoxSerde<V>>,
    name: Option<String>,
    partitioning: PhantomData<fn() -> P>,
}

impl<K, V, P> Clone for KStream<K, V, P> {
    fn clone(&self) -> Self {
        KStream {
            graph: self.graph.clone(),
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            name: self.name.clone(),
            partitioning: PhantomData,
        }
    }
}

impl<K, V, P> KStream<K, V, P> {
    pub(crate) fn new(
        graph: GraphRef,
        node: NodeId,
        key: Option<BoxSerde<K>>,
        value: Option<BoxSerde<V>>,
    ) -> Self {
        KStream {
            graph,
            node,
            key,
            value,
            name: None,
            partitioning: PhantomData,
        }
    }
}

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Names the node that the next call on the returned handle adds.
    ///
    /// ```
    /// use streams_core::{Consumed, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let words = builder.stream::<String, String>("words", Consumed::new());
    /// words.named("no-blanks").filter(|_, word| !word.is_empty()).for_each(|_, _| {});
    /// assert!(builder.build()?.describe().contains("Processor: no-blanks"));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn named(&self, name: impl Into<Named>) -> Self {
        KStream {
            name: Some(name.into().0),
            ..self.clone()
        }
    }

    /// Adds a processor node behind this one, named as asked.
    pub(crate) fn add(
        &self,
        prefix: &str,
        factory: OperatorFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(self.name.as_deref(), prefix);
        graph.add_processor(name, vec![self.node], factory, location)
    }

    /// Adds the node of user code, named as asked.
    fn add_processor(
        &self,
        prefix: &str,
        factory: OperatorFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or_new(self.name.as_deref(), prefix);
        graph.add_processor(name, vec![self.node], factory, location)
    }

    pub(crate) fn take_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn behind<K2, V2, P2>(
        &self,
        node: NodeId,
        key: Option<BoxSerde<K2>>,
        value: Option<BoxSerde<V2>>,
    ) -> KStream<K2, V2, P2> {
        KStream::new(self.graph.clone(), node, key, value)
    }

    /// Keeps the records for which the predicate holds.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("temperatures", Consumed::new())
    ///     .filter(|_city, degrees| *degrees < 0.0)
    ///     .to("frost", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("temperatures", Utf8, F64);
    /// # let output = driver.output("frost", Utf8, F64);
    /// driver.pipe(&input, "mosbach", &-1.5)?;
    /// driver.pipe(&input, "mosbach", &1.5)?;
    /// assert_eq!(driver.read_key_values(&output)?, [("mosbach".to_owned(), -1.5)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(predicate, true, Location::caller())
    }

    /// Keeps the records for which the predicate does not hold.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("temperatures", Consumed::new())
    ///     .filter_not(|_city, degrees| degrees.is_nan())
    ///     .to("numbers", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("temperatures", Utf8, F64);
    /// # let output = driver.output("numbers", Utf8, F64);
    /// driver.pipe(&input, "mosbach", &f64::NAN)?;
    /// driver.pipe(&input, "mosbach", &1.5)?;
    /// assert_eq!(driver.read_key_values(&output)?, [("mosbach".to_owned(), 1.5)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(predicate, false, Location::caller())
    }

    fn filtered(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        keep: bool,
        location: &'static Location<'static>,
    ) -> Self {
        let predicate = Arc::new(predicate);
        let node = self.add(
            "KSTREAM-FILTER-",
            stream_node::<K, V>(move |scope, id| {
                Ok(Box::new(Filter {
                    predicate: predicate.clone(),
                    keep,
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        self.behind(node, self.key.clone(), self.value.clone())
    }

    /// Makes one record of another, with a new key and value.
    ///
    /// The key may change, so a grouping or join behind it goes through a repartition topic; use [`KStream::map_values`]
    /// when it does not.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("words", Consumed::new())
    ///     .map(|_key, word| (word.to_lowercase(), word.len() as i64))
    ///     .to("lengths", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("words", Utf8, Utf8);
    /// # let output = driver.output("lengths", Utf8, I64);
    /// driver.pipe(&input, "k", "Rust")?;
    /// assert_eq!(driver.read_key_values(&output)?, [("rust".to_owned(), 4)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map<K2: 'static, V2: 'static>(
        &self,
        mapper: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KStream<K2, V2, Rekeyed> {
        let mapper = Arc::new(mapper);
        let node = self.add(
            "KSTREAM-MAP-",
            stream_node::<K, V>(move |scope, id| {
                Ok(Box::new(Map {
                    mapper: mapper.clone(),
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        self.behind(node, None, None)
    }

    /// Makes a new value of each value.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("fahrenheit", Consumed::new())
    ///     .map_values(|degrees| (degrees - 32.0) / 1.8)
    ///     .to("celsius", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("fahrenheit", Utf8, F64);
    /// # let output = driver.output("celsius", Utf8, F64);
    /// driver.pipe(&input, "jfk", &212.0)?;
    /// assert_eq!(driver.read_key_values(&output)?, [("jfk".to_owned(), 100.0)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map_values<V2: 'static>(
        &self,
        mapper: impl Fn(&V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2, P> {
        self.map_values_with_key(move |_, value| mapper(value))
    }

    /// As [`KStream::map_values`], with a look at the key.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("temperatures", Consumed::new())
    ///     .map_values_with_key(|city, degrees| format!("{city}: {degrees} °C"))
    ///     .to("lines", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("temperatures", Utf8, F64);
    /// # let output = driver.output("lines", Utf8, Utf8);
    /// driver.pipe(&input, "mosbach", &9.5)?;
    /// assert_eq!(driver.read_key_values(&output)?[0].1, "mosbach: 9.5 °C");
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map_values_with_key<V2: 'static>(
        &self,
        mapper: impl Fn(&K, &V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2, P> {
        let mapper = Arc::new(mapper);
        let node = self.add(
            "KSTREAM-MAPVALUES-",
            stream_node::<K, V>(move |scope, id| {
                Ok(Box::new(MapValues {
                    mapper: mapper.clone(),
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        self.behind(node, self.key.clone(), None)
    }

    /// Makes any number of records of one, with new keys and values.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, i64>("transfers", Consumed::new())
    ///     .flat_map(|accounts, cents| {
    ///         let (from, to) = accounts.split_once('>').unwrap_or((accounts, "unknown"));
    ///         [(from.to_owned(), -cents), (to.to_owned(), *cents)]
    ///     })
    ///     .to("bookings", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("transfers", Utf8, I64);
    /// # let output = driver.output("bookings", Utf8, I64);
    /// driver.pipe(&input, "ann>bob", &100)?;
    /// assert_eq!(
    ///     driver.read_key_values(&output)?,
    ///     [("ann".to_owned(), -100), ("bob".to_owned(), 100)]
    /// );
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn flat_map<K2: 'static, V2: 'static, I: IntoIterator<Item = (K2, V2)> + 'static>(
        &self,
        mapper: impl Fn(&K, &V) -> I + Send + Sync + 'static,
    ) -> KStream<K2, V2, Rekeyed> {
        let mapper = Arc::new(mapper);
        let node = self.add(
            "KSTREAM-FLATMAP-",
            stream_node::<K, V>(move |scope, id| {
                Ok(Box::new(FlatMap {
                    mapper: mapper.clone(),
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        self.behind(node, None, None)
    }

    /// Makes any number of values of one, under the same key.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("lines", Consumed::new())
    ///     .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    ///     .to("words", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("lines", Utf8, Utf8);
    /// # let output = driver.output("words", Utf8, Utf8);
    /// driver.pipe(&input, "1", "to be")?;
    /// assert_eq!(driver.read_values(&output)?, ["to", "be"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn flat_map_values<V2: 'static, I: IntoIterator<Item = V2> + 'static>(
        &self,
        mapper: impl Fn(&V) -> I + Send + Sync + 'static,
    ) -> KStream<K, V2, P> {
        let mapper = Arc::new(move |_: &K, value: &V| mapper(value));
        let node = self.add(
            "KSTREAM-FLATMAPVALUES-",
            stream_node::<K, V>(move |scope, id| {
                Ok(Box::new(FlatMapValues {
                    mapper: mapper.clone(),
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        self.behind(node, self.key.clone(), None)
    }

    /// Gives each record another key.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("words", Consumed::new())
    ///     .select_key(|_key, word| word.chars().take(1).collect::<String>())
    ///     .to("by-first-letter", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("words", Utf8, Utf8);
    /// # let output = driver.output("by-first-letter", Utf8, Utf8);
    /// driver.pipe(&input, "", "rust")?;
    /// assert_eq!(driver.read_key_values(&output)?, [("r".to_owned(), "rust".to_owned())]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn select_key<K2: 'static>(
        &self,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, V, Rekeyed> {
        let node = self.add(
            "KSTREAM-KEY-SELECT-",
            select_key_node(selector),
            Location::caller(),
        );
        self.behind(node, None, self.value.clone())
    }

    /// Looks at each record and passes it on.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("in", Consumed::new())
    ///     .peek(|key, value| println!("{key} = {value}"))
    ///     .to("out", Produced::new());
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn peek(&self, action: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        let node = self.add("KSTREAM-PEEK-", peek_node(action), Location::caller());
        self.behind(node, self.key.clone(), self.value.clone())
    }

    /// Does something with each record; nothing follows.
    ///
    /// ```
    /// # use streams_core::{Consumed, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicI64, Ordering};
    ///
    /// let total = Arc::new(AtomicI64::new(0));
    /// let sum = total.clone();
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, i64>("amounts", Consumed::new())
    ///     .for_each(move |_, amount| {
    ///         sum.fetch_add(*amount, Ordering::Relaxed);
    ///     });
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("amounts", Utf8, I64);
    /// driver.pipe(&input, "a", &40)?;
    /// driver.pipe(&input, "b", &2)?;
    /// assert_eq!(total.load(Ordering::Relaxed), 42);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn for_each(&self, action: impl Fn(&K, &V) + Send + Sync + 'static) {
        self.add("KSTREAM-FOREACH-", peek_node(action), Location::caller());
    }

    /// Prints each record to standard output, as Kafka Streams' `Printed.toSysOut` does: `[label]: key, value`.
    ///
    /// ```
    /// # use streams_core::{Consumed, StreamsBuilder};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("amounts", Consumed::new()).print("amounts");
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn print(&self, label: &str)
    where
        K: Debug,
        V: Debug,
    {
        let label = label.to_owned();
        let action = move |key: &K, value: &V| println!("[{label}]: {key:?}, {value:?}");
        self.add("KSTREAM-PRINTER-", peek_node(action), Location::caller());
    }

    /// The records of both streams in one, in no particular order between them.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let web = builder.stream::<String, String>("web-orders", Consumed::new());
    /// let shop = builder.stream::<String, String>("shop-orders", Consumed::new());
    /// web.merge(&shop).to("orders", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (web, shop) = (driver.input("web-orders", Utf8, Utf8), driver.input("shop-orders", Utf8, Utf8));
    /// # let output = driver.output("orders", Utf8, Utf8);
    /// driver.pipe(&web, "1", "a book")?;
    /// driver.pipe(&shop, "2", "a pen")?;
    /// assert_eq!(driver.read_values(&output)?, ["a book", "a pen"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn merge<P2: Partitioning>(&self, other: &KStream<K, V, P2>) -> KStream<K, V, P::Or<P2>> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(self.name.as_deref(), "KSTREAM-MERGE-");
        let node = graph.add_processor(
            name,
            vec![self.node, other.node],
            stream_node::<K, V>(|scope, id| {
                Ok(Box::new(Merge {
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        self.behind(
            node,
            self.key.clone().or_else(|| other.key.clone()),
            self.value.clone().or_else(|| other.value.clone()),
        )
    }

    /// Splits the stream into branches by predicates; a record goes to the first whose predicate holds.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let branches = builder
    ///     .stream::<String, i64>("amounts", Consumed::new())
    ///     .named("by-sign-")
    ///     .split()
    ///     .branch("debit", |_, amount| *amount < 0)
    ///     .branch("credit", |_, amount| *amount > 0)
    ///     .default_branch("zero");
    /// branches.get("debit").to("debits", Produced::new());
    /// branches.get("by-sign-zero").to("zeros", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("amounts", Utf8, I64);
    /// # let (debits, zeros) = (driver.output("debits", Utf8, I64), driver.output("zeros", Utf8, I64));
    /// for amount in [-5, 7, 0] {
    ///     driver.pipe(&input, "a", &amount)?;
    /// }
    /// assert_eq!(driver.read_values(&debits)?, [-5]);
    /// assert_eq!(driver.read_values(&zeros)?, [0]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self) -> BranchedKStream<K, V, P> {
        let name = self
            .graph
            .borrow_mut()
            .name_or(self.name.as_deref(), "KSTREAM-BRANCH-");
        BranchedKStream::new(self, name, Location::caller())
    }

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
    pub fn to(&self, topic: impl Into<String>, produced: Produced<K, V>) {
        let topic = TopicName::External(topic.into().into());
        self.add_sink(Some(topic), None, produced, Location::caller());
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
        produced: Produced<K, V>,
    ) {
        let extractor: TopicExtractor<K, V> = Arc::new(extractor);
        self.add_sink(None, Some(extractor), produced, Location::caller());
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
        let factory = stream_node::<K, V>(move |scope, _| {
            Ok(Box::new(Sink {
                target: match (&target, &extractor) {
                    (Some(topic), _) => Target::Topic(topic.full_name(scope.application_id)),
                    (None, Some(extractor)) => Target::Extractor(extractor.clone()),
                    (None, None) => unreachable!("a sink has a topic or an extractor"),
                },
                key: produced.key.clone(),
                value: produced.value.clone(),
                partitioner: produced.partitioner.clone(),
                partition_count: None,
                skip_null_keys: false,
            }))
        });
        graph.add_sink(name, self.node, topic, factory, location);
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
    pub fn to_table<R: 'static, S: ValueSerde<R>>(
        &self,
        materialized: Materialized<S>,
    ) -> KTable<K, R, Deletable>
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
        table::add_table_source(
            &mut graph,
            &self.graph,
            parent,
            name,
            SourceStore {
                name: store_name,
                options: materialized.options,
                wanted: materialized.name.is_some(),
            },
            (key, row),
            location,
        )
    }

    /// Runs user code with stores, timers and any output: see the [Processor API](crate::processor).
    ///
    /// `supplier` makes a processor for each task; `stores` names the stores it uses.
    #[track_caller]
    pub fn process<K2: 'static, V2: 'static, Q: Processor<K, V, K2, V2>>(
        &self,
        supplier: impl Fn() -> Q + Send + Sync + 'static,
        stores: &[&str],
    ) -> KStream<K2, V2, Rekeyed> {
        let location = Location::caller();
        let node = self.add_processor(
            "KSTREAM-PROCESSOR-",
            stream_node::<K, V>(move |scope, id| {
                let process = Process {
                    processor: supplier(),
                    name: scope.node(id).name.clone(),
                    punctuated: scope.punctuates.len(),
                    stores: connected_stores(scope, id),
                    children: Default::default(),
                    input: PhantomData::<fn((K, V))>,
                };
                let node = Rc::new(RefCell::new(process));
                scope
                    .punctuates
                    .push(node.clone() as Rc<RefCell<dyn Punctuate>>);
                let children = scope.stream_children(id)?;
                node.borrow_mut().children = children;
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, V>>)
            }),
            location,
        );
        self.connect(node, stores, location);
        self.behind(node, None, None)
    }

    /// Runs user code that changes values and keeps keys, so that nothing needs repartitioning behind it.
    ///
    /// ```
    /// use streams_core::processor::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord};
    /// use streams_core::serdes::{F64, Utf8};
    /// use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
    /// use streams_core::{Consumed, Produced, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// /// How much a value changed since the last one.
    /// struct Delta(StoreHandle<KeyValueStore<String, f64>>);
    ///
    /// impl FixedKeyProcessor<String, f64, f64> for Delta {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<'_, String, f64>,
    ///         context: &mut FixedKeyContext<'_, '_, String, f64>,
    ///     ) -> Result<()> {
    ///         let mut last = context.store(&self.0)?;
    ///         let before = last.get(record.key())?;
    ///         last.put(record.key(), *record.value())?;
    ///         match before {
    ///             Some(before) => context.forward(record.with_value(&(record.value() - before))),
    ///             None => Ok(()),
    ///         }
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let last = builder.add_state_store(Stores::key_value("last", Utf8, F64));
    /// let name = last.name().to_owned();
    /// builder
    ///     .stream("meters", Consumed::with(Utf8, F64))
    ///     .process_values(move || Delta(last.clone()), &[&name])
    ///     .to("consumption", Produced::with(Utf8, F64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("meters", Utf8, F64), driver.output("consumption", Utf8, F64));
    /// driver.pipe(&input, "m1", &10.0)?;
    /// driver.pipe(&input, "m1", &12.5)?;
    /// assert_eq!(driver.read_values(&output)?, [2.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn process_values<V2: 'static, Q: FixedKeyProcessor<K, V, V2>>(
        &self,
        supplier: impl Fn() -> Q + Send + Sync + 'static,
        stores: &[&str],
    ) -> KStream<K, V2, P> {
        let location = Location::caller();
        let node = self.add_processor(
            "KSTREAM-PROCESSVALUES-",
            stream_node::<K, V>(move |scope, id| {
                let process = Process {
                    processor: supplier(),
                    name: scope.node(id).name.clone(),
                    punctuated: scope.punctuates.len(),
                    stores: connected_stores(scope, id),
                    children: Default::default(),
                    input: PhantomData::<fn((K, V))>,
                };
                let node = Rc::new(RefCell::new(ProcessValues(process)));
                scope
                    .punctuates
                    .push(node.clone() as Rc<RefCell<dyn Punctuate>>);
                let children = scope.stream_children(id)?;
                node.borrow_mut().0.children = children;
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, V>>)
            }),
            location,
        );
        self.connect(node, stores, location);
        self.behind(node, self.key.clone(), None)
    }

    fn connect(&self, node: NodeId, stores: &[&str], location: &'static Location<'static>) {
        let mut graph = self.graph.borrow_mut();
        for name in stores {
            match graph.store_named(name) {
                Some(store) => graph.connect(node, store),
                None => graph.fail(crate::Error::topology(format!(
                    "there is no store '{name}' for the processor at {location}: add it with `StreamsBuilder::add_state_store` first"
                ))),
            }
        }
    }

    /// Groups by the key there is. A stream whose keys may have changed goes through a repartition topic first, with the
    /// default serdes; see [`KStream::group_by_key_with`] for others.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .count()
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("clicks", Utf8, Utf8), driver.output("clicks-per-user", Utf8, I64));
    /// driver.pipe(&input, "ann", "home")?;
    /// driver.pipe(&input, "ann", "cart")?;
    /// assert_eq!(driver.read_values(&output)?, [1, 2]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn group_by_key(&self) -> KGroupedStream<K, V>
    where
        P: RepartitionSerdes<K, V>,
    {
        match P::serdes() {
            None => KGroupedStream::new(self.graph.clone(), self.node, self.known_key(), None),
            Some((key, value)) => KGroupedStream::new(
                self.graph.clone(),
                self.node,
                key,
                Some(Regroup { value, name: None }),
            ),
        }
    }

    /// As [`KStream::group_by_key`], with serdes and a name for the repartition topic, should one be needed.
    pub fn group_by_key_with(&self, grouped: Grouped<K, V>) -> KGroupedStream<K, V> {
        let regroup = P::REKEYED.then_some(Regroup {
            value: grouped.value,
            name: grouped.name,
        });
        KGroupedStream::new(self.graph.clone(), self.node, grouped.key, regroup)
    }

    /// Groups by another key, always through a repartition topic.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("people", Consumed::new())
    ///     .group_by(|_id, city| city.clone(), Grouped::new())
    ///     .count()
    ///     .to_stream()
    ///     .to("inhabitants", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("people", Utf8, Utf8), driver.output("inhabitants", Utf8, I64));
    /// driver.pipe(&input, "1", "mosbach")?;
    /// driver.pipe(&input, "2", "mosbach")?;
    /// assert_eq!(driver.read_key_values(&output)?.last(), Some(&("mosbach".to_owned(), 2)));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn group_by<K2: 'static>(
        &self,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        grouped: Grouped<K2, V>,
    ) -> KGroupedStream<K2, V> {
        let given = self.name.as_deref().or(grouped.name.as_deref());
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(given, "KSTREAM-KEY-SELECT-");
        let node = graph.add_processor(
            name,
            vec![self.node],
            select_key_node(selector),
            Location::caller(),
        );
        KGroupedStream::new(
            self.graph.clone(),
            node,
            grouped.key,
            Some(Regroup {
                value: grouped.value,
                name: grouped.name,
            }),
        )
    }

    /// The key's serde of a stream that was not rekeyed.
    pub(crate) fn known_key(&self) -> BoxSerde<K> {
        self.key
            .clone()
            .expect("a partitioned stream has the key it was read with")
    }
}

/// What stands for a nullable value: `Option<R>` is optional in `R`.
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

fn select_key_node<K: 'static, V: 'static, K2: 'static>(
    selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
) -> OperatorFactory {
    let selector = Arc::new(selector);
    stream_node::<K, V>(move |scope, id| {
        Ok(Box::new(SelectKey {
            selector: selector.clone(),
            children: scope.stream_children(id)?,
        }))
    })
}

fn peek_node<K: 'static, V: 'static>(
    action: impl Fn(&K, &V) + Send + Sync + 'static,
) -> OperatorFactory {
    let action = Arc::new(action);
    stream_node::<K, V>(move |scope, id| {
        Ok(Box::new(Peek {
            action: action.clone(),
            children: scope.stream_children(id)?,
        }))
    })
}

/// The stores a node is connected to, by name, with their index in the task.
fn connected_stores(scope: &Scope<'_>, id: NodeId) -> Vec<(String, usize)> {
    scope
        .node(id)
        .stores
        .iter()
        .map(|store| {
            (
                scope.parts.stores[*store].name.clone(),
                scope.local_store(*store),
            )
        })
        .collect()
}

/// What a repartition topic is made of.
pub(crate) struct RepartitionParts<K, V> {
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) partition_count: Option<i32>,
    pub(crate) partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
}

/// Adds filter, sink and source of a repartition topic behind a node, and returns the source. Records without a key stay
/// behind unless something behind the topic makes use of them.
pub(crate) fn add_repartition<K: 'static, V: 'static>(
    graph: &GraphRef,
    parent: NodeId,
    base: &str,
    parts: RepartitionParts<K, V>,
    location: &'static Location<'static>,
) -> NodeId {
    let mut graph = graph.borrow_mut();
    let generated = (
        graph.new_name("KSTREAM-SINK-"),
        graph.new_name("KSTREAM-FILTER-"),
        graph.new_name("KSTREAM-SOURCE-"),
    );
    let topic = graph.internal_topic(base, parts.partition_count);
    let (sink_name, filter_name, source_name) = match is_generated(base) {
        true => generated,
        false => (
            format!("{}-sink", topic.base),
            format!("{}-filter", topic.base),
            format!("{}-source", topic.base),
        ),
    };
    let topic = TopicName::Internal(topic);
    let filter = graph.add_processor(
        filter_name,
        vec![parent],
        stream_node::<K, V>(|scope, id| {
            Ok(Box::new(Merge {
                children: scope.stream_children(id)?,
            }))
        }),
        location,
    );
    let (key, value, target) = (parts.key.clone(), parts.value.clone(), topic.clone());
    let partitioner = parts.partitioner;
    graph.add_sink(
        sink_name,
        filter,
        Some(topic.clone()),
        stream_node::<K, V>(move |scope, id| {
            Ok(Box::new(Sink {
                target: Target::Topic(target.full_name(scope.application_id)),
                key: key.clone(),
                value: value.clone(),
                partitioner: partitioner.clone(),
                partition_count: None,
                skip_null_keys: !scope.node(id).leads_to_null_keys,
            }))
        }),
        location,
    );
    add_source(
        &mut graph,
        source_name,
        vec![topic],
        parts.key,
        parts.value,
        Arc::new(FailOnInvalidTimestamp),
        Some(crate::topology::OffsetReset::Earliest),
        location,
    )
}

/// Whether a repartition topic's base name was generated, as Java's pattern `KSTREAM.*-[0-9]{10}` tells.
fn is_generated(base: &str) -> bool {
    base.starts_with("KSTREAM")
        && base.rsplit_once('-').is_some_and(|(_, digits)| {
            digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_digit())
        })
}
