//! `JoinWindows`: how far apart in time two records of a stream-stream join may be.

use crate::operators::stream_stream_join::JoinSpan;
use crate::stores::duration_ms;
use std::time::Duration;

/// How far apart in time two records may be to be joined, seen from a record of the left stream.
///
/// A record of the right stream belongs to one of the left stream when its timestamp lies between `before` and `after` of
/// it, both included. A record without a match makes its result, if it makes one alone, once its window and the grace period
/// are over: as soon as a record of either stream is that much later.
///
/// ```
/// use std::time::Duration;
/// use streams_core::JoinWindows;
///
/// // Up to five minutes apart; without a match the result comes one minute after that.
/// let near = JoinWindows::of_time_difference_and_grace(Duration::from_secs(300), Duration::from_secs(60));
/// assert_eq!((near.before_ms(), near.after_ms(), near.grace_ms()), (300_000, 300_000, 60_000));
///
/// // At the same time as the left record, or up to an hour after it.
/// let later = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(3600)).before(Duration::ZERO);
/// assert_eq!((later.before_ms(), later.size_ms()), (0, 3_600_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    before_ms: i64,
    after_ms: i64,
    grace_ms: i64,
}

impl JoinWindows {
    /// Records up to this far apart, whichever is first. Results without a match come as soon as the window is over.
    pub fn of_time_difference_with_no_grace(time_difference: Duration) -> Self {
        JoinWindows::of_time_difference_and_grace(time_difference, Duration::ZERO)
    }

    /// Records up to this far apart, whichever is first, and how long to wait for late ones.
    ///
    /// The grace period does not make an inner join drop records: those that are later still are joined as long as their
    /// matches are kept, which is the size of the window and the grace period.
    pub fn of_time_difference_and_grace(time_difference: Duration, grace: Duration) -> Self {
        let time_difference_ms = duration_ms(time_difference);
        JoinWindows {
            before_ms: time_difference_ms,
            after_ms: time_difference_ms,
            grace_ms: duration_ms(grace),
        }
    }

    /// How far before a left record a right one may be.
    ///
    /// # Panics
    /// When the window would end before it starts, which can only be after [`JoinWindows::with_after_ms`].
    #[track_caller]
    pub fn before(self, time_difference: Duration) -> Self {
        self.with_before_ms(duration_ms(time_difference))
    }

    /// How far after a left record a right one may be.
    ///
    /// # Panics
    /// When the window would end before it starts, which can only be after [`JoinWindows::with_before_ms`].
    #[track_caller]
    pub fn after(self, time_difference: Duration) -> Self {
        self.with_after_ms(duration_ms(time_difference))
    }

    /// How far before a left record a right one may be, in milliseconds; a negative number is how far it must be after it at
    /// least.
    ///
    /// ```
    /// use std::time::Duration;
    /// use streams_core::JoinWindows;
    ///
    /// // Between one and two seconds after the left record.
    /// let answers = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(2)).with_before_ms(-1000);
    /// assert_eq!(answers.size_ms(), 1000);
    /// ```
    ///
    /// # Panics
    /// When the window would end before it starts.
    #[track_caller]
    pub fn with_before_ms(self, before_ms: i64) -> Self {
        JoinWindows { before_ms, ..self }.checked()
    }

    /// How far after a left record a right one may be, in milliseconds; a negative number is how far it must be before it at
    /// least.
    ///
    /// # Panics
    /// When the window would end before it starts.
    #[track_caller]
    pub fn with_after_ms(self, after_ms: i64) -> Self {
        JoinWindows { after_ms, ..self }.checked()
    }

    #[track_caller]
    fn checked(self) -> Self {
        assert!(
            self.before_ms.saturating_add(self.after_ms) >= 0,
            "a join window's before and after together must not be negative"
        );
        self
    }

    /// How far before a left record a right one may be, in milliseconds.
    pub fn before_ms(&self) -> i64 {
        self.before_ms
    }

    /// How far after a left record a right one may be, in milliseconds.
    pub fn after_ms(&self) -> i64 {
        self.after_ms
    }

    /// The grace period in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// From the earliest to the latest match of a record, in milliseconds.
    pub fn size_ms(&self) -> i64 {
        self.before_ms.saturating_add(self.after_ms)
    }

    /// How long records are kept for matches: the window's size and the grace period, in milliseconds.
    pub fn retention_ms(&self) -> i64 {
        self.size_ms().saturating_add(self.grace_ms)
    }

    pub(crate) fn span(&self) -> JoinSpan {
        JoinSpan {
            before_ms: self.before_ms,
            after_ms: self.after_ms,
            grace_ms: self.grace_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_can_be_moved_but_not_past_each_other() {
        let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(10));
        let moved = windows.after(Duration::from_millis(30)).with_before_ms(-20);
        assert_eq!((moved.size_ms(), moved.retention_ms()), (10, 10));
        assert!(std::panic::catch_unwind(|| windows.with_before_ms(-11)).is_err());
    }
}
