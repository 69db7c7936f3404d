//! `SessionStore`: a value per key and session, forgotten when its retention has passed.

use crate::{Order, PutOutcome, Result};

/// Key of an entry in a session store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SessionKey {
    /// The record key.
    pub key: Vec<u8>,
    /// When the session started, in milliseconds.
    pub start_ms: i64,
    /// When the session ended, in milliseconds; it belongs to the session.
    pub end_ms: i64,
}

/// Entries of a session store. After an error there are no more.
pub type SessionEntries<'a> = Box<dyn Iterator<Item = Result<(SessionKey, Vec<u8>)>> + 'a>;

/// A value for each key and session.
///
/// # Time
///
/// The store's time is the largest end of a session it has been given, be it to delete it. Reads hide sessions that ended
/// before `time - retention + 1`; a put is dropped once the whole segment of the session's end is older than that, as in
/// Kafka Streams' `RocksDBSessionStore`.
pub trait SessionStore: Send {
    /// Reads the value of one session.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        end_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()>;

    /// Sets the value of a session, `None` deletes it.
    ///
    /// # Errors
    ///
    /// [`InvalidArgument`](crate::StoreErrorKind::InvalidArgument) when the session ends before it starts or starts before
    /// the epoch.
    fn put(
        &mut self,
        key: &[u8],
        start_ms: i64,
        end_ms: i64,
        value: Option<&[u8]>,
    ) -> Result<PutOutcome>;

    /// The sessions of a key that end at `earliest_end_ms` or later and start at `latest_start_ms` or earlier, by their end,
    /// then their start.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn find(
        &self,
        key: &[u8],
        earliest_end_ms: i64,
        latest_start_ms: i64,
        order: Order,
    ) -> Result<SessionEntries<'_>>;

    /// As [`SessionStore::find`], for all keys between the bounds, both included; `None` is open. By the segment of their
    /// end, then their key.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn find_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        order: Order,
    ) -> Result<SessionEntries<'_>>;

    /// The sessions that end between the bounds, both included, by their end, then their start, then their key. Of a store
    /// in the order of time only. It shows what reads by key hide already, as long as the segment is there.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read, and [`Unsupported`](crate::StoreErrorKind::Unsupported) of a store in the order of keys.
    fn find_ended(&self, earliest_end_ms: i64, latest_end_ms: i64) -> Result<SessionEntries<'_>>;

    /// The largest end of a session the store has seen.
    fn observed_time_ms(&self) -> Option<i64>;

    /// No session in the store ends later than this, in milliseconds; it may be more than the latest end. A look-up of a
    /// later one can be spared.
    fn newest_end_ms(&self) -> i64 {
        i64::MAX
    }

    /// The first end of a session that reads show, in milliseconds: older sessions are past the retention.
    fn first_visible_ms(&self) -> i64 {
        0
    }
}
