//! When the next reading is due.

use std::time::Duration;

/// How fast readings are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as Kafka takes them.
    Unlimited,
    /// As their times follow each other, so many times faster.
    EventTime {
        /// Seconds of the readings for each second of the clock.
        speed: f64,
    },
    /// Evenly.
    Rate {
        /// Readings per second.
        per_s: f64,
    },
}

/// Tells when each reading of a series is due.
///
/// ```
/// use std::time::Duration;
/// use weather_producer::{Pace, Pacer};
///
/// let mut pacer = Pacer::new(Pace::EventTime { speed: 3600.0 });
/// assert_eq!(pacer.due(7_200_000), Duration::ZERO);
/// assert_eq!(pacer.due(10_800_000), Duration::from_secs(1));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    pace: Pace,
    first_ms: Option<i64>,
    count: u64,
}

impl Pacer {
    /// A pacer before the first reading.
    pub fn new(pace: Pace) -> Self {
        Pacer {
            pace,
            first_ms: None,
            count: 0,
        }
    }

    /// How long after the start the next reading is due, whose time is given in milliseconds since the Unix epoch.
    pub fn due(&mut self, time_ms: i64) -> Duration {
        let first_ms = *self.first_ms.get_or_insert(time_ms);
        let seconds = match self.pace {
            Pace::Unlimited => 0.0,
            Pace::EventTime { speed } => (time_ms - first_ms) as f64 / 1000.0 / speed,
            Pace::Rate { per_s } => self.count as f64 / per_s,
        };
        self.count += 1;
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_even_and_ignores_times() {
        let mut pacer = Pacer::new(Pace::Rate { per_s: 4.0 });
        let due: Vec<_> = (0..3).map(|n| pacer.due(n * 999_999)).collect();
        assert_eq!(due, [0, 250, 500].map(Duration::from_millis));
    }

    #[test]
    fn a_reading_out_of_order_is_due_at_once() {
        let mut pacer = Pacer::new(Pace::EventTime { speed: 1.0 });
        pacer.due(10_000);
        assert_eq!(pacer.due(5_000), Duration::ZERO);
        let mut pacer = Pacer::new(Pace::Unlimited);
        pacer.due(0);
        assert_eq!(pacer.due(i64::MAX), Duration::ZERO);
    }
}
