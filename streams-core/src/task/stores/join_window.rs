//! The window store of one side of a stream-stream join: every record of that side, duplicates included.
//!
//! In the changelog each put has a number of its own, also one of a null value, which the store leaves out
//! (`ChangeLoggingWindowBytesStore` counts apart from `RocksDBWindowStore`), and the record's headers.

use super::prefetch::Prefetches;
use super::{AnyState, Changelog, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::{BoxSerde, Serde};
use crate::topology::store::StateArguments;
use std::any::Any;
use std::marker::PhantomData;
use streams_state::key_encoding::write_window_changelog_key;

/// The number after the largest is 0 again, as in Kafka Streams.
const SEQUENCE_MASK: i32 = i32::MAX;

pub struct JoinWindowState<K, V> {
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    index: usize,
    changelog: Option<Changelog>,
    changelog_key: Vec<u8>,
    /// The number of the last put that was logged.
    sequence: i32,
    key_bytes: Option<Vec<u8>>,
    value_bytes: Option<Vec<u8>>,
    prefetches: Prefetches,
    types: PhantomData<fn(K) -> V>,
}

impl<K: 'static, V: 'static> JoinWindowState<K, V> {
    pub(crate) fn new(key: BoxSerde<K>, value: BoxSerde<V>, arguments: &StateArguments) -> Self {
        JoinWindowState {
            key,
            value,
            index: arguments.index,
            changelog: arguments.changelog.clone().map(Changelog::new),
            changelog_key: Vec::new(),
            sequence: 0,
            key_bytes: None,
            value_bytes: None,
            prefetches: Prefetches::default(),
            types: PhantomData,
        }
    }

    /// Serializes a record once for everything that follows: the look-up in the other side's store, and the put.
    #[inline]
    pub(crate) fn set_record(&mut self, key: &K, value: &V) -> Result<()> {
        serialize_into(&*self.key, key, &mut self.key_bytes)?;
        serialize_into(&*self.value, value, &mut self.value_bytes)
    }

    /// The bytes of the record's key, `None` for a null.
    #[inline]
    pub(crate) fn key_bytes(&self) -> Option<&[u8]> {
        self.key_bytes.as_deref()
    }

    /// The bytes of the record's value, `None` for a null.
    #[inline]
    pub(crate) fn value_bytes(&self) -> Option<&[u8]> {
        self.value_bytes.as_deref()
    }

    /// Takes the bytes of the record's value out for as long as another store needs them.
    pub(crate) fn lend_value(&mut self) -> Vec<u8> {
        self.value_bytes.take().unwrap_or_default()
    }

    /// Puts the bytes back that were lent.
    pub(crate) fn return_value(&mut self, bytes: Vec<u8>) {
        self.value_bytes = Some(bytes);
    }

    /// Puts the record; one without a key is never looked for. A null value is logged, though the store has no use for it.
    pub(crate) fn put(
        &mut self,
        timestamp: i64,
        headers: &Headers,
        io: &mut StoreIo,
    ) -> Result<()> {
        let Some(key) = &self.key_bytes else {
            return Ok(());
        };
        let value = self.value_bytes.as_deref();
        io.stores
            .window_mut(self.index)
            .put(key, value, timestamp)?;
        self.prefetches.loaded();
        if let Some(changelog) = &self.changelog {
            self.sequence = self.sequence.wrapping_add(1) & SEQUENCE_MASK;
            self.changelog_key.clear();
            write_window_changelog_key(key, timestamp, self.sequence, &mut self.changelog_key);
            changelog.log_with_headers(io, &self.changelog_key, value, timestamp, headers);
        }
        Ok(())
    }
}

/// The values of a key's records between the bounds (inclusive), by time, then in the order they came.
pub(crate) fn fetch_matches<V: 'static>(
    store: usize,
    key: &[u8],
    from_ms: i64,
    to_ms: i64,
    value: &dyn Serde<V>,
    io: &StoreIo,
    matches: &mut Vec<(i64, V)>,
) -> Result<()> {
    matches.clear();
    let mut result = Ok(());
    let mut read = |start_ms, bytes: &[u8]| {
        if result.is_ok() {
            match value.deserialize(bytes) {
                Ok(value) => matches.push((start_ms, value)),
                Err(error) => result = Err(error.into()),
            }
        }
    };
    let window = io.stores.window(store);
    window.fetch_with(key, from_ms, to_ms, &mut read)?;
    result
}

/// Keeps the buffer from record to record, unless a null comes between.
#[inline]
fn serialize_into<T: 'static>(
    serde: &dyn Serde<T>,
    value: &T,
    bytes: &mut Option<Vec<u8>>,
) -> Result<()> {
    let mut buffer = bytes.take().unwrap_or_default();
    buffer.clear();
    if serde.serialize_nullable(value, &mut buffer)? {
        *bytes = Some(buffer);
    }
    Ok(())
}

impl<K: 'static, V: 'static> AnyState for JoinWindowState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn forget_clean(&mut self) {}

    fn write_changed(&mut self, _io: &mut StoreIo) -> Result<bool> {
        Ok(true)
    }

    fn prefetch(&mut self, keys: &[&[u8]], io: &StoreIo) {
        let store = io.stores.window(self.index);
        // A record that is put is looked for in the other side's store, and the other way round: about as often.
        self.prefetches.records(keys, |keys| store.prefetch(keys));
    }
}
