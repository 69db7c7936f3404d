//! The record cache of a session store: one row for each key with all its sessions, the order in which they changed, and which
//! go when memory is short.
//!
//! What is observable is Kafka Streams' `NamedCache`, as in the cache of windows.

use super::cache::Origin;
use super::keyed_rows::KeyedRows;
use super::sweep::Sweep;
use super::window::Rest;
use std::mem::needs_drop;
use std::rc::Rc;

/// A session in the cache; in a row they lie by end, then start.
pub(super) struct CachedSession<V> {
    pub(super) end_ms: i64,
    pub(super) start_ms: i64,
    pub(super) value: Rc<Option<V>>,
    /// When it was last changed by the cache's own count; 0 is unchanged since it was last written.
    changed: u64,
    /// The parts of its [`Origin`], which would take a word more; [`NO_INPUT`] in place of none.
    input: u32,
    offset: i64,
    timestamp: i64,
    /// What is rarely there.
    pub(super) rest: Option<Rc<Rest>>,
    /// Whether the store below may have it.
    pub(super) stored: bool,
    /// Whether it was only read from the store below, so that it is to be seen no longer than there.
    pub(super) loaded: bool,
}

/// Tasks have fewer inputs.
const NO_INPUT: u32 = u32::MAX;

impl<V> CachedSession<V> {
    /// A session that is not changed.
    fn new((start_ms, end_ms): (i64, i64), value: Rc<Option<V>>) -> Self {
        CachedSession {
            end_ms,
            start_ms,
            value,
            changed: 0,
            input: NO_INPUT,
            offset: 0,
            timestamp: 0,
            rest: None,
            stored: false,
            loaded: false,
        }
    }

    pub(super) fn loaded(start_ms: i64, end_ms: i64, value: V) -> Self {
        CachedSession {
            stored: true,
            loaded: true,
            ..CachedSession::new((start_ms, end_ms), Rc::new(Some(value)))
        }
    }

    /// Takes note of a change.
    fn touch(&mut self, changed: u64, origin: Origin, rest: Option<Rc<Rest>>) {
        self.changed = changed;
        self.input = origin.input.unwrap_or(NO_INPUT);
        self.offset = origin.offset;
        self.timestamp = origin.timestamp;
        self.rest = rest;
    }

    /// What changed it last.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            input: (self.input != NO_INPUT).then_some(self.input),
            offset: self.offset,
            timestamp: self.timestamp,
        }
    }

    fn place(&self) -> (i64, i64) {
        (self.end_ms, self.start_ms)
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed != 0
    }
}

/// The sessions of one key.
pub(super) struct SessionRow<V> {
    sessions: Vec<CachedSession<V>>,
    /// What the store below has of this key that ends here or later is in the row.
    pub(super) complete_from_ms: i64,
    listed: bool,
}

impl<V> SessionRow<V> {
    /// The sessions that end at this time or later.
    #[inline]
    pub(super) fn ending_from(&self, end_ms: i64) -> &[CachedSession<V>] {
        let first = self
            .sessions
            .partition_point(|session| session.end_ms < end_ms);
        &self.sessions[first..]
    }

    fn position(&self, place: (i64, i64)) -> std::result::Result<usize, usize> {
        self.sessions
            .binary_search_by_key(&place, CachedSession::place)
    }

    pub(super) fn find(&self, start_ms: i64, end_ms: i64) -> Option<&CachedSession<V>> {
        let at = self.position((end_ms, start_ms)).ok()?;
        Some(&self.sessions[at])
    }

    fn bytes(&self) -> usize {
        self.sessions.capacity() * size_of::<CachedSession<V>>()
    }
}

/// Sessions of a row that leave the cache.
type Leaving<V> = Vec<CachedSession<V>>;

