//! All groups: their members, by either protocol, and their offsets.

use std::collections::BTreeMap;

use super::Answers;
use super::classic_group::ClassicGroup;
use super::offsets::GroupOffsets;

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) classic: ClassicGroup,
    pub(crate) offsets: GroupOffsets,
}

impl Group {
    fn new() -> Self {
        Self { classic: ClassicGroup::new(), offsets: GroupOffsets::default() }
    }

    fn next_deadline_ms(&self) -> Option<i64> {
        self.classic.next_deadline_ms()
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
        self.by_id.entry(group_id.to_owned()).or_insert_with(Group::new)
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

    /// Does in every group what is due at this time.
    pub(crate) fn tick(&mut self, now_ms: i64, answers: &mut Answers) {
        let is_due = |group: &Group| group.next_deadline_ms().is_some_and(|deadline_ms| deadline_ms <= now_ms);
        for group in self.by_id.values_mut().filter(|group| is_due(group)) {
            group.classic.tick(now_ms, answers);
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.by_id.values().filter_map(Group::next_deadline_ms).min()
    }
}
