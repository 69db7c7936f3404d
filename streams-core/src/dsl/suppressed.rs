//! `Suppressed` and `BufferConfig`: what `suppress` holds back, and where.

use super::options::Named;
use crate::operators::table_suppress::HeldUntil;
use crate::stores::duration_ms;
use crate::windowed::Windowed;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A buffer that never lets a change go before its time.
#[derive(Clone, Copy, Debug)]
pub enum Strict {}

/// A buffer that lets changes go early when it is full.
#[derive(Clone, Copy, Debug)]
pub enum Eager {}

/// Changes leave when their window has closed.
#[derive(Clone, Copy, Debug)]
pub enum UntilWindowCloses {}

/// Changes leave after a time.
#[derive(Clone, Copy, Debug)]
pub enum UntilTimeLimit {}

/// What happens when a buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    EmitEarly,
    ShutDown,
}

/// How much a buffer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffered {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) when_full: WhenFull,
}

/// How much the buffer of a suppressed table may hold, and what happens when that is not enough.
///
/// `B` is [`Strict`] for a buffer that keeps everything until its time, as
/// [`Suppressed::until_window_closes`] needs it, and [`Eager`] for one that does not.
///
/// ```
/// use streams_core::{BufferConfig, Eager, Strict};
///
/// let all: BufferConfig<Strict> = BufferConfig::unbounded();
/// let some: BufferConfig<Eager> = BufferConfig::max_records(1000).with_max_bytes(1 << 20);
/// let none_lost: BufferConfig<Strict> = BufferConfig::max_records(1000).shut_down_when_full();
/// ```
#[derive(Clone, Debug)]
pub struct BufferConfig<B> {
    pub(crate) buffered: Buffered,
    /// `None`: not logged.
    pub(crate) logging: Option<BTreeMap<String, String>>,
    kind: PhantomData<fn() -> B>,
}

impl BufferConfig<Strict> {
    /// Holds as much as there is.
    pub fn unbounded() -> Self {
        BufferConfig {
            buffered: Buffered {
                records_max: usize::MAX,
                bytes_max: usize::MAX,
                when_full: WhenFull::ShutDown,
            },
            logging: Some(BTreeMap::new()),
            kind: PhantomData,
        }
    }
}

impl BufferConfig<Eager> {
    /// Holds that many records, and lets the oldest go when there are more.
    pub fn max_records(count: usize) -> Self {
        BufferConfig::unbounded()
            .emit_early_when_full()
            .with_max_records(count)
    }

    /// Holds about that many bytes, and lets the oldest changes go when there are more.
    pub fn max_bytes(bytes: usize) -> Self {
        BufferConfig::unbounded()
            .emit_early_when_full()
            .with_max_bytes(bytes)
    }
}

impl<B> BufferConfig<B> {
    fn of_kind<B2>(self, when_full: WhenFull) -> BufferConfig<B2> {
        BufferConfig {
            buffered: Buffered {
                when_full,
                ..self.buffered
            },
            logging: self.logging,
            kind: PhantomData,
        }
    }

    /// Holds at most that many records.
    pub fn with_max_records(mut self, count: usize) -> Self {
        self.buffered.records_max = count;
        self
    }

    /// Holds at most about that many bytes: keys, values and where they came from, as Kafka Streams counts them.
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.buffered.bytes_max = bytes;
        self
    }

    /// Holds as much as there is.
    pub fn with_no_bound(self) -> BufferConfig<Strict> {
        BufferConfig {
            logging: self.logging,
            ..BufferConfig::unbounded()
        }
    }

    /// Stops the application when more would have to be held.
    pub fn shut_down_when_full(self) -> BufferConfig<Strict> {
        self.of_kind(WhenFull::ShutDown)
    }

    /// Lets the oldest changes go when more would have to be held.
    pub fn emit_early_when_full(self) -> BufferConfig<Eager> {
        self.of_kind(WhenFull::EmitEarly)
    }

    /// Logs to a changelog topic with these settings on top of Kafka Streams' own.
    pub fn with_logging_enabled<N: Into<String>, T: Into<String>>(
        mut self,
        topic_config: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        self.logging = Some(
            topic_config
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        self
    }

    /// Makes no changelog: what is held is lost when the application stops.
    pub fn with_logging_disabled(mut self) -> Self {
        self.logging = None;
        self
    }
}

/// Until when [`KTable::suppress`](crate::KTable::suppress) holds changes back.
///
/// ```
/// use std::time::Duration;
/// use streams_core::{BufferConfig, Suppressed};
///
/// let results_only = Suppressed::until_window_closes(BufferConfig::unbounded());
/// let once_a_minute = Suppressed::until_time_limit(
///     Duration::from_secs(60),
///     BufferConfig::max_records(10_000).emit_early_when_full(),
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Suppressed<U> {
    pub(crate) name: Option<String>,
    pub(crate) buffered: Buffered,
    pub(crate) logging: Option<BTreeMap<String, String>>,
    pub(super) wait_ms: i64,
    until: PhantomData<fn() -> U>,
}

impl Suppressed<UntilWindowCloses> {
    /// One result of each window, its last: it is held back until the window takes no more records.
    ///
    /// Of tables with windowed keys only. A window that was deleted before it closed is left out.
    pub fn until_window_closes(buffer: BufferConfig<Strict>) -> Self {
        Suppressed {
            name: None,
            buffered: buffer.buffered,
            logging: buffer.logging,
            wait_ms: 0,
            until: PhantomData,
        }
    }
}

impl Suppressed<UntilTimeLimit> {
    /// One change of each key in that time, measured in the time of the records from its first change on.
    pub fn until_time_limit<B>(limit: Duration, buffer: BufferConfig<B>) -> Self {
        Suppressed {
            name: None,
            buffered: buffer.buffered,
            logging: buffer.logging,
            wait_ms: duration_ms(limit),
            until: PhantomData,
        }
    }
}

impl<U> Suppressed<U> {
    /// Names the node, and the buffer's store `<name>-store`.
    pub fn named(mut self, name: impl Into<Named>) -> Self {
        self.name = Some(name.into().0);
        self
    }
}

/// What a [`Suppressed`] of a table with keys `K` can wait for.
#[diagnostic::on_unimplemented(
    message = "only windows close, and the keys of this table are `{K}`",
    label = "this table is not windowed",
    note = "use `Suppressed::until_time_limit(duration, buffer)`, or aggregate over windows (`windowed_by`) first"
)]
pub trait HoldsBack<K>: sealed::Sealed {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn held_until(wait_ms: i64) -> Held<K>;
}

/// What there is to know about the time of a change.
pub(crate) struct Held<K> {
    pub(crate) until: HeldUntil<K>,
    pub(crate) drops_deletions: bool,
    /// How long it waits behind that time; `None` for the grace period of its window.
    pub(crate) wait_ms: Option<i64>,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::UntilTimeLimit {}
    impl Sealed for super::UntilWindowCloses {}
}

impl<K: 'static> HoldsBack<K> for UntilTimeLimit {
    #[allow(private_interfaces)]
    fn held_until(wait_ms: i64) -> Held<K> {
        Held {
            until: Arc::new(|_, timestamp| timestamp),
            drops_deletions: false,
            wait_ms: Some(wait_ms),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<K: 'static> HoldsBack<Windowed<K>> for UntilWindowCloses {
    #[allow(private_interfaces)]
    fn held_until(_: i64) -> Held<Windowed<K>> {
        Held {
            until: Arc::new(|key: &Windowed<K>, _| key.window.end_ms),
            drops_deletions: true,
            wait_ms: None,
        }
    }
}
