//! The time the broker lives by.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that never go back: the wall clock at the start, and a monotonic one from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started_ms: i64,
    started: Instant,
}

impl Clock {
    /// A clock that starts at the present time.
    pub(super) fn start() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
            started: Instant::now(),
        }
    }

    /// The time in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        self.started_ms
            .saturating_add(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}
