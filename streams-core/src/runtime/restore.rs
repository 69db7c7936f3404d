//! Restoring the stores of tasks from their changelogs, beside the threads that process: many tasks at once through one
//! reader, applied in bulk, up to the end each changelog had when its restoration started.
//!
//! A [`Restorer`] advances by [`Restorer::step`] and owns no thread, so that a simulation can drive it; `restore_pool` puts
//! it on threads.

use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, Input, InputSlot, LogReader, StartOffset};
use crate::runtime::clock::Clock;
use crate::runtime::local_tasks::LocalTasks;
use crate::runtime::restore_listener::{RestoreListener, RestoreProgress};
use crate::runtime::restore_request::{OpenStores, RestoreRequest};
use crate::runtime::restoring_store::RestoringStore;
use crate::runtime::state_directory::StateDirectory;
use crate::task::TaskId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use streams_state::StoreResources;

const RECORDS_PER_POLL_MAX: usize = 8192;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How often the listener is told how far restorations have come, and the log.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
const PROGRESS_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How often one task may start over because the broker deleted what it was about to read.
const RESTARTS_MAX: u32 = 3;

/// What all restorers of an application share.
pub(crate) struct RestoreContext<B> {
    pub(crate) broker: Arc<B>,
    pub(crate) directory: Arc<StateDirectory>,
    /// Where standby copies wait for their promotion.
    pub(crate) local_tasks: Arc<LocalTasks>,
    pub(crate) resources: StoreResources,
    pub(crate) listener: Option<Arc<dyn RestoreListener>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) request_timeout: Duration,
    pub(crate) task_timeout: Duration,
    /// The stores of how many tasks are opened at the same time.
    pub(crate) opened_at_once: usize,
}

/// Restores the tasks it is given, all at once.
pub(crate) struct Restorer<B: Broker> {
    pub(crate) context: Arc<RestoreContext<B>>,
    client_id: String,
    reader: Option<B::Reader>,
    pub(crate) waiting: Vec<RestoreRequest>,
    pub(crate) active: Vec<RestoringTask>,
    pub(crate) slots: HashMap<InputSlot, (TaskId, usize)>,
    pub(crate) next_slot: u32,
    records: Vec<(InputSlot, B::Record)>,
    /// Since when the broker has not been answering.
    failing_since: Option<Duration>,
    progress_at: Duration,
    progress_logged_at: Duration,
}

/// A task that is being restored.
pub(crate) struct RestoringTask {
    pub(crate) request: RestoreRequest,
    pub(crate) open: OpenStores,
    pub(crate) changelogs: Vec<RestoringStore>,
    pub(crate) started: Duration,
}

impl<B: Broker> Restorer<B> {
    pub(crate) fn new(context: Arc<RestoreContext<B>>, client_id: String) -> Self {
        Restorer {
            context,
            client_id,
            reader: None,
            waiting: Vec::new(),
            active: Vec::new(),
            slots: HashMap::new(),
            next_slot: 0,
            records: Vec::new(),
            failing_since: None,
            progress_at: Duration::ZERO,
            progress_logged_at: Duration::ZERO,
        }
    }

    pub(crate) fn submit(&mut self, request: RestoreRequest) {
        self.waiting.push(request);
    }

