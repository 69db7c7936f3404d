//! The store that both sides of a left or outer stream-stream join share: records that have found no match yet, and the
//! time both sides have seen.
//!
//! A row's key is `[time i64][1 left, 0 right][key]`, its value the list of such records in the variable form of Kafka's
//! `ListSerializer`: `[01][size i32]`, then `[length i32][1 left, 0 right][value]` for each (`TimestampedKeyAndJoinSideSerializer`,
//! `LeftOrRightValueSerializer`, `ListValueStore`).

use super::{AnyState, Changelog, StoreIo};
use crate::error::{Error, Result};
use crate::topology::store::StateArguments;
use std::any::Any;
use streams_state::Order;

/// Which input of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinSide {
    Left,
    Right,
}

impl JoinSide {
    pub(crate) fn other(self) -> Self {
        match self {
            JoinSide::Left => JoinSide::Right,
            JoinSide::Right => JoinSide::Left,
        }
    }

    fn byte(self) -> u8 {
        match self {
            JoinSide::Left => 1,
            JoinSide::Right => 0,
        }
    }

    fn of(byte: u8) -> Self {
        match byte {
            0 => JoinSide::Right,
            _ => JoinSide::Left,
        }
    }
}

const TIME_LEN: usize = 8;
/// In front of a key: time and side.
const PREFIX_LEN: usize = TIME_LEN + 1;
/// The list form for elements of any length.
const VARIABLE_FORM: u8 = 1;
/// In front of a list's elements: the form and how many there are.
const LIST_HEAD_LEN: usize = 1 + 4;

/// What both sides of a join know of time (Kafka's `KStreamImplJoin.TimeTracker`).
pub(crate) struct JoinTime {
    /// The largest time of any record of either side, also of one that was dropped; -1 before the first.
    pub(crate) stream_ms: i64,
    /// Nothing in the store is older, as far as is known; `None` when that is not known, or the store was empty.
    min_ms: Option<i64>,
    next_search_ms: i64,
}

/// The records of one key, side and time that found no match before their window closed.
pub(crate) struct Unmatched {
    pub(crate) row: Vec<u8>,
    pub(crate) list: Vec<u8>,
}

/// How long after its own time a record of each side waits for a match, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) left_ms: i64,
    pub(crate) right_ms: i64,
}

pub struct OuterJoinState {
    index: usize,
    changelog: Option<Changelog>,
    pub(crate) time: JoinTime,
    row: Vec<u8>,
    list: Vec<u8>,
}

impl OuterJoinState {
    pub(crate) fn new(arguments: &StateArguments) -> Self {
        OuterJoinState {
            index: arguments.index,
            changelog: arguments.changelog.clone().map(Changelog::new),
            time: JoinTime {
                stream_ms: -1,
                min_ms: None,
                next_search_ms: 0,
            },
            row: Vec::new(),
            list: Vec::new(),
        }
    }

    fn set_row(&mut self, side: JoinSide, timestamp: i64, key: &[u8]) {
        self.row.clear();
        self.row.extend_from_slice(&timestamp.to_be_bytes());
        self.row.push(side.byte());
        self.row.extend_from_slice(key);
    }

    /// Adds a record that has no match yet.
    pub(crate) fn add(
        &mut self,
        side: JoinSide,
        timestamp: i64,
        key: &[u8],
        value: &[u8],
        io: &mut StoreIo,
    ) -> Result<()> {
        self.time.min_ms = Some(self.time.min_ms.map_or(timestamp, |min| min.min(timestamp)));
        self.set_row(side, timestamp, key);
        let list = &mut self.list;
        list.clear();
        io.stores
            .key_value(self.index)
            .get_with(&self.row, &mut |stored| {
                list.extend_from_slice(stored.unwrap_or(&[VARIABLE_FORM, 0, 0, 0, 0]));
            })?;
        let size = list_size(list)? + 1;
        list[1..LIST_HEAD_LEN].copy_from_slice(&size.to_be_bytes());
        list.extend_from_slice(&length(value.len() + 1)?.to_be_bytes());
        list.push(side.byte());
        list.extend_from_slice(value);
        io.stores
            .key_value_mut(self.index)
            .put(&self.row, Some(&self.list))?;
        if let Some(changelog) = &self.changelog {
            changelog.log(io, &self.row, Some(&self.list), timestamp);
        }
        Ok(())
    }

    /// Removes the records of that side, time and key, one of which has found a match: all of them have.
    pub(crate) fn remove(
        &mut self,
        side: JoinSide,
        timestamp: i64,
        key: &[u8],
        record_timestamp: i64,
        io: &mut StoreIo,
    ) -> Result<()> {
        self.set_row(side, timestamp, key);
        let mut found = false;
        io.stores
            .key_value(self.index)
            .get_with(&self.row, &mut |stored| found = stored.is_some())?;
        if found {
            let row = std::mem::take(&mut self.row);
            self.delete(&row, record_timestamp, io)?;
            self.row = row;
        }
        Ok(())
    }

