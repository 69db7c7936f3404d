//! The topics of the weather programs, created when they do not exist yet.

use std::collections::BTreeMap;
use streams_core::producer::NewTopic;
use streams_core::{Result, StreamsConfig};

/// How many partitions a topic gets that does not exist yet.
pub const PARTITIONS: i32 = 4;

/// A topic with the broker's default replication and so many partitions, kept for ever when `keep` says so.
///
/// Kafka deletes by the records' timestamps. Results of a replay carry the times of their windows, which may lie years
/// back, so a topic of results would be emptied within minutes if it had the usual week of retention.
pub fn topic(name: &str, partition_count: i32, keep: bool) -> NewTopic {
    let mut config = BTreeMap::new();
    if keep {
        config.insert("retention.ms".into(), "-1".into());
    }
    NewTopic {
        name: name.into(),
        partition_count,
        replication_factor: -1,
        config,
    }
}

/// Creates those of the topics that do not exist yet.
///
/// # Errors
/// When the cluster cannot be reached or refuses one.
pub fn create_topics(config: &StreamsConfig, topics: &[NewTopic]) -> Result<()> {
    streams_core::producer::create_topics(config, topics)
}
