//! Settings of the clients, merged from the defaults, the top level and the prefixes.

use std::collections::BTreeMap;

use super::StreamsConfig;
use super::choices::ProcessingGuarantee;
use super::client_names::{ALIASES, CONSUMER, EVERY, FORCED, PRODUCER, TOPIC_PREFIX};

/// The kinds of clients an application has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// Reads the inputs, as a member of the group.
    MainConsumer,
    /// Reads changelogs.
    RestoreConsumer,
    /// Reads the inputs of global tables.
    GlobalConsumer,
    /// Writes outputs and changelogs.
    Producer,
    /// Creates and looks up topics.
    Admin,
}

impl ClientKind {
    /// The prefixes of its settings, the one that wins last.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            ClientKind::MainConsumer => &["consumer.", "main.consumer."],
            ClientKind::RestoreConsumer => &["consumer.", "restore.consumer."],
            ClientKind::GlobalConsumer => &["consumer.", "global.consumer."],
            ClientKind::Producer => &["producer."],
            ClientKind::Admin => &["admin."],
        }
    }

    fn is_consumer(self) -> bool {
        !matches!(self, ClientKind::Producer | ClientKind::Admin)
    }

    /// Whether a setting at the top level is for it.
    fn knows(self, name: &str) -> bool {
        let own = match self {
            ClientKind::Admin => &[],
            ClientKind::Producer => PRODUCER,
            _ => CONSUMER,
        };
        EVERY.contains(&name) || own.contains(&name)
    }
}

impl StreamsConfig {
    /// The settings of one kind of client, by the names of Java's clients or librdkafka's: the library's defaults, over
    /// them what is set at the top level, over that what is set with a prefix (Kafka Streams' `getMainConsumerConfigs`
    /// and its likes).
    ///
    /// Client ids are not among them, since each thread has its own; neither is `max.poll.records`, for which there is
    /// [`max_poll_records`](Self::max_poll_records).
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    /// use streams_core::config::ClientKind;
    ///
    /// let config = StreamsConfig::new("weather")
    ///     .set("session.timeout.ms", 10_000)?
    ///     .set("consumer.fetch.min.bytes", 1000)?
    ///     .set("restore.consumer.fetch.min.bytes", 1)?;
    /// let main = config.client_settings(ClientKind::MainConsumer);
    /// assert_eq!(main["group.id"], "weather");
    /// assert_eq!(main["session.timeout.ms"], "10000");
    /// assert_eq!(main["fetch.min.bytes"], "1000");
    /// assert_eq!(config.client_settings(ClientKind::RestoreConsumer)["fetch.min.bytes"], "1");
    /// assert_eq!(config.client_settings(ClientKind::Producer)["linger.ms"], "100");
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn client_settings(&self, kind: ClientKind) -> BTreeMap<String, String> {
        let mut merged = BTreeMap::new();
        let mut put = |name: &str, value: &str| {
            let name = ALIASES
                .iter()
                .find(|(alias, _)| *alias == name)
                .map_or(name, |(_, name)| name);
            merged.insert(name.to_owned(), value.to_owned());
        };
        for (name, value) in self.client_defaults(kind) {
            put(name, value);
        }
        put(
            "metadata.max.age.ms",
            self.or_default("metadata.max.age.ms"),
        );
        for (name, value) in &self.values {
            if kind.knows(name) {
                put(name, &value.text);
            }
        }
        for prefix in kind.prefixes() {
            for (name, value) in self.with_prefix(prefix) {
                if name != "max.poll.records" {
                    put(name, value);
                }
            }
        }
        if let Some(servers) = self.bootstrap_servers() {
            put("bootstrap.servers", servers);
        }
        if kind.is_consumer() {
            for (name, value) in FORCED {
                put(name, value);
            }
        }
        match kind {
            ClientKind::MainConsumer => {
                put("group.id", self.application_id());
                put(
                    "group.protocol",
                    &self.or_default("group.protocol").to_lowercase(),
                );
                put(
                    "auto.offset.reset",
                    &self.consumer_text("auto.offset.reset").to_lowercase(),
                );
            }
            ClientKind::RestoreConsumer | ClientKind::GlobalConsumer => {
                put("auto.offset.reset", "none");
                merged.remove("group.instance.id");
            }
            ClientKind::Producer | ClientKind::Admin => {}
        }
        merged
    }

