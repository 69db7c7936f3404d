//! The order in which Java's collections give names out again, which is the order `Topology#describe` prints them in.
//!
//! `describe` keeps a node's neighbours in a `TreeSet` whose comparator looks at sizes that still change, and fills it in the
//! order of a `HashMap`. To print the same text both have to be done again here.

use std::cmp::Ordering;

/// The order of a `HashMap` or `HashSet` that was filled with these names: their positions.
pub(super) fn hash_order<S: AsRef<str>>(names: &[S]) -> Vec<usize> {
    let mut buckets = 16;
    while names.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    let mut positions: Vec<usize> = (0..names.len()).collect();
    positions.sort_by_key(|position| {
        let hash = names[*position]
            .as_ref()
            .encode_utf16()
            .fold(0u32, |hash, unit| {
                hash.wrapping_mul(31).wrapping_add(unit.into())
            });
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
    positions
}

/// `java.util.TreeMap`'s red-black tree, insertions only.
#[derive(Default)]
pub(super) struct TreeSet {
    entries: Vec<Entry>,
    root: Option<usize>,
}

struct Entry {
    item: usize,
    parent: Option<usize>,
    /// Left and right.
    children: [Option<usize>; 2],
    red: bool,
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

impl TreeSet {
    /// Adds an item unless it is there; `compare` is asked with the new item first.
    pub(super) fn insert(&mut self, item: usize, compare: impl Fn(usize, usize) -> Ordering) {
        let mut place = self.root;
        let mut parent = None;
        let mut side = LEFT;
        while let Some(entry) = place {
            side = match compare(item, self.entries[entry].item) {
                Ordering::Less => LEFT,
                Ordering::Greater => RIGHT,
                Ordering::Equal => return,
            };
            parent = place;
            place = self.entries[entry].children[side];
        }
        let new = self.entries.len();
        self.entries.push(Entry {
            item,
            parent,
            children: [None; 2],
            red: true,
        });
        match parent {
            None => self.root = Some(new),
            Some(parent) => self.entries[parent].children[side] = Some(new),
        }
        self.balance(new);
    }

    /// `TreeMap#fixAfterInsertion`.
    fn balance(&mut self, mut entry: usize) {
        while let Some(mut parent) = self.entries[entry].parent.filter(|p| self.entries[*p].red) {
            let Some(grandparent) = self.entries[parent].parent else {
                break;
            };
            let side = self.side(parent, grandparent);
            match self.entries[grandparent].children[1 - side].filter(|u| self.entries[*u].red) {
                Some(uncle) => {
                    self.entries[parent].red = false;
                    self.entries[uncle].red = false;
                    self.entries[grandparent].red = true;
                    entry = grandparent;
                }
                None => {
                    if self.side(entry, parent) != side {
                        entry = parent;
                        self.rotate(entry, side);
                        parent = self.entries[entry].parent.expect("rotated below another");
                    }
                    self.entries[parent].red = false;
                    self.entries[grandparent].red = true;
                    self.rotate(grandparent, 1 - side);
                }
            }
        }
        if let Some(root) = self.root {
            self.entries[root].red = false;
        }
    }

    fn side(&self, entry: usize, parent: usize) -> usize {
        match self.entries[parent].children[LEFT] == Some(entry) {
            true => LEFT,
            false => RIGHT,
        }
    }

    /// Moves an entry down to that side; its child of the other side takes its place.
    fn rotate(&mut self, entry: usize, side: usize) {
        let Some(risen) = self.entries[entry].children[1 - side] else {
            return;
        };
        let inner = self.entries[risen].children[side];
        self.entries[entry].children[1 - side] = inner;
        if let Some(inner) = inner {
            self.entries[inner].parent = Some(entry);
        }
        let parent = self.entries[entry].parent;
        self.entries[risen].parent = parent;
        match parent {
            None => self.root = Some(risen),
            Some(parent) => {
                let place = self.side(entry, parent);
                self.entries[parent].children[place] = Some(risen);
            }
        }
        self.entries[risen].children[side] = Some(entry);
        self.entries[entry].parent = Some(risen);
    }

    /// The items from left to right.
    pub(super) fn items(&self) -> Vec<usize> {
        let mut items = Vec::with_capacity(self.entries.len());
        let mut open = Vec::new();
        let mut place = self.root;
        while place.is_some() || !open.is_empty() {
            while let Some(entry) = place {
                open.push(entry);
                place = self.entries[entry].children[LEFT];
            }
            if let Some(entry) = open.pop() {
                items.push(self.entries[entry].item);
                place = self.entries[entry].children[RIGHT];
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_set_prints_in_the_order_of_its_buckets() {
        let names = ["l-STATE-STORE-0000000000", "r-STATE-STORE-0000000003"];
        assert_eq!(hash_order(&names), [1, 0]);
        assert_eq!(hash_order(&["b", "a"]), [1, 0]);
    }

    #[test]
    fn a_tree_is_sorted_and_has_everything_once() {
        let mut tree = TreeSet::default();
        for item in 0..1000 {
            tree.insert(item * 7919 % 1000, |a, b| a.cmp(&b));
            tree.insert(0, |a, b| a.cmp(&b));
        }
        assert_eq!(tree.items(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn where_a_comparison_changed_the_shape_decides() {
        // What Java's TreeSet makes of 1, 2, 3 in order, then 4 by a comparator that calls it the smallest but for 2.
        let mut tree = TreeSet::default();
        for item in [1, 2, 3] {
            tree.insert(item, |a, b| a.cmp(&b));
        }
        tree.insert(4, |_, other| match other {
            2 => Ordering::Greater,
            _ => Ordering::Less,
        });
        assert_eq!(tree.items(), [1, 2, 4, 3]);
    }
}
