//! Sliding windows: whatever lies within a time difference.

use crate::stores::duration_ms;
use std::time::Duration;

/// Windows of a fixed length around the records themselves: two records of a key are in one window when their timestamps
/// differ by the time difference at most.
///
/// A window includes its start and its end. There is one that ends with each record, and one that begins a millisecond behind
/// it if it has records. A record may be late by the grace period.
///
/// ```
/// use std::time::Duration;
/// use streams_core::SlidingWindows;
///
/// let windows = SlidingWindows::of_time_difference_and_grace(Duration::from_secs(10), Duration::from_secs(1));
/// assert_eq!((windows.time_difference_ms(), windows.grace_ms()), (10_000, 1_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    difference_ms: i64,
    grace_ms: i64,
}

impl SlidingWindows {
    /// Sliding windows without grace (Java's `ofTimeDifferenceWithNoGrace`).
    pub fn of_time_difference(difference: Duration) -> Self {
        SlidingWindows::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// Sliding windows that take records for some time after their end.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        SlidingWindows {
            difference_ms: duration_ms(difference),
            grace_ms: duration_ms(grace),
        }
    }

    /// How far apart the records of a window may be, in milliseconds.
    pub fn time_difference_ms(&self) -> i64 {
        self.difference_ms
    }

    /// The grace period in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// How long windows must be kept for new ones to be made of them, in milliseconds.
    pub(crate) fn needed_ms(&self) -> i64 {
        self.difference_ms
            .saturating_mul(2)
            .saturating_add(self.grace_ms)
    }
}
