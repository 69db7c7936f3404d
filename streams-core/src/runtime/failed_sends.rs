//! What becomes of records that were not written: the production handler is asked, and its answer carried out (Kafka Streams'
//! `RecordCollectorImpl#recordSendError`). Its answer to go on leaves the record out; to try again takes the task back to where
//! it was committed last, because the records behind the failed one may be written already.
//!
//! A broker refuses whole batches, and says nothing of which record is to blame. So the tasks of a refused batch start over with
//! every record in a batch of its own, as the Java producer splits batches that are too large; then the culprit is known.

use crate::error::{Error, ErrorKind, Result};
use crate::exception_handlers::{ProductionResult, UnsentRecord};
use crate::record::{FetchedRecord, OwnedRecord, TopicPartition};
use crate::runtime::broker::{Broker, FailedSend, Input, InputSlot, LogReader, StartOffset};
use crate::runtime::open_task::PendingTask;
use crate::runtime::rebalance::list;
use crate::runtime::send_tags::{LeftOut, sent};
use crate::runtime::worker::Worker;
use crate::task::TaskId;
use crate::task::effects::Effects;
use crate::task::stores::Origin;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long the record that led to one that failed is looked for, to show it to the handler.
const SOURCE_WAIT: Duration = Duration::from_secs(2);
const SOURCE_POLL: Duration = Duration::from_millis(100);

/// Tasks that cannot make progress: since when each has been starting over.
pub(crate) type Retrying = BTreeMap<TaskId, Duration>;

impl<B: Broker> Worker<B> {
    /// Asks the production handler about the records that failed since the last call.
    ///
    /// # Errors
    /// The first error that the handler does not go on after. When tasks are to start over, they are in `self.restarts`, or the
    /// transaction has failed.
    pub(crate) fn handle_failed_sends(&mut self) -> Result<()> {
        if !self.producer.has_failures() {
            return Ok(());
        }
        let mut sources = Sources::<B>::default();
        // Whether a record that a broker refuses now was alone in its batch.
        let alone = self.producer.is_one_by_one();
        let decided = self.handle_failures(alone, &mut sources);
        if alone || !self.producer.is_one_by_one() {
            return decided;
        }
        // Those still under way are not alone either.
        while let Err(error) = self.producer.flush(self.context.settings.task_timeout) {
            if !self.producer.has_failures() {
                return Err(error);
            }
            // The first error is the one to go by, but for one after which nothing goes on.
            let handled = self.handle_failures(false, &mut sources);
            if self.restarts.is_empty() && !self.producer.has_failed() {
                return handled;
            }
        }
        decided
    }

    fn handle_failures(&mut self, alone: bool, sources: &mut Sources<B>) -> Result<()> {
        let mut first = Ok(());
        for failed in self.producer.take_failures() {
            match failed.error.kind() {
                ErrorKind::Retriable | ErrorKind::Data => {}
                kind => {
                    if kind == ErrorKind::Fenced && self.producer.is_transactional() {
                        self.producer.fail();
                    }
                    self.restarts.clear();
                    return Err(failed.error);
                }
            }
            let number = sent(failed.tag).task;
            let Some(index) = self.tasks.iter().position(|task| task.number == number) else {
                // What a closed task had not committed is processed again.
                continue;
            };
            // One answer is enough to start over.
            if self.restarts.contains(&self.tasks[index].id) || self.producer.has_failed() {
                continue;
            }
            let decided = self.decide_failed_send(index, failed, alone, sources);
            if self.tasks[index].task.has_failed() {
                // To stop goes before starting over.
                self.restarts.clear();
                return decided;
            }
            if first.is_ok() {
                first = decided;
            }
        }
        first
    }

