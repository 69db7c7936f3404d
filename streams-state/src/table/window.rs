//! `TableWindowStore`: the window store of every backend, over the rows of a [`Table`].
//!
//! The rules are those of Kafka Streams' `RocksDBWindowStore` and `AbstractRocksDBSegmentedBytesStore`; a segment here
//! is a contiguous range of rows instead of a database of its own.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::key_encoding::{RowLayout, largest_key_and_start, parse_window_changelog_key};
use crate::table::window_progress::Progress;
use crate::table::window_scan::{Keys, WindowScan};
use crate::table::{RowRange, RowSink, Table};
use crate::task_store::Transactional;
use crate::{
    Change, Order, PutOutcome, Result, StoreError, WindowEntries, WindowOrder, WindowSpec,
    WindowStore,
};

/// Lies behind every sequence a row can end with, since a sequence is not negative.
const BEHIND_SEQUENCES: [u8; 1] = [u8::MAX];

/// The sequence after the last one is 0 again, as in Kafka Streams.
const SEQUENCE_MASK: i32 = i32::MAX;

/// A window store over any table.
pub(crate) struct TableWindowStore<T> {
    table: T,
    spec: WindowSpec,
    layout: RowLayout,
    current: Progress,
    committed: Progress,
    /// Every segment that may have rows; a scan of one key has to visit each.
    segments: BTreeSet<i64>,
    /// The last segment that had rows when the store was opened: up to it, numbers of duplicates may be taken already.
    last_segment_at_open: Option<i64>,
    /// Lends its memory to the row keys of puts and gets.
    row: Cell<Vec<u8>>,
}

impl<T: Table> TableWindowStore<T> {
    /// A window store over the rows that are already in `table`.
    pub fn new(table: T, spec: &WindowSpec) -> Result<Self> {
        let layout = spec.row_layout();
        let segments = find_segments(&table, &layout)?;
        let last_segment_at_open = segments.last().copied();
        let mut store = Self {
            table,
            last_segment_at_open,
            spec: spec.clone(),
            layout,
            current: Progress::default(),
            committed: Progress::default(),
            segments,
            row: Cell::default(),
        };
        let behind_ms = store.newest_start_ms().saturating_add(1);
        store.table.empty_from(behind_ms);
        Ok(store)
    }

    fn first_live_segment(&self, progress: &Progress) -> i64 {
        progress.first_live_segment(self.spec.retention_ms, &self.layout)
    }

    /// Below which row everything is dead, if there may be such rows at all.
    fn expired(&self, progress: &Progress) -> Option<[u8; 8]> {
        let first_live = self.first_live_segment(progress);
        let first = *self.segments.first()?;
        (first < first_live).then(|| self.layout.segment_begin(first_live))
    }

    /// Where the rows of `keys` with a start in `from_ms..=to_ms` are, one range per place to look at.
    fn ranges(&self, keys: &Keys, from_ms: i64, to_ms: i64) -> Vec<RowRange> {
        match self.layout.order {
            WindowOrder::ByKey => self.ranges_by_key(keys, from_ms, to_ms),
            WindowOrder::ByTime => vec![range_by_time(keys, from_ms, to_ms)],
        }
    }

    fn ranges_by_key(&self, keys: &Keys, from_ms: i64, to_ms: i64) -> Vec<RowRange> {
        let (smallest, largest) = match keys {
            Keys::One(key) => (
                [key.as_slice(), &from_ms.to_be_bytes()].concat(),
                Some([key.as_slice(), &to_ms.to_be_bytes()].concat()),
            ),
            Keys::Between(from, to) => (
                from.clone().unwrap_or_default(),
                to.as_ref().map(|to| largest_key_and_start(to, to_ms)),
            ),
        };
        let segments = self.layout.segment(from_ms)..=self.layout.segment(to_ms);
        self.segments
            .range(segments)
            .map(|segment| {
                let begin = self.layout.segment_begin(*segment);
                RowRange {
                    lower: [begin.as_slice(), &smallest].concat(),
                    upper: Some(match &largest {
                        Some(largest) => [begin.as_slice(), largest, &BEHIND_SEQUENCES].concat(),
                        None => self.layout.segment_begin(segment + 1).to_vec(),
                    }),
                }
            })
            .collect()
    }

