//! Topics: asking about them, creating them, and deleting records.

use super::errors;
use super::ffi::{Client, Refusal};
use super::offsets::refresh_leaders;
use super::settings::Resolved;
use crate::error::{ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::NewTopic;
use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait before asking again when a broker was not ready.
const RETRY_BACKOFF: Duration = Duration::from_millis(200);
/// How long one request may take, so that a broker that hangs does not use up the whole time.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// The client that administers topics.
pub(super) struct Admin {
    client: Arc<Client>,
}

impl Admin {
    pub(super) fn new(settings: &Resolved) -> Result<Admin> {
        let client = Client::administrator(settings.native()?).map_err(errors::not_created)?;
        Ok(Admin { client })
    }

    pub(super) fn partition_counts(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<Option<i32>>> {
        let deadline = Instant::now() + timeout;
        let what = format!("asking for topics {}", topics.join(", "));
        self.retry(what, timeout, deadline, |rest| {
            self.client.partition_counts(topics, rest)
        })
    }

    /// Creates topics; of those with the same name the first.
    pub(super) fn create_topics(&self, topics: &[NewTopic], timeout: Duration) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut left: Vec<&NewTopic> = topics.iter().collect();
        left.retain(|topic| names.insert(topic.name.as_str()));
        if left.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + timeout;
        self.retry("creating topics", timeout, deadline, |rest| {
            let mut refused = self.client.create_topics(&left, rest)?;
            refused.retain(|(_, refusal)| refusal.code != RDKafkaErrorCode::TopicAlreadyExists);
            // What no retry mends is told first.
            refused.sort_by_key(|(_, refusal)| errors::is_retriable(refusal));
            left = refused.iter().map(|(index, _)| left[*index]).collect();
            match refused.into_iter().zip(&left).next() {
                Some(((_, refusal), topic)) => Err(Refusal {
                    text: format!(
                        "{} with {} partitions: {}",
                        topic.name, topic.partition_count, refusal.text
                    ),
                    ..refusal
                }),
                None => Ok(()),
            }
        })
    }

    pub(super) fn topic_config(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<String, String>> {
        self.retry(
            format_args!("asking for the configuration of topic {topic}"),
            timeout,
            Instant::now() + timeout,
            |rest| self.client.topic_config(topic, rest),
        )
    }

    pub(super) fn delete_records(
        &self,
        before: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<()> {
        if before.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            list.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(*offset),
            )
            .map_err(|error| {
                errors::from_kafka(error, format_args!("deleting records of {partition}"))
            })?;
        }
        let deadline = Instant::now() + timeout;
        let partitions: Vec<&TopicPartition> = before.iter().map(|(each, _)| each).collect();
        let mut is_first = true;
        self.retry("deleting records", timeout, deadline, |rest| {
            if !std::mem::take(&mut is_first) {
                refresh_leaders(&self.client, &partitions, deadline);
            }
            let answers = self.client.delete_records(&list, rest)?;
            match answers.into_iter().find_map(|answer| {
                let code = answer.error?;
                Some(Refusal {
                    text: format!("{}-{}: {code}", answer.topic, answer.partition),
                    ..Refusal::of(code)
                })
            }) {
                Some(refusal) => Err(refusal),
                None => Ok(()),
            }
        })
    }

    /// Calls again while the brokers are not ready, until `deadline`.
    fn retry<T>(
        &self,
        what: impl Display,
        timeout: Duration,
        deadline: Instant,
        mut call: impl FnMut(Duration) -> std::result::Result<T, Refusal>,
    ) -> Result<T> {
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            // The first call is made even when no time is left, so that a short time-out shows the real error.
            let refusal = match call(rest.clamp(Duration::from_millis(1), REQUEST_MAX)) {
                Ok(done) => return Ok(done),
                Err(refusal) => refusal,
            };
            let error = errors::refused(&refusal, &what, None);
            if error.kind() != ErrorKind::Retriable {
                return Err(error);
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest <= RETRY_BACKOFF {
                let trouble = self.client.signals().trouble();
                return Err(errors::timed_out(
                    what,
                    timeout,
                    trouble.or(Some(refusal.text)),
                ));
            }
            std::thread::sleep(RETRY_BACKOFF);
        }
    }
}
