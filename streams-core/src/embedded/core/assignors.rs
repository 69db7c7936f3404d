//! Who gets which partition in a group of the consumer protocol: the two assignors a Kafka broker has.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// A partition of a topic.
pub(crate) type TopicPartition = (Uuid, i32);
/// Partitions by member.
pub(crate) type Assignment = BTreeMap<String, BTreeSet<TopicPartition>>;

/// How partitions are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    /// Evenly, moving as few as possible.
    Uniform,
    /// Ranges of each topic to the members in order, so that topics with equal partitions are assigned alike.
    Range,
}

impl Assignor {
    /// The assignor a client names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// Its name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Gives the partitions of the subscribed topics to the members. `current` is what they had before.
    pub(crate) fn assign(
        self,
        members: &BTreeMap<String, MemberSubscription>,
        partition_counts: &BTreeMap<Uuid, usize>,
        current: &Assignment,
    ) -> Assignment {
        match self {
            Self::Uniform => uniform(members, partition_counts, current),
            Self::Range => range(members, partition_counts),
        }
    }
}

/// What an assignor knows of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MemberSubscription {
    pub(crate) instance_id: Option<String>,
    pub(crate) topics: BTreeSet<Uuid>,
}

fn partition_numbers(
    partition_counts: &BTreeMap<Uuid, usize>,
    topic: Uuid,
) -> std::ops::Range<i32> {
    0..partition_counts
        .get(&topic)
        .map_or(0, |count| i32::try_from(*count).unwrap_or(i32::MAX))
}

fn range(
    members: &BTreeMap<String, MemberSubscription>,
    partition_counts: &BTreeMap<Uuid, usize>,
) -> Assignment {
    let mut assignment: Assignment = members
        .keys()
        .map(|member| (member.clone(), BTreeSet::new()))
        .collect();
    // Static members come first, by the name that outlives a restart, so that a restart does not move the ranges.
    let mut ordered: Vec<_> = members.iter().collect();
    ordered.sort_by_key(|(id, member)| {
        (
            member.instance_id.is_none(),
            member.instance_id.clone(),
            (*id).clone(),
        )
    });
    let topics: BTreeSet<Uuid> = members
        .values()
        .flat_map(|member| member.topics.iter().copied())
        .collect();
    for topic in topics {
        let subscribed: Vec<&String> = ordered
            .iter()
            .filter(|(_, member)| member.topics.contains(&topic))
            .map(|(id, _)| *id)
            .collect();
        let partitions = partition_numbers(partition_counts, topic);
        let (each, extra) = (
            partitions.len() / subscribed.len(),
            partitions.len() % subscribed.len(),
        );
        let mut partitions = partitions.map(|partition| (topic, partition));
        for (i, member) in subscribed.into_iter().enumerate() {
            let share = partitions.by_ref().take(each + usize::from(i < extra));
            assignment.entry(member.clone()).or_default().extend(share);
        }
    }
    assignment
}

fn uniform(
    members: &BTreeMap<String, MemberSubscription>,
    partition_counts: &BTreeMap<Uuid, usize>,
    current: &Assignment,
) -> Assignment {
    let topics: BTreeSet<Uuid> = members
        .values()
        .flat_map(|member| member.topics.iter().copied())
        .collect();
    let mut unassigned: BTreeSet<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            partition_numbers(partition_counts, *topic).map(|partition| (*topic, partition))
        })
        .collect();
    let mut assignment = Assignment::new();
    for (id, member) in members {
        let had = current.get(id).into_iter().flatten();
        let keeps = had.filter(|partition| {
            member.topics.contains(&partition.0) && unassigned.remove(partition)
        });
        let keeps: BTreeSet<TopicPartition> =
            keeps.copied().collect::<Vec<_>>().into_iter().collect();
        assignment.insert(id.clone(), keeps);
    }
    for partition in unassigned {
        let load = |id: &&String| assignment[*id].len();
        let subscribed = members
            .iter()
            .filter(|(_, member)| member.topics.contains(&partition.0))
            .map(|(id, _)| id);
        if let Some(id) = subscribed.min_by_key(load).cloned() {
            assignment.entry(id).or_default().insert(partition);
        }
    }
    while let Some((from, to, partition)) = improvement(members, &assignment) {
        assignment.entry(from).or_default().remove(&partition);
        assignment.entry(to).or_default().insert(partition);
    }
    assignment
}

