//! `Table`: ordered rows with uncommitted writes, what every kind of store is built on.
//!
//! A backend is one implementation of [`Table`]; key-value and window semantics are written once, above it, so that
//! all backends answer alike.

mod duplicate_log;
mod duplicates;
mod key_value;
mod row_chunks;
mod session;
mod versioned;
mod versioned_segment;
mod window;
mod window_progress;
mod window_scan;

use std::ops::Bound;

#[cfg(any(feature = "rocksdb", feature = "simulation"))]
pub(crate) use self::duplicates::DuplicatesTable;
#[cfg(feature = "rocksdb")]
pub(crate) use self::duplicates::POSITION_ROW;
pub(crate) use self::key_value::TableKeyValueStore;
pub(crate) use self::session::TableSessionStore;
pub(crate) use self::versioned::TableVersionedStore;
pub(crate) use self::window::TableWindowStore;
use crate::{Entries, Order, Result};

/// One row: key and value.
pub(crate) type Row<'a> = (&'a [u8], &'a [u8]);

/// A half-open range of row keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowRange {
    /// First key of the range.
    pub lower: Vec<u8>,
    /// First key behind the range; `None` when it has no end.
    pub upper: Option<Vec<u8>>,
}

impl RowRange {
    /// From `from` up to and including `to`; `None` is open.
    pub fn inclusive(from: Option<&[u8]>, to: Option<&[u8]>) -> Self {
        // The smallest key greater than `to` is `to` with a zero byte appended.
        let after = |to: &[u8]| [to, &[0]].concat();
        Self {
            lower: from.unwrap_or_default().to_vec(),
            upper: to.map(after),
        }
    }

    /// Everything that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut upper = prefix.to_vec();
        while upper.last() == Some(&u8::MAX) {
            upper.pop();
        }
        let upper = upper.split_last().map(|(last, front)| {
            let mut upper = front.to_vec();
            upper.push(last + 1);
            upper
        });
        Self {
            lower: prefix.to_vec(),
            upper,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.upper
            .as_ref()
            .is_some_and(|upper| *upper <= self.lower)
    }

    /// The same as `BTreeMap::range` wants it. The range must not be empty.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let upper = match &self.upper {
            Some(upper) => Bound::Excluded(upper.as_slice()),
            None => Bound::Unbounded,
        };
        (Bound::Included(&self.lower), upper)
    }
}

/// A place in a scan. It stands on the first row when created, and shows rows without copying them.
pub(crate) trait Cursor {
    /// The row it stands on; `None` behind the last.
    fn row(&self) -> Option<Row<'_>>;
    /// Goes to the next row.
    fn advance(&mut self) -> Result<()>;
}

/// Where rows go that become durable with the commit.
pub(crate) trait RowSink {
    fn put(&mut self, key: &[u8], value: &[u8]);
    fn delete(&mut self, key: &[u8]);
    /// Deletes every row whose key is smaller than `bound`.
    fn delete_below(&mut self, bound: &[u8]);
}

/// Ordered rows. Writes are visible at once and uncommitted until [`committed`](Table::committed).
pub(crate) trait Table: Send {
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// As [`KeyValueStore::prefetch`](crate::KeyValueStore::prefetch); for the keys of records, whatever the rows begin with.
    fn prefetch(&self, _keys: &[&[u8]]) -> usize {
        0
    }

    /// Writes a row, `None` deletes it.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>);

    fn scan(&self, range: RowRange, order: Order) -> Result<Box<dyn Cursor + '_>>;

    fn approximate_len(&self) -> Result<u64>;

    fn uncommitted_bytes(&self) -> usize;

    /// Hands every uncommitted write to `sink`, in the order of the keys. Rows below `expired` are to be deleted
    /// whatever was written to them. Nothing is forgotten yet: the write may still fail.
    fn stage(&self, expired: Option<&[u8]>, sink: &mut dyn RowSink);

    /// What was staged is written: it is committed now.
    fn committed(&mut self, expired: Option<&[u8]>) -> Result<()>;

    /// Whether what is uncommitted may be committed by staying in memory, for a later [`stage`](Self::stage) to hand out.
    fn may_wait(&self) -> bool {
        false
    }

    /// Everything uncommitted is committed, and waits in memory; rows below `expired` need not.
    fn committed_in_memory(&mut self, _expired: Option<&[u8]>) {}

