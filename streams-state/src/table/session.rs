//! `TableSessionStore`: the session store of every backend, over the rows of a [`Table`].
//!
//! The rules are those of Kafka Streams' `RocksDBSessionStore` and `AbstractRocksDBSegmentedBytesStore`. Rows are
//! `[segment i64] 01 [key][end i64][start i64]` with the value, and in a store in the order of time also
//! `[segment i64] 00 [end i64][start i64][key]` without one. All rows of a segment lie together, so that it can be
//! forgotten as a whole.

use std::collections::BTreeSet;

use crate::key_encoding::{parse_session_changelog_key, write_session_changelog_key};
use crate::table::{Cursor, RowRange, RowSink, Table};
use crate::task_store::Transactional;
use crate::{
    Change, Order, PutOutcome, Result, SessionEntries, SessionKey, SessionSpec, SessionStore,
    StoreError, WindowOrder,
};

const BY_TIME: u8 = 0;
const BY_KEY: u8 = 1;
/// Behind the segment and the kind of a row.
const CONTENT_AT: usize = 9;
const TIMES_LEN: usize = 16;

pub(crate) struct TableSessionStore<T> {
    table: T,
    spec: SessionSpec,
    observed_ms: Option<i64>,
    committed_ms: Option<i64>,
    /// Segments that have rows.
    segments: BTreeSet<i64>,
    /// The last segment that had rows when the store was opened.
    last_segment_at_open: Option<i64>,
}

impl<T: Table> TableSessionStore<T> {
    pub fn new(table: T, spec: &SessionSpec) -> Result<Self> {
        let segments = find_segments(&table)?;
        Ok(Self {
            table,
            spec: spec.clone(),
            observed_ms: None,
            committed_ms: None,
            last_segment_at_open: segments.last().copied(),
            segments,
        })
    }

    fn segment(&self, end_ms: i64) -> i64 {
        end_ms / self.spec.segment_interval_ms()
    }

    fn first_live_segment(&self, observed_ms: Option<i64>) -> i64 {
        observed_ms.map_or(0, |observed| {
            self.segment((observed - self.spec.retention_ms).max(0))
        })
    }

    /// Where the first live segment begins, if there are dead ones before it.
    fn expired(&self, observed_ms: Option<i64>) -> Option<[u8; 8]> {
        let first_live = self.first_live_segment(observed_ms);
        let first = *self.segments.first()?;
        (first < first_live).then(|| first_live.to_be_bytes())
    }

    fn forget_dead_segments(&mut self) {
        let first_live = self.first_live_segment(self.committed_ms);
        self.segments = self.segments.split_off(&first_live);
    }

    fn row_by_key(&self, key: &[u8], start_ms: i64, end_ms: i64) -> Vec<u8> {
        let mut row = self.row(key, end_ms, BY_KEY);
        write_session_changelog_key(key, start_ms, end_ms, &mut row);
        row
    }

    fn row_by_time(&self, key: &[u8], start_ms: i64, end_ms: i64) -> Vec<u8> {
        let mut row = self.row(key, end_ms, BY_TIME);
        row.extend_from_slice(&end_ms.to_be_bytes());
        row.extend_from_slice(&start_ms.to_be_bytes());
        row.extend_from_slice(key);
        row
    }

    /// The begin of a row, with room for all of it.
    fn row(&self, key: &[u8], end_ms: i64, kind: u8) -> Vec<u8> {
        let mut row = Vec::with_capacity(CONTENT_AT + key.len() + TIMES_LEN);
        row.extend_from_slice(&self.segment(end_ms).to_be_bytes());
        row.push(kind);
        row
    }

    fn scan<'a>(
        &'a self,
        ranges: Vec<RowRange>,
        order: Order,
        wanted: impl Fn(&SessionKey) -> bool + 'a,
    ) -> SessionEntries<'a> {
        let mut ranges = ranges;
        if order == Order::Backward {
            ranges.reverse();
        }
        Box::new(Scan {
            table: &self.table,
            ranges: ranges.into_iter(),
            order,
            cursor: None,
            wanted,
        })
    }

    fn segments_from(&self, earliest_end_ms: i64) -> impl Iterator<Item = i64> + '_ {
        let first = self.segment(earliest_end_ms.max(0));
        self.segments.range(first..).copied()
    }
}

fn range(segment: i64, kind: u8, lower: &[u8], upper: Option<&[u8]>) -> RowRange {
    let begin = [segment.to_be_bytes().as_slice(), &[kind]].concat();
    RowRange {
        lower: [&begin, lower].concat(),
        upper: Some(match upper {
            Some(upper) => [&begin, upper].concat(),
            None => [segment.to_be_bytes().as_slice(), &[kind + 1]].concat(),
        }),
    }
}

