//! Stores as a topology defines them: what to open, how it is typed, and what its changelog is.

use crate::task::global_updates::GlobalUpdateFactory;
use crate::task::stores::AnyState;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use streams_state::{StoreKind, StoreSpec, WindowOrder};

/// Makes the typed view of a store for one task.
pub(crate) type StateFactory = Arc<dyn Fn(&StateArguments) -> Box<dyn AnyState> + Send + Sync>;

/// What a typed view needs to know about the task it works in.
pub(crate) struct StateArguments {
    /// The store's index among the task's byte stores.
    pub(crate) index: usize,
    /// In which order the byte store scans windows; `None` if it has none.
    pub(crate) window_order: Option<WindowOrder>,
    /// Where its changes are logged: full topic name and partition.
    pub(crate) changelog: Option<(Arc<str>, i32)>,
    /// Whether the record cache is on for this store in this task.
    pub(crate) cached: bool,
    /// Whether a flush of that cache leaves out the deletion of what the store does not have.
    pub(crate) elides_tombstones: bool,
}

/// The order of a byte store's windows.
pub(crate) fn window_order(spec: &StoreSpec) -> Option<WindowOrder> {
    match &spec.kind {
        StoreKind::Window(window) => Some(window.order),
        _ => None,
    }
}

#[derive(Clone)]
pub(crate) struct StoreDefinition {
    pub(crate) name: String,
    pub(crate) spec: StoreSpec,
    /// Values are stored behind their timestamp; their changelog records carry it as the record's own.
    pub(crate) timestamped: bool,
    pub(crate) cached: bool,
    /// Set for the buffer of a suppressed table.
    pub(crate) suppresses: bool,
    /// Set for the stores of tables, whose cache has a listener downstream; not for stores of processors.
    pub(crate) elides_tombstones: bool,
    pub(crate) changelog: Option<ChangelogDefinition>,
    pub(crate) state: StateFactory,
    /// Who added it.
    pub(crate) location: &'static Location<'static>,
}

/// What a changelog record has to be made into before its store takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangelogForm {
    /// Nothing: its value is what the store has.
    AsStored,
    /// The record's timestamp goes in front of the value.
    Timestamped,
    /// The record's timestamp goes with the value, and with a deletion as well.
    Versioned,
    /// Its value is one of several versions, which a header tells apart.
    Suppressed,
}

impl StoreDefinition {
    /// The same store with the source topic that has all its changes as changelog, whatever was said about logging.
    pub(crate) fn changed_by(&self, topic: Arc<str>) -> StoreDefinition {
        StoreDefinition {
            changelog: Some(ChangelogDefinition {
                source_topic: Some(topic),
                config: BTreeMap::new(),
                cleanup: Cleanup::Compact,
            }),
            ..self.clone()
        }
    }

    pub(crate) fn changelog_form(&self) -> ChangelogForm {
        match &self.spec.kind {
            StoreKind::Versioned(_) => ChangelogForm::Versioned,
            _ if self.suppresses => ChangelogForm::Suppressed,
            _ if self.timestamped => ChangelogForm::Timestamped,
            _ => ChangelogForm::AsStored,
        }
    }
}

/// The changelog of a store.
#[derive(Clone, Debug)]
pub(crate) struct ChangelogDefinition {
    /// A source topic that serves as changelog, so that nothing is logged.
    pub(crate) source_topic: Option<Arc<str>>,
    /// What the user set with `Materialized::with_logging_enabled`.
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) cleanup: Cleanup,
}

/// How the broker may shorten a changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleanup {
    /// The last record of each key stays.
    Compact,
    /// As `Compact`, and records older than the retention (milliseconds) go.
    CompactDelete { retention_ms: i64 },
    /// As `Compact`, but not before a day after the history retention (milliseconds): earlier versions are needed until then.
    CompactLate { history_retention_ms: i64 },
}

/// A table that every instance holds whole.
pub(crate) struct GlobalStoreDefinition {
    pub(crate) store: Arc<StoreDefinition>,
    pub(crate) topic: Arc<str>,
    /// Its number among the sub-topologies, as `describe` prints it.
    pub(crate) sub_topology: u32,
    pub(crate) source_name: String,
    pub(crate) processor_name: String,
    /// Checks that a record's key and value can be read, so that the handler sees it when they cannot.
    pub(crate) check: RecordCheck,
    /// What keeps the store instead of a copy of the topic's records.
    pub(crate) update: Option<GlobalUpdateFactory>,
}

/// Tells whether key and value bytes can be read.
pub(crate) type RecordCheck =
    Arc<dyn Fn(&[u8], Option<&[u8]>) -> Result<(), crate::serdes::SerdeError> + Send + Sync>;
