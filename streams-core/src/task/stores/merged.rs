//! A scan of a store with the changes that the record cache holds back laid over it.
//!
//! Kafka's `AbstractMergedSortedCacheStoreIterator`: a scan sees everything and flushes nothing, since a flush forwards.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec;
use streams_state::Order;

/// Changed entries as the store would have them, `None` for a deletion.
pub(super) type Changes<K> = Vec<(K, Option<Vec<u8>>)>;

pub(super) struct Merged<K, E, I>
where
    I: Iterator<Item = Result<(K, Vec<u8>), E>>,
{
    below: Peekable<I>,
    changes: Peekable<vec::IntoIter<(K, Option<Vec<u8>>)>>,
    order: Order,
}

impl<K: Ord, E, I> Merged<K, E, I>
where
    I: Iterator<Item = Result<(K, Vec<u8>), E>>,
{
    /// `below` comes in that order; the changes come in any.
    pub(super) fn new(below: I, mut changes: Changes<K>, order: Order) -> Self {
        changes.sort_unstable_by(|a, b| compare(&a.0, &b.0, order));
        Merged {
            below: below.peekable(),
            changes: changes.into_iter().peekable(),
            order,
        }
    }
}

impl<K: Ord, E, I> Iterator for Merged<K, E, I>
where
    I: Iterator<Item = Result<(K, Vec<u8>), E>>,
{
    type Item = Result<(K, Vec<u8>), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((changed, _)) = self.changes.peek() else {
                return self.below.next();
            };
            match self.below.peek() {
                Some(Ok((key, _))) => match compare(changed, key, self.order) {
                    Ordering::Greater => return self.below.next(),
                    // What the cache has is newer.
                    Ordering::Equal => drop(self.below.next()),
                    Ordering::Less => {}
                },
                Some(Err(_)) => return self.below.next(),
                None => {}
            }
            if let Some((key, Some(value))) = self.changes.next() {
                return Some(Ok((key, value)));
            }
        }
    }
}

fn compare<K: Ord>(a: &K, b: &K, order: Order) -> Ordering {
    match order {
        Order::Forward => a.cmp(b),
        Order::Backward => b.cmp(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(below: &[i32], changes: &[(i32, bool)], order: Order, expected: &[(i32, u8)]) {
        let below = below.iter().map(|key| Ok::<_, ()>((*key, vec![0])));
        let changes = changes
            .iter()
            .map(|(key, present)| (*key, present.then(|| vec![1])))
            .collect();
        let merged: Vec<(i32, u8)> = Merged::new(below, changes, order)
            .map(|entry| entry.map(|(key, value)| (key, value[0])).expect("no error"))
            .collect();
        assert_eq!(merged, expected);
    }

    #[test]
    fn changes_hide_what_is_below() {
        let changes = [(9, true), (2, true), (0, true), (4, false), (5, false)];
        check(
            &[1, 2, 3, 4],
            &changes,
            Order::Forward,
            &[(0, 1), (1, 0), (2, 1), (3, 0), (9, 1)],
        );
        check(
            &[4, 3, 2, 1],
            &changes,
            Order::Backward,
            &[(9, 1), (3, 0), (2, 1), (1, 0), (0, 1)],
        );
    }

    #[test]
    fn either_side_may_be_empty() {
        check(&[1], &[], Order::Forward, &[(1, 0)]);
        check(&[], &[(1, true)], Order::Forward, &[(1, 1)]);
        check(&[1], &[(1, false)], Order::Forward, &[]);
    }
}
