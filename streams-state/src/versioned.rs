//! `VersionedKeyValueStore`: the latest version of each key, and for a while the ones before it.

use crate::{Result, StoreError};

/// One version of a key as it lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// The value.
    pub value: &'a [u8],
    /// The time it was put with, in milliseconds.
    pub valid_from_ms: i64,
    /// The time of the version after it, in milliseconds; `None` when there is none.
    pub valid_to_ms: Option<i64>,
}

/// One version of a key, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedRecord {
    /// The value.
    pub value: Vec<u8>,
    /// The time it was put with, in milliseconds.
    pub valid_from_ms: i64,
    /// The time of the version after it, in milliseconds; `None` when there is none.
    pub valid_to_ms: Option<i64>,
}

impl From<Version<'_>> for VersionedRecord {
    fn from(version: Version<'_>) -> Self {
        VersionedRecord {
            value: version.value.to_vec(),
            valid_from_ms: version.valid_from_ms,
            valid_to_ms: version.valid_to_ms,
        }
    }
}

/// Which version a read is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// The one with the largest time.
    Latest,
    /// The one that was valid at this time, in milliseconds.
    TimeMs(i64),
}

/// What became of a [`VersionedKeyValueStore::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionedPut {
    /// It is the latest version of its key.
    Latest,
    /// There is a later version already.
    Older {
        /// The time of that version, in milliseconds.
        valid_to_ms: i64,
    },
    /// It is older than the history retention: nothing was written.
    Rejected,
}

/// A value per key and time. A version is valid from the time it was put with until that of the next version of its key.
///
/// # Retention
///
/// Time is what the puts say: [`observed_time_ms`](VersionedKeyValueStore::observed_time_ms) is the largest one put since
/// the store was opened. The rules are those of Kafka Streams' `RocksDBVersionedStore` (KIP-889):
///
/// * A **put** is rejected when its time is smaller than `observed - history retention`.
/// * A **read as of a time** before that finds nothing, unless the key's latest version was valid then already: the latest
///   version never expires.
///
/// # Examples
///
/// ```
/// use streams_state::{StoreBackend, StoreResources, StoreSpec, TaskStores, VersionedPut, VersionedSpec};
///
/// let spec = VersionedSpec::with_history_retention_ms(60_000);
/// let specs = [StoreSpec::versioned("prices", spec, StoreBackend::Memory)];
/// let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
/// let prices = stores.versioned_mut(0);
/// assert_eq!(prices.put(b"pen", Some(b"2"), 20)?, VersionedPut::Latest);
/// assert_eq!(prices.put(b"pen", Some(b"1"), 10)?, VersionedPut::Older { valid_to_ms: 20 });
///
/// assert_eq!(prices.get(b"pen")?.unwrap().value, b"2");
/// assert_eq!(prices.get_as_of(b"pen", 19)?.unwrap().value, b"1");
/// assert_eq!(prices.get_as_of(b"pen", 9)?, None);
/// # Ok::<(), streams_state::StoreError>(())
/// ```
pub trait VersionedKeyValueStore: Send {
    /// Calls `read` once, with the version of `key` that is asked for or with `None`. Nothing is copied on the way.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get_with(
        &self,
        key: &[u8],
        as_of: AsOf,
        read: &mut dyn FnMut(Option<Version<'_>>),
    ) -> Result<()>;

    /// The latest version of `key`, copied; `None` when there is none or it is a deletion.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<VersionedRecord>> {
        let mut copy = None;
        self.get_with(key, AsOf::Latest, &mut |version| {
            copy = version.map(VersionedRecord::from);
        })?;
        Ok(copy)
    }

    /// The version of `key` that was valid at `time_ms`, copied; `None` when there was none, it was a deletion, or the time
    /// lies before the history retention.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get_as_of(&self, key: &[u8], time_ms: i64) -> Result<Option<VersionedRecord>> {
        let mut copy = None;
        self.get_with(key, AsOf::TimeMs(time_ms), &mut |version| {
            copy = version.map(VersionedRecord::from);
        })?;
        Ok(copy)
    }

    /// Writes the version of `key` that is valid from `time_ms`; `None` is a deletion. A version with the same time is
    /// replaced.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or take the write.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>, time_ms: i64) -> Result<VersionedPut>;

    /// Deletes `key` from `time_ms` on, and returns the version that was valid then. A rejected deletion returns `None`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or take the write.
    fn delete(&mut self, key: &[u8], time_ms: i64) -> Result<Option<VersionedRecord>> {
        let found = self.get_as_of(key, time_ms)?;
        Ok(match self.put(key, None, time_ms)? {
            VersionedPut::Rejected => None,
            VersionedPut::Latest | VersionedPut::Older { .. } => found,
        })
    }

    /// The largest time put or restored since the store was opened, in milliseconds.
    fn observed_time_ms(&self) -> Option<i64>;
}

/// A deletion in a [`Change`](crate::Change) of a versioned store, behind its time.
const DELETED: u8 = 0;
/// A value in a [`Change`](crate::Change) of a versioned store, between its time and its bytes.
const PUT: u8 = 1;

/// Appends to `out` what the value of a [`Change`](crate::Change) of a versioned store is: the time of the changelog record
/// (milliseconds), and its value or `None`. A deletion has a time, too, so it is a value here.
///
/// ```
/// use streams_state::{versioned_change, Change, StoreBackend, StoreResources, StoreSpec, TaskStores, VersionedSpec};
///
/// let spec = VersionedSpec::with_history_retention_ms(60_000);
/// let specs = [StoreSpec::versioned("prices", spec, StoreBackend::Memory)];
/// let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
/// let mut value = Vec::new();
/// versioned_change(20, Some(b"2"), &mut value);
/// stores.restore(0, &[Change { key: b"pen", value: Some(&value) }], 1)?;
/// assert_eq!(stores.versioned(0).get(b"pen")?.unwrap().valid_from_ms, 20);
/// # Ok::<(), streams_state::StoreError>(())
/// ```
pub fn versioned_change(time_ms: i64, value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(&time_ms.to_be_bytes());
    out.push(if value.is_some() { PUT } else { DELETED });
    out.extend_from_slice(value.unwrap_or_default());
}

/// What [`versioned_change`] wrote.
pub(crate) fn read_versioned_change(bytes: Option<&[u8]>) -> Result<(i64, Option<&[u8]>)> {
    let parts = bytes.and_then(|bytes| bytes.split_first_chunk::<8>());
    if let Some((time, [kind, value @ ..])) = parts
        && (*kind == PUT || (*kind == DELETED && value.is_empty()))
    {
        let value = (*kind == PUT).then_some(value);
        return Ok((i64::from_be_bytes(*time), value));
    }
    Err(StoreError::corruption(
        "a change of a versioned store has no time: make it with `versioned_change`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_deletions_and_empty_values_apart() {
        for value in [None, Some(b"".as_slice()), Some(b"v")] {
            let mut bytes = Vec::new();
            versioned_change(-7, value, &mut bytes);
            assert_eq!(read_versioned_change(Some(&bytes)).unwrap(), (-7, value));
        }
    }

    #[test]
    fn a_change_without_a_time_is_refused() {
        for bytes in [
            None,
            Some(b"1234567".as_slice()),
            Some(b"12345678"),
            Some(b"12345678\0v"),
        ] {
            let error = read_versioned_change(bytes).unwrap_err();
            assert_eq!(error.kind(), crate::StoreErrorKind::Corruption, "{bytes:?}");
        }
    }
}
