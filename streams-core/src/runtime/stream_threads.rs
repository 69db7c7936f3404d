//! The stream threads of an application: which there are and what each is doing, by number. One may be added or removed while
//! the application runs (KIP-663).

use crate::error::Result;
use crate::runtime::lifecycle::Lifecycle;
use crate::task::TaskId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a stream thread is doing, in Kafka Streams' words (`StreamThread.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadState {
    /// Started, and not yet heard of.
    Starting,
    /// Waiting for an assignment, or for tasks to be restored; those that are ready are processed meanwhile.
    Rebalancing,
    /// All its tasks, possibly none, are processed.
    Running,
    /// Asked to end.
    PendingShutdown,
    /// Done.
    Dead,
}

impl fmt::Display for ThreadState {
    /// As Kafka Streams writes it: `PARTITIONS_ASSIGNED`, `RUNNING`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ThreadState::Starting => "STARTING",
            ThreadState::Rebalancing => "PARTITIONS_ASSIGNED",
            ThreadState::Running => "RUNNING",
            ThreadState::PendingShutdown => "PENDING_SHUTDOWN",
            ThreadState::Dead => "DEAD",
        })
    }
}

/// A stream thread of this instance (Kafka Streams' `ThreadMetadata`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadMetadata {
    /// Its name, `<client.id>-StreamThread-<number>`.
    pub thread_name: String,
    /// What it is doing.
    pub thread_state: ThreadState,
    /// The tasks it processes.
    pub active_tasks: Vec<TaskId>,
    /// The id of its client in the group.
    pub consumer_client_id: String,
    /// The id of its producer.
    pub producer_client_id: String,
}

/// Starts stream threads.
pub(crate) struct ThreadFactory {
    /// What their names begin with.
    pub(crate) client_id: String,
    pub(crate) start: Box<dyn Fn(usize) -> Result<()> + Send + Sync>,
}

impl ThreadFactory {
    /// The name of a stream thread.
    pub(crate) fn name(&self, number: usize) -> String {
        thread_name(&self.client_id, number)
    }
}

/// The name of a stream thread (Kafka Streams' `StreamThread`).
pub(crate) fn thread_name(client_id: &str, number: usize) -> String {
    format!("{client_id}-StreamThread-{number}")
}

/// By number, from 1; those that have ended are not among them.
pub(crate) struct StreamThreads(BTreeMap<usize, Slot>);

struct Slot {
    state: ThreadState,
    tasks: Vec<TaskId>,
    /// Whether it is to end while the application goes on.
    removed: Arc<AtomicBool>,
}

impl Slot {
    fn new() -> Self {
        Slot {
            state: ThreadState::Starting,
            tasks: Vec::new(),
            removed: Arc::default(),
        }
    }

    fn is_live(&self) -> bool {
        self.state != ThreadState::PendingShutdown
    }
}

impl StreamThreads {
    /// Threads that are about to start.
    pub(crate) fn new(count: usize) -> Self {
        StreamThreads((1..=count).map(|number| (number, Slot::new())).collect())
    }

    /// How many are at work and stay.
    pub(crate) fn live_count(&self) -> usize {
        self.0.values().filter(|slot| slot.is_live()).count()
    }

    /// Whether all that stay have their tasks; `None` when there is none.
    pub(crate) fn all_run(&self) -> Option<bool> {
        let mut live = self.0.values().filter(|slot| slot.is_live()).peekable();
        live.peek()?;
        Some(live.all(|slot| slot.state == ThreadState::Running))
    }

    /// Makes a place for another one; its number is the lowest that is free, as in Kafka Streams.
    fn add(&mut self) -> usize {
        let number = (1..)
            .find(|number| !self.0.contains_key(number))
            .unwrap_or(1);
        self.0.insert(number, Slot::new());
        number
    }

    /// Asks the first that stays to end.
    fn remove(&mut self) -> Option<usize> {
        let (number, slot) = self.0.iter_mut().find(|(_, slot)| slot.is_live())?;
        slot.state = ThreadState::PendingShutdown;
        slot.removed.store(true, Ordering::Release);
        Some(*number)
    }

    fn set(&mut self, number: usize, state: ThreadState) {
        if state == ThreadState::Dead {
            self.0.remove(&number);
        } else if let Some(slot) = self.0.get_mut(&number)
            && slot.is_live()
        {
            slot.state = state;
        }
    }
}

impl Lifecycle {
    /// Notes what a thread is doing.
    pub(crate) fn set_thread(&self, number: usize, state: ThreadState) {
        let unchanged = |slot: &Slot| slot.state == state;
        if self.lock().threads.0.get(&number).is_some_and(unchanged) {
            return;
        }
        self.change_threads(|threads| threads.set(number, state));
    }

