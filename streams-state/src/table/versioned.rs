//! `TableVersionedStore`: the versioned store of every backend, over the rows of a [`Table`].
//!
//! The rules are those of Kafka Streams' `RocksDBVersionedStore`, down to what it makes of several versions with the same
//! time. The latest version of each key has a row of its own, `[-1][key]`. Older ones lie in the segment of the time at which
//! they stopped being valid, all of one key in one row, `[segment][key]`; so a segment can be deleted as a whole once the
//! history retention has passed. A deletion has no latest row: the segments say when it was.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use crate::table::versioned_segment::{Segment, min_ms, next_ms};
use crate::table::{RowRange, RowSink, Table};
use crate::task_store::Transactional;
use crate::versioned::{AsOf, Version, read_versioned_change};
use crate::{
    Change, Order, Result, StoreError, VersionedKeyValueStore, VersionedPut, VersionedSpec,
    timestamped,
};

/// In the place of the segment's number in the rows of latest versions, which thereby come behind all others.
const LATEST: i64 = -1;

/// A versioned store over any table.
pub(crate) struct TableVersionedStore<T> {
    table: T,
    spec: VersionedSpec,
    /// The largest time put, also by what is uncommitted.
    current: Option<i64>,
    committed: Option<i64>,
    /// Every segment that may have rows.
    segments: BTreeSet<i64>,
    /// Lends its memory to the row keys of reads.
    row: Cell<Vec<u8>>,
}

impl<T: Table> TableVersionedStore<T> {
    /// A versioned store over the rows that are already in `table`.
    pub fn new(table: T, spec: &VersionedSpec) -> Result<Self> {
        let segments = find_segments(&table)?;
        Ok(Self {
            table,
            spec: spec.clone(),
            current: None,
            committed: None,
            segments,
            row: Cell::default(),
        })
    }

    /// Below which row everything is dead, if there may be such rows at all.
    fn expired(&self, observed_ms: Option<i64>) -> Option<[u8; 8]> {
        let first_live = self.spec.first_live_segment(observed_ms);
        let first = *self.segments.first()?;
        (first < first_live).then(|| first_live.to_be_bytes())
    }

    fn forget_dead_segments(&mut self) {
        let first_live = self.spec.first_live_segment(self.committed);
        self.segments = self.segments.split_off(&first_live);
    }

    fn is_before_retention(&self, time_ms: i64) -> bool {
        is_before_retention(time_ms, self.current, &self.spec)
    }

    /// What `read` makes of one row, `None` when there is none.
    fn read_row<R>(
        &self,
        segment: i64,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<R>,
    ) -> Result<Option<R>> {
        let mut row = self.row.take();
        write_row(segment, key, &mut row);
        let mut read = Some(read);
        let mut answer = Ok(None);
        let outcome = self.table.get_with(&row, &mut |value| {
            if let (Some(value), Some(read)) = (value, read.take()) {
                answer = read(value).map(Some);
            }
        });
        self.row.set(row);
        outcome?;
        answer
    }
}

/// What a segment says about a time.
enum Answer {
    /// Its version was read.
    Read,
    /// Nothing was valid then.
    Nothing,
    /// It only knows of later times.
    Earlier,
}

