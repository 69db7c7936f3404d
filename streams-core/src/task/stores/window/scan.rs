//! Windows of one key or of many in the order of the store below, with what the cache holds back.

use super::WindowState;
use crate::error::Result;
use crate::task::stores::StoreIo;
use crate::task::stores::merged::{Changes, Merged};
use streams_state::{Order, WindowEntries};

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
    pub(super) fn is_by_time(self) -> bool {
        matches!(self, ScanOrder::ByTime)
    }

    fn place(self, key: Vec<u8>, start_ms: i64) -> Place {
        let first = match self {
            ScanOrder::ByTime => start_ms,
            ScanOrder::BySegment { segment_ms } => start_ms.div_euclid(segment_ms),
        };
        (first, key, start_ms)
    }
}

impl<K: 'static, V: 'static> WindowState<K, V> {
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
        self.merged(entries, &wanted, (from_ms, to_ms), order)
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
        self.merged(entries, &wanted, (from_ms, to_ms), order)
    }

    /// A scan of the store below with what the cache holds back of the wanted windows.
    fn merged<'a>(
        &'a self,
        entries: WindowEntries<'a>,
        wanted: &dyn Fn(&[u8], i64) -> bool,
        times: (i64, i64),
        order: Order,
    ) -> Result<impl Iterator<Item = Result<(K, i64, V, i64)>> + use<'a, K, V>> {
        let scan_order = self.scan_order;
        let mut changes: Changes<Place> = Vec::new();
        if let Some(cache) = &self.cache {
            let read = |key: &[u8], start_ms: i64, value: Option<&V>, timestamp: i64| {
                if wanted(key, start_ms) {
                    let bytes = value.map(|value| self.view.encoded(value, timestamp));
                    changes.push((scan_order.place(key.to_vec(), start_ms), bytes.transpose()?));
                }
                Ok(())
            };
            cache.held_back(read, times)?;
        }
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
}
