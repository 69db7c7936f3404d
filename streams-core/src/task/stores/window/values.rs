//! Values side by side, of which some may be missing.
//!
//! A vector of `Option`s takes a whole word more for most values, and as much again for a count. Here it is a bit, so that more
//! windows find room in the cache.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ops::Range;

/// Values by their place.
pub(super) struct Values<V> {
    /// Initialised where `missing` does not say otherwise.
    cells: Vec<MaybeUninit<V>>,
    missing: Bits,
}

impl<V> Values<V> {
    pub(super) fn new() -> Self {
        Values {
            cells: Vec::new(),
            missing: Bits::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// What is held on the heap, but for what the values hold there, and for the bits: these come and go with every change,
    /// and are little.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<V>()
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&V> {
        let cell = &self.cells[at];
        // SAFETY: a cell that is not missing is initialised.
        (!self.missing.get(at)).then(|| unsafe { cell.assume_init_ref() })
    }

    /// Whether none of these is missing.
    #[inline]
    pub(super) fn are_there(&self, mut places: Range<usize>) -> bool {
        self.missing.are_none() || !places.any(|at| self.missing.get(at))
    }

    /// Takes a value out; it is missing from then on.
    pub(super) fn take(&mut self, at: usize) -> Option<V> {
        let cell = &self.cells[at];
        if self.missing.get(at) {
            return None;
        }
        self.missing.set(at);
        // SAFETY: it was not missing, so it is initialised, and now that it is missing nobody reads it again.
        Some(unsafe { cell.assume_init_read() })
    }

    pub(super) fn set(&mut self, at: usize, value: Option<V>) {
        self.change(at, |place| *place = value);
    }

    /// Changes a value, or makes one that is missing; what is left when this panics stays.
    #[inline]
    pub(super) fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let is_there = !self.missing.get(at);
        // SAFETY: a cell that is not missing is initialised.
        let mut lent = unsafe { Lent::new(&mut self.cells[at], &mut self.missing, at, is_there) };
        change(&mut lent.value)
    }

    /// Changes values one after the other, until one change fails; `done` counts those that did not.
    #[inline]
    pub(super) fn change_each<E>(
        &mut self,
        places: Range<usize>,
        done: &mut usize,
        mut change: impl FnMut(&mut Option<V>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.are_there(places.clone()) {
            for at in places {
                self.change(at, &mut change)?;
                *done += 1;
            }
            return Ok(());
        }
        for (cell, at) in self.cells[places.clone()].iter_mut().zip(places) {
            // SAFETY: none of them is missing, and those before do not change that.
            let mut lent = unsafe { Lent::new(cell, &mut self.missing, at, true) };
            change(&mut lent.value)?;
            *done += 1;
        }
        Ok(())
    }

    /// Adds a value in front of the one at this place.
    pub(super) fn insert(&mut self, at: usize, value: Option<V>) {
        make_room(&mut self.cells, 2);
        let len = self.cells.len();
        let is_missing = value.is_none();
        let cell = value.map_or_else(MaybeUninit::uninit, MaybeUninit::new);
        self.cells.insert(at, cell);
        self.missing.insert(at, is_missing, len);
    }

    /// Adds as many places at the end, which have no values.
    pub(super) fn append_missing(&mut self, count: usize) {
        let len = self.cells.len();
        if len + count > self.cells.capacity() {
            self.cells.reserve_exact(count.max(len / 16));
        }
        for at in len..len + count {
            self.missing.set(at);
            self.cells.push(MaybeUninit::uninit());
        }
    }

    /// Takes this many values out at the front.
    pub(super) fn take_front(&mut self, count: usize, mut take: impl FnMut(Option<V>)) {
        for at in 0..count {
            take(self.take(at));
        }
        self.cells.drain(..count);
        self.missing.remove_front(count);
    }

    /// Keeps room for as many more.
    pub(super) fn shrink(&mut self, spare: usize) {
        shrink(&mut self.cells, spare);
    }
}

impl<V> Drop for Values<V> {
    fn drop(&mut self) {
        if std::mem::needs_drop::<V>() {
            for at in 0..self.cells.len() {
                drop(self.take(at));
            }
        }
    }
}

/// A value that is being changed; when this is dropped, the value goes back to its cell.
struct Lent<'a, V> {
    cell: &'a mut MaybeUninit<V>,
    missing: &'a mut Bits,
    at: usize,
    was_there: bool,
    value: Option<V>,
}

impl<'a, V> Lent<'a, V> {
    /// # Safety
    /// The cell must be initialised if it `is_there`. This owns the value from then on.
    #[inline]
    unsafe fn new(
        cell: &'a mut MaybeUninit<V>,
        missing: &'a mut Bits,
        at: usize,
        is_there: bool,
    ) -> Self {
        // SAFETY: as the caller says. Nobody else can look at the cell before this is dropped: it writes the value back, or
        // notes that there is none.
        let value = is_there.then(|| unsafe { cell.assume_init_read() });
        Lent {
            cell,
            missing,
            at,
            was_there: is_there,
            value,
        }
    }
}

impl<V> Drop for Lent<'_, V> {
    #[inline]
    fn drop(&mut self) {
        match self.value.take() {
            Some(value) => {
                self.cell.write(value);
                if !self.was_there {
                    self.missing.unset(self.at);
                }
            }
            None if self.was_there => self.missing.set(self.at),
            None => {}
        }
    }
}

