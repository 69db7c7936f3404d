//! How many partitions topics have: asked of the broker once, then remembered.

use crate::error::{Error, Result};
use crate::runtime::broker::Broker;
use crate::runtime::lifecycle::Lifecycle;
use crate::task::TopicMetadata;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a topic that records are to be written to may be missing: a broker that has just created it needs a moment.
const MISSING_TOPIC_WAIT: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How long one answer is waited for while a task waits: between two questions it is seen that the application is to stop.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The partition counts seen so far, shared by all threads.
pub(crate) struct CachedTopicMetadata<B> {
    broker: Arc<B>,
    timeout: Duration,
    counts: RwLock<HashMap<String, i32>>,
    lifecycle: Arc<Lifecycle>,
}

impl<B: Broker> CachedTopicMetadata<B> {
    /// Starts with the counts known from the start of the application.
    pub(crate) fn new(
        broker: Arc<B>,
        known: impl IntoIterator<Item = (String, i32)>,
        timeout: Duration,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        CachedTopicMetadata {
            broker,
            timeout,
            counts: RwLock::new(known.into_iter().collect()),
            lifecycle,
        }
    }

    fn cached(&self, topic: &str) -> Option<i32> {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.get(topic).copied()
    }

    /// Asks the broker again for every topic and returns those whose count changed, as (topic, old, new).
    pub(crate) fn refresh(&self) -> Result<Vec<(String, i32, i32)>> {
        let known: Vec<(String, i32)> = {
            let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
            counts.iter().map(|(t, &n)| (t.clone(), n)).collect()
        };
        let names: Vec<&str> = known.iter().map(|(topic, _)| topic.as_str()).collect();
        let now = self.broker.partition_counts(&names, self.timeout)?;
        let changed: Vec<_> = known
            .into_iter()
            .zip(now)
            .filter_map(|((topic, old), new)| new.filter(|&n| n != old).map(|n| (topic, old, n)))
            .collect();
        if !changed.is_empty() {
            let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
            for (topic, _, new) in &changed {
                counts.insert(topic.clone(), *new);
            }
        }
        Ok(changed)
    }
}

impl<B: Broker> TopicMetadata for CachedTopicMetadata<B> {
    fn partition_count(&self, topic: &str) -> Result<i32> {
        if let Some(count) = self.cached(topic) {
            return Ok(count);
        }
        let started = Instant::now();
        loop {
            let timeout = self.timeout.min(QUESTION_TIMEOUT);
            match self.broker.partition_counts(&[topic], timeout) {
                Ok(found) => {
                    if let Some(Some(count)) = found.first() {
                        let mut counts =
                            self.counts.write().unwrap_or_else(PoisonError::into_inner);
                        counts.insert(topic.to_owned(), *count);
                        return Ok(*count);
                    }
                    if started.elapsed() >= MISSING_TOPIC_WAIT {
                        return Err(Error::fatal(format!(
                            "topic '{topic}' does not exist, so nothing can be written to it: create it and start again"
                        )));
                    }
                }
                Err(error) if error.is_retriable() && started.elapsed() < self.timeout => {
                    tracing::warn!(topic, %error, "asking for the partition count again");
                }
                Err(error) => return Err(error),
            }
            if self.lifecycle.wait_for_stop(RETRY_INTERVAL) {
                // Retriable, so that the stream thread takes it for an interruption and not for a failure.
                return Err(Error::retriable(format!(
                    "asked to stop while waiting for topic '{topic}'"
                )));
            }
        }
    }
}
