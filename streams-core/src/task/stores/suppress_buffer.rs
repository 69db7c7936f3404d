//! Changes of a table that are held back, by key and in the order of their time: Kafka's
//! `InMemoryTimeOrderedKeyValueChangeBuffer`.
//!
//! They live in memory alone. The byte store below is where a restore leaves them, to be read when the buffer is first used.

use super::record_context::{RecordContext, read_sized, take, write_sized};
use super::suppress_changelog::VERSION;
use super::{AnyState, Changelog, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::SerdeError;
use crate::topology::store::StateArguments;
use hashbrown::HashMap;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use streams_state::Order;

/// The length that stands for an old value equal to the prior one.
const SAME_AS_PRIOR: i32 = -2;

/// A held change: what its key was before it was held at all, and before and after the change; where it came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) context: RecordContext,
    pub(crate) prior: Option<Vec<u8>>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
}

impl Held {
    /// Appends the form of the changelog's current version, without the time.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let context = &self.context;
        RecordContext::write(
            context.timestamp,
            context.offset,
            (&context.topic, context.partition),
            &context.headers,
            bytes,
        );
        write_sized(self.prior.as_deref(), bytes);
        match &self.old {
            Some(_) if self.old == self.prior => {
                bytes.extend_from_slice(&SAME_AS_PRIOR.to_be_bytes());
            }
            old => write_sized(old.as_deref(), bytes),
        }
        write_sized(self.new.as_deref(), bytes);
    }

    /// Takes what [`Held::write`] appended from the front of `bytes`.
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, SerdeError> {
        let context = RecordContext::read(bytes)?;
        let prior = read_sized(bytes)?.map(<[u8]>::to_vec);
        let old = match bytes.first_chunk() {
            Some(len) if i32::from_be_bytes(*len) == SAME_AS_PRIOR => {
                *bytes = &bytes[len.len()..];
                prior.clone()
            }
            _ => read_sized(bytes)?.map(<[u8]>::to_vec),
        };
        let new = read_sized(bytes)?.map(<[u8]>::to_vec);
        Ok(Held {
            context,
            prior,
            old,
            new,
        })
    }

    /// What Java takes it to hold: `BufferValue#residentMemorySizeEstimate` and `ProcessorRecordContext`'s.
    fn size(&self) -> usize {
        let len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let old = match self.old == self.prior {
            true => 0,
            false => len(&self.old),
        };
        let headers: usize = self
            .context
            .headers
            .iter()
            .map(|header| utf16_len(&header.key) + header.value.as_ref().map_or(0, |v| v.len()))
            .sum();
        let context =
            2 * size_of::<i64>() + utf16_len(&self.context.topic) + size_of::<i32>() + headers;
        len(&self.prior) + old + len(&self.new) + context
    }
}

fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A key, and what it was before it was held.
type Leaving = (Box<[u8]>, Option<Vec<u8>>);

/// By the time it is held by, then by key.
type Place = (i64, Box<[u8]>);

pub(crate) struct SuppressBufferState {
    index: usize,
    changelog: Option<Changelog>,
    loaded: bool,
    places: HashMap<Box<[u8]>, i64>,
    held: BTreeMap<Place, Held>,
    bytes: usize,
    /// The key that is being let go and its prior value: until it has reached everybody it counts as held.
    leaving: Option<Leaving>,
    /// Keys whose changes are not logged yet, in the order in which they changed first.
    dirty: HashMap<Box<[u8]>, ()>,
    dirty_order: Vec<Box<[u8]>>,
    /// What a flush under way has still to log, in order.
    logging: VecDeque<Box<[u8]>>,
    /// How many buckets Java's set of them would have: it grows and never shrinks.
    buckets: usize,
}

impl SuppressBufferState {
    pub(crate) fn new(arguments: &StateArguments) -> Self {
        SuppressBufferState {
            index: arguments.index,
            changelog: arguments.changelog.clone().map(Changelog::new),
            loaded: false,
            places: HashMap::new(),
            held: BTreeMap::new(),
            bytes: 0,
            leaving: None,
            dirty: HashMap::new(),
            dirty_order: Vec::new(),
            logging: VecDeque::new(),
            buckets: 16,
        }
    }