    /// Notes which tasks a thread processes.
    pub(crate) fn set_tasks(&self, number: usize, tasks: Vec<TaskId>) {
        if let Some(slot) = self.lock().threads.0.get_mut(&number) {
            slot.tasks = tasks;
        }
    }

    /// What tells a thread that it is to end while the application goes on.
    pub(crate) fn removal(&self, number: usize) -> Arc<AtomicBool> {
        let inner = self.lock();
        let slot = inner.threads.0.get(&number);
        slot.map(|slot| Arc::clone(&slot.removed))
            .unwrap_or_default()
    }

    /// Starts another thread and says its name; `None` when the application is not running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn add_thread(&self) -> Result<Option<String>> {
        let Some(factory) = self.factory_if_running() else {
            return Ok(None);
        };
        let number = self.change_threads(StreamThreads::add);
        let name = factory.name(number);
        tracing::info!(thread = name, threads = self.thread_count(), "adding");
        match (factory.start)(number) {
            Ok(()) => Ok(Some(name)),
            Err(error) => {
                self.set_thread(number, ThreadState::Dead);
                Err(error)
            }
        }
    }

    /// Asks a thread to end, and says its number and name; `None` when the application is not running or has none.
    pub(crate) fn remove_thread(&self) -> Option<(usize, String)> {
        let factory = self.factory_if_running()?;
        let number = self.change_threads(StreamThreads::remove)?;
        let name = factory.name(number);
        tracing::info!(thread = name, threads = self.thread_count(), "removing");
        Some((number, name))
    }

    fn factory_if_running(&self) -> Option<Arc<ThreadFactory>> {
        let state = self.state();
        let running = state.is_running_or_rebalancing() && !self.is_stopping();
        let factory = self.factory().filter(|_| running);
        if factory.is_none() {
            tracing::warn!(%state, "the number of stream threads can only be changed while the application runs");
        }
        factory
    }

    /// Waits until a thread has ended, at most for `timeout`; returns whether it has.
    pub(crate) fn wait_for_thread(&self, number: usize, timeout: Option<Duration>) -> bool {
        self.wait_until(timeout, |inner| !inner.threads.0.contains_key(&number))
    }

    /// The threads that have not ended, by number: what each is doing, and its tasks.
    pub(crate) fn threads(&self) -> Vec<(usize, ThreadState, Vec<TaskId>)> {
        let inner = self.lock();
        let threads = inner.threads.0.iter();
        threads
            .map(|(number, slot)| (*number, slot.state, slot.tasks.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::lifecycle::State;

    fn running(count: usize) -> Arc<Lifecycle> {
        let lifecycle = Lifecycle::new(count);
        lifecycle.set_factory(Some(ThreadFactory {
            client_id: "app".to_owned(),
            start: Box::new(|_| Ok(())),
        }));
        lifecycle.set(State::Rebalancing);
        lifecycle
    }

    fn name(number: usize) -> Option<String> {
        Some(thread_name("app", number))
    }

    #[test]
    fn numbers_of_threads_that_have_ended_are_used_again() {
        let lifecycle = running(2);
        assert_eq!(lifecycle.remove_thread().map(|thread| thread.0), Some(1));
        assert_eq!(lifecycle.thread_count(), 1);
        // It has not ended yet, and keeps its number.
        assert_eq!(lifecycle.add_thread().unwrap(), name(3));
        lifecycle.set_thread(1, ThreadState::Dead);
        assert!(lifecycle.wait_for_thread(1, Some(Duration::ZERO)));
        assert_eq!(lifecycle.add_thread().unwrap(), name(1));
        let numbers: Vec<usize> = lifecycle.threads().iter().map(|thread| thread.0).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn threads_come_and_go_only_while_the_application_runs() {
        let starting = Lifecycle::new(1);
        assert_eq!(starting.add_thread().unwrap(), None);
        let stopping = running(1);
        stopping.request_stop();
        assert_eq!(stopping.add_thread().unwrap(), None);
        assert_eq!(stopping.remove_thread(), None);
    }

    #[test]
    fn a_thread_that_is_removed_does_not_keep_the_application_from_running() {
        let lifecycle = running(2);
        lifecycle.set_thread(2, ThreadState::Running);
        assert_eq!(lifecycle.state(), State::Rebalancing);
        assert_eq!(lifecycle.remove_thread().map(|thread| thread.0), Some(1));
        assert_eq!(lifecycle.state(), State::Running);
        // What it says on its way out changes nothing.
        lifecycle.set_thread(1, ThreadState::Rebalancing);
        assert_eq!(lifecycle.threads()[0].1, ThreadState::PendingShutdown);
        assert_eq!(lifecycle.state(), State::Running);
        assert!(!lifecycle.wait_for_thread(1, Some(Duration::from_millis(1))));
    }
}