    fn delete(&mut self, row: &[u8], record_timestamp: i64, io: &mut StoreIo) -> Result<()> {
        io.stores.key_value_mut(self.index).put(row, None)?;
        if let Some(changelog) = &self.changelog {
            changelog.log(io, row, None, record_timestamp);
        }
        Ok(())
    }

    /// Whether it is time to look for records whose window has closed: there may be some, and the last search was long enough
    /// ago by the wall clock. `wait_ms` is that of the side whose record is at hand.
    pub(crate) fn begins_search(&mut self, wait_ms: i64, now_ms: i64, interval_ms: i64) -> bool {
        let none_yet = |min_ms: i64| min_ms.saturating_add(wait_ms) >= self.time.stream_ms;
        if self.time.min_ms.is_some_and(none_yet) || now_ms < self.time.next_search_ms {
            return false;
        }
        self.time.next_search_ms = now_ms.saturating_add(interval_ms);
        true
    }

    /// The records whose window has closed, by time, right before left, then key.
    ///
    /// Where the search ends becomes the least time that is known, as in `KStreamKStreamJoin#emitNonJoinedOuterRecords`, though
    /// open windows of one side may lie before it: that decides when the next search is made, and so when results come out.
    pub(crate) fn take_closed(
        &mut self,
        waits: Waits,
        left_only: bool,
        io: &StoreIo,
    ) -> Result<Vec<Unmatched>> {
        let store = io.stores.key_value(self.index);
        let mut closed = Vec::new();
        let mut min_ms = None;
        let (mut left_open, mut right_open) = (false, false);
        for entry in store.range(None, None, Order::Forward)? {
            let (row, list) = entry?;
            let (side, timestamp, _) = parse_row(&row)?;
            min_ms = Some(timestamp);
            if left_open && right_open {
                break;
            }
            let (wait_ms, open) = match side {
                JoinSide::Left => (waits.left_ms, &mut left_open),
                JoinSide::Right => (waits.right_ms, &mut right_open),
            };
            if timestamp.saturating_add(wait_ms) < self.time.stream_ms {
                closed.push(Unmatched { row, list });
                continue;
            }
            *open = true;
            if left_open && right_open && list_size(&list)? > 1 {
                break;
            }
            if left_only {
                // Nothing but open windows follows: only the last of them matters.
                if let Some(last) = store.range(None, None, Order::Backward)?.next() {
                    min_ms = Some(parse_row(&last?.0)?.1);
                }
                break;
            }
        }
        self.time.min_ms = min_ms;
        Ok(closed)
    }

    /// Removes what was taken and handed on.
    pub(crate) fn remove_closed(
        &mut self,
        closed: &[Unmatched],
        record_timestamp: i64,
        io: &mut StoreIo,
    ) -> Result<()> {
        for unmatched in closed {
            self.delete(&unmatched.row, record_timestamp, io)?;
        }
        Ok(())
    }
}

impl Unmatched {
    /// Side, time and key bytes.
    pub(crate) fn parse(&self) -> Result<(JoinSide, i64, &[u8])> {
        parse_row(&self.row)
    }

    /// The side and bytes of each value, in the order they came.
    pub(crate) fn values(&self) -> impl Iterator<Item = Result<(JoinSide, &[u8])>> {
        let mut rest = self.list.get(LIST_HEAD_LEN..).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let element = rest.split_first_chunk::<4>().and_then(|(len, behind)| {
                let len = usize::try_from(i32::from_be_bytes(*len)).ok()?;
                let (element, behind) = behind.split_at_checked(len)?;
                rest = behind;
                element.split_first()
            });
            match element {
                Some((side, value)) => Some(Ok((JoinSide::of(*side), value))),
                None => {
                    rest = &[];
                    Some(Err(not_a_list()))
                }
            }
        })
    }
}

fn parse_row(row: &[u8]) -> Result<(JoinSide, i64, &[u8])> {
    match row.split_first_chunk::<TIME_LEN>() {
        Some((time, rest)) if row.len() >= PREFIX_LEN => {
            Ok((JoinSide::of(rest[0]), i64::from_be_bytes(*time), &rest[1..]))
        }
        _ => Err(Error::fatal(format!(
            "{} bytes are too short for a row of an outer join, which begins with a time and a side: the state is damaged, delete the task's directory to restore it",
            row.len()
        ))),
    }
}

pub(crate) fn list_size(list: &[u8]) -> Result<i32> {
    match list.get(..LIST_HEAD_LEN) {
        Some([VARIABLE_FORM, size @ ..]) => {
            Ok(i32::from_be_bytes(size.try_into().expect("four bytes")))
        }
        _ => Err(not_a_list()),
    }
}

#[cold]
fn not_a_list() -> Error {
    Error::fatal(
        "a row of an outer join holds no list of values: the state is damaged, delete the task's directory to restore it",
    )
}

fn length(len: usize) -> Result<i32> {
    i32::try_from(len).map_err(|_| {
        Error::fatal(format!(
            "a value of {len} bytes is too large for the list of an outer join"
        ))
    })
}

impl AnyState for OuterJoinState {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn forget_clean(&mut self) {}

    fn write_changed(&mut self, _io: &mut StoreIo) -> Result<bool> {
        Ok(true)
    }
}
