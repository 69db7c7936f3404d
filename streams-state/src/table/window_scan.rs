//! `WindowScan`: the entries of a window store that a fetch asks for.

use std::ops::RangeInclusive;

use crate::key_encoding::RowLayout;
use crate::table::{Cursor, RowRange, Table};
use crate::{Order, Result, WindowKey};

/// The keys a fetch asks for.
pub(crate) enum Keys {
    One(Vec<u8>),
    /// Both bounds inclusive, `None` is open.
    Between(Option<Vec<u8>>, Option<Vec<u8>>),
}

impl Keys {
    fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(wanted) => key == wanted,
            Self::Between(from, to) => {
                from.as_ref().is_none_or(|from| key >= from.as_slice())
                    && to.as_ref().is_none_or(|to| key <= to.as_slice())
            }
        }
    }
}

/// Goes through one range of rows after the other and yields the entries with the right key and time. A range may hold
/// others as well: keys have no fixed length, so the rows of `a` and of `a\0..` can interleave.
pub(crate) struct WindowScan<'a, T> {
    table: &'a T,
    layout: RowLayout,
    keys: Keys,
    times_ms: RangeInclusive<i64>,
    ranges: std::vec::IntoIter<RowRange>,
    order: Order,
    cursor: Option<Box<dyn Cursor + 'a>>,
}

impl<'a, T: Table> WindowScan<'a, T> {
    pub fn new(
        table: &'a T,
        layout: RowLayout,
        keys: Keys,
        times_ms: RangeInclusive<i64>,
        ranges: Vec<RowRange>,
        order: Order,
    ) -> Self {
        Self {
            table,
            layout,
            keys,
            times_ms,
            ranges: ranges.into_iter(),
            order,
            cursor: None,
        }
    }

    fn next_entry(&mut self) -> Result<Option<(WindowKey, Vec<u8>)>> {
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
            let (key, start_ms, sequence) = self.layout.parse_row(row)?;
            let wanted = self.times_ms.contains(&start_ms) && self.keys.contains(key);
            let entry = wanted.then(|| {
                let key = key.to_vec();
                (
                    WindowKey {
                        key,
                        start_ms,
                        sequence,
                    },
                    value.to_vec(),
                )
            });
            cursor.advance()?;
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }
}

impl<T: Table> Iterator for WindowScan<'_, T> {
    type Item = Result<(WindowKey, Vec<u8>)>;

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