    fn decide_failed_send(
        &mut self,
        index: usize,
        mut failed: FailedSend,
        alone: bool,
        sources: &mut Sources<B>,
    ) -> Result<()> {
        let id = self.tasks[index].id;
        let error = std::mem::replace(&mut failed.error, Error::fatal(""));
        let error = error.context(format_args!("task {id}"));
        let is_data = error.kind() == ErrorKind::Data;
        if is_data && !failed.is_local && !alone {
            tracing::warn!(
                thread = %self.name, task = %id, %error,
                "a batch was refused; its records are sent one by one to find out which of them it was"
            );
            self.producer.send_one_by_one();
            return self.start_over_with(id, error);
        }
        let sent = sent(failed.tag);
        if sent.is_dead_letter {
            return self.give_up_dead_letter(index, failed, error);
        }
        let place = sent.input.and_then(|input| {
            let partition = self.tasks[index].inputs.get(input)?.partition.clone()?;
            Some((partition, sent.offset?))
        });
        let handlers = &self.context.task_options.handlers;
        let source = match &place {
            Some(place) if handlers.wants_source_of_unsent() => sources.find(self, place),
            _ => None,
        };
        let origin = Origin {
            input: sent.input.map(|input| input as u32),
            offset: sent.offset.unwrap_or(-1),
            timestamp: failed.record.timestamp,
        };
        let node = self.writer_of(id, &failed.topic);
        let unsent = UnsentRecord {
            topic: &failed.topic,
            partition: (failed.partition >= 0).then_some(failed.partition),
            timestamp: (failed.record.timestamp >= 0).then_some(failed.record.timestamp),
            key: failed.record.key(),
            value: failed.record.value(),
            headers: &failed.record.headers,
        };
        let task = &mut self.tasks[index].task;
        let result = task.production_failed(&error, &node, (origin, source.as_ref()), &unsent)?;
        match result {
            ProductionResult::Retry if error.is_retriable() => {
                tracing::warn!(thread = %self.name, task = %id, %error, "starting over");
                self.start_over_with(id, error)
            }
            ProductionResult::Resume => {
                tracing::warn!(
                    thread = %self.name, task = %id, topic = failed.topic, %error,
                    "a record is left out because it cannot be written"
                );
                if failed.is_local || !self.producer.is_transactional() {
                    return Ok(());
                }
                // The transaction cannot be committed any more: it is done again without the record, and with its dead letters.
                let dead_letters = std::mem::take(self.tasks[index].task.effects());
                self.producer.leave_out(LeftOut {
                    task: id,
                    topic: failed.topic,
                    partition: failed.partition,
                    key: failed.record.key,
                    value: failed.record.value,
                    dead_letters,
                });
                self.start_over_with(id, error)
            }
            result => {
                if result == ProductionResult::Retry {
                    tracing::warn!(thread = %self.name, "what a broker will never take is not tried again");
                }
                // The handler of processing errors is not asked about it: the record has been processed.
                Err(error)
            }
        }
    }

    /// Nobody is asked about a dead letter: its own dead letter could not be written either. One that will never be taken is
    /// lost, which the log says; another is tried again.
    fn give_up_dead_letter(
        &mut self,
        index: usize,
        failed: FailedSend,
        error: Error,
    ) -> Result<()> {
        let task = self.tasks[index].id;
        if error.is_retriable() {
            return self.start_over_with(task, error);
        }
        tracing::error!(thread = %self.name, %task, topic = failed.topic, %error, "a dead letter is lost");
        if failed.is_local || !self.producer.is_transactional() {
            return Ok(());
        }
        self.producer.leave_out(LeftOut {
            task,
            topic: failed.topic,
            partition: failed.partition,
            key: failed.record.key,
            value: failed.record.value,
            dead_letters: Effects::new(),
        });
        self.start_over_with(task, error)
    }

    /// Has a task start over at the end of this turn; in a transaction it takes all others along.
    pub(crate) fn start_over_with(&mut self, id: TaskId, error: Error) -> Result<()> {
        let now = self.context.clock.elapsed();
        self.retrying.entry(id).or_insert(now);
        if self.producer.is_transactional() {
            self.producer.fail();
        } else {
            self.restarts.insert(id);
        }
        Err(error)
    }

