//! Waiting for something to become true, with a deadline instead of a fixed sleep.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `poll` gives a value, and gives that back.
///
/// # Panics
///
/// When there is none after `deadline`; `what` says what was waited for.
#[track_caller]
pub fn until_some<T>(what: &str, deadline: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain for: {what}"
        );
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it does not hold after `deadline`; `what` says what was waited for.
#[track_caller]
pub fn until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    until_some(what, deadline, || condition().then_some(()));
}
