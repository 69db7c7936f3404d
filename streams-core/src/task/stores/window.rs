//! The typed view of a window store: a value for each key and window start.

use super::merged::Merged;
use super::view::{Below, Cause, Updated, View, split_window_key};
use super::{AnyState, Flushed, Found, StoreIo};
use crate::error::Result;
use crate::serdes::BoxSerde;
use crate::topology::store::StateArguments;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use streams_state::{Order, WindowEntries};

pub struct WindowState<K, V> {
    key: BoxSerde<K>,
    view: View<V>,
    scan_order: ScanOrder,
    /// The keys of the cache's entries, to find those of one record key; `None` when nobody asks.
    cached: Option<BTreeSet<Box<[u8]>>>,
}

/// Start, value and timestamp of a window.
pub(crate) type FoundWindow<V> = (i64, Rc<Option<V>>, i64);

/// How the store below orders windows when it scans them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScanOrder {
    /// By start, then key.
    ByTime,
    /// By segment, then key, then start.
    BySegment { segment_ms: i64 },
}

/// The place of a window in a scan: segment or start, key, start.
type Place = (i64, Vec<u8>, i64);

impl ScanOrder {
    fn place(self, key: Vec<u8>, start_ms: i64) -> Place {
        let first = match self {
            ScanOrder::ByTime => start_ms,
            ScanOrder::BySegment { segment_ms } => start_ms.div_euclid(segment_ms),
        };
        (first, key, start_ms)
    }
}

impl<K: 'static, V: 'static> WindowState<K, V> {
    /// `timestamped`: whether values are stored behind their timestamp.
    pub(crate) fn new(
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        scan_order: ScanOrder,
        arguments: &StateArguments,
    ) -> Self {
        WindowState {
            key,
            scan_order,
            cached: None,
            view: View::new(Below::Window, value, arguments),
        }
    }

    /// Lets [`WindowState::fetch_cached`] find what the cache has.
    pub(crate) fn indexed(mut self) -> Self {
        self.cached = Some(BTreeSet::new());
        self
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.view.cache.is_some()
    }

    /// The windows of the key given to [`WindowState::set_key`] that start between the bounds, both included: everything
    /// the cache has, be it too old for the store below, and of the store what the cache does not have.
    pub(crate) fn fetch_cached(
        &mut self,
        from_ms: i64,
        to_ms: i64,
        order: Order,
        io: &StoreIo,
    ) -> Result<Vec<FoundWindow<V>>> {
        let (key, _) = split_window_key(&self.view.key_bytes);
        let mut found = BTreeMap::new();
        for entry in io
            .stores
            .window(self.view.index)
            .fetch(key, from_ms, to_ms, Order::Forward)?
        {
            let (window, value) = entry?;
            let (value, timestamp) = self.view.read_value(&value)?;
            found.insert(window.start_ms, (Rc::new(Some(value)), timestamp));
        }
        if let (Some(cache), Some(cached)) = (&self.view.cache, &self.cached) {
            let bound = |start_ms: i64| [key, &start_ms.to_be_bytes()].concat();
            let (lower, upper) = (bound(from_ms), bound(to_ms));
            let bounds = (
                Bound::Included(lower.as_slice()),
                Bound::Included(upper.as_slice()),
            );
            for window in cached.range::<[u8], _>(bounds) {
                let (window_key, start_ms) = split_window_key(window);
                if window_key == key
                    && let Some(slot) = cache.find(window)
                {
                    let entry = cache.entry(slot);
                    found.insert(start_ms, (entry.value.clone(), entry.timestamp));
                }
            }
        }
        let windows = found
            .into_iter()
            .filter(|(_, (value, _))| value.is_some())
            .map(|(start_ms, (value, timestamp))| (start_ms, value, timestamp));
        Ok(match order {
            Order::Forward => windows.collect(),
            Order::Backward => windows.rev().collect(),
        })
    }

