//! `TopologyTestDriver`: the whole topology in one thread, in memory.

use super::builder::{CommitMode, TopologyTestDriverBuilder};
use super::logs::{Logs, Reader};
use super::tasks::{DrivenTask, Layout, TaskFactory};
use crate::error::Result;
use crate::exception_handlers::{DeserializationExceptionHandler, LogAndContinue, LogAndFail};
use crate::record::OwnedRecord;
use crate::task::global_updates::GlobalUpdates;
use crate::task::globals::GlobalViews;
use crate::task::{GlobalStores, Task, TaskOptions};
use crate::topology::Topology;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streams_state::StoreResources;

/// Runs a topology in memory: records in, records out, time under control.
///
/// As Kafka Streams' driver it runs the whole topology as one task with one partition, takes the record with the earliest
/// timestamp first, and commits after every record, so the record cache never holds a result back. With a
/// [`builder`](Self::builder) it can do what that one cannot: topics with several partitions, commits at an interval or when
/// told, and [restarts](Self::restart) in the middle of a test.
///
/// Internal topics can be read like any other; their names begin with the application's id,
/// [`TopologyTestDriver::APPLICATION_ID`] unless it is set.
///
/// ```
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("words", Consumed::new())
///     .group_by_key()
///     .count_with(streams_core::Materialized::named("counts"))
///     .to_stream()
///     .to("counts", Produced::new());
///
/// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// let words = driver.input("words", Utf8, Utf8);
/// let counts = driver.output("counts", Utf8, I64);
/// let changelog = driver.output("test-counts-changelog", Utf8, I64);
/// driver.pipe_at(&words, "rust", "is here", 1_000)?;
///
/// assert_eq!(driver.read_key_values(&counts)?, [("rust".to_owned(), 1)]);
/// assert_eq!(driver.read_record(&changelog)?.expect("one").timestamp, 1_000);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct TopologyTestDriver {
    pub(super) factory: TaskFactory,
    pub(super) tasks: Vec<DrivenTask>,
    pub(super) globals: Arc<GlobalStores>,
    global_updates: GlobalUpdates,
    pub(super) global_views: GlobalViews,
    pub(super) logs: Logs,
    commit_mode: CommitMode,
    next_commit_ms: i64,
    pub(super) now_ms: i64,
}

/// What is left of the state directory after [`TopologyTestDriver::restart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalState {
    /// Nothing, as after a move to another machine: every store is restored from the beginning of its changelog, and what is
    /// not logged is gone.
    Lost,
    /// Stores on disk are as of the last commit, and the rest of their changelogs is restored on top. Stores in memory are
    /// gone as with [`LocalState::Lost`].
    Kept,
}

impl TopologyTestDriver {
    /// The application's id in the names of internal topics, unless it is set.
    pub const APPLICATION_ID: &'static str = "test";

    /// A driver whose wall clock stands at the epoch and which fails on records that cannot be read.
    ///
    /// # Errors
    /// When the topology's stores cannot be opened.
    pub fn new(topology: &Topology) -> Result<Self> {
        TopologyTestDriver::with_handler(topology, LogAndFail)
    }

    /// A driver that skips records which cannot be read.
    ///
    /// # Errors
    /// When the topology's stores cannot be opened.
    pub fn skipping_unreadable(topology: &Topology) -> Result<Self> {
        TopologyTestDriver::with_handler(topology, LogAndContinue)
    }

    /// A driver with a deserialization handler of the user's own.
    ///
    /// # Errors
    /// When the topology's stores cannot be opened.
    pub fn with_handler(
        topology: &Topology,
        handler: impl DeserializationExceptionHandler,
    ) -> Result<Self> {
        TopologyTestDriver::builder(topology)
            .deserialization_exception_handler(handler)
            .build()
    }

    /// A driver to be set up: its partitions, its commits, its configuration.
    pub fn builder(topology: &Topology) -> TopologyTestDriverBuilder {
        TopologyTestDriverBuilder::new(topology)
    }

