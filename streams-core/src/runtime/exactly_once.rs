//! What becomes of a thread's tasks when their transaction cannot be committed: it is aborted, the tasks are closed as they
//! were committed last, and opened again from there.
//!
//! All tasks of a thread share its transaction, so all of them start over. Their stores hold nothing uncommitted and need
//! not be wiped. The group is left alone, since a member it no longer knows hears of it; only when it stays silent does the
//! thread join anew.

use crate::error::{Error, Result};
use crate::runtime::broker::Broker;
use crate::runtime::open_task::PendingTask;
use crate::runtime::rebalance::list;
use crate::runtime::worker::Worker;
use crate::task::TaskId;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long transactions may fail before this member joins its group anew.
const REJOIN_WAIT: Duration = Duration::from_secs(10);

/// Since when no transaction has been committed.
pub(crate) struct Failing {
    since: Duration,
    /// When this member last joined its group because of it, or began to fail.
    joined: Duration,
}

impl<B: Broker> Worker<B> {
    /// Starts over with every task after its transaction failed (Kafka Streams' `TaskMigratedException` and
    /// `TaskCorruptedException`).
    ///
    /// # Errors
    /// When that has been going on for longer than `task.timeout.ms`.
    pub(crate) fn start_over(&mut self, error: Error) -> Result<()> {
        let now = self.context.clock.elapsed();
        let begun = Failing {
            since: now,
            joined: now,
        };
        let failing = self.failing.get_or_insert(begun);
        let waited = now.saturating_sub(failing.since);
        let rejoins = now.saturating_sub(failing.joined) > REJOIN_WAIT;
        if rejoins {
            failing.joined = now;
        }
        if waited > self.context.settings.task_timeout {
            return Err(Error::fatal(format!(
                "no transaction could be committed for {} s (task.timeout.ms): {error}",
                waited.as_secs()
            )));
        }
        tracing::warn!(thread = %self.name, %error, "the transaction failed");
        self.give_up_transaction(&BTreeSet::new())?;
        if rejoins {
            return self.rejoin(&error);
        }
        Ok(())
    }

    /// Aborts the transaction and closes every task without a commit; those that are not among `leaving` are opened again.
    ///
    /// # Errors
    /// When a new producer is needed and cannot be made.
    pub(crate) fn give_up_transaction(&mut self, leaving: &BTreeSet<TaskId>) -> Result<()> {
        let now = self.context.clock.elapsed();
        let ids: BTreeSet<TaskId> = self.tasks.iter().map(|running| running.id).collect();
        let again = ids.difference(leaving).copied().collect();
        tracing::info!(
            thread = %self.name, tasks = %list(&again),
            "aborting; these tasks start over from the last commit"
        );
        let aborted = self.producer.abort();
        self.drop_tasks(&ids);
        for id in again {
            let inputs = self.context.input_partitions(id)?;
            self.pending.push(PendingTask::assigned(id, inputs, now));
        }
        aborted
    }
}
