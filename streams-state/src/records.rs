//! `Records`: rows one behind the other in one buffer, so that nothing is allocated for a row.
//!
//! A record is the length of its key, with marks of the owner's in the highest bits, the length of its value, then both.

/// Records begin at multiples of this, so that a table of 32-bit numbers finds them in a buffer of up to 32 GiB.
const ALIGN: usize = 8;
/// In front of the bytes of a row: the lengths of its key and its value.
const HEADER: usize = 8;
/// In place of a value's length: the row is deleted.
const DELETED: u32 = u32::MAX;
/// The bits of a key's length that are the owner's.
const MARKS: u32 = 0xf << 28;
/// The share that a table of records has of each, in bytes: a number and a mark, at a load between seven and fourteen sixteenths.
pub(crate) const INDEX_BYTES: usize = 8;

/// A row, `None` being its deletion.
pub(crate) type Write<'a> = (&'a [u8], Option<&'a [u8]>);

/// Rows by where they begin, in multiples of eight bytes.
#[derive(Default)]
pub(crate) struct Records(Vec<u8>);

impl Records {
    /// The length of the key with the marks, and that of the value.
    #[inline]
    fn header(&self, at: u32) -> (u32, u32) {
        let start = at as usize * ALIGN;
        let word = |start: usize| {
            let bytes = &self.0[start..start + 4];
            u32::from_ne_bytes(bytes.try_into().expect("four bytes were taken"))
        };
        (word(start), word(start + 4))
    }

    #[inline]
    pub fn key(&self, at: u32) -> &[u8] {
        let start = at as usize * ALIGN + HEADER;
        &self.0[start..start + key_len(self.header(at).0)]
    }

    /// The key and the value.
    #[inline]
    pub fn get(&self, at: u32) -> Write<'_> {
        let (key_word, value_len) = self.header(at);
        let start = at as usize * ALIGN + HEADER;
        let (key, rest) = self.0[start..].split_at(key_len(key_word));
        (
            key,
            (value_len != DELETED).then(|| &rest[..value_len as usize]),
        )
    }

    /// How many bytes a record takes.
    pub fn record_len(&self, at: u32) -> usize {
        let (key, value) = self.get(at);
        (HEADER + key.len() + value.map_or(0, <[u8]>::len)).next_multiple_of(ALIGN)
    }

    /// Adds a record.
    pub fn append(&mut self, key: &[u8], value: Option<&[u8]>, marks: u32) -> u32 {
        let at = self.begin(key.len(), value, marks);
        self.0.extend_from_slice(key);
        self.end(value);
        at
    }

    #[inline]
    fn begin(&mut self, key_len: usize, value: Option<&[u8]>, marks: u32) -> u32 {
        let at = u32::try_from(self.0.len() / ALIGN).expect("less than 32 GiB of rows");
        let key_len = u32::try_from(key_len).ok().filter(|len| len & MARKS == 0);
        let key_word = key_len.expect("a key is shorter than the largest record of Kafka") | marks;
        self.0.extend_from_slice(&key_word.to_ne_bytes());
        self.0.extend_from_slice(&value_len(value).to_ne_bytes());
        at
    }

    #[inline]
    fn end(&mut self, value: Option<&[u8]>) {
        self.0.extend_from_slice(value.unwrap_or_default());
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
    }

    /// Puts a value in the place of one that is as long; says whether that was so.
    #[inline]
    pub fn overwrite(&mut self, at: u32, value: Option<&[u8]>) -> bool {
        let (key_word, len) = self.header(at);
        if len != value_len(value) {
            return false;
        }
        if let Some(value) = value {
            let start = at as usize * ALIGN + HEADER + key_len(key_word);
            self.0[start..start + value.len()].copy_from_slice(value);
        }
        true
    }

    /// These records in the order of their keys.
    pub fn sorted(&self, places: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
        // Mostly the same bytes come first in all keys, and the twelve behind those tell most keys apart.
        let first = places.clone().next();
        let first = first.map_or(&[][..], |at| self.key(at));
        let same = |key: &[u8]| first.iter().zip(key).take_while(|(a, b)| a == b).count();
        let shared = places.clone().map(|at| same(self.key(at)));
        let shared = shared.min().unwrap_or(0);
        // Not a pair of pairs, which would have room between.
        let mut rows: Vec<(u64, u32, u32)> = places
            .map(|at| {
                let (front, behind) = front(&self.key(at)[shared..]);
                (front, behind, at)
            })
            .collect();
        rows.sort_unstable_by(|(front, behind, at), (other_front, other_behind, other)| {
            let by_front = (front, behind).cmp(&(other_front, other_behind));
            by_front.then_with(|| self.key(*at).cmp(self.key(*other)))
        });
        rows.into_iter().map(|(_, _, at)| at).collect()
    }

    /// How many bytes all take.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Forgets all, and keeps as much memory.
    pub fn clear(&mut self, kept_bytes: usize) {
        self.0.clear();
        self.0.shrink_to(kept_bytes);
    }

    #[inline]
    pub fn marks(&self, at: u32) -> u32 {
        self.header(at).0 & MARKS
    }

    #[inline]
    pub fn set_marks(&mut self, at: u32, marks: u32) {
        let start = at as usize * ALIGN;
        let key_word = self.header(at).0 & !MARKS | marks;
        self.0[start..start + 4].copy_from_slice(&key_word.to_ne_bytes());
    }

    /// The first record, if there is one.
    pub fn first(&self) -> Option<u32> {
        (!self.0.is_empty()).then_some(0)
    }

    /// The record behind this one.
    pub fn behind(&self, at: u32) -> Option<u32> {
        let next = at as usize * ALIGN + self.record_len(at);
        (next < self.0.len()).then_some((next / ALIGN) as u32)
    }

    /// All records, as they lie.
    pub fn places(&self) -> impl Iterator<Item = u32> + Clone {
        std::iter::successors(self.first(), |at| self.behind(*at))
    }

    /// Room for as many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Records(Vec::with_capacity(bytes))
    }
}

