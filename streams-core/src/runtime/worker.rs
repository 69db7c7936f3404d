//! A stream thread: the loop that polls, processes, carries out what tasks ask for, and commits.
//!
//! Each turn is [`Worker::run_once`], which waits nowhere longer than `poll.ms`, so that a simulation can take the turns of
//! several workers one after the other. What it does with records is in `processing`,
//! rebalances are in `rebalance`, commits in `commit`, its end in `thread_end`.

use crate::error::{Error, Result, panic_text};
use crate::runtime::assignment::TaskTable;
use crate::runtime::broker::{Broker, ConsumerOptions, GroupConsumer, InputSlot};
use crate::runtime::clock::Clock;
use crate::runtime::commit::{CommitState, PurgeList};
use crate::runtime::exactly_once::Failing;
use crate::runtime::failed_sends::Retrying;
use crate::runtime::lifecycle::{Lifecycle, ThreadState};
use crate::runtime::local_tasks::{LocalTasks, ThreadTasks};
use crate::runtime::notices::Notices;
use crate::runtime::open_task::PendingTask;
use crate::runtime::restore_pool::RestorePool;
use crate::runtime::restore_request::RestoreOutcome;
use crate::runtime::running_task::RunningTask;
use crate::runtime::send_tags::TaskNumbers;
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::stream_threads::thread_name;
use crate::runtime::thread_producer::ThreadProducer;
use crate::runtime::topic_metadata::CachedTopicMetadata;
use crate::task::{GlobalStores, TaskId, TaskOptions};
use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use uuid::Uuid;

/// How long after joining a member of the group that has heard nothing has been given nothing.
const SILENT_JOIN: Duration = Duration::from_secs(6);

/// How long a thread waits for the log at most while tasks of its are being made ready, or it does not know which it may have.
const PENDING_POLL: Duration = Duration::from_millis(5);

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
    pub(crate) local_tasks: Arc<LocalTasks>,
    pub(crate) purge: Arc<PurgeList>,
    pub(crate) notices: Arc<Notices<B>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<B: Broker> WorkerContext<B> {
    /// Whether there is no task that goes only to instances with its state.
    pub(crate) fn takes_any_task(&self) -> bool {
        self.tasks.own_topics().next().is_none()
    }

    /// Lets the threads subscribe to all tasks that go anywhere.
    pub(crate) fn take_any_task(&self) {
        let topics = self.tasks.subscription(&BTreeSet::new());
        self.local_tasks.subscribe(&topics);
    }

    /// The name of a stream thread.
    pub(crate) fn thread_name(&self, number: usize) -> String {
        thread_name(&self.client_id, number)
    }
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
    /// Both of them, as the rest of the instance knows them.
    pub(crate) given: ThreadTasks,
    /// Which task and input (indices into `tasks` and its inputs) a record belongs to.
    pub(crate) slots: HashMap<InputSlot, (usize, usize)>,
    pub(crate) next_slot: u32,
    pub(crate) next_ticket: u64,
    pub(crate) restored: Receiver<RestoreOutcome>,
    pub(crate) restored_sender: Sender<RestoreOutcome>,
    pub(crate) commit: CommitState,
    /// The numbers of tasks in the tags of what they send.
    pub(crate) numbers: TaskNumbers,
    /// The tasks that start over at the end of this turn.
    pub(crate) restarts: BTreeSet<TaskId>,
    /// The tasks that have started over and not committed since.
    pub(crate) retrying: Retrying,
    /// Since when transactions fail, if they do.
    pub(crate) failing: Option<Failing>,
    /// Whether the group has told what this member gets, be it nothing.
    pub(crate) joined: bool,
    /// When this member began to join.
    pub(crate) joining_since: Duration,
    records: Vec<(InputSlot, B::Record)>,
    /// How many records a task processes before it is the next one's turn; adapts as in Kafka Streams' `StreamThread`.
    pub(super) records_per_turn: usize,
    /// How many records a task processes before the next look at the clock; adapts to how long they take.
    pub(super) records_per_slice: usize,
    /// Which task begins the next round: the first that was left out when time was up, so that slow tasks starve nobody.
    pub(super) first_task: usize,
    /// When the log was last told of dropped records.
    pub(super) dropped_logged_at: Duration,
    /// Whether the last turn processed anything: then the next poll does not wait.
    busy: bool,
    /// Whether this thread is to end while the application goes on.
    removed: Arc<AtomicBool>,
    /// The tasks the application was last told of.
    told_tasks: Vec<TaskId>,
}

