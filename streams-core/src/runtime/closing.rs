//! How an application is to stop, and waiting for that and for other changes.

use crate::runtime::lifecycle::{Inner, Lifecycle, State};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long one wait for a change is at most; a wait without bound is made of these.
const WAIT_SLICE: Duration = Duration::from_secs(3600);

impl Lifecycle {
    /// Says how the application is to stop: whether its members leave the group, and how long it may take.
    pub(crate) fn set_close(&self, leaves_group: bool, timeout: Option<Duration>) {
        self.leaves_group.store(leaves_group, Ordering::Release);
        self.lock().close_timeout = timeout;
    }

    /// Whether members leave the group when they stop.
    pub(crate) fn leaves_group(&self) -> bool {
        self.leaves_group.load(Ordering::Acquire)
    }

    /// How long the user gives the application to stop, where that was said.
    pub(crate) fn close_timeout(&self) -> Option<Duration> {
        self.lock().close_timeout
    }

    /// Notes that threads took too long to stop.
    pub(crate) fn set_overdue(&self) {
        self.overdue.store(true, Ordering::Release);
    }

    /// Whether threads took too long to stop.
    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::Acquire)
    }

    /// Waits until `done` says so of what the lock guards, at most for `timeout`; returns whether it did.
    pub(super) fn wait_until(
        &self,
        timeout: Option<Duration>,
        mut done: impl FnMut(&mut Inner) -> bool,
    ) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut inner = self.lock();
        loop {
            if done(&mut inner) {
                return true;
            }
            let rest = match deadline {
                None => Duration::MAX,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if rest.is_zero() {
                return false;
            }
            let waited = self.stop.wait_timeout(inner, rest.min(WAIT_SLICE));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the application has stopped, at most for `timeout`; returns whether it has. One that was never started has.
    pub(crate) fn wait_for_end(&self, timeout: Option<Duration>) -> bool {
        self.wait_until(timeout, |inner| {
            inner.state == State::Created || inner.state.has_stopped()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_was_never_started_need_not_be_waited_for() {
        let lifecycle = Lifecycle::new(1);
        assert!(lifecycle.wait_for_end(Some(Duration::ZERO)));
        lifecycle.set(State::Rebalancing);
        assert!(!lifecycle.wait_for_end(Some(Duration::from_millis(1))));
        lifecycle.set(State::PendingShutdown);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lifecycle.wait_for_end(None));
            lifecycle.set(State::NotRunning);
            assert!(waiting.join().unwrap());
        });
    }
}