impl<T: Table> SessionStore for TableSessionStore<T> {
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        end_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()> {
        if end_ms < self.first_visible_ms() {
            read(None);
            return Ok(());
        }
        self.table
            .get_with(&self.row_by_key(key, start_ms, end_ms), read)
    }

    fn put(
        &mut self,
        key: &[u8],
        start_ms: i64,
        end_ms: i64,
        value: Option<&[u8]>,
    ) -> Result<PutOutcome> {
        if start_ms < 0 || end_ms < start_ms {
            return Err(StoreError::invalid_argument(format!(
                "a session from {start_ms} to {end_ms} ms starts before the epoch or ends before it starts"
            )));
        }
        self.observed_ms = self.observed_ms.max(Some(end_ms));
        let segment = self.segment(end_ms);
        if segment < self.first_live_segment(self.observed_ms) {
            return Ok(PutOutcome::Expired);
        }
        self.segments.insert(segment);
        let row = self.row_by_key(key, start_ms, end_ms);
        self.table.put(&row, value);
        if self.spec.order == WindowOrder::ByTime {
            let row = self.row_by_time(key, start_ms, end_ms);
            self.table.put(&row, value.map(|_| [].as_slice()));
        }
        Ok(PutOutcome::Stored { sequence: 0 })
    }

    fn find(
        &self,
        key: &[u8],
        earliest_end_ms: i64,
        latest_start_ms: i64,
        order: Order,
    ) -> Result<SessionEntries<'_>> {
        let earliest_end_ms = earliest_end_ms.max(self.first_visible_ms());
        let lower = [key, &earliest_end_ms.to_be_bytes()].concat();
        let upper = [key, &[u8::MAX]].concat();
        let ranges = self
            .segments_from(earliest_end_ms)
            .map(|segment| range(segment, BY_KEY, &lower, Some(&upper)))
            .collect();
        let key = key.to_vec();
        Ok(self.scan(ranges, order, move |session| {
            session.key == key
                && session.end_ms >= earliest_end_ms
                && session.start_ms <= latest_start_ms
        }))
    }

    fn find_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        order: Order,
    ) -> Result<SessionEntries<'_>> {
        let earliest_end_ms = earliest_end_ms.max(self.first_visible_ms());
        let lower = from.unwrap_or_default();
        let ranges = self
            .segments_from(earliest_end_ms)
            .map(|segment| range(segment, BY_KEY, lower, None))
            .collect();
        let (from, to) = (from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec));
        Ok(self.scan(ranges, order, move |session| {
            from.as_ref().is_none_or(|from| session.key >= *from)
                && to.as_ref().is_none_or(|to| session.key <= *to)
                && session.end_ms >= earliest_end_ms
                && session.start_ms <= latest_start_ms
        }))
    }

    fn find_ended(&self, earliest_end_ms: i64, latest_end_ms: i64) -> Result<SessionEntries<'_>> {
        if self.spec.order == WindowOrder::ByKey {
            return Err(StoreError::unsupported(
                "a session store in the order of keys cannot be asked for what ended when"
                    .to_owned(),
            ));
        }
        let earliest_end_ms = earliest_end_ms.max(0);
        if earliest_end_ms > latest_end_ms {
            return Ok(Box::new(std::iter::empty()));
        }
        let lower = earliest_end_ms.to_be_bytes();
        let upper = latest_end_ms.checked_add(1).map(i64::to_be_bytes);
        let last = self.segment(latest_end_ms);
        let ranges = self
            .segments_from(earliest_end_ms)
            .take_while(|segment| *segment <= last)
            .map(|segment| {
                range(
                    segment,
                    BY_TIME,
                    &lower,
                    upper.as_ref().map(|u| u.as_slice()),
                )
            })
            .collect();
        Ok(Box::new(self.scan(ranges, Order::Forward, |_| true).map(
            |entry| {
                let (session, _) = entry?;
                let mut value = Vec::new();
                let row = self.row_by_key(&session.key, session.start_ms, session.end_ms);
                self.table.get_with(&row, &mut |found| {
                    value.extend_from_slice(found.unwrap_or_default());
                })?;
                Ok((session, value))
            },
        )))
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.observed_ms
    }

    fn newest_end_ms(&self) -> i64 {
        // Of what was there at the opening no more is known than its segments.
        let at_open = self
            .last_segment_at_open
            .map(|segment| (segment + 1).saturating_mul(self.spec.segment_interval_ms()) - 1);
        at_open.max(self.observed_ms).unwrap_or(-1)
    }

    fn first_visible_ms(&self) -> i64 {
        self.observed_ms
            .map_or(0, |observed| (observed - self.spec.retention_ms + 1).max(0))
    }
}

