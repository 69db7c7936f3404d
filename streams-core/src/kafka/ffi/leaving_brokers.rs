//! Keeps two of librdkafka's threads from waiting for one another for ever when a broker leaves the cluster.
//!
//! A broker that metadata no longer has, as while it is started anew, is taken out by librdkafka: what was asked of it comes to
//! nothing (`_DESTROY_BROKER`), and its thread takes partitions off it, for which it locks the client and then the partition.
//! When one of those requests was to check an offset against the epoch of the leader (KIP-320), the main thread locks the
//! partition and then the client, to look up who leads it. Where both happen at once neither goes on, and no call into the
//! client returns any more (librdkafka's issue 5476, open in 2.12 and after).
//!
//! So the main thread goes on with such a request only when the other thread must have been done for a while.

use rdkafka::bindings as sys;
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `OffsetForLeaderEpoch`.
const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
/// How long after a request came to nothing the broker's thread has taken its partitions off it, which takes it microseconds
/// once it is running. The main thread would ask again after as long by itself.
const REMOVAL_MAX: Duration = Duration::from_millis(500);

thread_local! {
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// The brokers that leave while a client knows them.
#[derive(Debug, Default)]
pub(super) struct LeavingBrokers {
    /// When a check of an offset last came to nothing in the thread of its broker.
    failed_at: Mutex<Option<Instant>>,
}

impl LeavingBrokers {
    /// Says that the calling thread is the main thread of a client.
    pub(super) fn note_main_thread() {
        IS_MAIN.set(true);
    }

    /// Looks at a response, or a request that comes to none; waits in the main thread where that is needed.
    pub(super) fn on_response(&self, api_key: i16, error: sys::rd_kafka_resp_err_t) {
        let broker_leaves = error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__DESTROY_BROKER;
        if api_key == OFFSET_FOR_LEADER_EPOCH && broker_leaves {
            std::thread::sleep(self.wait(IS_MAIN.get(), Instant::now()));
        }
    }

    /// How long a thread in which a check came to nothing has to wait.
    fn wait(&self, is_main: bool, now: Instant) -> Duration {
        let mut failed_at = self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !is_main {
            *failed_at = Some(now);
            return Duration::ZERO;
        }
        failed_at.map_or(Duration::ZERO, |failed_at| {
            (failed_at + REMOVAL_MAX).saturating_duration_since(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_thread_waits_for_the_last_request_of_a_broker_that_leaves() {
        let brokers = LeavingBrokers::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(brokers.wait(false, at(0)), Duration::ZERO);
        assert_eq!(brokers.wait(false, at(10)), Duration::ZERO);
        // The first of them is waited for as long as it takes for all; the others need not be.
        assert_eq!(brokers.wait(true, at(10)), REMOVAL_MAX);
        assert_eq!(brokers.wait(true, at(510)), Duration::ZERO);
        assert_eq!(brokers.wait(true, at(520)), Duration::ZERO);
        // Another broker leaves.
        assert_eq!(brokers.wait(false, at(700)), Duration::ZERO);
        assert_eq!(
            brokers.wait(true, at(900)),
            REMOVAL_MAX - Duration::from_millis(200)
        );
    }

    #[test]
    fn only_checks_of_offsets_at_a_broker_that_leaves_count() {
        use sys::rd_kafka_resp_err_t as codes;
        let brokers = LeavingBrokers::default();
        let counts = || brokers.failed_at.lock().unwrap().is_some();
        brokers.on_response(1, codes::RD_KAFKA_RESP_ERR__DESTROY_BROKER);
        brokers.on_response(OFFSET_FOR_LEADER_EPOCH, codes::RD_KAFKA_RESP_ERR_NO_ERROR);
        assert!(!counts());
        brokers.on_response(
            OFFSET_FOR_LEADER_EPOCH,
            codes::RD_KAFKA_RESP_ERR__DESTROY_BROKER,
        );
        assert!(counts());
    }
}
