//! The typed view of a session store: a value for each key and session.
//!
//! With the record cache it finds what Kafka Streams' `CachingSessionStore` finds: everything the cache has, be it written
//! already and too old for the store below, and of the store what the cache does not have.

use super::session_rows::{CachedSession, SessionRows};
use super::view::{Below, Cause, View, split_session_key};
use super::window::Rest;
use super::{AnyState, Flushed, Found, StoreIo};
use crate::error::{Error, Result};
use crate::record::Headers;
use crate::serdes::BoxSerde;
use crate::topology::store::StateArguments;
use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;
use streams_state::Order;

const TIMES_LEN: usize = 16;

pub struct SessionState<K, V> {
    key: BoxSerde<K>,
    order: SessionOrder,
    /// Without a cache of its own: sessions have theirs here.
    view: View<V>,
    cache: Option<SessionRows<V>>,
    /// The row of the key that was set, once it was asked for.
    slot: Option<u32>,
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
        let mut view = View::new(Below::Session, value, arguments);
        SessionState {
            key,
            order,
            cache: view.cache.take().map(|_| SessionRows::new()),
            view,
            slot: None,
        }
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.cache.is_some()
    }

    /// Serializes a key for the calls that follow; false for a null key, which no store takes.
    pub(crate) fn set_key(&mut self, key: &K) -> Result<bool> {
        self.slot = None;
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

    /// Adds the sessions of the key given to [`SessionState::set_key`] that end at the one time or later and start at the other
    /// or earlier, by their end, then their start.
    pub(crate) fn find(
        &mut self,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        io: &StoreIo,
        found: &mut Vec<Session<V>>,
    ) -> Result<()> {
        if self.cache.is_some() {
            return self.find_cached(earliest_end_ms, latest_start_ms, io, found);
        }
        let key = &self.view.key_bytes[..self.view.key_bytes.len() - TIMES_LEN];
        let store = io.stores.session(self.view.index);
        for entry in store.find(key, earliest_end_ms, latest_start_ms, Order::Forward)? {
            let (session, value) = entry?;
            let (value, _) = self.view.read_value(&value)?;
            found.push(Session {
                start_ms: session.start_ms,
                end_ms: session.end_ms,
                value: Rc::new(Some(value)),
            });
        }
        Ok(())
    }

    fn find_cached(
        &mut self,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        io: &StoreIo,
        found: &mut Vec<Session<V>>,
    ) -> Result<()> {
        let slot = self.row(io);
        self.complete(slot, earliest_end_ms.max(0), io)?;
        let cache = self.cache.as_ref().expect("only called with a cache");
        let first_visible_ms = io.stores.session(self.view.index).first_visible_ms();
        for session in cache.row(slot).ending_from(earliest_end_ms) {
            let is_seen = !session.loaded || session.end_ms >= first_visible_ms;
            if session.start_ms <= latest_start_ms && is_seen && session.value.is_some() {
                found.push(Session {
                    start_ms: session.start_ms,
                    end_ms: session.end_ms,
                    value: session.value.clone(),
                });
            }
        }
        Ok(())
    }

    /// The cache's row of the current key, made if it is not there.
    #[inline]
    fn row(&mut self, io: &StoreIo) -> u32 {
        if let Some(slot) = self.slot {
            return slot;
        }
        let cache = self.cache.as_mut().expect("only called with a cache");
        let key = &self.view.key_bytes[..self.view.key_bytes.len() - TIMES_LEN];
        let slot = match cache.find(key) {
            Some(slot) => slot,
            None => {
                let store = io.stores.session(self.view.index);
                let left_ms = cache.left_ms(|| store.newest_end_ms());
                cache.add(key, left_ms.saturating_add(1))
            }
        };
        self.slot = Some(slot);
        slot
    }

    /// Sees to it that a row has all sessions of its key that end at this time or later.
    #[inline]
    fn complete(&mut self, slot: u32, from_ms: i64, io: &StoreIo) -> Result<()> {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let behind_ms = cache.row(slot).complete_from_ms;
        if from_ms >= behind_ms {
            return Ok(());
        }
        let store = io.stores.session(self.view.index);
        if from_ms <= cache.left_ms(|| store.newest_end_ms()) {
            let key = &self.view.key_bytes[..self.view.key_bytes.len() - TIMES_LEN];
            for entry in store.find(key, from_ms, i64::MAX, Order::Forward)? {
                let (session, value) = entry?;
                if session.end_ms >= behind_ms {
                    break;
                }
                let (value, _) = self.view.read_value(&value)?;
                let session = CachedSession::loaded(session.start_ms, session.end_ms, value);
                cache.load(slot, session);
            }
        }
        cache.set_complete(slot, from_ms);
        Ok(())
    }

    /// Removes a session of the key given to [`SessionState::set_key`].
    pub(crate) fn remove(
        &mut self,
        times_ms: (i64, i64),
        cause: Cause<'_>,
        io: &mut StoreIo,
    ) -> Result<()> {
        self.put(times_ms, self.view.absent.clone(), cause, io)
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
        if self.cache.is_none() {
            return self.view.put(value, cause, io).map(|_| ());
        }
        let slot = self.row(io);
        let cache = self.cache.as_mut().expect("checked above");
        let stored = end_ms < cache.row(slot).complete_from_ms;
        // What nobody has seen need not be deleted, neither below nor downstream.
        if value.is_none()
            && self.view.elides_tombstones
            && cache.remove_unseen(slot, (start_ms, end_ms))
        {
            return Ok(());
        }
        let is_bare = cause.headers.is_empty() && io.source.is_none();
        let rest = (!is_bare).then(|| {
            Rc::new(Rest {
                headers: cause.headers.clone(),
                source: io.source.clone(),
            })
        });
        cache.put(
            slot,
            (start_ms, end_ms),
            value,
            (cause.origin, rest),
            stored,
        );
        Ok(())
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
        if let Some(cache) = &self.cache {
            let key = &self.view.key_bytes[..self.view.key_bytes.len() - TIMES_LEN];
            if let Some(slot) = cache.find(key)
                && let Some(session) = cache.row(slot).find(start_ms, end_ms)
                && !session.loaded
            {
                return Ok(Found::held(&session.value, end_ms));
            }
        }
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
        for (key, session) in self.cache.iter().flat_map(SessionRows::iter) {
            let wanted = !session.loaded
                && session.end_ms >= earliest_end_ms
                && session.start_ms <= latest_start_ms
                && from.as_deref().is_none_or(|from| key >= from)
                && to.as_deref().is_none_or(|to| key <= to);
            if wanted {
                let place = self
                    .order
                    .place(key.to_vec(), session.start_ms, session.end_ms);
                found.insert(place, (session.start_ms, session.value.clone()));
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
        match self.write_next(with_old, io)? {
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

    fn write_next(&mut self, with_old: bool, io: &mut StoreIo) -> Result<Option<Flushed<V>>> {
        loop {
            let Some(cache) = &mut self.cache else {
                return Ok(None);
            };
            let Some((slot, session)) = cache.take_changed() else {
                return Ok(None);
            };
            self.slot = None;
            self.view.key_bytes.clear();
            self.view.key_bytes.extend_from_slice(cache.key(slot));
            if let Some(flushed) = self.write_session(session, with_old, io)? {
                return Ok(Some(flushed));
            }
        }
    }

    /// Writes a session of the key that the key bytes are. A tombstone for what the store does not have is neither written nor
    /// returned where somebody listens.
    fn write_session(
        &mut self,
        session: CachedSession<V>,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<Flushed<V>>> {
        let origin = session.origin();
        let CachedSession {
            start_ms,
            end_ms,
            value: new,
            rest,
            stored,
            ..
        } = session;
        self.view.key_bytes.extend_from_slice(&[0; TIMES_LEN]);
        self.set_session(start_ms, end_ms);
        let mut old = None;
        if (with_old || new.is_none()) && stored {
            old = self.view.load(io)?.map(|(value, _)| value);
        }
        if self.view.elides_tombstones && new.is_none() && old.is_none() {
            return Ok(None);
        }
        io.source = rest.as_ref().and_then(|rest| rest.source.clone());
        let timestamp = origin.timestamp;
        self.view
            .write(new.as_ref().as_ref(), timestamp, timestamp, io)?;
        if let Some(cache) = &mut self.cache {
            cache.note_encoded_len(self.view.value_bytes.len());
        }
        Ok(Some(Flushed {
            old: match old.filter(|_| with_old) {
                None => self.view.absent.clone(),
                old => Rc::new(old),
            },
            timestamp,
            new,
            origin,
            headers: rest.map_or_else(Headers::new, |rest| rest.headers.clone()),
        }))
    }

    /// Begins to make room in the cache, down to `target_bytes`, with the sessions that end before this time.
    pub(crate) fn begin_eviction(&mut self, cold_before_ms: i64, target_bytes: usize) {
        if let Some(cache) = &mut self.cache {
            cache.begin_eviction(cold_before_ms, target_bytes);
        }
    }

    /// Writes the changed ones of the sessions of a key that leave the cache, and returns them; `None` when there is room.
    pub(crate) fn evict_next(
        &mut self,
        with_old: bool,
        io: &mut StoreIo,
    ) -> Result<Option<Vec<FlushedSession<K, V>>>> {
        let Some(cache) = &mut self.cache else {
            return Ok(None);
        };
        let Some((key, leaving)) = cache.evict_next() else {
            return Ok(None);
        };
        self.slot = None;
        let changed = leaving
            .iter()
            .filter(|session| session.is_changed())
            .count();
        let mut evicted = Vec::with_capacity(changed);
        for session in leaving {
            if !session.is_changed() {
                continue;
            }
            let times = (session.start_ms, session.end_ms);
            self.view.key_bytes.clear();
            self.view.key_bytes.extend_from_slice(&key);
            if let Some(flushed) = self.write_session(session, with_old, io)? {
                evicted.push((self.key.deserialize(&key)?, times, flushed));
            }
        }
        Ok(Some(evicted))
    }
}

impl<K: 'static, V: 'static> AnyState for SessionState<K, V> {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, SessionRows::bytes)
    }

    fn forget_clean(&mut self) {
        self.slot = None;
        if let Some(cache) = &mut self.cache {
            cache.forget_clean();
        }
    }

    fn write_changed(&mut self, io: &mut StoreIo) -> Result<bool> {
        while !io.effects.are_many() {
            if self.write_next(false, io)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn prefetch(&mut self, keys: &[&[u8]], _io: &StoreIo) {
        if let Some(cache) = &self.cache {
            let prefetches = &mut self.view.prefetches;
            prefetches.cached(keys, cache.bytes(), |keys| cache.prefetch(keys));
        }
    }
}
