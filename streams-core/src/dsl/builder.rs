//! `StreamsBuilder`: topics in, topology out.

use super::options::{Consumed, Materialized, NoHistory};
use super::partitioning::Partitioned;
use super::stream::KStream;
use super::table::{Deletable, KTable, RowState, Versioned};
use super::table_store::{SourceStore, add_table_source};
use super::{GlobalKTable, GraphRef};
use crate::StreamsConfig;
use crate::error::Result;
use crate::operators::StreamChildren;
use crate::serdes::{BoxSerde, Nullable};
use crate::stores::{
    StoreBuilder, StoreHandle, StoreOptions, StoreParts, StoreType, key_value_parts,
};
use crate::task::source::{Input, TypedInput};
use crate::timestamp_extractor::TimestampExtractor;
use crate::topology::build::{BuildOptions, Graph};
use crate::topology::node::SourceFactory;
use crate::topology::topic::RecordTypes;
use crate::topology::{
    GlobalStoreDefinition, NodeId, OffsetReset, Scope, StoreDefinition, TopicName, Topology,
};
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::{StoreBackend, StoreKind, WindowOrder};

/// Writes a topology down.
///
/// Streams and tables are handles: each call on them adds a node. What is wrong with a topology is reported once, by
/// [`StreamsBuilder::build`], with the line that wrote it.
///
/// ```
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Grouped, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("lines", Consumed::with(Utf8, Utf8))
///     .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone(), Grouped::with(Utf8, Utf8))
///     .count()
///     .to_stream()
///     .to("counts", Produced::with(Utf8, I64));
///
/// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// let lines = driver.input("lines", Utf8, Utf8);
/// let counts = driver.output("counts", Utf8, I64);
/// driver.pipe(&lines, "", "to be or not to be")?;
/// assert_eq!(driver.read_map(&counts)?["be"], 2);
/// # Ok::<(), streams_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct StreamsBuilder {
    pub(crate) graph: GraphRef,
}

/// One topic or several.
pub trait IntoTopics {
    /// Their names.
    fn into_topics(self) -> Vec<String>;
}

