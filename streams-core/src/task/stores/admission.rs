//! `Admission`: whether a value that is only read deserves a place in the record cache.
//!
//! A place spares reading the value from its bytes the next time. Where many more keys are read than fit, hardly any value is
//! read again before the cache is emptied, and filling it costs more than it spares.

/// How many values pass by a cache that was of no use, for each that it kept, before it is tried again.
const PASSED_FOR_EACH_KEPT: usize = 8;

/// What keeping values that are only read was good for since the cache was emptied. Values that were written have their place
/// whether they are read or not.
#[derive(Debug, Default)]
pub(super) struct Admission {
    kept: usize,
    found: usize,
    /// How many values still pass by.
    passing: usize,
}

impl Admission {
    /// A value was read that the cache has kept for that.
    #[inline]
    pub(super) fn found(&mut self) {
        self.found += 1;
    }

    /// A value was read that the cache does not have: whether to keep it.
    #[inline]
    pub(super) fn admit(&mut self) -> bool {
        if self.passing > 0 {
            self.passing -= 1;
            return false;
        }
        self.kept += 1;
        true
    }

    /// The cache is emptied. Keeping values was of use if it spared at least half as many reads as values were kept.
    pub(super) fn emptied(&mut self) {
        if self.found < self.kept / 2 {
            self.passing = self.kept * PASSED_FOR_EACH_KEPT;
        }
        (self.kept, self.found) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(admission: &mut Admission, reads: usize) -> usize {
        (0..reads).filter(|_| admission.admit()).count()
    }

    #[test]
    fn values_that_are_not_read_again_pass_by_for_a_while() {
        let mut admission = Admission::default();
        assert_eq!(kept_of(&mut admission, 10), 10);
        (0..4).for_each(|_| admission.found());
        admission.emptied();
        assert_eq!(kept_of(&mut admission, 80), 0);
        assert_eq!(kept_of(&mut admission, 10), 10);
        (0..5).for_each(|_| admission.found());
        admission.emptied();
        assert_eq!(kept_of(&mut admission, 10), 10);
    }

    #[test]
    fn a_cache_that_only_writes_fill_is_open_to_reads() {
        let mut admission = Admission::default();
        admission.emptied();
        assert!(admission.admit());
    }
}
