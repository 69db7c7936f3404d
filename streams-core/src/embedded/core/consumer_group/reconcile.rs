//! The target assignment, and how a member gets there.

use std::collections::{BTreeMap, BTreeSet};

use super::ConsumerGroup;
use crate::embedded::core::assignors::{Assignor, MemberSubscription, TopicPartition};
use crate::embedded::core::topics::Topics;

impl ConsumerGroup {
    /// Makes a new target assignment if a member, its subscription (`has_changed`) or topics have changed.
    pub(super) fn refresh_target(&mut self, topics: &Topics, has_changed: bool) {
        let subscriptions: BTreeMap<&String, BTreeSet<String>> = self
            .members
            .iter()
            .map(|(id, member)| (id, member.subscribed(topics)))
            .collect();
        let subscribed: BTreeSet<&String> = subscriptions.values().flatten().collect();
        let known = subscribed.into_iter().filter_map(|name| topics.get(name));
        let current: BTreeMap<_, _> = known
            .map(|topic| (topic.name.clone(), (topic.id, topic.partitions.len())))
            .collect();
        if has_changed || current != self.topics {
            self.epoch += 1;
        }
        if self.epoch > self.assignment_epoch {
            let subscription = |(id, names): (&&String, &BTreeSet<String>)| {
                let topics = names
                    .iter()
                    .filter_map(|name| current.get(name))
                    .map(|(id, _)| *id)
                    .collect();
                let instance_id = self.members[*id].instance_id.clone();
                (
                    (*id).clone(),
                    MemberSubscription {
                        instance_id,
                        topics,
                    },
                )
            };
            let members = subscriptions.iter().map(subscription).collect();
            let counts = current.values().copied().collect();
            self.target = self.assignor().assign(&members, &counts, &self.target);
            self.assignment_epoch = self.epoch;
        }
        self.topics = current;
    }

    /// The assignor most members ask for, `uniform` if none does.
    pub(crate) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        self.members
            .values()
            .filter_map(|member| member.assignor)
            .for_each(|assignor| *votes.entry(assignor).or_default() += 1);
        votes
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map_or(Assignor::Uniform, |(assignor, _)| assignor)
    }

    /// Moves a member one step towards its target.
    pub(super) fn reconcile(
        &mut self,
        member_id: &str,
        owned: Option<&BTreeSet<TopicPartition>>,
        now_ms: i64,
    ) {
        let target = self.target.get(member_id).cloned().unwrap_or_default();
        let taken: BTreeSet<TopicPartition> = self
            .members
            .iter()
            .filter(|(id, _)| *id != member_id)
            .flat_map(|(_, member)| member.assigned.union(&member.revoking).copied())
            .collect();
        let assignment_epoch = self.assignment_epoch;
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if !member.revoking.is_empty() {
            let has_given_up = owned.is_some_and(|owned| owned.is_disjoint(&member.revoking));
            if !has_given_up && member.epoch != 0 {
                return;
            }
            member.revoking.clear();
            member.revocation_deadline_ms = None;
        }
        let kept: BTreeSet<TopicPartition> =
            member.assigned.intersection(&target).copied().collect();
        let lost: BTreeSet<TopicPartition> = member.assigned.difference(&target).copied().collect();
        let still_owns_lost =
            member.epoch != 0 && owned.is_none_or(|owned| !owned.is_disjoint(&lost));
        if !lost.is_empty() && still_owns_lost {
            member.assigned = kept;
            member.revoking = lost;
            member.revocation_deadline_ms = Some(now_ms + i64::from(member.rebalance_timeout_ms));
            return;
        }
        member.assigned = target
            .into_iter()
            .filter(|partition| kept.contains(partition) || !taken.contains(partition))
            .collect();
        if member.epoch != assignment_epoch {
            member.previous_epoch = member.epoch;
            member.epoch = assignment_epoch;
        }
    }
}
