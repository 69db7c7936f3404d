//! Global tables: one byte store each, the same for all tasks of the process, filled from the topic itself.

use super::TaskId;
use super::global_updates::GlobalUpdates;
use super::stores::{AnyState, KeyValueState, StoreIo};
use crate::error::{Error, Result};
use crate::exception_handlers::{ErrorHandlerContext, ExceptionHandlers, HandlerResult};
use crate::record::{FetchedRecord, Headers};
use crate::serdes::Serde;
use crate::stores::{GlobalAccess, StoreHandle, StoreType};
use crate::topology::store::{StateArguments, window_order};
use crate::topology::{GlobalStoreDefinition, Topology};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streams_state::{StoreBackend, StoreResources, StoreSpec, TaskStores, timestamped};

/// The name of the store that holds how far each partition of each table was read; in the same write as the rows.
const POSITIONS: &str = "global-positions";

pub struct GlobalStores {
    topology: Topology,
    io: Mutex<StoreIo>,
    handlers: ExceptionHandlers,
}

impl GlobalStores {
    pub(crate) fn open(
        topology: &Topology,
        directory: Option<&Path>,
        resources: &StoreResources,
        handlers: &ExceptionHandlers,
    ) -> Result<Arc<GlobalStores>> {
        let mut specs: Vec<StoreSpec> = topology
            .global_stores()
            .iter()
            .map(|global| global.store.spec.clone())
            .collect();
        let directory = match specs.is_empty() {
            true => None,
            false => directory,
        };
        specs.push(StoreSpec::key_value(POSITIONS, StoreBackend::RocksDb));
        let stores = TaskStores::open(directory, &specs, resources)?;
        Ok(Arc::new(GlobalStores {
            topology: topology.clone(),
            io: Mutex::new(StoreIo::new(stores)),
            handlers: handlers.of_global_stores(),
        }))
    }

    pub(crate) fn len(&self) -> usize {
        self.topology.global_stores().len()
    }

    /// What the table is read from.
    #[cfg(feature = "test-driver")]
    pub(crate) fn topic(&self, index: usize) -> &Arc<str> {
        &self.definition(index).topic
    }

    fn definition(&self, index: usize) -> &GlobalStoreDefinition {
        &self.topology.global_stores()[index]
    }

    fn lock(&self) -> MutexGuard<'_, StoreIo> {
        // A panic elsewhere leaves at worst uncommitted writes, which the topic has.
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to go on reading a partition of a table's topic, `None` from the start.
    pub(crate) fn position(&self, index: usize, partition: i32) -> Result<Option<i64>> {
        // A table in memory starts empty, whatever was read before.
        if !matches!(
            self.definition(index).store.spec.backend,
            StoreBackend::RocksDb
        ) {
            return Ok(None);
        }
        let io = self.lock();
        let mut position = None;
        io.stores.key_value(self.len()).get_with(
            &position_key(index, partition, self),
            &mut |bytes| {
                position = bytes
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(i64::from_be_bytes);
            },
        )?;
        Ok(position)
    }

    /// Puts records of one partition into a table, with how far it was read. Only while running does the handler see what
    /// cannot be read: a restore copies bytes, as Kafka Streams does.
    ///
    /// Where user code keeps the store, it is run for each record instead, in both cases.
    pub(crate) fn apply<R: FetchedRecord>(
        &self,
        updates: &mut GlobalUpdates,
        index: usize,
        partition: i32,
        records: &[R],
        next_offset: i64,
        restoring: bool,
    ) -> Result<()> {
        let definition = self.definition(index);
        let mut io = self.lock();
        if updates.keeps(index) {
            for record in records {
                if let Some(error) = updates.process(index, partition, record, &mut io)? {
                    self.continue_after(definition, partition, record, error)?;
                }
            }
            return self.finish(&mut io.stores, index, partition, next_offset);
        }
        let stores = &mut io.stores;
        let mut bytes = Vec::new();
        for record in records {
            let Some(key) = record.key() else { continue };
            if !restoring && let Err(error) = (definition.check)(key, record.value()) {
                self.continue_after(definition, partition, record, error.into())?;
                continue;
            }
            let value = record.value().map(|value| {
                bytes.clear();
                timestamped::encode(record.timestamp(), value, &mut bytes);
                bytes.as_slice()
            });
            stores.key_value_mut(index).put(key, value)?;
        }
        self.finish(stores, index, partition, next_offset)
    }

    /// Makes what was put durable, with how far the topic was read.
    fn finish(
        &self,
        stores: &mut TaskStores,
        index: usize,
        partition: i32,
        next_offset: i64,
    ) -> Result<()> {
        stores.key_value_mut(self.len()).put(
            &position_key(index, partition, self),
            Some(&next_offset.to_be_bytes()),
        )?;
        let positions = vec![None; self.len() + 1];
        stores.commit(&positions)?;
        Ok(())
    }