impl<T: Table> VersionedKeyValueStore for TableVersionedStore<T> {
    fn get_with(
        &self,
        key: &[u8],
        as_of: AsOf,
        read: &mut dyn FnMut(Option<Version<'_>>),
    ) -> Result<()> {
        let time_ms = match as_of {
            AsOf::Latest => i64::MAX,
            AsOf::TimeMs(time_ms) => time_ms,
        };
        let latest = self.read_row(LATEST, key, |bytes| {
            let (valid_from_ms, value) = timestamped::decode(bytes)?;
            let valid = valid_from_ms <= time_ms;
            if valid {
                read(Some(Version {
                    value,
                    valid_from_ms,
                    valid_to_ms: None,
                }));
            }
            Ok(valid)
        })?;
        if latest == Some(true) {
            return Ok(());
        }
        if as_of == AsOf::Latest || self.is_before_retention(time_ms) {
            read(None);
            return Ok(());
        }
        for segment in self.segments.range(self.spec.segment(time_ms)..).rev() {
            let answer = self.read_row(*segment, key, |bytes| {
                if next_ms(bytes)? <= time_ms {
                    return Ok(Answer::Nothing);
                }
                if min_ms(bytes)? > time_ms {
                    return Ok(Answer::Earlier);
                }
                let found = Segment::decode(bytes)?.find(time_ms)?;
                let Some(value) = found.value else {
                    return Ok(Answer::Nothing);
                };
                read(Some(Version {
                    value,
                    valid_from_ms: found.valid_from_ms,
                    valid_to_ms: Some(found.valid_to_ms),
                }));
                Ok(Answer::Read)
            })?;
            match answer {
                Some(Answer::Read) => return Ok(()),
                Some(Answer::Nothing) => break,
                Some(Answer::Earlier) | None => {}
            }
        }
        read(None);
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>, time_ms: i64) -> Result<VersionedPut> {
        if time_ms < 0 {
            return Err(StoreError::invalid_argument(format!(
                "a version is valid from {time_ms} ms, before the epoch"
            )));
        }
        if self.is_before_retention(time_ms) {
            return Ok(VersionedPut::Rejected);
        }
        self.current = self.current.max(Some(time_ms));
        Put {
            rows: &mut WrittenRows(&mut self.table),
            segments: &mut self.segments,
            spec: &self.spec,
            row: self.row.get_mut(),
        }
        .put(key, value, time_ms)
    }

    fn observed_time_ms(&self) -> Option<i64> {
        self.current
    }
}

impl<T: Table> Transactional for TableVersionedStore<T> {
    fn stage(&self, sink: &mut dyn RowSink) {
        let expired = self.expired(self.current);
        self.table
            .stage(expired.as_ref().map(<[u8; 8]>::as_slice), sink);
    }

    fn committed(&mut self) -> Result<()> {
        let expired = self.expired(self.current);
        self.table
            .committed(expired.as_ref().map(<[u8; 8]>::as_slice))?;
        self.committed = self.current;
        self.forget_dead_segments();
        Ok(())
    }

    fn rollback(&mut self) {
        self.table.rollback();
        self.current = self.committed;
    }

    fn reopen(&mut self) {
        self.table.rollback();
        self.committed = None;
        self.current = None;
    }

    fn uncommitted_bytes(&self) -> usize {
        self.table.uncommitted_bytes()
    }

    /// A put depends on the versions there are, so restoring has to come before anything else is written.
    fn restore(&mut self, changes: &[Change<'_>], sink: &mut dyn RowSink) -> Result<()> {
        if self.table.uncommitted_bytes() > 0 {
            return Err(StoreError::invalid_argument(
                "a versioned store is restored before it is written to: commit or roll back first",
            ));
        }
        let mut rows = RestoredRows {
            table: &self.table,
            written: HashMap::new(),
        };
        for change in changes {
            let (time_ms, value) = read_versioned_change(change.value)?;
            // It was rejected when it was put, though it was logged.
            if is_before_retention(time_ms, self.current, &self.spec) {
                continue;
            }
            self.current = self.current.max(Some(time_ms));
            Put {
                rows: &mut rows,
                segments: &mut self.segments,
                spec: &self.spec,
                row: self.row.get_mut(),
            }
            .put(change.key, value, time_ms)?;
        }
        self.committed = self.current;
        for (row, value) in rows.written {
            self.table.restore(&row, value.as_deref(), sink)?;
        }
        if let Some(expired) = self.expired(self.committed) {
            self.table.restore_expired(&expired, sink)?;
            self.forget_dead_segments();
        }
        Ok(())
    }
}

fn is_before_retention(time_ms: i64, observed_ms: Option<i64>, spec: &VersionedSpec) -> bool {
    observed_ms.is_some_and(|observed| time_ms < observed.saturating_sub(spec.history_retention_ms))
}

fn write_row(segment: i64, key: &[u8], row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&segment.to_be_bytes());
    row.extend_from_slice(key);
}

/// The rows a put works on.
trait Rows {
    fn get(&self, row: &[u8]) -> Result<Option<Vec<u8>>>;
    fn set(&mut self, row: &[u8], value: Option<&[u8]>);
}

/// Those of the store, with what is uncommitted.
struct WrittenRows<'a, T>(&'a mut T);