pub(super) struct SessionRows<V> {
    rows: KeyedRows<SessionRow<V>>,
    clock: u64,
    /// Rows with changes.
    listed: Vec<u32>,
    /// Changed sessions of a flush under way, the next one last: when they changed, row, end and start.
    flushing: Vec<(u64, u32, (i64, i64))>,
    /// What the rows' vectors hold.
    row_bytes: usize,
    sessions: usize,
    /// The store below has no session that ends later than this and is not here: the last one that it had at the beginning, or
    /// that has left since.
    left_ms: Option<i64>,
    /// How long a value was when it was last read or written as bytes: what values are taken to hold on the heap.
    encoded_len: usize,
    cold_before_ms: i64,
    sweep: Sweep,
}

impl<V> SessionRows<V> {
    pub(super) fn new() -> Self {
        SessionRows {
            rows: KeyedRows::new(),
            clock: 0,
            listed: Vec::new(),
            flushing: Vec::new(),
            row_bytes: 0,
            sessions: 0,
            left_ms: None,
            encoded_len: 0,
            cold_before_ms: 0,
            sweep: Sweep::default(),
        }
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.rows.find(key)
    }

    /// Touches the last sessions of these keys, and returns how many of the keys are here.
    pub(super) fn prefetch(&self, keys: &[&[u8]]) -> usize {
        let last_is_there = |row: &SessionRow<V>| {
            let last = row.sessions.last();
            last.is_some_and(|session| session.value.is_some())
        };
        self.rows.prefetch(keys, last_is_there)
    }

    /// The last end at which the store below may have a session that is not here. At the beginning it is told by the store.
    #[inline]
    pub(super) fn left_ms(&mut self, in_store_ms: impl FnOnce() -> i64) -> i64 {
        *self.left_ms.get_or_insert_with(in_store_ms)
    }

    pub(super) fn add(&mut self, key: &[u8], complete_from_ms: i64) -> u32 {
        let row = SessionRow {
            sessions: Vec::new(),
            complete_from_ms,
            listed: false,
        };
        self.rows.insert(key, row)
    }

    #[inline]
    pub(super) fn row(&self, slot: u32) -> &SessionRow<V> {
        self.rows.row(slot)
    }

    pub(super) fn set_complete(&mut self, slot: u32, from_ms: i64) {
        self.rows.row_mut(slot).complete_from_ms = from_ms;
    }

    pub(super) fn key(&self, slot: u32) -> &[u8] {
        self.rows.get(slot).map_or(&[], |row| &*row.key)
    }

