//! `SessionWindowedKStream`: a grouped stream over sessions.

use super::aggregation::{Aggregating, Place, aggregate};
use super::grouped_stream::{KGroupedStream, Prefixes};
use super::options::{Materialized, Named, ValueSerde};
use super::session_windows::SessionWindows;
use super::table::{Deletable, GetterFactory, KTable};
use super::windows::EmitStrategy;
use crate::error::Error;
use crate::operators::aggregate::Initial;
use crate::operators::session_aggregate::{SessionAggregate, SessionStoreGetter};
use crate::operators::{Flush, StreamOperator};
use crate::serdes::{BoxSerde, DefaultSerde, SessionWindowed};
use crate::stores::{StoreOptions, StoreParts, duration_ms, session_parts};
use crate::topology::NodeId;
use crate::topology::build::Graph;
use crate::windowed::Windowed;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;
use streams_state::SessionSpec;

/// A grouped stream over sessions: made by [`KGroupedStream::windowed_by`].
///
/// When a record makes one session of several, those are deleted before the result of the new one is forwarded, so a table
/// over sessions is [`Deletable`].
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SessionWindows,
    emit: EmitStrategy,
}

impl<K, V> Clone for SessionWindowedKStream<K, V> {
    fn clone(&self) -> Self {
        SessionWindowedKStream {
            grouped: self.grouped.clone(),
            windows: self.windows,
            emit: self.emit,
        }
    }
}

const AGGREGATE: Prefixes = Prefixes {
    store: "KSTREAM-AGGREGATE-STATE-STORE-",
    node: "KSTREAM-AGGREGATE-",
};

const REDUCE: Prefixes = Prefixes {
    store: "KSTREAM-REDUCE-STATE-STORE-",
    node: "KSTREAM-REDUCE-",
};

