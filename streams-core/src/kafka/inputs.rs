//! Which input a fetched message belongs to.

use super::ffi::{Client, Message, Refusal, Topic, TopicKey};
use crate::record::TopicPartition;
use crate::runtime::broker::InputSlot;
use std::collections::HashMap;
use std::sync::Arc;

/// The inputs of one client, found by the topic handle that messages carry.
#[derive(Default)]
pub(super) struct Inputs {
    by_partition: HashMap<(TopicKey, i32), InputSlot>,
    /// The handles keep the keys from being used again for other topics.
    topics: HashMap<String, Topic>,
    /// Records come in runs of one partition.
    last: Option<(TopicKey, i32, InputSlot)>,
}

impl Inputs {
    /// Marks a partition's messages with `slot` from now on.
    pub(super) fn insert(
        &mut self,
        client: &Arc<Client>,
        partition: &TopicPartition,
        slot: InputSlot,
    ) -> Result<(), Refusal> {
        let key = match self.topics.get(&partition.topic) {
            Some(topic) => topic.key(),
            None => {
                let topic = Topic::new(client, &partition.topic)?;
                let key = topic.key();
                self.topics.insert(partition.topic.clone(), topic);
                key
            }
        };
        self.by_partition.insert((key, partition.partition), slot);
        self.last = None;
        Ok(())
    }

    /// Knows a partition's messages no more.
    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        if let Some(topic) = self.topics.get(&partition.topic) {
            self.by_partition
                .remove(&(topic.key(), partition.partition));
        }
        self.last = None;
    }

    /// Knows no partition any more.
    pub(super) fn clear(&mut self) {
        self.by_partition.clear();
        self.last = None;
    }

    /// The handle of an input's topic.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The slot of an input, `None` when it is none.
    pub(super) fn slot_of(&self, partition: &TopicPartition) -> Option<InputSlot> {
        let key = self.topics.get(&partition.topic)?.key();
        let slot = self.by_partition.get(&(key, partition.partition))?;
        Some(*slot)
    }

    /// The slot of a message, `None` when its partition is no input.
    #[inline]
    pub(super) fn slot(&mut self, message: &Message) -> Option<InputSlot> {
        let (key, partition) = (message.topic_key(), message.partition());
        match self.last {
            Some((last_key, last_partition, slot))
                if last_key == key && last_partition == partition =>
            {
                Some(slot)
            }
            _ => self.find(key, partition),
        }
    }

    fn find(&mut self, key: TopicKey, partition: i32) -> Option<InputSlot> {
        let slot = *self.by_partition.get(&(key, partition))?;
        self.last = Some((key, partition, slot));
        Some(slot)
    }
}