    /// Every session with its key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &CachedSession<V>)> {
        self.rows.iter().flat_map(|(_, row)| {
            let sessions = row.row.sessions.iter();
            sessions.map(|session| (&*row.key, session))
        })
    }

    /// Adds a session as the store below has it, unless the cache knows better.
    pub(super) fn load(&mut self, slot: u32, session: CachedSession<V>) {
        if let Err(at) = self.rows.row(slot).position(session.place()) {
            self.insert(slot, at, session);
        }
    }

    fn insert(&mut self, slot: u32, at: usize, session: CachedSession<V>) {
        let row = self.rows.row_mut(slot);
        let before = row.bytes();
        if row.sessions.len() == row.sessions.capacity() {
            row.sessions.reserve_exact((row.sessions.len() / 2).max(3));
        }
        row.sessions.insert(at, session);
        self.row_bytes += row.bytes() - before;
        self.sessions += 1;
    }

    /// Sets a session's value. `stored` says whether the store below may have a session that the cache does not have.
    pub(super) fn put(
        &mut self,
        slot: u32,
        (start_ms, end_ms): (i64, i64),
        value: Rc<Option<V>>,
        (origin, rest): (Origin, Option<Rc<Rest>>),
        stored: bool,
    ) {
        self.clock += 1;
        let changed = self.clock;
        match self.rows.row(slot).position((end_ms, start_ms)) {
            Ok(at) => {
                let session = &mut self.rows.row_mut(slot).sessions[at];
                session.value = value;
                session.loaded = false;
                session.touch(changed, origin, rest);
            }
            Err(at) => {
                let mut session = CachedSession::new((start_ms, end_ms), value);
                session.stored = stored;
                session.touch(changed, origin, rest);
                self.insert(slot, at, session);
            }
        }
        let row = self.rows.row_mut(slot);
        if !row.listed {
            row.listed = true;
            self.listed.push(slot);
        }
    }

    /// Drops a session that nobody has seen; false if the store below may have it.
    pub(super) fn remove_unseen(&mut self, slot: u32, (start_ms, end_ms): (i64, i64)) -> bool {
        let row = self.rows.row_mut(slot);
        match row.position((end_ms, start_ms)) {
            Ok(at) if !row.sessions[at].stored => {
                row.sessions.remove(at);
                self.sessions -= 1;
                true
            }
            _ => false,
        }
    }

    pub(super) fn note_encoded_len(&mut self, encoded_len: usize) {
        self.encoded_len = encoded_len;
    }

    pub(super) fn bytes(&self) -> usize {
        // A value lies behind an `Rc` with its two counts.
        let each = size_of::<Option<V>>() + 2 * size_of::<usize>();
        let heap = match needs_drop::<V>() {
            true => self.encoded_len,
            false => 0,
        };
        let lists = self.listed.len() * size_of::<u32>();
        self.rows.bytes() + self.row_bytes + lists + self.sessions * (each + heap)
    }

    /// The next changed session, which counts as unchanged and written from now on. A flush takes them until there is none;
    /// what changes meanwhile comes behind.
    pub(super) fn take_changed(&mut self) -> Option<(u32, CachedSession<V>)> {
        loop {
            if self.flushing.is_empty() && !self.begin_round() {
                return None;
            }
            let Some((changed, slot, place)) = self.flushing.pop() else {
                continue;
            };
            let Some(row) = self.rows.get_mut(slot) else {
                continue;
            };
            let Ok(at) = row.row.position(place) else {
                continue;
            };
            let session = &mut row.row.sessions[at];
            if session.changed != changed {
                continue;
            }
            session.changed = 0;
            let taken = CachedSession {
                value: session.value.clone(),
                rest: session.rest.take(),
                changed,
                ..*session
            };
            session.stored = taken.value.is_some();
            if !session.stored {
                row.row.sessions.remove(at);
                self.sessions -= 1;
            }
            return Some((slot, taken));
        }
    }

    /// Collects what has changed; false when nothing has.
    fn begin_round(&mut self) -> bool {
        for slot in self.listed.drain(..) {
            let Some(row) = self.rows.get_mut(slot) else {
                continue;
            };
            if !std::mem::take(&mut row.row.listed) {
                continue;
            }
            for session in &row.row.sessions {
                if session.changed != 0 {
                    self.flushing.push((session.changed, slot, session.place()));
                }
            }
        }
        self.flushing
            .sort_unstable_by_key(|(changed, ..)| std::cmp::Reverse(*changed));
        !self.flushing.is_empty()
    }

    /// Gives the memory of all rows back in which nothing is changed.
    pub(super) fn forget_clean(&mut self) {
        for slot in 0..self.rows.slot_count() {
            let clean = |row: &SessionRow<V>| row.sessions.iter().all(|s| !s.is_changed());
            if self.rows.get(slot).is_some_and(|row| clean(&row.row)) {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: u32) -> Vec<CachedSession<V>> {
        match self.rows.remove(slot) {
            None => Vec::new(),
            Some(row) => {
                let last = row.row.sessions.last().map(|session| session.end_ms);
                self.left_ms = self.left_ms.max(last);
                self.row_bytes -= row.row.bytes();
                self.sessions -= row.row.sessions.len();
                row.row.sessions
            }
        }
    }

    /// Begins to make room: sessions that end before this time go, and whole rows until there are no more than `target_bytes`.
    pub(super) fn begin_eviction(&mut self, cold_before_ms: i64, target_bytes: usize) {
        self.cold_before_ms = cold_before_ms;
        self.sweep.begin(self.rows.slot_count(), target_bytes);
    }

    /// The key of the next row that lets sessions go, and these; `None` when there is room or the cache has no more to give.
    pub(super) fn evict_next(&mut self) -> Option<(Box<[u8]>, Leaving<V>)> {
        while let Some(slot) = self.sweep.next_cold(self.rows.slot_count()) {
            let Some(row) = self.rows.get(slot) else {
                continue;
            };
            let cold = row.row.sessions.len() - row.row.ending_from(self.cold_before_ms).len();
            if cold == row.row.sessions.len() {
                let key = row.key.clone();
                return Some((key, self.remove(slot)));
            }
            if cold > 0 {
                let key = row.key.clone();
                let row = self.rows.row_mut(slot);
                row.complete_from_ms = row.complete_from_ms.max(self.cold_before_ms);
                self.sessions -= cold;
                self.left_ms = self.left_ms.max(Some(row.sessions[cold - 1].end_ms));
                return Some((key, row.sessions.drain(..cold).collect()));
            }
        }
        while self.bytes() > self.sweep.target_bytes() {
            let slot = self.sweep.next_whole(self.rows.slot_count())?;
            if let Some(row) = self.rows.get(slot) {
                let key = row.key.clone();
                return Some((key, self.remove(slot)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(rows: &mut SessionRows<i32>, key: &[u8], times: (i64, i64), value: Option<i32>) {
        let slot = match rows.find(key) {
            Some(slot) => slot,
            None => rows.add(key, 0),
        };
        rows.put(
            slot,
            times,
            Rc::new(value),
            (Origin::default(), None),
            false,
        );
    }

    fn flush(rows: &mut SessionRows<i32>) -> Vec<(u8, i64, Option<i32>)> {
        let mut all = Vec::new();
        while let Some((slot, session)) = rows.take_changed() {
            all.push((rows.key(slot)[0], session.end_ms, *session.value));
        }
        all
    }

    #[test]
    fn a_flush_hands_out_each_session_once_in_the_order_of_its_last_change() {
        let mut rows = SessionRows::new();
        put(&mut rows, b"a", (0, 5), Some(1));
        put(&mut rows, b"b", (0, 9), Some(2));
        put(&mut rows, b"a", (0, 7), Some(3));
        put(&mut rows, b"a", (0, 5), None);
        let expected = [(b'b', 9, Some(2)), (b'a', 7, Some(3)), (b'a', 5, None)];
        assert_eq!(flush(&mut rows), expected);
        assert_eq!(flush(&mut rows), []);
        let slot = rows.find(b"a").unwrap();
        assert!(rows.row(slot).find(0, 5).is_none(), "it is gone");
        assert!(!rows.remove_unseen(slot, (0, 7)), "it was written");
        put(&mut rows, b"a", (0, 8), Some(4));
        assert!(rows.remove_unseen(slot, (0, 8)));
        assert_eq!(flush(&mut rows), []);
    }

    #[test]
    fn cold_sessions_go_first_and_then_whole_rows() {
        let mut rows = SessionRows::new();
        for key in [b"a", b"b"] {
            for end_ms in [5, 15] {
                put(&mut rows, key, (0, end_ms), Some(1));
            }
        }
        put(&mut rows, b"c", (0, 1), Some(1));
        let all = rows.bytes();
        rows.begin_eviction(10, all);
        for key in [b"a", b"b", b"c"] {
            let (of, sessions) = rows.evict_next().unwrap();
            assert_eq!((&*of, sessions.len()), (key.as_slice(), 1));
        }
        assert!(rows.evict_next().is_none());
        assert_eq!(rows.left_ms(|| 99), 5);
        rows.begin_eviction(10, 1);
        assert_eq!(&*rows.evict_next().unwrap().0, b"a");
        assert_eq!(rows.left_ms(|| 99), 15);
        assert_eq!(flush(&mut rows), [(b'b', 15, Some(1))]);
        rows.forget_clean();
        assert_eq!((rows.sessions, rows.row_bytes), (0, 0));
    }
}
