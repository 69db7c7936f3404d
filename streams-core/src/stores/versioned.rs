//! Versioned stores as processors use them.

use super::key_value::null_key;
use crate::error::Result;
use crate::task::context::Context;
use crate::task::stores::{Cause, Found, KeyValueState, Placement};
use std::marker::PhantomData;
use std::rc::Rc;

/// A version of a key, as a [`VersionedKeyValueStore`](super::VersionedKeyValueStore) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionedRecord<V> {
    /// The value.
    pub value: V,
    /// The time it is valid from: the one it was put with, in milliseconds since the Unix epoch.
    pub timestamp: i64,
}

/// What became of a version that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionedPut {
    /// It is the latest version of its key.
    Latest,
    /// There is a later version already.
    Older {
        /// The time of that version, until which this one is valid: milliseconds since the Unix epoch.
        valid_to: i64,
    },
    /// It is older than the history retention: the store did not take it.
    Rejected,
}

/// An opened [`VersionedKeyValueStore`](super::VersionedKeyValueStore).
pub struct VersionedKeyValueAccess<'a, K, V> {
    pub(super) context: &'a mut Context,
    pub(super) index: usize,
    pub(super) cause: Cause<'a>,
    pub(super) types: PhantomData<fn(K) -> V>,
}

impl<K: 'static, V: 'static> VersionedKeyValueAccess<'_, K, V> {
    /// The latest version of a key; `None` when it has none or was deleted.
    ///
    /// # Errors
    /// When the store cannot be read or its bytes are no `V`.
    pub fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        Ok(state.get(key, io)?.and_then(owned))
    }

    /// The version of a key that was valid at `timestamp` (milliseconds since the Unix epoch); `None` when there was none, the
    /// key was deleted then, or the time lies before the history retention and the latest version does not reach back to it.
    ///
    /// # Errors
    /// As [`VersionedKeyValueAccess::get`].
    pub fn get_as_of(&mut self, key: &K, timestamp: i64) -> Result<Option<VersionedRecord<V>>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        Ok(state.get_as_of(key, timestamp, io)?.and_then(owned))
    }

    /// Puts the version of a key that is valid from `timestamp` (milliseconds since the Unix epoch); `None` is a deletion. A
    /// version of the same time is replaced.
    ///
    /// It is logged to the changelog even when the store does not take it, as in Kafka Streams.
    ///
    /// # Errors
    /// When the store cannot be written, the value not serialized, or the time is before the epoch.
    pub fn put(&mut self, key: &K, value: Option<V>, timestamp: i64) -> Result<VersionedPut> {
        let mut cause = self.cause;
        cause.timestamp = timestamp;
        let (state, io) = self.context.state::<KeyValueState<K, V>>(self.index);
        match state.place(key, Rc::new(value), cause, io)? {
            None => Err(null_key()),
            Some(Placement::Latest) => Ok(VersionedPut::Latest),
            Some(Placement::Older { valid_to }) => Ok(VersionedPut::Older { valid_to }),
            Some(Placement::Expired) => Ok(VersionedPut::Rejected),
        }
    }

    /// Deletes a key from `timestamp` on (milliseconds since the Unix epoch), and returns the version that was valid then;
    /// `None` also when the deletion is older than the history retention, and was not made.
    ///
    /// # Errors
    /// As [`VersionedKeyValueAccess::put`].
    pub fn delete(&mut self, key: &K, timestamp: i64) -> Result<Option<VersionedRecord<V>>>
    where
        V: Clone,
    {
        let found = self.get_as_of(key, timestamp)?;
        Ok(match self.put(key, None, timestamp)? {
            VersionedPut::Rejected => None,
            VersionedPut::Latest | VersionedPut::Older { .. } => found,
        })
    }
}

fn owned<V: Clone>(found: Found<V>) -> Option<VersionedRecord<V>> {
    let value = match Rc::try_unwrap(found.value) {
        Ok(value) => value,
        Err(shared) => shared.as_ref().clone(),
    };
    value.map(|value| VersionedRecord {
        value,
        timestamp: found.timestamp,
    })
}
