//! Unlimited windows: one, from a start on.

use super::windows::TimeWindows;

/// One window that has a start and no end: a key is aggregated from a moment on.
///
/// Records before the start belong to no window and are left out. Its results cannot be sent when it closes, since it never
/// does.
///
/// ```
/// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver, UnlimitedWindows};
/// # use streams_core::serdes::{I64, TimeWindowed, Utf8};
/// # use std::time::Duration;
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("clicks", Consumed::new())
///     .group_by_key()
///     .windowed_by(UnlimitedWindows::of().start_on_ms(1_000))
///     .count()
///     .to_stream()
///     .map(|user, clicks| (user.key.clone(), *clicks))
///     .to("clicks-since", Produced::with(Utf8, I64));
/// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// # let (input, output) = (driver.input("clicks", Utf8, Utf8), driver.output("clicks-since", Utf8, I64));
/// driver.pipe_at(&input, "ann", "home", 999)?;
/// driver.pipe_at(&input, "ann", "home", 1_000)?;
/// driver.pipe_at(&input, "ann", "cart", 500_000)?;
/// assert_eq!(driver.read_values(&output)?, [1, 2]);
/// # Ok::<(), streams_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlimitedWindows {
    start_ms: i64,
}

impl UnlimitedWindows {
    /// One window from the epoch on.
    pub fn of() -> Self {
        UnlimitedWindows { start_ms: 0 }
    }

    /// The window that starts there, in milliseconds since the epoch (Java's `startOn`).
    ///
    /// # Panics
    /// When that is before the epoch.
    #[track_caller]
    pub fn start_on_ms(self, start_ms: i64) -> Self {
        assert!(start_ms >= 0, "windows do not start before the epoch");
        UnlimitedWindows { start_ms }
    }

    /// The start of the window, in milliseconds since the epoch.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    pub(crate) fn as_time_windows(self) -> TimeWindows {
        TimeWindows::unlimited(self.start_ms)
    }
}