impl<T: Table> Rows for WrittenRows<'_, T> {
    fn get(&self, row: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut copy = None;
        self.0
            .get_with(row, &mut |value| copy = value.map(<[u8]>::to_vec))?;
        Ok(copy)
    }

    fn set(&mut self, row: &[u8], value: Option<&[u8]>) {
        self.0.put(row, value);
    }
}

/// Those of the store, under the ones of the batch that is being restored.
struct RestoredRows<'a, T> {
    table: &'a T,
    written: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<T: Table> Rows for RestoredRows<'_, T> {
    fn get(&self, row: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(written) = self.written.get(row) {
            return Ok(written.clone());
        }
        let mut copy = None;
        self.table
            .get_with(row, &mut |value| copy = value.map(<[u8]>::to_vec))?;
        Ok(copy)
    }

    fn set(&mut self, row: &[u8], value: Option<&[u8]>) {
        self.written.insert(row.to_vec(), value.map(<[u8]>::to_vec));
    }
}

/// One put under way.
struct Put<'a, R> {
    rows: &'a mut R,
    segments: &'a mut BTreeSet<i64>,
    spec: &'a VersionedSpec,
    row: &'a mut Vec<u8>,
}

/// Where a put stands after it has looked at a place.
enum Step {
    Done(VersionedPut),
    /// Not here. The smallest time seen that is larger than its own, of which it is the version before.
    GoOn(Option<i64>),
}

