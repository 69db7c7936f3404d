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

    /// Whether the table remembers earlier versions of its rows.
    fn is_versioned(&self) -> bool {
        false
    }

    /// Finds the version of a row that was valid at a time. A table that is not versioned only knows of now.
    fn get_as_of(
        &mut self,
        key: &K,
        _time_ms: i64,
        context: &mut Context,
    ) -> Result<Option<Found<V>>> {
        self.get(key, context)
    }
}

/// In the table's own store.
pub(crate) struct StoreGetter {
    pub(crate) store: usize,
}

impl<K: 'static, V: 'static> TableGetter<K, V> for StoreGetter {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>> {
        let (state, io) = context.state::<KeyValueState<K, V>>(self.store);
        state.look_up(key, io)
    }
}

/// In the table's own versioned store.
pub(crate) struct VersionedStoreGetter {
    pub(crate) store: usize,
}

impl<K: 'static, V: 'static> TableGetter<K, V> for VersionedStoreGetter {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>> {
        let (state, io) = context.state::<KeyValueState<K, V>>(self.store);
        state.get(key, io)
    }

    fn is_versioned(&self) -> bool {
        true
    }

    fn get_as_of(
        &mut self,
        key: &K,
        time_ms: i64,
        context: &mut Context,
    ) -> Result<Option<Found<V>>> {
        let (state, io) = context.state::<KeyValueState<K, V>>(self.store);
        state.get_as_of(key, time_ms, io)
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

impl<F, K, V> FilterGetter<F, K, V>
where
    F: Fn(&K, &V) -> bool,
{
    fn filtered(&self, key: &K, found: Option<Found<V>>) -> Option<Found<V>> {
        found.filter(|found| match found.value.as_ref() {
            Some(value) => (self.predicate)(key, value) == self.keep,
            None => false,
        })
    }
}

impl<K, V, F: Fn(&K, &V) -> bool> TableGetter<K, V> for FilterGetter<F, K, V> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V>>> {
        let found = self.parent.get(key, context)?;
        Ok(self.filtered(key, found))
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn get_as_of(
        &mut self,
        key: &K,
        time_ms: i64,
        context: &mut Context,
    ) -> Result<Option<Found<V>>> {
        let found = self.parent.get_as_of(key, time_ms, context)?;
        Ok(self.filtered(key, found))
    }
}

/// From the table before a map.
pub(crate) struct MapValuesGetter<F, K, V> {
    pub(crate) parent: Box<dyn TableGetter<K, V>>,
    pub(crate) mapper: Arc<F>,
}

impl<F, K, V> MapValuesGetter<F, K, V> {
    fn mapped<V2>(&self, key: &K, found: Option<Found<V>>) -> Option<Found<V2>>
    where
        F: Fn(&K, &V) -> V2,
    {
        found.and_then(|found| {
            let value = (self.mapper)(key, found.value.as_ref().as_ref()?);
            Some(Found {
                value: Rc::new(Some(value)),
                timestamp: found.timestamp,
            })
        })
    }
}

impl<K, V, V2, F: Fn(&K, &V) -> V2> TableGetter<K, V2> for MapValuesGetter<F, K, V> {
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<V2>>> {
        let found = self.parent.get(key, context)?;
        Ok(self.mapped(key, found))
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn get_as_of(
        &mut self,
        key: &K,
        time_ms: i64,
        context: &mut Context,
    ) -> Result<Option<Found<V2>>> {
        let found = self.parent.get_as_of(key, time_ms, context)?;
        Ok(self.mapped(key, found))
    }
}
