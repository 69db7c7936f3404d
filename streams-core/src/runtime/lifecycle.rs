//! The state of the application and of its threads: who changed it, who wants to know, who asked it to stop or to pause.

use crate::error::Error;
pub use crate::runtime::state::State;
pub(crate) use crate::runtime::stream_threads::ThreadState;
use crate::runtime::stream_threads::{StreamThreads, ThreadFactory};
use crate::runtime::uncaught::{StreamThreadExceptionResponse, UncaughtExceptionHandler};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Called with the new and the old state, one change after the other, on a thread that changed it; it must not block.
pub(crate) type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;

/// The state shared by the threads of one application.
pub(crate) struct Lifecycle {
    inner: Mutex<Inner>,
    stopping: AtomicBool,
    /// Notified when the application is to stop, and at every change.
    pub(super) stop: Condvar,
    listener: RwLock<Option<StateListener>>,
    uncaught: RwLock<Option<UncaughtExceptionHandler>>,
    dropped_records: AtomicU64,
    paused: AtomicBool,
    /// How many stream threads share what is shared out among them.
    thread_count: AtomicUsize,
    /// Whether members leave the group when they stop.
    pub(super) leaves_group: AtomicBool,
    /// Whether threads were left alone that took too long to stop.
    pub(super) overdue: AtomicBool,
}

pub(super) struct Inner {
    pub(super) state: State,
    pub(super) threads: StreamThreads,
    failure: Option<Error>,
    /// How long the user gives the application to stop, where that was said.
    pub(super) close_timeout: Option<Duration>,
    /// Starts stream threads, once the application is far enough.
    factory: Option<Arc<ThreadFactory>>,
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
                threads: StreamThreads::new(thread_count),
                failure: None,
                close_timeout: None,
                factory: None,
                untold: VecDeque::new(),
                telling: false,
            }),
            stopping: AtomicBool::new(false),
            stop: Condvar::new(),
            listener: RwLock::new(None),
            uncaught: RwLock::new(None),
            dropped_records: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            thread_count: AtomicUsize::new(thread_count),
            leaves_group: AtomicBool::new(true),
            overdue: AtomicBool::new(false),
        })
    }

    /// Tells `listener` about every change from now on.
    pub(crate) fn set_listener(&self, listener: StateListener) {
        *self
            .listener
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Asks `handler` about errors that end a thread.
    pub(crate) fn set_uncaught_handler(&self, handler: UncaughtExceptionHandler) {
        *self
            .uncaught
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// What the user wants to be done about an error that ended a thread; to stop the client where nobody was set to be asked.
    pub(crate) fn ask_uncaught_handler(&self, error: &Error) -> StreamThreadExceptionResponse {
        let handler = self
            .uncaught
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        handler.map_or(StreamThreadExceptionResponse::ShutdownClient, |handler| {
            handler(error)
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
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
        self.stop.notify_all();
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

    /// Changes what is known of the threads; the application runs when all of them do.
    pub(super) fn change_threads<T>(&self, change: impl FnOnce(&mut StreamThreads) -> T) -> T {
        let changed = {
            // What follows from the threads is decided and written under one lock: another thread's later word would
            // otherwise be overwritten by an earlier one, for ever.
            let mut inner = self.lock();
            let changed = change(&mut inner.threads);
            self.thread_count
                .store(inner.threads.live_count(), Ordering::Relaxed);
            // A thread ends because the application stops or fails, which sets the state itself.
            if !self.is_stopping()
                && let Some(running) = inner.threads.all_run()
            {
                inner.step(if running {
                    State::Running
                } else {
                    State::Rebalancing
                });
            }
            changed
        };
        self.stop.notify_all();
        self.tell_listener();
        changed
    }

    /// How many stream threads are at work.
    pub(crate) fn thread_count(&self) -> usize {
        self.thread_count.load(Ordering::Relaxed)
    }

    /// Stops processing, or goes on with it.
    pub(crate) fn set_paused(&self, paused: bool) {
        if self.paused.swap(paused, Ordering::AcqRel) != paused {
            tracing::info!(paused, "processing is paused or goes on");
        }
    }

    /// Whether nothing is to be processed for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Sets who starts stream threads, or that there is nobody any more.
    pub(crate) fn set_factory(&self, factory: Option<ThreadFactory>) {
        self.lock().factory = factory.map(Arc::new);
    }

    /// Who starts stream threads.
    pub(crate) fn factory(&self) -> Option<Arc<ThreadFactory>> {
        self.lock().factory.clone()
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
            for thread in 1..=4 {
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
        lifecycle.set_thread(1, ThreadState::Running);
        assert_eq!(lifecycle.state(), State::Rebalancing);
        lifecycle.set_thread(2, ThreadState::Running);
        assert_eq!(lifecycle.state(), State::Running);
        lifecycle.set_thread(2, ThreadState::Rebalancing);
        assert_eq!(lifecycle.state(), State::Rebalancing);
        lifecycle.set(State::PendingShutdown);
        lifecycle.set_thread(2, ThreadState::Running);
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
