//! Global tables: one byte store each, the same for all tasks of the process, filled from the topic itself.

use crate::deserialization_handler::{
    DeserializationHandler, DeserializationResponse, UnreadableRecord,
};
use crate::error::{Error, Result};
use crate::record::{FetchedRecord, Headers};
use crate::serdes::Serde;
use crate::topology::{GlobalStoreDefinition, Topology};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use streams_state::{StoreBackend, StoreResources, StoreSpec, TaskStores, timestamped};

/// The name of the store that holds how far each partition of each table was read; in the same write as the rows.
const POSITIONS: &str = "global-positions";

pub struct GlobalStores {
    topology: Topology,
    stores: Mutex<TaskStores>,
    handler: Arc<dyn DeserializationHandler>,
}

impl GlobalStores {
    pub(crate) fn open(
        topology: &Topology,
        directory: Option<&Path>,
        resources: &StoreResources,
        handler: Arc<dyn DeserializationHandler>,
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
            stores: Mutex::new(stores),
            handler,
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

    fn lock(&self) -> MutexGuard<'_, TaskStores> {
        // A panic elsewhere leaves at worst uncommitted writes, which the topic has.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
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
        let stores = self.lock();
        let mut position = None;
        stores.key_value(self.len()).get_with(
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
    pub(crate) fn apply<R: FetchedRecord>(
        &self,
        index: usize,
        partition: i32,
        records: &[R],
        next_offset: i64,
        restoring: bool,
    ) -> Result<()> {
        let definition = self.definition(index);
        let mut stores = self.lock();
        let mut bytes = Vec::new();
        for record in records {
            let Some(key) = record.key() else { continue };
            if !restoring
                && let Err(error) = (definition.check)(key, record.value())
                && !self.continue_after(definition, partition, record, &error.to_string())?
            {
                continue;
            }
            let value = record.value().map(|value| {
                bytes.clear();
                timestamped::encode(record.timestamp(), value, &mut bytes);
                bytes.as_slice()
            });
            stores.key_value_mut(index).put(key, value)?;
        }
        stores.key_value_mut(self.len()).put(
            &position_key(index, partition, self),
            Some(&next_offset.to_be_bytes()),
        )?;
        let positions = vec![None; self.len() + 1];
        stores.commit(&positions)?;
        Ok(())
    }

    /// Asks the handler about an unreadable record: `Ok(false)` skips it.
    #[cold]
    fn continue_after<R: FetchedRecord>(
        &self,
        definition: &GlobalStoreDefinition,
        partition: i32,
        record: &R,
        reason: &str,
    ) -> Result<bool> {
        let mut headers = Headers::new();
        record.read_headers(&mut headers);
        let response = self.handler.handle(&UnreadableRecord {
            topic: &definition.topic,
            partition,
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key(),
            value: record.value(),
            headers: &headers,
            reason,
        });
        match response {
            DeserializationResponse::Continue => Ok(false),
            DeserializationResponse::Fail => Err(Error::data(format!(
                "{}-{partition} at offset {}: {reason}",
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
        let stores = std::mem::replace(&mut *self.lock(), empty);
        Ok(stores.close()?)
    }

    /// The row of a key.
    pub(crate) fn get<V: 'static>(
        &self,
        index: usize,
        key: &[u8],
        value: &dyn Serde<V>,
    ) -> Result<Option<V>> {
        let mut row = Ok(None);
        self.lock().key_value(index).get_with(key, &mut |bytes| {
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

/// `<store>` and the partition, so that tables may come and go between runs.
fn position_key(index: usize, partition: i32, globals: &GlobalStores) -> Vec<u8> {
    let mut key = globals.definition(index).store.name.clone().into_bytes();
    key.extend_from_slice(&partition.to_be_bytes());
    key
}
