//! The input: payments in and out of accounts, each with its receipt, as long as it is not stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::clients::{OWNERS, PARTITIONS, PAYMENTS, RECEIPTS, client};
use crate::random::Random;

const ACCOUNTS: usize = 60;
/// How many payments are sent at once.
const BURST: u64 = 10;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// What sends payments.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

fn producer(bootstrap: &str) -> BaseProducer {
    client(
        bootstrap,
        &[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "5"),
            ("partitioner", "murmur2_random"),
            // Whatever fails is sent again: the inputs are to be complete, too.
            ("message.timeout.ms", "0"),
        ],
    )
}

/// Fills the table of owners, which does not change after that.
pub fn write_owners(bootstrap: &str) {
    let producer = producer(bootstrap);
    for account in 0..ACCOUNTS {
        let (account, owner) = (format!("account-{account}"), format!("owner-{account}"));
        let record = BaseRecord::to(OWNERS).key(&account).payload(&owner);
        producer.send(record).expect("a record is taken");
    }
    producer
        .flush(FLUSH_TIMEOUT)
        .expect("the owners are written");
}

impl Load {
    /// Sends `rate` payments a second from now on.
    pub fn start(bootstrap: &str, rate: u64, mut random: Random, sent: Arc<AtomicU64>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let producer = producer(bootstrap);
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..BURST {
                    send(&producer, count, &mut random);
                    count += 1;
                }
                sent.store(count, Ordering::Relaxed);
                let due = started + Duration::from_millis(count * 1000 / rate);
                loop {
                    let rest = due.saturating_duration_since(Instant::now());
                    producer.poll(rest.min(Duration::from_millis(50)));
                    if rest.is_zero() {
                        break;
                    }
                }
            }
            producer
                .flush(FLUSH_TIMEOUT)
                .expect("the inputs are written");
            count
        });
        Load { stop, thread }
    }

    /// Stops, and says how many payments were written.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load is sent")
    }
}

/// All payments of an account are in one partition, so that their order is known.
fn send(producer: &BaseProducer, number: u64, random: &mut Random) {
    let account = random.below(ACCOUNTS);
    let amount = random.below(1000);
    let id = format!("payment-{number}");
    let payment = format!("{id} account-{account} {amount}");
    let receipt = format!("receipt-{number}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as i64);
    let payment = BaseRecord::<(), _>::to(PAYMENTS)
        .partition(account as i32 % PARTITIONS)
        .payload(&payment)
        .timestamp(now_ms);
    let receipt = BaseRecord::to(RECEIPTS)
        .key(&id)
        .payload(&receipt)
        .timestamp(now_ms);
    let taken = producer.send(payment).map_err(|(error, _)| error);
    taken.expect("the queue has room for minutes");
    let taken = producer.send(receipt).map_err(|(error, _)| error);
    taken.expect("the queue has room for minutes");
}
