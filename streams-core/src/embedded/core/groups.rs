//! All groups: their members, by either protocol, and their offsets.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

use super::Answers;
use super::classic_group::ClassicGroup;
use super::consumer_group::ConsumerGroup;
use super::offsets::GroupOffsets;

/// The members of a group, by the protocol they speak.
#[derive(Clone, Debug)]
pub(crate) enum Membership {
    /// Members elect a leader, which assigns.
    Classic(ClassicGroup),
    /// The broker assigns (KIP-848).
    Consumer(ConsumerGroup),
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) membership: Membership,
    pub(crate) offsets: GroupOffsets,
}

impl Group {
    fn new() -> Self {
        Self {
            membership: Membership::Classic(ClassicGroup::new()),
            offsets: GroupOffsets::default(),
        }
    }

    /// Whether nobody is in it.
    pub(crate) fn has_no_members(&self) -> bool {
        match &self.membership {
            Membership::Classic(group) => group.is_empty(),
            Membership::Consumer(group) => group.members.is_empty(),
        }
    }

    /// The group as one of the classic protocol, which an empty group may become.
    ///
    /// # Errors
    /// `INCONSISTENT_GROUP_PROTOCOL` if members of the other protocol are in it.
    pub(crate) fn become_classic(&mut self) -> Result<&mut ClassicGroup, ResponseError> {
        if let Membership::Consumer(group) = &self.membership {
            if !group.members.is_empty() {
                return Err(ResponseError::InconsistentGroupProtocol);
            }
            self.membership = Membership::Classic(ClassicGroup::new());
        }
        self.classic()
    }

    /// The group as one of the classic protocol.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID` if it is not one: whoever asks is not in it.
    pub(crate) fn classic(&mut self) -> Result<&mut ClassicGroup, ResponseError> {
        match &mut self.membership {
            Membership::Classic(group) => Ok(group),
            Membership::Consumer(_) => Err(ResponseError::UnknownMemberId),
        }
    }

    /// The group as one of the consumer protocol, which an empty group may become.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND` if members of the other protocol are in it.
    pub(crate) fn become_consumer(&mut self) -> Result<&mut ConsumerGroup, ResponseError> {
        if let Membership::Classic(group) = &self.membership {
            if !group.is_empty() {
                return Err(ResponseError::GroupIdNotFound);
            }
            self.membership = Membership::Consumer(ConsumerGroup::default());
        }
        match &mut self.membership {
            Membership::Consumer(group) => Ok(group),
            Membership::Classic(_) => Err(ResponseError::GroupIdNotFound),
        }
    }

    /// Whether an offset may be committed by this member.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation_or_epoch: i32,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        match &mut self.membership {
            Membership::Classic(group) => {
                group.check_commit(member_id, instance_id, generation_or_epoch, now_ms)
            }
            Membership::Consumer(group) => group.check_commit(member_id, generation_or_epoch),
        }
    }

    /// The name of its state that the tools show.
    pub(crate) fn state_name(&self) -> &'static str {
        match &self.membership {
            Membership::Classic(group) => group.state.name(),
            Membership::Consumer(group) => group.state_name(),
        }
    }

    /// Whether a member of the group wants this topic, as far as the broker can know.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.membership {
            Membership::Classic(group) => !group.is_empty(),
            Membership::Consumer(group) => group
                .members
                .values()
                .any(|member| member.subscribed_names.contains(topic)),
        }
    }

    fn tick(&mut self, now_ms: i64, answers: &mut Answers) {
        match &mut self.membership {
            Membership::Classic(group) => group.tick(now_ms, answers),
            Membership::Consumer(group) => group.tick(now_ms),
        }
    }

    fn next_deadline_ms(&self) -> Option<i64> {
        match &self.membership {
            Membership::Classic(group) => group.next_deadline_ms(),
            Membership::Consumer(group) => group.next_deadline_ms(),
        }
    }
}

/// All groups by id.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_id: BTreeMap<String, Group>,
}

impl Groups {
    /// The group with this id.
    pub(crate) fn get(&self, group_id: &str) -> Option<&Group> {
        self.by_id.get(group_id)
    }

    /// The group with this id, to be changed.
    pub(crate) fn get_mut(&mut self, group_id: &str) -> Option<&mut Group> {
        self.by_id.get_mut(group_id)
    }

    /// The group with this id, created if there is none.
    pub(crate) fn get_or_create(&mut self, group_id: &str) -> &mut Group {
        self.by_id
            .entry(group_id.to_owned())
            .or_insert_with(Group::new)
    }

    /// Deletes a group.
    pub(crate) fn remove(&mut self, group_id: &str) -> Option<Group> {
        self.by_id.remove(group_id)
    }

    /// All groups, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.by_id.iter()
    }

    /// All groups, by id, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Group)> {
        self.by_id.iter_mut()
    }

    /// Forgets groups that have neither members nor offsets, so that trying out names leaves nothing behind.
    pub(crate) fn remove_unused(&mut self) {
        self.by_id
            .retain(|_, group| !group.has_no_members() || !group.offsets.is_empty());
    }

    /// Does in every group what is due at this time.
    pub(crate) fn tick(&mut self, now_ms: i64, answers: &mut Answers) {
        let is_due = |group: &Group| {
            group
                .next_deadline_ms()
                .is_some_and(|deadline_ms| deadline_ms <= now_ms)
        };
        self.by_id
            .values_mut()
            .filter(|group| is_due(group))
            .for_each(|group| group.tick(now_ms, answers));
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.by_id
            .values()
            .filter_map(Group::next_deadline_ms)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_group_speaks_whatever_comes() {
        let mut groups = Groups::default();
        let group = groups.get_or_create("g");
        assert!(group.become_consumer().is_ok());
        assert_eq!(group.classic().err(), Some(ResponseError::UnknownMemberId));
        assert!(group.become_classic().is_ok());
        assert!(group.has_no_members());
        assert_eq!(group.state_name(), "Empty");
        assert_eq!(groups.next_deadline_ms(), None);
        groups.remove_unused();
        assert!(groups.get("g").is_none());
    }
}