    fn scan(&self, keys: Keys, from_ms: i64, to_ms: i64, order: Order) -> WindowEntries<'_> {
        let from_ms = from_ms.max(self.first_visible_ms());
        if from_ms > to_ms {
            return Box::new(std::iter::empty());
        }
        let mut ranges = self.ranges(&keys, from_ms, to_ms);
        if order == Order::Backward {
            ranges.reverse();
        }
        let times = from_ms..=to_ms;
        Box::new(WindowScan::new(
            &self.table,
            self.layout,
            keys,
            times,
            ranges,
            order,
        ))
    }

    /// Takes note of a restored window start, and says whether its segment is alive.
    pub fn observe_restored(&mut self, start_ms: i64) -> bool {
        self.committed.observe(start_ms);
        self.current.observe(start_ms);
        self.layout.segment(start_ms) >= self.first_live_segment(&self.committed)
    }

    /// Forgets the uncommitted rows, but not the time and the sequence their puts have moved on.
    pub fn keep_only_progress(&mut self) {
        self.table.rollback();
        self.committed = self.current;
    }

    /// The number of the next duplicate after `last`. Numbers begin anew when a store is opened, and none may replace a
    /// duplicate from before that.
    fn next_sequence(&self, last: i32, key: &[u8], start_ms: i64) -> Result<i32> {
        let mut sequence = last.wrapping_add(1) & SEQUENCE_MASK;
        if Some(self.layout.segment(start_ms)) > self.last_segment_at_open {
            return Ok(sequence);
        }
        let mut row = Vec::new();
        loop {
            self.layout.write_row(key, start_ms, sequence, &mut row);
            let mut taken = false;
            self.table
                .get_with(&row, &mut |stored| taken = stored.is_some())?;
            if !taken {
                return Ok(sequence);
            }
            sequence = sequence.wrapping_add(1) & SEQUENCE_MASK;
        }
    }

    /// Writes the key of the row that a changelog record is to become into `row`; false when it becomes none.
    fn place_restored(&mut self, change: &Change<'_>) -> Result<bool> {
        let (key, start_ms, mut sequence) = parse_window_changelog_key(change.key)?;
        if !self.observe_restored(start_ms) {
            return Ok(false);
        }
        if self.spec.retain_duplicates {
            if change.value.is_none() {
                return Ok(false);
            }
            // Each start of an application numbers its changelog records from 1 again, so those numbers do not tell
            // duplicates apart; the order of the records does.
            sequence = self.next_sequence(self.committed.sequence, key, start_ms)?;
            self.committed.sequence = sequence;
            self.current.sequence = self.current.sequence.max(sequence);
        }
        self.segments.insert(self.layout.segment(start_ms));
        self.layout
            .write_row(key, start_ms, sequence, self.row.get_mut());
        Ok(true)
    }

    fn forget_dead_segments(&mut self) {
        let first_live = self.first_live_segment(&self.committed);
        self.segments = self.segments.split_off(&first_live);
    }
}

impl<T: Table> WindowStore for TableWindowStore<T> {
    fn get_with(
        &self,
        key: &[u8],
        start_ms: i64,
        read: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<()> {
        if start_ms < self.first_visible_ms() {
            read(None);
            return Ok(());
        }
        if self.spec.retain_duplicates {
            let last = self.fetch(key, start_ms, start_ms, Order::Backward)?.next();
            let value = last.transpose()?.map(|(_, value)| value);
            read(value.as_deref());
            return Ok(());
        }
        let mut row = self.row.take();
        self.layout.write_row(key, start_ms, 0, &mut row);
        let result = self.table.get_with(&row, read);
        self.row.set(row);
        result
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, start_ms: i64) -> Result<PutOutcome> {
        if start_ms < 0 {
            return Err(StoreError::invalid_argument(format!(
                "a window starts at {start_ms} ms, before the epoch"
            )));
        }
        let mut sequence = 0;
        if self.spec.retain_duplicates {
            if value.is_none() {
                return Ok(PutOutcome::Stored { sequence });
            }
            sequence = self.next_sequence(self.current.sequence, key, start_ms)?;
            self.current.sequence = sequence;
        }
        self.current.observe(start_ms);
        let segment = self.layout.segment(start_ms);
        if segment < self.first_live_segment(&self.current) {
            return Ok(PutOutcome::Expired);
        }
        self.segments.insert(segment);
        let row = self.row.get_mut();
        self.layout.write_row(key, start_ms, sequence, row);
        self.table.put(row, value);
        Ok(PutOutcome::Stored { sequence })
    }

    fn prefetch(&self, keys: &[&[u8]]) -> usize {
        self.table.prefetch(keys)
    }

    fn fetch(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        Ok(self.scan(Keys::One(key.to_vec()), from_ms, to_ms, order))
    }

    fn fetch_with(
        &self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        read: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<()> {
        let from_ms = from_ms.max(self.first_visible_ms());
        if self.table.read_recent(key, (from_ms, to_ms), read) {
            return Ok(());
        }
        for entry in self.fetch(key, from_ms, to_ms, Order::Forward)? {
            let (window, value) = entry?;
            read(window.start_ms, &value);
        }
        Ok(())
    }

    fn fetch_keys(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        from_ms: i64,
        to_ms: i64,
        order: Order,
    ) -> Result<WindowEntries<'_>> {
        let keys = Keys::Between(from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec));
        Ok(self.scan(keys, from_ms, to_ms, order))
    }

