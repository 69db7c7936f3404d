//! One partition's worth of a sub-topology, running: records and time in, records to produce and offsets to commit out.
//!
//! A task sends nothing, waits for nothing and reads no clock; its only disk is behind its stores. [`Task::process`] is the
//! loop that touches every record.

pub(crate) mod context;
pub mod effects;
mod failures;
pub(crate) mod global_updates;
pub(crate) mod globals;
pub(crate) mod java_queue;
pub(crate) mod offset_metadata;
mod process;
mod punctuation;
pub(crate) mod source;
pub(crate) mod stores;

#[cfg(test)]
mod tests;

pub(crate) use context::TopicMetadata;
pub(crate) use globals::GlobalStores;

use crate::error::{Error, Result};
use crate::exception_handlers::ExceptionHandlers;
use crate::operators::{Flush, Punctuate, Share};
use crate::record::FetchedRecord;
use crate::runtime::broker::CommittedOffset;
use crate::topology::store::{StateArguments, window_order};
use crate::topology::{NodeKind, Scope, SubTopology, Topology};
use context::Context;
use effects::Effects;
use java_queue::JavaQueue;
use offset_metadata::OffsetMetadata;
use source::InputQueue;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use stores::{Origin, StoreIo};
use streams_state::TaskStores;

/// A task's name: its sub-topology and the partition of its inputs, `0_3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The sub-topology's number.
    pub sub_topology: u32,
    /// The partition of its input topics.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.sub_topology, self.partition)
    }
}

/// What every task of an application has in common.
#[derive(Clone)]
pub(crate) struct TaskOptions {
    pub(crate) application_id: Arc<str>,
    pub(crate) handlers: ExceptionHandlers,
    /// How long to wait for an empty input when others have records; `None` does not wait at all.
    pub(crate) max_task_idle: Option<Duration>,
    /// Whether stores that ask for the record cache get it.
    pub(crate) cache_enabled: bool,
    /// How long a stream-stream join waits between two searches for records that found no match, by the wall clock.
    pub(crate) outer_join_emit_interval: Duration,
}

/// Kafka Streams' interval: its internal setting `__emit.interval.ms.kstreams.outer.join.spurious.results.fix__`.
pub(crate) const OUTER_JOIN_EMIT_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Task<R> {
    context: Context,
    inputs: Vec<InputQueue<R>>,
    /// The inputs with a first record, by its time (Kafka's `PartitionGroup`).
    by_time: JavaQueue<u32>,
    /// The inputs that got a first record since, in that order; it is not read yet.
    arrived: Vec<u32>,
    /// Operators that hold changes back, in the order of their stores.
    flushes: Vec<Rc<RefCell<dyn Flush>>>,
    punctuates: Vec<Rc<RefCell<dyn Punctuate>>>,
    /// The same by position, in the order in which their nodes were added: that in which they are initialized.
    init_order: Vec<usize>,
    max_task_idle_ms: Option<i64>,
    commit_needed: bool,
    /// What was last given out to be committed, to leave out what has not changed.
    committed: Vec<Option<CommittedOffset>>,
    initialized: bool,
    /// Whether it can no longer be used; what it has to produce are dead letters then.
    failed: bool,
}

impl<R: FetchedRecord> Task<R> {
    /// A task over opened and restored stores, one for each of its sub-topology's.
    pub(crate) fn new(
        topology: &Topology,
        id: TaskId,
        stores: TaskStores,
        globals: Arc<GlobalStores>,
        topics: Arc<dyn TopicMetadata>,
        options: &TaskOptions,
    ) -> Result<Self> {
        let sub_topology = topology
            .sub_topologies()
            .iter()
            .find(|sub_topology| sub_topology.id == id.sub_topology)
            .ok_or_else(|| {
                Error::fatal(format!("task {id} belongs to no part of this topology"))
            })?;
        Task::of_nodes(topology, sub_topology, id, stores, globals, topics, options)
    }

