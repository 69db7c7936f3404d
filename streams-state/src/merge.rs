//! `MergeCursor`: the uncommitted writes over the committed rows, as one sorted scan.

use std::cmp::Ordering;

use crate::overlay::{Overlay, OverlayRange};
use crate::table::{Cursor, EmptyCursor, Row, RowRange};
use crate::{Order, Result};

/// Shows the overlay's write where both have a row, and hides the rows the overlay deletes.
struct MergeCursor<'a> {
    overlay: OverlayRange<'a>,
    write: Option<(&'a [u8], Option<&'a [u8]>)>,
    base: Box<dyn Cursor + 'a>,
    order: Order,
    from_overlay: bool,
}

/// A scan of `base` under `overlay`. `base` is only asked for a cursor when the range can have rows.
pub(crate) fn merge<'a>(
    overlay: &'a Overlay,
    range: RowRange,
    order: Order,
    base: impl FnOnce(RowRange) -> Result<Box<dyn Cursor + 'a>>,
) -> Result<Box<dyn Cursor + 'a>> {
    if range.is_empty() {
        return Ok(Box::new(EmptyCursor));
    }
    let mut writes = overlay.range(&range, order);
    let write = writes.next();
    let base = base(range)?;
    if write.is_none() {
        return Ok(base);
    }
    let mut cursor = MergeCursor {
        overlay: writes,
        write,
        base,
        order,
        from_overlay: false,
    };
    cursor.settle()?;
    Ok(Box::new(cursor))
}

impl MergeCursor<'_> {
    /// Decides whose row is next, passing rows that are overwritten or deleted.
    fn settle(&mut self) -> Result<()> {
        while let Some((key, value)) = self.write {
            let ahead_of_base = match self.base.row() {
                None => Ordering::Less,
                Some((base_key, _)) => match self.order {
                    Order::Forward => key.cmp(base_key),
                    Order::Backward => base_key.cmp(key),
                },
            };
            match ahead_of_base {
                Ordering::Greater => {
                    self.from_overlay = false;
                    return Ok(());
                }
                Ordering::Equal => self.base.advance()?,
                Ordering::Less => {}
            }
            if value.is_some() {
                self.from_overlay = true;
                return Ok(());
            }
            self.write = self.overlay.next();
        }
        self.from_overlay = false;
        Ok(())
    }
}

impl Cursor for MergeCursor<'_> {
    fn row(&self) -> Option<Row<'_>> {
        if !self.from_overlay {
            return self.base.row();
        }
        match self.write {
            Some((key, Some(value))) => Some((key, value)),
            _ => None,
        }
    }

    fn advance(&mut self) -> Result<()> {
        if self.from_overlay {
            self.write = self.overlay.next();
        } else {
            self.base.advance()?;
        }
        self.settle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryTable;
    use crate::table::{NoSink, Table, entries};

    fn check(order: Order, expected: &[(&str, &str)]) {
        let mut base = MemoryTable::default();
        for (key, value) in [("a", "1"), ("b", "1"), ("c", "1"), ("e", "1")] {
            base.restore(key.as_bytes(), Some(value.as_bytes()), &mut NoSink)
                .unwrap();
        }
        let mut overlay = Overlay::default();
        overlay.put(b"a", None);
        overlay.put(b"b", Some(b"2"));
        overlay.put(b"bb", Some(b"2"));
        overlay.put(b"d", None);
        overlay.put(b"f", Some(b"2"));
        overlay.put(b"g", None);
        let cursor = merge(&overlay, RowRange::default(), order, |range| {
            base.scan(range, order)
        })
        .unwrap();
        let rows: Vec<_> = entries(cursor)
            .map(|row| {
                let (key, value) = row.unwrap();
                (
                    String::from_utf8(key).unwrap(),
                    String::from_utf8(value).unwrap(),
                )
            })
            .collect();
        let rows: Vec<_> = rows.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn writes_win_and_deletions_hide() {
        let mut expected = [("b", "2"), ("bb", "2"), ("c", "1"), ("e", "1"), ("f", "2")];
        check(Order::Forward, &expected);
        expected.reverse();
        check(Order::Backward, &expected);
    }
}
