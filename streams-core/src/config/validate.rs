//! What no single setting can be blamed for: settings that do not go together.

use super::choices::{GroupProtocol, ProcessingGuarantee};
use super::{ClientKind, StreamsConfig, all, settings};
use crate::error::Result;

impl StreamsConfig {
    /// Checks that the settings go together; an application does so when it starts.
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    ///
    /// let config = StreamsConfig::new("weather")
    ///     .set("processing.guarantee", "exactly_once_v2")?
    ///     .set("commit.interval.ms", 60_000)?;
    /// assert!(config.validate().unwrap_err().to_string().contains("producer.transaction.timeout.ms"));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// With everything that does not.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        match self.application_id() {
            "" => problems.push(
                "application.id is missing; give it in code, in the file or as STREAMS_APPLICATION_ID"
                    .to_owned(),
            ),
            id => problems.extend(settings::check("application.id", id).err()),
        }
        let (cache, memory) = (self.cache_max_bytes(), self.memory_max_bytes());
        if cache > memory {
            problems.push(format!(
                "statestore.cache.max.bytes is {cache}, but it is a part of memory.max.bytes, which is {memory}; \
                 raise that or lower this"
            ));
        }
        self.check_group(&mut problems);
        self.check_segments(&mut problems);
        if self.processing_guarantee() == ProcessingGuarantee::ExactlyOnceV2 {
            self.check_exactly_once(&mut problems);
        }
        all(problems)
    }

    fn check_group(&self, problems: &mut Vec<String>) {
        if self.group_protocol() == GroupProtocol::Classic {
            return;
        }
        let consumer = self.client_settings(ClientKind::MainConsumer);
        for name in ["session.timeout.ms", "heartbeat.interval.ms"] {
            if consumer.contains_key(name) {
                problems.push(format!(
                    "with group.protocol=consumer the broker decides on {name}; leave it out"
                ));
            }
        }
    }

    /// A batch larger than a segment can never be appended.
    fn check_segments(&self, problems: &mut Vec<String>) {
        let topic = self.topic_overrides();
        let producer = self.client_settings(ClientKind::Producer);
        if let (Some(segment), Some(batch)) = (
            number(&topic, "segment.bytes"),
            number(&producer, "batch.size"),
        ) && segment < batch
        {
            problems.push(format!(
                "topic.segment.bytes is {segment}, which is less than the producers' batch.size, {batch}; \
                 raise that or lower this"
            ));
        }
    }

    fn check_exactly_once(&self, problems: &mut Vec<String>) {
        let producer = self.client_settings(ClientKind::Producer);
        let commit_interval_ms = self.commit_interval().as_millis();
        if let Some(timeout_ms) = number(&producer, "transaction.timeout.ms")
            && i128::from(timeout_ms) < commit_interval_ms.cast_signed()
        {
            problems.push(format!(
                "with exactly_once_v2 a transaction lasts up to commit.interval.ms, which is {commit_interval_ms}, \
                 but producer.transaction.timeout.ms is {timeout_ms}; raise this or lower that"
            ));
        }
        let consumers = [
            ClientKind::MainConsumer,
            ClientKind::RestoreConsumer,
            ClientKind::GlobalConsumer,
        ];
        if consumers
            .into_iter()
            .any(|kind| self.client_settings(kind)["isolation.level"] != "read_committed")
        {
            problems.push(
                "with exactly_once_v2 isolation.level is read_committed; leave it out".to_owned(),
            );
        }
        if producer
            .get("acks")
            .is_some_and(|acks| !matches!(acks.as_str(), "all" | "-1"))
        {
            problems.push("with exactly_once_v2 acks is all; leave it out".to_owned());
        }
        if producer["enable.idempotence"] != "true" {
            problems
                .push("with exactly_once_v2 enable.idempotence is true; leave it out".to_owned());
        }
        if number(&producer, "max.in.flight.requests.per.connection").is_some_and(|max| max > 5) {
            problems.push(
                "with exactly_once_v2 max.in.flight.requests.per.connection is at most 5; lower it"
                    .to_owned(),
            );
        }
    }
}

/// A client's setting as a number; one that is none is refused by the client.
fn number(settings: &std::collections::BTreeMap<String, String>, name: &str) -> Option<i64> {
    settings.get(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(settings: &[(&str, &str)], expected: &[&str]) {
        let config = settings
            .iter()
            .try_fold(StreamsConfig::new("app"), |config, (name, value)| {
                config.set(name, value)
            })
            .expect("settings");
        let problems = config
            .validate()
            .err()
            .map_or(String::new(), |error| error.to_string());
        let problems: Vec<_> = problems.lines().collect();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(expected) {
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn the_defaults_go_together() {
        check(&[], &[]);
        check(&[("processing.guarantee", "exactly_once_v2")], &[]);
        check(
            &[
                ("processing.guarantee", "exactly_once_v2"),
                ("request.required.acks", "-1"),
            ],
            &[],
        );
        check(
            &[("group.protocol", "consumer"), ("group.instance.id", "a")],
            &[],
        );
    }

    #[test]
    fn an_application_has_an_id() {
        let problem = StreamsConfig::new("").validate().unwrap_err().to_string();
        assert!(problem.contains("application.id is missing"), "{problem}");
        let problem = StreamsConfig::new("my app")
            .validate()
            .unwrap_err()
            .to_string();
        assert!(problem.contains("got 'my app'"), "{problem}");
    }

    #[test]
    fn the_cache_is_part_of_the_memory() {
        check(
            &[
                ("memory.max.bytes", "20000000"),
                ("statestore.cache.max.bytes", "20000001"),
            ],
            &["part of memory.max.bytes"],
        );
    }

    #[test]
    fn the_brokers_protocol_has_the_brokers_timeouts() {
        check(
            &[
                ("group.protocol", "consumer"),
                ("consumer.session.timeout.ms", "1000"),
            ],
            &["the broker decides on session.timeout.ms"],
        );
    }

    #[test]
    fn a_batch_fits_in_a_segment() {
        check(
            &[("topic.segment.bytes", "10"), ("batch.size", "20")],
            &["batch.size, 20"],
        );
    }

    #[test]
    fn exactly_once_needs_the_clients_to_follow() {
        check(
            &[
                ("processing.guarantee", "exactly_once_v2"),
                ("commit.interval.ms", "10001"),
                ("restore.consumer.isolation.level", "read_uncommitted"),
                ("producer.acks", "1"),
                ("enable.idempotence", "false"),
                ("producer.max.in.flight.requests.per.connection", "6"),
            ],
            &[
                "producer.transaction.timeout.ms is 10000",
                "isolation.level",
                "acks is all",
                "enable.idempotence",
                "max.in.flight",
            ],
        );
    }
}
