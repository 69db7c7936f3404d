//! How a stream thread ends: in order, or after a failure.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::broker::{Broker, GroupConsumer};
use crate::runtime::running_task::send_effects;
use crate::runtime::worker::Worker;
use crate::task::TaskId;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long dead letters are waited for before the application stops.
const DEAD_LETTER_WAIT: Duration = Duration::from_secs(10);

impl<B: Broker> Worker<B> {
    /// Commits and closes every task and leaves the group.
    pub(crate) fn close(mut self) -> Result<()> {
        tracing::info!(thread = %self.name, tasks = self.tasks.len(), "stopping");
        self.cancel_pending(&|_| true);
        let ids: BTreeSet<TaskId> = self.tasks.iter().map(|running| running.id).collect();
        let closed = self.close_tasks(&ids);
        if let Err(error) = &closed {
            self.send_dead_letters(error);
        }
        // What a failed commit left, and what was restored meanwhile.
        self.drop_everything();
        // A thread that is removed alone leaves its tasks to others.
        let leaves = self.context.lifecycle.leaves_group() || !self.context.lifecycle.is_stopping();
        let left = if leaves {
            self.consumer.close()
        } else {
            self.consumer.close_and_stay()
        };
        if let Err(error) = left {
            tracing::warn!(thread = %self.name, %error, "the group was not left cleanly; it notices after session.timeout.ms");
        }
        closed.inspect(|()| tracing::info!(thread = %self.name, "stopped"))
    }

    /// Closes everything without a commit, because of an error. The error comes back, unless the stop was its cause.
    pub(crate) fn end_after(mut self, error: Error) -> Result<()> {
        // The stop interrupts what waits for the brokers: that is no failure, the next start processes it again.
        let interrupted = error.is_retriable() && self.is_stopping();
        self.send_dead_letters(&error);
        if interrupted {
            tracing::warn!(thread = %self.name, %error, "stopping without a last commit");
        }
        self.close_after_failure();
        if interrupted { Ok(()) } else { Err(error) }
    }

    /// After a record that cannot be handled, writes what a handler wants to be written before the application stops. That is
    /// tried once: the record is handled again at the next start.
    fn send_dead_letters(&mut self, error: &Error) {
        // With exactly-once they are part of the transaction, which is aborted: in Kafka Streams, too.
        if error.kind() != ErrorKind::Data || self.producer.is_transactional() {
            return;
        }
        let mut sent = Ok(());
        // Those of the task that failed: what others have produced since their last commit is produced again.
        for running in self.tasks.iter_mut().filter(|r| r.task.has_failed()) {
            sent = sent.and(send_effects(&mut self.producer, running));
        }
        if let Err(error) = sent.and_then(|()| self.producer.flush(DEAD_LETTER_WAIT)) {
            tracing::warn!(thread = %self.name, %error, "dead letters may be missing");
        }
    }

    /// Closes everything without a commit and leaves the group, so that other instances take over at once.
    fn close_after_failure(mut self) {
        self.drop_everything();
        if let Err(error) = self.consumer.close() {
            tracing::warn!(thread = %self.name, %error, "the group was not left cleanly; it notices after session.timeout.ms");
        }
    }
}
