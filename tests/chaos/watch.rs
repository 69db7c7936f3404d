//! What a reader of committed records sees of the results, and when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::clients::{OUTPUTS, OWNERS, PARTITIONS, PAYMENTS, RECEIPTS, reader};

/// What is not told is no gap: less than this passes between two commits of an application that nothing befalls.
const GAP_MIN: Duration = Duration::from_millis(500);
const READ_TIMEOUT: Duration = Duration::from_secs(180);

/// One result, and when it was seen.
pub struct Seen {
    pub value: String,
    pub at: Instant,
    /// Where it is, to be looked at.
    pub place: String,
}

/// A time in which a partition of results got none.
#[derive(Clone, Copy)]
pub struct Gap {
    pub topic: &'static str,
    pub partition: i32,
    pub from: Instant,
    pub to: Instant,
}

impl Gap {
    /// How long it was.
    pub fn length(&self) -> Duration {
        self.to - self.from
    }
}

/// Results by topic and key, in the order they are in their partition.
#[derive(Default)]
pub struct Results {
    pub by_key: HashMap<(&'static str, String), Vec<Seen>>,
    pub gaps: Vec<Gap>,
}

/// Reads all results while they come.
pub struct Watch {
    results: Arc<Mutex<Results>>,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn all_partitions(topics: &[&str]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .expect("the beginning is an offset");
        }
    }
    list
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

impl Watch {
    /// Reads from now on.
    pub fn start(bootstrap: &str) -> Watch {
        let results = Arc::new(Mutex::new(Results::default()));
        let (count, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (shared, counter, stopped) =
            (Arc::clone(&results), Arc::clone(&count), Arc::clone(&stop));
        let consumer = reader(bootstrap);
        consumer
            .assign(&all_partitions(&OUTPUTS))
            .expect("topics can be read");
        let thread = thread::spawn(move || read(&consumer, &shared, &counter, &stopped));
        Watch {
            results,
            count,
            stop,
            thread,
        }
    }

    /// How many results there are.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Stops, and gives what was seen.
    pub fn stop(self) -> Results {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("results are read");
        std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(
    consumer: &BaseConsumer,
    results: &Mutex<Results>,
    count: &AtomicU64,
    stopped: &AtomicBool,
) {
    let mut last: HashMap<(&'static str, i32), Instant> = HashMap::new();
    while !stopped.load(Ordering::Relaxed) {
        let Some(polled) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        // The client says what it will get over by itself, such as a broker that is gone.
        let Ok(message) = polled else { continue };
        let at = Instant::now();
        let topic = OUTPUTS
            .into_iter()
            .find(|topic| *topic == message.topic())
            .expect("nothing else is read");
        let seen = Seen {
            value: text(message.payload()),
            at,
            place: format!("{topic}-{} at {}", message.partition(), message.offset()),
        };
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic, text(message.key()));
        results.by_key.entry(key).or_default().push(seen);
        if let Some(from) = last.insert((topic, message.partition()), at)
            && at - from > GAP_MIN
        {
            results.gaps.push(Gap {
                topic,
                partition: message.partition(),
                from,
                to: at,
            });
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The inputs as they are in the log: payments in the order of their partitions with the times they bear, how often there is
/// each receipt, and the owners. What sends them sends some twice when a broker dies before it has answered.
pub struct Inputs {
    pub payments: Vec<(String, i64)>,
    pub receipts: HashMap<String, usize>,
    pub owners: HashMap<String, String>,
}

impl Inputs {
    /// Reads all of them.
    pub fn read(bootstrap: &str) -> Inputs {
        let consumer = reader(bootstrap);
        let topics = [PAYMENTS, RECEIPTS, OWNERS];
        let mut missing: i64 = 0;
        for topic in topics {
            for partition in 0..PARTITIONS {
                let (start, end) = consumer
                    .fetch_watermarks(topic, partition, READ_TIMEOUT)
                    .expect("the brokers tell how long a log is");
                missing += end - start;
            }
        }
        consumer
            .assign(&all_partitions(&topics))
            .expect("topics can be read");
        let mut inputs = Inputs {
            payments: Vec::new(),
            receipts: HashMap::new(),
            owners: HashMap::new(),
        };
        let deadline = Instant::now() + READ_TIMEOUT;
        while missing > 0 {
            assert!(Instant::now() < deadline, "{missing} inputs cannot be read");
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            missing -= 1;
            if message.topic() == PAYMENTS {
                let timestamp = message.timestamp().to_millis().unwrap_or(0);
                inputs.payments.push((text(message.payload()), timestamp));
            } else if message.topic() == RECEIPTS {
                *inputs.receipts.entry(text(message.payload())).or_default() += 1;
            } else {
                let (account, owner) = (text(message.key()), text(message.payload()));
                inputs.owners.insert(account, owner);
            }
        }
        inputs
    }
}
