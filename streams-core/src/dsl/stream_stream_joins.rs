//! Joins of two streams.

use super::join_windows::JoinWindows;
use super::partitioning::{Partitioned, Partitioning};
use super::repartition::repartition_for_join;
use super::same_key::SameKey;
use super::stream::KStream;
use super::stream_joined::{StoredByDefault, StreamJoined, WindowBytesStoreSupplier};
use super::stream_node;
use crate::operators::merge::Merge;
use crate::operators::stream_self_join::StreamSelfJoin;
use crate::operators::stream_stream_join::{JoinWindow, StreamJoin};
use crate::serdes::BoxSerde;
use crate::task::stores::{AnyState, JoinSide, JoinWindowState, OuterJoinState};
use crate::topology::build::SelfJoin;
use crate::topology::node::OperatorFactory;
use crate::topology::store::{ChangelogDefinition, Cleanup, StateArguments, StateFactory};
use crate::topology::{NodeId, StoreDefinition};
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::{StoreBackend, StoreSpec, WindowOrder, WindowSpec};

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Joins each record with those of another stream that have the same key and lie in its window.
    ///
    /// Each pair makes one result, with the later timestamp of the two and the headers of the record that came last. A record
    /// without a key makes none, nor does one whose value is null (`None` of a stream of `Option`s). Both topics must have the
    /// same number of partitions. The rules are Kafka Streams' (`KStream#join(KStream, ValueJoiner, JoinWindows)`).
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, JoinWindows, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let views = builder.stream::<String, String>("views", Consumed::new());
    /// let clicks = builder.stream::<String, String>("clicks", Consumed::new());
    /// views
    ///     .join_stream(
    ///         &clicks,
    ///         |view, click| format!("{view}, then {click}"),
    ///         JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(100)),
    ///     )
    ///     .to("paths", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (views, clicks) = (driver.input("views", Utf8, Utf8), driver.input("clicks", Utf8, Utf8));
    /// # let output = driver.output("paths", Utf8, Utf8);
    /// driver.pipe_at(&views, "ann", "home", 0)?;
    /// driver.pipe_at(&clicks, "ann", "cart", 100)?;
    /// driver.pipe_at(&clicks, "ann", "help", 101)?;
    /// assert_eq!(driver.read_values(&output)?, ["home, then cart"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn join_stream<K2: SameKey<K>, V2: StoredByDefault, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
    ) -> KStream<K, VOut, Partitioned>
    where
        K: StoredByDefault,
        V: StoredByDefault,
    {
        let other = K2::stream(other);
        let joined = self.serdes_with(other);
        self.joined_stream(
            other,
            inner(move |_: &K, a, b| joiner(a, b)),
            windows,
            joined,
            Kind::Inner,
            Location::caller(),
        )
    }

    /// As [`KStream::join_stream`], with serdes, and a say in stores and names.
    #[track_caller]
    pub fn join_stream_with<K2: SameKey<K>, V2: 'static, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, VOut, Partitioned> {
        let other = K2::stream(other);
        self.joined_stream(
            other,
            inner(move |_: &K, a, b| joiner(a, b)),
            windows,
            joined,
            Kind::Inner,
            Location::caller(),
        )
    }

    /// As [`KStream::join_stream_with`], with a joiner that sees the key too (Java's `ValueJoinerWithKey`).
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, JoinWindows, Produced, StreamJoined, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let views = builder.stream::<String, String>("views", Consumed::new());
    /// let clicks = builder.stream::<String, String>("clicks", Consumed::new());
    /// views
    ///     .join_stream_with_key(
    ///         &clicks,
    ///         |user, view, click| format!("{user}: {view}, then {click}"),
    ///         JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(100)),
    ///         StreamJoined::new(),
    ///     )
    ///     .to("paths", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (views, clicks) = (driver.input("views", Utf8, Utf8), driver.input("clicks", Utf8, Utf8));
    /// # let output = driver.output("paths", Utf8, Utf8);
    /// driver.pipe_at(&views, "ann", "home", 0)?;
    /// driver.pipe_at(&clicks, "ann", "cart", 100)?;
    /// assert_eq!(driver.read_values(&output)?, ["ann: home, then cart"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn join_stream_with_key<K2: SameKey<K>, V2: 'static, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&K, &V, &V2) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, VOut, Partitioned> {
        let other = K2::stream(other);
        self.joined_stream(
            other,
            inner(joiner),
            windows,
            joined,
            Kind::Inner,
            Location::caller(),
        )
    }

    /// As [`KStream::join_stream`], but a record of this stream without a match makes a result too, once its window has closed:
    /// the joiner gets `None` for it.
    ///
    /// That is when a record of either stream is later than the window's end and the grace period, in the same partition.
    /// Such results have the timestamp of their record and the headers of the one that closed the window. A record without a
    /// key belongs to no other and makes its result at once (KIP-962).
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, JoinWindows, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::Utf8;
    /// let builder = StreamsBuilder::new();
    /// let questions = builder.stream::<String, String>("questions", Consumed::new());
    /// let answers = builder.stream::<String, String>("answers", Consumed::new());
    /// questions
    ///     .left_join_stream(
    ///         &answers,
    ///         |question, answer| format!("{question} {}", answer.map_or("no answer", String::as_str)),
    ///         JoinWindows::of_time_difference_and_grace(Duration::from_millis(100), Duration::from_millis(10)),
    ///     )
    ///     .to("conversations", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (questions, answers) = (driver.input("questions", Utf8, Utf8), driver.input("answers", Utf8, Utf8));
    /// # let output = driver.output("conversations", Utf8, Utf8);
    /// driver.pipe_at(&questions, "ann", "Why?", 0)?;
    /// driver.pipe_at(&answers, "bob", "Because.", 110)?;
    /// assert!(driver.read_values(&output)?.is_empty());
    /// driver.pipe_at(&questions, "bob", "Who?", 111)?;
    /// assert_eq!(driver.read_values(&output)?, ["Why? no answer", "Who? Because."]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn left_join_stream<K2: SameKey<K>, V2: StoredByDefault, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
    ) -> KStream<K, VOut, Partitioned>
    where
        K: StoredByDefault,
        V: StoredByDefault,
    {
        let other = K2::stream(other);
        let joined = self.serdes_with(other);
        self.joined_stream(
            other,
            left(move |_: &K, a, b| joiner(a, b)),
            windows,
            joined,
            Kind::Left,
            Location::caller(),
        )
    }

    /// As [`KStream::left_join_stream`], with serdes, and a say in stores and names.
    #[track_caller]
    pub fn left_join_stream_with<K2: SameKey<K>, V2: 'static, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, VOut, Partitioned> {
        let other = K2::stream(other);
        self.joined_stream(
            other,
            left(move |_: &K, a, b| joiner(a, b)),
            windows,
            joined,
            Kind::Left,
            Location::caller(),
        )
    }

    /// As [`KStream::left_join_stream_with`], with a joiner that sees the key too (Java's `ValueJoinerWithKey`).
    #[track_caller]
    pub fn left_join_stream_with_key<
        K2: SameKey<K>,
        V2: 'static,
        VOut: 'static,
        P2: Partitioning,
    >(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&K, &V, Option<&V2>) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, VOut, Partitioned> {
        let other = K2::stream(other);
        self.joined_stream(
            other,
            left(joiner),
            windows,
            joined,
            Kind::Left,
            Location::caller(),
        )
    }

    /// As [`KStream::left_join_stream`], but a record of either stream makes a result without a match. At least one of the
    /// joiner's values is there.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, JoinWindows, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let sent = builder.stream::<String, i64>("sent", Consumed::new());
    /// let received = builder.stream::<String, i64>("received", Consumed::new());
    /// sent.outer_join_stream(
    ///     &received,
    ///     |sent, received| match (sent, received) {
    ///         (Some(sent), Some(received)) => format!("{} missing", sent - received),
    ///         (Some(_), None) => "lost".to_owned(),
    ///         (None, _) => "not expected".to_owned(),
    ///     },
    ///     JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(100)),
    /// )
    /// .to("deliveries", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (sent, received) = (driver.input("sent", Utf8, I64), driver.input("received", Utf8, I64));
    /// # let output = driver.output("deliveries", Utf8, Utf8);
    /// driver.pipe_at(&sent, "tea", &5, 0)?;
    /// driver.pipe_at(&received, "cups", &2, 0)?;
    /// driver.pipe_at(&sent, "rice", &3, 200)?;
    /// driver.pipe_at(&received, "rice", &1, 250)?;
    /// assert_eq!(driver.read_values(&output)?, ["not expected", "lost", "2 missing"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn outer_join_stream<K2: SameKey<K>, V2: StoredByDefault, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
    ) -> KStream<K, VOut, Partitioned>
    where
        K: StoredByDefault,
        V: StoredByDefault,
    {
        let other = K2::stream(other);
        let joined = self.serdes_with(other);
        self.joined_stream(
            other,
            outer(move |_: &K, a, b| joiner(a, b)),
            windows,
            joined,
            Kind::Outer,
            Location::caller(),
        )
    }

    /// As [`KStream::outer_join_stream`], with serdes, and a say in stores and names.
    #[track_caller]
    pub fn outer_join_stream_with<K2: SameKey<K>, V2: 'static, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, VOut, Partitioned> {
        let other = K2::stream(other);
        self.joined_stream(
            other,
            outer(move |_: &K, a, b| joiner(a, b)),
            windows,
            joined,
            Kind::Outer,
            Location::caller(),
        )
    }

    /// As [`KStream::outer_join_stream_with`], with a joiner that sees the key too (Java's `ValueJoinerWithKey`).
    #[track_caller]
    pub fn outer_join_stream_with_key<
        K2: SameKey<K>,
        V2: 'static,
        VOut: 'static,
        P2: Partitioning,
    >(
        &self,
        other: &KStream<K2, V2, P2>,
        joiner: impl Fn(&K, Option<&V>, Option<&V2>) -> VOut + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, VOut, Partitioned> {
        let other = K2::stream(other);
        self.joined_stream(
            other,
            outer(joiner),
            windows,
            joined,
            Kind::Outer,
            Location::caller(),
        )
    }

    /// The serdes the streams were read with, as far as they are known, otherwise the default ones.
    fn serdes_with<V2, P2>(&self, other: &KStream<K, V2, P2>) -> StreamJoined<K, V, V2>
    where
        K: StoredByDefault,
        V: StoredByDefault,
        V2: StoredByDefault,
    {
        let key = self.key.clone().or_else(|| other.key.clone());
        StreamJoined::of(
            key.unwrap_or_else(K::default_serde),
            self.value.clone().unwrap_or_else(V::default_serde),
            other.value.clone().unwrap_or_else(V2::default_serde),
        )
    }

    fn joined_stream<V2: 'static, VOut: 'static, P2: Partitioning>(
        &self,
        other: &KStream<K, V2, P2>,
        joiner: impl Fn(&K, Option<&V>, Option<&V2>) -> Option<VOut> + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
        kind: Kind,
        location: &'static Location<'static>,
    ) -> KStream<K, VOut, Partitioned> {
        if let Err(error) = joined.check(&windows) {
            let error = error.context(format_args!("the join at {location}"));
            self.graph.borrow_mut().fail(error);
        }
        let this_parent = self.repartitioned(&joined, "-left", &joined.value, location);
        let other_parent = other.repartitioned(&joined, "-right", &joined.other_value, location);

        let names = self.names(&joined, kind);
        let mut graph = self.graph.borrow_mut();
        graph.copartition(&[this_parent, other_parent]);
        let stores = names.stores(&joined, kind);
        let this_store = graph.add_store(
            stores.this.window_store(
                &windows,
                state::<K, V>(&joined.key, &joined.value),
                location,
            ),
            Rc::new(Cell::new(true)),
        );
        let other_store = graph.add_store(
            stores.other.window_store(
                &windows,
                state::<K, V2>(&joined.key, &joined.other_value),
                location,
            ),
            Rc::new(Cell::new(true)),
        );
        let outer_store = stores.outer.map(|store| {
            let wanted = Rc::new(Cell::new(true));
            graph.add_store(store.outer_store(location), wanted)
        });
        let this_windowed = graph.add_processor(
            names.this_windowed,
            vec![this_parent],
            join_window::<K, V>(this_store),
            location,
        );
        let other_windowed = graph.add_processor(
            names.other_windowed,
            vec![other_parent],
            join_window::<K, V2>(other_store),
            location,
        );
        let joiner = Arc::new(joiner);
        let reversed = {
            let joiner = joiner.clone();
            Arc::new(move |key: &K, other: Option<&V2>, this: Option<&V>| joiner(key, this, other))
        };
        let serdes = (&joined.key, &joined.value, &joined.other_value);
        let sides = Sides {
            windows,
            kind,
            this_store,
            other_store,
            outer_store,
        };
        let this_join = graph.add_processor(
            names.this_join,
            vec![this_windowed],
            sides.factory::<_, K, V, V2, VOut>(JoinSide::Left, joiner.clone(), serdes),
            location,
        );
        let serdes = (&joined.key, &joined.other_value, &joined.value);
        let other_join = graph.add_processor(
            names.other_join,
            vec![other_windowed],
            sides.factory::<_, K, V2, V, VOut>(JoinSide::Right, reversed, serdes),
            location,
        );
        let merge = graph.add_processor(
            names.merge,
            vec![this_join, other_join],
            stream_node::<K, VOut>(|scope, id| {
                Ok(Box::new(Merge {
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        graph.connect(this_windowed, this_store);
        graph.connect(other_windowed, other_store);
        graph.connect(this_join, other_store);
        graph.connect(other_join, this_store);
        if let Some(outer_store) = outer_store {
            graph.connect(this_join, outer_store);
            graph.connect(other_join, outer_store);
            graph.take_null_keys(this_join);
            graph.take_null_keys(other_join);
        }
        if TypeId::of::<V>() == TypeId::of::<V2>() {
            graph.note_self_join(SelfJoin {
                this_windowed,
                other_windowed,
                this_join,
                other_join,
                merge,
                this_store,
                other_store,
                outer_store,
                factory: self_join::<_, K, V, V2, VOut>(
                    &windows,
                    this_store,
                    joiner,
                    &joined.value,
                ),
            });
        }
        KStream::new(self.graph.clone(), merge, Some(joined.key), None)
    }

    /// The node whose records lie in the partition of their key.
    fn repartitioned<VThis: 'static, VOther: 'static>(
        &self,
        joined: &StreamJoined<K, VThis, VOther>,
        suffix: &str,
        value: &BoxSerde<V>,
        location: &'static Location<'static>,
    ) -> NodeId {
        if !P::REKEYED {
            return self.node;
        }
        let base = joined.name.as_ref().map(|name| format!("{name}{suffix}"));
        let serdes = (joined.key.clone(), value.clone());
        repartition_for_join(&self.graph, self.node, base, serdes, location)
    }

    /// Names of all nodes; the generated ones use up their numbers even where names are given.
    fn names<V2>(&self, joined: &StreamJoined<K, V, V2>, kind: Kind) -> Names {
        let name = joined.name.as_deref().or(self.take_name());
        let mut graph = self.graph.borrow_mut();
        if let Some(name) = name {
            graph.check_name(name);
        }
        let given = |suffix: &str, generated: &str| match name {
            Some(name) => format!("{name}{suffix}"),
            None => generated.to_owned(),
        };
        let (this_prefix, this_suffix) = match kind {
            Kind::Outer => ("KSTREAM-OUTERTHIS-", "-outer-this-join"),
            Kind::Inner | Kind::Left => ("KSTREAM-JOINTHIS-", "-this-join"),
        };
        let (other_prefix, other_suffix) = match kind {
            Kind::Inner => ("KSTREAM-JOINOTHER-", "-other-join"),
            Kind::Left | Kind::Outer => ("KSTREAM-OUTEROTHER-", "-outer-other-join"),
        };
        let this_windowed = graph.new_name("KSTREAM-WINDOWED-");
        let other_windowed = graph.new_name("KSTREAM-WINDOWED-");
        let this_generated = graph.new_name(this_prefix);
        let other_generated = graph.new_name(other_prefix);
        let merge = graph.new_name("KSTREAM-MERGE-");
        Names {
            this_windowed: given("-this-windowed", &this_windowed),
            other_windowed: given("-other-windowed", &other_windowed),
            this_join: given(this_suffix, &this_generated),
            other_join: given(other_suffix, &other_generated),
            merge: given("-merge", &merge),
            outer_generated: this_generated.replacen(this_prefix, "KSTREAM-OUTERSHARED-", 1),
            this_generated,
            other_generated,
            this_suffix,
            other_suffix,
        }
    }
}

/// Which records make a result without a match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

fn inner<K, V, V2, VOut>(
    joiner: impl Fn(&K, &V, &V2) -> VOut,
) -> impl Fn(&K, Option<&V>, Option<&V2>) -> Option<VOut> {
    move |key, this, other| Some(joiner(key, this?, other?))
}

fn left<K, V, V2, VOut>(
    joiner: impl Fn(&K, &V, Option<&V2>) -> VOut,
) -> impl Fn(&K, Option<&V>, Option<&V2>) -> Option<VOut> {
    move |key, this, other| Some(joiner(key, this?, other))
}

fn outer<K, V, V2, VOut>(
    joiner: impl Fn(&K, Option<&V>, Option<&V2>) -> VOut,
) -> impl Fn(&K, Option<&V>, Option<&V2>) -> Option<VOut> {
    move |key, this, other| Some(joiner(key, this, other))
}

/// What the nodes of a join are called, and what its stores are called after.
struct Names {
    this_windowed: String,
    other_windowed: String,
    this_join: String,
    other_join: String,
    merge: String,
    this_generated: String,
    other_generated: String,
    outer_generated: String,
    this_suffix: &'static str,
    other_suffix: &'static str,
}

impl Names {
    /// Kafka's `KStreamImplJoin#join` and `OuterStreamJoinStoreFactory`.
    fn stores<K, V, V2>(&self, joined: &StreamJoined<K, V, V2>, kind: Kind) -> StorePlans {
        let base = joined.store_name.as_deref();
        let backend = joined.backend.clone();
        let window =
            |supplier: &Option<WindowBytesStoreSupplier>, suffix: &str, generated: &str| {
                if let Some(supplier) = supplier {
                    return StorePlan {
                        name: supplier.name.clone(),
                        backend: Some(supplier.backend.clone()),
                        logging: Some(BTreeMap::new()),
                    };
                }
                let mut logging = joined.logging.clone();
                if let Some(config) = &mut logging {
                    // Duplicates have keys of their own, so compaction would keep them all.
                    config.insert("cleanup.policy".to_owned(), "delete".to_owned());
                }
                StorePlan {
                    name: match base {
                        Some(base) => format!("{base}{suffix}-store"),
                        None => format!("{generated}-store"),
                    },
                    backend: backend.clone(),
                    logging,
                }
            };
        let suffix = match kind {
            Kind::Inner => None,
            Kind::Left => Some("-left-shared-join"),
            Kind::Outer => Some("-outer-shared-join"),
        };
        let this_supplier = joined.this_store.as_ref();
        let shared_base = this_supplier.map(|store| store.name.as_str()).or(base);
        StorePlans {
            this: window(&joined.this_store, self.this_suffix, &self.this_generated),
            other: window(
                &joined.other_store,
                self.other_suffix,
                &self.other_generated,
            ),
            outer: suffix.map(|suffix| StorePlan {
                name: match shared_base {
                    Some(base) => format!("{base}{suffix}-store"),
                    None => format!("{}-store", self.outer_generated),
                },
                backend: match (&joined.backend, this_supplier) {
                    (None, Some(store)) if matches!(store.backend, StoreBackend::Memory) => {
                        Some(StoreBackend::Memory)
                    }
                    _ => backend.clone(),
                },
                logging: joined.logging.clone(),
            }),
        }
    }
}

struct StorePlans {
    this: StorePlan,
    other: StorePlan,
    outer: Option<StorePlan>,
}

struct StorePlan {
    name: String,
    backend: Option<StoreBackend>,
    logging: Option<BTreeMap<String, String>>,
}

impl StorePlan {
    fn window_store(
        self,
        windows: &JoinWindows,
        state: StateFactory,
        location: &'static Location<'static>,
    ) -> StoreDefinition {
        let spec = WindowSpec {
            retention_ms: windows.retention_ms(),
            window_size_ms: windows.size_ms(),
            retain_duplicates: true,
            order: WindowOrder::ByKey,
        };
        let retention_ms = spec.retention_ms;
        let is_anywhere = self.backend.is_none();
        let backend = self.backend.unwrap_or(StoreBackend::RocksDb);
        let spec = StoreSpec::window(&self.name, spec, backend);
        let cleanup = Cleanup::CompactDelete { retention_ms };
        StoreDefinition {
            is_anywhere,
            ..definition(self.name, spec, self.logging, cleanup, state, location)
        }
    }

    fn outer_store(self, location: &'static Location<'static>) -> StoreDefinition {
        let is_anywhere = self.backend.is_none();
        let backend = self.backend.unwrap_or(StoreBackend::RocksDb);
        let spec = StoreSpec::key_value(&self.name, backend);
        let state: StateFactory = Arc::new(|arguments: &StateArguments| {
            Box::new(OuterJoinState::new(arguments)) as Box<dyn AnyState>
        });
        let cleanup = Cleanup::Compact;
        StoreDefinition {
            is_anywhere,
            ..definition(self.name, spec, self.logging, cleanup, state, location)
        }
    }
}

/// The stores of a join are never cached.
fn definition(
    name: String,
    spec: StoreSpec,
    logging: Option<BTreeMap<String, String>>,
    cleanup: Cleanup,
    state: StateFactory,
    location: &'static Location<'static>,
) -> StoreDefinition {
    StoreDefinition {
        spec,
        is_anywhere: false,
        max_entries: None,
        timestamped: false,
        timed: false,
        cached: false,
        suppresses: false,
        elides_tombstones: false,
        changelog: logging.map(|config| ChangelogDefinition {
            source_topic: None,
            config,
            cleanup,
        }),
        state,
        name,
        location,
    }
}

fn state<K: 'static, V: 'static>(key: &BoxSerde<K>, value: &BoxSerde<V>) -> StateFactory {
    let (key, value) = (key.clone(), value.clone());
    Arc::new(move |arguments: &StateArguments| {
        let state = JoinWindowState::new(key.clone(), value.clone(), arguments);
        Box::new(state) as Box<dyn AnyState>
    })
}

fn join_window<K: 'static, V: 'static>(store: usize) -> OperatorFactory {
    stream_node::<K, V>(move |scope, id| {
        Ok(Box::new(JoinWindow {
            store: scope.local_store(store),
            children: scope.stream_children(id)?,
        }))
    })
}

/// What both sides of a join have in common.
#[derive(Clone, Copy)]
struct Sides {
    windows: JoinWindows,
    kind: Kind,
    this_store: usize,
    other_store: usize,
    outer_store: Option<usize>,
}

impl Sides {
    /// The factory of one side, with the serdes of the key and the values of that side and the other.
    fn factory<F, K: 'static, VThis: 'static, VOther: 'static, VOut: 'static>(
        self,
        side: JoinSide,
        joiner: Arc<F>,
        (key, this_value, other_value): (&BoxSerde<K>, &BoxSerde<VThis>, &BoxSerde<VOther>),
    ) -> OperatorFactory
    where
        F: Fn(&K, Option<&VThis>, Option<&VOther>) -> Option<VOut> + Send + Sync + 'static,
    {
        let (key, this_value, other_value) = (key.clone(), this_value.clone(), other_value.clone());
        let (this_store, other_store) = match side {
            JoinSide::Left => (self.this_store, self.other_store),
            JoinSide::Right => (self.other_store, self.this_store),
        };
        stream_node::<K, VThis>(move |scope, id| {
            Ok(Box::new(StreamJoin {
                side,
                span: self.windows.span(),
                this_store: scope.local_store(this_store),
                other_store: scope.local_store(other_store),
                outer_store: self.outer_store.map(|store| scope.local_store(store)),
                outer: match side {
                    JoinSide::Left => self.kind != Kind::Inner,
                    JoinSide::Right => self.kind == Kind::Outer,
                },
                left_only: self.kind == Kind::Left,
                key: key.clone(),
                this_value: this_value.clone(),
                other_value: other_value.clone(),
                joiner: joiner.clone(),
                key_bytes: Vec::new(),
                matches: Vec::new(),
                children: scope.stream_children(id)?,
            }))
        })
    }
}

/// The factory of the join of a stream with itself; `V` and `V2` are the same type.
fn self_join<F, K: 'static, V: 'static, V2: 'static, VOut: 'static>(
    windows: &JoinWindows,
    store: usize,
    joiner: Arc<F>,
    value: &BoxSerde<V>,
) -> OperatorFactory
where
    F: Fn(&K, Option<&V>, Option<&V2>) -> Option<VOut> + Send + Sync + 'static,
{
    let (span, value) = (windows.span(), value.clone());
    let joiner = Arc::new(move |key: &K, this: &V, other: &V| {
        joiner(key, Some(this), (other as &dyn Any).downcast_ref::<V2>())
    });
    stream_node::<K, V>(move |scope, id| {
        Ok(Box::new(StreamSelfJoin {
            span,
            store: scope.local_store(store),
            value: value.clone(),
            joiner: joiner.clone(),
            stream_ms: -1,
            matches: Vec::new(),
            children: scope.stream_children(id)?,
        }))
    })
}