impl<T: Table> Transactional for TableSessionStore<T> {
    fn stage(&self, sink: &mut dyn RowSink) {
        let expired = self.expired(self.observed_ms);
        self.table
            .stage(expired.as_ref().map(<[u8; 8]>::as_slice), sink);
    }

    fn committed(&mut self) -> Result<()> {
        let expired = self.expired(self.observed_ms);
        self.table
            .committed(expired.as_ref().map(<[u8; 8]>::as_slice))?;
        self.committed_ms = self.observed_ms;
        self.forget_dead_segments();
        Ok(())
    }

    fn rollback(&mut self) {
        self.table.rollback();
        self.observed_ms = self.committed_ms;
    }

    fn reopen(&mut self) {
        self.table.rollback();
        self.committed_ms = None;
        self.observed_ms = None;
        self.last_segment_at_open = self.segments.last().copied();
    }

    fn uncommitted_bytes(&self) -> usize {
        self.table.uncommitted_bytes()
    }

    fn restore(&mut self, changes: &[Change<'_>], sink: &mut dyn RowSink) -> Result<()> {
        for change in changes {
            let (key, start_ms, end_ms) = parse_session_changelog_key(change.key)?;
            self.committed_ms = self.committed_ms.max(Some(end_ms));
            self.observed_ms = self.observed_ms.max(Some(end_ms));
            let segment = self.segment(end_ms);
            if segment < self.first_live_segment(self.committed_ms) {
                continue;
            }
            self.segments.insert(segment);
            let row = self.row_by_key(key, start_ms, end_ms);
            self.table.restore(&row, change.value, sink)?;
            if self.spec.order == WindowOrder::ByTime {
                let row = self.row_by_time(key, start_ms, end_ms);
                let value = change.value.map(|_| [].as_slice());
                self.table.restore(&row, value, sink)?;
            }
        }
        if let Some(expired) = self.expired(self.committed_ms) {
            self.table.restore_expired(&expired, sink)?;
            self.forget_dead_segments();
        }
        Ok(())
    }
}

/// Goes through one range of rows after the other.
struct Scan<'a, T, F> {
    table: &'a T,
    ranges: std::vec::IntoIter<RowRange>,
    order: Order,
    cursor: Option<Box<dyn Cursor + 'a>>,
    wanted: F,
}

impl<T: Table, F: Fn(&SessionKey) -> bool> Scan<'_, T, F> {
    fn next_entry(&mut self) -> Result<Option<(SessionKey, Vec<u8>)>> {
        loop {
            let cursor = match &mut self.cursor {
                Some(cursor) => cursor,
                None => match self.ranges.next() {
                    Some(range) => self.cursor.insert(self.table.scan(range, self.order)?),
                    None => return Ok(None),
                },
            };
            let Some((row, value)) = cursor.row() else {
                self.cursor = None;
                continue;
            };
            let session = parse_row(row)?;
            let entry = (self.wanted)(&session).then(|| (session, value.to_vec()));
            cursor.advance()?;
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }
}

impl<T: Table, F: Fn(&SessionKey) -> bool> Iterator for Scan<'_, T, F> {
    type Item = Result<(SessionKey, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.next_entry();
        if entry.is_err() {
            // After an error there is nothing more to read.
            self.cursor = None;
            self.ranges = Vec::new().into_iter();
        }
        entry.transpose()
    }
}

fn parse_row(row: &[u8]) -> Result<SessionKey> {
    let short = || StoreError::corruption("the row of a session is too short".to_owned());
    let content = row.get(CONTENT_AT..).ok_or_else(short)?;
    let (key, start_ms, end_ms) = if row[CONTENT_AT - 1] == BY_KEY {
        parse_session_changelog_key(content)?
    } else {
        let (times, key) = content.split_first_chunk::<TIMES_LEN>().ok_or_else(short)?;
        let time = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("half of 16 bytes"));
        (key, time(&times[8..]), time(&times[..8]))
    };
    Ok(SessionKey {
        key: key.to_vec(),
        start_ms,
        end_ms,
    })
}