impl IntoTopics for &str {
    fn into_topics(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoTopics for String {
    fn into_topics(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoTopics for &String {
    fn into_topics(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl<T: Into<String>, const N: usize> IntoTopics for [T; N] {
    fn into_topics(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<String>> IntoTopics for Vec<T> {
    fn into_topics(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl StreamsBuilder {
    /// An empty topology.
    pub fn new() -> Self {
        StreamsBuilder {
            graph: Rc::new(RefCell::new(Graph::default())),
        }
    }

    /// Keeps all stores of this topology's tables, aggregations and joins there, but for those with a place of their own: on
    /// disk, in memory, or in stores of one's own. Without it they are where the setting `default.dsl.store` says, in RocksDB by
    /// default. Stores of processors are where [`Stores`](crate::stores::Stores) put them.
    ///
    /// Kafka Streams' `dsl.store.suppliers.class` for one topology (KIP-954).
    ///
    /// ```
    /// use streams_core::{Consumed, Materialized, StoreBackend, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new().with_store_backend(StoreBackend::Memory);
    /// let clicks = builder.stream::<String, String>("clicks", Consumed::new()).group_by_key();
    /// clicks.count_with(Materialized::named("in-memory"));
    /// clicks.count_with(Materialized::named("on-disk").with_backend(StoreBackend::RocksDb));
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn with_store_backend(self, backend: StoreBackend) -> Self {
        self.graph.borrow_mut().store_backend = Some(backend);
        self
    }

    /// The records of a topic, or of several topics of the same types.
    ///
    /// A null where the type has none goes to the deserialization handler; [`Nullable`] serdes read it as `None`.
    ///
    /// ```
    /// use streams_core::serdes::{Json, Utf8};
    /// use streams_core::{Consumed, KStream, StreamsBuilder};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Reading {
    ///     temperature: f64,
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let readings: KStream<String, Reading> = builder.stream("weather", Consumed::with(Utf8, Json));
    /// let both: KStream<String, String> = builder.stream(["a", "b"], Consumed::new());
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn stream<K: 'static, V: 'static>(
        &self,
        topics: impl IntoTopics,
        consumed: Consumed<K, V>,
    ) -> KStream<K, V, Partitioned> {
        let topics: Vec<TopicName> = topics
            .into_topics()
            .into_iter()
            .map(|topic| TopicName::External(topic.into()))
            .collect();
        let mut graph = self.graph.borrow_mut();
        if topics.is_empty() {
            graph.fail(crate::Error::topology(format!(
                "a stream at {} reads no topic: name at least one",
                Location::caller()
            )));
        }
        let name = graph.name_or(consumed.name.as_deref(), "KSTREAM-SOURCE-");
        let node = add_source(
            &mut graph,
            name,
            topics,
            consumed.key.clone(),
            consumed.value.clone(),
            consumed.extractor,
            consumed.offset_reset,
            Location::caller(),
        );
        graph.set_stream(node, RecordTypes::of::<K, V>());
        KStream::new(
            self.graph.clone(),
            node,
            Some(consumed.key),
            Some(consumed.value),
        )
    }

    /// The rows of a topic: the last value of each key, a null value deletes.
    ///
    /// A store is made only when the table is looked into (a join, a grouping) or named by `materialized`. The value serde
    /// comes from `consumed`; what `materialized` says about it is not used.
    ///
    /// ```
    /// use streams_core::serdes::{F64, Utf8};
    /// use streams_core::{Consumed, Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, f64>("prices", Consumed::with(Utf8, F64), Materialized::new());
    /// prices.to_stream().for_each(|item, price| match price {
    ///     Some(price) => println!("{item} costs {price}"),
    ///     None => println!("{item} is gone"),
    /// });
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn table<K: 'static, V: 'static>(
        &self,
        topic: impl Into<String>,
        consumed: Consumed<K, V>,
        materialized: Materialized<impl Sized, impl NoHistory>,
    ) -> KTable<K, V, Deletable> {
        self.add_table(topic.into(), consumed, materialized, Location::caller())
    }

    /// The rows of a topic with their history: as [`StreamsBuilder::table`] with a
    /// [`Materialized::versioned`] store, which is always made.
    ///
    /// A record that is behind its row's latest version becomes an earlier version, and does not change what the row is now;
    /// one that is older than the history retention is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streams_core::serdes::{F64, Utf8};
    /// use streams_core::{Consumed, Materialized, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.versioned_table::<String, f64>(
    ///     "prices",
    ///     Consumed::with(Utf8, F64),
    ///     Materialized::versioned("prices", Duration::from_secs(60 * 60)),
    /// );
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn versioned_table<K: 'static, V: 'static>(
        &self,
        topic: impl Into<String>,
        consumed: Consumed<K, V>,
        materialized: Materialized<impl Sized, Versioned>,
    ) -> KTable<K, V, Versioned> {
        self.add_table(topic.into(), consumed, materialized, Location::caller())
    }

    fn add_table<K: 'static, V: 'static, T: RowState>(
        &self,
        topic: String,
        consumed: Consumed<K, V>,
        materialized: Materialized<impl Sized, impl Sized>,
        location: &'static Location<'static>,
    ) -> KTable<K, V, T> {
        let topic: Arc<str> = topic.into();
        let mut graph = self.graph.borrow_mut();
        let store_name = match &materialized.name {
            Some(name) => {
                graph.check_name(name);
                name.clone()
            }
            None => graph.new_name(&format!("{topic}-STATE-STORE-")),
        };
        let generated = graph.new_name("KSTREAM-SOURCE-");
        let name = graph.name_or(consumed.name.as_deref(), "KTABLE-SOURCE-");
        let source_name = match &consumed.name {
            Some(name) => format!("{name}-source"),
            None => generated,
        };
        let value: BoxSerde<Option<V>> = Arc::new(Nullable(consumed.value.clone()));
        let extractor = OptionalExtractor(consumed.extractor);
        let source = add_source(
            &mut graph,
            source_name,
            vec![TopicName::External(topic.clone())],
            consumed.key.clone(),
            value,
            Arc::new(extractor),
            consumed.offset_reset,
            location,
        );
        add_table_source(
            &mut graph,
            &self.graph,
            source,
            name,
            SourceStore {
                name: store_name,
                queryable: materialized.name.is_some(),
                options: materialized.options,
                history: materialized.history,
                wanted: materialized.name.is_some(),
                topic: Some(topic),
            },
            (consumed.key, consumed.value),
            location,
        )
    }

    /// A table that every instance holds whole, whatever the partitioning, filled before any record is processed.
    ///
    /// It has no changelog: it is read again from its topic. Its rows keep the timestamps of their records.
    ///
    /// ```
    /// use streams_core::serdes::Utf8;
    /// use streams_core::{Consumed, Materialized, Produced, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// let countries =
    ///     builder.global_table::<String, String>("countries", Consumed::with(Utf8, Utf8), Materialized::new());
    /// builder
    ///     .stream::<String, String>("visits", Consumed::new())
    ///     .join_global(&countries, |_page, code| code.clone(), |_page, _code, country| country.clone())
    ///     .to("visited-countries", Produced::with(Utf8, Utf8));
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn global_table<K: 'static, V: 'static>(
        &self,
        topic: impl Into<String>,
        consumed: Consumed<K, V>,
        materialized: Materialized<impl Sized, impl NoHistory>,
    ) -> GlobalKTable<K, V> {
        let location = Location::caller();
        let topic: Arc<str> = topic.into().into();
        let mut graph = self.graph.borrow_mut();
        let store_name = match &materialized.name {
            Some(name) => {
                graph.check_name(name);
                name.clone()
            }
            None => graph.new_name(&format!("{topic}-STATE-STORE-")),
        };
        let generated = graph.new_name("KSTREAM-SOURCE-");
        let processor_name = graph.name_or(consumed.name.as_deref(), "KTABLE-SOURCE-");
        let source_name = match &consumed.name {
            Some(name) => format!("{name}-source"),
            None => generated,
        };
        let options = StoreOptions {
            logging: None,
            ..materialized.options
        };
        let parts = key_value_parts(consumed.key.clone(), consumed.value.clone(), true);
        let (key, value) = (consumed.key.clone(), consumed.value.clone());
        let store = store_name.as_str().into();
        let index = graph.add_global_store(
            GlobalStoreDefinition {
                store: Arc::new(store_definition(store_name, parts, options, location)),
                topic,
                sub_topology: 0,
                source_name,
                processor_name,
                check: Arc::new(move |key_bytes, value_bytes| {
                    key.deserialize(key_bytes)?;
                    if let Some(value_bytes) = value_bytes {
                        value.deserialize(value_bytes)?;
                    }
                    Ok(())
                }),
                update: None,
            },
            location,
        );
        GlobalKTable::new(index, store, consumed.key, consumed.value)
    }

    /// Adds a store for processors to use; it is opened once a processor is connected to it.
    ///
    /// See the [Processor API](crate::processor) for an example.
    #[track_caller]
    pub fn add_state_store<S: StoreType>(&self, store: StoreBuilder<S>) -> StoreHandle<S> {
        let location = Location::caller();
        let mut graph = self.graph.borrow_mut();
        graph.check_name(&store.name);
        let handle = StoreHandle::named(&store.name);
        let definition = StoreDefinition {
            elides_tombstones: false,
            ..store_definition(store.name, store.parts, store.options, location)
        };
        graph.add_store(definition, Rc::new(Cell::new(true)));
        handle
    }

    /// The finished topology. The builder is empty afterwards.
    ///
    /// # Errors
    /// The first mistake made while writing it down, with the line that made it: an invalid or repeated name, a topic read
    /// twice, a store nobody uses, no source at all.
    pub fn build(&self) -> Result<Topology> {
        self.graph.borrow_mut().build(BuildOptions::default())
    }

    /// As [`StreamsBuilder::build`], with what a configuration says about topologies:
    ///
    /// * `topology.optimization`: `none`, `all`, or names of optimisations with commas between them.
    ///   * `reuse.ktable.source.topics`: the topic of a [`StreamsBuilder::table`] serves as the changelog of its store.
    ///   * `merge.repartition.topics`: operations that each need a repartition topic behind the same change of keys share
    ///     one, called after the first.
    ///   * `single.store.self.join`: an inner join of a stream with itself keeps its records once.
    /// * `ensure.explicit.internal.resource.naming`: whether stores, changelogs and repartition topics whose names were
    ///   generated are an error (KIP-1111).
    ///
    /// Kafka Streams' `StreamsBuilder#build(Properties)`. An application that runs already may have other topics and stores
    /// afterwards: reset it first.
    ///
    /// ```
    /// use streams_core::{Consumed, KStream, StreamsBuilder, StreamsConfig};
    ///
    /// let builder = StreamsBuilder::new();
    /// let words = builder
    ///     .stream::<String, String>("words", Consumed::new())
    ///     .select_key(|_, word| word.to_lowercase());
    /// words.group_by_key().count();
    /// words.group_by_key().reduce(|_, last| last.clone());
    ///
    /// let config = StreamsConfig::new("app").set("topology.optimization", "merge.repartition.topics")?;
    /// let topology = builder.build_with(&config)?;
    /// assert_eq!(topology.describe().matches("-repartition)").count(), 1);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`StreamsBuilder::build`], and the list of generated names if there are to be none.
    pub fn build_with(&self, config: &StreamsConfig) -> Result<Topology> {
        self.graph.borrow_mut().build(BuildOptions {
            optimization: config.topology_optimization(),
            explicit_names: config.ensure_explicit_internal_resource_naming(),
        })
    }
}

/// A store as the topology keeps it.
pub(crate) fn store_definition(
    name: String,
    parts: StoreParts,
    options: StoreOptions,
    location: &'static Location<'static>,
) -> StoreDefinition {
    let is_anywhere = options.backend.is_none();
    let backend = options.backend.unwrap_or(StoreBackend::RocksDb);
    // What Kafka Streams keeps in memory has timestamps whatever its supplier made it for.
    let is_plain = options.plain && !matches!(backend, StoreBackend::Memory);
    StoreDefinition {
        spec: parts.spec(&name, backend),
        is_anywhere,
        max_entries: options.max_entries,
        timestamped: parts.timestamped && !is_plain,
        timed: parts.timestamped,
        // Each version counts, so there is nothing to collect.
        cached: options.cached && !matches!(parts.kind, StoreKind::Versioned(_)),
        // Nobody listens to the flushes of windows that are sent when they close.
        elides_tombstones: !matches!(
            &parts.kind,
            StoreKind::Window(spec) if spec.order == WindowOrder::ByTime
        ),
        suppresses: false,
        changelog: parts.changelog(options.logging.as_ref()),
        state: parts.state,
        name,
        location,
    }
}

/// Adds a source node of these topics and types.
#[allow(clippy::too_many_arguments)]
pub(crate) fn add_source<K: 'static, V: 'static>(
    graph: &mut Graph,
    name: String,
    topics: Vec<TopicName>,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    extractor: Arc<dyn TimestampExtractor<K, V>>,
    offset_reset: Option<OffsetReset>,
    location: &'static Location<'static>,
) -> NodeId {
    let factory = source_factory(topics.len(), key, value, extractor);
    graph.add_source(name, topics, offset_reset, factory, location)
}

/// What makes the inputs of a source of so many topics.
pub(crate) fn source_factory<K: 'static, V: 'static>(
    topic_count: usize,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    extractor: Arc<dyn TimestampExtractor<K, V>>,
) -> SourceFactory {
    Arc::new(move |scope: &mut Scope<'_>, id: NodeId| {
        let children: Rc<RefCell<StreamChildren<K, V>>> =
            Rc::new(RefCell::new(scope.stream_children(id)?));
        Ok((0..topic_count)
            .map(|_| {
                Box::new(TypedInput {
                    key: key.clone(),
                    value: value.clone(),
                    extractor: extractor.clone(),
                    slot: None,
                    children: children.clone(),
                }) as Box<dyn Input>
            })
            .collect())
    })
}

/// The extractor of a table's topic, whose deletions have no value: those keep their record's timestamp.
struct OptionalExtractor<K, V>(Arc<dyn TimestampExtractor<K, V>>);

impl<K: 'static, V: 'static> TimestampExtractor<K, Option<V>> for OptionalExtractor<K, V> {
    fn extract(
        &self,
        record: &crate::timestamp_extractor::ExtractorRecord<'_, K, Option<V>>,
        partition_time_ms: i64,
    ) -> Result<i64> {
        match record.value {
            None => Ok(record.timestamp),
            Some(value) => self.0.extract(
                &crate::timestamp_extractor::ExtractorRecord {
                    key: record.key,
                    value,
                    timestamp: record.timestamp,
                    headers: record.headers,
                    topic: record.topic,
                    partition: record.partition,
                    offset: record.offset,
                    system_time_ms: record.system_time_ms,
                },
                partition_time_ms,
            ),
        }
    }
}
