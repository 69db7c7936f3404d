//! Joins of two tables by a key that the left one's rows have in their values.

use super::builder::{add_source, store_definition};
use super::options::{History, Materialized, ValueSerde};
use super::table::{Deletable, KTable, RowState};
use super::table_joined::{ForeignKey, JoinedByDefault, TableJoined};
use super::table_store::{SourceStore, add_table_source};
use super::{stream_node, table_node};
use crate::operators::foreign_key_join::{
    ForeignTableJoin, JoinKind, Response, ResponseJoin, ResponseSerde, RowJoiner, Subscription,
    SubscriptionJoin, SubscriptionReceive, SubscriptionSend, SubscriptionSerde,
};
use crate::operators::sink::{Sink, Target};
use crate::partitioner::{Partitions, StreamPartitioner};
use crate::serdes::{BoxSerde, Nullable};
use crate::stores::{StoreOptions, StoreParts};
use crate::task::stores::{AnyState, SubscriptionState};
use crate::timestamp_extractor::FailOnInvalidTimestamp;
use crate::topology::build::Graph;
use crate::topology::node::OperatorFactory;
use crate::topology::store::StateArguments;
use crate::topology::{NodeId, OffsetReset, TopicName};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::StoreKind;

impl<K: 'static, V: 'static, T: RowState> KTable<K, V, T> {
    /// The rows of this table that refer to a row of the other one, joined with it. The closure returns the key of that row,
    /// or an `Option` of it where a row may refer to none (KIP-213).
    ///
    /// A change of either table changes the result, whose keys are those of this table. The tables may have different numbers
    /// of partitions: rows are sent to the partition of the row they refer to, and what that row is comes back, through two
    /// topics of the application's own. So results lag behind a little, and an answer to what a row no longer is is dropped.
    /// A row that stops referring to another is followed by a deletion, also where it had no result.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let stations = builder.table::<String, String>("stations", Consumed::new(), Materialized::new());
    /// let towns = builder.table::<String, String>("towns", Consumed::new(), Materialized::new());
    /// stations
    ///     .join_foreign_key(
    ///         &towns,
    ///         |station| station.split_once(" in ").map(|(_, town)| town.to_owned()),
    ///         |station, town| format!("{station}, {town}"),
    ///     )
    ///     .to_stream()
    ///     .to("addresses", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (stations, towns) = (driver.input("stations", Utf8, Utf8), driver.input("towns", Utf8, Utf8));
    /// # let output = driver.output("addresses", Utf8, Nullable(Utf8));
    /// driver.pipe(&stations, "1", "Church in MOS")?;
    /// driver.pipe(&towns, "MOS", "Mosbach")?;
    /// driver.pipe(&towns, "MOS", "Mosbach (Baden)")?;
    /// assert_eq!(
    ///     driver.read_values(&output)?,
    ///     [
    ///         Some("Church in MOS, Mosbach".to_owned()),
    ///         Some("Church in MOS, Mosbach (Baden)".to_owned())
    ///     ]
    /// );
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn join_foreign_key<KO, VO, VOut, FK, T2>(
        &self,
        other: &KTable<KO, VO, T2>,
        foreign_key: impl Fn(&V) -> FK + Send + Sync + 'static,
        joiner: impl Fn(&V, &VO) -> VOut + Send + Sync + 'static,
    ) -> KTable<K, VOut, Deletable>
    where
        V: JoinedByDefault,
        KO: 'static,
        VO: JoinedByDefault,
        VOut: JoinedByDefault,
        FK: ForeignKey<KO>,
        T2: RowState,
    {
        self.joined_by_foreign_key(
            other,
            move |_, value| foreign_key(value).into_option(),
            (inner(joiner), JoinKind::Inner),
            TableJoined::new(),
            Materialized::new().with_value(VOut::default_serde()),
            Location::caller(),
        )
    }

    /// As [`KTable::join_foreign_key`], with a closure that sees the key too, serdes and a say in names and partitions
    /// ([`TableJoined`]), and a store for the result if `materialized` names one.
    ///
    /// Without a name there is a store only when something looks into the result, another join for instance.
    #[track_caller]
    pub fn join_foreign_key_with<KO, VO, VOut, FK, T2, H>(
        &self,
        other: &KTable<KO, VO, T2>,
        foreign_key: impl Fn(&K, &V) -> FK + Send + Sync + 'static,
        joiner: impl Fn(&V, &VO) -> VOut + Send + Sync + 'static,
        joined: TableJoined<K, V, KO, VO>,
        materialized: Materialized<impl ValueSerde<VOut>, H>,
    ) -> KTable<K, VOut, H::Rows<Deletable>>
    where
        KO: 'static,
        VO: 'static,
        VOut: 'static,
        FK: ForeignKey<KO>,
        T2: RowState,
        H: History,
    {
        self.joined_by_foreign_key(
            other,
            move |key, value| foreign_key(key, value).into_option(),
            (inner(joiner), JoinKind::Inner),
            joined,
            materialized,
            Location::caller(),
        )
    }

