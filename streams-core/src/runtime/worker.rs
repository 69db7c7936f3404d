//! A stream thread: the loop that polls, processes, carries out what tasks ask for, and commits.
//!
//! Each turn is [`Worker::run_once`], which waits nowhere longer than `poll.ms`, so that a simulation can take the turns of
//! several workers one after the other. Rebalances are in `rebalance`, commits in `commit`.

use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::assignment::TaskTable;
use crate::runtime::broker::{Broker, ConsumerOptions, GroupConsumer, InputSlot};
use crate::runtime::clock::Clock;
use crate::runtime::commit::{CommitState, PurgeList};
use crate::runtime::exactly_once::Failing;
use crate::runtime::lifecycle::{Lifecycle, ThreadState};
use crate::runtime::open_task::PendingTask;
use crate::runtime::restore_pool::RestorePool;
use crate::runtime::restore_request::RestoreOutcome;
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::state_directory::TaskDirectory;
use crate::runtime::thread_producer::ThreadProducer;
use crate::runtime::topic_metadata::CachedTopicMetadata;
use crate::task::{GlobalStores, Task, TaskId, TaskOptions};
use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use uuid::Uuid;

/// How many records a task may process before it is the next one's turn.
const RECORDS_PER_TURN_MAX: usize = 1024;

/// How many records a task processes at most between two looks at the clock. An operator that suddenly takes a second for each
/// delays polls, and a stop, by so many seconds once; from then on fewer are processed at a time.
const RECORDS_PER_SLICE_MAX: usize = 16;

/// How long records are processed before the log is polled again, so that no input runs dry meanwhile.
const PROCESSING_TIME_MAX: Duration = Duration::from_millis(100);

/// How often the log says how many records a task has dropped.
const DROPPED_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long dead letters are waited for before the application stops.
const DEAD_LETTER_WAIT: Duration = Duration::from_secs(10);

/// How long after joining a member of the group that has heard nothing has been given nothing.
const SILENT_JOIN: Duration = Duration::from_secs(6);

/// What all workers of an application share.
pub(crate) struct WorkerContext<B: Broker> {
    pub(crate) broker: Arc<B>,
    pub(crate) topology: Topology,
    pub(crate) settings: Arc<RuntimeSettings>,
    pub(crate) task_options: TaskOptions,
    pub(crate) client_id: String,
    /// What tells this process from the application's others, kept with its state.
    pub(crate) process_id: Uuid,
    pub(crate) tasks: TaskTable,
    /// The partition counts of all topics tasks read, by full name.
    pub(crate) partition_counts: BTreeMap<String, i32>,
    pub(crate) repartition_topics: BTreeSet<String>,
    pub(crate) metadata: Arc<CachedTopicMetadata<B>>,
    pub(crate) globals: Arc<GlobalStores>,
    pub(crate) restore: Arc<RestorePool>,
    pub(crate) purge: Arc<PurgeList>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// One stream thread: a member of the group, its producer, and the tasks it was given.
pub(crate) struct Worker<B: Broker> {
    pub(crate) context: Arc<WorkerContext<B>>,
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) consumer: B::Consumer,
    pub(crate) producer: ThreadProducer<B>,
    /// The tasks that are processed, by id.
    pub(crate) tasks: Vec<RunningTask<B::Record>>,
    /// The tasks that were assigned and are not ready yet.
    pub(crate) pending: Vec<PendingTask>,
    /// Which task and input (indices into `tasks` and its inputs) a record belongs to.
    pub(crate) slots: HashMap<InputSlot, (usize, usize)>,
    pub(crate) next_slot: u32,
    pub(crate) next_ticket: u64,
    pub(crate) restored: Receiver<RestoreOutcome>,
    pub(crate) restored_sender: Sender<RestoreOutcome>,
    pub(crate) commit: CommitState,
    /// Since when transactions fail, if they do.
    pub(crate) failing: Option<Failing>,
    /// Whether the group has told what this member gets, be it nothing.
    pub(crate) joined: bool,
    /// When this member began to join.
    pub(crate) joining_since: Duration,
    records: Vec<(InputSlot, B::Record)>,
    /// How many records a task processes before it is the next one's turn; adapts as in Kafka Streams' `StreamThread`.
    records_per_turn: usize,
    /// How many records a task processes before the next look at the clock; adapts to how long they take.
    records_per_slice: usize,
    /// Which task begins the next round: the first that was left out when time was up, so that slow tasks starve nobody.
    first_task: usize,
    /// When the log was last told of dropped records.
    dropped_logged_at: Duration,
    /// Whether the last turn processed anything: then the next poll does not wait.
    busy: bool,
}

