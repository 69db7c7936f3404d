//! The state of the application and of its threads: who changed it, who wants to know, who asked it to stop.

use crate::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// What a [`KafkaStreams`](crate::KafkaStreams) is doing, in Kafka Streams' words (`KafkaStreams.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not started yet.
    Created,
    /// Starting, waiting for an assignment, or restoring state; tasks that are ready are processed meanwhile.
    Rebalancing,
    /// Every thread has its tasks and every task is processed.
    Running,
    /// Asked to stop: threads finish, commit and close.
    PendingShutdown,
    /// Stopped in order.
    NotRunning,
    /// Failed: the remaining threads are being stopped.
    PendingError,
    /// Stopped after a failure.
    Error,
}

impl State {
    /// Whether the application is starting or working: not yet asked to stop and not failed.
    pub fn is_running_or_rebalancing(self) -> bool {
        matches!(self, State::Rebalancing | State::Running)
    }

    /// Whether nothing more will happen.
    pub fn has_stopped(self) -> bool {
        matches!(self, State::NotRunning | State::Error)
    }

    fn may_become(self, next: State) -> bool {
        use State::{
            Created, Error, NotRunning, PendingError, PendingShutdown, Rebalancing, Running,
        };
        matches!(
            (self, next),
            (Created, Rebalancing | PendingShutdown | PendingError)
                | (Rebalancing, Running | PendingShutdown | PendingError)
                | (Running, Rebalancing | PendingShutdown | PendingError)
                | (PendingShutdown, NotRunning | PendingError)
                | (PendingError, Error)
        )
    }
}

impl fmt::Display for State {
    /// As Kafka Streams writes it: `RUNNING`, `PENDING_SHUTDOWN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Created => "CREATED",
            State::Rebalancing => "REBALANCING",
            State::Running => "RUNNING",
            State::PendingShutdown => "PENDING_SHUTDOWN",
            State::NotRunning => "NOT_RUNNING",
            State::PendingError => "PENDING_ERROR",
            State::Error => "ERROR",
        })
    }
}

/// Called with the new and the old state, on the thread that changed it; it must not block.
pub(crate) type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;

/// What one stream thread contributes to the state of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// Waiting for an assignment or for tasks to be restored.
    Rebalancing,
    /// All its tasks, possibly none, are processed.
    Running,
    /// Done.
    Dead,
}

/// The state shared by the threads of one application.
pub(crate) struct Lifecycle {
    inner: Mutex<Inner>,
    stopping: AtomicBool,
    /// Notified when the application is to stop.
    stop: Condvar,
    listener: RwLock<Option<StateListener>>,
}

struct Inner {
    state: State,
    threads: Vec<ThreadState>,
    failure: Option<Error>,
}

impl Lifecycle {
    /// An application that is not started.
    pub(crate) fn new(thread_count: usize) -> Arc<Self> {
        Arc::new(Lifecycle {
            inner: Mutex::new(Inner {
                state: State::Created,
                threads: vec![ThreadState::Rebalancing; thread_count],
                failure: None,
            }),
            stopping: AtomicBool::new(false),
            stop: Condvar::new(),
            listener: RwLock::new(None),
        })
    }

    /// Tells `listener` about every change from now on.
    pub(crate) fn set_listener(&self, listener: StateListener) {
        *self
            .listener
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What the lock guards is valid between any two statements, so a panic elsewhere does not spoil it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state now.
    pub(crate) fn state(&self) -> State {
        self.lock().state
    }

    /// Moves to `next` unless that is no step from where the application is; says whether it moved.
    pub(crate) fn set(&self, next: State) -> bool {
        let old = {
            let mut inner = self.lock();
            let old = inner.state;
            if !old.may_become(next) {
                return false;
            }
            inner.state = next;
            old
        };
        tracing::info!(from = %old, to = %next, "state changed");
        // Called on a copy, so that a listener may ask for the state or set another listener.
        let listener = self
            .listener
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(listener) = listener {
            listener(next, old);
        }
        true
    }

    /// Notes what a thread is doing; the application runs when all its threads do.
    pub(crate) fn set_thread(&self, thread: usize, state: ThreadState) {
        let next = {
            let mut inner = self.lock();
            if inner.threads[thread] == state {
                return;
            }
            inner.threads[thread] = state;
            if inner.threads.iter().all(|&t| t == ThreadState::Running) {
                State::Running
            } else {
                State::Rebalancing
            }
        };
        self.set(next);
    }

    /// Asks every thread to stop.
    pub(crate) fn request_stop(&self) {
        // Under the lock, so that nobody who has just looked misses the notification.
        let _inner = self.lock();
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_all();
    }

    /// Waits until the application is to stop, at most for `timeout`; returns whether it is.
    pub(crate) fn wait_for_stop(&self, timeout: Duration) -> bool {
        let inner = self.lock();
        let _inner = self
            .stop
            .wait_timeout_while(inner, timeout, |_| !self.is_stopping())
            .unwrap_or_else(PoisonError::into_inner);
        self.is_stopping()
    }

    /// Whether threads are to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Asks every thread to stop because of `error`; the first error is the one the application ends with.
    pub(crate) fn fail(&self, error: Error) {
        {
            let mut inner = self.lock();
            if inner.failure.is_none() {
                inner.failure = Some(error);
            } else {
                tracing::error!(%error, "another failure while stopping");
            }
        }
        self.request_stop();
        self.set(State::PendingError);
    }

    /// The error the application ends with, once.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_when_all_threads_run_and_stops_once() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = {
            let seen = Arc::clone(&seen);
            Arc::new(move |new: State, _old: State| seen.lock().unwrap().push(new.to_string()))
        };
        let lifecycle = Lifecycle::new(2);
        lifecycle.set_listener(listener);
        lifecycle.set(State::Rebalancing);
        lifecycle.set_thread(0, ThreadState::Running);
        assert_eq!(lifecycle.state(), State::Rebalancing);
        lifecycle.set_thread(1, ThreadState::Running);
        assert_eq!(lifecycle.state(), State::Running);
        lifecycle.set_thread(1, ThreadState::Rebalancing);
        assert_eq!(lifecycle.state(), State::Rebalancing);
        lifecycle.set(State::PendingShutdown);
        lifecycle.set_thread(1, ThreadState::Running);
        assert_eq!(lifecycle.state(), State::PendingShutdown);
        lifecycle.set(State::NotRunning);
        assert!(!lifecycle.set(State::Running));
        assert_eq!(
            *seen.lock().unwrap(),
            [
                "REBALANCING",
                "RUNNING",
                "REBALANCING",
                "PENDING_SHUTDOWN",
                "NOT_RUNNING"
            ]
        );
    }

    #[test]
    fn the_first_failure_is_kept() {
        let lifecycle = Lifecycle::new(1);
        lifecycle.set(State::Rebalancing);
        lifecycle.fail(Error::fatal("first"));
        lifecycle.fail(Error::fatal("second"));
        assert!(lifecycle.is_stopping());
        assert_eq!(lifecycle.state(), State::PendingError);
        assert_eq!(lifecycle.take_failure().unwrap().to_string(), "first");
    }
}
