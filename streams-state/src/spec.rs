//! `StoreSpec`: what a store shall be. Described when the topology is built, opened when a task starts.

use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use crate::key_encoding::RowLayout;
use crate::{KeyValueStore, Result, StoreError, WindowStore};

/// The shortest segment of a window store, in milliseconds, as in Kafka Streams.
const SEGMENT_INTERVAL_MS_MIN: i64 = 60_000;

/// Longest store name, as for a topic name, which it becomes a part of.
const NAME_LEN_MAX: usize = 249;

/// In which order a window store keeps its entries, which decides what is cheap to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowOrder {
    /// By segment, key, window start: the windows of one key lie together.
    ByKey,
    /// By window start, key: everything that closes at the same time lies together.
    ByTime,
}

/// What a window store is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// How long a window is kept after it started, measured in the time of the records, in milliseconds.
    pub retention_ms: i64,
    /// How long each window is, in milliseconds.
    pub window_size_ms: i64,
    /// Whether a second value for the same key and window start is kept beside the first (join windows) instead of
    /// replacing it.
    pub retain_duplicates: bool,
    /// In which order entries are kept.
    pub order: WindowOrder,
}

impl WindowSpec {
    /// How much time one segment spans, in milliseconds: `max(retention / 2, 60 000)`. Expiry removes whole segments.
    pub fn segment_interval_ms(&self) -> i64 {
        (self.retention_ms / 2).max(SEGMENT_INTERVAL_MS_MIN)
    }

    pub(crate) fn row_layout(&self) -> RowLayout {
        RowLayout {
            order: self.order,
            segment_interval_ms: self.segment_interval_ms(),
        }
    }
}

/// What a versioned store is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedSpec {
    /// How long a version is kept after it was replaced, measured in the time of the records, in milliseconds. A put that is
    /// late by more is rejected.
    pub history_retention_ms: i64,
    /// How much time one segment spans, in milliseconds: the older versions of a key in one segment are read and written
    /// together, and expiry removes whole segments.
    pub segment_interval_ms: i64,
}

impl VersionedSpec {
    /// With the segments Kafka Streams chooses for this retention (`RocksDbVersionedKeyValueBytesStoreSupplier`): a third of
    /// it but no less than 2 s up to a minute, a fifth but no less than 20 s up to 5 minutes, a twelfth but no less than a
    /// minute up to an hour, otherwise a 24th but no less than 5 minutes.
    pub fn with_history_retention_ms(history_retention_ms: i64) -> Self {
        let (share, least_ms) = match history_retention_ms {
            ..=60_000 => (3, 2_000),
            60_001..=300_000 => (5, 20_000),
            300_001..=3_600_000 => (12, 60_000),
            _ => (24, 300_000),
        };
        VersionedSpec {
            history_retention_ms,
            segment_interval_ms: (history_retention_ms / share).max(least_ms),
        }
    }

    /// The number of the segment that a time lies in.
    pub(crate) fn segment(&self, time_ms: i64) -> i64 {
        time_ms / self.segment_interval_ms
    }

    /// The first segment that may still be asked for.
    pub(crate) fn first_live_segment(&self, observed_ms: Option<i64>) -> i64 {
        observed_ms.map_or(0, |observed| {
            self.segment(observed.saturating_sub(self.history_retention_ms).max(0))
        })
    }
}

/// What a session store is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// How long a session is kept after it ended, measured in the time of the records, in milliseconds.
    pub retention_ms: i64,
    /// [`WindowOrder::ByTime`] for a store that is asked for sessions by their end as well as by their key.
    pub order: WindowOrder,
}

impl SessionSpec {
    /// How much time one segment spans, in milliseconds: `max(retention / 2, 60 000)`. Expiry removes whole segments.
    pub fn segment_interval_ms(&self) -> i64 {
        (self.retention_ms / 2).max(SEGMENT_INTERVAL_MS_MIN)
    }
}

/// Which of the store traits a store offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A [`KeyValueStore`].
    KeyValue,
    /// A [`WindowStore`].
    Window(WindowSpec),
    /// A [`SessionStore`](crate::SessionStore).
    Session(SessionSpec),
    /// A [`VersionedKeyValueStore`](crate::VersionedKeyValueStore).
    Versioned(VersionedSpec),
}

/// Where a store keeps its entries.
#[derive(Clone, Debug)]
pub enum StoreBackend {
    /// In memory; empty whenever it is opened.
    Memory,
    /// On disk, in the RocksDB of the task.
    RocksDb,
    /// In a store of your own.
    Custom(Arc<dyn CustomBackend>),
}

/// Opens stores of your own making.
///
/// What it opens must be **empty**: a custom store takes no part in the atomic commit of the task, so it is restored
/// from the beginning of its changelog whenever the task starts. It is written to only when the task commits, which
/// is why [`TaskStores::rollback`](crate::TaskStores::rollback) holds for it without its help.
///
/// The feature `conformance` has the suite such a store must pass.
pub trait CustomBackend: Send + Sync + Debug {
    /// Opens an empty key-value store. `directory` is a folder of its own that it may create and use; `None` when
    /// the task keeps everything in memory.
    ///
    /// # Errors
    ///
    /// Whatever keeps the store from being opened.
    fn open_key_value(
        &self,
        name: &str,
        directory: Option<&Path>,
    ) -> Result<Box<dyn KeyValueStore>>;

    /// Opens an empty window store, under the same conditions.
    ///
    /// # Errors
    ///
    /// Whatever keeps the store from being opened.
    fn open_window(
        &self,
        name: &str,
        spec: &WindowSpec,
        directory: Option<&Path>,
    ) -> Result<Box<dyn WindowStore>>;
}

