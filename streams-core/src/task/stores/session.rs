//! The typed view of a session store: a value for each key and session.
//!
//! With the record cache it finds what Kafka Streams' `CachingSessionStore` finds: everything the cache has, be it written
//! already and too old for the store below, and of the store what the cache does not have.

use super::view::{Below, Cause, View, split_session_key};
use super::{AnyState, Flushed, Found, StoreIo};
use crate::error::{Error, Result};
use crate::serdes::BoxSerde;
use crate::topology::store::StateArguments;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use streams_state::Order;

const TIMES_LEN: usize = 16;

pub struct SessionState<K, V> {
    key: BoxSerde<K>,
    order: SessionOrder,
    view: View<V>,
    /// The keys of the cache's entries, to find those of one record key.
    cached: BTreeSet<Box<[u8]>>,
}

/// Key, start and end of a session, and its change.
pub(crate) type FlushedSession<K, V> = (K, (i64, i64), Flushed<V>);

/// A session that was found.
pub(crate) struct Session<V> {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) value: Rc<Option<V>>,
}

/// How the store below orders sessions when it scans them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionOrder {
    /// By end, key and start, the last start first: Kafka's `InMemorySessionStore`.
    ByEnd,
    /// By segment of the end, key, end and start.
    BySegment { segment_ms: i64 },
}

/// The place of a session in a scan: segment or end, key, end, start or the negated start.
type Place = (i64, Vec<u8>, i64, i64);

impl SessionOrder {
    fn place(self, key: Vec<u8>, start_ms: i64, end_ms: i64) -> Place {
        match self {
            SessionOrder::ByEnd => (end_ms, key, end_ms, -start_ms),
            SessionOrder::BySegment { segment_ms } => {
                (end_ms.div_euclid(segment_ms), key, end_ms, start_ms)
            }
        }
    }
}

/// The first and the last key of a scan, `None` being open.
pub(crate) type Keys<'a, K> = (Option<&'a K>, Option<&'a K>);

impl<K: 'static, V: 'static> SessionState<K, V> {
    pub(crate) fn new(
        key: BoxSerde<K>,
        value: BoxSerde<V>,
        order: SessionOrder,
        arguments: &StateArguments,
    ) -> Self {
        SessionState {
            key,
            order,
            view: View::new(Below::Session, value, arguments),
            cached: BTreeSet::new(),
        }
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.view.cache.is_some()
    }

    /// Serializes a key for the calls that follow; false for a null key, which no store takes.
    pub(crate) fn set_key(&mut self, key: &K) -> Result<bool> {
        self.view.key_bytes.clear();
        let present = self.key.serialize_nullable(key, &mut self.view.key_bytes)?;
        self.view.key_bytes.extend_from_slice(&[0; TIMES_LEN]);
        Ok(present)
    }

    fn set_session(&mut self, start_ms: i64, end_ms: i64) {
        let at = self.view.key_bytes.len() - TIMES_LEN;
        self.view.key_bytes[at..at + 8].copy_from_slice(&end_ms.to_be_bytes());
        self.view.key_bytes[at + 8..].copy_from_slice(&start_ms.to_be_bytes());
    }

    /// The key given to [`SessionState::set_key`], once more.
    pub(crate) fn copy_key(&self) -> Result<K> {
        let key = &self.view.key_bytes[..self.view.key_bytes.len() - TIMES_LEN];
        Ok(self.key.deserialize(key)?)
    }

    /// The sessions of the key given to [`SessionState::set_key`] that end at the one time or later and start at the other
    /// or earlier, by their end, then their start.
    pub(crate) fn find(
        &mut self,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        io: &StoreIo,
    ) -> Result<Vec<Session<V>>> {
        let key = &self.view.key_bytes[..self.view.key_bytes.len() - TIMES_LEN];
        let mut found = BTreeMap::new();
        for entry in io.stores.session(self.view.index).find(
            key,
            earliest_end_ms,
            latest_start_ms,
            Order::Forward,
        )? {
            let (session, value) = entry?;
            let (value, _) = self.view.read_value(&value)?;
            found.insert((session.end_ms, session.start_ms), Rc::new(Some(value)));
        }
        if let Some(cache) = &self.view.cache {
            let lower = [key, &earliest_end_ms.max(0).to_be_bytes()].concat();
            let ours = self
                .cached
                .range::<[u8], _>((Bound::Included(lower.as_slice()), Bound::Unbounded))
                .take_while(|cached| cached.starts_with(key));
            for cached in ours {
                let (cached_key, start_ms, end_ms) = split_session_key(cached);
                if cached_key != key || start_ms > latest_start_ms {
                    continue;
                }
                if let Some(slot) = cache.find(cached) {
                    found.insert((end_ms, start_ms), cache.entry(slot).value.clone());
                }
            }
        }
        Ok(found
            .into_iter()
            .filter(|(_, value)| value.is_some())
            .map(|((end_ms, start_ms), value)| Session {
                start_ms,
                end_ms,
                value,
            })
            .collect())
    }

