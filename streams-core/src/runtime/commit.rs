//! Committing: what tasks produced is acknowledged first, then the offsets, then the stores; with exactly-once the first two
//! are one transaction of the thread.
//!
//! A failure before the offsets leaves nothing committed, so the records are processed again; a failure behind them leaves
//! stores behind their changelogs, which are read to the end at the next start. Nothing uncommitted is ever on disk.

use crate::error::{Error, ErrorKind, Result};
use crate::operators::Share;
use crate::record::{FetchedRecord, TopicPartition};
use crate::runtime::broker::{Broker, CommittedOffset, GroupConsumer};
use crate::runtime::memory_split::MemorySplit;
use crate::runtime::planted::{PlantedBug, is_planted};
use crate::runtime::running_task::{Changelog, RunningTask, send_effects, send_held_back};
use crate::runtime::worker::Worker;
use crate::task::{Task, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How soon a commit that the group refused is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long the group may call this member a stranger without telling it that it lost its tasks.
const FENCED_WAIT: Duration = Duration::from_secs(10);
/// How often a commit is tried while tasks are being given back.
const CLOSING_ATTEMPTS: u32 = 20;

/// When the next commit is due and whether the last one went through.
pub(crate) struct CommitState {
    last: Duration,
    /// The refusal that commits have met since, with the time of the first and of the last.
    refused: Option<Refusal>,
}

struct Refusal {
    since: Duration,
    last: Duration,
    kind: ErrorKind,
}

/// How a commit went.
enum Committed {
    /// Offsets and stores are committed.
    Done,
    /// Nothing is committed; it may be tried again.
    Refused(Error),
}

impl CommitState {
    pub(crate) fn new(now: Duration) -> Self {
        CommitState {
            last: now,
            refused: None,
        }
    }

    /// How long until the next commit.
    pub(crate) fn until_due(&self, now: Duration, interval: Duration) -> Duration {
        let due = match &self.refused {
            Some(refusal) => refusal.last + RETRY_INTERVAL,
            None => self.last + interval,
        };
        due.saturating_sub(now)
    }

    /// Whether the group says that this member no longer owns its tasks.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(
            self.refused,
            Some(Refusal {
                kind: ErrorKind::Fenced,
                ..
            })
        )
    }

    /// Whether a commit was refused and is to be tried again.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Forgets a refusal: the group has spoken since.
    pub(crate) fn unblock(&mut self) {
        self.refused = None;
    }
}

/// Committed offsets of repartition topics: what is before them may be deleted. Written by stream threads, emptied by the
/// application.
#[derive(Default)]
pub(crate) struct PurgeList(Mutex<BTreeMap<TopicPartition, i64>>);

impl PurgeList {
    fn note(&self, partition: &TopicPartition, offset: i64) {
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match offsets.get_mut(partition) {
            Some(known) => *known = (*known).max(offset),
            None => {
                offsets.insert(partition.clone(), offset);
            }
        }
    }

    /// What was noted since the last call.
    pub(crate) fn take(&self) -> Vec<(TopicPartition, i64)> {
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *offsets).into_iter().collect()
    }
}

impl<B: Broker> Worker<B> {
    /// Commits all tasks when the interval has passed, a task asks for it or holds too much; returns whether it did.
    pub(crate) fn commit_if_due(&mut self) -> Result<bool> {
        let settings = &self.context.settings;
        let threads = (settings.thread_count, self.context.lifecycle.thread_count());
        let share = |bytes_each| MemorySplit::shared_anew(bytes_each, threads);
        let cache_bytes_max = share(settings.memory.cache_bytes_per_thread);
        let uncommitted_bytes_max = share(settings.memory.uncommitted_bytes_per_thread);
        // While the group refuses commits, these tasks may be somebody else's: nothing more is written than must be.
        if self.cache_bytes() > cache_bytes_max && !self.commit.is_refused() {
            self.evict(cache_bytes_max)?;
            if self.cache_bytes() > cache_bytes_max {
                self.empty_caches()?;
            }
        }
        let now = self.context.clock.elapsed();
        let interval_passed = self
            .commit
            .until_due(now, self.context.settings.commit_interval)
            .is_zero();
        // A refused commit is tried again at its own pace, whatever asks for one.
        let wanted = !self.commit.is_refused()
            && (self.tasks.iter().any(|r| r.task.commit_requested())
                || self.holds_too_much(uncommitted_bytes_max));
        if !interval_passed && !wanted {
            return Ok(false);
        }
        self.commit_now(now)?;
        Ok(true)
    }

