//! The typed view of a key-value store: timestamped, plain or versioned.

use super::merged::Merged;
use super::view::{Below, Cause, Placement, Updated, View};
use super::{AnyState, Flushed, Found, StoreIo};
use crate::error::Result;
use crate::serdes::BoxSerde;
use crate::topology::store::StateArguments;
use std::any::Any;
use std::rc::Rc;
use streams_state::Order;

pub struct KeyValueState<K, V> {
    key: BoxSerde<K>,
    view: View<V>,
}

impl<K: 'static, V: 'static> KeyValueState<K, V> {
    /// Over a store without versions.
    pub(crate) fn new(key: BoxSerde<K>, value: BoxSerde<V>, arguments: &StateArguments) -> Self {
        KeyValueState {
            key,
            view: View::new(Below::KeyValue, value, arguments),
        }
    }

    /// Over a versioned store: reads show the latest version of a key, and puts add the version of their timestamp.
    pub(crate) fn versioned(
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        arguments: &StateArguments,
    ) -> Self {
        KeyValueState {
            key,
            view: View::new(Below::Versioned, value, arguments),
        }
    }

    /// The same of limited size: the keys that were not used for longest go first.
    pub(crate) fn limited(mut self, max_entries: usize) -> Self {
        self.view.limit_entries(max_entries);
        self
    }

    pub(crate) fn is_versioned(&self) -> bool {
        self.view.is_versioned()
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.view.cache.is_some()
    }

    /// Serializes a key for the calls that follow; false for a null key, which no store takes.
    #[inline]
    fn set_key(&mut self, key: &K) -> Result<bool> {
        self.view.key_bytes.clear();
        Ok(self.key.serialize_nullable(key, &mut self.view.key_bytes)?)
    }

    /// The value of a key, for a look at it: cheaper than [`KeyValueState::get`], but hardly ever the caller's own.
    pub(crate) fn look_up(&mut self, key: &K, io: &StoreIo) -> Result<Option<Found<V>>> {
        match self.set_key(key)? {
            true => self.view.look_up(io),
            false => Ok(None),
        }
    }

    /// The value of a key, which leaves the cache as it is.
    pub(crate) fn peek(&mut self, key: &K, io: &StoreIo) -> Result<Option<Found<V>>> {
        match self.set_key(key)? {
            true => self.view.peek(io),
            false => Ok(None),
        }
    }

    /// The value of a key, the caller's own unless the cache has it.
    pub(crate) fn get(&mut self, key: &K, io: &StoreIo) -> Result<Option<Found<V>>> {
        match self.set_key(key)? {
            true => self.view.get(io),
            false => Ok(None),
        }
    }

    /// The value a key had at a time: only over a versioned store.
    pub(crate) fn get_as_of(
        &mut self,
        key: &K,
        time_ms: i64,
        io: &StoreIo,
    ) -> Result<Option<Found<V>>> {
        match self.set_key(key)? {
            true => self.view.get_as_of(time_ms, io),
            false => Ok(None),
        }
    }

    /// Sets the value of a key, `None` deletes; false for a null key, which is left to the caller.
    pub(crate) fn put(
        &mut self,
        key: &K,
        value: Rc<Option<V>>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<bool> {
        Ok(self.place(key, value, cause, io)?.is_some())
    }

    /// Sets the value of a key, `None` deletes, and tells where it came to lie; `None` for a null key, which is left to the
    /// caller.
    pub(crate) fn place(
        &mut self,
        key: &K,
        value: Rc<Option<V>>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<Option<Placement>> {
        match self.set_key(key)? {
            true => self.view.put(value, cause, io).map(Some),
            false => Ok(None),
        }
    }

    /// Changes the value of a key in place; `None` for a null key, which is left to the caller to count.
    #[inline]
    pub(crate) fn update(
        &mut self,
        key: &K,
        cause: Cause<'_>,
        with_old: bool,
        io: &mut StoreIo,
        change: impl FnOnce(&mut Option<V>),
    ) -> Result<Option<Updated<V>>> {
        match self.set_key(key)? {
            true => self.view.update(cause, with_old, io, change).map(Some),
            false => Ok(None),
        }
    }

    /// Writes the next changed entry of the cache and returns it with its key, `None` when the flush is done.
    pub(crate) fn flush_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<(K, Flushed<V>)>> {
        match self.view.flush_next(with_old, io)? {
            None => Ok(None),
            Some(flushed) => {
                let key = self.key.deserialize(&self.view.key_bytes)?;
                Ok(Some((key, flushed)))
            }
        }
    }

    /// All entries with keys between the bounds (inclusive), in the order of their bytes, with what the cache holds back.
    pub(crate) fn range<'a>(
        &'a mut self,
        from: Option<&K>,
        to: Option<&K>,
        order: Order,
        io: &'a mut StoreIo,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'a, K, V>> {
        let bound = |key: Option<&K>| -> Result<Option<Vec<u8>>> {
            let Some(key) = key else { return Ok(None) };
            let mut bytes = Vec::new();
            self.key.serialize(key, &mut bytes)?;
            Ok(Some(bytes))
        };
        let (from, to) = (bound(from)?, bound(to)?);
        let changes = self.view.changes(|key| {
            let inside = from.as_deref().is_none_or(|from| from <= key)
                && to.as_deref().is_none_or(|to| key <= to);
            inside.then(|| key.to_vec())
        })?;
        let entries =
            io.stores
                .key_value(self.view.index)
                .range(from.as_deref(), to.as_deref(), order)?;
        let (key_serde, view) = (&self.key, &self.view);
        Ok(Merged::new(entries, changes, order).map(move |entry| {
            let (key, value) = entry?;
            let (value, timestamp) = view.read_value(&value)?;
            Ok((key_serde.deserialize(&key)?, value, timestamp))
        }))
    }

    /// All entries whose keys' bytes begin with these, in the order of their bytes, with what the cache holds back.
    pub(crate) fn prefix_scan<'a>(
        &'a mut self,
        prefix: Vec<u8>,
        io: &'a mut StoreIo,
    ) -> Result<impl Iterator<Item = Result<(K, V, i64)>> + use<'a, K, V>> {
        let changes = self
            .view
            .changes(|key| key.starts_with(&prefix).then(|| key.to_vec()))?;
        let entries = io.stores.key_value(self.view.index).prefix_scan(&prefix)?;
        let (key_serde, view) = (&self.key, &self.view);
        let merged = Merged::new(entries, changes, Order::Forward);
        Ok(merged.map(move |entry| {
            let (key, value) = entry?;
            let (value, timestamp) = view.read_value(&value)?;
            Ok((key_serde.deserialize(&key)?, value, timestamp))
        }))
    }

