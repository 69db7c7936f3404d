//! Looking a row of a table up: in its store, or computed from the table it was made of (Kafka's `KTableValueGetter`).

use crate::error::Result;
use crate::task::context::Context;
use crate::task::stores::{Found, KeyValueState, WindowState};
use crate::windowed::Windowed;
use std::rc::Rc;
use std::sync::Arc;

/// Finds the row of a key.
pub(crate) trait TableGetter<K, V> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>>;
}

/// In the table's own store.
pub(crate) struct StoreGetter {
    pub(crate) store: usize,
}

impl<K: 'static, V: 'static> TableGetter<K, V> for StoreGetter {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>> {
        let (state, io) = context.state::<KeyValueState<K, V>>(self.store);
        state.get(key, io)
    }
}

/// In the window store of a windowed table.
pub(crate) struct WindowStoreGetter {
    pub(crate) store: usize,
}

impl<K: 'static, V: 'static> TableGetter<Windowed<K>, V> for WindowStoreGetter {
    fn get(&mut self, key: &Windowed<K>, context: &mut Context) -> Result<Option<Found<V>>> {
        let (state, io) = context.state::<WindowState<K, V>>(self.store);
        state.get(&key.key, key.window.start_ms, io)
    }
}

/// In the table before a filter.
pub(crate) struct FilterGetter<F, K, V> {
    pub(crate) parent: Box<dyn TableGetter<K, V>>,
    pub(crate) predicate: Arc<F>,
    pub(crate) keep: bool,
}

impl<K, V, F: Fn(&K, &V) -> bool> TableGetter<K, V> for FilterGetter<F, K, V> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>> {
        let found = self.parent.get(key, context)?;
        Ok(found.filter(|found| match found.value.as_ref() {
            Some(value) => (self.predicate)(key, value) == self.keep,
            None => false,
        }))
    }
}

/// From the table before a map.
pub(crate) struct MapValuesGetter<F, K, V> {
    pub(crate) parent: Box<dyn TableGetter<K, V>>,
    pub(crate) mapper: Arc<F>,
}

impl<K, V, V2, F: Fn(&K, &V) -> V2> TableGetter<K, V2> for MapValuesGetter<F, K, V> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V2>>> {
        let found = self.parent.get(key, context)?;
        Ok(found.and_then(|found| {
            let value = (self.mapper)(key, found.value.as_ref().as_ref()?);
            Some(Found {
                value: Rc::new(Some(value)),
                timestamp: found.timestamp,
            })
        }))
    }
}
