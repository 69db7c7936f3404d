//! Sessions: windows that grow with the records that come close to each other.

use crate::stores::duration_ms;
use std::time::Duration;

/// Sessions of activity: records of a key that are no further apart than the inactivity gap belong together.
///
/// A session goes from its first record to its last, both included. A record exactly one gap away still joins it. A record may
/// be late by the grace period: a session closes when the operator has seen a record later than its end by gap and grace
/// together.
///
/// ```
/// use std::time::Duration;
/// use streams_core::SessionWindows;
///
/// let sessions = SessionWindows::of_inactivity_gap_and_grace(Duration::from_secs(300), Duration::from_secs(60));
/// assert_eq!((sessions.inactivity_gap_ms(), sessions.grace_ms()), (300_000, 60_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    gap_ms: i64,
    grace_ms: i64,
}

impl SessionWindows {
    /// Sessions without grace (Java's `ofInactivityGapWithNoGrace`).
    ///
    /// # Panics
    /// When the gap is less than a millisecond.
    #[track_caller]
    pub fn of_inactivity_gap(gap: Duration) -> Self {
        SessionWindows::of_inactivity_gap_and_grace(gap, Duration::ZERO)
    }

    /// Sessions that take records for some time after they would have ended.
    ///
    /// # Panics
    /// When the gap is less than a millisecond.
    #[track_caller]
    pub fn of_inactivity_gap_and_grace(gap: Duration, grace: Duration) -> Self {
        let gap_ms = duration_ms(gap);
        assert!(gap_ms > 0, "an inactivity gap is at least one millisecond");
        SessionWindows {
            gap_ms,
            grace_ms: duration_ms(grace),
        }
    }

    /// How far apart two records of a session may be, in milliseconds.
    pub fn inactivity_gap_ms(&self) -> i64 {
        self.gap_ms
    }

    /// The grace period in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// How long behind its last record a session closes, in milliseconds.
    pub(crate) fn closes_behind_ms(&self) -> i64 {
        self.gap_ms.saturating_add(self.grace_ms)
    }
}
