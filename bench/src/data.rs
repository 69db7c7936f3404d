//! The records of the inputs: made from a seed, so that they are the same in every run and on every machine.

use crate::workload::{Shape, Workload};

/// Words in a line of the word count.
pub const WORDS_PER_LINE: u64 = 10;

/// The time of the first record.
pub const START_MS: i64 = 1_700_000_000_000;

const VALUE_SIZE_BYTES: usize = 100;
/// The key and the value of a row that is restored.
pub const ROW_SIZE_BYTES: usize = 8 + VALUE_SIZE_BYTES;
const SEED: u64 = 42;

/// A topic to be filled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Says what is in it, so that workloads with the same input share it.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// What is in it.
    content: Content,
    records: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Content {
    /// Keys drawn evenly; `salt` tells one stream of records from another, `phase_ms` shifts their times.
    Readings { keys: u64, rate: u64, salt: u64 },
    /// Lines of words, the n-th of which is drawn in proportion to 1/n.
    Lines { words: u64, rate: u64 },
    /// Each key once, at the time of the start or before.
    Rows { sorted: bool },
}

/// One record, in buffers that are used again.
#[derive(Debug, Default)]
pub struct DataRecord {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// The topics a workload reads, in the order in which its topology names them.
pub fn topics(workload: &Workload) -> Vec<Topic> {
    let Workload {
        shape,
        records,
        keys,
        rate,
        partitions,
        ..
    } = *workload;
    let topic = |name: String, records: u64, content: Content| Topic {
        name: format!("{name}-{records}-p{partitions}"),
        partitions,
        content,
        records,
    };
    let readings = |records: u64, salt: u64| {
        let content = Content::Readings { keys, rate, salt };
        topic(format!("readings{salt}-k{keys}-r{rate}"), records, content)
    };
    match shape {
        Shape::Pass
        | Shape::Windows { .. }
        | Shape::Sliding { .. }
        | Shape::Sessions { .. }
        | Shape::Count => vec![readings(records, 0)],
        Shape::WordCount => {
            let content = Content::Lines { words: keys, rate };
            vec![topic(format!("lines-k{keys}"), records, content)]
        }
        Shape::StreamTable { rows } => vec![
            readings(records, 0),
            topic("rows".into(), rows, Content::Rows { sorted: false }),
        ],
        Shape::StreamStream { .. } => vec![readings(records / 2, 0), readings(records / 2, 1)],
        Shape::Restore { .. } => vec![topic("nothing".into(), 0, Content::Rows { sorted: true })],
    }
}

/// The changelog that a restoration reads; its name depends on the application's.
pub fn changelog(workload: &Workload, application_id: &str) -> Option<Topic> {
    let Shape::Restore { sorted } = workload.shape else {
        return None;
    };
    Some(Topic {
        name: format!("{application_id}-restored-changelog"),
        partitions: workload.partitions,
        content: Content::Rows { sorted },
        records: workload.records,
    })
}

/// The key of a number, eight hexadecimal digits.
fn write_key(number: u64, key: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    key.clear();
    for digit in (0..8).rev() {
        key.push(DIGITS[(number >> (4 * digit)) as usize & 15]);
    }
}

impl Topic {
    /// How many records it holds.
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether it stays empty.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The setting with which a broker keeps all of it: a changelog is compacted, and has each key once.
    pub fn keeps(&self) -> (&'static str, &'static str) {
        match self.name.ends_with("-changelog") {
            true => ("cleanup.policy", "compact"),
            false => ("retention.ms", "-1"),
        }
    }