impl<B: Broker> Worker<B> {
    /// Makes a member of the group and a producer. `number` counts from 1.
    pub(crate) fn new(context: Arc<WorkerContext<B>>, number: usize) -> Result<Self> {
        let name = context.thread_name(number);
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
        let given = context.local_tasks.thread();
        let removed = context.lifecycle.removal(number);
        Ok(Worker {
            context,
            number,
            name,
            consumer,
            producer,
            tasks: Vec::new(),
            pending: Vec::new(),
            given,
            slots: HashMap::new(),
            next_slot: 0,
            next_ticket: 0,
            restored,
            restored_sender,
            commit,
            numbers: TaskNumbers::default(),
            restarts: BTreeSet::new(),
            retrying: Retrying::new(),
            failing: None,
            joined: false,
            joining_since: now,
            records: Vec::new(),
            records_per_turn: 1,
            records_per_slice: 1,
            first_task: 0,
            dropped_logged_at: now,
            busy: false,
            removed,
            told_tasks: Vec::new(),
        })
    }

    /// Whether this thread is to end, with the application or alone.
    pub(crate) fn is_stopping(&self) -> bool {
        self.context.lifecycle.is_stopping() || self.removed.load(Ordering::Acquire)
    }

    /// Runs until it is to end, then commits, closes and leaves the group.
    pub(crate) fn run(mut self) -> Result<()> {
        tracing::info!(thread = %self.name, "started");
        while !self.is_stopping() {
            // After a panic, too, tasks are closed and the group is left, so that others can take over.
            let turn = catch_unwind(AssertUnwindSafe(|| self.run_once())).unwrap_or_else(|panic| {
                Err(Error::fatal(format!("panicked: {}", panic_text(&*panic))))
            });
            if let Err(error) = turn {
                return self.end_after(error);
            }
        }
        self.close()
    }

    /// One turn: what the log has, then processing in rounds, then a commit when it is due.
    pub(crate) fn run_once(&mut self) -> Result<()> {
        let mut result = self.turn();
        if result.is_err() && self.producer.has_failures() {
            // They are the better explanation, and somebody may want to go on after them.
            result = self.handle_failed_sends().and(result);
        }
        match result {
            Err(error) if self.producer.has_failed() => self.start_over(error),
            Err(error) if !self.restarts.is_empty() => self.restart_tasks(&error),
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
        if !self.producer.is_ready() {
            // A transaction that ended with a revocation is for a new producer to settle, in the next turn.
            self.busy = false;
            self.note_state();
            return Ok(());
        }
        self.take_restored()?;
        let is_paused = self.context.lifecycle.is_paused();
        if !is_paused {
            self.open_pending()?;
        }
        let processed = if is_paused || self.commit.is_blocked() {
            // The group may have given these tasks to somebody else: nothing more is done before it says so or takes a commit.
            // What was processed before a pause is committed.
            self.commit_if_due()?;
            false
        } else {
            self.process()?
        };
        self.handle_failed_sends()?;
        self.busy = processed;
        self.balance_buffers()?;
        self.note_dropped_records();
        self.note_state();
        Ok(())
    }

    fn poll(&mut self) -> Result<()> {
        self.follow_subscription()?;
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
        // What a restore thread has done ends no wait for the log, and neither does what there is to subscribe to.
        let timeout = match self.pending.is_empty() && self.given.knows_subscription() {
            true => timeout,
            false => timeout.min(PENDING_POLL),
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

    /// Subscribes to what this instance may be given by now.
    fn follow_subscription(&mut self) -> Result<()> {
        let now = self.context.clock.elapsed();
        let Some(topics) = self.given.polls(now) else {
            return Ok(());
        };
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics)
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
                        let running = &mut self.tasks[task];
                        running.inputs[input].seen = true;
                        // When these are worked off, the log may have more.
                        running.task.set_caught_up(input, false);
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

    fn note_state(&mut self) {
        if !self.joined {
            let waited = self
                .context
                .clock
                .elapsed()
                .saturating_sub(self.joining_since);
            self.joined =
                self.given.is_left_out() || waited > SILENT_JOIN && self.consumer.is_member();
        }
        let state = if self.joined && self.pending.is_empty() {
            ThreadState::Running
        } else {
            ThreadState::Rebalancing
        };
        let lifecycle = &self.context.lifecycle;
        let tasks = || self.tasks.iter().map(|running| running.id);
        if !tasks().eq(self.told_tasks.iter().copied()) {
            self.told_tasks = tasks().collect();
            lifecycle.set_tasks(self.number, self.told_tasks.clone());
        }
        lifecycle.set_thread(self.number, state);
    }
}

/// Makes a member of the group. It joins when it is known what it may be given.
pub(crate) fn join_group<B: Broker>(
    context: &WorkerContext<B>,
    name: &str,
    number: usize,
) -> Result<B::Consumer> {
    let settings = &context.settings;
    context.broker.consumer(&ConsumerOptions {
        group_id: settings.application_id.to_string(),
        client_id: format!("{name}-consumer"),
        instance_id: settings
            .instance_id
            .as_ref()
            .map(|id| format!("{id}-{number}")),
        // Where to start is always said when an input is added.
        auto_offset_reset: "none".to_owned(),
    })
}