impl<K: 'static, V: 'static> SessionWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: SessionWindows) -> Self {
        SessionWindowedKStream {
            grouped,
            windows,
            emit: EmitStrategy::OnWindowUpdate,
        }
    }

    /// When results are forwarded; see [`TimeWindowedKStream::emit_strategy`](crate::TimeWindowedKStream::emit_strategy).
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        self.emit = emit;
        self
    }

    /// Names the node that the next aggregation adds; see [`KStream::named`](crate::KStream::named).
    pub fn named(&self, name: impl Into<Named>) -> Self {
        SessionWindowedKStream {
            grouped: self.grouped.named(name),
            ..self.clone()
        }
    }

    /// Counts the records of each session.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Produced, SessionWindows, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, SessionWindowed, Utf8};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(SessionWindows::of_inactivity_gap(Duration::from_millis(10)))
    ///     .count()
    ///     .to_stream()
    ///     .to("visits", Produced::with(SessionWindowed::new(Utf8), Nullable(I64)));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("clicks", Utf8, Utf8);
    /// # let output = driver.output("visits", SessionWindowed::new(Utf8), Nullable(I64));
    /// driver.pipe_at(&input, "ann", "home", 5)?;
    /// driver.pipe_at(&input, "ann", "cart", 12)?;
    /// let visits: Vec<_> = driver
    ///     .read_key_values(&output)?
    ///     .into_iter()
    ///     .map(|(visit, clicks)| (visit.window.start_ms, visit.window.end_ms, clicks))
    ///     .collect();
    /// assert_eq!(visits, [(5, 5, Some(1)), (5, 5, None), (5, 12, Some(2))]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn count(&self) -> KTable<Windowed<K>, i64, Deletable> {
        self.counted(Materialized::new(), Location::caller())
    }

    /// As [`SessionWindowedKStream::count`], with a say in how the counts are kept.
    #[track_caller]
    pub fn count_with(
        &self,
        materialized: Materialized<impl ValueSerde<i64>>,
    ) -> KTable<Windowed<K>, i64, Deletable> {
        self.grouped.burn_index_for(&materialized);
        self.counted(materialized, Location::caller())
    }

    fn counted(
        &self,
        materialized: Materialized<impl ValueSerde<i64>>,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, i64, Deletable> {
        self.add(
            |_, _, count| *count.get_or_insert(0) += 1,
            |_, count: &mut Option<i64>, other| *count.get_or_insert(0) += other,
            Arc::new(|| Some(0)),
            materialized,
            AGGREGATE,
            location,
        )
    }

    /// Combines the values of each session into one, two at a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Produced, SessionWindows, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{F64, Nullable, SessionWindowed, Utf8};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, f64>("rain", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(SessionWindows::of_inactivity_gap(Duration::from_secs(3600)))
    ///     .reduce(|sum, millimetres| sum + millimetres)
    ///     .to_stream()
    ///     .to("showers", Produced::with(SessionWindowed::new(Utf8), Nullable(F64)));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("rain", Utf8, F64);
    /// # let output = driver.output("showers", SessionWindowed::new(Utf8), Nullable(F64));
    /// driver.pipe_at(&input, "mosbach", &0.5, 0)?;
    /// driver.pipe_at(&input, "mosbach", &1.0, 1_800_000)?;
    /// assert_eq!(driver.read_values(&output)?.last(), Some(&Some(1.5)));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V, Deletable>
    where
        V: Clone + DefaultSerde,
    {
        self.reduce_with(reducer, Materialized::new())
    }

    /// As [`SessionWindowedKStream::reduce`], with a say in how the results are kept.
    #[track_caller]
    pub fn reduce_with(
        &self,
        reducer: impl Fn(&V, &V) -> V + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<V>>,
    ) -> KTable<Windowed<K>, V, Deletable>
    where
        V: Clone,
    {
        let reducer = Arc::new(reducer);
        let merger = reducer.clone();
        self.add(
            super::grouped_stream::reducing(move |before: &V, value: &V| reducer(before, value)),
            move |_, so_far: &mut Option<V>, session| {
                *so_far = Some(match so_far {
                    None => session.clone(),
                    Some(so_far) => merger(so_far, session),
                });
            },
            Arc::new(|| None),
            materialized,
            REDUCE,
            Location::caller(),
        )
    }

    /// Folds the values of each session into an aggregate, changed in place; `merger` adds one session's aggregate to
    /// another's when a record makes one of them.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, SessionWindows, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{List, Nullable, SessionWindowed, Utf8};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(SessionWindows::of_inactivity_gap(Duration::from_millis(10)))
    ///     .aggregate(
    ///         Vec::new,
    ///         |_user, page, path| path.push(page.clone()),
    ///         |_user, path, other| path.extend(other.iter().cloned()),
    ///         Materialized::new().with_value(List(Utf8)),
    ///     )
    ///     .to_stream()
    ///     .to("paths", Produced::with(SessionWindowed::new(Utf8), Nullable(List(Utf8))));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("clicks", Utf8, Utf8);
    /// # let output = driver.output("paths", SessionWindowed::new(Utf8), Nullable(List(Utf8)));
    /// driver.pipe_at(&input, "ann", "home", 0)?;
    /// driver.pipe_at(&input, "ann", "pay", 15)?;
    /// driver.pipe_at(&input, "ann", "cart", 8)?;
    /// let last = driver.read_values(&output)?.pop().flatten();
    /// assert_eq!(last.expect("a path"), ["home", "pay", "cart"]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: 'static>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut A) + Send + Sync + 'static,
        merger: impl Fn(&K, &mut A, &A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        let initializer = Arc::new(initializer);
        let (for_value, for_session) = (initializer.clone(), initializer.clone());
        self.add(
            move |key, value, aggregate: &mut Option<A>| {
                aggregator(key, value, aggregate.get_or_insert_with(&*for_value));
            },
            move |key, aggregate: &mut Option<A>, session| {
                merger(key, aggregate.get_or_insert_with(&*for_session), session);
            },
            Arc::new(move || Some(initializer())),
            materialized,
            AGGREGATE,
            Location::caller(),
        )
    }

    /// As [`SessionWindowedKStream::aggregate`], for aggregates that may end: one that is `None` deletes its session. Both
    /// closures begin with what `initializer` makes.
    #[track_caller]
    pub fn aggregate_optional<A: 'static>(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        merger: impl Fn(&K, &mut Option<A>, &A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        self.add(
            aggregator,
            merger,
            Arc::new(initializer),
            materialized,
            AGGREGATE,
            Location::caller(),
        )
    }

    fn add<A: 'static>(
        &self,
        aggregator: impl Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
        merger: impl Fn(&K, &mut Option<A>, &A) + Send + Sync + 'static,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>>,
        prefixes: Prefixes,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        let over = OverSessions::new(
            self.windows,
            self.emit,
            Arc::new(merger),
            materialized.retention,
            &mut self.grouped.graph.borrow_mut(),
            location,
        );
        aggregate(
            &self.grouped,
            &over,
            aggregator,
            initial,
            materialized,
            &prefixes,
            location,
        )
    }
}