    /// Takes over what was restored.
    pub(crate) fn load(&mut self, io: &mut StoreIo) -> Result<()> {
        if self.loaded {
            return Ok(());
        }
        self.loaded = true;
        let mut keys = Vec::new();
        for row in io
            .stores
            .key_value(self.index)
            .range(None, None, Order::Forward)?
        {
            let (key, value) = row?;
            let mut bytes = value.as_slice();
            let held = Held::read(&mut bytes)?;
            let time = i64::from_be_bytes(take(&mut bytes)?);
            self.place(&key, time, held);
            keys.push(key);
        }
        for key in keys {
            io.stores.key_value_mut(self.index).put(&key, None)?;
        }
        Ok(())
    }

    /// What a key was before it was held back, `None` when nothing of it is.
    pub(crate) fn prior(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if let Some((_, prior)) = self
            .leaving
            .as_ref()
            .filter(|(leaving, _)| **leaving == *key)
        {
            return Some(prior.as_deref());
        }
        let held = self.get(key)?;
        Some(held.prior.as_deref())
    }

    fn get(&self, key: &[u8]) -> Option<&Held> {
        let time = *self.places.get(key)?;
        self.held.get(&(time, key.into()))
    }

    /// Holds a change back until its time; a later one of the same key takes its place, and its time.
    pub(crate) fn put(&mut self, key: &[u8], time: i64, mut held: Held) {
        held.prior = match self.get(key) {
            Some(before) => before.prior.clone(),
            None => held.old.clone(),
        };
        self.place(key, time, held);
        self.mark(key);
    }

    fn place(&mut self, key: &[u8], time: i64, held: Held) {
        let time = *self.places.entry(key.into()).or_insert(time);
        let size = size_of::<i64>() + key.len();
        self.bytes += size + held.size();
        if let Some(before) = self.held.insert((time, key.into()), held) {
            self.bytes -= size + before.size();
        }
    }

    /// The smallest time, `None` when nothing is held.
    pub(crate) fn first_time(&self) -> Option<i64> {
        self.held.first_key_value().map(|((time, _), _)| *time)
    }

    /// Lets the change of the smallest time go; to be followed by [`SuppressBufferState::has_left`].
    pub(crate) fn pop(&mut self) -> Option<(Box<[u8]>, Held)> {
        let ((_, key), held) = self.held.pop_first()?;
        self.places.remove(&key);
        self.bytes -= size_of::<i64>() + key.len() + held.size();
        self.mark(&key);
        self.leaving = Some((key.clone(), held.prior.clone()));
        Some((key, held))
    }

    /// The change that was let go has been forwarded.
    pub(crate) fn has_left(&mut self) {
        self.leaving = None;
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How much is held, as Java estimates it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn mark(&mut self, key: &[u8]) {
        if self.changelog.is_none() || self.dirty.contains_key(key) {
            return;
        }
        self.dirty.insert(key.into(), ());
        self.dirty_order.push(key.into());
        while self.dirty_order.len() > self.buckets / 4 * 3 {
            self.buckets *= 2;
        }
    }

    /// Logs what changed since the last time, in the order in which a `HashSet<Bytes>` gives its keys out, until that was all or
    /// there is much to send; says whether it was all.
    fn log(&mut self, io: &mut StoreIo) -> bool {
        let Some(changelog) = &self.changelog else {
            return true;
        };
        if self.logging.is_empty() {
            let mut keys = std::mem::take(&mut self.dirty_order);
            self.dirty.clear();
            let buckets = self.buckets;
            keys.sort_by_key(|key| bucket(key, buckets));
            self.logging = keys.into();
        }
        let mut version = Headers::new();
        version.add("v", Some(&[VERSION]));
        let mut bytes = Vec::new();
        while !io.effects.are_many() {
            let Some(key) = self.logging.pop_front() else {
                return true;
            };
            let time = self.places.get(&key).copied();
            match time.and_then(|time| Some((time, self.held.get(&(time, key.clone()))?))) {
                None => changelog.log_now(io, &key, None),
                Some((time, held)) => {
                    bytes.clear();
                    held.write(&mut bytes);
                    bytes.extend_from_slice(&time.to_be_bytes());
                    changelog.log_now_with_headers(io, &key, Some(&bytes), &version);
                }
            }
        }
        false
    }
}

/// Where Java's `HashMap` keeps a key of these bytes: by `Arrays.hashCode`.
fn bucket(key: &[u8], buckets: usize) -> usize {
    let hash = key.iter().fold(1_i32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(i32::from(*byte as i8))
    }) as u32;
    (hash ^ (hash >> 16)) as usize & (buckets - 1)
}