    pub(super) fn start(
        topology: Topology,
        layout: Layout,
        mut logs: Logs,
        globals: Arc<GlobalStores>,
        options: TaskOptions,
        commit_mode: CommitMode,
        now_ms: i64,
    ) -> Result<Self> {
        let factory = TaskFactory {
            topology,
            layout,
            options,
        };
        let tasks = factory.open(&mut logs, &globals, BTreeMap::new())?;
        let global_updates = global_updates(&factory)?;
        let mut driver = TopologyTestDriver {
            factory,
            tasks,
            globals,
            global_updates,
            global_views: GlobalViews::default(),
            logs,
            commit_mode,
            next_commit_ms: now_ms,
            now_ms,
        };
        driver.schedule_commit();
        driver.start_processors()?;
        Ok(driver)
    }

    /// Initializes processors, so that their schedules count from now.
    fn start_processors(&mut self) -> Result<()> {
        for index in 0..self.tasks.len() {
            self.tasks[index].task.punctuate(self.now_ms)?;
        }
        self.run()
    }

    fn schedule_commit(&mut self) {
        if let CommitMode::Every(interval_ms) = self.commit_mode {
            self.next_commit_ms = self.now_ms.saturating_add(interval_ms);
        }
    }

    /// The driver's wall clock, in milliseconds since the Unix epoch.
    pub fn wall_clock_ms(&self) -> i64 {
        self.now_ms
    }