/// Which places are missing. There are mostly less than 64, and mostly none is.
#[derive(Default)]
struct Bits {
    first: u64,
    /// Those behind the first 64.
    #[expect(clippy::box_collection, reason = "a word in each row that has none")]
    more: Option<Box<Vec<u64>>>,
}

impl Bits {
    #[inline]
    fn word(&self, index: usize) -> u64 {
        match (index.checked_sub(1), &self.more) {
            (None, _) => self.first,
            (Some(_), None) => 0,
            (Some(index), Some(more)) => more.get(index).copied().unwrap_or(0),
        }
    }

    fn word_mut(&mut self, index: usize) -> &mut u64 {
        let Some(index) = index.checked_sub(1) else {
            return &mut self.first;
        };
        let more = self.more.get_or_insert_default();
        if more.len() <= index {
            more.resize(index + 1, 0);
        }
        &mut more[index]
    }

    #[inline]
    fn get(&self, at: usize) -> bool {
        self.word(at / 64) & bit(at) != 0
    }

    #[inline]
    fn are_none(&self) -> bool {
        let none_of = |more: &Vec<u64>| more.iter().all(|word| *word == 0);
        self.first == 0 && self.more.as_deref().is_none_or(none_of)
    }

    fn set(&mut self, at: usize) {
        *self.word_mut(at / 64) |= bit(at);
    }

    fn unset(&mut self, at: usize) {
        *self.word_mut(at / 64) &= !bit(at);
    }

    /// Takes one in, in front of the one at this place of `len`.
    fn insert(&mut self, at: usize, is_set: bool, len: usize) {
        if !self.are_none() {
            let own = at / 64;
            for index in (own + 1..=len / 64).rev() {
                *self.word_mut(index) = self.word(index) << 1 | self.word(index - 1) >> 63;
            }
            let word = self.word_mut(own);
            let before = *word & (bit(at) - 1);
            *word = (*word - before) << 1 | before;
        }
        if is_set {
            self.set(at);
        }
    }

    fn remove_front(&mut self, count: usize) {
        if self.are_none() {
            return;
        }
        let (words, bits) = (count / 64, count % 64);
        let len = 1 + self.more.as_ref().map_or(0, |more| more.len());
        for index in 0..len {
            let low = self.word(index + words) >> bits;
            let high = match bits {
                0 => 0,
                _ => self.word(index + words + 1) << (64 - bits),
            };
            *self.word_mut(index) = low | high;
        }
    }
}

fn bit(at: usize) -> u64 {
    1 << (at % 64)
}

/// Rows are many and grow by little, so they get less room in advance than a vector would take.
pub(super) fn make_room<T>(vector: &mut Vec<T>, least: usize) {
    if vector.len() == vector.capacity() {
        vector.reserve_exact((vector.len() / 8).max(least));
    }
}

