//! What a store is made of: its kind, and the state that a task makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streams_state::{
    SessionSpec, StoreBackend, StoreKind, StoreSpec, VersionedSpec, WindowOrder, WindowSpec,
};

use crate::serdes::BoxSerde;
use crate::task::stores::{
    AnyState, KeyValueState, ScanOrder, SessionOrder, SessionState, WindowState,
};
use crate::topology::store::{ChangelogDefinition, Cleanup, StateArguments, StateFactory};

pub(crate) fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Everything about a store but its name and options.
#[derive(Clone)]
pub(crate) struct StoreParts {
    pub(crate) kind: StoreKind,
    pub(crate) timestamped: bool,
    pub(crate) state: StateFactory,
}

impl StoreParts {
    /// What to open.
    pub(crate) fn spec(&self, name: &str, backend: StoreBackend) -> StoreSpec {
        StoreSpec {
            name: name.to_owned(),
            kind: self.kind.clone(),
            backend,
        }
    }

    /// What is logged.
    pub(crate) fn changelog(
        &self,
        logging: Option<&BTreeMap<String, String>>,
    ) -> Option<ChangelogDefinition> {
        logging.map(|config| ChangelogDefinition {
            source_topic: None,
            config: config.clone(),
            cleanup: match &self.kind {
                StoreKind::KeyValue => Cleanup::Compact,
                StoreKind::Window(spec) => Cleanup::CompactDelete {
                    retention_ms: spec.retention_ms,
                },
                StoreKind::Session(spec) => Cleanup::CompactDelete {
                    retention_ms: spec.retention_ms,
                },
                StoreKind::Versioned(spec) => Cleanup::CompactLate {
                    history_retention_ms: spec.history_retention_ms,
                },
            },
        })
    }
}

pub(crate) fn key_value_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    timestamped: bool,
) -> StoreParts {
    StoreParts {
        kind: StoreKind::KeyValue,
        timestamped,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = KeyValueState::new(key.clone(), value.clone(), arguments);
            let state = match arguments.max_entries {
                Some(max_entries) => state.limited(max_entries),
                None => state,
            };
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

/// A store that remembers earlier versions.
pub(crate) fn versioned_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: VersionedSpec,
) -> StoreParts {
    StoreParts {
        kind: StoreKind::Versioned(spec),
        timestamped: false,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = KeyValueState::versioned(key.clone(), value.clone(), arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

/// The store of a table: with a history if it is to have one.
pub(crate) fn table_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    history: Option<VersionedSpec>,
) -> StoreParts {
    match history {
        Some(spec) => versioned_parts(key, value, spec),
        None => key_value_parts(key, value, true),
    }
}

/// A window store with timestamps whose windows of one key are found in the cache as well.
pub(crate) fn indexed_window_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: WindowSpec,
) -> StoreParts {
    let scan_order = scan_order(&spec);
    StoreParts {
        kind: StoreKind::Window(spec),
        timestamped: true,
        state: Arc::new(move |arguments: &StateArguments| {
            let state = WindowState::new(key.clone(), value.clone(), scan_order, arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

fn scan_order(spec: &WindowSpec) -> ScanOrder {
    match spec.order {
        WindowOrder::ByTime => ScanOrder::ByTime,
        WindowOrder::ByKey => ScanOrder::BySegment {
            segment_ms: spec.segment_interval_ms(),
        },
    }
}

pub(crate) fn session_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: SessionSpec,
) -> StoreParts {
    let segment_ms = spec.segment_interval_ms();
    StoreParts {
        kind: StoreKind::Session(spec),
        timestamped: false,
        state: Arc::new(move |arguments: &StateArguments| {
            let order = match arguments.window_order {
                Some(WindowOrder::ByTime) => SessionOrder::ByEnd,
                _ => SessionOrder::BySegment { segment_ms },
            };
            let state = SessionState::new(key.clone(), value.clone(), order, arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}

pub(crate) fn window_parts<K: 'static, V: 'static>(
    key: BoxSerde<K>,
    value: BoxSerde<V>,
    spec: WindowSpec,
    timestamped: bool,
) -> StoreParts {
    let segment_ms = spec.segment_interval_ms();
    StoreParts {
        kind: StoreKind::Window(spec),
        timestamped,
        state: Arc::new(move |arguments: &StateArguments| {
            let scan_order = match arguments.window_order {
                Some(WindowOrder::ByTime) => ScanOrder::ByTime,
                _ => ScanOrder::BySegment { segment_ms },
            };
            let state = WindowState::new(key.clone(), value.clone(), scan_order, arguments);
            Box::new(state) as Box<dyn AnyState>
        }),
    }
}
