//! How many partitions the application's own topics have and how many tasks there are: a pure function of the topology and
//! of the partition counts of the user's topics.
//!
//! The rules are Kafka Streams': `RepartitionTopics` for the counts of repartition topics, `CopartitionedTopicsEnforcer` for
//! topics that must agree, `PartitionGrouper` for tasks.

use crate::error::{Error, Result};
use crate::topology::{TopicName, Topology};
use std::collections::BTreeMap;

/// What the counts of the user's topics come down to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartitionPlan {
    /// The partition count of every topic a task reads, repartition topics included, by full name.
    pub(crate) counts: BTreeMap<String, i32>,
    /// The full names of repartition topics, in the order of the topology.
    pub(crate) repartition_topics: Vec<String>,
    /// How many tasks each sub-topology has, by its id.
    pub(crate) task_counts: BTreeMap<u32, i32>,
}

/// The topics of one sub-topology, by full name.
struct TopicGroup {
    id: u32,
    sources: Vec<Source>,
    sinks: Vec<String>,
    copartitioned: Vec<Vec<usize>>,
}

struct Source {
    topic: String,
    kind: SourceKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceKind {
    External,
    /// A repartition topic, with the count the user insists on.
    Repartition(Option<i32>),
}

impl PartitionPlan {
    /// Works out all counts; `external` has those of every topic in [`external_topics`].
    pub(crate) fn new(
        topology: &Topology,
        application_id: &str,
        external: &BTreeMap<String, i32>,
    ) -> Result<Self> {
        Self::of_groups(&groups(topology, application_id), external)
    }