impl<R: Rows> Put<'_, R> {
    fn put(&mut self, key: &[u8], value: Option<&[u8]>, time_ms: i64) -> Result<VersionedPut> {
        let next = match self.put_latest(key, value, time_ms)? {
            Step::Done(outcome) => return Ok(outcome),
            Step::GoOn(next) => next,
        };
        match self.put_between(key, value, time_ms, next)? {
            Step::Done(outcome) => Ok(outcome),
            Step::GoOn(Some(next)) => self.put_before(key, value, time_ms, next),
            Step::GoOn(None) => self.put_after_all(key, value, time_ms),
        }
    }

    fn get(&mut self, segment: i64, key: &[u8]) -> Result<Option<Vec<u8>>> {
        write_row(segment, key, self.row);
        self.rows.get(self.row)
    }

    fn set(&mut self, segment: i64, key: &[u8], value: Option<&[u8]>) {
        if segment != LATEST {
            self.segments.insert(segment);
        }
        write_row(segment, key, self.row);
        self.rows.set(self.row, value);
    }

    fn set_latest(&mut self, key: &[u8], value: &[u8], time_ms: i64) {
        let mut bytes = Vec::new();
        timestamped::encode(time_ms, value, &mut bytes);
        self.set(LATEST, key, Some(&bytes));
    }

    /// Adds a version to the segment of the time at which it stops being valid, where it is the newest of its key.
    fn append(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        valid_from_ms: i64,
        valid_to_ms: i64,
    ) -> Result<()> {
        let segment = self.spec.segment(valid_to_ms);
        let bytes = match self.get(segment, key)? {
            None => Segment::new(value, valid_from_ms, valid_to_ms).encode(),
            Some(stored) => {
                let mut versions = Segment::decode(&stored)?;
                versions.insert_as_latest(valid_from_ms, valid_to_ms, value);
                versions.encode()
            }
        };
        self.set(segment, key, Some(&bytes));
        Ok(())
    }

    /// Becomes the latest version, if the one there is now is not younger.
    fn put_latest(&mut self, key: &[u8], value: Option<&[u8]>, time_ms: i64) -> Result<Step> {
        let Some(stored) = self.get(LATEST, key)? else {
            return Ok(Step::GoOn(None));
        };
        let (latest_ms, latest) = timestamped::decode(&stored)?;
        if time_ms < latest_ms {
            return Ok(Step::GoOn(Some(latest_ms)));
        }
        if time_ms > latest_ms {
            self.append(key, Some(latest), latest_ms, time_ms)?;
        }
        match value {
            Some(value) => self.set_latest(key, value, time_ms),
            // At the same time as the version it deletes it leaves no trace but the end of the version before, as in Kafka
            // Streams.
            None => self.set(LATEST, key, None),
        }
        Ok(Step::Done(VersionedPut::Latest))
    }

    /// Takes its place among the versions of a segment, if there is one before it and one after it.
    fn put_between(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        time_ms: i64,
        next: Option<i64>,
    ) -> Result<Step> {
        let mut next = next;
        let mut last = i64::MAX;
        let first = self.spec.segment(time_ms);
        while last >= first
            && let Some(segment) = self.segments.range(first..=last).next_back().copied()
        {
            last = segment - 1;
            if let Some(stored) = self.get(segment, key)? {
                if next_ms(&stored)? <= time_ms {
                    break;
                }
                let segment_min_ms = min_ms(&stored)?;
                if segment_min_ms <= time_ms {
                    let valid_to_ms = self.put_into(segment, &stored, key, value, time_ms)?;
                    return Ok(Step::Done(VersionedPut::Older { valid_to_ms }));
                }
                next = Some(segment_min_ms);
            }
        }
        Ok(Step::GoOn(next))
    }

    /// Splits a version of a segment in two, or replaces the one of the same time; returns until when the new one is valid.
    fn put_into(
        &mut self,
        segment: i64,
        stored: &[u8],
        key: &[u8],
        value: Option<&[u8]>,
        time_ms: i64,
    ) -> Result<i64> {
        let mut versions = Segment::decode(stored)?;
        let found = versions.find(time_ms)?;
        if found.valid_from_ms == time_ms {
            versions.replace(&found, time_ms, value);
        } else if self.spec.segment(time_ms) == segment {
            versions.insert_after(&found, time_ms, value);
        } else {
            // The version before now ends in another segment, so it moves there.
            self.append(key, found.value, found.valid_from_ms, time_ms)?;
            versions.replace(&found, time_ms, value);
        }
        self.set(segment, key, Some(&versions.encode()));
        Ok(found.valid_to_ms)
    }

    /// Goes where the version after it begins: it is the newest or the oldest there.
    fn put_before(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        time_ms: i64,
        valid_to_ms: i64,
    ) -> Result<VersionedPut> {
        let segment = self.spec.segment(valid_to_ms);
        match self.get(segment, key)? {
            Some(stored) if next_ms(&stored)? > time_ms => {
                let mut versions = Segment::decode(&stored)?;
                versions.insert_as_earliest(time_ms, value);
                self.set(segment, key, Some(&versions.encode()));
            }
            _ => self.append(key, value, time_ms, valid_to_ms)?,
        }
        Ok(VersionedPut::Older { valid_to_ms })
    }

    /// Is the latest of its key, which has no latest value now.
    fn put_after_all(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        time_ms: i64,
    ) -> Result<VersionedPut> {
        let Some(value) = value else {
            let segment = self.spec.segment(time_ms);
            match self.get(segment, key)? {
                None => {
                    let lone = Segment::new(None, time_ms, time_ms).encode();
                    self.set(segment, key, Some(&lone));
                }
                // It says so already.
                Some(stored) if next_ms(&stored)? == time_ms => {}
                Some(stored) => {
                    let mut versions = Segment::decode(&stored)?;
                    versions.insert_as_latest(next_ms(&stored)?, time_ms, None);
                    let bytes = versions.encode();
                    self.set(segment, key, Some(&bytes));
                }
            }
            return Ok(VersionedPut::Latest);
        };
        self.set_latest(key, value, time_ms);
        Ok(VersionedPut::Latest)
    }
}

/// The segments that have rows, found by one seek each.
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
                "a row of a versioned store has no segment",
            ));
        };
        let segment = i64::from_be_bytes(*segment);
        if segment == LATEST {
            return Ok(segments);
        }
        segments.insert(segment);
        range = RowRange {
            lower: (segment + 1).to_be_bytes().to_vec(),
            upper: None,
        };
    }
}
