//! Calls by stream time and by the wall clock.
//!
//! The arithmetic is Kafka's `PunctuationSchedule`: stream-time schedules start at 0, wall-clock ones an interval from
//! now; what was missed collapses into one call. Sums saturate where Java's overflow.

use super::java_queue::JavaQueue;
use crate::processor::{PunctuationType, Schedule};
use crate::stores::duration_ms;
use std::time::Duration;

/// A task's schedules: for each clock a queue of its own, as in Kafka's `StreamTask`.
#[derive(Default)]
pub(crate) struct Schedules {
    stream_time: JavaQueue<Entry>,
    wall_clock: JavaQueue<Entry>,
    /// The schedule that is being called and whether it was cancelled by that.
    called: Option<(u64, bool)>,
    next_id: u64,
}

struct Entry {
    id: u64,
    node: usize,
    interval_ms: i64,
    cancelled: bool,
}

/// A call that is due.
pub(crate) struct Due {
    pub(crate) schedule: u64,
    pub(crate) node: usize,
    due_ms: i64,
    entry: Entry,
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
        let entry = Entry {
            id,
            node,
            interval_ms,
            cancelled: false,
        };
        self.queue(clock).offer(due_ms, entry);
        Schedule(id)
    }

    fn queue(&mut self, clock: PunctuationType) -> &mut JavaQueue<Entry> {
        match clock {
            PunctuationType::StreamTime => &mut self.stream_time,
            PunctuationType::WallClock => &mut self.wall_clock,
        }
    }

    pub(crate) fn cancel(&mut self, schedule: Schedule) {
        if let Some((id, cancelled)) = &mut self.called
            && *id == schedule.0
        {
            *cancelled = true;
        }
        for queue in [&mut self.stream_time, &mut self.wall_clock] {
            for entry in queue.iter_mut().filter(|entry| entry.id == schedule.0) {
                entry.cancelled = true;
            }
        }
    }

    /// The earliest call due at `time_ms` on that clock; [`Schedules::called`] must follow it.
    pub(crate) fn take_due(&mut self, clock: PunctuationType, time_ms: i64) -> Option<Due> {
        let queue = self.queue(clock);
        while queue.peek().is_some_and(|(due_ms, _)| *due_ms <= time_ms) {
            let (due_ms, entry) = queue.poll()?;
            if !entry.cancelled {
                self.called = Some((entry.id, false));
                return Some(Due {
                    schedule: entry.id,
                    node: entry.node,
                    due_ms,
                    entry,
                });
            }
        }
        None
    }

    /// Sets a schedule that was called to its next time, unless the call cancelled it.
    pub(crate) fn called(&mut self, due: Due, clock: PunctuationType, time_ms: i64) {
        if let Some((_, true)) = self.called.take() {
            return;
        }
        let missed = (time_ms - due.due_ms) / due.entry.interval_ms;
        let next_ms = due
            .due_ms
            .saturating_add((missed + 1).saturating_mul(due.entry.interval_ms));
        if next_ms < i64::MAX {
            self.queue(clock).offer(next_ms, due.entry);
        }
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
            while let Some(due) = schedules.take_due(clock, *time) {
                fired.push(*time);
                schedules.called(due, clock, *time);
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

    /// `PunctuationQueueTest#shouldPunctuateIntervalWhenTimeAdvances` and those around it.
    #[test]
    fn missed_calls_keep_to_multiples_of_the_interval() {
        let stream_time = PunctuationType::StreamTime;
        assert_eq!(
            fired(
                stream_time,
                100,
                &[0, 99, 100, 199, 200, 1001, 1002, 1099, 1100]
            ),
            [0, 100, 200, 1001, 1100]
        );
    }

    /// `PunctuationQueueTest#shouldPunctuateOnceNewTimestampAligns` has schedules that cancel each other.
    #[test]
    fn a_cancelled_schedule_is_called_no_more() {
        let clock = PunctuationType::WallClock;
        let mut schedules = Schedules::default();
        let interval = Duration::from_millis(10);
        let first = schedules.add(0, interval, clock, 0);
        let second = schedules.add(1, interval, clock, 0);
        let due = schedules.take_due(clock, 10).expect("the first is due");
        assert_eq!(due.node, 0);
        // From within its own call.
        schedules.cancel(first);
        schedules.called(due, clock, 10);
        schedules.cancel(second);
        assert!(schedules.take_due(clock, 100).is_none());
    }

    #[test]
    fn schedules_due_at_one_time_are_called_in_javas_order() {
        let clock = PunctuationType::StreamTime;
        let mut schedules = Schedules::default();
        for node in 0..3 {
            schedules.add(node, Duration::from_millis(10), clock, 0);
        }
        let mut order = Vec::new();
        for time in [0, 10] {
            while let Some(due) = schedules.take_due(clock, time) {
                order.push(due.node);
                schedules.called(due, clock, time);
            }
        }
        assert_eq!(order, [0, 2, 1, 2, 1, 0]);
    }
}
