//! Global stores that user code keeps: a processor for each of them, run for each record of its topic, also while the store is
//! filled at a start (Kafka's `GlobalStateUpdateTask` and `GlobalStateManagerImpl#reprocessState`).

use super::TaskId;
use super::context::{Context, TopicMetadata};
use super::effects::Effects;
use super::globals::GlobalStores;
use super::source::{Input, Place};
use super::stores::{Origin, StoreIo};
use crate::error::{Error, Result};
use crate::exception_handlers::ExceptionHandlers;
use crate::operators::Punctuate;
use crate::record::{FetchedRecord, Headers};
use crate::topology::store::StateArguments;
use crate::topology::{Topology, TopologyParts};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::{StoreResources, TaskStores};

/// Makes what keeps a global store, which has that index among all global stores.
pub(crate) type GlobalUpdateFactory = Arc<dyn Fn(usize) -> GlobalUpdate + Send + Sync>;

/// What keeps a global store.
pub(crate) struct GlobalUpdate {
    pub(crate) input: Box<dyn Input>,
    pub(crate) processor: Rc<RefCell<dyn Punctuate>>,
}

/// The processors of an application's global stores. They stay with the thread that reads the topics.
pub(crate) struct GlobalUpdates {
    updates: Vec<Option<GlobalUpdate>>,
    context: Context,
    headers: Headers,
}

impl GlobalUpdates {
    /// # Errors
    /// When a processor does not initialize.
    pub(crate) fn new(
        topology: &Topology,
        application_id: &Arc<str>,
        handlers: &ExceptionHandlers,
    ) -> Result<Self> {
        let definitions = topology.global_stores();
        let handlers = handlers.of_global_stores();
        let states = definitions.iter().enumerate().map(|(index, definition)| {
            (definition.store.state)(&StateArguments {
                index,
                window_order: None,
                changelog: None,
                cached: false,
                elides_tombstones: false,
                timestamped: definition.store.timestamped,
                timed: definition.store.timed,
                max_entries: definition.store.max_entries,
            })
        });
        let resources = StoreResources::in_memory();
        let nothing = Topology::new(TopologyParts {
            nodes: Vec::new(),
            stores: Vec::new(),
            sub_topologies: Vec::new(),
            global_stores: Vec::new(),
        });
        let context = Context {
            id: TaskId {
                sub_topology: 0,
                partition: 0,
            },
            application_id: application_id.clone(),
            io: StoreIo::new(TaskStores::open(None, &[], &resources)?),
            states: states.collect(),
            globals: GlobalStores::open(&nothing, None, &resources, &handlers)?,
            global_views: Default::default(),
            topics: Arc::new(NoSinks),
            input_topics: definitions.iter().map(|one| one.topic.clone()).collect(),
            origin: Origin::default(),
            stream_time_ms: -1,
            now_ms: 0,
            system_time_ms: 0,
            commit_requested: false,
            schedules: Default::default(),
            processor_metadata: BTreeMap::new(),
            dropped_records: 0,
            keep_source: handlers.keep_source(),
            handlers,
            last_late: None,
            last_letters: Effects::new(),
            outer_join_emit_interval_ms: 0,
        };
        let updates = definitions.iter().enumerate();
        let updates = updates
            .map(|(index, definition)| definition.update.as_ref().map(|make| make(index)))
            .collect();
        let mut new = GlobalUpdates {
            updates,
            context,
            headers: Headers::new(),
        };
        for update in new.updates.iter().flatten() {
            update.processor.borrow_mut().init(&mut new.context)?;
        }
        Ok(new)
    }

    /// Whether user code keeps a store.
    pub(super) fn keeps(&self, index: usize) -> bool {
        self.updates[index].is_some()
    }

    /// Runs a store's processor for a record, on the stores that `io` has. `Some` if the record cannot be read: why.
    pub(super) fn process<R: FetchedRecord>(
        &mut self,
        index: usize,
        partition: i32,
        record: &R,
        io: &mut StoreIo,
    ) -> Result<Option<Error>> {
        let Some(update) = &mut self.updates[index] else {
            return Ok(None);
        };
        record.read_headers(&mut self.headers);
        if let Err((part, error)) = update.input.load(record.key(), record.value()) {
            let error = Error::from(error).context(format_args!("the {part} cannot be read"));
            return Ok(Some(error));
        }
        let context = &mut self.context;
        let topic = context.input_topics[index].clone();
        let place = Place {
            topic: &topic,
            partition,
            offset: record.offset(),
            timestamp: record.timestamp(),
            headers: &self.headers,
            system_time_ms: context.now_ms,
        };
        let timestamp = update.input.timestamp(&place, context.stream_time_ms)?;
        if timestamp < 0 {
            context.drop_record("its extracted timestamp is negative");
            return Ok(None);
        }
        context.stream_time_ms = context.stream_time_ms.max(timestamp);
        context.id.partition = partition;
        context.origin = Origin {
            input: Some(index as u32),
            offset: record.offset(),
            timestamp,
        };
        std::mem::swap(&mut context.io, io);
        if context.keep_source {
            context.keep_source(record.key(), record.value());
        }
        let processed = update.input.process(timestamp, &self.headers, context);
        std::mem::swap(&mut context.io, io);
        processed?;
        Ok(None)
    }
}

impl Drop for GlobalUpdates {
    fn drop(&mut self) {
        for update in self.updates.iter().flatten() {
            update.processor.borrow_mut().close();
        }
    }
}

/// Processors of global stores have nothing behind them.
struct NoSinks;

impl TopicMetadata for NoSinks {
    fn partition_count(&self, topic: &str) -> Result<i32> {
        Err(Error::topology(format!(
            "topic '{topic}' is not written to from a global store"
        )))
    }
}
