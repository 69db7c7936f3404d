//! The test driver's view of stores.

use super::driver::TopologyTestDriver;
use crate::error::{Error, Result};
use crate::record::Headers;
use crate::stores::{GlobalAccess, StoreHandle, StoreType};
use crate::task::stores::{Cause, KeyValueState, Origin};

impl TopologyTestDriver {
    /// Opens a store of the topology, of whatever kind, to look into it or to prepare it.
    ///
    /// What is written to a store is logged with the timestamp 0.
    ///
    /// ```
    /// use streams_core::serdes::{I64, Utf8};
    /// use streams_core::stores::{StoreHandle, TimestampedKeyValueStore};
    /// use streams_core::{Consumed, Materialized, StreamsBuilder, TopologyTestDriver};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("words", Consumed::new())
    ///     .group_by_key()
    ///     .count_with(Materialized::named("counts"));
    /// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let words = driver.input("words", Utf8, Utf8);
    /// driver.pipe_at(&words, "rust", "", 7)?;
    ///
    /// let counts = StoreHandle::<TimestampedKeyValueStore<String, i64>>::named("counts");
    /// assert_eq!(driver.store(&counts)?.get(&"rust".to_owned())?, Some((1, 7)));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the topology has no store of that name and type, or several tasks have a share of it.
    pub fn store<S: StoreType>(&mut self, store: &StoreHandle<S>) -> Result<S::Access<'_>> {
        let places: Vec<(usize, usize)> = self.places(store.name()).collect();
        match places[..] {
            [] => Err(self.no_store(store.name())),
            [(task, index)] => self.open_store(task, index, store),
            _ => Err(Error::topology(format!(
                "store '{}' has {} partitions, each with keys of its own: choose one with `store_of_partition`",
                store.name(),
                places.len()
            ))),
        }
    }

    /// Opens one partition's share of a store.
    ///
    /// # Errors
    /// When the topology has no store of that name and type, or no such partition.
    pub fn store_of_partition<S: StoreType>(
        &mut self,
        store: &StoreHandle<S>,
        partition: i32,
    ) -> Result<S::Access<'_>> {
        let of_partition = |(task, _): &(usize, usize)| self.tasks[*task].id.partition == partition;
        let place = self.places(store.name()).find(of_partition);
        match place {
            Some((task, index)) => self.open_store(task, index, store),
            None if self.places(store.name()).next().is_none() => Err(self.no_store(store.name())),
            None => Err(Error::topology(format!(
                "store '{}' has {} partitions, and no partition {partition}",
                store.name(),
                self.places(store.name()).count()
            ))),
        }
    }

    /// Opens the store of a global table for reading.
    ///
    /// # Errors
    /// When the topology has no global store of that name and type.
    pub fn global_store<K: 'static, V: 'static, S>(
        &mut self,
        store: &StoreHandle<S>,
    ) -> Result<GlobalAccess<'_, K, V>>
    where
        S: StoreType<State = KeyValueState<K, V>>,
    {
        self.global_views.open(&self.globals, store)
    }

    /// The names of all stores of the topology, global ones included.
    pub fn store_names(&self) -> Vec<&str> {
        let topology = &self.factory.topology;
        let of_tasks = topology
            .sub_topologies()
            .iter()
            .flat_map(|sub_topology| &sub_topology.stores);
        let global = topology.global_stores().iter().map(|global| &global.store);
        of_tasks
            .chain(global)
            .map(|store| store.name.as_str())
            .collect()
    }

    /// Where a store is: the position of a task and that of the store in it.
    fn places<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        self.tasks
            .iter()
            .enumerate()
            .filter_map(move |(task, one)| {
                let index = one.stores.iter().position(|store| store.name == name)?;
                Some((task, index))
            })
    }

    fn open_store<S: StoreType>(
        &mut self,
        task: usize,
        index: usize,
        store: &StoreHandle<S>,
    ) -> Result<S::Access<'_>> {
        static NO_HEADERS: Headers = Headers::new();
        let context = self.tasks[task].task.context_mut();
        let cause = Cause {
            timestamp: 0,
            origin: Origin {
                input: None,
                offset: -1,
                timestamp: 0,
            },
            headers: &NO_HEADERS,
        };
        crate::stores::open(context, index, store, cause)
    }

    #[cold]
    fn no_store(&self, name: &str) -> Error {
        Error::topology(format!(
            "the topology has no store '{name}'; it has: {}",
            self.store_names().join(", ")
        ))
    }
}
