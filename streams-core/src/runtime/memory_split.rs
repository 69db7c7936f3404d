//! How `memory.max.bytes` is shared out: record caches take what they are set to, everything else parts of the rest.

use crate::config::StreamsConfig;

/// What a process takes without any state, in bytes: its code, stacks, and what allocators hold back. Of a small budget a part.
const PROCESS_BYTES: usize = 24 * 1024 * 1024;
/// A Kafka client's queue of less than this would hold no full batch.
const QUEUE_BYTES_MIN: usize = 1024 * 1024;

/// The parts of `memory.max.bytes`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemorySplit {
    /// `memory.max.bytes`.
    total_bytes: usize,
    /// Rows, block cache and write buffers of all stores together.
    pub(crate) stores_bytes: usize,
    /// Record caches of one thread (`statestore.cache.max.bytes`, shared out).
    pub(crate) cache_bytes_per_thread: usize,
    /// Uncommitted writes of one thread, which the stores count as theirs.
    pub(crate) uncommitted_bytes_per_thread: usize,
    /// What the member of the group of one thread has fetched and not delivered.
    pub(crate) consumer_bytes_per_thread: usize,
    /// What the producer of one thread has not sent.
    pub(crate) producer_bytes_per_thread: usize,
    /// What one reader of changelogs or global topics has fetched and not delivered.
    pub(crate) reader_bytes_each: usize,
}

impl MemorySplit {
    /// Of what record caches and the process itself leave: three quarters for stores, a sixteenth each for consumers and readers, half of that each for
    /// producers and for a commit, which is one batch. The last sixteenth is for what nobody counts. Uncommitted writes have a
    /// quarter of the stores' part.
    /// Record caches that leave less than a quarter are counted on top: the rest could not work with nothing.
    pub(crate) fn new(config: &StreamsConfig, restore_thread_count: usize) -> Self {
        let threads = config.num_stream_threads();
        let total = config.memory_max_bytes();
        let cache = config.cache_max_bytes();
        let process = PROCESS_BYTES.min(total / 8);
        let rest = total.saturating_sub(cache + process).max(total / 4);
        let per_thread = rest / 16 / threads;
        MemorySplit {
            total_bytes: total,
            stores_bytes: rest / 4 * 3,
            cache_bytes_per_thread: cache / threads,
            uncommitted_bytes_per_thread: rest / 16 * 3 / threads,
            consumer_bytes_per_thread: per_thread.max(QUEUE_BYTES_MIN),
            producer_bytes_per_thread: (per_thread / 2).max(QUEUE_BYTES_MIN),
            // One reads global topics beside those that restore.
            reader_bytes_each: (rest / 16 / (restore_thread_count + 1)).max(QUEUE_BYTES_MIN),
        }
    }

    /// The part of each thread when there are others than at the start; `threads` is how many there were then and are now.
    pub(crate) fn shared_anew(bytes_each: usize, threads: (usize, usize)) -> usize {
        let (at_start, now) = threads;
        bytes_each.saturating_mul(at_start) / now.max(1)
    }

    /// Says how the memory is shared out.
    pub(crate) fn log(&self) {
        let MemorySplit {
            total_bytes,
            stores_bytes,
            cache_bytes_per_thread,
            uncommitted_bytes_per_thread,
            consumer_bytes_per_thread,
            producer_bytes_per_thread,
            reader_bytes_each,
        } = *self;
        tracing::info!(
            total_bytes,
            stores_bytes,
            cache_bytes_per_thread,
            uncommitted_bytes_per_thread,
            consumer_bytes_per_thread,
            producer_bytes_per_thread,
            reader_bytes_each,
            "memory.max.bytes is shared out; sizes of client queues that are set take precedence"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(set: &[(&str, &str)], restore_threads: usize) -> MemorySplit {
        let config = set
            .iter()
            .fold(StreamsConfig::new("app"), |config, (name, value)| {
                config.set(name, value).unwrap()
            });
        MemorySplit::new(&config, restore_threads)
    }

    #[test]
    fn the_parts_make_up_the_whole() {
        const MIB: usize = 1024 * 1024;
        let split = split(
            &[
                ("memory.max.bytes", &(546 * MIB).to_string()),
                ("statestore.cache.max.bytes", &(10 * MIB).to_string()),
                ("num.stream.threads", "2"),
            ],
            3,
        );
        let per_thread = split.cache_bytes_per_thread
            + split.consumer_bytes_per_thread
            + split.producer_bytes_per_thread;
        let all = split.stores_bytes + 2 * per_thread + 4 * split.reader_bytes_each;
        let commits = 16 * MIB;
        assert_eq!(all + commits + PROCESS_BYTES, 546 * MIB - 512 * MIB / 16);
        assert_eq!(split.stores_bytes, 384 * MIB);
        assert_eq!(split.uncommitted_bytes_per_thread, 48 * MIB);
        assert_eq!(split.reader_bytes_each, 8 * MIB);
    }

    #[test]
    fn threads_that_come_and_go_share_what_there_is() {
        assert_eq!(MemorySplit::shared_anew(10, (2, 4)), 5);
        assert_eq!(MemorySplit::shared_anew(10, (2, 1)), 20);
        // The last one is on its way out.
        assert_eq!(MemorySplit::shared_anew(10, (2, 0)), 20);
    }

    #[test]
    fn large_record_caches_leave_something_to_the_rest() {
        let split = split(
            &[
                ("memory.max.bytes", "67108864"),
                ("statestore.cache.max.bytes", "1073741824"),
            ],
            1,
        );
        assert_eq!(split.stores_bytes, 67_108_864 / 4 / 4 * 3);
    }
}
