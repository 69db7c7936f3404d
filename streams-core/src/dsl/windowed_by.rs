//! `windowed_by`: one verb for windows of every kind.

use super::grouped_stream::KGroupedStream;
use super::session_windowed_stream::SessionWindowedKStream;
use super::session_windows::SessionWindows;
use super::sliding_windowed_stream::SlidingWindowedKStream;
use super::sliding_windows::SlidingWindows;
use super::unlimited_windows::UnlimitedWindows;
use super::windowed_stream::TimeWindowedKStream;
use super::windows::TimeWindows;

/// Windows that a grouped stream is aggregated over: [`TimeWindows`], [`SlidingWindows`], [`SessionWindows`] or
/// [`UnlimitedWindows`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no kind of windows",
    note = "use `TimeWindows`, `SlidingWindows`, `SessionWindows` or `UnlimitedWindows`"
)]
pub trait Windows<K, V>: sealed::Sealed {
    /// The windowed stream.
    type Windowed;

    #[doc(hidden)]
    fn windowed(self, grouped: KGroupedStream<K, V>) -> Self::Windowed;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TimeWindows {}
    impl Sealed for super::SessionWindows {}
    impl Sealed for super::SlidingWindows {}
    impl Sealed for super::UnlimitedWindows {}
}

impl<K: 'static, V: 'static> Windows<K, V> for TimeWindows {
    type Windowed = TimeWindowedKStream<K, V>;

    fn windowed(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
        TimeWindowedKStream::new(grouped, self)
    }
}

impl<K: 'static, V: 'static> Windows<K, V> for SessionWindows {
    type Windowed = SessionWindowedKStream<K, V>;

    fn windowed(self, grouped: KGroupedStream<K, V>) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream::new(grouped, self)
    }
}

impl<K: 'static, V: 'static> Windows<K, V> for SlidingWindows {
    type Windowed = SlidingWindowedKStream<K, V>;

    fn windowed(self, grouped: KGroupedStream<K, V>) -> SlidingWindowedKStream<K, V> {
        SlidingWindowedKStream::new(grouped, self)
    }
}

impl<K: 'static, V: 'static> Windows<K, V> for UnlimitedWindows {
    type Windowed = TimeWindowedKStream<K, V>;

    fn windowed(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
        TimeWindowedKStream::new(grouped, self.as_time_windows())
    }
}
