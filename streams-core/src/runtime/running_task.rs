//! A task at its worker: with its inputs, its changelogs, and what it asks to be written.

use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, InputSlot};
use crate::runtime::send_tags::tag;
use crate::runtime::state_directory::TaskDirectory;
use crate::runtime::thread_producer::ThreadProducer;
use crate::task::{Task, TaskId};

/// A task that is processed.
pub(crate) struct RunningTask<R: crate::record::FetchedRecord> {
    pub(crate) task: Task<R>,
    pub(crate) id: TaskId,
    /// What tells it from others in the tags of what it sends.
    pub(crate) number: u16,
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

/// Flushes the record cache of a task and sends what follows from it.
pub(crate) fn send_held_back<B: Broker>(
    producer: &mut ThreadProducer<B>,
    running: &mut RunningTask<B::Record>,
    now_ms: i64,
) -> Result<()> {
    while !running.task.prepare_commit(now_ms)? {
        send_effects(producer, running)?;
    }
    send_effects(producer, running)
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
    let (id, number) = (running.id, running.number);
    let mut records = effects
        .records_with_origins()
        .map(|(record, origin)| (record, tag(number, origin)));
    let sent = producer
        .send(id, &mut records)
        .map_err(|error| error.context(format!("task {id}")));
    drop(records);
    // Also after an error: what is done again is made again.
    effects.clear();
    sent
}