    /// Sets the value of a window of the key given to [`WindowState::set_key`], `None` deletes it.
    pub(crate) fn put_window(
        &mut self,
        start_ms: i64,
        value: Rc<Option<V>>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<()> {
        self.set_start(start_ms);
        if let Some(cached) = &mut self.cached
            && self.view.cache.is_some()
            && !cached.contains(self.view.key_bytes.as_slice())
        {
            cached.insert(self.view.key_bytes.as_slice().into());
        }
        self.view.put(value, cause, io).map(|_| ())
    }

    /// Serializes the key for calls of [`WindowState::update`]; false for a null key, which no store takes.
    #[inline]
    pub(crate) fn set_key(&mut self, key: &K) -> Result<bool> {
        self.view.key_bytes.clear();
        let present = self.key.serialize_nullable(key, &mut self.view.key_bytes)?;
        self.view.key_bytes.extend_from_slice(&[0; 8]);
        Ok(present)
    }

    #[inline]
    fn set_start(&mut self, start_ms: i64) {
        let at = self.view.key_bytes.len() - 8;
        self.view.key_bytes[at..].copy_from_slice(&start_ms.to_be_bytes());
    }

    /// The value of a key's window.
    pub(crate) fn get(&mut self, key: &K, start_ms: i64, io: &StoreIo) -> Result<Option<Found<V>>> {
        if !self.set_key(key)? {
            return Ok(None);
        }
        self.set_start(start_ms);
        self.view.get(io)
    }

    /// Sets the value of a key's window, `None` deletes; false for a null key, which is left to the caller.
    pub(crate) fn put(
        &mut self,
        key: &K,
        start_ms: i64,
        value: Rc<Option<V>>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<bool> {
        if !self.set_key(key)? {
            return Ok(false);
        }
        self.set_start(start_ms);
        self.view.put(value, cause, io).map(|_| true)
    }

    /// Changes the value of one window of the key given to [`WindowState::set_key`].
    #[inline]
    pub(crate) fn update(
        &mut self,
        start_ms: i64,
        cause: Cause<'_>,
        with_old: bool,
        io: &mut StoreIo,
        change: impl FnOnce(&mut Option<V>),
    ) -> Result<Updated<V>> {
        self.set_start(start_ms);
        self.view.update(cause, with_old, io, change)
    }

    /// Writes the next changed entry of the cache and returns it with its key and start, `None` when the flush is done.
    pub(crate) fn flush_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<(K, i64, Flushed<V>)>> {
        match self.view.flush_next(with_old, io)? {
            None => Ok(None),
            Some(flushed) => {
                let (key, start_ms) = split_window_key(&self.view.key_bytes);
                Ok(Some((self.key.deserialize(key)?, start_ms, flushed)))
            }
        }
    }

    /// Windows that start between the bounds (inclusive), of one key or of all, with what the cache holds back.
    pub(crate) fn fetch<'a>(
        &'a mut self,
        key: Option<&K>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
        io: &'a mut StoreIo,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let store = io.stores.window(self.view.index);
        let mut only = None;
        let entries: WindowEntries<'a> = match key {
            Some(key) => {
                let bytes = only.insert(Vec::new());
                self.key.serialize(key, bytes)?;
                store.fetch(bytes, from_ms, to_ms, order)?
            }
            None => store.fetch_all(from_ms, to_ms, order)?,
        };
        let wanted = |key: &[u8], start_ms| {
            (from_ms..=to_ms).contains(&start_ms) && only.as_deref().is_none_or(|only| only == key)
        };
        self.merged(entries, &wanted, order)
    }

    /// Windows that start between the bounds (inclusive), of the keys between bounds (inclusive), with what the cache holds
    /// back.
    pub(crate) fn fetch_keys<'a>(
        &'a mut self,
        keys: (Option<&K>, Option<&K>),
        from_ms: i64,
        to_ms: i64,
        order: Order,
        io: &'a mut StoreIo,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let bound = |key: Option<&K>| -> Result<Option<Vec<u8>>> {
            let Some(key) = key else { return Ok(None) };
            let mut bytes = Vec::new();
            self.key.serialize(key, &mut bytes)?;
            Ok(Some(bytes))
        };
        let (from, to) = (bound(keys.0)?, bound(keys.1)?);
        let store = io.stores.window(self.view.index);
        let entries = store.fetch_keys(from.as_deref(), to.as_deref(), from_ms, to_ms, order)?;
        let wanted = |key: &[u8], start_ms| {
            (from_ms..=to_ms).contains(&start_ms)
                && from.as_deref().is_none_or(|from| from <= key)
                && to.as_deref().is_none_or(|to| key <= to)
        };
        self.merged(entries, &wanted, order)
    }

    /// A scan of the store below with what the cache holds back of the wanted windows.
    fn merged<'a>(
        &'a self,
        entries: WindowEntries<'a>,
        wanted: &dyn Fn(&[u8], i64) -> bool,
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let scan_order = self.scan_order;
        let changes = self.view.changes(|window| {
            let (key, start_ms) = split_window_key(window);
            wanted(key, start_ms).then(|| scan_order.place(key.to_vec(), start_ms))
        })?;
        let entries = entries.map(move |entry| {
            entry.map(|(window, value)| (scan_order.place(window.key, window.start_ms), value))
        });
        let (key_serde, view) = (&self.key, &self.view);
        Ok(Merged::new(entries, changes, order).map(move |entry| {
            let ((_, key, start_ms), value) = entry?;
            let (value, timestamp) = view.read_value(&value)?;
            Ok((key_serde.deserialize(&key)?, start_ms, value, timestamp))
        }))
    }

    /// A copy of a key, by way of its bytes.
    pub(crate) fn copy_key(&self, key: &K) -> Result<K> {
        let mut bytes = Vec::new();
        self.key.serialize(key, &mut bytes)?;
        Ok(self.key.deserialize(&bytes)?)
    }

    /// Gives the memory of unchanged windows back that start before this time.
    pub(crate) fn forget_before(&mut self, start_ms: i64) {
        if let Some(cache) = &mut self.view.cache {
            cache.forget_clean_if(|key| split_window_key(key).1 < start_ms);
        }
    }
}

impl<K: 'static, V: 'static> AnyState for WindowState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        self.view.memory_bytes()
    }

    fn forget_clean(&mut self) {
        self.view.forget_clean();
        if let (Some(cached), Some(cache)) = (&mut self.cached, &self.view.cache) {
            cached.retain(|key| cache.find(key).is_some());
        }
    }
    fn write_changed(&mut self, io: &mut StoreIo) -> Result<()> {
        self.view.write_changed(io)
    }
}
