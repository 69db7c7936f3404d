//! One store of a task, as the traits show it, so that the suite can own it.

use std::path::Path;

use streams_state::{
    AsOf, Entries, KeyValueStore, Order, PutOutcome, Result, StoreBackend, StoreResources,
    StoreSpec, TaskStores, Version, VersionedKeyValueStore, VersionedPut, VersionedSpec,
    WindowEntries, WindowSpec, WindowStore,
};

/// How often the stores commit, in puts: often enough that reads find both committed and uncommitted writes.
const COMMIT_INTERVAL_PUTS: usize = 3;

/// A task with one store.
pub struct Single {
    stores: TaskStores,
    puts: usize,
}

impl Single {
    pub fn key_value(backend: &StoreBackend, directory: Option<&Path>) -> Box<dyn KeyValueStore> {
        Self::open(StoreSpec::key_value("store", backend.clone()), directory)
    }

    pub fn window(
        backend: &StoreBackend,
        spec: &WindowSpec,
        directory: Option<&Path>,
    ) -> Box<dyn WindowStore> {
        let spec = StoreSpec::window("store", spec.clone(), backend.clone());
        Self::open(spec, directory)
    }

    pub fn versioned(
        backend: &StoreBackend,
        spec: &VersionedSpec,
        directory: Option<&Path>,
    ) -> Box<dyn VersionedKeyValueStore> {
        let spec = StoreSpec::versioned("store", spec.clone(), backend.clone());
        Self::open(spec, directory)
    }

    fn open(spec: StoreSpec, directory: Option<&Path>) -> Box<Self> {
        let stores = TaskStores::open(directory, &[spec], &StoreResources::in_memory()).unwrap();
        Box::new(Self { stores, puts: 0 })
    }

    fn commit_now_and_then(&mut self) -> Result<()> {
        self.puts += 1;
        if self.puts.is_multiple_of(COMMIT_INTERVAL_PUTS) {
            self.stores.commit(&[None])?;
        }
        Ok(())
    }
}

impl KeyValueStore for Single {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.stores.key_value(0).get_with(key, read)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.stores.key_value_mut(0).put(key, value)?;
        self.commit_now_and_then()
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<Entries<'_>> {
        self.stores.key_value(0).range(from, to, order)
    }

    fn prefix_scan(&self, prefix: &[u8]) -> Result<Entries<'_>> {
        self.stores.key_value(0).prefix_scan(prefix)
    }

    fn approximate_len(&self) -> Result<u64> {
        self.stores.key_value(0).approximate_len()
    }
}

impl WindowStore for Single {
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()> {
        self.stores.window(0).get_with(key, start_ms, read)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, start_ms: i64) -> Result<PutOutcome> {
        let outcome = self.stores.window_mut(0).put(key, value, start_ms)?;
        self.commit_now_and_then()?;
        Ok(outcome)
    }

    fn fetch(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        self.stores.window(0).fetch(key, from_ms, to_ms, order)
    }

    fn fetch_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        let window = self.stores.window(0);
        window.fetch_keys(from, to, from_ms, to_ms, order)
    }

    fn fetch_all(&self, from_ms: i64, to_ms: i64, order: Order) -> Result<WindowEntries<'_>> {
        self.stores.window(0).fetch_all(from_ms, to_ms, order)
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.stores.window(0).observed_time_ms()
    }
}

impl VersionedKeyValueStore for Single {
    fn get_with(
        &self,
        key: &[u8],
        as_of: AsOf,
        read: &mut dyn FnMut(Option<Version<'_>>),
    ) -> Result<()> {
        self.stores.versioned(0).get_with(key, as_of, read)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, time_ms: i64) -> Result<VersionedPut> {
        let outcome = self.stores.versioned_mut(0).put(key, value, time_ms)?;
        self.commit_now_and_then()?;
        Ok(outcome)
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.stores.versioned(0).observed_time_ms()
    }
}