/// A task that is processed.
pub(crate) struct RunningTask<R: crate::record::FetchedRecord> {
    pub(crate) task: Task<R>,
    pub(crate) id: TaskId,
    /// By input number of the task.
    pub(crate) inputs: Vec<TaskInput>,
    /// By store number: the changelog and the next offset this task may take its state to reflect.
    pub(crate) changelogs: Vec<Changelog>,
    pub(crate) directory: TaskDirectory,
    /// How many of its dropped records the application has counted.
    pub(crate) dropped_counted: u64,
    /// How many of them the log has told of.
    pub(crate) dropped_logged: u64,
}

/// One input of a running task.
pub(crate) struct TaskInput {
    /// `None` when the topic has fewer partitions than its sub-topology has tasks.
    pub(crate) partition: Option<TopicPartition>,
    pub(crate) slot: InputSlot,
    /// Where reading began.
    pub(crate) start: i64,
    /// What was committed last.
    pub(crate) committed: Option<i64>,
    /// What was committed with it before this worker had the task.
    pub(crate) metadata: String,
    /// Whether a record of it has been delivered.
    pub(crate) seen: bool,
    pub(crate) paused: bool,
    pub(crate) purged: bool,
}

/// Where the changes of one store go.
pub(crate) enum Changelog {
    /// Nowhere: logging is off.
    None,
    /// To a topic of their own; the position last committed with the store.
    Topic(TopicPartition, Option<i64>),
    /// They come from this input, whose topic serves as changelog.
    Input(usize),
}

impl<B: Broker> Worker<B> {
    /// Joins the group and makes a producer. `number` counts from 1.
    pub(crate) fn new(context: Arc<WorkerContext<B>>, number: usize) -> Result<Self> {
        let name = format!("{}-StreamThread-{number}", context.client_id);
        let consumer = join_group(&context, &name, number)?;
        let settings = &context.settings;
        // Kafka Streams' `ActiveTaskCreator`.
        let transactional_id = settings.exactly_once.then(|| {
            format!(
                "{}-{}-{number}",
                settings.application_id, context.process_id
            )
        });
        let producer = ThreadProducer::new(
            Arc::clone(&context.broker),
            format!("{name}-producer"),
            transactional_id,
        )?;
        let (restored_sender, restored) = channel();
        let now = context.clock.elapsed();
        let commit = CommitState::new(now);
        Ok(Worker {
            context,
            number,
            name,
            consumer,
            producer,
            tasks: Vec::new(),
            pending: Vec::new(),
            slots: HashMap::new(),
            next_slot: 0,
            next_ticket: 0,
            restored,
            restored_sender,
            commit,
            failing: None,
            joined: false,
            joining_since: now,
            records: Vec::new(),
            records_per_turn: 1,
            records_per_slice: 1,
            first_task: 0,
            dropped_logged_at: now,
            busy: false,
        })
    }

    /// Runs until the application stops, then commits, closes and leaves the group.
    pub(crate) fn run(mut self) -> Result<()> {
        tracing::info!(thread = %self.name, "started");
        while !self.context.lifecycle.is_stopping() {
            if let Err(error) = self.run_once() {
                // The stop interrupts what waits for the brokers: that is no failure, the next start processes it again.
                let interrupted = error.is_retriable() && self.context.lifecycle.is_stopping();
                self.send_dead_letters(&error);
                if interrupted {
                    tracing::warn!(thread = %self.name, %error, "stopping without a last commit");
                }
                self.close_after_failure();
                return if interrupted { Ok(()) } else { Err(error) };
            }
        }
        self.close()
    }

