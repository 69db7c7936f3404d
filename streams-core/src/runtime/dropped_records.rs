//! What the log and the application hear of records that tasks dropped.

use crate::runtime::broker::Broker;
use crate::runtime::running_task::RunningTask;
use crate::runtime::worker::Worker;
use std::time::Duration;

/// How often the log says how many records a task has dropped.
const DROPPED_LOG_INTERVAL: Duration = Duration::from_secs(60);

impl<B: Broker> Worker<B> {
    /// Adds what tasks dropped since the last call to what the application has dropped.
    pub(crate) fn count_dropped_records(&mut self) {
        let mut new = 0;
        for running in &mut self.tasks {
            let dropped = running.task.dropped_records();
            new += dropped - running.dropped_counted;
            running.dropped_counted = dropped;
        }
        if new > 0 {
            self.context.lifecycle.add_dropped_records(new);
        }
    }

    /// Counts dropped records and, now and then, tells the log of tasks that dropped more.
    pub(super) fn note_dropped_records(&mut self) {
        self.count_dropped_records();
        let now = self.context.clock.elapsed();
        if now < self.dropped_logged_at + DROPPED_LOG_INTERVAL {
            return;
        }
        self.dropped_logged_at = now;
        let mut tasks = std::mem::take(&mut self.tasks);
        for running in &mut tasks {
            self.log_dropped_records(running);
        }
        self.tasks = tasks;
    }

    /// Tells the log how many records a task has dropped, when it has dropped any since it was last told.
    pub(crate) fn log_dropped_records(&self, running: &mut RunningTask<B::Record>) {
        let dropped_records = running.task.dropped_records();
        if dropped_records > running.dropped_logged {
            running.dropped_logged = dropped_records;
            tracing::info!(
                thread = %self.name, task = %running.id, dropped_records,
                "records were dropped: too late, without a key, or not readable; the level debug shows each"
            );
        }
    }
}
