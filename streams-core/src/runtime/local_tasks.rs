//! What the parts of one instance tell each other about tasks: which of them its stream threads have been given, and the
//! standby copies that wait to be taken over by them.

use crate::runtime::restore_request::OpenStores;
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tasks of one instance.
#[derive(Default)]
pub(crate) struct LocalTasks(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next_thread: u64,
    given: BTreeMap<u64, BTreeSet<TaskId>>,
    warm: BTreeMap<TaskId, OpenStores>,
}

impl LocalTasks {
    /// For a stream thread to say what it has been given.
    pub(crate) fn thread(self: &Arc<Self>) -> ThreadTasks {
        let mut inner = self.lock();
        inner.next_thread += 1;
        ThreadTasks {
            number: inner.next_thread,
            owner: Arc::clone(self),
        }
    }

    /// All tasks the threads of this instance have been given, whether they are processed yet or not.
    pub(crate) fn given(&self) -> BTreeSet<TaskId> {
        let inner = self.lock();
        inner.given.values().flatten().copied().collect()
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
        let wanted = |task: &TaskId| given.values().any(|tasks| tasks.contains(task));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stream thread has been given; nothing any more when it is dropped.
pub(crate) struct ThreadTasks {
    owner: Arc<LocalTasks>,
    number: u64,
}

impl ThreadTasks {
    /// These are the thread's tasks from now on.
    pub(crate) fn set(&self, tasks: BTreeSet<TaskId>) {
        self.owner.lock().given.insert(self.number, tasks);
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
        let threads = [tasks.thread(), tasks.thread()];
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
        drop(threads);
        assert!(tasks.given().is_empty());
        assert_eq!(tasks.take_unwanted().len(), 1);
        assert!(tasks.take_warm(task).is_none());
    }
}
