//! Stores as a topology defines them: what to open, how it is typed, and what its changelog is.

use crate::task::global_updates::GlobalUpdateFactory;
use crate::task::stores::AnyState;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use streams_state::{StoreBackend, StoreKind, StoreSpec, WindowOrder};

/// Makes the typed view of a store for one task.
pub(crate) type StateFactory = Arc<dyn Fn(&StateArguments) -> Box<dyn AnyState> + Send + Sync>;

/// What a typed view needs to know about the task it works in.
pub(crate) struct StateArguments {
    /// The store's index among the task's byte stores.
    pub(crate) index: usize,
    /// In which order the byte store scans windows or sessions; `None` if it has none.
    pub(crate) window_order: Option<WindowOrder>,
    /// Where its changes are logged: full topic name and partition.
    pub(crate) changelog: Option<(Arc<str>, i32)>,
    /// Whether the record cache is on for this store in this task.
    pub(crate) cached: bool,
    /// Whether a flush of that cache leaves out the deletion of what the store does not have.
    pub(crate) elides_tombstones: bool,
    /// Whether values are stored behind their timestamp.
    pub(crate) timestamped: bool,
    /// Whether values have timestamps, be they stored or not: then changelog records have them.
    pub(crate) timed: bool,
    /// How many keys it may have; `None` for any number.
    pub(crate) max_entries: Option<usize>,
}

/// The order of a byte store's windows or sessions.
pub(crate) fn window_order(spec: &StoreSpec) -> Option<WindowOrder> {
    match &spec.kind {
        StoreKind::Window(window) => Some(window.order),
        StoreKind::Session(_) => Some(match spec.backend {
            StoreBackend::Memory => WindowOrder::ByTime,
            _ => WindowOrder::ByKey,
        }),
        _ => None,
    }
}

#[derive(Clone)]
pub(crate) struct StoreDefinition {
    pub(crate) name: String,
    pub(crate) spec: StoreSpec,
    /// Values are stored behind their timestamp; their changelog records carry it as the record's own.
    pub(crate) timestamped: bool,
    /// Values have timestamps, be they stored or not.
    pub(crate) timed: bool,
    pub(crate) cached: bool,
    /// Whether it is where stores are by default, and may be put elsewhere.
    pub(crate) is_anywhere: bool,
    /// How many keys it may have; `None` for any number.
    pub(crate) max_entries: Option<usize>,
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
    /// The same store in another place, if nobody chose one for it.
    pub(crate) fn placed(&self, backend: &StoreBackend) -> StoreDefinition {
        let mut store = self.clone();
        if store.is_anywhere {
            store.spec.backend = backend.clone();
            store.is_anywhere = false;
        }
        store
    }

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
#[derive(Clone)]
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

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::processor::{Processor, ProcessorContext};
    use crate::serdes::{I64, Nullable, Utf8};
    use crate::stores::{StoreHandle, Stores, TimestampedKeyValueStore};
    use crate::testing::LocalState;
    use crate::{
        Consumed, JoinWindows, Materialized, Record, Result, StreamJoined, StreamsBuilder,
        StreamsConfig, TimeWindows, Topology, TopologyTestDriver,
    };
    use std::time::Duration;
    use streams_state::StoreBackend;

    struct Nothing;

    impl Processor<String, String, (), ()> for Nothing {
        fn process(
            &mut self,
            _: Record<'_, String, String>,
            _: &mut ProcessorContext<'_, (), ()>,
        ) -> Result<()> {
            Ok(())
        }
    }

    /// Stores of all kinds: where nobody said, on disk, in memory, and one of a processor.
    fn everything(builder: &StreamsBuilder) -> Result<Topology> {
        let second = Duration::from_secs(1);
        let lines = builder.stream::<String, String>("lines", Consumed::new());
        let grouped = lines.group_by_key();
        grouped.count_with(Materialized::named("counts"));
        grouped.count_with(Materialized::named("disk").with_backend(StoreBackend::RocksDb));
        grouped.count_with(Materialized::named("memory").in_memory());
        grouped
            .windowed_by(TimeWindows::of_size(second))
            .count_with(Materialized::named("windows"));
        let windows = JoinWindows::of_time_difference_with_no_grace(second);
        let joined = || StreamJoined::<String, String, String>::new();
        let join = |l: Option<&String>, _: Option<&String>| l.cloned();
        lines.outer_join_stream_with(&lines, join, windows, joined().with_store_name("join"));
        builder.global_table::<String, String>(
            "all",
            Consumed::new(),
            Materialized::named("global"),
        );
        builder.add_state_store(Stores::key_value("own", Utf8, I64));
        lines.process(|| Nothing, &["own"]);
        builder.build()
    }

    fn in_memory(topology: &Topology) -> Vec<&str> {
        let stores = topology
            .sub_topologies()
            .iter()
            .flat_map(|sub_topology| &sub_topology.stores)
            .chain(topology.global_stores().iter().map(|global| &global.store));
        let mut names: Vec<&str> = stores
            .filter(|store| matches!(store.spec.backend, StoreBackend::Memory))
            .map(|store| store.name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    const ALL: [&str; 7] = [
        "counts",
        "global",
        "join-outer-other-join-store",
        "join-outer-shared-join-store",
        "join-outer-this-join-store",
        "memory",
        "windows",
    ];

    #[test]
    fn stores_are_where_they_were_put_else_where_the_builder_says_else_the_settings() -> Result<()>
    {
        let topology = everything(&StreamsBuilder::new())?;
        assert_eq!(in_memory(&topology), ["memory"]);
        let config = StreamsConfig::new("app").set("default.dsl.store", "in_memory")?;
        let kept = topology.clone();
        assert_eq!(in_memory(&topology.configured(&config)), ALL);
        assert_eq!(in_memory(&kept), ["memory"]);
        let memory = StreamsBuilder::new().with_store_backend(StoreBackend::Memory);
        assert_eq!(in_memory(&everything(&memory)?), ALL);
        let disk = StreamsBuilder::new().with_store_backend(StoreBackend::RocksDb);
        assert_eq!(
            in_memory(&everything(&disk)?.configured(&config)),
            ["memory"]
        );
        Ok(())
    }

    #[test]
    fn windows_are_not_limited_in_number() {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>("lines", Consumed::new())
            .group_by_key()
            .windowed_by(TimeWindows::of_size(Duration::from_secs(1)))
            .count_with(Materialized::lru_map("few", 3));
        let error = builder
            .build()
            .map(drop)
            .expect_err("windows have no limit");
        assert!(error.to_string().contains("with_retention"), "{error}");
    }

    #[test]
    fn rows_without_timestamps_are_restored() -> Result<()> {
        let builder = StreamsBuilder::new();
        let kept = Materialized::named("rows")
            .without_timestamps()
            .with_caching_disabled();
        builder
            .table::<String, String>("lines", Consumed::new(), kept)
            .to_stream()
            .for_each(|_, _| ());
        let mut driver = TopologyTestDriver::new(&builder.build()?)?;
        let lines = driver.input("lines", Utf8, Nullable(Utf8));
        driver.pipe_at(&lines, "a", Some("x".to_owned()), 5)?;
        let rows: StoreHandle<TimestampedKeyValueStore<String, String>> =
            StoreHandle::named("rows");
        let row = ("x".to_owned(), -1);
        assert_eq!(
            driver.store(&rows)?.get(&"a".to_owned())?,
            Some(row.clone())
        );
        driver.restart(LocalState::Lost)?;
        assert_eq!(driver.store(&rows)?.get(&"a".to_owned())?, Some(row));
        Ok(())
    }
}