    /// About how many entries there are.
    pub(crate) fn approximate_len(&self, io: &StoreIo) -> Result<u64> {
        Ok(io.stores.key_value(self.view.index).approximate_len()?)
    }
}

impl<K: 'static, V: 'static> AnyState for KeyValueState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        self.view.memory_bytes()
    }

    fn forget_clean(&mut self) {
        self.view.forget_clean();
    }

    fn write_changed(&mut self, io: &mut StoreIo) -> Result<bool> {
        self.view.write_changed(io)
    }

    fn prefetch(&mut self, keys: &[&[u8]], io: &StoreIo) {
        self.view.prefetch(keys, io);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;
    use crate::serdes::Utf8;
    use crate::task::stores::Origin;
    use std::sync::Arc;
    use streams_state::{StoreBackend, StoreResources, StoreSpec, TaskStores};

    const CAUSE: Cause<'static> = Cause {
        timestamp: 1,
        origin: Origin::DEAD_LETTER,
        headers: &Headers::new(),
    };

    fn state(cached: bool) -> (KeyValueState<String, String>, StoreIo) {
        let arguments = StateArguments {
            index: 0,
            window_order: None,
            changelog: None,
            cached,
            elides_tombstones: false,
            timestamped: true,
            timed: false,
            max_entries: None,
        };
        let specs = [StoreSpec::key_value("rows", StoreBackend::Memory)];
        let stores = TaskStores::open(None, &specs, &StoreResources::in_memory());
        let io = StoreIo::new(stores.expect("in memory"));
        let state = KeyValueState::new(Arc::new(Utf8), Arc::new(Utf8), &arguments);
        (state, io)
    }

    fn put(state: &mut KeyValueState<String, String>, key: usize, value: &str, io: &mut StoreIo) {
        let value = Rc::new(Some(value.to_owned()));
        let put = state.put(&key.to_string(), value, CAUSE, io);
        assert!(put.expect("it can be written"));
    }

    fn look_up(
        state: &mut KeyValueState<String, String>,
        key: usize,
        io: &StoreIo,
    ) -> Option<Rc<Option<String>>> {
        let found = state.look_up(&key.to_string(), io);
        let found = found.expect("it can be read");
        found.map(|found| found.value)
    }

    fn text(value: &Option<Rc<Option<String>>>) -> Option<&str> {
        value.as_ref()?.as_deref()
    }

    #[test]
    fn a_value_that_was_looked_up_stays_while_somebody_has_it() {
        let (mut state, mut io) = state(false);
        put(&mut state, 1, "one", &mut io);
        put(&mut state, 2, "two", &mut io);
        let first = look_up(&mut state, 1, &io);
        let second = look_up(&mut state, 2, &io);
        assert_eq!((text(&first), text(&second)), (Some("one"), Some("two")));
        assert_eq!(look_up(&mut state, 3, &io), None);
        drop((first, second));
        assert_eq!(text(&look_up(&mut state, 1, &io)), Some("one"));
    }

    #[test]
    fn values_that_pass_by_the_cache_are_those_of_store_and_cache() {
        let (mut state, mut io) = state(true);
        let flush = |state: &mut KeyValueState<String, String>, io: &mut StoreIo| {
            while state.flush_next(false, io).expect("written").is_some() {}
            state.forget_clean();
        };
        for key in 0..100 {
            put(&mut state, key, &format!("value {key}"), &mut io);
        }
        flush(&mut state, &mut io);
        for round in 0..3 {
            for key in 0..100 {
                let expected = format!("value {key}");
                assert_eq!(text(&look_up(&mut state, key, &io)), Some(&*expected));
            }
            let held = state.view.cache.as_ref().expect("it is cached").bytes();
            assert_eq!(held > 0, round == 0, "only the first values are kept");
            flush(&mut state, &mut io);
        }
        put(&mut state, 7, "new", &mut io);
        assert_eq!(text(&look_up(&mut state, 7, &io)), Some("new"));
        assert_eq!(text(&look_up(&mut state, 8, &io)), Some("value 8"));
        flush(&mut state, &mut io);
        assert_eq!(text(&look_up(&mut state, 7, &io)), Some("new"));
    }
}