    /// Asks the handler about an unreadable record, which is left out unless that is an error.
    #[cold]
    fn continue_after<R: FetchedRecord>(
        &self,
        definition: &GlobalStoreDefinition,
        partition: i32,
        record: &R,
        error: Error,
    ) -> Result<()> {
        let mut headers = Headers::new();
        record.read_headers(&mut headers);
        let context = ErrorHandlerContext {
            topic: Some(&definition.topic),
            partition,
            offset: record.offset(),
            headers: &headers,
            processor_node_id: &definition.source_name,
            task_id: TaskId {
                sub_topology: definition.sub_topology,
                partition,
            },
            timestamp: record.timestamp(),
            source_raw_key: record.key(),
            source_raw_value: record.value(),
            dead_letter_topic: self.handlers.dead_letter_topic.as_deref(),
        };
        let response = self.handlers.deserialization.handle_error(&context, &error);
        if !response.dead_letters().is_empty() {
            tracing::warn!(
                topic = &*definition.topic,
                "records of global stores cannot be written to a dead letter queue"
            );
        }
        match response.result() {
            HandlerResult::Resume => Ok(()),
            HandlerResult::Fail => Err(Error::data(format!(
                "{}-{partition} at offset {}: {error}",
                definition.topic,
                record.offset()
            ))),
        }
    }

    /// Makes what was applied durable.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub(crate) fn close(&self) -> Result<()> {
        let empty = TaskStores::open(None, &[], &StoreResources::in_memory())?;
        let stores = std::mem::replace(&mut self.lock().stores, empty);
        Ok(stores.close()?)
    }

    /// Runs a typed view's read on the stores, which nobody changes meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut StoreIo) -> Result<T>) -> Result<T> {
        read(&mut self.lock())
    }

    /// The row of a key.
    pub(crate) fn get<V: 'static>(
        &self,
        index: usize,
        key: &[u8],
        value: &dyn Serde<V>,
    ) -> Result<Option<V>> {
        let mut row = Ok(None);
        self.lock()
            .stores
            .key_value(index)
            .get_with(key, &mut |bytes| {
                row = bytes
                    .map(|bytes| {
                        let (_, bytes) = timestamped::decode(bytes)?;
                        Ok(value.deserialize(bytes)?)
                    })
                    .transpose();
            })?;
        row
    }
}

/// Typed views of global stores for one task, made when they are first asked for.
#[derive(Default)]
pub(crate) struct GlobalViews(Vec<Option<Box<dyn AnyState>>>);

impl GlobalViews {
    /// Opens a global store for reading.
    ///
    /// # Errors
    /// When there is no such store, or it is of other types than the handle.
    pub(crate) fn open<'a, K: 'static, V: 'static, S>(
        &'a mut self,
        globals: &'a GlobalStores,
        store: &StoreHandle<S>,
    ) -> Result<GlobalAccess<'a, K, V>>
    where
        S: StoreType<State = KeyValueState<K, V>>,
    {
        let definitions = globals.topology.global_stores();
        let index = definitions
            .iter()
            .position(|definition| definition.store.name == store.name());
        let Some(index) = index else {
            return Err(no_global_store(store.name(), definitions));
        };
        self.0.resize_with(definitions.len(), || None);
        let view = self.0[index].get_or_insert_with(|| {
            (definitions[index].store.state)(&StateArguments {
                index,
                window_order: window_order(&definitions[index].store.spec),
                changelog: None,
                cached: false,
                elides_tombstones: false,
                timestamped: definitions[index].store.timestamped,
                timed: definitions[index].store.timed,
                max_entries: definitions[index].store.max_entries,
            })
        });
        let view = view.as_any_mut();
        let fits = S::fits(view);
        match view.downcast_mut() {
            Some(state) if fits => Ok(GlobalAccess { globals, state }),
            _ => Err(crate::stores::wrong_type(store)),
        }
    }
}

#[cold]
fn no_global_store(name: &str, definitions: &[GlobalStoreDefinition]) -> Error {
    let names: Vec<&str> = definitions
        .iter()
        .map(|definition| definition.store.name.as_str())
        .collect();
    Error::topology(format!(
        "the topology has no global store '{name}'; it has: {}",
        names.join(", ")
    ))
}

/// `<store>` and the partition, so that tables may come and go between runs.
fn position_key(index: usize, partition: i32, globals: &GlobalStores) -> Vec<u8> {
    let mut key = globals.definition(index).store.name.clone().into_bytes();
    key.extend_from_slice(&partition.to_be_bytes());
    key
}
