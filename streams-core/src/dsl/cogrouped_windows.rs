//! Cogrouped streams over windows.

use super::cogrouped_stream::{CogroupedKStream, Merger, OverAll};
use super::options::{Materialized, Named, ValueSerde};
use super::session_windowed_stream::OverSessions;
use super::session_windows::SessionWindows;
use super::sliding_windowed_stream::OverSliding;
use super::sliding_windows::SlidingWindows;
use super::table::{Deletable, KTable, Permanent, RowState};
use super::unlimited_windows::UnlimitedWindows;
use super::windowed_stream::OverTime;
use super::windows::{EmitStrategy, TimeWindows};
use crate::operators::aggregate::Initial;
use crate::windowed::Windowed;
use std::panic::Location;
use std::sync::Arc;

/// Windows that cogrouped streams are aggregated over: [`TimeWindows`], [`SlidingWindows`], [`SessionWindows`] or
/// [`UnlimitedWindows`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no kind of windows",
    note = "use `TimeWindows`, `SlidingWindows`, `SessionWindows` or `UnlimitedWindows`"
)]
pub trait CogroupWindows<K, A, T: RowState>: sealed::Sealed {
    /// The windowed streams.
    type Windowed;

    #[doc(hidden)]
    fn windowed(self, cogrouped: CogroupedKStream<K, A, T>) -> Self::Windowed;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TimeWindows {}
    impl Sealed for super::SessionWindows {}
    impl Sealed for super::SlidingWindows {}
    impl Sealed for super::UnlimitedWindows {}
}

impl<K, A, T: RowState> CogroupWindows<K, A, T> for TimeWindows {
    type Windowed = TimeWindowedCogroupedKStream<K, A, T>;

    fn windowed(self, cogrouped: CogroupedKStream<K, A, T>) -> Self::Windowed {
        TimeWindowedCogroupedKStream {
            cogrouped,
            windows: OfTime::Fixed(self),
        }
    }
}

impl<K, A, T: RowState> CogroupWindows<K, A, T> for UnlimitedWindows {
    type Windowed = TimeWindowedCogroupedKStream<K, A, T>;

    fn windowed(self, cogrouped: CogroupedKStream<K, A, T>) -> Self::Windowed {
        self.as_time_windows().windowed(cogrouped)
    }
}

impl<K, A, T: RowState> CogroupWindows<K, A, T> for SlidingWindows {
    type Windowed = TimeWindowedCogroupedKStream<K, A, T>;

    fn windowed(self, cogrouped: CogroupedKStream<K, A, T>) -> Self::Windowed {
        TimeWindowedCogroupedKStream {
            cogrouped,
            windows: OfTime::Sliding(self),
        }
    }
}

impl<K, A, T: RowState> CogroupWindows<K, A, T> for SessionWindows {
    type Windowed = SessionWindowedCogroupedKStream<K, A, T>;

    fn windowed(self, cogrouped: CogroupedKStream<K, A, T>) -> Self::Windowed {
        SessionWindowedCogroupedKStream {
            cogrouped,
            windows: self,
        }
    }
}

#[derive(Clone, Copy)]
enum OfTime {
    Fixed(TimeWindows),
    Sliding(SlidingWindows),
}

/// Cogrouped streams over windows of time: made by [`CogroupedKStream::windowed_by`].
pub struct TimeWindowedCogroupedKStream<K, A, T: RowState = Permanent> {
    cogrouped: CogroupedKStream<K, A, T>,
    windows: OfTime,
}

impl<K, A, T: RowState> Clone for TimeWindowedCogroupedKStream<K, A, T> {
    fn clone(&self) -> Self {
        TimeWindowedCogroupedKStream {
            cogrouped: self.cogrouped.clone(),
            windows: self.windows,
        }
    }
}

impl<K: 'static, A: 'static> TimeWindowedCogroupedKStream<K, A, Permanent> {
    /// The table of what all streams' records of a key and window come to; see [`CogroupedKStream::windowed_by`] for an example.
    #[track_caller]
    pub fn aggregate(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Permanent> {
        self.aggregated(
            Arc::new(move || Some(initializer())),
            materialized,
            Location::caller(),
        )
    }
}

impl<K: 'static, A: 'static> TimeWindowedCogroupedKStream<K, A, Deletable> {
    /// The table of what all streams' records of a key and window come to, whose rows may end.
    #[track_caller]
    pub fn aggregate(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        self.aggregated(Arc::new(initializer), materialized, Location::caller())
    }
}

impl<K: 'static, A: 'static, T: RowState> TimeWindowedCogroupedKStream<K, A, T> {
    /// Names the nodes that the next aggregation adds; see [`CogroupedKStream::named`].
    pub fn named(&self, name: impl Into<Named>) -> Self {
        TimeWindowedCogroupedKStream {
            cogrouped: self.cogrouped.named(name),
            windows: self.windows,
        }
    }