/// The description of one store.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    /// Unique among the stores of a task; letters, digits, `.`, `_` and `-`, as in a topic name.
    pub name: String,
    /// What it offers.
    pub kind: StoreKind,
    /// Where it keeps its entries.
    pub backend: StoreBackend,
}

impl StoreSpec {
    /// A key-value store.
    pub fn key_value(name: impl Into<String>, backend: StoreBackend) -> Self {
        Self {
            name: name.into(),
            kind: StoreKind::KeyValue,
            backend,
        }
    }

    /// A window store.
    pub fn window(name: impl Into<String>, spec: WindowSpec, backend: StoreBackend) -> Self {
        Self {
            name: name.into(),
            kind: StoreKind::Window(spec),
            backend,
        }
    }

    /// A session store. A custom backend is asked for a key-value store, which keeps its rows.
    pub fn session(name: impl Into<String>, spec: SessionSpec, backend: StoreBackend) -> Self {
        Self {
            name: name.into(),
            kind: StoreKind::Session(spec),
            backend,
        }
    }

    /// A versioned store. A custom backend is asked for a key-value store, which keeps its rows.
    pub fn versioned(name: impl Into<String>, spec: VersionedSpec, backend: StoreBackend) -> Self {
        Self {
            name: name.into(),
            kind: StoreKind::Versioned(spec),
            backend,
        }
    }

    fn validate(&self) -> Result<()> {
        let name = &self.name;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_LEN_MAX || !name.bytes().all(legal) {
            return Err(StoreError::invalid_argument(format!(
                "store name {name:?} must be 1 to {NAME_LEN_MAX} letters, digits, '.', '_' or '-'"
            )));
        }
        if name == "." || name == ".." {
            return Err(StoreError::invalid_argument(format!(
                "store name {name:?} would name a directory"
            )));
        }
        if let StoreKind::Window(window) = &self.kind {
            if window.retention_ms < 0 || window.window_size_ms < 0 {
                return Err(StoreError::invalid_argument(format!(
                    "window store `{name}` has retention {} ms and window size {} ms, which must not be negative",
                    window.retention_ms, window.window_size_ms
                )));
            }
            if window.retention_ms < window.window_size_ms {
                return Err(StoreError::invalid_argument(format!(
                    "window store `{name}` has retention {} ms, which must not be shorter than its windows of {} ms",
                    window.retention_ms, window.window_size_ms
                )));
            }
        }
        if let StoreKind::Session(session) = &self.kind
            && session.retention_ms < 0
        {
            return Err(StoreError::invalid_argument(format!(
                "session store `{name}` has retention {} ms, which must not be negative",
                session.retention_ms
            )));
        }
        if let StoreKind::Versioned(versioned) = &self.kind
            && (versioned.history_retention_ms < 0 || versioned.segment_interval_ms < 1)
        {
            return Err(StoreError::invalid_argument(format!(
                "versioned store `{name}` has a history retention of {} ms, which must not be negative, and segments of {} ms, which must be positive",
                versioned.history_retention_ms, versioned.segment_interval_ms
            )));
        }
        Ok(())
    }
}

/// Checks every spec and that no two have the same name.
pub(crate) fn validate(specs: &[StoreSpec]) -> Result<()> {
    let mut names = HashSet::new();
    for spec in specs {
        spec.validate()?;
        if !names.insert(&spec.name) {
            return Err(StoreError::invalid_argument(format!(
                "two stores of the task are named `{}`",
                spec.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_topic_names_and_unique() {
        for name in ["", ".", "..", "a/b", "caf\u{e9}"] {
            let spec = StoreSpec::key_value(name, StoreBackend::Memory);
            assert!(validate(&[spec]).is_err(), "{name:?}");
        }
        let spec = StoreSpec::key_value(
            "KSTREAM-AGGREGATE-STATE-STORE-0000000003",
            StoreBackend::Memory,
        );
        assert!(validate(std::slice::from_ref(&spec)).is_ok());
        assert!(validate(&[spec.clone(), spec]).is_err());
    }

    #[test]
    fn retention_covers_the_window() {
        let window = |retention_ms, window_size_ms| {
            let spec = WindowSpec {
                retention_ms,
                window_size_ms,
                retain_duplicates: false,
                order: WindowOrder::ByKey,
            };
            validate(&[StoreSpec::window("w", spec, StoreBackend::Memory)])
        };
        assert!(window(10, 10).is_ok());
        assert!(window(9, 10).is_err());
        assert!(window(-1, -2).is_err());
    }

    #[test]
    fn versioned_segments_are_those_of_kafka_streams() {
        let segment = |retention_ms| {
            VersionedSpec::with_history_retention_ms(retention_ms).segment_interval_ms
        };
        assert_eq!(segment(0), 2_000);
        assert_eq!(segment(60_000), 20_000);
        assert_eq!(segment(60_001), 20_000);
        assert_eq!(segment(300_000), 60_000);
        assert_eq!(segment(300_001), 60_000);
        assert_eq!(segment(3_600_000), 300_000);
        assert_eq!(segment(24 * 3_600_000), 3_600_000);
        for (history_retention_ms, segment_interval_ms) in [(-1, 1), (1, 0)] {
            let spec = VersionedSpec {
                history_retention_ms,
                segment_interval_ms,
            };
            let spec = StoreSpec::versioned("v", spec, StoreBackend::Memory);
            assert!(validate(&[spec]).is_err());
        }
    }

    #[test]
    fn segments_are_half_the_retention_but_not_short() {
        let spec = |retention_ms| WindowSpec {
            retention_ms,
            window_size_ms: 1,
            retain_duplicates: false,
            order: WindowOrder::ByKey,
        };
        assert_eq!(spec(10).segment_interval_ms(), 60_000);
        assert_eq!(spec(200_000).segment_interval_ms(), 100_000);
    }
}