/// A partition that is better with another member: its owner has at least two more than the other.
fn improvement(
    members: &BTreeMap<String, MemberSubscription>,
    assignment: &Assignment,
) -> Option<(String, String, TopicPartition)> {
    let mut by_load: Vec<(&String, usize)> = assignment
        .iter()
        .map(|(id, partitions)| (id, partitions.len()))
        .collect();
    by_load.sort_by_key(|(id, load)| (*load, *id));
    for (from, from_load) in by_load.iter().rev() {
        for (to, to_load) in by_load
            .iter()
            .take_while(|(_, to_load)| to_load + 1 < *from_load)
        {
            debug_assert!(to_load < from_load);
            let movable = assignment[*from]
                .iter()
                .rev()
                .find(|partition| members[*to].topics.contains(&partition.0));
            if let Some(partition) = movable {
                return Some(((*from).clone(), (*to).clone(), *partition));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn members(names: &[(&str, &[Uuid])]) -> BTreeMap<String, MemberSubscription> {
        let member = |topics: &[Uuid]| MemberSubscription {
            instance_id: None,
            topics: topics.iter().copied().collect(),
        };
        names
            .iter()
            .map(|(name, topics)| ((*name).to_owned(), member(topics)))
            .collect()
    }

    fn loads(assignment: &Assignment) -> Vec<usize> {
        assignment.values().map(BTreeSet::len).collect()
    }

    #[test]
    fn range_is_co_partitioned() {
        let counts = BTreeMap::from([(A, 5), (B, 5)]);
        let assignment = Assignor::Range.assign(
            &members(&[("m1", &[A, B]), ("m2", &[A, B])]),
            &counts,
            &Assignment::new(),
        );
        for partitions in assignment.values() {
            let of = |topic| {
                partitions
                    .iter()
                    .filter(move |p| p.0 == topic)
                    .map(|p| p.1)
                    .collect::<Vec<_>>()
            };
            assert_eq!(of(A), of(B));
        }
        assert_eq!(loads(&assignment), [6, 4]);
    }

    #[test]
    fn uniform_is_balanced_and_moves_only_what_it_must() {
        let counts = BTreeMap::from([(A, 8)]);
        let alone =
            Assignor::Uniform.assign(&members(&[("m1", &[A])]), &counts, &Assignment::new());
        assert_eq!(loads(&alone), [8]);
        let two =
            Assignor::Uniform.assign(&members(&[("m1", &[A]), ("m2", &[A])]), &counts, &alone);
        assert_eq!(loads(&two), [4, 4]);
        assert!(two["m1"].is_subset(&alone["m1"]));
        let three = Assignor::Uniform.assign(
            &members(&[("m1", &[A]), ("m2", &[A]), ("m3", &[A])]),
            &counts,
            &two,
        );
        assert_eq!(three.values().map(BTreeSet::len).sum::<usize>(), 8);
        assert!(three["m1"].is_subset(&two["m1"]) && three["m2"].is_subset(&two["m2"]));
        let back =
            Assignor::Uniform.assign(&members(&[("m1", &[A]), ("m2", &[A])]), &counts, &three);
        assert!(three["m1"].is_subset(&back["m1"]) && three["m2"].is_subset(&back["m2"]));
    }

    #[test]
    fn uniform_respects_different_subscriptions() {
        let counts = BTreeMap::from([(A, 2), (B, 4)]);
        let assignment = Assignor::Uniform.assign(
            &members(&[("m1", &[A]), ("m2", &[A, B])]),
            &counts,
            &Assignment::new(),
        );
        assert_eq!(assignment["m1"], BTreeSet::from([(A, 0), (A, 1)]));
        assert_eq!(assignment["m2"].len(), 4);
    }

    #[test]
    fn nobody_subscribed_and_nothing_there_are_no_trouble() {
        assert!(
            Assignor::Range
                .assign(&BTreeMap::new(), &BTreeMap::new(), &Assignment::new())
                .is_empty()
        );
        let nothing = Assignor::Uniform.assign(
            &members(&[("m1", &[A])]),
            &BTreeMap::new(),
            &Assignment::new(),
        );
        assert_eq!(loads(&nothing), [0]);
    }
}