    fn fetch_all(&self, from_ms: i64, to_ms: i64, order: Order) -> Result<WindowEntries<'_>> {
        self.fetch_keys(None, None, from_ms, to_ms, order)
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.current.observed_time_ms
    }

    fn newest_start_ms(&self) -> i64 {
        // Of what was there at the opening no more is known than its segments.
        let at_open = self
            .last_segment_at_open
            .map(|segment| (segment + 1).saturating_mul(self.layout.segment_interval_ms) - 1);
        at_open.max(self.current.observed_time_ms).unwrap_or(-1)
    }

    fn first_visible_ms(&self) -> i64 {
        self.current.first_visible_ms(self.spec.retention_ms)
    }
}

impl<T: Table> Transactional for TableWindowStore<T> {
    fn stage(&self, sink: &mut dyn RowSink) {
        let expired = self.expired(&self.current);
        self.table
            .stage(expired.as_ref().map(<[u8; 8]>::as_slice), sink);
    }

    fn committed(&mut self) -> Result<()> {
        let expired = self.expired(&self.current);
        self.table
            .committed(expired.as_ref().map(<[u8; 8]>::as_slice))?;
        self.committed = self.current;
        self.forget_dead_segments();
        self.table.hide_before(self.first_visible_ms());
        Ok(())
    }

    fn may_wait(&self) -> bool {
        self.table.may_wait()
    }

    fn committed_in_memory(&mut self) {
        // Dead segments stay known: rows of theirs may be on disk.
        let expired = self.expired(&self.current);
        self.table
            .committed_in_memory(expired.as_ref().map(<[u8; 8]>::as_slice));
        self.committed = self.current;
        self.table.hide_before(self.first_visible_ms());
    }

    fn sorted_bytes(&self) -> Option<usize> {
        self.table.sorted_bytes()
    }