    /// Every row of this table, joined with the row of the other one that it refers to, or with `None` where there is no such
    /// row or it refers to none: as [`KTable::join_foreign_key`].
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let stations = builder.table::<String, String>("stations", Consumed::new(), Materialized::new());
    /// let towns = builder.table::<String, String>("towns", Consumed::new(), Materialized::new());
    /// stations
    ///     .left_join_foreign_key(
    ///         &towns,
    ///         |station| station[..3].to_owned(),
    ///         |station, town| format!("{station}: {}", town.map_or("unknown", String::as_str)),
    ///     )
    ///     .to_stream()
    ///     .to("addresses", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (stations, towns) = (driver.input("stations", Utf8, Utf8), driver.input("towns", Utf8, Utf8));
    /// # let output = driver.output("addresses", Utf8, Nullable(Utf8));
    /// driver.pipe(&stations, "1", "MOS-1")?;
    /// driver.pipe(&towns, "MOS", "Mosbach")?;
    /// assert_eq!(
    ///     driver.read_values(&output)?,
    ///     [Some("MOS-1: unknown".to_owned()), Some("MOS-1: Mosbach".to_owned())]
    /// );
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn left_join_foreign_key<KO, VO, VOut, FK, T2>(
        &self,
        other: &KTable<KO, VO, T2>,
        foreign_key: impl Fn(&V) -> FK + Send + Sync + 'static,
        joiner: impl Fn(&V, Option<&VO>) -> VOut + Send + Sync + 'static,
    ) -> KTable<K, VOut, Deletable>
    where
        V: JoinedByDefault,
        KO: 'static,
        VO: JoinedByDefault,
        VOut: JoinedByDefault,
        FK: ForeignKey<KO>,
        T2: RowState,
    {
        self.joined_by_foreign_key(
            other,
            move |_, value| foreign_key(value).into_option(),
            (Arc::new(joiner), JoinKind::Left),
            TableJoined::new(),
            Materialized::new().with_value(VOut::default_serde()),
            Location::caller(),
        )
    }

    /// As [`KTable::left_join_foreign_key`], with the options of [`KTable::join_foreign_key_with`].
    #[track_caller]
    pub fn left_join_foreign_key_with<KO, VO, VOut, FK, T2, H>(
        &self,
        other: &KTable<KO, VO, T2>,
        foreign_key: impl Fn(&K, &V) -> FK + Send + Sync + 'static,
        joiner: impl Fn(&V, Option<&VO>) -> VOut + Send + Sync + 'static,
        joined: TableJoined<K, V, KO, VO>,
        materialized: Materialized<impl ValueSerde<VOut>, H>,
    ) -> KTable<K, VOut, H::Rows<Deletable>>
    where
        KO: 'static,
        VO: 'static,
        VOut: 'static,
        FK: ForeignKey<KO>,
        T2: RowState,
        H: History,
    {
        self.joined_by_foreign_key(
            other,
            move |key, value| foreign_key(key, value).into_option(),
            (Arc::new(joiner), JoinKind::Left),
            joined,
            materialized,
            Location::caller(),
        )
    }