/// The segments that have rows, one seek each.
fn find_segments<T: Table>(table: &T) -> Result<BTreeSet<i64>> {
    let mut segments = BTreeSet::new();
    let mut range = RowRange::default();
    loop {
        let cursor = table.scan(range, Order::Forward)?;
        let Some((row, _)) = cursor.row() else {
            return Ok(segments);
        };
        let Some(segment) = row.first_chunk() else {
            return Err(StoreError::corruption(
                "the row of a session is too short".to_owned(),
            ));
        };
        let segment = i64::from_be_bytes(*segment);
        segments.insert(segment);
        range = RowRange {
            lower: (segment + 1).to_be_bytes().to_vec(),
            upper: None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryTable;
    use crate::table::NoSink;

    fn store(order: WindowOrder) -> TableSessionStore<MemoryTable> {
        let spec = SessionSpec {
            retention_ms: 120_000,
            order,
        };
        TableSessionStore::new(MemoryTable::default(), &spec).unwrap()
    }

    fn times(entries: SessionEntries<'_>) -> Vec<(i64, i64)> {
        entries
            .map(|entry| entry.unwrap().0)
            .map(|session| (session.start_ms, session.end_ms))
            .collect()
    }

    #[test]
    fn sessions_are_found_by_what_they_overlap_in_the_order_of_their_end() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let mut store = store(order);
            for (start, end) in [(70_000, 70_010), (5, 10), (0, 10), (20, 30)] {
                store.put(b"a", start, end, Some(b"v")).unwrap();
            }
            store.put(b"ab", 0, 15, Some(b"v")).unwrap();
            let found = |earliest_end, latest_start, order| {
                times(store.find(b"a", earliest_end, latest_start, order).unwrap())
            };
            assert_eq!(
                found(0, i64::MAX, Order::Forward),
                [(0, 10), (5, 10), (20, 30), (70_000, 70_010)]
            );
            assert_eq!(found(10, 19, Order::Backward), [(5, 10), (0, 10)]);
            assert_eq!(found(11, 20, Order::Forward), [(20, 30)]);
            let all = store
                .find_keys(None, None, 0, i64::MAX, Order::Forward)
                .unwrap();
            assert_eq!(
                times(all),
                [(0, 10), (5, 10), (20, 30), (0, 15), (70_000, 70_010)]
            );
        }
    }

    #[test]
    fn what_ended_comes_in_the_order_of_time() {
        let mut store = store(WindowOrder::ByTime);
        for (key, start, end) in [
            (b"b", 5, 10),
            (b"a", 5, 10),
            (b"c", 0, 10),
            (b"a", 20, 70_000),
        ] {
            store.put(key, start, end, Some(key)).unwrap();
        }
        store.put(b"a", 5, 10, Some(b"A")).unwrap();
        let values: Vec<_> = store
            .find_ended(0, 69_999)
            .unwrap()
            .map(|entry| entry.unwrap().1)
            .collect();
        assert_eq!(values, [b"c", b"A", b"b"]);
        store.put(b"c", 0, 10, None).unwrap();
        assert_eq!(
            times(store.find_ended(10, 70_000).unwrap()),
            [(5, 10), (5, 10), (20, 70_000)]
        );
    }

    #[test]
    fn what_is_too_old_is_hidden_and_then_gone() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let mut store = store(order);
            store.put(b"a", 0, 10, Some(b"v")).unwrap();
            // Deleting what is not there moves the store's time as well.
            store.put(b"b", 0, 120_009, None).unwrap();
            assert_eq!(
                times(store.find(b"a", 0, 20, Order::Forward).unwrap()),
                [(0, 10)]
            );
            store.put(b"b", 0, 120_010, None).unwrap();
            assert_eq!(times(store.find(b"a", 0, 20, Order::Forward).unwrap()), []);
            store.put(b"b", 0, 180_000, Some(b"v")).unwrap();
            assert_eq!(
                store.put(b"a", 0, 10, Some(b"v")).unwrap(),
                PutOutcome::Expired
            );
            store.stage(&mut NoSink);
            store.committed().unwrap();
            assert_eq!(store.segments, BTreeSet::from([2, 3]));
        }
    }

    #[test]
    fn the_changelog_brings_sessions_back() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let mut store = store(order);
            let mut key = Vec::new();
            write_session_changelog_key(b"a", 5, 10, &mut key);
            let change = |value| Change { key: &key, value };
            store
                .restore(&[change(Some(b"v".as_slice()))], &mut NoSink)
                .unwrap();
            assert_eq!(
                times(store.find(b"a", 0, 20, Order::Forward).unwrap()),
                [(5, 10)]
            );
            assert_eq!(store.observed_time_ms(), Some(10));
            store.restore(&[change(None)], &mut NoSink).unwrap();
            assert_eq!(times(store.find(b"a", 0, 20, Order::Forward).unwrap()), []);
        }
    }
}