/// For owners that move records.
#[cfg(feature = "rocksdb")]
impl Records {
    /// The bytes of a record and what lies behind it.
    pub fn from(&self, at: u32) -> &[u8] {
        &self.0[at as usize * ALIGN..]
    }

    /// Adds a record with the key of another one.
    pub fn append_to_key_of(&mut self, of: u32, value: Option<&[u8]>, marks: u32) -> u32 {
        let key_len = self.key(of).len();
        let at = self.begin(key_len, value, marks);
        let key_start = of as usize * ALIGN + HEADER;
        self.0.extend_from_within(key_start..key_start + key_len);
        self.end(value);
        at
    }

    /// Moves a record to the front, where nothing is needed any more, and returns what is behind it there.
    pub fn move_to(&mut self, at: u32, to: u32) -> u32 {
        let (start, len) = (at as usize * ALIGN, self.record_len(at));
        self.0.copy_within(start..start + len, to as usize * ALIGN);
        to + (len / ALIGN) as u32
    }

    /// Forgets all from this one on.
    pub fn truncate(&mut self, at: u32) {
        self.0.truncate(at as usize * ALIGN);
    }

    /// Gives memory back that is not needed, but for as much.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.0.shrink_to(bytes);
    }
}

/// The first twelve bytes as numbers that are in the same order.
fn front(key: &[u8]) -> (u64, u32) {
    let mut bytes = [0; 16];
    let len = key.len().min(12);
    bytes[..len].copy_from_slice(&key[..len]);
    let number = u128::from_be_bytes(bytes);
    ((number >> 64) as u64, (number >> 32) as u32)
}

fn key_len(key_word: u32) -> usize {
    (key_word & !MARKS) as usize
}

fn value_len(value: Option<&[u8]>) -> u32 {
    let len = |value: &[u8]| {
        u32::try_from(value.len())
            .ok()
            .filter(|len| *len != DELETED)
    };
    value.map_or(DELETED, |value| {
        len(value).expect("a value is shorter than the largest record of Kafka")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_it_was_written() {
        let mut records = Records::default();
        let rows: [Write<'_>; 4] = [
            (b"key", Some(b"value")),
            (b"", Some(b"")),
            (b"deleted", None),
            (b"12345678", Some(b"x")),
        ];
        let places = rows.map(|(key, value)| records.append(key, value, 0));
        assert_eq!(places.map(|at| records.get(at)), rows);
        assert!(records.overwrite(places[0], Some(b"other")));
        assert!(!records.overwrite(places[0], Some(b"longer")));
        assert!(!records.overwrite(places[1], None));
        assert!(records.overwrite(places[2], None));
        assert_eq!(records.get(places[0]).1, Some(&b"other"[..]));
        let lens: usize = places.map(|at| records.record_len(at)).iter().sum();
        assert_eq!(lens, records.bytes());
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn marks_stay_apart_and_records_move() {
        let mut records = Records::default();
        let first = records.append(b"a", Some(b"first value"), 0);
        let second = records.append(b"b", Some(b"2"), 1 << 31);
        let third = records.append_to_key_of(second, None, 1 << 28);
        records.set_marks(first, MARKS);
        assert_eq!(
            [first, second, third].map(|at| records.marks(at) >> 28),
            [15, 8, 1]
        );
        assert_eq!(records.key(first), b"a");
        assert_eq!(records.behind(first), Some(second));
        assert_eq!(records.behind(third), None);
        let end = records.move_to(third, 0);
        records.truncate(end);
        let only = records.first().unwrap();
        assert_eq!(
            (records.get(only), records.marks(only)),
            ((&b"b"[..], None), 1 << 28)
        );
        assert_eq!(records.behind(only), None);
    }
}