    /// Takes tasks back to where they were committed last. Others of this thread go on.
    ///
    /// # Errors
    /// When one of them has made no progress for longer than `task.timeout.ms`.
    pub(crate) fn restart_tasks(&mut self, error: &Error) -> Result<()> {
        let now = self.context.clock.elapsed();
        let timeout = self.context.settings.task_timeout;
        let ids = std::mem::take(&mut self.restarts);
        for id in &ids {
            let since = *self.retrying.entry(*id).or_insert(now);
            let waited = now.saturating_sub(since);
            if waited > timeout {
                return Err(Error::fatal(format!(
                    "task {id} has made no progress for {} s (task.timeout.ms): {error}",
                    waited.as_secs()
                )));
            }
        }
        tracing::info!(thread = %self.name, tasks = %list(&ids), %error, "these tasks start over from the last commit");
        let ids: BTreeSet<TaskId> = self
            .tasks
            .iter()
            .map(|running| running.id)
            .filter(|id| ids.contains(id))
            .collect();
        self.drop_tasks(&ids);
        for id in ids {
            let inputs = self.context.input_partitions(id)?;
            self.pending.push(PendingTask::assigned(id, inputs, now));
        }
        Ok(())
    }

    /// The node that writes to a topic: the sink, or the processor whose store the topic is the changelog of. Where several
    /// nodes of a task write to it, the first.
    fn writer_of(&self, id: TaskId, topic: &str) -> String {
        let application_id = &self.context.settings.application_id;
        self.context
            .topology
            .writer_of(id.sub_topology, topic, application_id)
            .unwrap_or_default()
            .to_owned()
    }
}

/// Reads source records again to show them to the handler: keeping those of all records under way would cost more than all the
/// rest.
struct Sources<B: Broker> {
    reader: Option<B::Reader>,
    /// Whether one was looked for in vain: then no more are.
    in_vain: bool,
    next_slot: u32,
}

impl<B: Broker> Default for Sources<B> {
    fn default() -> Self {
        Sources {
            reader: None,
            in_vain: false,
            next_slot: 0,
        }
    }
}

impl<B: Broker> Sources<B> {
    fn find(&mut self, worker: &Worker<B>, place: &(TopicPartition, i64)) -> Option<OwnedRecord> {
        if self.in_vain {
            return None;
        }
        match self.read(worker, place) {
            Ok(Some(record)) => return Some(record),
            Ok(None) => {
                tracing::warn!(partition = %place.0, offset = place.1, "the source record of one that was not written is gone or was not found in time");
            }
            Err(error) => {
                tracing::warn!(%error, "the source record of one that was not written cannot be read");
            }
        }
        self.in_vain = true;
        None
    }

    fn read(
        &mut self,
        worker: &Worker<B>,
        (partition, offset): &(TopicPartition, i64),
    ) -> Result<Option<OwnedRecord>> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let client_id = format!("{}-source-consumer", worker.name);
                none.insert(worker.context.broker.reader(&client_id)?)
            }
        };
        let slot = InputSlot(self.next_slot);
        self.next_slot += 1;
        let partition = std::slice::from_ref(partition);
        reader.add_inputs(&[Input {
            partition: partition[0].clone(),
            slot,
            offset: StartOffset::At(*offset),
        }])?;
        let deadline = Instant::now() + SOURCE_WAIT;
        let mut records = Vec::new();
        let mut found = None;
        while found.is_none() && Instant::now() < deadline {
            records.clear();
            reader.poll(SOURCE_POLL, 1, &mut records)?;
            if let Some((_, record)) = records.iter().find(|(of, _)| *of == slot) {
                // A compacted topic may no longer have it, and goes on behind it.
                found = Some((record.offset() == *offset).then(|| OwnedRecord::of(record)));
            }
        }
        reader.remove_inputs(partition)?;
        Ok(found.flatten())
    }
}
