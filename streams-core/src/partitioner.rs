//! Which partition of a topic a record goes to.

/// The partitions a record goes to, as a [`StreamPartitioner`] decides.
///
/// ```
/// use streams_core::partitioner::Partitions;
///
/// let dropped = Partitions::Many(vec![]);
/// assert_ne!(dropped, Partitions::Default);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Partitions {
    /// The one the key's bytes are hashed to ([`partition_for_key`]), or any for a null key.
    Default,
    /// This one.
    One(i32),
    /// Each of these, once each: a multicast, or a record that is dropped when there are none (KIP-837).
    Many(Vec<i32>),
}

/// Chooses the partitions of a record by its key and value (Kafka Streams' `StreamPartitioner`).
///
/// Closures are partitioners; [`by`] makes one of a closure that returns a number:
///
/// ```
/// use streams_core::partitioner::{Partitions, StreamPartitioner};
///
/// let broadcast_alarms = |_topic: &str, _city: &String, alarm: &bool, partition_count: i32| {
///     if *alarm {
///         Partitions::Many((0..partition_count).collect())
///     } else {
///         Partitions::Default
///     }
/// };
/// let partitions = broadcast_alarms.partitions("alarms", &"Mosbach".to_owned(), &true, 3);
/// assert_eq!(partitions, Partitions::Many(vec![0, 1, 2]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not choose partitions for keys `{K}` and values `{V}`",
    note = "write a closure `|topic: &str, key: &{K}, value: &{V}, partition_count: i32| -> Partitions`",
    note = "or, if it always returns one number, `by(|key: &{K}, value: &{V}, partition_count| ..)`"
)]
pub trait StreamPartitioner<K, V>: Send + Sync + 'static {
    /// The partitions of a record, each between 0 and `partition_count - 1`.
    fn partitions(&self, topic: &str, key: &K, value: &V, partition_count: i32) -> Partitions;
}

impl<K, V, F> StreamPartitioner<K, V> for F
where
    F: Fn(&str, &K, &V, i32) -> Partitions + Send + Sync + 'static,
{
    fn partitions(&self, topic: &str, key: &K, value: &V, partition_count: i32) -> Partitions {
        self(topic, key, value, partition_count)
    }
}

/// A partitioner that sends every record to one partition: the number a closure returns for its key, its value and the
/// topic's partition count.
///
/// ```
/// use streams_core::partitioner::{Partitions, StreamPartitioner, by};
///
/// let by_station = by(|station: &i32, _reading: &f64, partition_count| station % partition_count);
/// assert_eq!(by_station.partitions("weather", &7, &21.5, 4), Partitions::One(3));
/// ```
pub fn by<K, V>(
    partition: impl Fn(&K, &V, i32) -> i32 + Send + Sync + 'static,
) -> impl StreamPartitioner<K, V> {
    move |_topic: &str, key: &K, value: &V, partition_count: i32| {
        Partitions::One(partition(key, value, partition_count))
    }
}

/// The partition Kafka's producers choose for a key by its serialized bytes.
///
/// A windowed key goes where its inner key goes: pass the inner key's bytes alone.
///
/// ```
/// use streams_core::partitioner::partition_for_key;
///
/// assert_eq!(partition_for_key(b"foobar", 10), 6);
/// ```
///
/// # Panics
/// When `partition_count` is not positive.
#[inline]
pub fn partition_for_key(key: &[u8], partition_count: i32) -> i32 {
    assert!(partition_count > 0, "a topic has at least one partition");
    (murmur2(key) & i32::MAX) % partition_count
}

/// Kafka's murmur2 of some bytes (`Utils#murmur2`), the hash of its default partitioner.
///
/// ```
/// use streams_core::partitioner::murmur2;
///
/// assert_eq!(murmur2(b"hello"), 2_132_663_229);
/// ```
pub fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // The length is an int in Java; a record's key never exceeds it.
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The vectors of Kafka's `UtilsTest#testMurmur2`, and some more from the Java code.
    const VECTORS: [(&str, i32, i32); 10] = [
        ("", 275_646_681, 1),
        ("a", -1_563_381_124, 4),
        ("ab", 316_155_434, 4),
        ("abc", 479_470_107, 7),
        ("abcd", -1_323_649_548, 0),
        ("hello", 2_132_663_229, 9),
        ("21", -973_932_308, 0),
        ("foobar", -790_332_482, 6),
        ("a-little-bit-long-string", -985_981_536, 2),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
            7,
        ),
    ];

    #[test]
    fn hashes_are_javas() {
        for (key, hash, partition) in VECTORS {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key:?}");
            assert_eq!(partition_for_key(key.as_bytes(), 10), partition, "{key:?}");
        }
    }

    #[test]
    #[should_panic(expected = "at least one partition")]
    fn a_topic_without_partitions_is_a_mistake() {
        partition_for_key(b"", 0);
    }

    #[test]
    fn closures_are_partitioners() {
        fn partitions(partitioner: &dyn StreamPartitioner<String, i32>) -> Partitions {
            partitioner.partitions("topic", &"key".to_owned(), &5, 3)
        }
        assert_eq!(
            partitions(&|_: &str, _: &String, _: &i32, _: i32| Partitions::Default),
            Partitions::Default
        );
        assert_eq!(
            partitions(&by(|_: &String, value: &i32, count| value % count)),
            Partitions::One(2)
        );
    }

    proptest! {
        #[test]
        fn every_key_has_a_partition(key: Vec<u8>, partition_count in 1..i32::MAX) {
            let partition = partition_for_key(&key, partition_count);
            prop_assert!((0..partition_count).contains(&partition));
        }
    }
}
