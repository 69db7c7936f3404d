//! The state of the application and of its threads: who changed it, who wants to know, who asked it to stop.

use crate::error::Error;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Called with the new and the old state, one change after the other, on a thread that changed it; it must not block.
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
    dropped_records: AtomicU64,
}

struct Inner {
    state: State,
    threads: Vec<ThreadState>,
    failure: Option<Error>,
    /// Changes the listener has not been told of, as (new, old).
    untold: VecDeque<(State, State)>,
    /// Whether a thread is telling the listener: it tells what is added meanwhile, so that changes arrive in order.
    telling: bool,
}

impl Inner {
    /// Moves to `next` unless that is no step from where the application is; says whether it moved.
    fn step(&mut self, next: State) -> bool {
        let old = self.state;
        if !old.may_become(next) {
            return false;
        }
        self.state = next;
        tracing::info!(from = %old, to = %next, "state changed");
        self.untold.push_back((next, old));
        true
    }
}

impl Lifecycle {
    /// An application that is not started.
    pub(crate) fn new(thread_count: usize) -> Arc<Self> {
        Arc::new(Lifecycle {
            inner: Mutex::new(Inner {
                state: State::Created,
                threads: vec![ThreadState::Rebalancing; thread_count],
                failure: None,
                untold: VecDeque::new(),
                telling: false,
            }),
            stopping: AtomicBool::new(false),
            stop: Condvar::new(),
            listener: RwLock::new(None),
            dropped_records: AtomicU64::new(0),
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
        let moved = self.lock().step(next);
        self.tell_listener();
        moved
    }

    /// Tells the listener of changes in their order, without the lock, so that it may ask for the state.
    fn tell_listener(&self) {
        let mut inner = self.lock();
        if inner.telling {
            return;
        }
        while let Some((new, old)) = inner.untold.pop_front() {
            inner.telling = true;
            drop(inner);
            let told = Telling(self);
            // Called on a copy, so that a listener may set another one.
            let listener = self
                .listener
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(listener) = listener {
                listener(new, old);
            }
            drop(told);
            inner = self.lock();
            if inner.telling {
                return;
            }
        }
    }

    /// Notes what a thread is doing; the application runs when all its threads do.
    pub(crate) fn set_thread(&self, thread: usize, state: ThreadState) {
        {
            // What follows from the threads is decided and written under one lock: another thread's later word would
            // otherwise be overwritten by an earlier one, for ever.
            let mut inner = self.lock();
            if inner.threads[thread] == state {
                return;
            }
            inner.threads[thread] = state;
            // A thread ends because the application stops or fails, which sets the state itself.
            if state == ThreadState::Dead || self.is_stopping() {
                return;
            }
            let running = inner.threads.iter().all(|&t| t == ThreadState::Running);
            inner.step(if running {
                State::Running
            } else {
                State::Rebalancing
            });
        }
        self.tell_listener();
    }

    /// Counts records that operators or handlers dropped.
    pub(crate) fn add_dropped_records(&self, count: u64) {
        self.dropped_records.fetch_add(count, Ordering::Relaxed);
    }

    /// How many records were dropped since the start.
    pub(crate) fn dropped_records(&self) -> u64 {
        self.dropped_records.load(Ordering::Relaxed)
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

/// Ends a call of the listener, also when that panics: other threads must still be able to tell it.
struct Telling<'a>(&'a Lifecycle);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.lock().telling = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_change_at_once_leave_the_state_they_make_up() {
        let lifecycle = Lifecycle::new(4);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = {
            let seen = Arc::clone(&seen);
            Arc::new(move |new: State, old: State| seen.lock().unwrap().push((new, old)))
        };
        lifecycle.set_listener(listener);
        lifecycle.set(State::Rebalancing);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let lifecycle = &lifecycle;
                scope.spawn(move || {
                    for _ in 0..200 {
                        lifecycle.set_thread(thread, ThreadState::Running);
                        lifecycle.set_thread(thread, ThreadState::Rebalancing);
                    }
                    lifecycle.set_thread(thread, ThreadState::Running);
                });
            }
        });
        assert_eq!(lifecycle.state(), State::Running);
        let seen = seen.lock().unwrap();
        assert!(seen.windows(2).all(|pair| pair[0].0 == pair[1].1));
        assert_eq!(seen.last().unwrap().0, State::Running);
    }

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
