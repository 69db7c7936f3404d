//! From assigned to processed: committed offsets, stores to restore, the task itself, its inputs.

use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{
    Broker, CommittedOffset, GroupConsumer, Input, InputSlot, StartOffset,
};
use crate::runtime::internal_topics::changelog_topic;
use crate::runtime::rebalance::list;
use crate::runtime::restore_request::{OpenStores, RestoreRequest};
use crate::runtime::running_task::{Changelog, RunningTask, TaskInput};
use crate::runtime::worker::Worker;
use crate::task::{Task, TaskId};
use crate::topology::{OffsetReset, TopicName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a question about tasks to open may keep the tasks that run waiting, at first and at most.
const OPEN_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const OPEN_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// A task that was assigned and is not processed yet.
pub(crate) struct PendingTask {
    pub(crate) id: TaskId,
    /// By input number: what it reads, `None` when the topic has no such partition.
    pub(crate) inputs: Vec<Option<TopicPartition>>,
    stage: Stage,
}

enum Stage {
    /// To be opened; since when.
    Assigned(Duration),
    /// Its stores are being restored.
    Restoring {
        ticket: u64,
        cancelled: Arc<AtomicBool>,
        committed: Vec<Option<CommittedOffset>>,
        /// Where each input starts.
        starts: Vec<i64>,
    },
}

impl PendingTask {
    /// A task the group has just assigned.
    pub(crate) fn assigned(id: TaskId, inputs: Vec<Option<TopicPartition>>, now: Duration) -> Self {
        PendingTask {
            id,
            inputs,
            stage: Stage::Assigned(now),
        }
    }

    /// Stops its restoration, because it is no longer this worker's.
    pub(crate) fn cancel(&self) {
        if let Stage::Restoring { cancelled, .. } = &self.stage {
            cancelled.store(true, Ordering::Release);
        }
    }
}

impl<B: Broker> Worker<B> {
    /// Starts to restore the tasks that were assigned since the last turn.
    pub(crate) fn open_pending(&mut self) -> Result<()> {
        let is_new = |pending: &PendingTask| matches!(pending.stage, Stage::Assigned(_));
        if !self.pending.iter().any(is_new) {
            return Ok(());
        }
        let inputs: Vec<TopicPartition> = self
            .pending
            .iter()
            .filter(|pending| is_new(pending))
            .flat_map(|pending| pending.inputs.iter().flatten().cloned())
            .collect();
        let timeout = self.open_timeout();
        let committed = match self.consumer.committed(&inputs, timeout) {
            Ok(committed) => committed,
            Err(error) => return self.on_open_failure(error),
        };
        let mut starts = match self.start_offsets(&inputs, &committed, timeout)? {
            Ok(starts) => starts.into_iter(),
            Err(error) => return self.on_open_failure(error),
        };
        let mut committed = committed.into_iter();
        let mut requests = Vec::new();
        for index in 0..self.pending.len() {
            if !is_new(&self.pending[index]) {
                continue;
            }
            let committed: Vec<Option<CommittedOffset>> = self.pending[index]
                .inputs
                .iter()
                .map(|input| input.as_ref().and_then(|_| committed.next().flatten()))
                .collect();
            let id = self.pending[index].id;
            let starts = self.pending[index]
                .inputs
                .iter()
                .map(|input| input.as_ref().and_then(|_| starts.next()).unwrap_or(0))
                .collect();
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            let cancelled = Arc::new(AtomicBool::new(false));
            let pending = &self.pending[index];
            let request = RestoreRequest {
                task: id,
                ticket,
                stores: self
                    .context
                    .stores_to_restore(id, &pending.inputs, &committed)?,
                cancelled: Arc::clone(&cancelled),
                reply: self.restored_sender.clone(),
                restarts: 0,
            };
            requests.push(request);
            self.pending[index].stage = Stage::Restoring {
                ticket,
                cancelled,
                committed,
                starts,
            };
        }
        self.context.restore.submit(requests)
    }

    /// How long one question about tasks to open may keep the tasks that run waiting: longer for a cluster that has not
    /// answered for longer.
    fn open_timeout(&self) -> Duration {
        (self.open_waited() / 2)
            .clamp(OPEN_TIMEOUT_MIN, OPEN_TIMEOUT_MAX)
            .min(self.context.settings.request_timeout)
    }

    /// For how long the task that was assigned first has waited to be opened.
    fn open_waited(&self) -> Duration {
        let now = self.context.clock.elapsed();
        let oldest = self
            .pending
            .iter()
            .filter_map(|pending| match pending.stage {
                Stage::Assigned(since) => Some(since),
                Stage::Restoring { .. } => None,
            })
            .min();
        oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// The brokers did not answer: the next turn asks again, as long as `task.timeout.ms` allows.
    fn on_open_failure(&self, error: Error) -> Result<()> {
        if error.is_retriable() && self.open_waited() <= self.context.settings.task_timeout {
            tracing::warn!(thread = %self.name, %error, "where assigned tasks start is not known yet");
            return Ok(());
        }
        Err(error.context("looking up where assigned tasks start"))
    }

    /// Starts to process the tasks whose stores are ready.
    pub(crate) fn take_restored(&mut self) -> Result<()> {
        let mut started = false;
        while let Ok(outcome) = self.restored.try_recv() {
            let of_ticket = |pending: &PendingTask| {
                pending.id == outcome.task
                    && matches!(pending.stage, Stage::Restoring { ticket, .. } if ticket == outcome.ticket)
            };
            let Some(index) = self.pending.iter().position(of_ticket) else {
                // The task moved on meanwhile; what was restored is kept for its next time here.
                if let Ok(open) = outcome.result {
                    open.close(outcome.task, self.context.clock.elapsed());
                }
                continue;
            };
            let open = outcome.result?;
            let pending = self.pending.swap_remove(index);
            let Stage::Restoring {
                committed, starts, ..
            } = pending.stage
            else {
                continue;
            };
            self.start_task(pending.id, pending.inputs, &committed, &starts, open)
                .map_err(|error| error.context(format!("task {}", pending.id)))?;
            started = true;
        }
        if started && self.pending.is_empty() {
            let ids: BTreeSet<TaskId> = self.tasks.iter().map(|running| running.id).collect();
            tracing::info!(thread = %self.name, tasks = %list(&ids), "all tasks are processed");
        }
        Ok(())
    }

    fn start_task(
        &mut self,
        id: TaskId,
        partitions: Vec<Option<TopicPartition>>,
        committed: &[Option<CommittedOffset>],
        starts: &[i64],
        open: OpenStores,
    ) -> Result<()> {
        let context = Arc::clone(&self.context);
        let OpenStores { stores, directory } = open;
        let changelogs = self.changelogs(id, &partitions, &stores)?;
        let metadata = Arc::clone(&context.metadata);
        let mut task = Task::new(
            &context.topology,
            id,
            stores,
            Arc::clone(&context.globals),
            metadata,
            &context.task_options,
        )?;
        let mut inputs = Vec::with_capacity(partitions.len());
        let mut added = Vec::new();
        for (number, (partition, &start)) in partitions.into_iter().zip(starts).enumerate() {
            let slot = InputSlot(self.next_slot);
            self.next_slot = self.next_slot.wrapping_add(1);
            task.initialize(number, committed[number].as_ref());
            if let Some(partition) = &partition {
                added.push(Input {
                    partition: partition.clone(),
                    slot,
                    offset: StartOffset::At(start),
                });
            }
            inputs.push(TaskInput {
                purged: partition
                    .as_ref()
                    .is_some_and(|p| context.repartition_topics.contains(&p.topic)),
                partition,
                slot,
                start,
                committed: committed[number].as_ref().map(|committed| committed.offset),
                metadata: committed[number]
                    .as_ref()
                    .map_or_else(String::new, |committed| committed.metadata.clone()),
                seen: false,
                paused: false,
            });
        }
        let used = |number| self.tasks.iter().any(|running| running.number == number);
        let number = self.numbers.next(used);
        self.tasks.push(RunningTask {
            task,
            id,
            number,
            inputs,
            changelogs,
            directory,
            dropped_counted: 0,
            dropped_logged: 0,
        });
        self.tasks.sort_by_key(|running| running.id);
        self.index_slots();
        self.consumer.add_inputs(&added)
    }

    /// Where each of these inputs starts: what is committed, else what the source's reset policy says, asked for all at once.
    /// The inner error is the brokers', the outer one the configuration's.
    fn start_offsets(
        &mut self,
        inputs: &[TopicPartition],
        committed: &[Option<CommittedOffset>],
        timeout: Duration,
    ) -> Result<Result<Vec<i64>>> {
        let mut policies = BTreeMap::new();
        for pending in &self.pending {
            for (number, input) in pending.inputs.iter().enumerate() {
                if let Some(partition) = input {
                    policies.insert(partition, (pending.id, number));
                }
            }
        }
        let mut unknown = Vec::new();
        let mut reset = Vec::new();
        for (partition, committed) in inputs.iter().zip(committed) {
            if committed.is_none()
                && let Some(&(id, number)) = policies.get(partition)
            {
                reset.push(self.reset_policy(id, number, partition)?);
                unknown.push(partition.clone());
            }
        }
        let bounds = if unknown.is_empty() {
            Vec::new()
        } else {
            match self.consumer.offsets(&unknown, timeout) {
                Ok(bounds) => bounds,
                Err(error) => return Ok(Err(error)),
            }
        };
        let mut of_unknown = bounds.into_iter().zip(reset).map(at_policy);
        Ok(Ok(committed
            .iter()
            .map(|committed| match committed {
                Some(committed) => committed.offset,
                None => of_unknown.next().unwrap_or(0),
            })
            .collect()))
    }

    /// Where an input starts whose position is not in the log.
    pub(crate) fn reset_offset(
        &mut self,
        id: TaskId,
        input: usize,
        partition: &TopicPartition,
    ) -> Result<i64> {
        let policy = self.reset_policy(id, input, partition)?;
        let timeout = self.context.settings.request_timeout;
        let offsets = self
            .consumer
            .offsets(std::slice::from_ref(partition), timeout)?;
        let bounds = offsets.first().copied().ok_or_else(|| {
            Error::fatal(format!("the broker does not say where {partition} starts"))
        })?;
        Ok(at_policy((bounds, policy)))
    }

    fn reset_policy(
        &self,
        id: TaskId,
        input: usize,
        partition: &TopicPartition,
    ) -> Result<OffsetReset> {
        let source = &self.context.sub_topology(id)?.sources[input];
        let policy = match (&source.topic, source.auto_offset_reset) {
            // What the application wrote for itself is always wanted.
            (TopicName::Internal(_), _) => Some(OffsetReset::Earliest),
            (TopicName::External(_), Some(policy)) => Some(policy),
            (TopicName::External(_), None) => self.context.settings.offset_reset,
        };
        policy.ok_or_else(|| {
            Error::config(format!(
                "{partition} has no committed offset, or one that is no longer in the log, and auto.offset.reset is none: \
                 set it to earliest or latest, or give the group an offset"
            ))
        })
    }

    fn changelogs(
        &self,
        id: TaskId,
        partitions: &[Option<TopicPartition>],
        stores: &streams_state::TaskStores,
    ) -> Result<Vec<Changelog>> {
        let application_id = &self.context.settings.application_id;
        let definitions = &self.context.sub_topology(id)?.stores;
        Ok(definitions
            .iter()
            .enumerate()
            .map(|(index, definition)| match &definition.changelog {
                None => Changelog::None,
                Some(changelog) => match &changelog.source_topic {
                    Some(topic) => partitions
                        .iter()
                        .position(|p| p.as_ref().is_some_and(|p| *p.topic == **topic))
                        .map_or(Changelog::None, Changelog::Input),
                    None => Changelog::Topic(
                        TopicPartition::new(
                            changelog_topic(application_id, &definition.name),
                            id.partition,
                        ),
                        stores.position(index),
                    ),
                },
            })
            .collect())
    }
}

/// The end of a log, (first offset, next offset), that a policy starts at.
fn at_policy(((first, end), policy): ((i64, i64), OffsetReset)) -> i64 {
    match policy {
        OffsetReset::Earliest => first,
        OffsetReset::Latest => end,
    }
}