    /// A task of some of a topology's nodes, which need not be one of its sub-topologies.
    pub(crate) fn of_nodes(
        topology: &Topology,
        sub_topology: &SubTopology,
        id: TaskId,
        stores: TaskStores,
        globals: Arc<GlobalStores>,
        topics: Arc<dyn TopicMetadata>,
        options: &TaskOptions,
    ) -> Result<Self> {
        let mut states = Vec::new();
        for (index, store) in sub_topology.stores.iter().enumerate() {
            // A source topic that serves as changelog has the changes already.
            let logged = store
                .changelog
                .as_ref()
                .filter(|definition| definition.source_topic.is_none());
            let changelog = logged.map(|_| {
                let topic = format!("{}-{}-changelog", options.application_id, store.name);
                (topic.into(), id.partition)
            });
            states.push((store.state)(&StateArguments {
                index,
                window_order: window_order(&store.spec),
                changelog,
                cached: store.cached && options.cache_enabled,
                elides_tombstones: store.elides_tombstones,
                timestamped: store.timestamped,
                timed: store.timed,
                max_entries: store.max_entries,
            }));
        }
        let mut scope = Scope::new(topology.parts(), sub_topology, &options.application_id);
        let mut inputs = Vec::new();
        for node in &sub_topology.nodes {
            let definition = scope.node(*node);
            let NodeKind::Source {
                topics, factory, ..
            } = &definition.kind
            else {
                continue;
            };
            let made = factory(&mut scope, *node)?;
            for (topic, input) in topics.iter().zip(made) {
                let topic = topic.full_name(&options.application_id);
                let node = definition.name.clone();
                inputs.push(InputQueue::new(node, topic, id.partition, input));
            }
        }
        scope.flushes.sort_by_key(|(store, _)| *store);
        let mut init_order: Vec<usize> = (0..scope.punctuates.len()).collect();
        init_order.sort_by_key(|position| scope.punctuated[*position]);
        let flushes = scope.flushes.into_iter().map(|(_, flush)| flush).collect();
        let committed = inputs.iter().map(|_| None).collect();
        Ok(Task {
            context: Context {
                id,
                application_id: options.application_id.clone(),
                io: StoreIo {
                    undo_updates: options.handlers.may_resume(),
                    ..StoreIo::new(stores)
                },
                states,
                globals,
                global_views: Default::default(),
                topics,
                input_topics: inputs.iter().map(|input| input.topic.clone()).collect(),
                origin: Origin::default(),
                stream_time_ms: -1,
                now_ms: 0,
                system_time_ms: 0,
                commit_requested: false,
                schedules: Default::default(),
                processor_metadata: BTreeMap::new(),
                dropped_records: 0,
                handlers: options.handlers.clone(),
                keep_source: options.handlers.keep_source(),
                last_late: None,
                last_letters: Effects::new(),
                outer_join_emit_interval_ms: crate::stores::duration_ms(
                    options.outer_join_emit_interval,
                ),
            },
            inputs,
            by_time: JavaQueue::default(),
            arrived: Vec::new(),
            flushes,
            punctuates: scope.punctuates,
            init_order,
            max_task_idle_ms: options.max_task_idle.map(crate::stores::duration_ms),
            commit_needed: false,
            committed,
            initialized: false,
            failed: false,
        })
    }

    /// Full names of the input topics; the position is the input's number in every other call.
    #[cfg(feature = "test-driver")]
    pub(crate) fn input_topics(&self) -> &[Arc<str>] {
        &self.context.input_topics
    }

    /// Takes up what was committed for an input: partition time, and what processors remembered.
    pub(crate) fn initialize(&mut self, input: usize, committed: Option<&CommittedOffset>) {
        let Some(committed) = committed else { return };
        let decoded = OffsetMetadata::decode(&committed.metadata);
        if let Some(warning) = decoded.warning {
            tracing::warn!(
                task = %self.context.id,
                topic = &*self.inputs[input].topic,
                "{warning}"
            );
        }
        if let Some(time_ms) = decoded.metadata.partition_time_ms {
            self.inputs[input].partition_time_ms = time_ms;
            self.context.stream_time_ms = self.context.stream_time_ms.max(time_ms);
        }
        for (key, value) in decoded.metadata.processor {
            let known = self.context.processor_metadata.entry(key).or_insert(value);
            *known = (*known).max(value);
        }
    }

    pub(crate) fn add_record(&mut self, input: usize, record: R) {
        let queue = &mut self.inputs[input];
        queue.add(record);
        if !queue.queued {
            queue.queued = true;
            self.arrived.push(input as u32);
        }
    }

    /// How many records of an input wait.
    pub(crate) fn buffered(&self, input: usize) -> usize {
        self.inputs[input].records.len()
    }

    /// Says whether the log has nothing more for an input than was added: what a task with several inputs waits to know.
    pub(crate) fn set_caught_up(&mut self, input: usize, caught_up: bool) {
        self.inputs[input].caught_up = caught_up;
    }

