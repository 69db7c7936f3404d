//! `RowKey`: the key of an uncommitted row, inside the tree's node where it is short.
//!
//! A search compares many keys; those of windows and sessions of short record keys fit, and are then compared without
//! a look elsewhere in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;

/// How long a key may be to lie in the node.
const INLINE_LEN: usize = 38;

/// The bytes of a row's key, in their order.
pub(crate) enum RowKey {
    Inline { len: u8, bytes: [u8; INLINE_LEN] },
    Boxed(Box<[u8]>),
}

impl RowKey {
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Boxed(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for RowKey {
    fn from(key: &[u8]) -> Self {
        if key.len() > INLINE_LEN {
            return Self::Boxed(key.into());
        }
        let mut bytes = [0; INLINE_LEN];
        bytes[..key.len()].copy_from_slice(key);
        Self::Inline {
            len: key.len() as u8,
            bytes,
        }
    }
}

impl Borrow<[u8]> for RowKey {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RowKey {}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RowKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_have_one_order() {
        let long = [b'b'; INLINE_LEN + 1];
        let unsorted: [&[u8]; 5] = [&long, b"c", &long[..INLINE_LEN], b"", b"b"];
        let mut keys = unsorted.map(RowKey::from);
        keys.sort();
        let sorted: [&[u8]; 5] = [b"", b"b", &long[..INLINE_LEN], &long, b"c"];
        assert_eq!(keys.each_ref().map(RowKey::as_bytes), sorted);
        assert_eq!(size_of::<RowKey>(), 40);
    }
}
