//! Session stores as processors use them.

use super::key_value::null_key;
use crate::error::{Error, Result};
use crate::task::context::Context;
use crate::task::stores::{Cause, SessionState};
use crate::windowed::{Window, Windowed};
use std::marker::PhantomData;
use std::rc::Rc;

/// An opened [`SessionStore`](super::SessionStore).
pub struct SessionAccess<'a, K, V> {
    pub(super) context: &'a mut Context,
    pub(super) index: usize,
    pub(super) cause: Cause<'a>,
    pub(super) types: PhantomData<fn(K) -> V>,
}

fn own<V: Clone>(value: Rc<Option<V>>) -> Option<V> {
    match Rc::try_unwrap(value) {
        Ok(value) => value,
        Err(shared) => shared.as_ref().clone(),
    }
}

impl<K: 'static, V: 'static> SessionAccess<'_, K, V> {
    /// The value of one session, whose bounds are in milliseconds.
    ///
    /// # Errors
    /// When the store cannot be read or its bytes are no `V`.
    pub fn fetch_session(&mut self, key: &K, start_ms: i64, end_ms: i64) -> Result<Option<V>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<SessionState<K, V>>(self.index);
        let found = state.get(key, (start_ms, end_ms), io)?;
        Ok(found.and_then(|found| own(found.value)))
    }

    /// The sessions of a key that end at the one time or later and start at the other or earlier (milliseconds), by their
    /// end, then their start.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_sessions(
        &mut self,
        key: &K,
        earliest_end_ms: i64,
        latest_start_ms: i64,
    ) -> Result<Vec<(Window, V)>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<SessionState<K, V>>(self.index);
        if !state.set_key(key)? {
            return Err(null_key());
        }
        let mut found = Vec::new();
        state.find(earliest_end_ms, latest_start_ms, io, &mut found)?;
        Ok(found
            .into_iter()
            .filter_map(|session| {
                let window = Window::new(session.start_ms, session.end_ms);
                Some((window, own(session.value)?))
            })
            .collect())
    }

    /// As [`SessionAccess::find_sessions`], the last one first.
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn backward_find_sessions(
        &mut self,
        key: &K,
        earliest_end_ms: i64,
        latest_start_ms: i64,
    ) -> Result<Vec<(Window, V)>>
    where
        V: Clone,
    {
        let mut found = self.find_sessions(key, earliest_end_ms, latest_start_ms)?;
        found.reverse();
        Ok(found)
    }

    /// All sessions of a key, by their end, then their start.
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn fetch(&mut self, key: &K) -> Result<Vec<(Window, V)>>
    where
        V: Clone,
    {
        self.find_sessions(key, 0, i64::MAX)
    }

    /// As [`SessionAccess::fetch`], the last one first.
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn backward_fetch(&mut self, key: &K) -> Result<Vec<(Window, V)>>
    where
        V: Clone,
    {
        self.backward_find_sessions(key, 0, i64::MAX)
    }

    /// The sessions of the keys between bounds, both included and `None` being open, that end at the one time or later and
    /// start at the other or earlier (milliseconds). A store on disk has them by segment, key, end and start, one in memory
    /// by end, key and start, the last start first.
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn find_sessions_of_keys(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
        earliest_end_ms: i64,
        latest_start_ms: i64,
    ) -> Result<Vec<(Windowed<K>, V)>>
    where
        V: Clone,
    {
        let (state, io) = self.context.state::<SessionState<K, V>>(self.index);
        let found = state.scan((from, to), earliest_end_ms, latest_start_ms, io)?;
        Ok(found
            .into_iter()
            .filter_map(|(key, session)| {
                let window = Window::new(session.start_ms, session.end_ms);
                Some((Windowed { key, window }, own(session.value)?))
            })
            .collect())
    }

    /// As [`SessionAccess::find_sessions_of_keys`], the other way round.
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn backward_find_sessions_of_keys(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
        earliest_end_ms: i64,
        latest_start_ms: i64,
    ) -> Result<Vec<(Windowed<K>, V)>>
    where
        V: Clone,
    {
        let mut found = self.find_sessions_of_keys(from, to, earliest_end_ms, latest_start_ms)?;
        found.reverse();
        Ok(found)
    }

    /// All sessions of the keys between bounds, both included and `None` being open, in the order of
    /// [`SessionAccess::find_sessions_of_keys`].
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn fetch_keys(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(Windowed<K>, V)>>
    where
        V: Clone,
    {
        self.find_sessions_of_keys(from, to, 0, i64::MAX)
    }

    /// As [`SessionAccess::fetch_keys`], the other way round.
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn backward_fetch_keys(
        &mut self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<Vec<(Windowed<K>, V)>>
    where
        V: Clone,
    {
        self.backward_find_sessions_of_keys(from, to, 0, i64::MAX)
    }

    /// All sessions of all keys, in the order of [`SessionAccess::find_sessions_of_keys`].
    ///
    /// # Errors
    /// As [`SessionAccess::find_sessions`].
    pub fn all(&mut self) -> Result<Vec<(Windowed<K>, V)>>
    where
        V: Clone,
    {
        self.fetch_keys(None, None)
    }

    /// Sets the value of a session.
    ///
    /// # Errors
    /// When the session starts before the epoch or ends before it starts, the store cannot be written or the value not serialized.
    pub fn put(&mut self, key: &K, start_ms: i64, end_ms: i64, value: V) -> Result<()> {
        self.write(key, (start_ms, end_ms), Some(value))
    }

    /// Removes a session.
    ///
    /// # Errors
    /// As [`SessionAccess::put`].
    pub fn remove(&mut self, key: &K, start_ms: i64, end_ms: i64) -> Result<()> {
        self.write(key, (start_ms, end_ms), None)
    }

    fn write(&mut self, key: &K, session: (i64, i64), value: Option<V>) -> Result<()> {
        let (start_ms, end_ms) = session;
        if start_ms < 0 || end_ms < start_ms {
            return Err(Error::data(format!(
                "a session from {start_ms} to {end_ms} ms starts before the epoch or ends before it starts"
            )));
        }
        let (state, io) = self.context.state::<SessionState<K, V>>(self.index);
        if !state.set_key(key)? {
            return Err(null_key());
        }
        state.put(session, Rc::new(value), self.cause, io)
    }
}
