//! `suppress`: a table with fewer changes.

use super::builder::store_definition;
use super::suppressed::{HoldsBack, Suppressed};
use super::table::{GetterFactory, KTable, RowState, StoresWanted, Suppressible, TableParts};
use super::table_node;
use crate::error::Error;
use crate::operators::table_suppress::{SuppressGetter, TableSuppress};
use crate::serdes::{BoxSerde, Serde};
use crate::stores::{StoreOptions, StoreParts};
use crate::task::stores::{AnyState, SuppressBufferState};
use crate::topology::store::StateArguments;
use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use streams_state::{StoreBackend, StoreKind};

const PREFIX: &str = "KTABLE-SUPPRESS-";
const STORE_PREFIX: &str = "KTABLE-SUPPRESS-STATE-STORE-";

impl<K: 'static, V: 'static, T: RowState> KTable<K, V, T> {
    /// The table with some of its changes left out: they are held back, and of those of a key that are held the last one goes
    /// on.
    ///
    /// Time is that of the records: without new ones nothing is let go.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use streams_core::{BufferConfig, Consumed, Produced, StreamsBuilder, Suppressed, TimeWindows, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, TimeWindowed, Utf8};
    ///
    /// let ten = Duration::from_millis(10);
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size(ten))
    ///     .count()
    ///     .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
    ///     .to_stream()
    ///     .to("final-counts", Produced::with(TimeWindowed::new(Utf8, ten), I64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("clicks", Utf8, Utf8);
    /// # let output = driver.output("final-counts", TimeWindowed::new(Utf8, ten), I64);
    /// driver.pipe_at(&input, "ann", "home", 3)?;
    /// driver.pipe_at(&input, "ann", "cart", 9)?;
    /// assert!(driver.read_values(&output)?.is_empty());
    /// driver.pipe_at(&input, "bob", "home", 10)?;
    /// assert_eq!(driver.read_values(&output)?, [2]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn suppress<U>(&self, suppressed: Suppressed<U>) -> KTable<K, V, T>
    where
        T: Suppressible,
        U: HoldsBack<K>,
    {
        let location = Location::caller();
        let value = self.parts.value.clone().unwrap_or_else(|| {
            self.parts.graph.borrow_mut().fail(Error::topology(format!(
                "the values that `suppress` at {location} is to hold back have no serde yet: use `suppress_with(suppressed, serde)`"
            )));
            Arc::new(super::drop_nulls::Unusable)
        });
        self.suppressed(suppressed, value, location)
    }

    /// As [`KTable::suppress`], for values whose serde the table does not know, as after `map_values`.
    #[track_caller]
    pub fn suppress_with<U>(
        &self,
        suppressed: Suppressed<U>,
        value: impl Serde<V>,
    ) -> KTable<K, V, T>
    where
        T: Suppressible,
        U: HoldsBack<K>,
    {
        self.suppressed(suppressed, Arc::new(value), Location::caller())
    }

    fn suppressed<U>(
        &self,
        suppressed: Suppressed<U>,
        value: BoxSerde<V>,
        location: &'static Location<'static>,
    ) -> KTable<K, V, T>
    where
        U: HoldsBack<K>,
    {
        let parts = &self.parts;
        let held = U::held_until(suppressed.wait_ms);
        let mut graph = parts.graph.borrow_mut();
        // What a held row was before is the old value of its first change.
        (parts.old_values)(&mut graph, true);
        let given = suppressed.name.as_deref().or(self.given_name());
        let (name, store_name) = match given {
            Some(name) => {
                graph.check_name(name);
                (name.to_owned(), format!("{name}-store"))
            }
            None => (graph.new_name(PREFIX), graph.new_name(STORE_PREFIX)),
        };
        let wait_ms = held.wait_ms.or_else(|| graph.grace_before(parts.node));
        let Some(wait_ms) = wait_ms else {
            graph.fail(Error::topology(format!(
                "`suppress` at {location} waits until windows close, but not everything that leads to it is windowed: aggregate over windows (`windowed_by`) in front of it, or use `Suppressed::until_time_limit`"
            )));
            return self.clone();
        };
        let options = StoreOptions::of(StoreBackend::Memory, suppressed.logging);
        let mut definition = store_definition(store_name, buffer_parts(), options, location);
        definition.suppresses = true;
        let store = graph.add_store(definition, Rc::new(Cell::new(true)));
        let (key, row, until) = (parts.key.clone(), value.clone(), held.until);
        let (drops_deletions, buffered) = (held.drops_deletions, suppressed.buffered);
        let node = graph.add_processor(
            name,
            vec![parts.node],
            table_node::<K, V>(move |scope, id| {
                Ok(Box::new(TableSuppress {
                    name: scope.node(id).name.clone(),
                    key: key.clone(),
                    value: row.clone(),
                    held_until: until.clone(),
                    wait_ms,
                    drops_deletions,
                    buffered,
                    store: scope.local_store(store),
                    observed_ms: -1,
                    key_bytes: Vec::new(),
                    children: scope.table_children(id)?,
                }))
            }),
            location,
        );
        graph.connect(node, store);
        let (parent, key, row) = (parts.getter.clone(), parts.key.clone(), value.clone());
        let getter: GetterFactory<K, V> = Arc::new(move |scope| {
            Box::new(SuppressGetter {
                parent: parent(scope),
                key: key.clone(),
                value: row.clone(),
                store: scope.local_store(store),
            })
        });
        let parent_stores = parts.stores.clone();
        let stores: StoresWanted = Rc::new(move |graph| {
            let mut stores = vec![store];
            stores.extend(parent_stores(graph));
            stores
        });
        drop(graph);
        KTable::new(TableParts {
            graph: parts.graph.clone(),
            node,
            key: parts.key.clone(),
            value: Some(value),
            getter,
            stores,
            old_values: parts.old_values.clone(),
        })
    }
}

