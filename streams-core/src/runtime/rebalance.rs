//! What the group decides: tasks come, go and are lost; a member the group no longer knows joins it again.

use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, GroupConsumer, GroupEvent, Input, StartOffset};
use crate::runtime::open_task::PendingTask;
use crate::runtime::running_task::RunningTask;
use crate::runtime::worker::{Worker, join_group};
use crate::task::TaskId;
use std::collections::BTreeSet;

impl<B: Broker> Worker<B> {
    /// Does what the group decided.
    pub(crate) fn on_group_event(&mut self, event: GroupEvent) -> Result<()> {
        let done = self.do_as_told(event);
        self.tell_tasks();
        done
    }

    /// Lets the other parts of the instance know what this thread has been given.
    fn tell_tasks(&self) {
        let running = self.tasks.iter().map(|running| running.id);
        let pending = self.pending.iter().map(|pending| pending.id);
        self.given.set(running.chain(pending).collect());
    }

    fn do_as_told(&mut self, event: GroupEvent) -> Result<()> {
        match event {
            GroupEvent::Assigned(partitions) => self.on_assigned(&partitions),
            GroupEvent::Revoked(partitions) => {
                let ids = self.tasks_of(&partitions);
                tracing::info!(thread = %self.name, tasks = %list(&ids), "revoked");
                self.commit.unblock();
                self.cancel_pending(&|id| ids.contains(&id));
                self.close_tasks(&ids)?;
                self.release(&partitions)
            }
            GroupEvent::Lost(partitions) => {
                let ids = self.tasks_of(&partitions);
                tracing::warn!(thread = %self.name, tasks = %list(&ids), "lost: the group gave them to others; they are closed without a commit");
                self.commit.unblock();
                self.cancel_pending(&|id| ids.contains(&id));
                if self.producer.in_transaction() {
                    // It holds what the lost tasks wrote, and nobody can take only that out of it.
                    self.give_up_transaction(&ids)?;
                } else {
                    self.drop_tasks(&ids);
                }
                self.release(&partitions)
            }
            GroupEvent::OutOfRange(inputs) => {
                for (partition, offset) in inputs {
                    self.reset_input(&partition, offset)?;
                }
                Ok(())
            }
        }
    }

    fn on_assigned(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let ids = self.tasks_of(partitions);
        tracing::info!(thread = %self.name, tasks = %list(&ids), "assigned");
        self.joined = true;
        self.commit.unblock();
        if let Err(error) = self.consumer.accept(partitions) {
            return self.on_stale_answer(error);
        }
        let now = self.context.clock.elapsed();
        for id in ids {
            let known = self.tasks.iter().any(|running| running.id == id)
                || self.pending.iter().any(|pending| pending.id == id);
            if !known {
                let inputs = self.context.input_partitions(id)?;
                self.pending.push(PendingTask::assigned(id, inputs, now));
            }
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        match self.consumer.release(partitions) {
            Ok(()) => Ok(()),
            Err(error) => self.on_stale_answer(error),
        }
    }

    /// The group moved on before the answer came: another event follows, so this one needs no more.
    fn on_stale_answer(&self, error: Error) -> Result<()> {
        use crate::error::ErrorKind::{Fenced, Retriable};
        if matches!(error.kind(), Fenced | Retriable) {
            tracing::info!(thread = %self.name, %error, "the group has moved on");
            return Ok(());
        }
        Err(error)
    }

    fn tasks_of(&self, partitions: &[TopicPartition]) -> BTreeSet<TaskId> {
        let table = &self.context.tasks;
        partitions.iter().filter_map(|p| table.task(p)).collect()
    }

    /// Reads an input whose position is gone from where its reset policy says, as Kafka Streams does.
    fn reset_input(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        let found = self.tasks.iter().enumerate().find_map(|(index, running)| {
            let input = running
                .inputs
                .iter()
                .position(|input| input.partition.as_ref() == Some(partition))?;
            Some((index, input))
        });
        let Some((index, number)) = found else {
            return Ok(());
        };
        let id = self.tasks[index].id;
        let start = match self.reset_offset(id, number, partition) {
            Ok(start) => start,
            // It is asked again when the task has started over.
            Err(error) if error.is_retriable() => return self.start_over_with(id, error),
            Err(error) => return Err(error),
        };
        tracing::warn!(
            thread = %self.name, task = %self.tasks[index].id, %partition, offset, start,
            "the offset to read next is no longer in the log; records were deleted before they were processed"
        );
        let input = &mut self.tasks[index].inputs[number];
        input.start = start;
        input.committed = None;
        input.paused = false;
        let slot = input.slot;
        self.consumer
            .remove_inputs(std::slice::from_ref(partition))?;
        self.consumer.add_inputs(&[Input {
            partition: partition.clone(),
            slot,
            offset: StartOffset::At(start),
        }])
    }

    pub(crate) fn index_slots(&mut self) {
        self.slots.clear();
        for (task, running) in self.tasks.iter().enumerate() {
            for (number, input) in running.inputs.iter().enumerate() {
                if input.partition.is_some() {
                    self.slots.insert(input.slot, (task, number));
                }
            }
        }
    }

    /// Stops reading for these tasks and takes them out, whether or not the client agrees.
    pub(crate) fn take_tasks(
        &mut self,
        ids: &BTreeSet<TaskId>,
    ) -> (Vec<RunningTask<B::Record>>, Result<()>) {
        self.count_dropped_records();
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tasks)
            .into_iter()
            .partition(|running| ids.contains(&running.id));
        self.tasks = kept;
        self.index_slots();
        let inputs: Vec<TopicPartition> = taken
            .iter()
            .flat_map(|running| running.inputs.iter().filter_map(|i| i.partition.clone()))
            .collect();
        let removed = if inputs.is_empty() {
            Ok(())
        } else {
            self.consumer.remove_inputs(&inputs)
        };
        (taken, removed)
    }

