//! What the parts of one instance tell each other about tasks: which of them its stream threads may be given and have been given,
//! and the standby copies that wait to be taken over by them.

use crate::runtime::restore_request::OpenStores;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The tasks of one instance.
#[derive(Default)]
pub(crate) struct LocalTasks {
    inner: Mutex<Inner>,
    /// How often the subscription has changed, so that threads need no lock to see that it has not.
    subscriptions: AtomicU64,
}

#[derive(Default)]
struct Inner {
    next_thread: u64,
    given: BTreeMap<u64, Given>,
    warm: BTreeMap<TaskId, OpenStores>,
    subscription: Arc<[String]>,
}

/// What a thread has been given.
#[derive(Default)]
struct Given {
    tasks: BTreeSet<TaskId>,
    /// When it last polled, in milliseconds.
    polled_ms: Arc<AtomicU64>,
}

impl LocalTasks {
    /// For a stream thread to say what it has been given.
    pub(crate) fn thread(self: &Arc<Self>) -> ThreadTasks {
        let mut inner = self.lock();
        inner.next_thread += 1;
        ThreadTasks {
            number: inner.next_thread,
            owner: Arc::clone(self),
            polled_ms: Arc::default(),
            subscription: 0,
        }
    }

    /// All threads subscribe to these topics from now on.
    pub(crate) fn subscribe(&self, topics: &[String]) {
        let mut inner = self.lock();
        if self.subscriptions.load(Ordering::Relaxed) == 0 || *inner.subscription != *topics {
            inner.subscription = topics.into();
            self.subscriptions.fetch_add(1, Ordering::Release);
        }
    }

    /// All tasks the threads of this instance have been given, whether they are processed yet or not.
    pub(crate) fn given(&self) -> BTreeSet<TaskId> {
        let inner = self.lock();
        let tasks = inner.given.values().flat_map(|given| &given.tasks);
        tasks.copied().collect()
    }

    /// The tasks of threads that have polled not longer ago than `silence_max`: the group takes those of others away.
    pub(crate) fn held(&self, now: Duration, silence_max: Duration) -> BTreeSet<TaskId> {
        let inner = self.lock();
        let polled = |given: &&Given| {
            let polled = Duration::from_millis(given.polled_ms.load(Ordering::Relaxed));
            polled + silence_max >= now
        };
        let held = inner.given.values().filter(polled);
        held.flat_map(|given| &given.tasks).copied().collect()
    }

    /// Leaves an open copy to the thread that has been given its task.
    pub(crate) fn put_warm(&self, task: TaskId, open: OpenStores) {
        self.lock().warm.insert(task, open);
    }

    /// The copy of a task, if one waits.
    pub(crate) fn take_warm(&self, task: TaskId) -> Option<OpenStores> {
        self.lock().warm.remove(&task)
    }

    /// The copies of tasks that moved on before anybody took them.
    pub(crate) fn take_unwanted(&self) -> BTreeMap<TaskId, OpenStores> {
        let inner = &mut *self.lock();
        let given = &inner.given;
        let wanted = |task: &TaskId| given.values().any(|given| given.tasks.contains(task));
        let warm = std::mem::take(&mut inner.warm).into_iter();
        let (wanted, unwanted) = warm.partition(|(task, _)| wanted(task));
        inner.warm = wanted;
        unwanted
    }

    /// All copies that wait.
    pub(crate) fn take_all_warm(&self) -> BTreeMap<TaskId, OpenStores> {
        std::mem::take(&mut self.lock().warm)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // These maps are valid between any two statements, so a panic elsewhere does not spoil them.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stream thread has been given; nothing any more when it is dropped.
pub(crate) struct ThreadTasks {
    owner: Arc<LocalTasks>,
    number: u64,
    polled_ms: Arc<AtomicU64>,
    /// Which subscription the thread has.
    subscription: u64,
}

impl ThreadTasks {
    /// These are the thread's tasks from now on.
    pub(crate) fn set(&self, tasks: BTreeSet<TaskId>) {
        let polled_ms = Arc::clone(&self.polled_ms);
        let given = Given { tasks, polled_ms };
        self.owner.lock().given.insert(self.number, given);
    }

    /// The thread is about to poll. Says what it is to subscribe to, when that has changed.
    pub(crate) fn polls(&mut self, now: Duration) -> Option<Arc<[String]>> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.polled_ms.store(now_ms, Ordering::Relaxed);
        let subscription = self.owner.subscriptions.load(Ordering::Acquire);
        if subscription == self.subscription {
            return None;
        }
        self.subscription = subscription;
        Some(Arc::clone(&self.owner.lock().subscription))
    }

    /// The thread has a new member of the group, which is subscribed to nothing.
    pub(crate) fn forget_subscription(&mut self) {
        self.subscription = 0;
    }

    /// Whether the thread knows what to subscribe to.
    pub(crate) fn knows_subscription(&self) -> bool {
        self.subscription > 0
    }

    /// Whether that is nothing: then the group has nothing for it.
    pub(crate) fn is_left_out(&self) -> bool {
        self.knows_subscription() && self.owner.lock().subscription.is_empty()
    }
}

impl Drop for ThreadTasks {
    fn drop(&mut self) {
        self.owner.lock().given.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::state_directory::StateDirectory;
    use std::time::Duration;
    use streams_state::{StoreResources, TaskStores};

    #[test]
    fn a_copy_waits_as_long_as_a_thread_has_its_task() {
        let task = TaskId {
            sub_topology: 0,
            partition: 1,
        };
        let tasks = Arc::<LocalTasks>::default();
        let mut threads = [tasks.thread(), tasks.thread()];
        threads[0].set(BTreeSet::from([task]));
        threads[1].set(BTreeSet::new());
        assert_eq!(tasks.given(), BTreeSet::from([task]));

        let directory = StateDirectory::in_memory();
        let open = OpenStores {
            stores: TaskStores::open(None, &[], &StoreResources::in_memory()).unwrap(),
            directory: directory.lock_task(task, Duration::ZERO).unwrap().unwrap(),
        };
        tasks.put_warm(task, open);
        assert!(tasks.take_unwanted().is_empty());
        let seconds = Duration::from_secs;
        assert_eq!(tasks.held(seconds(5), seconds(5)).len(), 1);
        assert!(tasks.held(seconds(6), seconds(5)).is_empty());
        threads[0].polls(seconds(4));
        assert_eq!(tasks.held(seconds(9), seconds(5)).len(), 1);
        drop(threads);
        assert!(tasks.given().is_empty());
        assert_eq!(tasks.take_unwanted().len(), 1);
        assert!(tasks.take_warm(task).is_none());
    }

    #[test]
    fn every_thread_hears_of_a_new_subscription_once() {
        let tasks = Arc::<LocalTasks>::default();
        let mut thread = tasks.thread();
        let topics = |thread: &mut ThreadTasks| thread.polls(Duration::ZERO).map(|t| t.to_vec());
        assert_eq!(topics(&mut thread), None);
        assert!(!thread.is_left_out(), "it is not known yet");
        tasks.subscribe(&[]);
        assert_eq!(topics(&mut thread), Some(vec![]));
        assert!(thread.is_left_out());
        let a = ["a".to_owned()];
        tasks.subscribe(&a);
        tasks.subscribe(&a);
        assert_eq!(topics(&mut thread), Some(a.to_vec()));
        assert_eq!(topics(&mut thread), None);
        assert!(!thread.is_left_out());
        thread.forget_subscription();
        assert_eq!(topics(&mut thread), Some(a.to_vec()));
        assert_eq!(topics(&mut tasks.thread()), Some(a.to_vec()));
    }
}
