//! Topics: asking about them, creating them, and deleting records.

use super::errors;
use super::ffi::Signals;
use super::log;
use super::settings::Resolved;
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::NewTopic;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic as NativeTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long to wait before asking again when a broker was not ready.
const RETRY_BACKOFF: Duration = Duration::from_millis(200);
/// How long one metadata request may take, so that a broker that hangs does not use up the whole time.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// The client that administers topics.
pub(super) struct Admin {
    client: AdminClient<AdminContext>,
    signals: Arc<Signals>,
}

struct AdminContext(Arc<Signals>);

impl ClientContext for AdminContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // It is a producer that was told not to create topics by asking; it warns that this is a consumer's setting.
        if facility != "CONFWARN" {
            log::line(level as i32, "admin", facility, text);
        }
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        tracing::warn!(target: "rdkafka", client = "admin", "{reason}");
        self.0.set_trouble(reason.to_owned());
    }
}

impl Admin {
    pub(super) fn new(settings: &Resolved) -> Result<Admin> {
        let signals = Arc::new(Signals::default());
        let client = AdminClient::from_config_and_context(
            &settings.config,
            AdminContext(signals.clone()),
        )
        .map_err(errors::not_created)?;
        Ok(Admin { client, signals })
    }

    pub(super) fn partition_counts(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<Option<i32>>> {
        let deadline = Instant::now() + timeout;
        topics
            .iter()
            .map(|topic| {
                self.retry(
                    format_args!("asking for topic {topic}"),
                    timeout,
                    deadline,
                    |rest| self.partition_count(topic, rest),
                )
            })
            .collect()
    }

    fn partition_count(&self, topic: &str, timeout: Duration) -> KafkaResult<Option<i32>> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(Some(topic), timeout.min(REQUEST_MAX))?;
        let Some(found) = metadata.topics().first() else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
            ) => Ok(None),
            Some(code) => Err(KafkaError::MetadataFetch(code)),
        }
    }

    pub(super) fn create_topics(&self, topics: &[NewTopic], timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        for topic in topics {
            let config: Vec<(&str, &str)> = topic
                .config
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            self.retry(
                format_args!(
                    "creating topic {} with {} partitions",
                    topic.name, topic.partition_count
                ),
                timeout,
                deadline,
                |rest| {
                    let mut native = NativeTopic::new(
                        &topic.name,
                        topic.partition_count,
                        TopicReplication::Fixed(topic.replication_factor),
                    );
                    native.config.clone_from(&config);
                    let results =
                        block_on(self.client.create_topics(&[native], &options(rest)))?;
                    match results.into_iter().next() {
                        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                            Err(KafkaError::AdminOp(code))
                        }
                        _ => Ok(()),
                    }
                },
            )?;
        }
        Ok(())
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
            |rest| {
                let results = block_on(
                    self.client
                        .describe_configs(&[ResourceSpecifier::Topic(topic)], &options(rest)),
                )?;
                match results.into_iter().next() {
                    Some(Ok(resource)) => Ok(resource
                        .entries
                        .into_iter()
                        .filter_map(|entry| Some((entry.name, entry.value?)))
                        .collect()),
                    Some(Err(code)) => Err(KafkaError::AdminOp(code)),
                    None => Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition)),
                }
            },
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
        self.retry(
            "deleting records",
            timeout,
            Instant::now() + timeout,
            |rest| {
                let results = block_on(self.client.delete_records(&list, &options(rest)))?;
                for result in results.elements() {
                    result.error()?;
                }
                Ok(())
            },
        )
    }

    /// Calls again while the brokers are not ready, until `deadline`.
    fn retry<T>(
        &self,
        what: impl Display,
        timeout: Duration,
        deadline: Instant,
        mut call: impl FnMut(Duration) -> KafkaResult<T>,
    ) -> Result<T> {
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            // The first call is made even when no time is left, so that a short time-out shows the real error.
            let error = match call(rest.max(Duration::from_millis(1))) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let described = errors::from_kafka(error.clone(), &what);
            if described.kind() != ErrorKind::Retriable {
                return Err(described);
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest <= RETRY_BACKOFF {
                return Err(self.too_late(described, what, timeout));
            }
            std::thread::sleep(RETRY_BACKOFF);
        }
    }

    #[cold]
    fn too_late(&self, last: Error, what: impl Display, timeout: Duration) -> Error {
        match self.signals.trouble() {
            Some(trouble) => errors::timed_out(what, timeout, Some(trouble)),
            None => errors::timed_out(what, timeout, Some(last.to_string())),
        }
    }
}

fn options(timeout: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(timeout))
        .operation_timeout(Some(timeout))
}

/// Wakes the thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for one of rust-rdkafka's futures; they are finished by a thread of the admin client, within the request's time.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_on_waits_for_another_thread() {
        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let waker_thread = std::thread::spawn(move || {
            receiver.recv().expect("the future was polled").wake();
        });
        let mut is_polled = false;
        let done = block_on(std::future::poll_fn(|context| {
            if std::mem::replace(&mut is_polled, true) {
                return Poll::Ready(7);
            }
            sender.send(context.waker().clone()).expect("thread waits");
            Poll::Pending
        }));
        assert_eq!(done, 7);
        waker_thread.join().expect("no panic");
    }
}