    /// Its records one after the other, each in the same buffers.
    pub fn for_each<E>(&self, mut each: impl FnMut(&DataRecord) -> Result<(), E>) -> Result<(), E> {
        let mut random = Random(SEED);
        let letters: Vec<u8> = (0..1 << 16)
            .map(|_| b'a' + random.below(26) as u8)
            .collect();
        let mut record = DataRecord::default();
        match self.content {
            Content::Readings { keys, rate, salt } => {
                random = Random(SEED ^ (salt << 32));
                for index in 0..self.records {
                    record.timestamp_ms = START_MS + (index * 1000 / rate) as i64;
                    write_key(random.below(keys), &mut record.key);
                    let reading = random.below(1 << 20) as f64 / 7.0;
                    fill(&mut record.value, reading, &letters, &mut random);
                    each(&record)?;
                }
            }
            Content::Lines { words, rate } => {
                let zipf = Zipf::new(words);
                for index in 0..self.records {
                    record.timestamp_ms = START_MS + (index * 1000 / rate) as i64;
                    write_key(index, &mut record.key);
                    record.value.clear();
                    for _ in 0..WORDS_PER_LINE {
                        if !record.value.is_empty() {
                            record.value.push(b' ');
                        }
                        let word = zipf.draw(&mut random);
                        record
                            .value
                            .extend_from_slice(format!("w{word:x}").as_bytes());
                    }
                    each(&record)?;
                }
            }
            Content::Rows { sorted } => {
                let step = if sorted { 1 } else { coprime(self.records) };
                record.timestamp_ms = START_MS;
                for index in 0..self.records {
                    write_key(index * step % self.records, &mut record.key);
                    let reading = random.below(1 << 20) as f64 / 7.0;
                    fill(&mut record.value, reading, &letters, &mut random);
                    each(&record)?;
                }
            }
        }
        Ok(())
    }
}

/// A reading, then letters that do not compress well.
fn fill(value: &mut Vec<u8>, reading: f64, letters: &[u8], random: &mut Random) {
    value.clear();
    value.extend_from_slice(&reading.to_be_bytes());
    let rest = VALUE_SIZE_BYTES - value.len();
    let from = random.below((letters.len() - rest) as u64) as usize;
    value.extend_from_slice(&letters[from..from + rest]);
}

/// Steps of this size visit every number below `count` once, in no order to speak of.
fn coprime(count: u64) -> u64 {
    let greatest_common_divisor = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (count as f64 * 0.618_033_988_75) as u64;
    (golden.max(1)..)
        .find(|step| greatest_common_divisor(*step, count.max(1)) == 1)
        .expect("one is coprime to everything")
}

/// SplitMix64.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit`, without it.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }
}

/// Numbers from 0 on, the n-th in proportion to 1/n.
struct Zipf {
    /// The share of a number and those before it, as a part of 2^32.
    shares: Vec<u64>,
}

impl Zipf {
    fn new(count: u64) -> Zipf {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        let shares = sums
            .iter()
            .map(|part| (part / sum * (1_u64 << 32) as f64) as u64)
            .collect();
        Zipf { shares }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let at = random.below(1 << 32);
        let rank = self.shares.partition_point(|share| *share <= at) as u64;
        rank.min(self.shares.len() as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};
    use std::convert::Infallible;

    fn records(topic: &Topic) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let Ok(()) = topic.for_each::<Infallible>(|record| {
            all.push((
                record.timestamp_ms,
                record.key.clone(),
                record.value.clone(),
            ));
            Ok(())
        });
        all
    }

    fn workload(name: &str, records: u64) -> Workload {
        let mut workload = Workload::named(name).expect("there is one");
        workload.records = records;
        workload
    }

    #[test]
    fn the_same_topic_has_the_same_records_and_two_streams_differ() {
        let both = topics(&workload("W8", 2000));
        let [left, right] = &both[..] else {
            panic!("a join of two streams reads two topics");
        };
        assert_eq!(records(left), records(left));
        assert_ne!(records(left), records(right));
        assert_eq!(records(left).len(), 1000);
    }

    #[test]
    fn readings_advance_at_their_rate_and_stay_among_their_keys() {
        let all = records(&topics(&workload("W3-30", 200_001))[0]);
        assert_eq!(all[200_000].0 - all[0].0, 2000);
        let keys: HashSet<&Vec<u8>> = all.iter().map(|(_, key, _)| key).collect();
        assert_eq!(keys.len(), 30);
        assert!(
            all.iter()
                .all(|(_, key, value)| key.len() == 8 && value.len() == 100)
        );
    }

    #[test]
    fn rows_have_every_key_once_in_order_or_not() {
        for sorted in [false, true] {
            let name = if sorted { "W11-sorted" } else { "W11-random" };
            let topic = changelog(&workload(name, 10_000), "app").expect("it restores");
            let keys: Vec<Vec<u8>> = records(&topic).into_iter().map(|(_, key, _)| key).collect();
            assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 10_000);
            assert_eq!(keys.is_sorted(), sorted);
        }
    }

    #[test]
    fn the_first_word_is_twice_as_frequent_as_the_second() {
        let all = records(&topics(&workload("W2", 20_000))[0]);
        let mut counts = BTreeMap::<String, u64>::new();
        for (_, _, line) in all {
            for word in String::from_utf8(line).expect("letters").split(' ') {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
        }
        let ratio = counts["w0"] as f64 / counts["w1"] as f64;
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert_eq!(counts.values().sum::<u64>(), 20_000 * WORDS_PER_LINE);
    }
}