    /// Moves the wall clock on and makes the calls that are due by it: punctuations, and a commit where the driver has a
    /// commit interval.
    ///
    /// # Errors
    /// When a processor fails.
    pub fn advance_wall_clock(&mut self, by: Duration) -> Result<()> {
        self.now_ms = self.now_ms.saturating_add(crate::stores::duration_ms(by));
        for index in 0..self.tasks.len() {
            let punctuated = self.tasks[index].task.punctuate(self.now_ms);
            self.or_capture(index, punctuated)?;
            if self.commit_mode == CommitMode::EveryRecord {
                self.commit_task(index)?;
            }
        }
        self.run()?;
        if matches!(self.commit_mode, CommitMode::Every(_)) && self.now_ms >= self.next_commit_ms {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits every task: the record cache forwards what it holds back, and what comes of it is processed.
    ///
    /// # Errors
    /// When an operator fails.
    pub fn commit(&mut self) -> Result<()> {
        for index in 0..self.tasks.len() {
            self.commit_task(index)?;
        }
        self.schedule_commit();
        self.run()
    }

    /// Ends all tasks as a crash does, without a commit and without closing processors, and starts them again: stores are
    /// restored from the changelogs, partition times and what processors remember are taken from the last commit, and input
    /// behind it is processed again. Topics and the wall clock stay as they are, so what was produced since the last commit
    /// may be produced twice: at least once.
    ///
    /// ```
    /// use streams_core::serdes::{I64, Utf8};
    /// use streams_core::{Consumed, LocalState, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream("words", Consumed::with(Utf8, Utf8))
    ///     .group_by_key()
    ///     .count_with(Materialized::named("counts"))
    ///     .to_stream()
    ///     .to("counts", Produced::with(Utf8, I64));
    /// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let words = driver.input("words", Utf8, Utf8);
    /// let counts = driver.output("counts", Utf8, I64);
    /// driver.pipe(&words, "ape", "")?;
    /// driver.restart(LocalState::Lost)?;
    /// driver.pipe(&words, "ape", "")?;
    /// assert_eq!(driver.read_values(&counts)?, [1, 2]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When stores cannot be restored or an operator fails.
    pub fn restart(&mut self, state: LocalState) -> Result<()> {
        let mut kept = BTreeMap::new();
        for driven in self.tasks.drain(..) {
            let stores = driven.task.into_stores();
            if state == LocalState::Kept {
                kept.insert(driven.id, stores);
            }
        }
        if state == LocalState::Lost {
            self.restore_globals()?;
        }
        self.tasks = self.factory.open(&mut self.logs, &self.globals, kept)?;
        self.schedule_commit();
        self.start_processors()
    }

    fn restore_globals(&mut self) -> Result<()> {
        self.globals = GlobalStores::open(
            &self.factory.topology,
            None,
            &StoreResources::in_memory(),
            &self.factory.options.handlers,
        )?;
        self.global_updates = global_updates(&self.factory)?;
        for index in 0..self.globals.len() {
            let topic = self.globals.topic(index).clone();
            for partition in 0..self.logs.counts.of(&topic) {
                let records = self.logs.records(&topic, partition);
                let end = records.len() as i64;
                self.globals.apply(
                    &mut self.global_updates,
                    index,
                    partition,
                    records,
                    end,
                    true,
                )?;
            }
        }
        Ok(())
    }

    /// Appends a record to a topic and hands it to whoever reads it.
    pub(super) fn deliver(
        &mut self,
        topic: &str,
        partition: i32,
        record: OwnedRecord,
    ) -> Result<()> {
        let (reader, record) = self.logs.append(topic, partition, record);
        self.hand_over(topic, partition, reader, record)
    }

    fn hand_over(
        &mut self,
        topic: &str,
        partition: i32,
        reader: Option<Reader>,
        record: OwnedRecord,
    ) -> Result<()> {
        for index in 0..self.globals.len() {
            if **self.globals.topic(index) == *topic {
                let next = record.offset + 1;
                let records = std::slice::from_ref(&record);
                self.globals.apply(
                    &mut self.global_updates,
                    index,
                    partition,
                    records,
                    next,
                    false,
                )?;
            }
        }
        if let Some(reader) = reader {
            let task = &mut self.tasks[reader.task].task;
            task.add_record(reader.input, record);
        }
        Ok(())
    }

    /// Processes what waits, one record after the other, until nothing more comes of it.
    pub(super) fn run(&mut self) -> Result<()> {
        for index in 0..self.tasks.len() {
            self.capture(index)?;
        }
        while let Some(index) = self.process_one()? {
            let commit = match self.commit_mode {
                CommitMode::EveryRecord => true,
                CommitMode::Every(_) => self.tasks[index].task.commit_requested(),
                CommitMode::Explicit => false,
            };
            match commit {
                true => self.commit_task(index)?,
                false => self.capture(index)?,
            }
        }
        // Dead letters of records that could not be read.
        for index in 0..self.tasks.len() {
            self.capture(index)?;
        }
        Ok(())
    }

    /// Processes the earliest record of the first task that can take one; `None` when none can.
    fn process_one(&mut self) -> Result<Option<usize>> {
        let mut waiting = Vec::new();
        for index in 0..self.tasks.len() {
            let driven = &mut self.tasks[index];
            if driven.task.has_records() {
                let next = driven.task.next_timestamp(self.now_ms);
                if let Some(timestamp) = self.or_capture(index, next)? {
                    waiting.push((timestamp, index));
                }
            }
        }
        waiting.sort_unstable();
        for (_, index) in waiting {
            let processed = self.tasks[index].task.process(1, self.now_ms);
            if self.or_capture(index, processed)? > 0 {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// After a failure, writes the dead letters that a task has left.
    fn or_capture<T>(&mut self, index: usize, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.capture(index)?;
        }
        result
    }

    fn commit_task(&mut self, index: usize) -> Result<()> {
        let mut is_all = false;
        while !is_all {
            let prepared = self.tasks[index].task.prepare_commit(self.now_ms);
            is_all = self.or_capture(index, prepared)?;
            self.capture(index)?;
        }
        let driven = &mut self.tasks[index];
        let offsets = driven.task.offsets(&|_| None);
        for (input, committed) in &offsets {
            let topic = &driven.task.input_topics()[*input];
            self.logs
                .commit(topic, driven.id.partition, committed.clone());
        }
        let positions = driven.changelog_ends(&self.logs);
        driven.task.commit_stores(&offsets, &positions)
    }

    /// Writes what a task has produced to its topics.
    fn capture(&mut self, index: usize) -> Result<()> {
        let mut effects = std::mem::take(self.tasks[index].task.effects());
        for record in effects.records() {
            let (partition, reader, owned) = self.logs.produce(&record, self.now_ms);
            self.hand_over(record.topic, partition, reader, owned)?;
        }
        effects.clear();
        *self.tasks[index].task.effects() = effects;
        Ok(())
    }

    /// How many records were dropped by an operator's rule or skipped as unreadable, since the last restart.
    pub fn dropped_records(&self) -> u64 {
        self.tasks
            .iter()
            .map(|driven| Task::dropped_records(&driven.task))
            .sum()
    }
}

fn global_updates(factory: &TaskFactory) -> Result<GlobalUpdates> {
    GlobalUpdates::new(
        &factory.topology,
        &factory.options.application_id,
        &factory.options.handlers,
    )
}