    /// What the clients of this library have by default where Kafka's or librdkafka's would have something else.
    fn client_defaults(&self, kind: ClientKind) -> &'static [(&'static str, &'static str)] {
        let exactly_once = self.processing_guarantee() == ProcessingGuarantee::ExactlyOnceV2;
        match kind {
            ClientKind::Admin => &[],
            // librdkafka's producers are not idempotent by default, Java's are.
            ClientKind::Producer if exactly_once => &[
                ("delivery.timeout.ms", "2147483647"),
                ("enable.idempotence", "true"),
                ("linger.ms", "100"),
                ("transaction.timeout.ms", "10000"),
            ],
            ClientKind::Producer => &[("enable.idempotence", "true"), ("linger.ms", "100")],
            // librdkafka's consumers read committed records by default, Java's read all.
            _ if exactly_once => &[("isolation.level", "read_committed")],
            _ => &[("isolation.level", "read_uncommitted")],
        }
    }

    /// The settings of internal topics: those with the prefix `topic.`, without it.
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    ///
    /// let config = StreamsConfig::new("weather").set("topic.segment.bytes", 1_000_000)?;
    /// assert_eq!(config.topic_overrides()["segment.bytes"], "1000000");
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn topic_overrides(&self) -> BTreeMap<String, String> {
        self.with_prefix(TOPIC_PREFIX)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// A setting of the main consumer that the library reads itself.
    pub(super) fn consumer_text(&self, name: &str) -> &str {
        ["main.consumer.", "consumer."]
            .iter()
            .find_map(|prefix| self.text(&format!("{prefix}{name}")))
            .unwrap_or_else(|| self.or_default(name))
    }

    /// What was set with a prefix, and the names without it.
    fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.iter().filter_map(move |(name, value)| {
            Some((name.strip_prefix(prefix)?, value.text.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientKind::{Admin, GlobalConsumer, MainConsumer, Producer, RestoreConsumer};

    fn config(settings: &[(&str, &str)]) -> StreamsConfig {
        settings
            .iter()
            .try_fold(StreamsConfig::new("app"), |config, (name, value)| {
                config.set(name, value)
            })
            .expect("config")
    }

    #[track_caller]
    fn check_setting(settings: &[(&str, &str)], name: &str, expected: [Option<&str>; 5]) {
        let config = config(settings);
        for (kind, expected) in [
            MainConsumer,
            RestoreConsumer,
            GlobalConsumer,
            Producer,
            Admin,
        ]
        .into_iter()
        .zip(expected)
        {
            assert_eq!(
                config.client_settings(kind).get(name).map(String::as_str),
                expected,
                "{name} of {kind:?}"
            );
        }
    }

    #[test]
    fn the_top_level_is_for_every_client_that_knows_it() {
        let every = Some("SSL");
        check_setting(
            &[("security.protocol", "SSL")],
            "security.protocol",
            [every; 5],
        );
        let five = Some("5");
        check_setting(
            &[("session.timeout.ms", "5")],
            "session.timeout.ms",
            [five, five, five, None, None],
        );
        check_setting(
            &[("batch.size", "5")],
            "batch.size",
            [None, None, None, five, None],
        );
        check_setting(
            &[("bootstrap.servers", "a:1")],
            "bootstrap.servers",
            [Some("a:1"); 5],
        );
        check_setting(
            &[("metadata.max.age.ms", "5")],
            "metadata.max.age.ms",
            [five; 5],
        );
        check_setting(&[], "metadata.max.age.ms", [Some("300000"); 5]);
    }

    #[test]
    fn the_narrower_prefix_wins() {
        let settings = [
            ("fetch.min.bytes", "1"),
            ("consumer.fetch.min.bytes", "2"),
            ("main.consumer.fetch.min.bytes", "3"),
            ("restore.consumer.fetch.min.bytes", "4"),
        ];
        check_setting(
            &settings,
            "fetch.min.bytes",
            [Some("3"), Some("4"), Some("2"), None, None],
        );
        check_setting(
            &[
                ("client.rack", "a"),
                ("admin.client.rack", "b"),
                ("producer.client.rack", "c"),
            ],
            "client.rack",
            [Some("a"), Some("a"), Some("a"), Some("c"), Some("b")],
        );
    }

    #[test]
    fn only_the_main_consumer_is_in_the_group() {
        check_setting(&[], "group.id", [Some("app"), None, None, None, None]);
        check_setting(
            &[("group.instance.id", "i")],
            "group.instance.id",
            [Some("i"), None, None, None, None],
        );
        check_setting(
            &[("group.protocol", "CONSUMER")],
            "group.protocol",
            [Some("consumer"), None, None, None, None],
        );
    }

    #[test]
    fn other_consumers_do_not_reset_their_offset() {
        let none = Some("none");
        check_setting(
            &[("consumer.auto.offset.reset", "LATEST")],
            "auto.offset.reset",
            [Some("latest"), none, none, None, None],
        );
        check_setting(
            &[],
            "auto.offset.reset",
            [Some("earliest"), none, none, None, None],
        );
    }

    #[test]
    fn defaults_depend_on_the_guarantee() {
        let exactly_once = ("processing.guarantee", "exactly_once_v2");
        let uncommitted = Some("read_uncommitted");
        let committed = Some("read_committed");
        check_setting(
            &[],
            "isolation.level",
            [uncommitted, uncommitted, uncommitted, None, None],
        );
        check_setting(
            &[exactly_once],
            "isolation.level",
            [committed, committed, committed, None, None],
        );
        check_setting(
            &[exactly_once],
            "delivery.timeout.ms",
            [None, None, None, Some("2147483647"), None],
        );
        check_setting(&[], "delivery.timeout.ms", [None; 5]);
    }

    #[test]
    fn second_names_replace_the_first() {
        let settings = [("linger.ms", "1"), ("producer.queue.buffering.max.ms", "2")];
        check_setting(&settings, "linger.ms", [None, None, None, Some("2"), None]);
        check_setting(&settings, "queue.buffering.max.ms", [None; 5]);
    }

    #[test]
    fn saying_what_is_so_anyway_is_no_mistake() {
        check_setting(
            &[
                ("enable.auto.commit", "false"),
                ("consumer.allow.auto.create.topics", "false"),
            ],
            "enable.auto.commit",
            [Some("false"), Some("false"), Some("false"), None, None],
        );
    }

    #[test]
    fn what_the_library_reads_itself_is_not_handed_on() {
        let settings = [("consumer.max.poll.records", "5")];
        check_setting(&settings, "max.poll.records", [None; 5]);
        assert_eq!(config(&settings).max_poll_records(), 5);
    }
}
