//! A record as operators see it, as the log holds it, and the headers that travel with both.

use std::fmt;

/// The headers of a record, in order; a key may occur more than once.
///
/// An empty list costs nothing: no allocation is made until a header is added.
///
/// ```
/// use streams_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.add("source", Some(b"station"));
/// headers.add("source", Some(b"replay"));
/// assert_eq!(headers.last("source"), Some(&b"replay"[..]));
/// assert_eq!(headers.len(), 2);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Headers(Vec<Header>);

/// One header: a name and a value, which may be null.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name; not unique within a record.
    pub key: String,
    /// The bytes, or `None` for a null value.
    pub value: Option<Vec<u8>>,
}

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Headers(Vec::new())
    }

    /// Adds a header behind those already there.
    pub fn add(&mut self, key: impl Into<String>, value: Option<&[u8]>) -> &mut Self {
        self.0.push(Header {
            key: key.into(),
            value: value.map(<[u8]>::to_vec),
        });
        self
    }

    /// Removes every header of that name.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.0.retain(|header| header.key != key);
        self
    }

    /// The value of the last header of that name (Kafka's `Headers#lastHeader`).
    pub fn last(&self, key: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .rev()
            .find(|header| header.key == key)
            .and_then(|header| header.value.as_deref())
    }

    /// All headers, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all headers and keeps the allocation.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|header| {
                (
                    &header.key,
                    header.value.as_deref().map(String::from_utf8_lossy),
                )
            }))
            .finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Headers(headers.into_iter().collect())
    }
}

/// A record on its way through the operators: everything in it is borrowed, so handing it on copies nothing.
#[derive(Debug)]
pub struct Record<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// The value.
    pub value: &'a V,
    /// Event time in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The headers it came with, or was given on the way.
    pub headers: &'a Headers,
}

impl<K, V> Clone for Record<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Record<'_, K, V> {}

impl<'a, K, V> Record<'a, K, V> {
    /// A record of these parts.
    pub fn new(key: &'a K, value: &'a V, timestamp: i64, headers: &'a Headers) -> Self {
        Record {
            key,
            value,
            timestamp,
            headers,
        }
    }

    /// The same record with another key.
    #[inline]
    pub fn with_key<'b, K2>(self, key: &'b K2) -> Record<'b, K2, V>
    where
        'a: 'b,
    {
        Record {
            key,
            value: self.value,
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }

    /// The same record with another value.
    #[inline]
    pub fn with_value<'b, V2>(self, value: &'b V2) -> Record<'b, K, V2>
    where
        'a: 'b,
    {
        Record {
            key: self.key,
            value,
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }

    /// The same record with another timestamp (milliseconds since the Unix epoch).
    #[inline]
    pub fn with_timestamp(self, timestamp: i64) -> Self {
        Record { timestamp, ..self }
    }

    /// The same record with other headers.
    #[inline]
    pub fn with_headers<'b>(self, headers: &'b Headers) -> Record<'b, K, V>
    where
        'a: 'b,
    {
        Record {
            key: self.key,
            value: self.value,
            timestamp: self.timestamp,
            headers,
        }
    }
}

/// A record as the log delivered it. The runtime is generic over this, so that librdkafka's buffers are read in place.
pub trait FetchedRecord: 'static {
    /// Its offset in the partition.
    fn offset(&self) -> i64;
    /// Its timestamp in milliseconds, -1 when the log has none.
    fn timestamp(&self) -> i64;
    /// The key's bytes, `None` for null.
    fn key(&self) -> Option<&[u8]>;
    /// The value's bytes, `None` for null.
    fn value(&self) -> Option<&[u8]>;
    /// Replaces `headers` with the record's own.
    fn read_headers(&self, headers: &mut Headers);
}

/// A [`FetchedRecord`] that owns its bytes: what tests and the in-memory driver use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The key's bytes, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The value's bytes, `None` for null.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl OwnedRecord {
    /// A copy of a record.
    pub(crate) fn of(record: &impl FetchedRecord) -> Self {
        let mut headers = Headers::new();
        record.read_headers(&mut headers);
        OwnedRecord {
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers,
        }
    }
}

impl FetchedRecord for OwnedRecord {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn read_headers(&self, headers: &mut Headers) {
        headers.0.clone_from(&self.headers.0);
    }
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
