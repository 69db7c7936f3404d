//! What passes between a stream thread and the restore threads.

use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::state_directory::TaskDirectory;
use crate::task::TaskId;
use crate::topology::StoreDefinition;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::Duration;
use streams_state::TaskStores;

/// A task whose stores are to be opened and restored.
pub(crate) struct RestoreRequest {
    pub(crate) task: TaskId,
    /// Told apart from an earlier request for the same task by this number.
    pub(crate) ticket: u64,
    /// Its stores, in the order of the sub-topology.
    pub(crate) stores: Vec<StoreToRestore>,
    /// Set by the worker when the task is no longer its own.
    pub(crate) cancelled: Arc<AtomicBool>,
    /// Where the outcome goes.
    pub(crate) reply: Sender<RestoreOutcome>,
    /// How often this request started over; 0 at first.
    pub(crate) restarts: u32,
}

/// One store of such a task.
#[derive(Clone)]
pub(crate) struct StoreToRestore {
    pub(crate) definition: Arc<StoreDefinition>,
    pub(crate) changelog: Option<TopicPartition>,
    /// Records from this offset on are not part of the state: a source topic read as changelog ends at the committed offset.
    pub(crate) end_max: Option<i64>,
}

/// What became of a request.
pub(crate) struct RestoreOutcome {
    pub(crate) task: TaskId,
    pub(crate) ticket: u64,
    pub(crate) result: Result<OpenStores>,
}

/// The stores of a task, open and up to date, with the folder they live in.
pub(crate) struct OpenStores {
    pub(crate) stores: TaskStores,
    pub(crate) directory: TaskDirectory,
}

impl OpenStores {
    /// Closes the stores, so that what was restored so far is kept, and gives the folder back, unused since `now`.
    pub(crate) fn close(self, task: TaskId, now: Duration) {
        if let Err(error) = self.stores.close() {
            tracing::warn!(%task, %error, "stores did not close cleanly; they will be restored further back");
        }
        self.directory.release(now);
    }
}

impl RestoreRequest {
    /// Tells the worker what became of the request; stores that nobody waits for any more are closed, unused since `now`.
    pub(crate) fn answer(self, result: Result<OpenStores>, now: Duration) {
        let outcome = RestoreOutcome {
            task: self.task,
            ticket: self.ticket,
            result,
        };
        if let Err(unsent) = self.reply.send(outcome) {
            tracing::debug!(task = %self.task, "nobody waits for the restored task any more");
            if let Ok(open) = unsent.0.result {
                open.close(self.task, now);
            }
        }
    }
}
