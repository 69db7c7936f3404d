//! The typed view of a window store: a value for each key and window start.

mod eviction;
mod flush;
mod nearby;
mod row;
mod rows;
mod scan;
mod update;
mod values;

pub(super) use row::Rest;
pub(crate) use scan::ScanOrder;

use super::cache::Origin;
use super::view::{Below, Cause, Updated, View, split_window_key};
use super::{AnyState, Found, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::BoxSerde;
use crate::topology::store::StateArguments;
use row::Touch;
use rows::WindowRows;
use std::any::Any;
use std::rc::Rc;
use update::touch;

pub struct WindowState<K, V> {
    key: BoxSerde<K>,
    /// Without a cache of its own: windows have theirs here.
    view: View<V>,
    cache: Option<WindowRows<V>>,
    scan_order: ScanOrder,
}

/// Windows at equal distances: the first one's start, the distance, how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts {
    pub(crate) first_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) len: usize,
}

impl Starts {
    pub(crate) fn one(start_ms: i64) -> Self {
        Starts {
            first_ms: start_ms,
            step_ms: 1,
            len: 1,
        }
    }

    fn get(self, number: usize) -> i64 {
        self.first_ms + number as i64 * self.step_ms
    }
}

/// A change of a window that was written: what it has now, what it had if that was asked for, the aggregate's timestamp and
/// what caused it.
pub(crate) struct FlushedWindow<V> {
    pub(crate) start_ms: i64,
    pub(crate) new: Option<V>,
    pub(crate) old: Option<V>,
    pub(crate) timestamp: i64,
    pub(crate) origin: Origin,
    rest: Option<Rc<Rest>>,
}

impl<V> FlushedWindow<V> {
    /// A window that was written without a cache.
    pub(crate) fn written(start_ms: i64, new: Option<V>, timestamp: i64, cause: Cause<'_>) -> Self {
        FlushedWindow {
            start_ms,
            new,
            old: None,
            timestamp,
            origin: cause.origin,
            rest: None,
        }
    }

    /// The headers of the record that changed it.
    pub(crate) fn headers(&self) -> &Headers {
        const NONE: &Headers = &Headers::new();
        self.rest.as_ref().map_or(NONE, |rest| &rest.headers)
    }
}

impl<K: 'static, V: 'static> WindowState<K, V> {
    pub(crate) fn new(
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        scan_order: ScanOrder,
        arguments: &StateArguments,
    ) -> Self {
        let mut view = View::new(Below::Window, value, arguments);
        WindowState {
            key,
            scan_order,
            cache: view.cache.take().map(|_| WindowRows::new()),
            view,
        }
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
        Ok(self.find(start_ms, io)?.map(Found::read))
    }

    /// A copy of the value of a window of the key given to [`WindowState::set_key`], and its timestamp.
    pub(crate) fn find(&mut self, start_ms: i64, io: &StoreIo) -> Result<Option<(V, i64)>> {
        self.set_start(start_ms);
        if let Some(cache) = &self.cache {
            let (key, _) = split_window_key(&self.view.key_bytes);
            if let Some(slot) = cache.find(key)
                && let Some((run, at)) = cache.row(slot).find(start_ms)
            {
                let touch = &cache.row(slot).runs()[run].touch;
                match cache.row(slot).values().get(at) {
                    Some(value) => {
                        let timestamp = touch.timestamp;
                        return Ok(Some((self.view.copy(value)?, timestamp)));
                    }
                    None if touch.changed != 0 => return Ok(None),
                    // Deleted and written, or handed out by a flush that has written it.
                    None => {}
                }
            }
        }
        self.view.load(io)
    }

    /// Sets the value of a key's window, `None` deletes; false for a null key, which is left to the caller.
    pub(crate) fn put(
        &mut self,
        key: &K,
        start_ms: i64,
        value: Option<V>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<bool> {
        if !self.set_key(key)? {
            return Ok(false);
        }
        self.put_window(start_ms, value, cause, io).map(|_| true)
    }

    /// Sets the value of a window of the key given to [`WindowState::set_key`], `None` deletes it.
    pub(crate) fn put_window(
        &mut self,
        start_ms: i64,
        value: Option<V>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<Updated<V>> {
        self.set_start(start_ms);
        if self.cache.is_none() {
            let (timestamp, origin_ms) = (cause.timestamp, cause.origin.timestamp);
            let placement = self.view.write(value.as_ref(), timestamp, origin_ms, io)?;
            return Ok(Updated::Written {
                new: value,
                old: None,
                timestamp,
                placement,
            });
        }
        let slot = self.row(io);
        let cache = self.cache.as_mut().expect("checked above");
        let at = match cache.row(slot).find(start_ms) {
            Some((_, at)) => {
                cache.row_mut(slot).values_mut().set(at, value);
                at
            }
            None => cache.insert(slot, start_ms, value, Touch::loaded(-1)),
        };
        cache.touch(slot, at, 1, 1, touch(cause, io));
        Ok(Updated::Cached)
    }

    /// The cache's row of the current key, made if it is not there.
    #[inline]
    fn row(&mut self, io: &StoreIo) -> u32 {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let (key, _) = split_window_key(&self.view.key_bytes);
        if let Some(slot) = cache.find(key) {
            return slot;
        }
        let left_ms = cache.left_ms(|| io.stores.window(self.view.index).newest_start_ms());
        cache.add(key, left_ms.saturating_add(1))
    }

    /// A copy of a key, by way of its bytes.
    pub(crate) fn copy_key(&self, key: &K) -> Result<K> {
        let mut bytes = Vec::new();
        self.key.serialize(key, &mut bytes)?;
        Ok(self.key.deserialize(&bytes)?)
    }
}

impl<K: 'static, V: 'static> AnyState for WindowState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, WindowRows::bytes)
    }

    fn forget_clean(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.forget_clean();
        }
    }

    fn write_changed(&mut self, io: &mut StoreIo) -> Result<bool> {
        while !io.effects.are_many() {
            let Some(flushed) = self.write_next(false, io)? else {
                return Ok(true);
            };
            self.give_back(flushed.new);
        }
        Ok(false)
    }
}
