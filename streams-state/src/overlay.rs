//! `Overlay`: the writes of one store since the last commit.

use std::collections::BTreeMap;
use std::collections::btree_map;

use crate::Order;
use crate::row_key::RowKey;
use crate::table::{RowRange, RowSink};

/// What an entry takes beside its bytes: two vectors and its share of a tree node.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Uncommitted writes in the order of their keys; a deletion is kept as `None`.
#[derive(Default)]
pub(crate) struct Overlay {
    rows: BTreeMap<RowKey, Option<Vec<u8>>>,
    bytes: usize,
}

impl Overlay {
    /// The uncommitted write to `key`, if there is one; inside it `None` for a deletion.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(key).map(Option::as_deref)
    }

    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let value_len = value.map_or(0, <[u8]>::len);
        match self.rows.get_mut(key) {
            Some(slot) => {
                self.bytes -= slot.as_ref().map_or(0, Vec::len);
                match (slot.as_mut(), value) {
                    // Overwriting in place keeps the buffer of a hot key.
                    (Some(bytes), Some(value)) => {
                        bytes.clear();
                        bytes.extend_from_slice(value);
                    }
                    _ => *slot = value.map(<[u8]>::to_vec),
                }
            }
            None => {
                self.rows.insert(key.into(), value.map(<[u8]>::to_vec));
                self.bytes += key.len() + ENTRY_OVERHEAD_BYTES;
            }
        }
        self.bytes += value_len;
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    /// The writes in a range that is not empty.
    pub fn range(&self, range: &RowRange, order: Order) -> OverlayRange<'_> {
        OverlayRange {
            rows: self.rows.range::<[u8], _>(range.bounds()),
            order,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_deref()))
    }

    /// Hands every write that is not below `expired` to `sink`, behind the deletion of what is.
    pub fn stage(&self, expired: Option<&[u8]>, sink: &mut dyn RowSink) {
        if let Some(expired) = expired {
            sink.delete_below(expired);
        }
        for (key, value) in self.iter() {
            if expired.is_some_and(|expired| key < expired) {
                continue;
            }
            match value {
                Some(value) => sink.put(key, value),
                None => sink.delete(key),
            }
        }
    }
}

/// Part of an overlay, in either direction.
pub(crate) struct OverlayRange<'a> {
    rows: btree_map::Range<'a, RowKey, Option<Vec<u8>>>,
    order: Order,
}

impl<'a> Iterator for OverlayRange<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.order {
            Order::Forward => self.rows.next(),
            Order::Backward => self.rows.next_back(),
        };
        row.map(|(key, value)| (key.as_bytes(), value.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_every_kind_of_write() {
        let mut overlay = Overlay::default();
        overlay.put(b"key", Some(b"four"));
        assert_eq!(overlay.bytes(), 3 + 4 + ENTRY_OVERHEAD_BYTES);
        overlay.put(b"key", Some(b"sixsix"));
        assert_eq!(overlay.bytes(), 3 + 6 + ENTRY_OVERHEAD_BYTES);
        overlay.put(b"key", None);
        assert_eq!(overlay.bytes(), 3 + ENTRY_OVERHEAD_BYTES);
        overlay.put(b"key", Some(b"1"));
        assert_eq!(overlay.bytes(), 3 + 1 + ENTRY_OVERHEAD_BYTES);
        assert_eq!(overlay.len(), 1);
        overlay.clear();
        assert_eq!((overlay.bytes(), overlay.len()), (0, 0));
    }

    #[test]
    fn a_deletion_is_not_an_absence() {
        let mut overlay = Overlay::default();
        overlay.put(b"gone", None);
        assert_eq!(overlay.get(b"gone"), Some(None));
        assert_eq!(overlay.get(b"never"), None);
    }
}
