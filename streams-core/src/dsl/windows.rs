//! Windows of time: which of them a record belongs to. Pure arithmetic.

use crate::stores::duration_ms;
use std::time::Duration;
use streams_state::WindowOrder;

/// When a windowed aggregate's results are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmitStrategy {
    /// On every update of a window (through the record cache: once for each changed window and commit). The default.
    #[default]
    OnWindowUpdate,
    /// Once, when the window closes: as soon as a record arrives that is later than its end by the grace period (KIP-825).
    OnWindowClose,
}

impl EmitStrategy {
    /// [`EmitStrategy::OnWindowUpdate`].
    pub fn on_window_update() -> Self {
        EmitStrategy::OnWindowUpdate
    }

    /// [`EmitStrategy::OnWindowClose`].
    pub fn on_window_close() -> Self {
        EmitStrategy::OnWindowClose
    }

    /// How a store lies whose windows are looked for in this way.
    pub(crate) fn store_order(self) -> WindowOrder {
        match self {
            EmitStrategy::OnWindowUpdate => WindowOrder::ByKey,
            EmitStrategy::OnWindowClose => WindowOrder::ByTime,
        }
    }
}

/// Windows of equal size that start at multiples of an interval since the epoch: tumbling when that interval is the size,
/// hopping when it is shorter.
///
/// A window includes its start and excludes its end. A record may be late by the grace period: its windows close when the
/// operator has seen a record later than their end by that much.
///
/// ```
/// use std::time::Duration;
/// use streams_core::TimeWindows;
///
/// let tumbling = TimeWindows::of_size_and_grace(Duration::from_secs(600), Duration::from_secs(60));
/// let hopping = TimeWindows::of_size(Duration::from_millis(10)).advance_by(Duration::from_millis(5));
/// let starts: Vec<i64> = hopping.starts_for(12).collect();
/// assert_eq!(starts, [5, 10]);
/// assert_eq!(tumbling.starts_for(601_000).collect::<Vec<_>>(), [600_000]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    size_ms: i64,
    advance_ms: i64,
    grace_ms: i64,
    /// Where the first window starts.
    first_ms: i64,
}

impl TimeWindows {
    /// The one window that starts there and never ends.
    pub(crate) fn unlimited(first_ms: i64) -> Self {
        TimeWindows {
            size_ms: i64::MAX,
            advance_ms: i64::MAX,
            grace_ms: 0,
            first_ms,
        }
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.size_ms == i64::MAX
    }

    /// Tumbling windows without grace: a record behind its window's end is late as soon as a newer one was seen
    /// (Java's `ofSizeWithNoGrace`).
    ///
    /// # Panics
    /// When the size is less than a millisecond.
    #[track_caller]
    pub fn of_size(size: Duration) -> Self {
        TimeWindows::of_size_and_grace(size, Duration::ZERO)
    }

    /// Tumbling windows that take records for some time after their end.
    ///
    /// # Panics
    /// When the size is less than a millisecond.
    #[track_caller]
    pub fn of_size_and_grace(size: Duration, grace: Duration) -> Self {
        let size_ms = duration_ms(size);
        assert!(size_ms > 0, "a window's size is at least one millisecond");
        TimeWindows {
            size_ms,
            advance_ms: size_ms,
            grace_ms: duration_ms(grace),
            first_ms: 0,
        }
    }

    /// The same windows, one starting every `advance`: hopping windows.
    ///
    /// # Panics
    /// When the advance is less than a millisecond or more than the size.
    #[track_caller]
    pub fn advance_by(self, advance: Duration) -> Self {
        let advance_ms = duration_ms(advance);
        assert!(
            advance_ms > 0 && advance_ms <= self.size_ms,
            "windows advance by at least one millisecond and at most their size"
        );
        TimeWindows { advance_ms, ..self }
    }

    /// The size in milliseconds.
    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    /// From start to start, in milliseconds.
    pub fn advance_ms(&self) -> i64 {
        self.advance_ms
    }

    /// The grace period in milliseconds.
    pub fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    /// The starts of all windows a time belongs to, ascending. Windows never start before 0.
    #[inline]
    pub fn starts_for(&self, timestamp: i64) -> impl Iterator<Item = i64> + use<> {
        let passed_ms = timestamp - self.first_ms;
        let first = passed_ms
            .saturating_sub(self.size_ms)
            .saturating_add(self.advance_ms)
            .max(0)
            / self.advance_ms
            * self.advance_ms
            + self.first_ms;
        let advance_ms = self.advance_ms;
        std::iter::successors((first <= timestamp).then_some(first), move |start| {
            start
                .checked_add(advance_ms)
                .filter(|next| *next <= timestamp)
        })
    }

    /// The first and the last start for a time, `None` for a time before 0.
    pub(crate) fn first_and_last_for(&self, timestamp: i64) -> Option<(i64, i64)> {
        let first = self.starts_for(timestamp).next()?;
        Some((first, timestamp / self.advance_ms * self.advance_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(size: u64, advance: u64, timestamp: i64) -> Vec<i64> {
        TimeWindows::of_size(Duration::from_millis(size))
            .advance_by(Duration::from_millis(advance))
            .starts_for(timestamp)
            .collect()
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_and_never_negative() {
        assert_eq!(starts(12, 5, 21), [10, 15, 20]);
        assert_eq!(starts(12, 5, 3), [0]);
        assert_eq!(starts(10, 10, 9), [0]);
        assert_eq!(starts(10, 10, 10), [10]);
        assert_eq!(starts(10, 10, -1), [0i64; 0]);
        assert_eq!(starts(10, 10, i64::MAX), [i64::MAX / 10 * 10]);
    }

    #[test]
    #[should_panic(expected = "at most their size")]
    fn gaps_between_windows_are_refused() {
        let _ = TimeWindows::of_size(Duration::from_millis(5)).advance_by(Duration::from_millis(6));
    }
}
