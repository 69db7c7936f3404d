//! Which input a fetched message belongs to.

use super::ffi::{Client, Message, Refusal, Topic, TopicKey};
use crate::record::TopicPartition;
use crate::runtime::broker::InputSlot;
use std::collections::HashMap;
use std::sync::Arc;

/// The inputs of one client, found by the topic handle that messages carry.
#[derive(Default)]
pub(super) struct Inputs {
    by_partition: HashMap<(TopicKey, i32), State>,
    /// The handles keep the keys from being used again for other topics.
    topics: HashMap<String, Topic>,
    /// Records come in runs of one partition. Its state here is ahead of that in the table.
    last: Option<(TopicKey, i32, State)>,
}

#[derive(Clone, Copy)]
struct State {
    slot: InputSlot,
    /// No record before this offset is wanted: the start, or the one behind the last record.
    next: i64,
}

impl Inputs {
    /// Marks a partition's messages from offset `next` on with `slot` from now on.
    pub(super) fn insert(
        &mut self,
        client: &Arc<Client>,
        partition: &TopicPartition,
        slot: InputSlot,
        next: i64,
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
        self.leave_run();
        let state = State { slot, next };
        self.by_partition.insert((key, partition.partition), state);
        Ok(())
    }

    /// Knows a partition's messages no more.
    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        self.leave_run();
        if let Some(topic) = self.topics.get(&partition.topic) {
            self.by_partition
                .remove(&(topic.key(), partition.partition));
        }
    }

    /// Knows no partition any more.
    pub(super) fn clear(&mut self) {
        self.last = None;
        self.by_partition.clear();
    }

    /// The handle of an input's topic.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The slot of a message, `None` when its partition is no input, or when it was passed already. librdkafka asks where a
    /// leader's epoch ended, and takes an answer that comes after the partition was stopped and started elsewhere for one
    /// about its new position: the log seems to be cut off, so it goes back to the end of that epoch.
    #[inline]
    pub(super) fn take(&mut self, message: &Message) -> Option<InputSlot> {
        let (key, partition) = (message.topic_key(), message.partition());
        let offset = message.offset();
        let state = self.state(key, partition)?;
        if offset < state.next {
            went_back(message, state.next);
            return None;
        }
        state.next = offset + 1;
        Some(state.slot)
    }

    /// The slot of an input and the offset before which no record is wanted, `None` when it is none.
    pub(super) fn next(&mut self, partition: &TopicPartition) -> Option<(InputSlot, i64)> {
        let key = self.topics.get(&partition.topic)?.key();
        let state = self.state(key, partition.partition)?;
        Some((state.slot, state.next))
    }

    #[inline]
    fn state(&mut self, key: TopicKey, partition: i32) -> Option<&mut State> {
        let is_last = matches!(self.last, Some((last_key, last_partition, _))
            if last_key == key && last_partition == partition);
        if !is_last {
            self.leave_run();
            let state = *self.by_partition.get(&(key, partition))?;
            self.last = Some((key, partition, state));
        }
        self.last.as_mut().map(|(_, _, state)| state)
    }

    fn leave_run(&mut self) {
        if let Some((key, partition, state)) = self.last.take()
            && let Some(kept) = self.by_partition.get_mut(&(key, partition))
        {
            *kept = state;
        }
    }
}

#[cold]
fn went_back(message: &Message, next: i64) {
    tracing::debug!(
        topic = message.topic_name(),
        partition = message.partition(),
        offset = message.offset(),
        next,
        "passing over a record that was read already"
    );
}