    /// One turn: what the log has, then processing in rounds, then a commit when it is due.
    pub(crate) fn run_once(&mut self) -> Result<()> {
        match self.turn() {
            Err(error) if self.producer.has_failed() => self.start_over(error),
            result => result,
        }
    }

    fn turn(&mut self) -> Result<()> {
        let now = self.context.clock.elapsed();
        let task_timeout = self.context.settings.task_timeout;
        if !self.producer.make_ready(now, task_timeout)? {
            // No task runs yet, and none may ask what is committed before that is settled.
            self.busy = false;
            self.poll()?;
            self.note_state();
            return Ok(());
        }
        self.poll()?;
        self.take_restored()?;
        self.open_pending()?;
        let processed = if self.commit.is_blocked() {
            // The group may have given these tasks to somebody else: nothing more is done before it says so or takes a commit.
            self.commit_if_due()?;
            false
        } else {
            self.process()?
        };
        self.busy = processed;
        self.balance_buffers()?;
        self.note_dropped_records();
        self.note_state();
        Ok(())
    }

    fn poll(&mut self) -> Result<()> {
        let settings = &self.context.settings;
        let timeout = if self.busy {
            Duration::ZERO
        } else if !self.commit.is_refused()
            && !self
                .tasks
                .iter()
                .any(|running| running.task.commit_needed())
        {
            // Nothing waits for a commit, so its interval, which may be zero, need not end the wait.
            settings.poll_interval
        } else {
            let due = self
                .commit
                .until_due(self.context.clock.elapsed(), settings.commit_interval);
            settings.poll_interval.min(due)
        };
        let mut records = std::mem::take(&mut self.records);
        let polled = self
            .consumer
            .poll(timeout, settings.poll_records_max, &mut records);
        self.add_records(&mut records);
        self.records = records;
        match polled {
            Ok(None) => Ok(()),
            Ok(Some(event)) => self.on_group_event(event),
            Err(error) if error.is_retriable() => {
                tracing::warn!(thread = %self.name, %error, "polling again");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn add_records(&mut self, records: &mut Vec<(InputSlot, B::Record)>) {
        // Records of one partition come in runs, so the table is asked once per run.
        let mut run: Option<(InputSlot, Option<(usize, usize)>)> = None;
        for (slot, record) in records.drain(..) {
            let target = match run {
                Some((last, target)) if last == slot => target,
                _ => {
                    let target = self.slots.get(&slot).copied();
                    if let Some((task, input)) = target {
                        self.tasks[task].inputs[input].seen = true;
                    }
                    run = Some((slot, target));
                    target
                }
            };
            // A record without a target was fetched before its input was removed.
            if let Some((task, input)) = target {
                self.tasks[task].task.add_record(input, record);
            }
        }
    }

    /// Processes in rounds until nothing is left, time is up or a commit is due; returns whether a record was processed.
    fn process(&mut self) -> Result<bool> {
        let clock = Arc::clone(&self.context.clock);
        let started = clock.elapsed();
        let mut processed_any = false;
        self.update_caught_up();
        loop {
            let now_ms = clock.wall_ms();
            let round_started = clock.elapsed();
            let (processed, all_had_a_turn) = self.process_round(now_ms, round_started)?;
            processed_any |= processed > 0;
            let punctuated = self.punctuate(now_ms)?;
            let committed = self.commit_if_due()?;
            // As in Kafka Streams' `StreamThread#runOnceWithoutProcessingThreads`: longer turns while nothing interferes. Slow
            // operators get shorter ones, so that the group hears of this member in time.
            let now = clock.elapsed();
            let slow = !all_had_a_turn || now.saturating_sub(round_started) > PROCESSING_TIME_MAX;
            if punctuated || committed || slow {
                self.records_per_turn = (self.records_per_turn / 2).max(1);
            } else if processed > 0 {
                self.records_per_turn = (self.records_per_turn + 1).min(RECORDS_PER_TURN_MAX);
            }
            let over = now.saturating_sub(started) > PROCESSING_TIME_MAX;
            if processed == 0 || over || self.context.lifecycle.is_stopping() {
                return Ok(processed_any);
            }
        }
    }

    /// One turn for each task, in slices between which the clock and a stop are looked at. Returns how many records were
    /// processed and whether every task had its turn before time was up.
    fn process_round(&mut self, now_ms: i64, started: Duration) -> Result<(usize, bool)> {
        let mut processed = 0;
        let count = self.tasks.len();
        let first = if self.first_task < count {
            self.first_task
        } else {
            0
        };
        self.first_task = 0;
        let mut slice_started = started;
        for index in (first..count).chain(0..first) {
            let running = &mut self.tasks[index];
            let mut of_task = 0;
            let mut over = false;
            while !over && of_task < self.records_per_turn {
                let wanted = self.records_per_slice.min(self.records_per_turn - of_task);
                let done = running.task.process(wanted, now_ms)?;
                of_task += done;
                let now = self.context.clock.elapsed();
                if done > 0 {
                    let taken = now.saturating_sub(slice_started);
                    self.records_per_slice = records_per_slice(done, taken);
                }
                slice_started = now;
                over = now.saturating_sub(started) > PROCESSING_TIME_MAX
                    || self.context.lifecycle.is_stopping();
                if done < wanted {
                    break;
                }
            }
            send_effects(&mut self.producer, running)?;
            processed += of_task;
            if over {
                self.first_task = (index + 1) % count;
                return Ok((processed, self.first_task == first));
            }
        }
        Ok((processed, true))
    }

    fn punctuate(&mut self, now_ms: i64) -> Result<bool> {
        let mut punctuated = false;
        for running in &mut self.tasks {
            punctuated |= running.task.punctuate(now_ms)?;
            send_effects(&mut self.producer, running)?;
        }
        Ok(punctuated)
    }

    /// Tells tasks that wait for an empty input whether the log has anything for it (`max.task.idle.ms`).
    fn update_caught_up(&mut self) {
        if self.context.task_options.max_task_idle.is_none() {
            return;
        }
        for running in &mut self.tasks {
            let inputs = running.inputs.len();
            let empty = (0..inputs)
                .filter(|&i| running.task.buffered(i) == 0)
                .count();
            if empty == 0 || empty == inputs {
                continue;
            }
            for (number, input) in running.inputs.iter().enumerate() {
                if running.task.buffered(number) > 0 {
                    continue;
                }
                let caught_up = match &input.partition {
                    None => true,
                    Some(partition) => {
                        let position = self.consumer.position(partition).unwrap_or(input.start);
                        let end = self.consumer.end_offset(partition);
                        end.is_some_and(|end| position >= end)
                    }
                };
                running.task.set_caught_up(number, caught_up);
            }
        }
    }

    /// Stops fetching inputs whose buffers are full, and fetches those again that have been worked off to a half. Pausing
    /// throws away what the client has fetched ahead, so an input at its bound must not be paused and resumed every turn.
    fn balance_buffers(&mut self) -> Result<()> {
        let full = self.context.settings.buffered_records_max;
        let mut pause = Vec::new();
        let mut resume = Vec::new();
        for running in &mut self.tasks {
            for (number, input) in running.inputs.iter_mut().enumerate() {
                let Some(partition) = &input.partition else {
                    continue;
                };
                let buffered = running.task.buffered(number);
                if !input.paused && buffered > full {
                    input.paused = true;
                    pause.push(partition.clone());
                } else if input.paused && buffered <= full / 2 {
                    input.paused = false;
                    resume.push(partition.clone());
                }
            }
        }
        if !pause.is_empty() {
            self.consumer.pause(&pause)?;
        }
        if !resume.is_empty() {
            self.consumer.resume(&resume)?;
        }
        Ok(())
    }

    fn note_state(&mut self) {
        if !self.joined {
            let waited = self
                .context
                .clock
                .elapsed()
                .saturating_sub(self.joining_since);
            self.joined = waited > SILENT_JOIN && self.consumer.is_member();
        }
        let state = if self.joined && self.pending.is_empty() {
            ThreadState::Running
        } else {
            ThreadState::Rebalancing
        };
        self.context.lifecycle.set_thread(self.number - 1, state);
    }

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
    fn note_dropped_records(&mut self) {
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

    /// Commits and closes every task and leaves the group.
    fn close(mut self) -> Result<()> {
        tracing::info!(thread = %self.name, tasks = self.tasks.len(), "stopping");
        self.cancel_pending(&|_| true);
        let ids: BTreeSet<TaskId> = self.tasks.iter().map(|running| running.id).collect();
        let closed = self.close_tasks(&ids);
        if let Err(error) = &closed {
            self.send_dead_letters(error);
        }
        // What a failed commit left, and what was restored meanwhile.
        self.drop_everything();
        let left = self.consumer.close();
        self.context
            .lifecycle
            .set_thread(self.number - 1, ThreadState::Dead);
        if let Err(error) = left {
            tracing::warn!(thread = %self.name, %error, "the group was not left cleanly; it notices after session.timeout.ms");
        }
        closed.inspect(|()| tracing::info!(thread = %self.name, "stopped"))
    }

    /// After a record that cannot be handled, writes what a handler wants to be written before the application stops. That is
    /// tried once: the record is handled again at the next start.
    fn send_dead_letters(&mut self, error: &Error) {
        // With exactly-once they are part of the transaction, which is aborted: in Kafka Streams, too.
        if error.kind() != ErrorKind::Data || self.producer.is_transactional() {
            return;
        }
        let mut sent = Ok(());
        for running in &mut self.tasks {
            sent = sent.and(send_effects(&mut self.producer, running));
        }
        if let Err(error) = sent.and_then(|()| self.producer.flush(DEAD_LETTER_WAIT)) {
            tracing::warn!(thread = %self.name, %error, "dead letters may be missing");
        }
    }

    /// Closes everything without a commit and leaves the group, so that other instances take over at once.
    fn close_after_failure(mut self) {
        self.drop_everything();
        self.context
            .lifecycle
            .set_thread(self.number - 1, ThreadState::Dead);
        if let Err(error) = self.consumer.close() {
            tracing::warn!(thread = %self.name, %error, "the group was not left cleanly; it notices after session.timeout.ms");
        }
    }
}

/// How many records may be processed at once, so that they take no longer than polls may be apart, when `processed` of them
/// took `taken`.
fn records_per_slice(processed: usize, taken: Duration) -> usize {
    let each_ns = (taken.as_nanos() / processed as u128).max(1);
    let records = PROCESSING_TIME_MAX.as_nanos() / each_ns;
    usize::try_from(records)
        .unwrap_or(RECORDS_PER_SLICE_MAX)
        .clamp(1, RECORDS_PER_SLICE_MAX)
}

/// Makes a member of the group that is subscribed to the task topic.
pub(crate) fn join_group<B: Broker>(
    context: &WorkerContext<B>,
    name: &str,
    number: usize,
) -> Result<B::Consumer> {
    let settings = &context.settings;
    let mut consumer = context.broker.consumer(&ConsumerOptions {
        group_id: settings.application_id.to_string(),
        client_id: format!("{name}-consumer"),
        instance_id: settings
            .instance_id
            .as_ref()
            .map(|id| format!("{id}-{number}")),
        // Where to start is always said when an input is added.
        auto_offset_reset: "none".to_owned(),
    })?;
    consumer.subscribe(&[context.tasks.topic()])?;
    Ok(consumer)
}

/// Sends what a task asks for.
pub(crate) fn send_effects<B: Broker>(
    producer: &mut ThreadProducer<B>,
    running: &mut RunningTask<B::Record>,
) -> Result<()> {
    let effects = running.task.effects();
    if effects.is_empty() {
        return Ok(());
    }
    producer
        .send(&mut effects.records())
        .map_err(|error| error.context(format!("task {}", running.id)))?;
    effects.clear();
    Ok(())
}