    /// Sets the value of a session of the key given to [`SessionState::set_key`], `None` removes it.
    pub(crate) fn put(
        &mut self,
        (start_ms, end_ms): (i64, i64),
        value: Rc<Option<V>>,
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<()> {
        self.set_session(start_ms, end_ms);
        if self.view.cache.is_some() && !self.cached.contains(self.view.key_bytes.as_slice()) {
            self.cached.insert(self.view.key_bytes.as_slice().into());
        }
        self.view.put(value, cause, io).map(|_| ())
    }

    /// The value of a session.
    pub(crate) fn get(
        &mut self,
        key: &K,
        (start_ms, end_ms): (i64, i64),
        io: &StoreIo,
    ) -> Result<Option<Found<V>>> {
        if !self.set_key(key)? {
            return Ok(None);
        }
        self.set_session(start_ms, end_ms);
        self.view.peek(io)
    }

    /// The sessions of all keys that end between the bounds, both included, by their end, their start and their key. Of a
    /// store in the order of time, without a cache.
    pub(crate) fn find_ended(
        &self,
        earliest_end_ms: i64,
        latest_end_ms: i64,
        io: &StoreIo,
    ) -> Result<Vec<(K, Session<V>)>> {
        let mut found = Vec::new();
        for entry in io
            .stores
            .session(self.view.index)
            .find_ended(earliest_end_ms, latest_end_ms)?
        {
            let (session, value) = entry?;
            let (value, _) = self.view.read_value(&value)?;
            found.push((
                self.key.deserialize(&session.key)?,
                Session {
                    start_ms: session.start_ms,
                    end_ms: session.end_ms,
                    value: Rc::new(Some(value)),
                },
            ));
        }
        Ok(found)
    }

    /// The sessions of a range of keys that end at the one time or later and start at the other or earlier, in the order of
    /// the store below, changes in the cache included.
    pub(crate) fn scan(
        &mut self,
        (from, to): Keys<'_, K>,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        io: &StoreIo,
    ) -> Result<Vec<(K, Session<V>)>> {
        let bound = |key: Option<&K>| {
            let mut bytes = Vec::new();
            match key {
                Some(key) if self.key.serialize_nullable(key, &mut bytes)? => Ok(Some(bytes)),
                _ => Ok::<_, Error>(None),
            }
        };
        let (from, to) = (bound(from)?, bound(to)?);
        let mut found = BTreeMap::new();
        for entry in io.stores.session(self.view.index).find_keys(
            from.as_deref(),
            to.as_deref(),
            earliest_end_ms,
            latest_start_ms,
            Order::Forward,
        )? {
            let (session, value) = entry?;
            let (value, _) = self.view.read_value(&value)?;
            let (start_ms, end_ms) = (session.start_ms, session.end_ms);
            let place = self.order.place(session.key, start_ms, end_ms);
            found.insert(place, (start_ms, Rc::new(Some(value))));
        }
        if let Some(cache) = &self.view.cache {
            for cached in &self.cached {
                let (key, start_ms, end_ms) = split_session_key(cached);
                let wanted = end_ms >= earliest_end_ms
                    && start_ms <= latest_start_ms
                    && from.as_deref().is_none_or(|from| key >= from)
                    && to.as_deref().is_none_or(|to| key <= to);
                if !wanted {
                    continue;
                }
                if let Some(slot) = cache.find(cached) {
                    let value = cache.entry(slot).value.clone();
                    let place = self.order.place(key.to_vec(), start_ms, end_ms);
                    found.insert(place, (start_ms, value));
                }
            }
        }
        found
            .into_iter()
            .filter(|(_, (_, value))| value.is_some())
            .map(|((_, key, end_ms, _), (start_ms, value))| {
                let session = Session {
                    start_ms,
                    end_ms,
                    value,
                };
                Ok((self.key.deserialize(&key)?, session))
            })
            .collect()
    }

    /// Writes the next changed entry of the cache and returns it, `None` when the flush is done.
    pub(crate) fn flush_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<FlushedSession<K, V>>> {
        match self.view.flush_next(with_old, io)? {
            None => Ok(None),
            Some(flushed) => {
                let (key, start_ms, end_ms) = split_session_key(&self.view.key_bytes);
                Ok(Some((
                    self.key.deserialize(key)?,
                    (start_ms, end_ms),
                    flushed,
                )))
            }
        }
    }
}

impl<K: 'static, V: 'static> AnyState for SessionState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        let keys: usize = self.cached.iter().map(|key| key.len()).sum();
        self.view.memory_bytes() + keys
    }

    fn forget_clean(&mut self) {
        self.view.forget_clean();
        if let Some(cache) = &self.view.cache {
            self.cached.retain(|key| cache.find(key).is_some());
        }
    }

    fn write_changed(&mut self, io: &mut StoreIo) -> Result<()> {
        self.view.write_changed(io)
    }
}
