//! `Grouping`: what `group_by_key` and `group_by` return, which asks what shall become of records without a key.

use super::cogrouped_stream::CogroupedKStream;
use super::drop_nulls::present;
use super::grouped_stream::KGroupedStream;
use super::options::{Materialized, ValueSerde};
use super::stream_node;
use super::table::{Deletable, KTable, Permanent};
use super::windowed_by::Windows;
use crate::operators::present::PresentKeys;
use std::ops::Deref;
use std::panic::Location;

/// A stream grouped by key: a [`KGroupedStream`], whose verbs it has, unless its keys are `Option`s.
///
/// A record without a key belongs to no group. Kafka Streams drops it at run time; here a grouping by keys that may be null
/// does not compile until it says so with [`Grouping::drop_null_keys`].
pub struct Grouping<K, V>(KGroupedStream<K, V>);

impl<K, V> Clone for Grouping<K, V> {
    fn clone(&self) -> Self {
        Grouping(self.0.clone())
    }
}

impl<K, V> Grouping<K, V> {
    pub(super) fn new(grouped: KGroupedStream<K, V>) -> Self {
        Grouping(grouped)
    }
}

impl<K, V> Deref for Grouping<K, V> {
    type Target = KGroupedStream<K, V>;

    fn deref(&self) -> &KGroupedStream<K, V> {
        &self.0
    }
}

/// A key that is always there: what an aggregation needs.
///
/// ```compile_fail,E0277
/// # use streams_core::{Consumed, StreamsBuilder};
/// # use streams_core::serdes::{Nullable, Utf8};
/// StreamsBuilder::new()
///     .stream("clicks", Consumed::with(Nullable(Utf8), Utf8))
///     .group_by_key()
///     .count();
/// ```
#[diagnostic::on_unimplemented(
    message = "the keys of this grouping may be null (`{Self}`), and a record without a key belongs to no group",
    label = "what shall become of records without a key?",
    note = "write `.drop_null_keys()` in front of this call: they are dropped and counted, as Kafka Streams does it",
    note = "or give them a key: `.group_by(|key, _| key.clone().unwrap_or_default(), ..)`"
)]
pub trait AlwaysThere {}

/// The verbs of a [`KGroupedStream`], which hide those behind `Deref` where keys may be null; there is no `Option` that is
/// `AlwaysThere`, so calling one is an error that says what to write.
impl<K: 'static, V: 'static> Grouping<Option<K>, V> {
    /// Leaves out records without a key, and counts them.
    ///
    /// It adds no node to the topology: numbers and names of what follows stay those of Kafka Streams.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("people", Consumed::with(Utf8, Nullable(Utf8)))
    ///     .group_by(|_id, city| city.clone(), Grouped::with(Nullable(Utf8), Nullable(Utf8)))
    ///     .drop_null_keys()
    ///     .count()
    ///     .to_stream()
    ///     .to("inhabitants", Produced::with(Utf8, I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("people", Utf8, Nullable(Utf8));
    /// # let output = driver.output("inhabitants", Utf8, I64);
    /// driver.pipe(&input, "1", Some("mosbach".to_owned()))?;
    /// driver.pipe(&input, "2", None)?;
    /// assert_eq!(driver.read_key_values(&output)?, [("mosbach".to_owned(), 1)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn drop_null_keys(&self) -> KGroupedStream<K, V> {
        let location = Location::caller();
        let mut graph = self.0.graph.borrow_mut();
        let node = graph.add_hidden(
            self.0.node,
            stream_node::<Option<K>, V>(|scope, id| {
                Ok(Box::new(PresentKeys {
                    children: scope.stream_children(id)?,
                }))
            }),
            location,
        );
        let key = present(&mut graph, self.0.key.clone(), location);
        let regroup = self.0.regroup.clone();
        KGroupedStream::new(self.0.graph.clone(), node, key, regroup)
    }

    #[doc(hidden)]
    pub fn count(&self) -> KTable<Option<K>, i64, Permanent>
    where
        Option<K>: AlwaysThere,
    {
        self.0.count()
    }

    #[doc(hidden)]
    pub fn count_with(
        &self,
        materialized: Materialized<impl ValueSerde<i64>>,
    ) -> KTable<Option<K>, i64, Permanent>
    where
        Option<K>: AlwaysThere,
    {
        self.0.count_with(materialized)
    }

    #[doc(hidden)]
    pub fn reduce(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
    ) -> KTable<Option<K>, V, Permanent>
    where
        Option<K>: AlwaysThere,
        V: Clone + crate::serdes::DefaultSerde,
    {
        self.0.reduce(reducer)
    }

    #[doc(hidden)]
    pub fn reduce_with(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>>,
    ) -> KTable<Option<K>, V, Permanent>
    where
        Option<K>: AlwaysThere,
        V: Clone,
    {
        self.0.reduce_with(reducer, materialized)
    }

    #[doc(hidden)]
    pub fn reduce_optional(
        &self,
        reducer: impl Fn(&V, &V) -> Option<V> + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>>,
    ) -> KTable<Option<K>, V, Deletable>
    where
        Option<K>: AlwaysThere,
        V: Clone,
    {
        self.0.reduce_optional(reducer, materialized)
    }

    #[doc(hidden)]
    pub fn aggregate<A: 'static>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&Option<K>, &V, &mut A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Option<K>, A, Permanent>
    where
        Option<K>: AlwaysThere,
    {
        self.0.aggregate(initializer, aggregator, materialized)
    }

    #[doc(hidden)]
    pub fn aggregate_optional<A: 'static>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        aggregator: impl Fn(&Option<K>, &V, &mut Option<A>) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Option<K>, A, Deletable>
    where
        Option<K>: AlwaysThere,
    {
        self.0
            .aggregate_optional(initializer, aggregator, materialized)
    }

    #[doc(hidden)]
    pub fn cogroup<A: 'static>(
        &self,
        aggregator: impl Fn(&Option<K>, &V, &mut A) + Send + Sync + 'static,
    ) -> CogroupedKStream<Option<K>, A, Permanent>
    where
        Option<K>: AlwaysThere,
    {
        self.0.cogroup(aggregator)
    }

    #[doc(hidden)]
    pub fn cogroup_optional<A: 'static>(
        &self,
        aggregator: impl Fn(&Option<K>, &V, &mut Option<A>) + Send + Sync + 'static,
    ) -> CogroupedKStream<Option<K>, A, Deletable>
    where
        Option<K>: AlwaysThere,
    {
        self.0.cogroup_optional(aggregator)
    }

    #[doc(hidden)]
    pub fn windowed_by<W: Windows<Option<K>, V>>(&self, windows: W) -> W::Windowed
    where
        Option<K>: AlwaysThere,
    {
        self.0.windowed_by(windows)
    }
}