    fn aggregated(
        &self,
        initial: Initial<A>,
        materialized: Materialized<impl ValueSerde<A>>,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, A, T> {
        let cogrouped = &self.cogrouped;
        let retention = materialized.retention;
        let emit = EmitStrategy::OnWindowUpdate;
        match self.windows {
            OfTime::Fixed(windows) => {
                let mut graph = cogrouped.graph().borrow_mut();
                let over = OverTime::new(windows, emit, retention, &mut graph, location);
                drop(graph);
                let erased = |over: &OverTime| OverAll::Time(*over);
                cogrouped.add(over, erased, initial, materialized, location)
            }
            OfTime::Sliding(windows) => {
                let mut graph = cogrouped.graph().borrow_mut();
                let over = OverSliding::new(windows, emit, retention, &mut graph, location);
                drop(graph);
                let erased = |over: &OverSliding| OverAll::Sliding(*over);
                cogrouped.add(over, erased, initial, materialized, location)
            }
        }
    }
}

/// Cogrouped streams over sessions: made by [`CogroupedKStream::windowed_by`].
pub struct SessionWindowedCogroupedKStream<K, A, T: RowState = Permanent> {
    cogrouped: CogroupedKStream<K, A, T>,
    windows: SessionWindows,
}

impl<K, A, T: RowState> Clone for SessionWindowedCogroupedKStream<K, A, T> {
    fn clone(&self) -> Self {
        SessionWindowedCogroupedKStream {
            cogrouped: self.cogrouped.clone(),
            windows: self.windows,
        }
    }
}

impl<K: 'static, A: 'static> SessionWindowedCogroupedKStream<K, A, Permanent> {
    /// The table of what all streams' records of a session come to; `merger` adds one session's aggregate to another's when a
    /// record makes one of them.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{Consumed, Materialized, Produced, SessionWindows, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, SessionWindowed, Utf8};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks", Consumed::new()).group_by_key();
    /// let payments = builder.stream::<String, i64>("payments", Consumed::new()).group_by_key();
    /// clicks
    ///     .cogroup(|_user, _page, points: &mut i64| *points += 1)
    ///     .cogroup(&payments, |_user, cents, points| *points += cents / 10)
    ///     .windowed_by(SessionWindows::of_inactivity_gap(Duration::from_secs(60)))
    ///     .aggregate(|| 0, |_user, points, session| *points += session, Materialized::named("points"))
    ///     .to_stream()
    ///     .to("points-per-visit", Produced::with(SessionWindowed::new(Utf8), Nullable(I64)));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (clicks, payments) = (driver.input("clicks", Utf8, Utf8), driver.input("payments", Utf8, I64));
    /// # let output = driver.output("points-per-visit", SessionWindowed::new(Utf8), Nullable(I64));
    /// driver.pipe_at(&clicks, "ann", "home", 1_000)?;
    /// driver.pipe_at(&payments, "ann", &500, 2_000)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(1), None, Some(51)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        merger: impl Fn(&K, &mut A, &A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        self.aggregated(
            Arc::new(move || Some(initializer())),
            Arc::new(
                Box::new(move |key: &K, aggregate: &mut Option<A>, session: &A| {
                    // A session begins with what the initializer makes, and here that is never nothing.
                    if let Some(aggregate) = aggregate {
                        merger(key, aggregate, session);
                    }
                }) as Box<Merger<K, A>>,
            ),
            materialized,
            Location::caller(),
        )
    }
}

impl<K: 'static, A: 'static> SessionWindowedCogroupedKStream<K, A, Deletable> {
    /// The table of what all streams' records of a session come to; an aggregate that is `None` deletes its session.
    #[track_caller]
    pub fn aggregate(
        &self,
        initializer: impl Fn() -> Option<A> + Send + Sync + 'static,
        merger: impl Fn(&K, &mut Option<A>, &A) + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<A>>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        self.aggregated(
            Arc::new(initializer),
            Arc::new(Box::new(merger) as Box<Merger<K, A>>),
            materialized,
            Location::caller(),
        )
    }
}

impl<K: 'static, A: 'static, T: RowState> SessionWindowedCogroupedKStream<K, A, T> {
    /// Names the nodes that the next aggregation adds; see [`CogroupedKStream::named`].
    pub fn named(&self, name: impl Into<Named>) -> Self {
        SessionWindowedCogroupedKStream {
            cogrouped: self.cogrouped.named(name),
            windows: self.windows,
        }
    }

    fn aggregated(
        &self,
        initial: Initial<A>,
        merger: Arc<Box<Merger<K, A>>>,
        materialized: Materialized<impl ValueSerde<A>>,
        location: &'static Location<'static>,
    ) -> KTable<Windowed<K>, A, Deletable> {
        let over = OverSessions::new(
            self.windows,
            EmitStrategy::OnWindowUpdate,
            merger,
            materialized.retention,
            &mut self.cogrouped.graph().borrow_mut(),
            location,
        );
        let erased = |over: &OverSessions<_>| OverAll::Sessions(over.clone());
        self.cogrouped
            .add(over, erased, initial, materialized, location)
    }
}
