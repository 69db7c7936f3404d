//! How far partitions go: both ends of many at once.

use super::errors;
use super::fetch::list;
use super::ffi::{Client, ListedPartition, OffsetSpec, Refusal};
use crate::error::{ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Input, StartOffset};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait before asking again for partitions that had no leader.
const RETRY_BACKOFF: Duration = Duration::from_millis(100);
/// How long one question may take: it waits for the leader that was known when it was asked, which may be gone for good.
const QUESTION_MAX: Duration = Duration::from_secs(2);

/// Where to start reading each input, as a number. librdkafka would look ends up by itself, but an answer that comes after the
/// partition was stopped and started elsewhere makes it ask again, and then moves the partition to that end.
pub(super) fn starts(
    client: &Arc<Client>,
    inputs: &[Input],
    timeout: Duration,
) -> Result<Vec<i64>> {
    let deadline = Instant::now() + timeout;
    let ends_of = |wanted: StartOffset, spec: OffsetSpec| {
        let partitions: Vec<TopicPartition> = inputs
            .iter()
            .filter(|input| input.offset == wanted)
            .map(|input| input.partition.clone())
            .collect();
        ends(client, &partitions, spec, deadline)
    };
    let first = ends_of(StartOffset::Earliest, OffsetSpec::Earliest)?;
    let end = ends_of(StartOffset::Latest, OffsetSpec::Latest)?;
    Ok(inputs
        .iter()
        .map(|input| match input.offset {
            StartOffset::At(offset) => offset,
            StartOffset::Earliest => first[&input.partition],
            StartOffset::Latest => end[&input.partition],
        })
        .collect())
}

/// The first offset in the log and the one behind the last, asked of the brokers now. Open transactions count as written:
/// the end is that of the log, not of what a reader of committed records sees.
pub(super) fn offsets(
    client: &Arc<Client>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<(i64, i64)>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let deadline = Instant::now() + timeout;
    let first = ends(client, partitions, OffsetSpec::Earliest, deadline)?;
    let end = ends(client, partitions, OffsetSpec::Latest, deadline)?;
    Ok(partitions
        .iter()
        .map(|partition| (first[partition], end[partition]))
        .collect())
}

/// One end of each partition; asks again for those that have no leader just now.
fn ends(
    client: &Arc<Client>,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    deadline: Instant,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let what = "asking for the ends of partitions";
    let started = Instant::now();
    let mut found = BTreeMap::new();
    let mut missing: Vec<&TopicPartition> = partitions.iter().collect();
    let mut last_error = None;
    while !missing.is_empty() {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(last_error.unwrap_or_else(|| {
                errors::timed_out(what, started.elapsed(), client.signals().trouble())
            }));
        }
        match ask(client, &missing, spec, rest.min(QUESTION_MAX)) {
            Ok(answers) => {
                for answer in answers {
                    let partition = TopicPartition::new(answer.topic, answer.partition);
                    let Some(code) = answer.error else {
                        // A partition whose leader did not answer comes back as it was asked for, without an offset and
                        // without an error.
                        if answer.offset >= 0 {
                            found.insert(partition, answer.offset);
                        }
                        continue;
                    };
                    let error = errors::error(code, format_args!("{what}: {partition}"));
                    if !may_heal(code) {
                        return Err(error);
                    }
                    last_error = Some(error);
                }
                missing.retain(|partition| !found.contains_key(*partition));
            }
            Err(refusal) => {
                let error = errors::refused(&refusal, what, client.signals().trouble());
                if !may_heal(refusal.code) {
                    return Err(error);
                }
                last_error = Some(error);
            }
        }
        if !missing.is_empty() {
            std::thread::sleep(RETRY_BACKOFF.min(rest));
            refresh_leaders(client, &missing, deadline);
        }
    }
    Ok(found)
}

/// Asks once. Each of its two questions may take `timeout`.
fn ask(
    client: &Arc<Client>,
    partitions: &[&TopicPartition],
    spec: OffsetSpec,
    timeout: Duration,
) -> Result<Vec<ListedPartition>, Refusal> {
    if !client.has_been_answered() {
        // librdkafka loses the look-up of leaders that the question for offsets begins with while it connects and learns which
        // broker it has reached, and repeats it only after three seconds. Waiting for any answer waits for that to be over.
        client.partition_count(&partitions[0].topic, timeout)?;
    }
    client.list_offsets(&list(partitions.iter().copied()), spec, timeout)
}

/// Has the client look up who leads these partitions. Asked by an administrator's request it would go by what it knows, and
/// not learn from the answer that the leader has moved on.
pub(super) fn refresh_leaders(
    client: &Arc<Client>,
    partitions: &[&TopicPartition],
    deadline: Instant,
) {
    let topics: BTreeSet<&str> = partitions.iter().map(|each| each.topic.as_str()).collect();
    for topic in topics {
        let rest = deadline.saturating_duration_since(Instant::now());
        // What fails here fails again, and is told, when the question itself is asked.
        let _ = client.partition_count(topic, rest.min(QUESTION_MAX));
    }
}

/// Whether an error of one partition may pass: a topic that was just created is unknown to some brokers for a moment.
fn may_heal(code: RDKafkaErrorCode) -> bool {
    errors::kind_of(code) == ErrorKind::Retriable
        || matches!(
            code,
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition
        )
}
