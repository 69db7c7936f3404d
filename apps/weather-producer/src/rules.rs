//! The rules a reading must keep, as far as they can be chosen.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far ahead of the clock a reading may be before it counts as wrong.
///
/// One reading with a time in the far future would close every window before it, so that all right readings after it
/// would be too late. The limit stands between such a reading and the windows.
#[derive(Debug)]
pub struct Rules {
    future_ms_max: i64,
    now: Now,
}

#[derive(Debug)]
enum Now {
    /// The system's clock, and what it last said: time does not run back, so it is asked again only when it matters.
    Clock(AtomicI64),
    Fixed(i64),
}

impl Rules {
    /// How far ahead a reading may be when nothing else is chosen: one hour, more than clocks and time zones of careful
    /// senders go wrong.
    pub const FUTURE_MAX: Duration = Duration::from_secs(3600);

    /// Rules by the system's clock.
    pub fn new(future_max: Duration) -> Self {
        Rules {
            future_ms_max: millis(future_max),
            now: Now::Clock(AtomicI64::new(i64::MIN / 2)),
        }
    }

    /// Rules by a clock that stands still at these milliseconds since the Unix epoch: for tests.
    pub fn at(now_ms: i64) -> Self {
        Rules {
            future_ms_max: millis(Self::FUTURE_MAX),
            now: Now::Fixed(now_ms),
        }
    }

    /// Whether that time (milliseconds since the Unix epoch) is too far ahead.
    ///
    /// ```
    /// use weather_producer::Rules;
    ///
    /// let rules = Rules::at(1_000_000);
    /// assert!(!rules.is_in_future(1_000_000 + 3_600_000));
    /// assert!(rules.is_in_future(1_000_000 + 3_600_001));
    /// ```
    pub fn is_in_future(&self, time_ms: i64) -> bool {
        match &self.now {
            Now::Fixed(now_ms) => time_ms > now_ms.saturating_add(self.future_ms_max),
            Now::Clock(last) => {
                time_ms
                    > last
                        .load(Ordering::Relaxed)
                        .saturating_add(self.future_ms_max)
                    && {
                        let now_ms = system_time_ms();
                        last.store(now_ms, Ordering::Relaxed);
                        time_ms > now_ms.saturating_add(self.future_ms_max)
                    }
            }
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules::new(Self::FUTURE_MAX)
    }
}

/// The system's clock, in milliseconds since the Unix epoch.
pub fn system_time_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_asked_again_when_time_has_passed() {
        let rules = Rules::new(Duration::ZERO);
        let past = system_time_ms() - 1;
        assert!(!rules.is_in_future(past));
        assert!(rules.is_in_future(past + 1_000_000));
        assert!(!rules.is_in_future(past));
    }
}
