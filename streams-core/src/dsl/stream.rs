//! `KStream`: a stream of records and its verbs without state. Others are in `stream_topics`, `stream_processors`,
//! `stream_grouping` and `stream_joins`.

use super::branched::BranchedKStream;
use super::options::Named;
use super::partitioning::{Partitioned, Partitioning, Rekeyed};
use super::{GraphRef, stream_node};
use crate::operators::filter::Filter;
use crate::operators::flat_map::{FlatMap, FlatMapValues};
use crate::operators::map::{Map, SelectKey};
use crate::operators::map_values::MapValues;
use crate::operators::merge::Merge;
use crate::operators::peek::Peek;
use crate::serdes::BoxSerde;
use crate::topology::node::OperatorFactory;
use crate::topology::{NodeId, RecordEffect};
use std::marker::PhantomData;
use std::panic::Location;
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
    pub(super) name: Option<String>,
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

    /// As `add`, with what the node does to records.
    fn add_with_effect(
        &self,
        prefix: &str,
        effect: RecordEffect,
        factory: OperatorFactory,
        location: &'static Location<'static>,
    ) -> NodeId {
        let node = self.add(prefix, factory, location);
        self.graph.borrow_mut().set_effect(node, effect);
        node
    }

    /// Adds the node of user code, named as asked.
    pub(super) fn add_processor(
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

    pub(super) fn behind<K2, V2, P2>(
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
        let node = self.add_with_effect(
            "KSTREAM-FILTER-",
            RecordEffect::Passes,
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
        let node = self.add_with_effect(
            "KSTREAM-MAP-",
            RecordEffect::ChangesKeys,
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
        let node = self.add_with_effect(
            "KSTREAM-MAPVALUES-",
            RecordEffect::ChangesValues,
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
        let node = self.add_with_effect(
            "KSTREAM-FLATMAP-",
            RecordEffect::ChangesKeys,
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
        let node = self.add_with_effect(
            "KSTREAM-FLATMAPVALUES-",
            RecordEffect::ChangesValues,
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
        let node = self.add_with_effect(
            "KSTREAM-KEY-SELECT-",
            RecordEffect::ChangesKeys,
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
        let node = self.add_with_effect(
            "KSTREAM-PEEK-",
            RecordEffect::Passes,
            peek_node(action),
            Location::caller(),
        );
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
        // A stream merged with itself is that stream: Kafka Streams keeps parents as a set.
        let mut parents = vec![self.node, other.node];
        parents.dedup();
        let node = graph.add_processor(
            name,
            parents,
            stream_node::<K, V>(|scope, id| {
                Ok(Box::new(Merge {
                    children: scope.stream_children(id)?,
                }))
            }),
            Location::caller(),
        );
        graph.set_effect(node, RecordEffect::Merges);
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

    /// The key's serde of a stream that was not rekeyed.
    pub(crate) fn known_key(&self) -> BoxSerde<K> {
        self.key
            .clone()
            .expect("a partitioned stream has the key it was read with")
    }
}

pub(super) fn select_key_node<K: 'static, V: 'static, K2: 'static>(
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
