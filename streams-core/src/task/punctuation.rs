//! Calls by stream time and by the wall clock.
//!
//! The arithmetic is Kafka's `PunctuationSchedule`: stream-time schedules start at 0, wall-clock ones an interval from
//! now; what was missed collapses into one call. Sums saturate where Java's overflow.

use crate::processor::{PunctuationType, Schedule};
use crate::stores::duration_ms;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Schedules {
    entries: Vec<Entry>,
    next_id: u64,
}

struct Entry {
    id: u64,
    node: usize,
    interval_ms: i64,
    clock: PunctuationType,
    due_ms: i64,
}

/// A call that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) schedule: u64,
    pub(crate) node: usize,
}

impl Schedules {
    pub(crate) fn add(
        &mut self,
        node: usize,
        interval: Duration,
        clock: PunctuationType,
        now_ms: i64,
    ) -> Schedule {
        let id = self.next_id;
        self.next_id += 1;
        let interval_ms = duration_ms(interval).max(1);
        let due_ms = match clock {
            PunctuationType::StreamTime => 0,
            PunctuationType::WallClock => now_ms.saturating_add(interval_ms),
        };
        self.entries.push(Entry {
            id,
            node,
            interval_ms,
            clock,
            due_ms,
        });
        Schedule(id)
    }

    pub(crate) fn cancel(&mut self, schedule: Schedule) {
        self.entries.retain(|entry| entry.id != schedule.0);
    }

    /// The earliest call due at `time_ms` on that clock, set to its next time.
    pub(crate) fn take_due(&mut self, clock: PunctuationType, time_ms: i64) -> Option<Due> {
        let entry = self
            .entries
            .iter_mut()
            .filter(|entry| entry.clock == clock && entry.due_ms <= time_ms)
            .min_by_key(|entry| entry.due_ms)?;
        let due = Due {
            schedule: entry.id,
            node: entry.node,
        };
        let missed = (time_ms - entry.due_ms) / entry.interval_ms;
        entry.due_ms = entry
            .due_ms
            .saturating_add((missed + 1).saturating_mul(entry.interval_ms));
        if entry.due_ms == i64::MAX {
            let id = entry.id;
            self.entries.retain(|entry| entry.id != id);
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(clock: PunctuationType, interval_ms: u64, times: &[i64]) -> Vec<i64> {
        let mut schedules = Schedules::default();
        schedules.add(0, Duration::from_millis(interval_ms), clock, 0);
        let mut fired = Vec::new();
        for time in times {
            while schedules.take_due(clock, *time).is_some() {
                fired.push(*time);
            }
        }
        fired
    }

    #[test]
    fn stream_time_fires_at_once_and_then_at_multiples() {
        assert_eq!(
            fired(PunctuationType::StreamTime, 10, &[3, 12, 13, 44, 45, 50]),
            [3, 12, 44, 50]
        );
    }

    #[test]
    fn the_wall_clock_fires_after_an_interval_and_once_for_all_it_missed() {
        assert_eq!(
            fired(PunctuationType::WallClock, 10, &[0, 9, 10, 45, 49, 50]),
            [10, 45, 50]
        );
    }

    #[test]
    fn the_end_of_time_fires_once() {
        assert_eq!(
            fired(PunctuationType::StreamTime, 10, &[i64::MAX, i64::MAX]),
            [i64::MAX]
        );
    }
}