/// Aggregates the values of each session.
pub(crate) struct OverSessions<M> {
    windows: SessionWindows,
    emit: EmitStrategy,
    retention_ms: i64,
    merger: Arc<M>,
}

impl<M> Clone for OverSessions<M> {
    fn clone(&self) -> Self {
        OverSessions {
            merger: self.merger.clone(),
            ..*self
        }
    }
}

impl<M> OverSessions<M> {
    pub(crate) fn new(
        windows: SessionWindows,
        emit: EmitStrategy,
        merger: Arc<M>,
        retention: Option<Duration>,
        graph: &mut Graph,
        location: &'static Location<'static>,
    ) -> Self {
        let needed_ms = windows.closes_behind_ms();
        let retention_ms = retention.map_or(needed_ms, duration_ms);
        if retention_ms < needed_ms {
            graph.fail(Error::topology(format!(
                "the retention of {retention_ms} ms at {location} is shorter than the sessions' gap and grace together, {needed_ms} ms"
            )));
        }
        OverSessions {
            windows,
            emit,
            retention_ms: retention_ms.max(needed_ms),
            merger,
        }
    }
}

impl<K, A, M> Aggregating<K, A> for OverSessions<M>
where
    K: 'static,
    A: 'static,
    M: Fn(&K, &mut Option<A>, &A) + Send + Sync + 'static,
{
    type Key = Windowed<K>;

    fn store(&self, key: BoxSerde<K>, value: BoxSerde<A>) -> StoreParts {
        let spec = SessionSpec {
            retention_ms: self.retention_ms,
            order: self.emit.store_order(),
        };
        session_parts(key, value, spec)
    }

    fn options(&self, mut wanted: StoreOptions) -> StoreOptions {
        // What is found by time has to be in the store.
        wanted.cached &= self.emit == EmitStrategy::OnWindowUpdate;
        wanted
    }

    fn operator<V, F>(
        &self,
        aggregator: Arc<F>,
        place: Place<Windowed<K>, A>,
    ) -> impl StreamOperator<K, V> + Flush + 'static
    where
        V: 'static,
        F: Fn(&K, &V, &mut Option<A>) + Send + Sync + 'static,
    {
        SessionAggregate {
            windows: self.windows,
            emit: self.emit,
            aggregator,
            merger: self.merger.clone(),
            initial: place.initial,
            store: place.store,
            store_name: place.store_name,
            sends_old_values: place.sends_old_values,
            observed_ms: -1,
            last_close_ms: None,
            found: Vec::new(),
            children: place.children,
        }
    }

    fn table_key(&self, key: BoxSerde<K>) -> BoxSerde<Windowed<K>> {
        Arc::new(SessionWindowed::new(key))
    }

    fn getter(&self, store: usize) -> GetterFactory<Windowed<K>, A> {
        Arc::new(move |scope| {
            Box::new(SessionStoreGetter {
                store: scope.local_store(store),
            })
        })
    }

    fn describe(&self, graph: &mut Graph, node: NodeId) {
        graph.set_grace(node, self.windows.closes_behind_ms());
    }
}
