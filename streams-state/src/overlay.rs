//! `Overlay`: the writes of one store since the last commit.

use std::collections::BTreeMap;
use std::collections::btree_map;

use crate::Order;
use crate::records::Write;
use crate::row_key::RowKey;
use crate::row_log::{LogRange, RowLog};
use crate::table::{RowRange, RowSink};

/// What an entry of the tree takes beside its bytes: two vectors and its share of a tree node.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Uncommitted writes in the order of their keys; a deletion is kept as `None`.
///
/// They are in a log until somebody writes behind a scan: of a store that is scanned between writes the order is kept up.
#[derive(Default)]
pub(crate) struct Overlay {
    log: RowLog,
    /// Empty while the log is not.
    tree: BTreeMap<RowKey, Option<Vec<u8>>>,
    tree_bytes: usize,
}

impl Overlay {
    /// The uncommitted write to `key`, if there is one; inside it `None` for a deletion.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        match self.tree.is_empty() {
            true => self.log.get(key),
            false => self.tree.get(key).map(Option::as_deref),
        }
    }

    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.tree.is_empty() {
            if !self.log.is_ordered() {
                return self.log.put(key, value);
            }
            let log = std::mem::take(&mut self.log);
            for (key, value) in log.iter() {
                self.put_in_tree(key, value);
            }
        }
        self.put_in_tree(key, value);
    }

    fn put_in_tree(&mut self, key: &[u8], value: Option<&[u8]>) {
        let value_len = value.map_or(0, <[u8]>::len);
        match self.tree.get_mut(key) {
            Some(slot) => {
                self.tree_bytes -= slot.as_ref().map_or(0, Vec::len);
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
                self.tree.insert(key.into(), value.map(<[u8]>::to_vec));
                self.tree_bytes += key.len() + ENTRY_OVERHEAD_BYTES;
            }
        }
        self.tree_bytes += value_len;
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.log.bytes() + self.tree_bytes
    }

    pub fn len(&self) -> usize {
        self.log.len() + self.tree.len()
    }

    pub fn clear(&mut self) {
        self.log.clear();
        self.tree.clear();
        self.tree_bytes = 0;
    }

    /// The writes in a range that is not empty.
    pub fn range(&self, range: &RowRange, order: Order) -> OverlayRange<'_> {
        let rows = match self.tree.is_empty() {
            true if self.log.len() == 0 => Rows::Log(self.log.nothing()),
            true => Rows::Log(self.log.range(range)),
            false => Rows::Tree(self.tree.range::<[u8], _>(range.bounds())),
        };
        OverlayRange { rows, order }
    }

    pub fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        let of_tree = self.tree.iter();
        let of_tree = of_tree.map(|(key, value)| (key.as_bytes(), value.as_deref()));
        self.log.iter().chain(of_tree)
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
    rows: Rows<'a>,
    order: Order,
}

enum Rows<'a> {
    Log(LogRange<'a>),
    Tree(btree_map::Range<'a, RowKey, Option<Vec<u8>>>),
}

impl<'a> Iterator for OverlayRange<'a> {
    type Item = Write<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = match &mut self.rows {
            Rows::Log(rows) => {
                return match self.order {
                    Order::Forward => rows.next(),
                    Order::Backward => rows.next_back(),
                };
            }
            Rows::Tree(rows) => rows,
        };
        let row = match self.order {
            Order::Forward => rows.next(),
            Order::Backward => rows.next_back(),
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
        // Behind a scan the rows are kept in order.
        assert_eq!(overlay.iter().count(), 1);
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
    fn writes_and_scans_go_on_in_turns() {
        let mut overlay = Overlay::default();
        let everything = RowRange::prefix(b"");
        let rows = |overlay: &Overlay, order| -> Vec<u8> {
            let rows = overlay.range(&everything, order);
            rows.map(|(key, _)| key[0]).collect()
        };
        assert_eq!(rows(&overlay, Order::Forward), b"");
        overlay.put(b"b", Some(b"1"));
        overlay.put(b"a", Some(b"1"));
        assert_eq!(overlay.get(b"a"), Some(Some(b"1".as_slice())));
        assert_eq!(rows(&overlay, Order::Backward), b"ba");
        overlay.put(b"c", None);
        assert_eq!(rows(&overlay, Order::Forward), b"abc");
        assert_eq!((overlay.get(b"c"), overlay.len()), (Some(None), 3));
        overlay.clear();
        overlay.put(b"d", Some(b"1"));
        assert_eq!(rows(&overlay, Order::Forward), b"d");
    }

    #[test]
    fn a_deletion_is_not_an_absence() {
        let mut overlay = Overlay::default();
        overlay.put(b"gone", None);
        assert_eq!(overlay.get(b"gone"), Some(None));
        assert_eq!(overlay.get(b"never"), None);
    }
}