    /// Names, numbers and order of the nodes are those of `KTableImpl#doJoinOnForeignKey`.
    fn joined_by_foreign_key<KO: 'static, VO: 'static, VOut: 'static, T2, R: RowState>(
        &self,
        other: &KTable<KO, VO, T2>,
        foreign_key_of: impl Fn(&K, &V) -> Option<KO> + Send + Sync + 'static,
        (joiner, kind): (RowJoiner<V, VO, VOut>, JoinKind),
        joined: TableJoined<K, V, KO, VO>,
        materialized: Materialized<impl ValueSerde<VOut>, impl Sized>,
        location: &'static Location<'static>,
    ) -> KTable<K, VOut, R> {
        let (this_parts, other_parts) = (&self.parts, &other.parts);
        let mut graph = this_parts.graph.borrow_mut();
        let graph = &mut *graph;
        (other_parts.old_values)(graph, true);
        (this_parts.old_values)(graph, true);
        let name = joined.name.as_deref().or(self.given_name());
        let names = Names::new(graph, name);
        let store_name = match &materialized.name {
            Some(name) => {
                graph.check_name(name);
                name.clone()
            }
            None => graph.new_name("KTABLE-FK-JOIN-OUTPUT-STATE-STORE-"),
        };
        let value = joined.value.of(&this_parts.value);
        let other_value = joined.other_value.of(&other_parts.value);
        let (key, other_key) = (this_parts.key.clone(), other_parts.key.clone());
        let registration = TopicName::Internal(
            graph.internal_topic_called(names.registration_topic.clone(), None),
        );
        let registered_key: BoxSerde<Option<KO>> = Arc::new(Nullable(other_key.clone()));
        let subscription: BoxSerde<Subscription<K>> = Arc::new(SubscriptionSerde(key.clone()));

        let foreign_key_of = Arc::new(foreign_key_of);
        let only_latest = graph.is_versioned(this_parts.node);
        let (serdes, foreign_key) = ((key.clone(), value.clone()), other_key.clone());
        let send = graph.add_processor(
            names.send,
            vec![this_parts.node],
            table_node::<K, V>(move |scope, id| {
                Ok(Box::new(SubscriptionSend::new(
                    foreign_key_of.clone(),
                    kind,
                    only_latest,
                    serdes.clone(),
                    foreign_key.clone(),
                    scope.stream_children(id)?,
                )))
            }),
            location,
        );
        let other_partitioner = joined.other_partitioner.map(|partitioner| {
            by_key(move |topic: &str, key: &Option<KO>, count| match key {
                Some(key) => partitioner.partitions(topic, key, &(), count),
                None => Partitions::Default,
            })
        });
        graph.add_sink(
            names.registration_sink,
            vec![send],
            Some(registration.clone()),
            sink_to(
                &registration,
                registered_key.clone(),
                subscription.clone(),
                other_partitioner,
            ),
            location,
        );
        let registered = add_internal_source(
            graph,
            names.registration_source,
            registration,
            (registered_key, subscription),
            location,
        );
        graph.copartition(&[other_parts.node, registered]);

        let subscriptions = add_subscription_store(graph, names.store, location);
        let foreign_key = other_key.clone();
        let receive = graph.add_processor(
            names.receive,
            vec![registered],
            stream_node::<Option<KO>, Subscription<K>>(move |scope, id| {
                Ok(Box::new(SubscriptionReceive {
                    store: scope.local_store(subscriptions),
                    foreign_key: foreign_key.clone(),
                    row: Vec::new(),
                    bytes: Vec::new(),
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        graph.connect(receive, subscriptions);
        let (getter, answer) = (other_parts.getter.clone(), other_value.clone());
        let answer_one = graph.add_processor(
            names.subscription_join,
            vec![receive],
            stream_node::<Option<KO>, Subscription<K>>(move |scope, id| {
                Ok(Box::new(SubscriptionJoin {
                    other: getter(scope),
                    value: answer.clone(),
                    response: Response::new(),
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        for store in (other_parts.stores)(graph) {
            graph.connect(answer_one, store);
        }
        let only_latest = graph.is_versioned(other_parts.node);
        let (subscriber, foreign_key, answer) = (key.clone(), other_key, other_value.clone());
        let answer_all = graph.add_processor(
            names.foreign_table_join,
            vec![other_parts.node],
            table_node::<KO, VO>(move |scope, id| {
                Ok(Box::new(ForeignTableJoin {
                    store: scope.local_store(subscriptions),
                    only_latest,
                    key: subscriber.clone(),
                    foreign_key: foreign_key.clone(),
                    value: answer.clone(),
                    prefix: Vec::new(),
                    subscriber: None,
                    response: Response::new(),
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        graph.connect(answer_all, subscriptions);

        let responses =
            TopicName::Internal(graph.internal_topic_called(names.response_topic, None));
        let response: BoxSerde<Response<VO>> = Arc::new(ResponseSerde(other_value));
        let partitioner: Arc<dyn StreamPartitioner<K, Response<VO>>> = match joined.partitioner {
            Some(partitioner) => by_key(move |topic: &str, key: &K, count| {
                partitioner.partitions(topic, key, &(), count)
            }),
            None => Arc::new(|_: &str, _: &K, response: &Response<VO>, _: i32| {
                response
                    .partition
                    .map_or(Partitions::Default, Partitions::One)
            }),
        };
        graph.add_sink(
            names.response_sink,
            vec![answer_one, answer_all],
            Some(responses.clone()),
            sink_to(&responses, key.clone(), response.clone(), Some(partitioner)),
            location,
        );
        let responded = add_internal_source(
            graph,
            names.response_source,
            responses,
            (key.clone(), response),
            location,
        );
        // The result is partitioned like this table, and what is joined with it has to be as well.
        graph.set_partitioned_like(responded, this_parts.node);
        graph.copartition(&[responded]);

        let getter = this_parts.getter.clone();
        let resolve = graph.add_processor(
            names.response_join,
            vec![responded],
            stream_node::<K, Response<VO>>(move |scope, id| {
                Ok(Box::new(ResponseJoin {
                    this: getter(scope),
                    value: value.clone(),
                    bytes: Vec::new(),
                    joiner: joiner.clone(),
                    kind,
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        for store in (this_parts.stores)(graph) {
            graph.connect(resolve, store);
        }
        add_table_source(
            graph,
            &this_parts.graph,
            resolve,
            names.result,
            SourceStore {
                wanted: materialized.name.is_some(),
                // Java says the generated name as well, also where nobody wants the store.
                queryable: true,
                name: store_name,
                options: materialized.options,
                history: materialized.history,
                topic: None,
            },
            (key, materialized.value.into_serde()),
            location,
        )
    }
}

const BOTH_THERE: &str = "an inner join has both rows";

fn inner<V: 'static, VO: 'static, VOut: 'static>(
    joiner: impl Fn(&V, &VO) -> VOut + Send + Sync + 'static,
) -> RowJoiner<V, VO, VOut> {
    Arc::new(move |this, other| joiner(this, other.expect(BOTH_THERE)))
}

/// What the parts of a join are called, the result's store excepted.
struct Names {
    registration_topic: String,
    send: String,
    registration_sink: String,
    registration_source: String,
    store: String,
    receive: String,
    subscription_join: String,
    foreign_table_join: String,
    response_topic: String,
    response_sink: String,
    response_source: String,
    response_join: String,
    result: String,
}

impl Names {
    fn new(graph: &mut Graph, given: Option<&str>) -> Names {
        if let Some(name) = given {
            graph.check_name(name);
        }
        const REGISTRATION: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-";
        const PROCESSOR: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-";
        const RESPONSE: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-";
        let mut name =
            |suffix: &str, prefix: &str| graph.name_with_suffix_or(given, suffix, prefix);
        // Each of them uses a number up, in this order.
        Names {
            registration_topic: name("-subscription-registration", REGISTRATION) + "-topic",
            send: name("-subscription-registration-processor", REGISTRATION),
            registration_sink: name("-subscription-registration-sink", "KTABLE-SINK-"),
            registration_source: name("-subscription-registration-source", "KTABLE-SOURCE-"),
            store: name(
                "-subscription-store",
                "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-",
            ),
            receive: name("-subscription-receive", PROCESSOR),
            subscription_join: name("-subscription-join-foreign", PROCESSOR),
            foreign_table_join: name("-foreign-join-subscription", PROCESSOR),
            response_topic: name("-subscription-response", RESPONSE) + "-topic",
            response_sink: name("-subscription-response-sink", "KTABLE-SINK-"),
            response_source: name("-subscription-response-source", "KTABLE-SOURCE-"),
            response_join: name(
                "-subscription-response-resolver",
                "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-",
            ),
            result: name("-result", "KTABLE-FK-JOIN-OUTPUT-"),
        }
    }
}

/// A partitioner that looks at the key only.
fn by_key<K: 'static, V: 'static>(
    choose: impl Fn(&str, &K, i32) -> Partitions + Send + Sync + 'static,
) -> Arc<dyn StreamPartitioner<K, V>> {
    Arc::new(move |topic: &str, key: &K, _: &V, count: i32| choose(topic, key, count))
}

fn sink_to<K: 'static, V: 'static>(
    topic: &TopicName,
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    partitioner: Option<Arc<dyn StreamPartitioner<K, V>>>,
) -> OperatorFactory {
    let topic = topic.clone();
    stream_node::<K, V>(move |scope, id| {
        Ok(Box::new(Sink {
            name: scope.node(id).name.clone(),
            target: Target::Topic(topic.full_name(scope.application_id)),
            key: key.clone(),
            value: value.clone(),
            partitioner: partitioner.clone(),
            partition_count: None,
            exactly_one: true,
            skip_null_keys: false,
        }))
    })
}

fn add_internal_source<K: 'static, V: 'static>(
    graph: &mut Graph,
    name: String,
    topic: TopicName,
    (key, value): (BoxSerde<K>, BoxSerde<V>),
    location: &'static Location<'static>,
) -> NodeId {
    add_source(
        graph,
        name,
        vec![topic],
        key,
        value,
        Arc::new(FailOnInvalidTimestamp),
        Some(OffsetReset::Earliest),
        location,
    )
}

/// Adds the store of who refers to which row.
fn add_subscription_store(
    graph: &mut Graph,
    name: String,
    location: &'static Location<'static>,
) -> usize {
    let parts = StoreParts {
        kind: StoreKind::KeyValue,
        timestamped: true,
        state: Arc::new(|arguments: &StateArguments| {
            Box::new(SubscriptionState::new(arguments)) as Box<dyn AnyState>
        }),
    };
    let options = StoreOptions::anywhere(Some(BTreeMap::new()));
    let definition = store_definition(name, parts, options, location);
    graph.add_store(definition, Rc::new(Cell::new(true)))
}
