//! `StoreBuilder`: a store to be, with its options.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use streams_state::{StoreBackend, StoreKind, WindowOrder};

use super::handle::VersionedKeyValueStore;
use super::parts::{StoreParts, duration_ms};

/// How a store is kept and logged.
#[derive(Clone)]
pub(crate) struct StoreOptions {
    /// `None`: where stores are by default.
    pub(crate) backend: Option<StoreBackend>,
    pub(crate) cached: bool,
    /// `None`: not logged.
    pub(crate) logging: Option<BTreeMap<String, String>>,
    /// Whether values go without their timestamps where a table's store would have them.
    pub(crate) plain: bool,
    /// How many keys it may have; `None` for any number.
    pub(crate) max_entries: Option<usize>,
}

impl StoreOptions {
    /// Of a store without a cache in this place.
    pub(crate) fn of(backend: StoreBackend, logging: Option<BTreeMap<String, String>>) -> Self {
        StoreOptions {
            backend: Some(backend),
            ..StoreOptions::anywhere(logging)
        }
    }

    /// Of a store without a cache where stores are by default.
    pub(crate) fn anywhere(logging: Option<BTreeMap<String, String>>) -> Self {
        StoreOptions {
            backend: None,
            cached: false,
            logging,
            plain: false,
            max_entries: None,
        }
    }
}

/// A store to be: see [`Stores`](super::Stores).
pub struct StoreBuilder<S> {
    pub(crate) name: String,
    pub(crate) parts: StoreParts,
    pub(crate) options: StoreOptions,
    kind: PhantomData<fn() -> S>,
}

impl<S> Clone for StoreBuilder<S> {
    /// The same store: it can be brought along by several suppliers, see
    /// [`ProcessorSupplier`](crate::processor::ProcessorSupplier).
    fn clone(&self) -> Self {
        StoreBuilder {
            name: self.name.clone(),
            parts: self.parts.clone(),
            options: self.options.clone(),
            kind: PhantomData,
        }
    }
}

impl<S> StoreBuilder<S> {
    pub(super) fn new(name: &str, parts: StoreParts) -> Self {
        StoreBuilder {
            name: name.to_owned(),
            parts,
            options: StoreOptions::of(StoreBackend::RocksDb, Some(BTreeMap::new())),
            kind: PhantomData,
        }
    }

    /// Keeps it in memory: rebuilt from the changelog at every start. A window store in memory is scanned by start and key,
    /// as Kafka Streams' is, where one on disk is scanned by segment, key and start.
    pub fn in_memory(mut self) -> Self {
        self.options.backend = Some(StoreBackend::Memory);
        if let StoreKind::Window(window) = &mut self.parts.kind {
            window.order = WindowOrder::ByTime;
        }
        self
    }

    /// Keeps it in a store of the user's own.
    pub fn with_backend(mut self, backend: StoreBackend) -> Self {
        self.options.backend = Some(backend);
        self
    }

    /// Collects changes in the record cache, so that a key changed often is written once a commit.
    pub fn with_caching_enabled(mut self) -> Self {
        self.options.cached = true;
        self
    }

    /// Logs to a changelog topic with these settings on top of Kafka Streams' own.
    pub fn with_logging_enabled<N: Into<String>, T: Into<String>>(
        mut self,
        topic_config: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        self.options.logging = Some(
            topic_config
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        self
    }

    /// Makes no changelog: the state is lost when the task moves or its directory does.
    pub fn with_logging_disabled(mut self) -> Self {
        self.options.logging = None;
        self
    }
}

impl<K, V> StoreBuilder<VersionedKeyValueStore<K, V>> {
    /// How much time one segment of the history spans, at least a millisecond: see
    /// [`Materialized::with_segment_interval`](crate::Materialized::with_segment_interval).
    pub fn with_segment_interval(mut self, segment_interval: Duration) -> Self {
        if let StoreKind::Versioned(spec) = &mut self.parts.kind {
            spec.segment_interval_ms = duration_ms(segment_interval).max(1);
        }
        self
    }
}