    /// Ends the processors of a task and closes its stores; what was not committed is lost.
    pub(crate) fn close_task(&self, mut running: RunningTask<B::Record>) -> Result<()> {
        self.log_dropped_records(&mut running);
        let RunningTask {
            task,
            id,
            directory,
            ..
        } = running;
        let closed = task.close();
        directory.release(self.context.clock.elapsed());
        closed.map_err(|error| error.context(format!("task {id}")))
    }

    /// Closes tasks without a commit: their stores go back to the last one.
    pub(crate) fn drop_tasks(&mut self, ids: &BTreeSet<TaskId>) {
        let (tasks, removed) = self.take_tasks(ids);
        if let Err(error) = removed {
            tracing::warn!(thread = %self.name, %error, "inputs of closed tasks could not be removed");
        }
        for running in tasks {
            if let Err(error) = self.close_task(running) {
                tracing::warn!(thread = %self.name, %error, "a task did not close cleanly; it will be restored further back");
            }
        }
    }

    /// Closes without a commit everything this worker has: its tasks, and those that are restored and wait to be started.
    pub(crate) fn drop_everything(&mut self) {
        if let Err(error) = self.producer.abort() {
            tracing::warn!(thread = %self.name, %error, "the transaction is left to the brokers to end");
        }
        self.cancel_pending(&|_| true);
        let ids: BTreeSet<TaskId> = self.tasks.iter().map(|running| running.id).collect();
        self.drop_tasks(&ids);
        self.drop_restored();
    }

    /// Closes the stores that have been restored for nobody.
    pub(crate) fn drop_restored(&self) {
        let now = self.context.clock.elapsed();
        while let Ok(outcome) = self.restored.try_recv() {
            if let Ok(open) = outcome.result {
                open.close(outcome.task, now);
            }
        }
    }

    /// Gives up restoring the tasks that `selected` picks.
    pub(crate) fn cancel_pending(&mut self, selected: &dyn Fn(TaskId) -> bool) {
        self.pending.retain(|pending| {
            if !selected(pending.id) {
                return true;
            }
            pending.cancel();
            false
        });
    }

    /// Leaves the group and joins it anew, because it no longer knows this member.
    pub(crate) fn rejoin(&mut self, reason: &Error) -> Result<()> {
        tracing::warn!(thread = %self.name, %reason, "joining the group again");
        self.drop_everything();
        self.tell_tasks();
        self.commit.unblock();
        self.joined = false;
        self.joining_since = self.context.clock.elapsed();
        let member = join_group(&self.context, &self.name, self.number)?;
        let old = std::mem::replace(&mut self.consumer, member);
        self.given.forget_subscription();
        if let Err(error) = old.close() {
            tracing::debug!(thread = %self.name, %error, "the old member did not leave cleanly");
        }
        Ok(())
    }
}

pub(crate) fn list(ids: &BTreeSet<TaskId>) -> String {
    let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    format!("[{}]", ids.join(", "))
}
