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

/// Touches what `find` leads to for each of these keys, and returns for how many there was something. All are found before any
/// is touched: what does not depend on one another waits side by side.
pub(crate) fn prefetch<'a>(keys: &[&[u8]], find: impl Fn(&[u8]) -> Option<&'a [u8]>) -> usize {
    let mut found = 0;
    for keys in keys.chunks(AT_ONCE) {
        let mut places = [&[][..]; AT_ONCE];
        let mut len = 0;
        for place in keys.iter().filter_map(|key| find(key)) {
            places[len] = place;
            len += 1;
        }
        places[..len].iter().for_each(|place| touch(place));
        found += len;
    }
    found
}

/// Reads a byte of each line at the front of a place.
fn touch(place: &[u8]) {
    for at in (0..TOUCHED).step_by(LINE) {
        std::hint::black_box(place.get(at).copied());
    }
}