/// The store of what is held back.
fn buffer_parts() -> StoreParts {
    StoreParts {
        kind: StoreKind::KeyValue,
        timestamped: false,
        state: Arc::new(|arguments: &StateArguments| {
            Box::new(SuppressBufferState::new(arguments)) as Box<dyn AnyState>
        }),
    }
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::serdes::{I64, Nullable, TimeWindowed, Utf8};
    use crate::{
        BufferConfig, Consumed, LocalState, Materialized, Produced, StreamsBuilder, Suppressed,
        TimeWindows, TopologyTestDriver,
    };
    use std::time::Duration;

    const TEN: Duration = Duration::from_millis(10);

    fn counts(buffer: BufferConfig<crate::Strict>) -> TopologyTestDriver {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>("in", Consumed::new())
            .group_by_key()
            .windowed_by(TimeWindows::of_size_and_grace(
                TEN,
                Duration::from_millis(5),
            ))
            .count()
            .suppress(Suppressed::until_window_closes(buffer).named("final"))
            .to_stream()
            .to("out", Produced::with(TimeWindowed::new(Utf8, TEN), I64));
        let topology = builder.build().expect("a topology");
        TopologyTestDriver::new(&topology).expect("a driver")
    }

    #[test]
    fn a_window_leaves_once_when_its_grace_is_over_restarts_included() {
        let mut driver = counts(BufferConfig::unbounded());
        let input = driver.input("in", Utf8, Utf8);
        let output = driver.output("out", TimeWindowed::new(Utf8, TEN), I64);
        for (key, time) in [("a", 3), ("b", 5), ("a", 14), ("a", 7)] {
            driver.pipe_at(&input, key, "", time).expect("taken");
        }
        driver.restart(LocalState::Lost).expect("restored");
        assert!(driver.read_values(&output).expect("output").is_empty());
        driver.pipe_at(&input, "c", "", 15).expect("taken");
        let results = driver.read_records(&output).expect("output");
        let results: Vec<_> = results
            .iter()
            .map(|record| (record.key.key.as_str(), record.value, record.timestamp))
            .collect();
        assert_eq!(results, [("a", 2, 7), ("b", 1, 5)]);
    }

    #[test]
    fn a_full_strict_buffer_stops_the_application() {
        let mut driver = counts(BufferConfig::max_records(1).shut_down_when_full());
        let input = driver.input("in", Utf8, Utf8);
        driver.pipe_at(&input, "a", "", 3).expect("taken");
        let error = driver.pipe_at(&input, "b", "", 3).expect_err("too many");
        assert!(error.to_string().contains("2 of 1 records"), "{error}");
    }

    #[test]
    fn an_eager_buffer_lets_the_oldest_go() {
        let builder = StreamsBuilder::new();
        builder
            .table::<String, i64>("in", Consumed::new(), Materialized::new())
            .suppress(Suppressed::until_time_limit(
                TEN,
                BufferConfig::max_records(1),
            ))
            .to_stream()
            .to("out", Produced::new());
        let topology = builder.build().expect("a topology");
        let mut driver = TopologyTestDriver::new(&topology).expect("a driver");
        let input = driver.input("in", Utf8, I64);
        let output = driver.output("out", Utf8, Nullable(I64));
        for (key, value, time) in [("a", 1, 0), ("a", 2, 1), ("b", 3, 2), ("b", 4, 12)] {
            driver.pipe_at(&input, key, value, time).expect("taken");
        }
        let results = driver.read_key_values(&output).expect("output");
        assert_eq!(
            results,
            [("a".to_owned(), Some(2)), ("b".to_owned(), Some(4))]
        );
    }

    #[test]
    fn what_is_not_windowed_does_not_close() {
        let builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::with(TimeWindowed::new(Utf8, TEN), I64))
            .group_by_key()
            .count()
            .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()));
        let error = builder.build().expect_err("nobody knows the grace period");
        assert!(error.to_string().contains("windowed_by"), "{error}");
    }

    #[test]
    fn a_serde_given_without_a_store_is_the_values_serde() {
        let builder = StreamsBuilder::new();
        let limit = Suppressed::until_time_limit(TEN, BufferConfig::unbounded());
        builder
            .table::<String, i64>("in", Consumed::new(), Materialized::new())
            .map_values_with(|_, value| value * 2, Materialized::new().with_value(I64))
            .suppress(limit)
            .to_stream()
            .to("out", Produced::new());
        builder.build().expect("the values have a serde");
    }
}
