//! The offsets a group has committed, and those that wait for a transaction to commit.

use std::collections::BTreeMap;

use super::changes::{Change, Changes, CommittedOffset};

type TopicPartition = (String, i32);

/// The offsets of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupOffsets {
    committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// By producer: what its open transaction will commit.
    pending: BTreeMap<i64, BTreeMap<TopicPartition, CommittedOffset>>,
}

impl GroupOffsets {
    /// Commits an offset.
    pub(crate) fn commit(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
        committed: CommittedOffset,
        changes: &mut Changes,
    ) {
        changes.push(|| Change::Offset {
            group_id: group_id.to_owned(),
            topic: topic.to_owned(),
            partition,
            committed: committed.clone(),
        });
        self.committed
            .insert((topic.to_owned(), partition), committed);
    }

    /// Puts back an offset that was kept.
    pub(crate) fn restore(&mut self, topic: &str, partition: i32, committed: CommittedOffset) {
        self.committed
            .insert((topic.to_owned(), partition), committed);
    }

    /// Holds an offset back until the producer's transaction ends.
    pub(crate) fn hold(
        &mut self,
        producer_id: i64,
        topic: &str,
        partition: i32,
        committed: CommittedOffset,
    ) {
        self.pending
            .entry(producer_id)
            .or_default()
            .insert((topic.to_owned(), partition), committed);
    }

    /// Commits or drops what was held back for this producer.
    pub(crate) fn end_transaction(
        &mut self,
        group_id: &str,
        producer_id: i64,
        is_commit: bool,
        changes: &mut Changes,
    ) {
        let held = self.pending.remove(&producer_id).unwrap_or_default();
        for ((topic, partition), committed) in held.into_iter().filter(|_| is_commit) {
            self.commit(group_id, &topic, partition, committed, changes);
        }
    }

    /// What is held back for this producer.
    pub(crate) fn held(
        &self,
        producer_id: i64,
    ) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.pending.get(&producer_id).into_iter().flatten()
    }

    /// The committed offset of a partition.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(&(topic.to_owned(), partition))
    }

    /// Whether some open transaction is about to commit an offset of this partition.
    pub(crate) fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        let key = (topic.to_owned(), partition);
        self.pending.values().any(|held| held.contains_key(&key))
    }

    /// All committed offsets, by topic and partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.committed.iter()
    }

    /// Deletes the committed offset of a partition.
    pub(crate) fn delete(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
        changes: &mut Changes,
    ) {
        if self
            .committed
            .remove(&(topic.to_owned(), partition))
            .is_some()
        {
            let (group_id, topic) = (group_id.to_owned(), topic.to_owned());
            changes.push(|| Change::OffsetDeleted {
                group_id,
                topic,
                partition,
            });
        }
    }

    /// Deletes every offset of a topic, held back or not.
    pub(crate) fn delete_topic(&mut self, group_id: &str, topic: &str, changes: &mut Changes) {
        let partitions: Vec<i32> = self
            .committed
            .keys()
            .filter(|(name, _)| name == topic)
            .map(|(_, p)| *p)
            .collect();
        partitions
            .into_iter()
            .for_each(|partition| self.delete(group_id, topic, partition, changes));
        self.pending
            .values_mut()
            .for_each(|held| held.retain(|(name, _), _| name != topic));
    }

    /// Whether nothing is committed and nothing held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Deletes everything.
    pub(crate) fn clear(&mut self, group_id: &str, changes: &mut Changes) {
        let keys: Vec<TopicPartition> = self.committed.keys().cloned().collect();
        keys.into_iter()
            .for_each(|(topic, partition)| self.delete(group_id, &topic, partition, changes));
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: "m".into(),
            commit_timestamp_ms: 0,
        }
    }

    #[test]
    fn held_offsets_show_only_after_the_commit() {
        let mut changes = Changes::new(true);
        let mut offsets = GroupOffsets::default();
        offsets.commit("g", "t", 0, at(1), &mut changes);
        offsets.hold(7, "t", 0, at(5));
        assert!(offsets.is_unstable("t", 0));
        assert_eq!(offsets.get("t", 0), Some(&at(1)));
        offsets.end_transaction("g", 7, true, &mut changes);
        assert!(!offsets.is_unstable("t", 0));
        assert_eq!(offsets.get("t", 0), Some(&at(5)));
        offsets.hold(7, "t", 0, at(9));
        offsets.end_transaction("g", 7, false, &mut changes);
        assert_eq!(offsets.get("t", 0), Some(&at(5)));
        assert_eq!(changes.take().len(), 2, "an abort changes nothing durable");
    }

    #[test]
    fn a_topics_offsets_go_with_it() {
        let mut changes = Changes::new(false);
        let mut offsets = GroupOffsets::default();
        offsets.commit("g", "t", 0, at(1), &mut changes);
        offsets.commit("g", "u", 0, at(1), &mut changes);
        offsets.delete_topic("g", "t", &mut changes);
        assert_eq!(offsets.iter().count(), 1);
        offsets.clear("g", &mut changes);
        assert_eq!(offsets.iter().count(), 0);
    }
}