    /// Writes and forwards what the record cache holds back; more effects follow from it. Says whether that was all: where
    /// they are many, it is to be called again when they are sent.
    ///
    /// # Errors
    /// As [`Task::process`].
    pub(crate) fn prepare_commit(&mut self, now_ms: i64) -> Result<bool> {
        self.context.now_ms = now_ms;
        for flush in &self.flushes {
            let flushed = flush.borrow_mut().flush(&mut self.context);
            match flushed {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return Err(self.fail(error)),
            }
        }
        for state in &mut self.context.states {
            if !state.write_changed(&mut self.context.io)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is to be produced; to be cleared by whoever has taken it. After a failure it is nothing but dead letters.
    pub(crate) fn effects(&mut self) -> &mut Effects {
        &mut self.context.io.effects
    }

    /// Whether it can no longer be used after an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether there is anything to commit.
    pub(crate) fn commit_needed(&self) -> bool {
        self.commit_needed
    }

    /// Whether a processor asked for a commit.
    pub(crate) fn commit_requested(&self) -> bool {
        self.context.commit_requested
    }

    /// What to commit now: for each input that moved, the next record's offset, and the times to remember with it.
    /// `position` tells where the consumer is in an input whose queue is empty.
    pub(crate) fn offsets(
        &mut self,
        position: &dyn Fn(usize) -> Option<i64>,
    ) -> Vec<(usize, CommittedOffset)> {
        let mut offsets = Vec::new();
        for (index, queue) in self.inputs.iter().enumerate() {
            let Some(behind_last) = queue.next_offset else {
                continue;
            };
            let next = match queue.records.front() {
                Some(record) => record.offset(),
                None => position(index).unwrap_or(behind_last).max(behind_last),
            };
            let pending = self
                .punctuates
                .iter()
                .filter_map(|node| node.borrow().pending_offset(&queue.topic, queue.partition))
                .min();
            let committed = CommittedOffset {
                offset: pending.map_or(next, |pending| pending.min(next)),
                metadata: OffsetMetadata {
                    partition_time_ms: (queue.partition_time_ms >= 0)
                        .then_some(queue.partition_time_ms),
                    processor: self.context.processor_metadata.clone(),
                }
                .encode(),
            };
            if self.committed[index].as_ref() != Some(&committed) {
                offsets.push((index, committed));
            }
        }
        offsets
    }

    /// To be called when the offsets are committed: makes the state durable together with the changelog positions it is
    /// worth, `positions[i]` the next offset of store i's changelog.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub(crate) fn commit_stores(
        &mut self,
        offsets: &[(usize, CommittedOffset)],
        positions: &[Option<i64>],
    ) -> Result<()> {
        self.context.io.stores.commit(positions)?;
        for (index, committed) in offsets {
            self.committed[*index] = Some(committed.clone());
        }
        self.commit_needed = self.punctuates.iter().any(|node| {
            let node = node.borrow();
            self.inputs
                .iter()
                .any(|queue| node.pending_offset(&queue.topic, queue.partition).is_some())
        });
        self.context.commit_requested = false;
        Ok(())
    }

    /// Begins to make room in the record cache, down to this share of what it holds where stores can.
    pub(crate) fn begin_eviction(&mut self, share: Share) {
        for flush in &self.flushes {
            flush.borrow_mut().begin_eviction(share, &mut self.context);
        }
    }

    /// Makes room in the record cache; more effects follow from it. Says whether there is room: where they are many, it is to be
    /// called again when they are sent.
    ///
    /// # Errors
    /// As [`Task::process`].
    pub(crate) fn evict(&mut self, now_ms: i64) -> Result<bool> {
        self.context.now_ms = now_ms;
        for flush in &self.flushes {
            let evicted = flush.borrow_mut().evict(&mut self.context);
            match evicted {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(true)
    }

    /// Gives the memory of unchanged cache entries back.
    pub(crate) fn forget_clean(&mut self) {
        for state in &mut self.context.states {
            state.forget_clean();
        }
    }

    /// How much the record cache holds, as far as it can be estimated.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.context
            .states
            .iter()
            .map(|state| state.memory_bytes())
            .sum()
    }

    /// How much written state waits for a commit.
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.context.io.stores.uncommitted_bytes()
    }

    /// Whether rows that wait for a commit should go to disk, since those of all tasks need the memory.
    pub(crate) fn is_memory_over(&self) -> bool {
        self.context.io.stores.is_memory_over()
    }

    /// How many records were dropped by a rule since the task began.
    pub(crate) fn dropped_records(&self) -> u64 {
        self.context.dropped_records
    }

    /// The task as its stores' users see it: for the test driver.
    #[cfg(feature = "test-driver")]
    pub(crate) fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The stores, as a crash leaves them: what was not committed is lost, and no processor is told.
    #[cfg(feature = "test-driver")]
    pub(crate) fn into_stores(self) -> TaskStores {
        self.context.io.stores
    }

    /// Ends the processors and closes the stores; what was not committed is lost.
    ///
    /// # Errors
    /// When the state cannot be closed cleanly.
    pub(crate) fn close(self) -> Result<()> {
        for node in &self.punctuates {
            node.borrow_mut().close();
        }
        drop(self.flushes);
        drop(self.inputs);
        Ok(self.context.io.stores.close()?)
    }
}