    /// About how many bytes [`stage`](Self::stage) hands out, if each key comes once and in order.
    fn sorted_bytes(&self) -> Option<usize> {
        None
    }

    /// Where among the rows, and behind all of them, the store's position may be written with them. Needed where the changelog
    /// must not be applied twice.
    #[cfg(feature = "rocksdb")]
    fn position_row(&self) -> Option<&'static [u8]> {
        None
    }

    /// No row of this window store starts here or later, but for those that are put from now on.
    fn empty_from(&mut self, _start_ms: i64) {}

    /// Shows the rows of a record key that start between the bounds, both included, by start and then as they came; false when
    /// that takes a scan.
    fn read_recent(
        &self,
        _key: &[u8],
        _times_ms: (i64, i64),
        _read: &mut dyn FnMut(i64, &[u8]),
    ) -> bool {
        false
    }

    /// Reads no longer show rows that start before this time. Nothing is uncommitted.
    fn hide_before(&mut self, _first_visible_ms: i64) {}

    /// Whether rows of the changelog may wait in memory as if they were committed.
    fn may_restore_in_memory(&self) -> bool {
        false
    }

    /// Takes a row of the changelog, which waits in memory, if it [may](Self::may_restore_in_memory).
    fn restore_in_memory(&mut self, _key: &[u8], _value: Option<&[u8]>) {}

    /// Forgets every uncommitted write.
    fn rollback(&mut self);

    /// Writes a row below the uncommitted ones.
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, sink: &mut dyn RowSink) -> Result<()>;

    /// Deletes every row whose key is smaller than `expired`, below the uncommitted writes.
    fn restore_expired(&mut self, expired: &[u8], sink: &mut dyn RowSink) -> Result<()>;
}

/// The rows of a cursor, copied.
pub(crate) fn entries<'a>(cursor: Box<dyn Cursor + 'a>) -> Entries<'a> {
    Box::new(CursorEntries {
        cursor,
        state: State::Fresh,
    })
}

struct CursorEntries<'a> {
    cursor: Box<dyn Cursor + 'a>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// The row of the cursor was not yielded yet.
    Fresh,
    /// The row of the cursor was yielded.
    Yielded,
    Ended,
}

impl Iterator for CursorEntries<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        if self.state == State::Yielded
            && let Err(error) = self.cursor.advance()
        {
            self.state = State::Ended;
            return Some(Err(error));
        }
        match self.cursor.row() {
            Some((key, value)) => {
                self.state = State::Yielded;
                Some(Ok((key.to_vec(), value.to_vec())))
            }
            None => {
                self.state = State::Ended;
                None
            }
        }
    }
}

/// A scan of nothing.
pub(crate) struct EmptyCursor;

impl Cursor for EmptyCursor {
    fn row(&self) -> Option<Row<'_>> {
        None
    }

    fn advance(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The sink of a task that keeps nothing on disk.
pub(crate) struct NoSink;

impl RowSink for NoSink {
    fn put(&mut self, _key: &[u8], _value: &[u8]) {}

    fn delete(&mut self, _key: &[u8]) {}

    fn delete_below(&mut self, _bound: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use super::*;

    #[test]
    fn the_prefix_range_ends_behind_the_last_key_with_the_prefix() {
        assert_eq!(RowRange::prefix(b"ab").upper, Some(b"ac".to_vec()));
        assert_eq!(RowRange::prefix(b"a\xff\xff").upper, Some(b"b".to_vec()));
        assert_eq!(RowRange::prefix(b"\xff").upper, None);
        assert_eq!(RowRange::prefix(b"").upper, None);
    }

    #[test]
    fn inclusive_bounds_contain_both_ends() {
        let range = RowRange::inclusive(Some(b"b"), Some(b"d"));
        for (key, inside) in [("a", false), ("b", true), ("d", true), ("d\0", false)] {
            assert_eq!(range.bounds().contains(key.as_bytes()), inside, "{key:?}");
        }
        assert!(!RowRange::inclusive(Some(b"b"), Some(b"b")).is_empty());
        assert!(RowRange::inclusive(Some(b"c"), Some(b"b")).is_empty());
        assert!(!RowRange::inclusive(None, None).is_empty());
    }
}
