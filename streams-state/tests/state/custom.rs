//! A backend as a user would write it: the simplest thing that keeps the rules.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use streams_state::{
    CustomBackend, Entries, KeyValueStore, Order, PutOutcome, Result, StoreBackend, StoreError,
    StoreResources, StoreSpec, TaskStores, WindowEntries, WindowKey, WindowOrder, WindowSpec,
    WindowStore,
};

/// Opens the stores below.
#[derive(Debug)]
pub struct CustomMaps;

impl CustomBackend for CustomMaps {
    fn open_key_value(
        &self,
        _name: &str,
        _directory: Option<&Path>,
    ) -> Result<Box<dyn KeyValueStore>> {
        Ok(Box::new(KeyValueMap::default()))
    }

    fn open_window(
        &self,
        _name: &str,
        spec: &WindowSpec,
        _directory: Option<&Path>,
    ) -> Result<Box<dyn WindowStore>> {
        Ok(Box::new(WindowMap::new(spec)))
    }
}

#[derive(Default)]
pub struct KeyValueMap(BTreeMap<Vec<u8>, Vec<u8>>);

impl KeyValueMap {
    fn entries(&self, order: Order, wanted: impl Fn(&[u8]) -> bool) -> Entries<'_> {
        let mut entries: Vec<_> = self
            .0
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, value)| Ok((key.clone(), value.clone())))
            .collect();
        if order == Order::Backward {
            entries.reverse();
        }
        Box::new(entries.into_iter())
    }
}

impl KeyValueStore for KeyValueMap {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        read(self.0.get(key).map(Vec::as_slice));
        Ok(())
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        keys.iter().filter(|key| self.0.contains_key(**key)).count()
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        match value {
            Some(value) => self.0.insert(key.to_vec(), value.to_vec()),
            None => self.0.remove(key),
        };
        Ok(())
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<Entries<'_>> {
        Ok(self.entries(order, |key| {
            from.is_none_or(|from| key >= from) && to.is_none_or(|to| key <= to)
        }))
    }

    fn prefix_scan(&self, prefix: &[u8]) -> Result<Entries<'_>> {
        Ok(self.entries(Order::Forward, |key| key.starts_with(prefix)))
    }

    fn approximate_len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// Entries by (segment, key, start, sequence), or by (start, key, start, sequence).
pub struct WindowMap {
    spec: WindowSpec,
    entries: BTreeMap<(i64, Vec<u8>, i64, i32), Vec<u8>>,
    observed_ms: Option<i64>,
    sequence: i32,
}

impl WindowMap {
    pub fn new(spec: &WindowSpec) -> Self {
        Self {
            spec: spec.clone(),
            entries: BTreeMap::new(),
            observed_ms: None,
            sequence: 0,
        }
    }

    fn segment(&self, time_ms: i64) -> i64 {
        time_ms / self.spec.segment_interval_ms()
    }

    fn place(&self, start_ms: i64) -> i64 {
        match self.spec.order {
            WindowOrder::ByKey => self.segment(start_ms),
            WindowOrder::ByTime => start_ms,
        }
    }

    fn visible(&self, start_ms: i64) -> bool {
        let hidden = |observed_ms| start_ms < observed_ms - self.spec.retention_ms + 1;
        !self.observed_ms.is_some_and(hidden)
    }

    fn select(
        &self,
        times_ms: (i64, i64),
        order: Order,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> WindowEntries<'_> {
        let mut found: Vec<_> = self
            .entries
            .iter()
            .filter(|((_, key, start_ms, _), _)| {
                (times_ms.0..=times_ms.1).contains(start_ms)
                    && self.visible(*start_ms)
                    && wanted(key)
            })
            .map(|((_, key, start_ms, sequence), value)| {
                let key = WindowKey {
                    key: key.clone(),
                    start_ms: *start_ms,
                    sequence: *sequence,
                };
                Ok((key, value.clone()))
            })
            .collect();
        if order == Order::Backward {
            found.reverse();
        }
        Box::new(found.into_iter())
    }
}

impl WindowStore for WindowMap {
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()> {
        let last = self.fetch(key, start_ms, start_ms, Order::Backward)?.next();
        read(last.transpose()?.map(|(_, value)| value).as_deref());
        Ok(())
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        let is_here = |wanted: &[u8]| self.entries.keys().any(|(_, key, ..)| key == wanted);
        keys.iter().filter(|key| is_here(key)).count()
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, start_ms: i64) -> Result<PutOutcome> {
        if start_ms < 0 {
            return Err(StoreError::invalid_argument("a window starts before 1970"));
        }
        let mut sequence = 0;
        if self.spec.retain_duplicates {
            if value.is_none() {
                return Ok(PutOutcome::Stored { sequence });
            }
            self.sequence += 1;
            sequence = self.sequence;
        }
        let observed_ms = self.observed_ms.unwrap_or(0).max(start_ms);
        self.observed_ms = Some(observed_ms);
        if self.segment(start_ms) < self.segment((observed_ms - self.spec.retention_ms).max(0)) {
            return Ok(PutOutcome::Expired);
        }
        let place = (self.place(start_ms), key.to_vec(), start_ms, sequence);
        match value {
            Some(value) => self.entries.insert(place, value.to_vec()),
            None => self.entries.remove(&place),
        };
        Ok(PutOutcome::Stored { sequence })
    }

    fn fetch(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        Ok(self.select((from_ms, to_ms), order, |found| found == key))
    }

    fn fetch_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        Ok(self.select((from_ms, to_ms), order, |key| {
            from.is_none_or(|from| key >= from) && to.is_none_or(|to| key <= to)
        }))
    }

    fn fetch_all(&self, from_ms: i64, to_ms: i64, order: Order) -> Result<WindowEntries<'_>> {
        Ok(self.select((from_ms, to_ms), order, |_| true))
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.observed_ms
    }
}

#[test]
fn a_users_store_hears_of_keys_that_are_asked_for_soon() -> Result<()> {
    let backend = || StoreBackend::Custom(Arc::new(CustomMaps));
    let windows = WindowSpec {
        retention_ms: 1_000,
        window_size_ms: 10,
        retain_duplicates: false,
        order: WindowOrder::ByKey,
    };
    let specs = [
        StoreSpec::key_value("values", backend()),
        StoreSpec::window("windows", windows, backend()),
    ];
    let mut stores = TaskStores::open(None, &specs, &StoreResources::in_memory())?;
    stores.key_value_mut(0).put(b"a", Some(b"1"))?;
    stores.window_mut(1).put(b"a", Some(b"1"), 5)?;
    stores.commit(&[None, None])?;
    let keys: [&[u8]; 2] = [b"a", b"b"];
    assert_eq!(stores.key_value(0).prefetch(&keys), 1);
    assert_eq!(stores.window(1).prefetch(&keys), 1);
    Ok(())
}