    /// How many tasks are not done.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.active.len()
    }

    /// Whether something can be read now; otherwise all tasks wait for their folders.
    pub(crate) fn is_reading(&self) -> bool {
        !self.active.is_empty()
    }

    /// Opens what waits, reads once and hands over what is done. Waits a moment for records when there is something to read.
    pub(crate) fn step(&mut self) {
        self.drop_cancelled();
        self.open_waiting();
        if let Err(error) = self.read() {
            self.on_read_error(error);
        }
        self.finish_done();
        self.report_progress();
    }

    /// Gives up everything that is not done, without an outcome.
    pub(crate) fn abandon(&mut self) {
        self.waiting.clear();
        for task in std::mem::take(&mut self.active) {
            self.suspend(task);
        }
        self.reader = None;
    }

    fn drop_cancelled(&mut self) {
        let cancelled = |request: &RestoreRequest| request.cancelled.load(Ordering::Acquire);
        self.waiting.retain(|request| !cancelled(request));
        let (gone, active): (Vec<_>, Vec<_>) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|task| cancelled(&task.request));
        self.active = active;
        for task in gone {
            tracing::info!(task = %task.request.task, "restoration cancelled, the task moved on");
            self.suspend(task);
        }
    }

    /// Stops reading for a task and closes its stores, so that what was restored so far is kept.
    fn suspend(&mut self, task: RestoringTask) -> RestoreRequest {
        self.stop_reading(task.changelogs.iter().filter(|store| !store.done));
        if let Some(listener) = &self.context.listener {
            for store in task.changelogs.iter().filter(|store| !store.done) {
                listener.on_restore_suspended(&store.name, &store.changelog, store.records_total);
            }
        }
        task.open
            .close(task.request.task, self.context.clock.elapsed());
        task.request
    }

    fn stop_reading<'a>(&mut self, stores: impl Iterator<Item = &'a RestoringStore>) {
        let mut partitions = Vec::new();
        for store in stores {
            self.slots.remove(&store.slot);
            partitions.push(store.changelog.clone());
        }
        if let Some(reader) = &mut self.reader
            && !partitions.is_empty()
            && let Err(error) = reader.remove_inputs(&partitions)
        {
            // A new one is made for what is still read.
            tracing::debug!(%error, "reader dropped");
            self.reader = None;
        }
    }

    /// Whether the broker has been failing for longer than a task may wait; starts to measure when it is the first failure.
    pub(crate) fn timed_out(&mut self) -> bool {
        let now = self.context.clock.elapsed();
        let since = *self.failing_since.get_or_insert(now);
        now.saturating_sub(since) > self.context.task_timeout
    }

    /// The reader all restorations share, made when it is needed: from where they stand, should they have had another one.
    pub(crate) fn reader(&mut self) -> Result<&mut B::Reader> {
        if self.reader.is_none() {
            let mut reader = self.context.broker.reader(&self.client_id)?;
            let stores = self.active.iter().flat_map(|task| &task.changelogs);
            let inputs: Vec<Input> = stores
                .filter(|store| !store.done)
                .map(|store| Input {
                    partition: store.changelog.clone(),
                    slot: store.slot,
                    offset: StartOffset::At(store.position),
                })
                .collect();
            if !inputs.is_empty() {
                reader.add_inputs(&inputs)?;
            }
            self.reader = Some(reader);
        }
        self.reader
            .as_mut()
            .ok_or_else(|| Error::fatal("the reader was just made"))
    }

    fn read(&mut self) -> Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let polled = self
            .reader()?
            .poll(POLL_TIMEOUT, RECORDS_PER_POLL_MAX, &mut records);
        if polled.is_ok() {
            self.failing_since = None;
        }
        // Other partitions may have delivered beside one that fails, and go on from behind these records.
        let applied = self.apply(&records);
        records.clear();
        self.records = records;
        applied?;
        polled?;
        self.mark_done()
    }

    /// Applies records run by run: the reader delivers a partition's records in one piece as far as it can.
    fn apply(&mut self, records: &[(InputSlot, B::Record)]) -> Result<()> {
        for run in records.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(task, index)) = self.slots.get(&run[0].0) else {
                continue;
            };
            let Some(task) = self.active.iter_mut().find(|t| t.request.task == task) else {
                continue;
            };
            let OpenStores { stores, .. } = &mut task.open;
            let Some(store) = task.changelogs.iter_mut().find(|s| s.index == index) else {
                continue;
            };
            let applied = store.apply(stores, run).map_err(|error| {
                error.context(format!(
                    "restoring store '{}' of task {} from {}",
                    store.name, task.request.task, store.changelog
                ))
            })?;
            if let Some(listener) = &self.context.listener {
                listener.on_batch_restored(&store.name, &store.changelog, store.position, applied);
            }
        }
        Ok(())
    }

    /// Notes which changelogs are read to their end, also when the last offsets hold no records.
    fn mark_done(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let mut finished = Vec::new();
        for task in &mut self.active {
            let OpenStores { stores, .. } = &mut task.open;
            for store in task.changelogs.iter_mut().filter(|store| !store.done) {
                if store.position < store.end
                    && reader
                        .position(&store.changelog)
                        .is_some_and(|position| position >= store.end)
                {
                    store.position = store.end;
                    stores.restore(store.index, &[], store.end)?;
                }
                if store.position >= store.end {
                    store.done = true;
                    self.slots.remove(&store.slot);
                    finished.push(store.changelog.clone());
                    if let Some(listener) = &self.context.listener {
                        listener.on_restore_end(&store.name, &store.changelog, store.records_total);
                    }
                }
            }
        }
        if finished.is_empty() {
            return Ok(());
        }
        reader.remove_inputs(&finished)
    }

    fn finish_done(&mut self) {
        let (done, active): (Vec<_>, Vec<_>) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|task| task.changelogs.iter().all(|store| store.done));
        self.active = active;
        for task in done {
            let RestoringTask {
                request,
                open,
                started,
                ..
            } = task;
            let records: u64 = task
                .changelogs
                .iter()
                .map(|store| store.records_total)
                .sum();
            if records > 0 {
                let seconds = self
                    .context
                    .clock
                    .elapsed()
                    .saturating_sub(started)
                    .as_secs_f64();
                tracing::info!(
                    task = %request.task, records, seconds,
                    records_per_s = rate(records, seconds),
                    "restored"
                );
            }
            let now = self.context.clock.elapsed();
            if request.cancelled.load(Ordering::Acquire) {
                open.close(request.task, now);
            } else {
                request.answer(Ok(open), now);
            }
        }
        if self.len() == 0 {
            self.reader = None;
            self.failing_since = None;
        }
    }

    /// The tasks with a changelog that no longer holds what is to be read next; none when the broker cannot be asked.
    fn tasks_out_of_range(&mut self) -> BTreeSet<TaskId> {
        let stores = |task: &RestoringTask| {
            let id = task.request.task;
            let reading = task.changelogs.iter().filter(|store| !store.done);
            let reading = reading.map(|store| (id, store.changelog.clone(), store.position));
            reading.collect::<Vec<_>>()
        };
        let stores: Vec<(TaskId, TopicPartition, i64)> =
            self.active.iter().flat_map(stores).collect();
        let partitions: Vec<TopicPartition> = stores.iter().map(|(_, p, _)| p.clone()).collect();
        let timeout = self.context.request_timeout;
        let Some(reader) = &mut self.reader else {
            return BTreeSet::new();
        };
        let bounds = match reader.offsets(&partitions, timeout) {
            Ok(bounds) => bounds,
            Err(error) => {
                tracing::debug!(%error, "the bounds of changelogs are not known");
                return BTreeSet::new();
            }
        };
        let mut gone = BTreeSet::new();
        for ((task, partition, applied), (first, end)) in stores.into_iter().zip(bounds) {
            // The reader is past gaps that compaction left; what was applied last may be far behind them.
            let position = reader.position(&partition).unwrap_or(applied);
            if position < first || position > end {
                gone.insert(task);
            }
        }
        gone
    }

    fn on_read_error(&mut self, error: Error) {
        match error.kind() {
            ErrorKind::Retriable if !self.timed_out() => {
                tracing::warn!(%error, "restoring waits for the broker");
            }
            // The broker deleted what was to be read next: look again at what there is, from the start if need be.
            ErrorKind::Data => {
                let gone = self.tasks_out_of_range();
                // When the broker does not say whose records are gone, all look again.
                let concerned =
                    |task: &RestoringTask| gone.is_empty() || gone.contains(&task.request.task);
                let (concerned, active): (Vec<_>, Vec<_>) = std::mem::take(&mut self.active)
                    .into_iter()
                    .partition(concerned);
                self.active = active;
                for task in concerned {
                    let mut request = self.suspend(task);
                    tracing::warn!(task = %request.task, %error, "restoring starts over");
                    request.restarts += 1;
                    if request.restarts > RESTARTS_MAX {
                        let error = Error::fatal(format!("changelogs cannot be read: {error}"));
                        request.answer(Err(error), self.context.clock.elapsed());
                    } else {
                        self.waiting.push(request);
                    }
                }
                if self.active.is_empty() {
                    self.reader = None;
                }
            }
            kind => {
                let message = error.to_string();
                for task in std::mem::take(&mut self.active) {
                    let request = self.suspend(task);
                    let error = Error::new(kind, message.clone());
                    request.answer(Err(error), self.context.clock.elapsed());
                }
                self.reader = None;
            }
        }
    }

    fn report_progress(&mut self) {
        let now = self.context.clock.elapsed();
        if now < self.progress_at + PROGRESS_INTERVAL {
            return;
        }
        self.progress_at = now;
        let logs = now >= self.progress_logged_at + PROGRESS_LOG_INTERVAL;
        if logs {
            self.progress_logged_at = now;
        }
        for task in &self.active {
            let time = now.saturating_sub(task.started);
            for store in task.changelogs.iter().filter(|store| !store.done) {
                let offsets = store.position - store.start;
                let remaining = store.end - store.position;
                let progress = RestoreProgress::new(store.records_total, offsets, remaining, time);
                if let Some(listener) = &self.context.listener {
                    listener.on_restore_progress(&store.name, &store.changelog, &progress);
                }
                if logs {
                    tracing::info!(
                        task = %task.request.task, store = %store.name, records = store.records_total,
                        records_per_s = progress.records_per_second as u64,
                        remaining = progress.remaining,
                        seconds_left = ?progress.time_left.map(|left| left.as_secs()),
                        "restoring"
                    );
                }
            }
        }
    }
}

fn rate(records: u64, seconds: f64) -> u64 {
    (records as f64 / seconds.max(0.001)) as u64
}
