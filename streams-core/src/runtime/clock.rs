//! Time as the runtime sees it: a handle, so that a simulation can pass another one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the runtime reads the time.
pub(crate) trait Clock: Send + Sync + 'static {
    /// Wall-clock time in milliseconds since the Unix epoch: what records and punctuations see. It may jump.
    fn wall_ms(&self) -> i64;

    /// Time since some fixed moment: what intervals and deadlines are measured with. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Lets time pass on this thread.
    fn sleep(&self, time: Duration);
}

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] starts now.
    pub(crate) fn new() -> Self {
        SystemClock {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_never_goes_back_and_wall_time_is_this_century() {
        let clock = SystemClock::new();
        let first = clock.elapsed();
        assert!(clock.elapsed() >= first);
        assert!(clock.wall_ms() > 1_600_000_000_000);
    }
}