impl AnyState for SuppressBufferState {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn forget_clean(&mut self) {}

    fn write_changed(&mut self, io: &mut StoreIo) -> Result<bool> {
        Ok(self.log(io))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(old: Option<&str>, new: Option<&str>) -> Held {
        let value = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Held {
            context: RecordContext {
                timestamp: 3,
                offset: 0,
                topic: "in".to_owned(),
                partition: 0,
                headers: Headers::new(),
            },
            prior: None,
            old: value(old),
            new: value(new),
        }
    }

    fn buffer() -> SuppressBufferState {
        SuppressBufferState::new(&StateArguments {
            index: 0,
            window_order: None,
            changelog: Some(("log".into(), 0)),
            cached: false,
            elides_tombstones: false,
            timestamped: false,
            timed: false,
            max_entries: None,
        })
    }

    #[test]
    fn a_key_keeps_its_first_time_and_what_it_was_before() {
        let mut buffer = buffer();
        buffer.put(b"a", 5, held(Some("0"), Some("1")));
        buffer.put(b"b", 4, held(None, Some("1")));
        buffer.put(b"a", 1, held(Some("1"), Some("2")));
        assert_eq!(buffer.prior(b"a"), Some(Some(b"0".as_slice())));
        assert_eq!(buffer.prior(b"b"), Some(None));
        assert_eq!(buffer.prior(b"c"), None);
        assert_eq!(buffer.first_time(), Some(4));
        assert_eq!(
            buffer.pop().map(|(key, _)| key),
            Some(b"b".as_slice().into())
        );
        assert_eq!(buffer.prior(b"b"), Some(None));
        buffer.has_left();
        assert_eq!((buffer.prior(b"b"), buffer.len()), (None, 1));
        let (_, held) = buffer.pop().expect("a is held");
        assert_eq!(held.new.as_deref(), Some(b"2".as_slice()));
        assert_eq!((buffer.bytes(), buffer.first_time()), (0, None));
    }

    #[test]
    fn sizes_are_javas() {
        let mut buffer = buffer();
        buffer.put(b"ab", 5, held(Some("old"), Some("new!")));
        // Time and key; values, the old one being the prior one; timestamp, offset, topic and partition.
        assert_eq!(buffer.bytes(), 8 + 2 + 3 + 4 + 8 + 8 + 2 + 4);
    }

    #[test]
    fn an_equal_old_value_is_written_once() {
        let mut same = held(Some("x"), Some("y"));
        same.prior = Some(b"x".to_vec());
        let mut bytes = Vec::new();
        same.write(&mut bytes);
        assert!(bytes.ends_with(&[0, 0, 0, 1, b'x', 255, 255, 255, 254, 0, 0, 0, 1, b'y']));
        assert_eq!(Held::read(&mut bytes.as_slice()).unwrap(), same);
    }

    #[test]
    fn dirty_keys_come_in_the_order_of_javas_buckets() {
        // Arrays.hashCode of "a" is 31 + 97 = 128, of "b" 129.
        assert_eq!((bucket(b"a", 16), bucket(b"b", 16)), (0, 1));
        assert_eq!(bucket(&[0xff], 16), 30 & 15);
    }
}