/// What was read one by one, or has left, leaves room for as many.
pub(super) fn shrink<T>(vector: &mut Vec<T>, spare: usize) {
    let len = vector.len();
    if vector.capacity() > len + len / 16 + 2 * spare {
        vector.shrink_to(len + spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize, Option<u8>),
        Append(usize),
        Set(usize, Option<u8>),
        Take(usize),
        TakeFront(usize),
        /// Turns each into its successor, and 0 into nothing, until there is 255.
        Each(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let value = proptest::option::weighted(0.7, any::<u8>());
        let step = prop_oneof![
            4 => (any::<usize>(), value.clone()).prop_map(|(at, value)| Step::Insert(at, value)),
            2 => (0..100usize).prop_map(Step::Append),
            4 => (any::<usize>(), value).prop_map(|(at, value)| Step::Set(at, value)),
            2 => any::<usize>().prop_map(Step::Take),
            1 => any::<usize>().prop_map(Step::TakeFront),
            3 => any::<[usize; 2]>().prop_map(|[from, to]| Step::Each(from, to)),
        ];
        proptest::collection::vec(step, 0..60)
    }

    fn successor(byte: Option<u8>) -> Result<Option<u8>, ()> {
        match byte {
            None => Ok(Some(1)),
            Some(0) => Ok(None),
            Some(byte) => byte.checked_add(1).map(Some).ok_or(()),
        }
    }

    /// Holds `counted` for as long as it is there.
    type Value = (u8, Rc<()>);

    proptest! {
        #[test]
        fn they_are_what_a_vector_of_options_is(steps in steps()) {
            let counted = Rc::new(());
            let value = |byte: u8| (byte, Rc::clone(&counted));
            let (mut values, mut model) = (Values::<Value>::new(), Vec::<Option<u8>>::new());
            for step in steps {
                let len = model.len();
                match step {
                    Step::Insert(at, byte) => {
                        let at = at % (len + 1);
                        values.insert(at, byte.map(value));
                        model.insert(at, byte);
                    }
                    Step::Append(count) => {
                        values.append_missing(count);
                        model.resize(len + count, None);
                    }
                    Step::Set(at, byte) if len > 0 => {
                        values.set(at % len, byte.map(value));
                        model[at % len] = byte;
                    }
                    Step::Take(at) if len > 0 => {
                        let taken = values.take(at % len).map(|(byte, _)| byte);
                        prop_assert_eq!(taken, model[at % len].take());
                    }
                    Step::TakeFront(count) => {
                        let count = count % (len + 1);
                        let mut taken = Vec::new();
                        values.take_front(count, |value| taken.push(value.map(|(byte, _)| byte)));
                        prop_assert_eq!(taken, model.drain(..count).collect::<Vec<_>>());
                    }
                    Step::Each(from, to) => {
                        let (from, to) = (from % (len + 1), to % (len + 1));
                        let places = from.min(to)..from.max(to);
                        let mut done = 0;
                        let changed = values.change_each(places.clone(), &mut done, |place| {
                            let byte = successor(place.as_ref().map(|(byte, _)| *byte))?;
                            *place = byte.map(value);
                            Ok(())
                        });
                        let mut expected = Ok(());
                        let mut expected_done = 0;
                        for place in &mut model[places] {
                            match successor(*place) {
                                Ok(byte) => *place = byte,
                                Err(()) => {
                                    expected = Err(());
                                    break;
                                }
                            }
                            expected_done += 1;
                        }
                        prop_assert_eq!((changed, done), (expected, expected_done));
                    }
                    Step::Set(..) | Step::Take(_) => {}
                }
                values.shrink(1);
                let shown = |at| values.get(at).map(|(byte, _)| *byte);
                prop_assert_eq!((0..values.len()).map(shown).collect::<Vec<_>>(), model.as_slice());
                let there = model.iter().flatten().count();
                prop_assert_eq!(Rc::strong_count(&counted), 1 + there);
                prop_assert_eq!(values.are_there(0..model.len()), there == model.len());
            }
            drop(values);
            prop_assert_eq!(Rc::strong_count(&counted), 1);
        }
    }

    #[test]
    fn a_panic_leaves_what_it_made_of_the_value() {
        let counted = Rc::new(());
        let mut values = Values::new();
        values.insert(0, Some(Rc::clone(&counted)));
        values.insert(1, None);
        for at in [0, 1] {
            let changed = catch_unwind(AssertUnwindSafe(|| {
                values.change(at, |value| {
                    *value = match value.take() {
                        Some(_) => None,
                        None => Some(Rc::clone(&counted)),
                    };
                    panic!("half done");
                })
            }));
            assert!(changed.is_err());
        }
        assert!(values.get(0).is_none() && values.get(1).is_some());
        assert_eq!(Rc::strong_count(&counted), 2);
        drop(values);
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
