//! What the processors do with versioned stores.

use super::processor_context::LogicContext;
use super::processors::{Logic, Scripted};
use crate::values::Key;
use streams_core::Result;
use streams_core::stores::{StoreHandle, VersionedKeyValueStore, VersionedPut, VersionedRecord};

impl Scripted {
    pub(super) fn versioned(
        &self,
        key: &Key,
        value: Option<String>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<String> {
        let versions: StoreHandle<VersionedKeyValueStore<Key, String>> =
            StoreHandle::named(&self.store);
        let mut versions = context.store(&versions)?;
        let mut words = Vec::new();
        match (&self.logic, value) {
            (Logic::VersionedDelete, None) => {
                let deleted = shown(versions.delete(key, timestamp)?);
                return Ok(format!("deleted {deleted}"));
            }
            (Logic::VersionedLookup(_), _) => {}
            (_, value) => words.push(valid_to(versions.put(key, value, timestamp)?)),
        }
        words.push(shown(versions.get(key)?));
        if let Logic::Versioned(ago_ms) | Logic::VersionedLookup(ago_ms) = &self.logic {
            words.push(shown(versions.get_as_of(key, timestamp - ago_ms)?));
        }
        Ok(words.join(" "))
    }
}

/// The numbers by which Kafka Streams says it.
fn valid_to(put: VersionedPut) -> String {
    match put {
        VersionedPut::Latest => "-1".to_owned(),
        VersionedPut::Older { valid_to } => valid_to.to_string(),
        VersionedPut::Rejected => i64::MIN.to_string(),
    }
}

fn shown(version: Option<VersionedRecord<String>>) -> String {
    version.map_or("null".to_owned(), |version| {
        format!("{}@{}", version.value, version.timestamp)
    })
}