    fn of_groups(groups: &[TopicGroup], external: &BTreeMap<String, i32>) -> Result<Self> {
        let mut counts = external.clone();
        let mut enforced = BTreeMap::new();
        let mut repartition_topics = Vec::new();
        for source in groups.iter().flat_map(|group| &group.sources) {
            if let SourceKind::Repartition(count) = source.kind
                && !repartition_topics.contains(&source.topic)
            {
                repartition_topics.push(source.topic.clone());
                enforced.insert(source.topic.clone(), count);
                if let Some(count) = count {
                    counts.insert(source.topic.clone(), count);
                }
            }
        }
        derive_counts(groups, &repartition_topics, &mut counts)?;
        for group in groups {
            for inputs in &group.copartitioned {
                let sources: Vec<&Source> = inputs.iter().map(|&i| &group.sources[i]).collect();
                enforce_copartitioning(&sources, &enforced, &mut counts)?;
            }
        }
        let task_counts = groups
            .iter()
            .map(|group| {
                let tasks = group.sources.iter().map(|s| counts[&s.topic]).max();
                (group.id, tasks.unwrap_or(0))
            })
            .collect();
        Ok(PartitionPlan {
            counts,
            repartition_topics,
            task_counts,
        })
    }
}

/// The user's topics that tasks read, by name, each once, with the sub-topologies that read it.
pub(crate) fn external_topics(topology: &Topology) -> BTreeMap<String, Vec<u32>> {
    let mut topics: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for sub_topology in topology.sub_topologies() {
        for source in &sub_topology.sources {
            if let TopicName::External(name) = &source.topic {
                topics
                    .entry(name.to_string())
                    .or_default()
                    .push(sub_topology.id);
            }
        }
    }
    topics
}

fn groups(topology: &Topology, application_id: &str) -> Vec<TopicGroup> {
    let full_name = |topic: &TopicName| topic.full_name(application_id).to_string();
    topology
        .sub_topologies()
        .iter()
        .map(|sub_topology| TopicGroup {
            id: sub_topology.id,
            sources: sub_topology
                .sources
                .iter()
                .map(|source| Source {
                    topic: full_name(&source.topic),
                    kind: match &source.topic {
                        TopicName::External(_) => SourceKind::External,
                        TopicName::Internal(topic) => {
                            SourceKind::Repartition(topic.partition_count)
                        }
                    },
                })
                .collect(),
            sinks: sub_topology.sinks.iter().map(full_name).collect(),
            copartitioned: sub_topology.copartition_groups.clone(),
        })
        .collect()
}

/// Gives each repartition topic the largest count among the sources of the sub-topologies that write to it, until nothing
/// is left to derive.
fn derive_counts(
    groups: &[TopicGroup],
    repartition_topics: &[String],
    counts: &mut BTreeMap<String, i32>,
) -> Result<()> {
    loop {
        let mut progress = false;
        let mut unknown = Vec::new();
        for topic in repartition_topics {
            if counts.contains_key(topic) {
                continue;
            }
            let largest = groups
                .iter()
                .filter(|group| group.sinks.contains(topic))
                .flat_map(|group| &group.sources)
                .filter_map(|source| counts.get(&source.topic).copied())
                .max();
            match largest {
                Some(count) => {
                    counts.insert(topic.clone(), count);
                    progress = true;
                }
                None => unknown.push(topic.as_str()),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        if !progress {
            return Err(Error::topology(format!(
                "the number of partitions of the repartition topics {unknown:?} cannot be derived, because nothing with a \
                 known number of partitions leads to them: give one with `Repartitioned::with_number_of_partitions`"
            )));
        }
    }
}

fn enforce_copartitioning(
    sources: &[&Source],
    enforced: &BTreeMap<String, Option<i32>>,
    counts: &mut BTreeMap<String, i32>,
) -> Result<()> {
    let listed = |topics: &[&Source], counts: &BTreeMap<String, i32>| {
        let mut list: Vec<String> = topics
            .iter()
            .map(|s| format!("{}={}", s.topic, counts[&s.topic]))
            .collect();
        list.sort();
        list.join(", ")
    };
    let (external, repartition): (Vec<&Source>, Vec<&Source>) = sources
        .iter()
        .partition(|source| source.kind == SourceKind::External);
    let insisted: Vec<&Source> = repartition
        .iter()
        .copied()
        .filter(|source| enforced[&source.topic].is_some())
        .collect();
    let all_equal = |topics: &[&Source], counts: &BTreeMap<String, i32>| {
        topics
            .windows(2)
            .all(|pair| counts[&pair[0].topic] == counts[&pair[1].topic])
    };

    let count = if let Some(first) = external.first() {
        if !all_equal(&external, counts) {
            return Err(Error::topology(format!(
                "Topics not co-partitioned: [{}]; topics that are joined or merged into one table need the same number of \
                 partitions: repartition one of them with `repartition()`, or create them with equal counts",
                listed(&external, counts)
            )));
        }
        counts[&first.topic]
    } else if let Some(first) = insisted.first() {
        if !all_equal(&insisted, counts) {
            return Err(Error::topology(format!(
                "Following topics do not have the same number of partitions: [{}]; give the same number to each \
                 `Repartitioned::with_number_of_partitions`",
                listed(&insisted, counts)
            )));
        }
        counts[&first.topic]
    } else {
        let largest = repartition.iter().map(|source| counts[&source.topic]).max();
        largest.unwrap_or(0)
    };

    for source in repartition {
        if let Some(insisted) = enforced[&source.topic]
            && insisted != count
        {
            return Err(Error::topology(format!(
                "Number of partitions [{insisted}] of repartition topic [{}] doesn't match number of partitions [{count}] \
                 of the source topic: it is joined with [{}], so ask for {count} partitions or repartition both sides",
                source.topic,
                listed(&external, counts)
            )));
        }
        counts.insert(source.topic.clone(), count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(topic: &str) -> Source {
        Source {
            topic: topic.to_owned(),
            kind: SourceKind::External,
        }
    }

    fn repartition(topic: &str, enforced: Option<i32>) -> Source {
        Source {
            topic: topic.to_owned(),
            kind: SourceKind::Repartition(enforced),
        }
    }

    fn group(id: u32, sources: Vec<Source>, sinks: &[&str], joined: bool) -> TopicGroup {
        TopicGroup {
            id,
            copartitioned: if joined {
                vec![(0..sources.len()).collect()]
            } else {
                Vec::new()
            },
            sources,
            sinks: sinks.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    fn counts(of: &[(&str, i32)]) -> BTreeMap<String, i32> {
        of.iter().map(|&(t, n)| (t.to_owned(), n)).collect()
    }

    #[test]
    fn a_repartition_topic_takes_the_largest_count_upstream_through_chains() {
        let groups = [
            group(2, vec![repartition("r2", None)], &[], false),
            group(1, vec![repartition("r1", None)], &["r2"], false),
            group(0, vec![external("a"), external("b")], &["r1"], false),
        ];
        let plan = PartitionPlan::of_groups(&groups, &counts(&[("a", 3), ("b", 5)])).unwrap();
        assert_eq!(
            plan.counts,
            counts(&[("a", 3), ("b", 5), ("r1", 5), ("r2", 5)])
        );
        assert_eq!(
            plan.task_counts,
            [(0, 5), (1, 5), (2, 5)].into_iter().collect()
        );
    }

    #[test]
    fn joined_with_a_users_topic_a_repartition_topic_takes_its_count() {
        let groups = [
            group(0, vec![external("a")], &["r"], false),
            group(
                1,
                vec![repartition("r", None), external("table")],
                &[],
                true,
            ),
        ];
        let plan = PartitionPlan::of_groups(&groups, &counts(&[("a", 8), ("table", 2)])).unwrap();
        assert_eq!(plan.counts["r"], 2);
        assert_eq!(plan.task_counts[&1], 2);
    }

    #[test]
    fn joined_repartition_topics_take_the_largest_count() {
        let groups = [
            group(0, vec![external("a")], &["r1"], false),
            group(1, vec![external("b")], &["r2"], false),
            group(
                2,
                vec![repartition("r1", None), repartition("r2", None)],
                &[],
                true,
            ),
        ];
        let plan = PartitionPlan::of_groups(&groups, &counts(&[("a", 4), ("b", 6)])).unwrap();
        assert_eq!((plan.counts["r1"], plan.counts["r2"]), (6, 6));
    }

    #[test]
    fn topics_that_do_not_agree_are_named_with_their_counts() {
        let groups = [group(0, vec![external("a"), external("b")], &[], true)];
        let error = PartitionPlan::of_groups(&groups, &counts(&[("a", 4), ("b", 6)])).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Topics not co-partitioned: [a=4, b=6]"),
            "{error}"
        );
    }

    #[test]
    fn a_count_the_user_insists_on_must_fit() {
        let join = |count| {
            let groups = [
                group(0, vec![external("a")], &["r"], false),
                group(
                    1,
                    vec![repartition("r", Some(count)), external("table")],
                    &[],
                    true,
                ),
            ];
            PartitionPlan::of_groups(&groups, &counts(&[("a", 4), ("table", 4)]))
        };
        assert_eq!(join(4).unwrap().counts["r"], 4);
        let error = join(3).unwrap_err().to_string();
        assert!(
            error.starts_with("Number of partitions [3] of repartition topic [r] doesn't match"),
            "{error}"
        );
    }

    #[test]
    fn a_cycle_without_a_known_count_is_refused() {
        let groups = [group(0, vec![repartition("r", None)], &["r"], false)];
        let error = PartitionPlan::of_groups(&groups, &counts(&[])).unwrap_err();
        assert!(error.to_string().contains("with_number_of_partitions"));
    }

    /// A join of the repartition topics `r1` and `r2`, which are written from `a` with 4 partitions and `b` with 6.
    fn join_of_repartition_topics(
        first: Option<i32>,
        second: Option<i32>,
    ) -> Result<PartitionPlan> {
        let groups = [
            group(0, vec![external("a")], &["r1"], false),
            group(1, vec![external("b")], &["r2"], false),
            group(
                2,
                vec![repartition("r1", first), repartition("r2", second)],
                &[],
                true,
            ),
        ];
        PartitionPlan::of_groups(&groups, &counts(&[("a", 4), ("b", 6)]))
    }

    /// `CopartitionedTopicsEnforcerTest#shouldDeductNumberOfPartitionsFromRepartitionTopicWithEnforcedNumberOfPartitions`.
    #[test]
    fn a_count_that_was_asked_for_is_that_of_the_topics_joined() {
        let plan = join_of_repartition_topics(None, Some(2)).unwrap();
        assert_eq!((plan.counts["r1"], plan.counts["r2"]), (2, 2));
        assert_eq!(plan.task_counts[&2], 2);
    }

    /// `CopartitionedTopicsEnforcerTest#shouldThrowAnExceptionIfRepartitionTopicConfigsWithEnforcedNumOfPartitionsHaveDifferentNumOfPartitions`.
    #[test]
    fn counts_that_were_asked_for_must_agree() {
        let plan = join_of_repartition_topics(Some(3), Some(3)).unwrap();
        assert_eq!((plan.counts["r1"], plan.counts["r2"]), (3, 3));
        let error = join_of_repartition_topics(Some(3), Some(2)).unwrap_err();
        assert!(error.to_string().contains("[r1=3, r2=2]"), "{error}");
    }

    /// `RepartitionTopicsTest#shouldSetRepartitionTopicPartitionCountFromUpstreamInternalRepartitionSourceTopic`: a topic that is
    /// written from two sub-topologies has the larger count, also where one of them reads another repartition topic.
    #[test]
    fn a_topic_that_several_sub_topologies_write_takes_the_largest_count() {
        let groups = [
            group(0, vec![external("a")], &["r1", "r2"], false),
            group(1, vec![repartition("r1", Some(9))], &["r2"], false),
            group(2, vec![repartition("r2", None)], &[], false),
        ];
        let plan = PartitionPlan::of_groups(&groups, &counts(&[("a", 4)])).unwrap();
        assert_eq!(plan.counts["r2"], 9);
    }
}
