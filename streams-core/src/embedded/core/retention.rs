//! Retention: segments that are too old, or too much together, go.

use super::changes::Changes;
use super::log::PartitionLog;
use super::topic_config::TopicConfig;

/// Deletes what the topic's `retention.ms` and `retention.bytes` no longer allow. Whole segments go, the oldest first; the
/// active one is closed first if all of it is too old, so that an idle topic empties too.
pub(crate) fn enforce(
    log: &mut PartitionLog,
    config: &TopicConfig,
    now_ms: i64,
    changes: &mut Changes,
) {
    if !config.is_deleted() {
        return;
    }
    if let Some(retention_ms) = config.retention_ms() {
        let is_old = |newest_ms: i64| now_ms.saturating_sub(newest_ms) > retention_ms;
        let active = log.active();
        if !active.batches.is_empty()
            && log
                .segments
                .iter()
                .all(|segment| is_old(segment.newest_ms()))
        {
            log.roll(changes);
        }
        while log.segments.len() > 1 && is_old(log.segments[0].newest_ms()) {
            log.delete_oldest_segment(changes);
        }
    }
    if let Some(retention_bytes) = config.retention_bytes() {
        let mut excess = log.size_bytes().saturating_sub(retention_bytes);
        while log.segments.len() > 1 && excess >= log.segments[0].size_bytes {
            excess -= log.segments[0].size_bytes;
            log.delete_oldest_segment(changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::batch::RecordBatchBuilder;
    use super::*;

    fn filled(settings: &[(&str, &str)]) -> (PartitionLog, TopicConfig) {
        let mut config = TopicConfig::default();
        config.set("segment.bytes", "100").unwrap();
        settings
            .iter()
            .for_each(|(name, value)| config.set(name, value).unwrap());
        let mut changes = Changes::new(false);
        let mut log = PartitionLog::new(Uuid::nil(), 0, &mut changes);
        for i in 0..10 {
            let batch = RecordBatchBuilder::new()
                .record(i * 100, Some(b"key"), Some(b"value"))
                .build();
            log.append(&batch, &config, i * 100, &mut changes).unwrap();
        }
        assert_eq!(log.segments.len(), 10);
        (log, config)
    }

    #[test]
    fn old_segments_go_and_at_last_the_active_one() {
        let (mut log, config) = filled(&[("retention.ms", "250")]);
        let mut changes = Changes::new(true);
        enforce(&mut log, &config, 600, &mut changes);
        assert_eq!((log.start_offset, log.end_offset), (4, 10));
        assert_eq!(changes.take().len(), 4);
        enforce(&mut log, &config, 5_000, &mut changes);
        assert_eq!(
            (log.start_offset, log.end_offset, log.size_bytes()),
            (10, 10, 0)
        );
        enforce(&mut log, &config, 50_000, &mut changes);
        assert_eq!(log.segments.len(), 1, "an empty active segment stays");
    }

    #[test]
    fn the_size_is_kept_at_least() {
        let (mut log, config) = filled(&[("retention.bytes", "250"), ("retention.ms", "-1")]);
        let one = log.segments[0].size_bytes;
        enforce(&mut log, &config, i64::MAX, &mut Changes::new(false));
        assert!(log.size_bytes() >= 250 && log.size_bytes() < 250 + one);
    }

    #[test]
    fn a_topic_that_is_only_compacted_loses_nothing() {
        let (mut log, config) = filled(&[("cleanup.policy", "compact"), ("retention.ms", "1")]);
        enforce(&mut log, &config, i64::MAX, &mut Changes::new(false));
        assert_eq!(log.start_offset, 0);
    }
}
