//! `WindowStore`: a value per key and window start, forgotten when its retention has passed.

use crate::{Order, Result};

/// The identity of one entry of a [`WindowStore`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WindowKey {
    /// The record key.
    pub key: Vec<u8>,
    /// Start of the window, in milliseconds since the epoch.
    pub start_ms: i64,
    /// Tells duplicates apart: 1, 2, 3.. in a store that retains them, 0 in any other.
    pub sequence: i32,
}

/// Entries as a scan of a [`WindowStore`] yields them.
pub type WindowEntries<'a> = Box<dyn Iterator<Item = Result<(WindowKey, Vec<u8>)>> + 'a>;

/// What became of a [`WindowStore::put`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutOutcome {
    /// The write is in the store.
    Stored {
        /// The sequence number the entry got, which its changelog key needs too.
        sequence: i32,
    },
    /// The window is so old that its whole segment is gone: nothing was written.
    Expired,
}

/// A value per key and window start.
///
/// # Retention
///
/// Time is what the puts say: [`observed_time_ms`](WindowStore::observed_time_ms) is the largest window start
/// written since the store was opened. Both rules are those of Kafka Streams' RocksDB store
/// (`AbstractRocksDBSegmentedBytesStore`), and they differ on purpose:
///
/// * A **write** is dropped only when its whole *segment* is dead. A segment is `max(retention / 2, 60 s)` long, and
///   it is dead when it ends before the segment of `observed - retention`.
/// * A **read** hides every entry with `start < observed - retention + 1`, to the millisecond.
///
/// Kafka Streams' in-memory window store drops writes to the millisecond instead, so there the same topology can
/// answer differently in memory and on disk. Here all backends follow the one rule above, so that what a test driver
/// shows is what production does.
///
/// # Order
///
/// Under [`WindowOrder::ByTime`](crate::WindowOrder::ByTime) every scan is ordered by window start, then key. Under
/// [`WindowOrder::ByKey`](crate::WindowOrder::ByKey) scans over several keys are ordered by segment, then key, then
/// window start; scans of one key are ordered by window start under both.
pub trait WindowStore: Send {
    /// Calls `read` once, with the value of the window of `key` that starts at `start_ms`, or with `None` when there
    /// is none or it is older than the retention. Among duplicates it is the one written last.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()>;

    /// The value [`get_with`](WindowStore::get_with) shows, copied.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn get(&self, key: &[u8], start_ms: i64) -> Result<Option<Vec<u8>>> {
        let mut copy = None;
        self.get_with(key, start_ms, &mut |value| copy = value.map(<[u8]>::to_vec))?;
        Ok(copy)
    }

    /// Makes calls cheaper that come soon for windows of these keys, as
    /// [`KeyValueStore::prefetch`](crate::KeyValueStore::prefetch) does for values. Only the stores of stream-stream joins are
    /// told.
    fn prefetch(&self, _keys: &[&[u8]]) -> usize {
        0
    }

    /// Writes the value of one window; `None` deletes it.
    ///
    /// A store that retains duplicates cannot delete: there `None` does nothing, and the outcome carries the sequence
    /// number 0, which no entry of such a store has.
    ///
    /// # Errors
    ///
    /// When `start_ms` is negative, or the store cannot take the write.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>, start_ms: i64) -> Result<PutOutcome>;

    /// The windows of one key whose start lies in `from_ms..=to_ms`.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read; also each entry can fail.
    fn fetch(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>>;

    /// Shows start and value of the windows that a forward [`fetch`](WindowStore::fetch) yields.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    fn fetch_with(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        read: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<()> {
        for entry in self.fetch(key, from_ms, to_ms, Order::Forward)? {
            let (window, value) = entry?;
            read(window.start_ms, &value);
        }
        Ok(())
    }

    /// The windows of the keys between `from` and `to` (inclusive, `None` is open) whose start lies in
    /// `from_ms..=to_ms`.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read; also each entry can fail.
    fn fetch_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>>;

    /// Every window whose start lies in `from_ms..=to_ms`.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read; also each entry can fail.
    fn fetch_all(&self, from_ms: i64, to_ms: i64, order: Order) -> Result<WindowEntries<'_>>;

    /// The largest window start written or restored since the store was opened, in milliseconds.
    fn observed_time_ms(&self) -> Option<i64>;
    /// No window in the store starts later than this, in milliseconds; it may be more than the latest start. A look-up of
    /// a later one can be spared.
    fn newest_start_ms(&self) -> i64 {
        i64::MAX
    }

    /// The first window start that reads show, in milliseconds: older windows are past the retention.
    fn first_visible_ms(&self) -> i64 {
        0
    }
}