    /// Lets stores that know what changes least write and forget that, which costs less than a commit.
    fn evict(&mut self, cache_bytes_max: usize) -> Result<()> {
        let share = Share::of_full_cache(cache_bytes_max, self.cache_bytes());
        let now_ms = self.context.clock.wall_ms();
        for running in &mut self.tasks {
            running.task.begin_eviction(share);
            while !running.task.evict(now_ms)? {
                send_effects(&mut self.producer, running)?;
            }
            send_effects(&mut self.producer, running)?;
        }
        Ok(())
    }

    /// Hands on what the record caches hold back and gives their memory back. As in Kafka Streams' `ThreadCache` that is no
    /// commit: the stores have it until there is one.
    fn empty_caches(&mut self) -> Result<()> {
        let now_ms = self.context.clock.wall_ms();
        for running in &mut self.tasks {
            send_held_back(&mut self.producer, running, now_ms)?;
            running.task.forget_clean();
        }
        Ok(())
    }

    fn cache_bytes(&self) -> usize {
        self.tasks.iter().map(|r| r.task.cache_bytes()).sum()
    }

    /// Whether uncommitted writes take more than they may; a quarter of it where rows leave them no room.
    fn holds_too_much(&self, uncommitted_bytes_max: usize) -> bool {
        let tasks = || self.tasks.iter().map(|running| &running.task);
        let uncommitted_bytes: usize = tasks().map(Task::uncommitted_bytes).sum();
        uncommitted_bytes > uncommitted_bytes_max
            || uncommitted_bytes > uncommitted_bytes_max / 4 && tasks().any(Task::is_memory_over)
    }

    fn commit_now(&mut self, now: Duration) -> Result<()> {
        let all = |_: TaskId| true;
        let error = match self.commit_tasks(&all)? {
            Committed::Done => {
                // Counted from its end, as in Kafka Streams' `StreamThread#maybeCommit`: where a commit takes longer than the
                // interval, the next would be due at once, and hardly a record would be processed between two.
                self.commit.last = self.context.clock.elapsed();
                self.commit.refused = None;
                return Ok(());
            }
            Committed::Refused(error) => error,
        };
        let since = self.commit.refused.as_ref().map_or(now, |r| r.since);
        let waited = now.saturating_sub(since);
        tracing::debug!(thread = %self.name, %error, "commit refused, trying again");
        if waited > self.context.settings.task_timeout {
            return Err(Error::fatal(format!(
                "offsets could not be committed for {} s (task.timeout.ms): {error}",
                waited.as_secs()
            )));
        }
        self.commit.refused = Some(Refusal {
            since,
            last: now,
            kind: error.kind(),
        });
        if self.commit.is_blocked() && waited > FENCED_WAIT {
            self.rejoin(&error)?;
        }
        Ok(())
    }

