//! Streams of the same topics read them once (Kafka's `InternalStreamsBuilder#mergeDuplicateSourceNodes`).

use super::node::{NodeDefinition, NodeId, NodeKind};
use super::rewrite::Rewrite;
use super::topic::{OffsetReset, RecordTypes};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Puts what is behind a source behind the first source of the same topics, for all sources of streams.
///
/// # Errors
/// When topics overlap without being the same, or when offset resets or types differ.
pub(super) fn merge_duplicate_sources(
    rewrite: &mut Rewrite,
    streams: &BTreeMap<NodeId, RecordTypes>,
) -> Result<()> {
    let mut readers: BTreeMap<String, NodeId> = BTreeMap::new();
    for (&source, types) in streams {
        let (topics, reset) = subscription(&rewrite.nodes[source]);
        let known = topics.iter().find_map(|topic| {
            let reader = readers.get(topic)?;
            Some((topic.clone(), *reader))
        });
        let Some((topic, first)) = known else {
            readers.extend(topics.into_iter().map(|topic| (topic, source)));
            continue;
        };
        let (first_topics, first_reset) = subscription(&rewrite.nodes[first]);
        let lines = format!(
            "the streams at {} and at {}",
            rewrite.nodes[first].location, rewrite.nodes[source].location
        );
        if first_topics != topics {
            return Err(Error::topology(format!(
                "{lines} both read topic '{topic}', but not the same topics otherwise: [{}] and [{}]; read '{topic}' by itself and merge the streams",
                listed(&first_topics),
                listed(&topics)
            )));
        }
        if first_reset != reset {
            return Err(Error::topology(format!(
                "{lines} read [{}] with different offset resets: give both the same in `Consumed::with_offset_reset`",
                listed(&topics)
            )));
        }
        if *types != streams[&first] {
            return Err(Error::topology(format!(
                "{lines} read [{}] as different types: {} and {types}; read it once and use `map` or `map_values`",
                listed(&topics),
                streams[&first]
            )));
        }
        for child in rewrite.nodes[source].children.clone() {
            rewrite.move_child(child, source, first);
        }
        rewrite.replace(source, first);
    }
    Ok(())
}

fn subscription(node: &NodeDefinition) -> (BTreeSet<String>, Option<OffsetReset>) {
    match &node.kind {
        NodeKind::Source {
            topics,
            auto_offset_reset,
            ..
        } => {
            let topics = topics.iter().map(ToString::to_string).collect();
            (topics, *auto_offset_reset)
        }
        _ => unreachable!("streams are sources"),
    }
}

fn listed(topics: &BTreeSet<String>) -> String {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use crate::{Consumed, Materialized, OffsetReset, StreamsBuilder};

    #[test]
    fn streams_of_one_topic_have_one_source() {
        let builder = StreamsBuilder::new();
        let first = builder.stream::<String, String>("a", Consumed::new());
        let second = builder.stream::<String, String>("a", Consumed::new());
        second.for_each(|_, _| {});
        first.for_each(|_, _| {});
        assert_eq!(
            builder.build().unwrap().describe(),
            "Topologies:\n   Sub-topology: 0\n    Source: KSTREAM-SOURCE-0000000000 (topics: [a])\n      --> KSTREAM-FOREACH-0000000002, KSTREAM-FOREACH-0000000003\n    Processor: KSTREAM-FOREACH-0000000002 (stores: [])\n      --> none\n      <-- KSTREAM-SOURCE-0000000000\n    Processor: KSTREAM-FOREACH-0000000003 (stores: [])\n      --> none\n      <-- KSTREAM-SOURCE-0000000000\n\n"
        );
    }

    #[test]
    fn the_order_of_topics_does_not_matter() {
        let builder = StreamsBuilder::new();
        let first = builder.stream::<String, String>(["a", "b"], Consumed::new());
        let second = builder.stream::<String, String>(["b", "a"], Consumed::new());
        first.merge(&second).for_each(|_, _| {});
        let description = builder.build().unwrap().describe();
        assert_eq!(description.matches("Source:").count(), 1, "{description}");
    }

    fn error_of(write: impl FnOnce(&StreamsBuilder)) -> String {
        let builder = StreamsBuilder::new();
        write(&builder);
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn topics_that_only_overlap_are_refused() {
        let error = error_of(|builder| {
            builder.stream::<String, String>("a", Consumed::new());
            builder.stream::<String, String>(["a", "b"], Consumed::new());
        });
        assert!(
            error.contains("both read topic 'a'") && error.contains("[a] and [a, b]"),
            "{error}"
        );
        assert_eq!(error.matches("merge_sources.rs:").count(), 2, "{error}");
    }

    #[test]
    fn offset_resets_must_agree() {
        let error = error_of(|builder| {
            builder.stream::<String, String>("a", Consumed::new());
            let latest = Consumed::new().with_offset_reset(OffsetReset::Latest);
            builder.stream::<String, String>("a", latest);
        });
        assert!(error.contains("different offset resets"), "{error}");
    }

    #[test]
    fn types_must_agree() {
        let error = error_of(|builder| {
            builder.stream::<String, String>("a", Consumed::new());
            builder.stream::<String, i64>("a", Consumed::new());
        });
        assert!(error.contains("values `i64`"), "{error}");
    }

    #[test]
    fn a_table_shares_its_topic_with_nobody() {
        let error = error_of(|builder| {
            builder.table::<String, String>("a", Consumed::new(), Materialized::new());
            builder.stream::<String, String>("a", Consumed::new());
        });
        assert!(
            error.contains("topic 'a' is read by two sources"),
            "{error}"
        );
    }
}
