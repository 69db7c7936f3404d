//! Joins of a stream with tables.

use super::GlobalKTable;
use super::builder::store_definition;
use super::options::Joined;
use super::partitioning::{Partitioned, Partitioning, RepartitionSerdes};
use super::repartition::repartition_for_join;
use super::same_key::SameKey;
use super::stream::KStream;
use super::stream_node;
use super::table::{KTable, RowState};
use crate::error::Error;
use crate::operators::StreamOperator;
use crate::operators::global_table_join::GlobalTableJoin;
use crate::operators::stream_table_grace_join::StreamTableGraceJoin;
use crate::operators::stream_table_join::StreamTableJoin;
use crate::serdes::BoxSerde;
use crate::stores::{StoreOptions, StoreParts, duration_ms};
use crate::task::stores::{AnyState, GraceBufferState};
use crate::topology::NodeId;
use crate::topology::build::Graph;
use crate::topology::store::StateArguments;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streams_state::{StoreBackend, StoreKind};

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Joins each record with the row its key has in the table now; a record without one makes no result.
    ///
    /// Only records of the stream make results, with their own timestamp. Stream and table must have the same number of
    /// partitions.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let regions = builder.table::<String, String>("user-regions", Consumed::new(), Materialized::new());
    /// builder
    ///     .stream::<String, String>("page-views", Consumed::new())
    ///     .join(&regions, |page, region| format!("{page} from {region}"))
    ///     .to("views", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (table, views) = (driver.input("user-regions", Utf8, Utf8), driver.input("page-views", Utf8, Utf8));
    /// # let output = driver.output("views", Utf8, Utf8);
    /// driver.pipe(&views, "ann", "home")?;
    /// driver.pipe(&table, "ann", "asia")?;
    /// driver.pipe(&views, "ann", "cart")?;
    /// assert_eq!(driver.read_values(&output)?, ["cart from asia"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn join<K2: SameKey<K>, V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K2, V2, T>,
        joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
    ) -> KStream<K, VOut, Partitioned>
    where
        P: RepartitionSerdes<K, V>,
    {
        self.joined(
            K2::table(table),
            move |_: &K, value: &V, row: Option<&V2>| row.map(|row| joiner(value, row)),
            Kind::Inner,
            JoinOptions::by_default::<P>(),
            Location::caller(),
        )
    }

    /// As [`KStream::join`], with serdes and a name for the repartition topic, should one be needed.
    #[track_caller]
    pub fn join_with<K2: SameKey<K>, V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K2, V2, T>,
        joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, VOut, Partitioned> {
        self.joined(
            K2::table(table),
            move |_: &K, value: &V, row: Option<&V2>| row.map(|row| joiner(value, row)),
            Kind::Inner,
            JoinOptions::given::<P>(joined),
            Location::caller(),
        )
    }

    /// As [`KStream::join_with`], with a joiner that sees the key.
    ///
    /// ```
    /// # use streams_core::{Consumed, Joined, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let regions = builder.table::<String, String>("user-regions", Consumed::new(), Materialized::new());
    /// builder
    ///     .stream::<String, String>("page-views", Consumed::new())
    ///     .join_with_key(
    ///         &regions,
    ///         |user, page, region| format!("{page} by {user} from {region}"),
    ///         Joined::new(),
    ///     )
    ///     .to("views", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (table, views) = (driver.input("user-regions", Utf8, Utf8), driver.input("page-views", Utf8, Utf8));
    /// # let output = driver.output("views", Utf8, Utf8);
    /// driver.pipe(&table, "ann", "asia")?;
    /// driver.pipe(&views, "ann", "cart")?;
    /// assert_eq!(driver.read_values(&output)?, ["cart by ann from asia"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn join_with_key<K2: SameKey<K>, V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K2, V2, T>,
        joiner: impl Fn(&K, &V, &V2) -> VOut + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, VOut, Partitioned> {
        self.joined(
            K2::table(table),
            move |key: &K, value: &V, row: Option<&V2>| row.map(|row| joiner(key, value, row)),
            Kind::Inner,
            JoinOptions::given::<P>(joined),
            Location::caller(),
        )
    }

    /// As [`KStream::join`], but a record without a row makes a result too: the joiner gets `None` for it.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let regions = builder.table::<String, String>("user-regions", Consumed::new(), Materialized::new());
    /// builder
    ///     .stream::<String, String>("page-views", Consumed::new())
    ///     .left_join(&regions, |page, region| {
    ///         format!("{page} from {}", region.map_or("somewhere", String::as_str))
    ///     })
    ///     .to("views", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let views = driver.input("page-views", Utf8, Utf8);
    /// # let output = driver.output("views", Utf8, Utf8);
    /// driver.pipe(&views, "ann", "home")?;
    /// assert_eq!(driver.read_values(&output)?, ["home from somewhere"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn left_join<K2: SameKey<K>, V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K2, V2, T>,
        joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
    ) -> KStream<K, VOut, Partitioned>
    where
        P: RepartitionSerdes<K, V>,
    {
        self.joined(
            K2::table(table),
            move |_: &K, value: &V, row: Option<&V2>| Some(joiner(value, row)),
            Kind::Left,
            JoinOptions::by_default::<P>(),
            Location::caller(),
        )
    }

    /// As [`KStream::left_join`], with serdes and a name for the repartition topic, should one be needed.
    #[track_caller]
    pub fn left_join_with<K2: SameKey<K>, V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K2, V2, T>,
        joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, VOut, Partitioned> {
        self.joined(
            K2::table(table),
            move |_: &K, value: &V, row: Option<&V2>| Some(joiner(value, row)),
            Kind::Left,
            JoinOptions::given::<P>(joined),
            Location::caller(),
        )
    }

    /// As [`KStream::left_join_with`], with a joiner that sees the key.
    #[track_caller]
    pub fn left_join_with_key<K2: SameKey<K>, V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K2, V2, T>,
        joiner: impl Fn(&K, &V, Option<&V2>) -> VOut + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, VOut, Partitioned> {
        self.joined(
            K2::table(table),
            move |key: &K, value: &V, row: Option<&V2>| Some(joiner(key, value, row)),
            Kind::Left,
            JoinOptions::given::<P>(joined),
            Location::caller(),
        )
    }

    fn joined<V2: 'static, VOut: 'static, T: RowState>(
        &self,
        table: &KTable<K, V2, T>,
        joiner: impl Fn(&K, &V, Option<&V2>) -> Option<VOut> + Send + Sync + 'static,
        kind: Kind,
        options: JoinOptions<K, V>,
        location: &'static Location<'static>,
    ) -> KStream<K, VOut, Partitioned> {
        let JoinOptions {
            repartition,
            name,
            grace,
        } = options;
        let (parent, key) = match repartition {
            None => (self.node, self.known_key()),
            Some((key, value)) => {
                let serdes = (key.clone(), value);
                let source =
                    repartition_for_join(&self.graph, self.node, name.clone(), serdes, location);
                (source, key)
            }
        };
        let mut graph = self.graph.borrow_mut();
        let stores = (table.parts.stores)(&mut graph);
        let node_name = graph.name_or(self.take_name().or(name.as_deref()), kind.prefix());
        let buffer = grace.map(|grace| {
            let grace_ms = duration_ms(grace.duration);
            check_grace(&mut graph, table.parts.node, &stores, grace_ms, location);
            let definition = store_definition(
                format!("{node_name}-Buffer"),
                buffer_parts(),
                StoreOptions::of(StoreBackend::RocksDb, Some(BTreeMap::new())),
                location,
            );
            let store = graph.add_store(definition, Rc::new(Cell::new(true)));
            (store, grace_ms, grace.key, grace.value)
        });
        let buffer_store = buffer.as_ref().map(|(store, ..)| *store);
        let (getter, joiner) = (table.parts.getter.clone(), Arc::new(joiner));
        let node = graph.add_processor(
            node_name,
            vec![parent],
            stream_node::<K, V>(move |scope, id| {
                let table = getter(scope);
                let join = StreamTableJoin {
                    as_of_record: table.is_versioned(),
                    table,
                    joiner: joiner.clone(),
                    children: scope.stream_children(id)?,
                };
                Ok(match &buffer {
                    None => Box::new(join) as Box<dyn StreamOperator<K, V>>,
                    Some((store, grace_ms, key, value)) => Box::new(StreamTableGraceJoin {
                        join,
                        key: key.clone(),
                        value: value.clone(),
                        grace_ms: *grace_ms,
                        store: scope.local_store(*store),
                        key_bytes: Vec::new(),
                        value_bytes: Vec::new(),
                    }),
                })
            }),
            location,
        );
        if kind == Kind::Left {
            graph.take_null_keys(node);
        }
        for store in buffer_store.into_iter().chain(stores) {
            graph.connect(node, store);
        }
        graph.copartition(&[parent, table.parts.node]);
        KStream::new(self.graph.clone(), node, Some(key), None)
    }

    /// Joins each record with a row of a global table, whatever the partitioning; `selector` names the row.
    ///
    /// The joiner gets the record's key and value and the row. A record without a row makes no result. See
    /// [`StreamsBuilder::global_table`](crate::StreamsBuilder::global_table) for an example.
    #[track_caller]
    pub fn join_global<K2: 'static, V2: 'static, VOut: 'static>(
        &self,
        table: &GlobalKTable<K2, V2>,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, &V2) -> VOut + Send + Sync + 'static,
    ) -> KStream<K, VOut, P> {
        self.joined_global(
            table,
            selector,
            move |key: &K, value: &V, row: Option<&V2>| row.map(|row| joiner(key, value, row)),
            Kind::Inner,
            Location::caller(),
        )
    }

    /// As [`KStream::join_global`], but a record without a row makes a result too.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let countries = builder.global_table::<String, String>("countries", Consumed::new(), Materialized::new());
    /// builder
    ///     .stream::<String, String>("visits", Consumed::new())
    ///     .left_join_global(
    ///         &countries,
    ///         |_page, code| code.clone(),
    ///         |page, code, country| format!("{page}: {}", country.unwrap_or(code)),
    ///     )
    ///     .to("visits-by-country", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (names, visits) = (driver.input("countries", Utf8, Utf8), driver.input("visits", Utf8, Utf8));
    /// # let output = driver.output("visits-by-country", Utf8, Utf8);
    /// driver.pipe(&names, "de", "Germany")?;
    /// driver.pipe(&visits, "home", "de")?;
    /// driver.pipe(&visits, "home", "fr")?;
    /// assert_eq!(driver.read_values(&output)?, ["home: Germany", "home: fr"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn left_join_global<K2: 'static, V2: 'static, VOut: 'static>(
        &self,
        table: &GlobalKTable<K2, V2>,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&V2>) -> VOut + Send + Sync + 'static,
    ) -> KStream<K, VOut, P> {
        self.joined_global(
            table,
            selector,
            move |key: &K, value: &V, row: Option<&V2>| Some(joiner(key, value, row)),
            Kind::Left,
            Location::caller(),
        )
    }

    fn joined_global<K2: 'static, V2: 'static, VOut: 'static>(
        &self,
        table: &GlobalKTable<K2, V2>,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&V2>) -> Option<VOut> + Send + Sync + 'static,
        kind: Kind,
        location: &'static Location<'static>,
    ) -> KStream<K, VOut, P> {
        let (index, key, value) = (table.index, table.key.clone(), table.value.clone());
        let (selector, joiner) = (Arc::new(selector), Arc::new(joiner));
        // Java gives both kinds of this join the name of the left one.
        let node = self.add(
            Kind::Left.prefix(),
            stream_node::<K, V>(move |scope, id| {
                Ok(Box::new(GlobalTableJoin {
                    table: index,
                    key: key.clone(),
                    value: value.clone(),
                    key_bytes: Vec::new(),
                    selector: selector.clone(),
                    joiner: joiner.clone(),
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        if kind == Kind::Left {
            self.graph.borrow_mut().take_null_keys(node);
        }
        KStream::new(self.graph.clone(), node, self.key.clone(), None)
    }
}

/// What a join makes of a record without a row, and of one without a key: nothing, or a result all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Inner => "KSTREAM-JOIN-",
            Kind::Left => "KSTREAM-LEFTJOIN-",
        }
    }
}

/// What a join needs beside its inputs and its joiner.
struct JoinOptions<K, V> {
    /// Key and value serdes, if a repartition topic is needed.
    repartition: Option<(BoxSerde<K>, BoxSerde<V>)>,
    /// The name given to the repartition topic and the join.
    name: Option<String>,
    grace: Option<Grace<K, V>>,
}

/// How long records wait, and their serdes.
struct Grace<K, V> {
    duration: Duration,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
}

impl<K: 'static, V: 'static> JoinOptions<K, V> {
    fn by_default<P: RepartitionSerdes<K, V>>() -> Self {
        JoinOptions {
            repartition: P::serdes(),
            name: None,
            grace: None,
        }
    }

    fn given<P: Partitioning>(joined: Joined<K, V>) -> Self {
        let grace = joined.grace.map(|duration| Grace {
            duration,
            key: joined.key.clone(),
            value: joined.value.clone(),
        });
        JoinOptions {
            repartition: P::REKEYED.then_some((joined.key, joined.value)),
            name: joined.name,
            grace,
        }
    }
}

/// Records can only wait for a table that knows by then what it was at their time.
fn check_grace(
    graph: &mut Graph,
    table: NodeId,
    stores: &[usize],
    grace_ms: i64,
    location: &'static Location<'static>,
) {
    if !graph.is_versioned(table) {
        graph.fail(Error::topology(format!(
            "the join at {location} has a grace period, which needs a versioned table: keep the table with `Materialized::versioned`"
        )));
    }
    for store in stores {
        let (name, history) = graph.history_of(*store);
        if let Some(history_retention_ms) = history
            && grace_ms > history_retention_ms
        {
            graph.fail(Error::topology(format!(
                "the join at {location} has a grace period of {grace_ms} ms, but store '{name}' forgets after {history_retention_ms} ms: the history retention must be at least the grace period"
            )));
        }
    }
}

/// The store of records that wait.
fn buffer_parts() -> StoreParts {
    StoreParts {
        kind: StoreKind::KeyValue,
        timestamped: false,
        state: Arc::new(|arguments: &StateArguments| {
            Box::new(GraceBufferState::new(arguments)) as Box<dyn AnyState>
        }),
    }
}