    /// Commits the tasks that `selected` picks and that have something to commit. A transaction is all tasks', so with
    /// exactly-once all are.
    fn commit_tasks(&mut self, selected: &dyn Fn(TaskId) -> bool) -> Result<Committed> {
        let now_ms = self.context.clock.wall_ms();
        let transactional = self.producer.is_transactional();
        let mut chosen = Vec::new();
        for (index, running) in self.tasks.iter_mut().enumerate() {
            if !transactional && !selected(running.id) {
                continue;
            }
            let positions = positions(&mut self.consumer, running);
            let moved = running
                .inputs
                .iter()
                .zip(&positions)
                .any(|(input, position)| {
                    position.is_some_and(|position| input.committed != Some(position))
                });
            if !running.task.commit_needed() && !moved {
                continue;
            }
            send_held_back(&mut self.producer, running, now_ms)?;
            chosen.push((index, positions));
        }
        if chosen.is_empty() && !self.producer.in_transaction() {
            return Ok(Committed::Done);
        }
        let flushes_late = is_planted(PlantedBug::CommitBeforeFlush);
        if !flushes_late {
            self.flush()?;
        }

        let mut offsets = Vec::new();
        let mut committed = Vec::with_capacity(chosen.len());
        for (index, positions) in &chosen {
            let running = &mut self.tasks[*index];
            let mut of_task = running.task.offsets(&|input| positions[input]);
            // The task knows nothing yet of inputs without a record: where they start is kept, and their markers are passed.
            for (number, input) in running.inputs.iter().enumerate() {
                if let Some(offset) = positions[number]
                    && !input.seen
                    && input.committed != Some(offset)
                {
                    let metadata = input.metadata.clone();
                    of_task.push((number, CommittedOffset { offset, metadata }));
                }
            }
            for (number, offset) in &of_task {
                let input = &running.inputs[*number];
                if let Some(partition) = &input.partition {
                    if let Some(before) = input.committed
                        && offset.offset < before
                    {
                        return Err(Error::fatal(format!(
                            "task {}: the offset to commit of {partition}, {}, is before {before}, which is committed already",
                            running.id, offset.offset
                        )));
                    }
                    offsets.push((partition.clone(), offset.clone()));
                }
            }
            committed.push(of_task);
        }
        if is_planted(PlantedBug::StateBeforeTransaction) {
            for ((index, _), of_task) in chosen.iter().zip(&committed) {
                self.commit_stores(*index, of_task)?;
            }
        }
        let refused = if transactional {
            self.commit_transaction(&offsets)?
        } else {
            self.commit_offsets(&offsets)?
        };
        if let Some(error) = refused {
            return Ok(Committed::Refused(error));
        }
        if !transactional && flushes_late {
            self.flush()?;
        }
        tracing::debug!(thread = %self.name, tasks = chosen.len(), offsets = offsets.len(), "committed");
        for ((index, _), of_task) in chosen.iter().zip(committed) {
            self.commit_stores(*index, &of_task)?;
            self.retrying.remove(&self.tasks[*index].id);
        }
        // Others of this thread may commit before those that start over are opened again.
        let has = |id: &TaskId| {
            self.tasks.iter().any(|running| running.id == *id)
                || self.pending.iter().any(|pending| pending.id == *id)
        };
        self.retrying.retain(|id, _| has(id));
        if self.retrying.is_empty() {
            self.producer.forget_failures();
        }
        Ok(Committed::Done)
    }

    /// Waits until everything the tasks produced is in the log, before the records it came from count as processed. A transaction
    /// would do so itself, but the handler is asked about records that fail before that is decided.
    fn flush(&mut self) -> Result<()> {
        loop {
            let flushed = self.producer.flush(self.context.settings.task_timeout);
            if !self.producer.has_failures() {
                return flushed
                    .map_err(|error| error.context("what the tasks produced was not written"));
            }
            self.handle_failed_sends()?;
            for running in &mut self.tasks {
                // Dead letters.
                send_effects(&mut self.producer, running)?;
            }
        }
    }

