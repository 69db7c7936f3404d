//! Touching memory that is read soon.
//!
//! What a table leads to is seldom in the processor's caches. Look-ups one behind the other wait for it each time; places that
//! are touched together wait together.

/// How many look-ups wait side by side: more gain nothing, and what they touch should stay in the nearest cache.
pub(crate) const AT_ONCE: usize = 16;
/// How much memory comes at once, in bytes.
const LINE: usize = 64;
/// How many bytes of a place are touched: the processor sees by itself that more is read in order.
const TOUCHED: usize = 3 * LINE;

/// Reads a byte of each line at the front of these stretches.
pub(crate) fn touch<'a>(stretches: impl Iterator<Item = &'a [u8]>) {
    let mut sum = 0;
    for stretch in stretches {
        for at in (0..TOUCHED).step_by(LINE) {
            sum += stretch.get(at).map_or(0, |byte| u32::from(*byte));
        }
    }
    std::hint::black_box(sum);
}