    #[cfg(feature = "rocksdb")]
    fn position_row(&self) -> Option<&'static [u8]> {
        self.table.position_row()
    }

    fn rollback(&mut self) {
        self.table.rollback();
        self.current = self.committed;
    }

    fn reopen(&mut self) {
        self.table.rollback();
        self.committed = Progress::default();
        self.current = self.committed;
        self.last_segment_at_open = self.segments.last().copied();
    }

    fn uncommitted_bytes(&self) -> usize {
        self.table.uncommitted_bytes()
    }

    fn restore_in_memory(&mut self, changes: &[Change<'_>]) -> Result<bool> {
        if !self.table.may_restore_in_memory() {
            return Ok(false);
        }
        for change in changes {
            if self.place_restored(change)? {
                self.table
                    .restore_in_memory(self.row.get_mut(), change.value);
            }
        }
        Ok(true)
    }

    fn restore(&mut self, changes: &[Change<'_>], sink: &mut dyn RowSink) -> Result<()> {
        for change in changes {
            if self.place_restored(change)? {
                self.table.restore(self.row.get_mut(), change.value, sink)?;
            }
        }
        if let Some(expired) = self.expired(&self.committed) {
            self.table.restore_expired(&expired, sink)?;
            self.forget_dead_segments();
        }
        Ok(())
    }
}

/// Where the rows of `keys` with a start in `from_ms..=to_ms` are when rows begin with their start.
fn range_by_time(keys: &Keys, from_ms: i64, to_ms: i64) -> RowRange {
    match keys {
        Keys::One(key) => RowRange {
            lower: [&from_ms.to_be_bytes(), key.as_slice()].concat(),
            upper: Some([&to_ms.to_be_bytes(), key.as_slice(), &BEHIND_SEQUENCES].concat()),
        },
        Keys::Between(from, _) => RowRange {
            lower: [&from_ms.to_be_bytes(), from.as_deref().unwrap_or_default()].concat(),
            upper: to_ms.checked_add(1).map(|end| end.to_be_bytes().to_vec()),
        },
    }
}

/// The segments that have rows, found by one seek each.
fn find_segments<T: Table>(table: &T, layout: &RowLayout) -> Result<BTreeSet<i64>> {
    let mut segments = BTreeSet::new();
    let mut range = RowRange::default();
    loop {
        let cursor = table.scan(range, Order::Forward)?;
        let Some((row, _)) = cursor.row() else {
            return Ok(segments);
        };
        let segment = layout.segment_of_row(row)?;
        if !segments.insert(segment) {
            return Ok(segments);
        }
        range = RowRange {
            lower: layout.segment_begin(segment + 1).to_vec(),
            upper: None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryTable;
    use crate::table::NoSink;

    const RETENTION_MS: i64 = 120_000;

    fn store(order: WindowOrder) -> TableWindowStore<MemoryTable> {
        let spec = WindowSpec {
            retention_ms: RETENTION_MS,
            window_size_ms: 10,
            retain_duplicates: false,
            order,
        };
        TableWindowStore::new(MemoryTable::default(), &spec).unwrap()
    }

    fn commit(store: &mut TableWindowStore<MemoryTable>) {
        store.stage(&mut NoSink);
        store.committed().unwrap();
    }

    #[test]
    fn writes_die_with_their_segment_and_reads_to_the_millisecond() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let mut store = store(order);
            store.put(b"a", Some(b"new"), 200_000).unwrap();
            // 200 000 - 120 000 = 80 000 lies in segment 1 (60 000..120 000), which is live, though reads begin at
            // 80 001.
            let outcome = store.put(b"a", Some(b"old"), 60_000).unwrap();
            assert_eq!(outcome, PutOutcome::Stored { sequence: 0 });
            assert_eq!(store.get(b"a", 60_000).unwrap(), None);
            let outcome = store.put(b"a", Some(b"dead"), 59_999).unwrap();
            assert_eq!(outcome, PutOutcome::Expired);
            store.put(b"a", Some(b"seen"), 80_001).unwrap();
            store.put(b"a", Some(b"hidden"), 80_000).unwrap();
            let starts: Vec<_> = store
                .fetch(b"a", 0, i64::MAX, Order::Forward)
                .unwrap()
                .map(|entry| entry.unwrap().0.start_ms)
                .collect();
            assert_eq!(starts, [80_001, 200_000]);
        }
    }

    #[test]
    fn dead_segments_leave_with_the_commit() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let mut store = store(order);
            store.put(b"a", Some(b"1"), 0).unwrap();
            store.put(b"b", Some(b"1"), 60_000).unwrap();
            commit(&mut store);
            store.put(b"a", Some(b"1"), 180_000).unwrap();
            assert_eq!(store.table.approximate_len().unwrap(), 3);
            commit(&mut store);
            assert_eq!(store.table.approximate_len().unwrap(), 2);
            assert_eq!(store.segments, BTreeSet::from([1, 3]));
        }
    }

    #[test]
    fn a_rollback_takes_time_back() {
        let mut store = store(WindowOrder::ByKey);
        store.put(b"a", Some(b"1"), 10).unwrap();
        commit(&mut store);
        store.put(b"a", Some(b"1"), 1_000_000).unwrap();
        assert_eq!(store.get(b"a", 10).unwrap(), None);
        store.rollback();
        assert_eq!(store.observed_time_ms(), Some(10));
        assert_eq!(
            store.get(b"a", 10).unwrap().as_deref(),
            Some(b"1".as_slice())
        );
    }

    fn duplicates(table: MemoryTable) -> TableWindowStore<MemoryTable> {
        let spec = WindowSpec {
            retention_ms: RETENTION_MS,
            window_size_ms: 10,
            retain_duplicates: true,
            order: WindowOrder::ByKey,
        };
        TableWindowStore::new(table, &spec).unwrap()
    }

    fn values(store: &TableWindowStore<MemoryTable>) -> Vec<String> {
        store
            .fetch(b"a", 0, i64::MAX, Order::Forward)
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().1).unwrap())
            .collect()
    }

    #[test]
    fn numbers_that_begin_anew_replace_no_duplicate() {
        let mut first = duplicates(MemoryTable::default());
        for value in [b"1", b"2"] {
            first.put(b"a", Some(value), 10).unwrap();
        }
        commit(&mut first);
        let mut second = duplicates(first.table);
        second.put(b"a", Some(b"3"), 10).unwrap();
        assert_eq!(values(&second), ["1", "2", "3"]);
    }

    #[test]
    fn restored_duplicates_are_told_apart_by_their_order() {
        let mut changelog_key = Vec::new();
        crate::key_encoding::write_window_changelog_key(b"a", 10, 1, &mut changelog_key);
        let change = |value: &'static [u8]| Change {
            key: &changelog_key,
            value: Some(value),
        };
        let nothing = Change {
            key: &changelog_key,
            value: None,
        };
        let mut store = duplicates(MemoryTable::default());
        store
            .restore(&[change(b"1"), change(b"2"), nothing], &mut NoSink)
            .unwrap();
        store.restore(&[change(b"3")], &mut NoSink).unwrap();
        store.put(b"a", Some(b"4"), 10).unwrap();
        assert_eq!(values(&store), ["1", "2", "3", "4"]);
    }

    #[test]
    fn segments_are_found_again() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let mut first = store(order);
            for start_ms in [5, 60_000, 60_001, 130_000] {
                first.put(b"a", Some(b"1"), start_ms).unwrap();
            }
            let found = find_segments(&first.table, &first.layout).unwrap();
            assert_eq!(found, BTreeSet::from([0, 1, 2]));
        }
    }
}