    /// Commits offsets alone; gives back why the group refuses them for now.
    fn commit_offsets(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Option<Error>> {
        if offsets.is_empty() {
            return Ok(None);
        }
        match self.consumer.commit(offsets) {
            Ok(()) => Ok(None),
            Err(error) => match error.kind() {
                ErrorKind::Retriable | ErrorKind::Fenced => Ok(Some(error)),
                _ => Err(error.context("offsets were not committed")),
            },
        }
    }

    /// Commits offsets with everything the tasks wrote; gives back why that has to wait. Neither is committed after an error.
    fn commit_transaction(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<Option<Error>> {
        if offsets.is_empty() && !self.producer.in_transaction() {
            return Ok(None);
        }
        let group = match self.consumer.group_metadata() {
            Ok(group) => group,
            Err(error) if error.is_retriable() => return Ok(Some(error)),
            Err(error) => {
                if error.kind() == ErrorKind::Fenced {
                    self.producer.fail();
                }
                return Err(error);
            }
        };
        self.producer.commit(offsets, &group)?;
        self.failing = None;
        Ok(None)
    }

    /// Makes the state of a task durable, now that its offsets are committed.
    fn commit_stores(&mut self, index: usize, offsets: &[(usize, CommittedOffset)]) -> Result<()> {
        let running = &mut self.tasks[index];
        for (number, offset) in offsets {
            let input = &mut running.inputs[*number];
            input.committed = Some(offset.offset);
            if input.purged
                && let Some(partition) = &input.partition
            {
                self.context.purge.note(partition, offset.offset);
            }
        }
        let positions: Vec<Option<i64>> = running
            .changelogs
            .iter_mut()
            .map(|changelog| match changelog {
                Changelog::None => None,
                Changelog::Input(input) => running.inputs[*input].committed,
                Changelog::Topic(partition, position) => {
                    // What this producer wrote last may be older than what was restored since.
                    *position = (*position).max(self.producer.next_offset(partition));
                    *position
                }
            })
            .collect();
        running
            .task
            .commit_stores(offsets, &positions)
            .map_err(|error| error.context(format!("task {}", running.id)))
    }

    /// Commits and closes these tasks, because they move on or the application stops.
    pub(crate) fn close_tasks(&mut self, ids: &BTreeSet<TaskId>) -> Result<()> {
        let selected = |id: TaskId| ids.contains(&id);
        let mut attempt = 0;
        loop {
            let error = match self.commit_tasks(&selected) {
                Ok(Committed::Done) => break,
                Ok(Committed::Refused(error)) => error,
                Err(error) if self.producer.has_failed() || !self.restarts.is_empty() => error,
                Err(error) => return Err(error),
            };
            attempt += 1;
            let fenced = error.kind() == ErrorKind::Fenced
                || self.producer.has_failed()
                || !self.restarts.is_empty();
            if fenced || attempt == CLOSING_ATTEMPTS {
                tracing::warn!(
                    thread = %self.name, ?ids, %error,
                    "tasks are closed without a commit; their records since the last one are processed again"
                );
                if self.producer.in_transaction() {
                    return self.give_up_transaction(ids);
                }
                self.drop_tasks(ids);
                // Those that stay start over at the end of the turn.
                self.restarts.retain(|id| !ids.contains(id));
                return if self.restarts.is_empty() {
                    Ok(())
                } else {
                    self.restart_tasks(&error)
                };
            }
            self.context.clock.sleep(RETRY_INTERVAL);
        }
        let (tasks, mut result) = self.take_tasks(ids);
        // Every task is closed, whatever becomes of the others.
        for running in tasks {
            result = result.and(self.close_task(running));
        }
        result
    }
}

/// The next offset to read of each input that has nothing buffered.
fn positions<C: GroupConsumer, R: FetchedRecord>(
    consumer: &mut C,
    running: &RunningTask<R>,
) -> Vec<Option<i64>> {
    running
        .inputs
        .iter()
        .enumerate()
        .map(|(number, input)| {
            let partition = input.partition.as_ref()?;
            (running.task.buffered(number) == 0)
                .then(|| consumer.position(partition).unwrap_or(input.start))
        })
        .collect()
}
