//! Configuration: by code, from a file and from the environment, with Kafka Streams' names.
//!
//! ```
//! use std::time::Duration;
//! use streams_core::StreamsConfig;
//!
//! let config = StreamsConfig::new("weather-averages")
//!     .set("bootstrap.servers", "localhost:9092")?
//!     .set("num.stream.threads", 2)?
//!     .set("producer.compression.type", "zstd")?;
//! assert_eq!(config.num_stream_threads(), 2);
//! assert_eq!(config.commit_interval(), Duration::from_secs(30));
//! # Ok::<(), streams_core::Error>(())
//! ```
//!
//! What code sets wins over the environment, that over the file ([`StreamsConfig::from_file`]), and that over the
//! default, in whichever order they are called. An unknown name is an error that suggests the nearest one; a bad value is
//! an error that names the setting, the value and what is allowed. Those from a file name the line too.
//!
//! # Settings
//!
//! Differences from Kafka Streams 4.3 are in the last column.
//!
//! | Name | Default | Meaning | Difference |
//! |---|---|---|---|
//! | `application.id` | none, required | Group, prefix of internal topics and directory below `state.dir`; the characters of a topic name. | |
//! | `bootstrap.servers` | none | Brokers to begin with, `host:port,host:port`. | Without it the embedded broker runs in the process. |
//! | `client.id` | `<application.id>-<UUID>` | Prefix of the client ids of all clients. | |
//! | `application.server` | none | `host:port` under which other instances reach the queries of this one. | |
//! | `acceptable.recovery.lag` | `10000` | How many offsets a copy of a task's state may be behind for the task to move to it, see [below](#where-tasks-run). | |
//! | `auto.offset.reset` | `earliest` | Where an input begins without a committed offset: `earliest`, `latest` or `none`. | No `by_duration`. |
//! | `buffered.records.per.partition` | `1000` | Records buffered per input partition before fetching pauses. | |
//! | `commit.interval.ms` | `30000` | Time between commits; 100 by default with `exactly_once_v2`. | |
//! | `default.dsl.store` | `rocksDB` | Where the stores of tables, aggregations and joins are that were given no place: `rocksDB` or `in_memory`. | Not only for topologies built with it. |
//! | `deserialization.exception.handler` | `LogAndFail` | What happens to a record that cannot be read: `LogAndFail` or `LogAndContinue`. | Names, though the names of Java's classes are understood; other handlers are given in code. |
//! | `dsl.store.suppliers.class` | none | The same as `default.dsl.store`, before which it goes, by the names of Java's classes: `RocksDBDslStoreSuppliers` or `InMemoryDslStoreSuppliers`. | A store of one's own is given in code, with `StreamsBuilder::with_store_backend`. |
//! | `ensure.explicit.internal.resource.naming` | `false` | Whether generated names of stores, changelogs and repartition topics are an error (KIP-1111); heeded by `StreamsBuilder::build_with`. | |
//! | `errors.dead.letter.queue.topic.name` | none | Topic to which the handlers that come with this crate write source records of what fails (KIP-1034). | |
//! | `group.protocol` | `classic` | Group protocol: `classic`, or `consumer` (KIP-848). | No `streams` (KIP-1071). |
//! | `late.records.topic.name` | none | Topic to which source records are written that came too late for a window, a session or the history of a versioned table, and are dropped. | Not in Java. |
//! | `log.summary.interval.ms` | `120000` | Time between summaries in the log, -1 for none. | |
//! | `max.poll.records` | `1000` | Most records taken from the consumer at once. | |
//! | `max.task.idle.ms` | `0` | How long a task waits for data of an input that has none buffered: 0 only for what the broker already has, -1 not at all. | |
//! | `max.warmup.replicas` | `2` | Copies made at a time, over all instances and beyond the standby copies, so that tasks can move, see [below](#where-tasks-run). | |
//! | `memory.max.bytes` | `536870912` | One budget for block cache, memtables, record caches and client queues. | Not in Java. |
//! | `metadata.max.age.ms` | `300000` | Time after which topics and partitions are looked up again. | |
//! | `metrics.recording.level` | `INFO` | Detail of the metrics: `INFO`, `DEBUG` or `TRACE`. | |
//! | `num.standby.replicas` | `0` | Copies of each task's state kept up to date on other instances, see [below](#standby-copies). | |
//! | `num.stream.threads` | `1` | Threads that process records. | |
//! | `poll.ms` | `100` | How long a thread without work waits for records. | |
//! | `probing.rebalance.interval.ms` | `600000` | How long a copy that has caught up waits at most for others of its instance before its task may move. | Tasks move as soon as copies are ready; in Kafka Streams at the next such interval. |
//! | `processing.exception.handler` | `LogAndFail` | What happens when an operator fails on a record: `LogAndFail` or `LogAndContinue`. | As `deserialization.exception.handler`. |
//! | `processing.exception.handler.global.enabled` | `false` | Whether that one is asked about the processors of global stores too. | |
//! | `processing.guarantee` | `at_least_once` | `at_least_once` or `exactly_once_v2`, see [below](#exactly-once). | |
//! | `production.exception.handler` | `Default` | What happens to a record that cannot be written. | As `deserialization.exception.handler`. |
//! | `repartition.purge.interval.ms` | `30000` | Time between deletions of records a repartition topic no longer needs. | |
//! | `replication.factor` | `-1` | Replicas of internal topics, -1 for the broker's default. | |
//! | `state.cleanup.delay.ms` | `600000` | How long the state of a task that moved away is kept. | |
//! | `state.dir` | `kafka-streams` in the directory for temporary files | Where state is kept, in a directory per application. | |
//! | `statestore.cache.max.bytes` | `10485760` | Record caches of all threads together, out of `memory.max.bytes`. `cache.max.bytes.buffering` is understood. | |
//! | `task.timeout.ms` | `300000` | How long a task retries what timed out before it fails. | |
//! | `topology.optimization` | `none` | `none`, `all`, or some of `reuse.ktable.source.topics`, `merge.repartition.topics`, `single.store.self.join`. | |
//! | `windowstore.changelog.additional.retention.ms` | `86400000` | Added to the retention of windowed changelogs, for clocks that differ. | |
//!
//! Java's settings that have no place here are errors that say what to use instead.
//!
//! # Clients
//!
//! Settings of Kafka's clients are set at the top level, for every client that knows them (`security.protocol`,
//! `sasl.username`, `ssl.ca.location`, `linger.ms`, `max.poll.interval.ms`, ..), or for some of them by a prefix, which
//! wins:
//!
//! | Prefix | For |
//! |---|---|
//! | `consumer.` | all consumers |
//! | `main.consumer.`, `restore.consumer.`, `global.consumer.` | one kind of consumer; wins over `consumer.` |
//! | `producer.` | the producers |
//! | `admin.` | the admin client |
//! | `topic.` | internal topics, when they are created |
//!
//! Names are Java's or librdkafka's. Behind a prefix any name is taken, and an unknown one is an error when the client
//! is built. The defaults that differ from the clients' own are Kafka Streams': `auto.offset.reset=earliest`,
//! `linger.ms=100`, and with `exactly_once_v2` `isolation.level=read_committed`, `transaction.timeout.ms=10000` and
//! `delivery.timeout.ms=2147483647`.
//!
//! Three are this library's own, for an application that takes little memory beside brokers that are near:
//! `max.partition.fetch.bytes=131072` (a megabyte in Java), `queued.min.messages=3000` and
//! `queue.buffering.max.messages=5000`. What one partition can read and write is about as much for each round trip to its
//! broker, 26 MB a second at 5 ms; over longer ways raise them.
//!
//! # Memory
//!
//! `memory.max.bytes` decides what stores cost as soon as they are large. 24 MB are for the process itself. Three quarters of
//! what these and record caches leave are the stores', and of that up to three quarters are rows in memory, shared out evenly
//! among the key-value stores of all tasks and the stores of their stream-stream joins: with the defaults 268 MB. A row takes
//! its key, its value, 8 bytes for the timestamp, and about 20 more, in a join about 45 more. A store whose rows fit is never read from disk, and is written there when the
//! application ends or other rows need the room. The setting is a limit: a process takes what its state takes. By default it is
//! enough for two million rows of 100 bytes, and about what Kafka Streams takes for the stores of five tasks, whose RocksDB has
//! up to 98 MB each. Measured on one core, with four partitions and keys of 8 bytes in random order: a stream joined with a
//! table of a million rows of 100 bytes, which take 140 MB, costs 2.1 µs a record where they fit and 4.8 µs where a third does
//! not; two million counters fit as they are, 2.2 µs a record. `./dev bench budget` shows what a process takes that has far
//! more rows than fit.
//!
//! `statestore.cache.max.bytes` decides how many updates of a key become one. It pays when keys come again before it is full: ten
//! thousand counters fit into the default of 10 MB. For two million in random order 200 MB spare a sixth of the time and take
//! four times the memory.
//!
//! # Exactly once
//!
//! With `processing.guarantee=exactly_once_v2` a record counts once, whatever crashes: a thread writes the results of its
//! tasks, the changes of their stores and the offsets they have reached in one transaction (KIP-447), which it commits every
//! `commit.interval.ms`. A consumer of the results sees that when it has `isolation.level=read_committed`; others also see what
//! is aborted later. Dead letters are part of the transaction, so that of a record that stops the application is not committed.
//! What user code does elsewhere, such as a request to a server, is no part of it.
//!
//! ```
//! use std::time::Duration;
//! use streams_core::StreamsConfig;
//!
//! let config = StreamsConfig::new("weather").set("processing.guarantee", "exactly_once_v2")?;
//! assert_eq!(config.commit_interval(), Duration::from_millis(100));
//! config.validate()?;
//!
//! let problem = config.set("producer.acks", 1)?.validate().unwrap_err();
//! assert_eq!(problem.to_string(), "with exactly_once_v2 acks is all; leave it out");
//! # Ok::<(), streams_core::Error>(())
//! ```
//!
//! The transactional id of a thread is `<application.id>-<process id>-<number of the thread>`, as in Kafka Streams; the process
//! id is kept in the state directory. So an instance that crashed ends what it left open as soon as it is started again with the
//! same directory. Otherwise the brokers end it after `transaction.timeout.ms`, and readers of committed records wait so long.
//!
//! The brokers must be of version 2.5 or later, and by their defaults a cluster needs three of them for transactions
//! (`transaction.state.log.replication.factor` and `transaction.state.log.min.isr`).
//!
//! # Standby copies
//!
//! With `num.standby.replicas` each task's stores are kept up to date on so many other instances, from their changelogs, as far
//! as there are instances. An instance that is given a task of which it has a copy goes on with that, stores in memory too, and
//! restores only what the copy had not read yet. Copies are shared out evenly, stay where they are when instances come and go,
//! and are moved one by one: an instance lets go of its copy when another one has caught up. With exactly-once they never have
//! what is not committed. They need the disk and memory of one more task each, and a consumer per instance.
//!
//! ```
//! use streams_core::StreamsConfig;
//!
//! let config = StreamsConfig::new("counts").set("num.standby.replicas", 1)?;
//! assert_eq!(config.num_standby_replicas(), 1);
//! # Ok::<(), streams_core::Error>(())
//! ```
//!
//! [`StandbyUpdateListener`](crate::StandbyUpdateListener) and [`RestoreListener`](crate::RestoreListener) tell how copies and
//! restorations go, as does the log: `standby copy has caught up`, `standby copy is promoted`, `restoring`.
//!
//! # Where tasks run
//!
//! A task with state runs where its state is. An instance is given it only when it has a copy that is no more than
//! `acceptable.recovery.lag` offsets behind, or when nobody has one; tasks with less state than that, or without, go anywhere.
//! So when an instance dies, its tasks go on where their standby copies are. A new instance first makes copies of the tasks that
//! are to be its share, `max.warmup.replicas` at a time, while the others keep processing them, and is given each when its copy
//! is ready (KIP-441). The log says `may be given` at each change.
//!
//! ```
//! use std::time::Duration;
//! use streams_core::StreamsConfig;
//!
//! let config = StreamsConfig::new("counts")
//!     .set("acceptable.recovery.lag", 1000)?
//!     .set("max.warmup.replicas", 4)?;
//! assert_eq!(config.acceptable_recovery_lag(), 1000);
//! assert_eq!(config.max_warmup_replicas(), 4);
//! assert_eq!(config.probing_rebalance_interval(), Duration::from_secs(600));
//! # Ok::<(), streams_core::Error>(())
//! ```
//!
//! # Environment
//!
//! [`StreamsConfig::with_environment`] reads `STREAMS_COMMIT_INTERVAL_MS` for `commit.interval.ms`,
//! `STREAMS_PRODUCER_LINGER_MS` for `producer.linger.ms` and so on, and `KAFKA_BOOTSTRAP_SERVERS` for `bootstrap.servers`.
//!
//! # File
//!
//! A file has Java's `.properties` syntax, in UTF-8:
//!
//! ```properties
//! # The cluster and how to get in.
//! bootstrap.servers = kafka-1:9093,kafka-2:9093
//! security.protocol = SASL_SSL
//! commit.interval.ms = 1000
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};

mod allowed;
mod choices;
mod client_names;
mod clients;
mod environment;
mod getters;
mod names;
mod properties;
mod settings;
mod validate;

pub use choices::{
    AutoOffsetReset, DslStore, ExceptionHandler, GroupProtocol, MetricsRecordingLevel,
    ProcessingGuarantee, TopologyOptimization,
};
pub use clients::ClientKind;

/// What an application is told from outside: names and values, checked when they are set.
///
/// The [module](self) lists the settings.
///
/// ```
/// use streams_core::StreamsConfig;
///
/// let error = StreamsConfig::new("weather").set("commit.intervall.ms", 100).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown setting 'commit.intervall.ms'; did you mean 'commit.interval.ms'?"
/// );
/// let error = StreamsConfig::new("weather").set("commit.interval.ms", "soon").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "commit.interval.ms must be a whole number of milliseconds, 0 or more; got 'soon'"
/// );
/// ```
#[derive(Clone)]
pub struct StreamsConfig {
    values: BTreeMap<String, Value>,
}

/// A value and where it came from.
#[derive(Clone)]
struct Value {
    text: String,
    origin: Origin,
}

/// Where a value came from; the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    File,
    Environment,
    Code,
}

impl StreamsConfig {
    /// The defaults, for an application of that id.
    ///
    /// The id is the name of the group and the prefix of the internal topics: two programs with the same id are two
    /// instances of one application.
    pub fn new(application_id: impl Into<String>) -> Self {
        let mut config = StreamsConfig {
            values: BTreeMap::new(),
        };
        config.put("application.id", application_id.into(), Origin::Code);
        config
    }

    /// The settings of a `.properties` file, over the defaults.
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("weather.properties");
    /// std::fs::write(&path, "application.id = weather-averages\nnum.stream.threads = 4\n")?;
    /// let config = StreamsConfig::from_file(&path)?;
    /// assert_eq!(config.application_id(), "weather-averages");
    /// assert_eq!(config.num_stream_threads(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read, or with every line that is wrong.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config(format!("cannot read the configuration {}", path.display()))
                .with_source(error)
        })?;
        let mut config = StreamsConfig {
            values: BTreeMap::new(),
        };
        let mut problems = Vec::new();
        for property in properties::parse(&text) {
            let checked = property
                .entry
                .and_then(|(name, value)| config.check_and_put(&name, value, Origin::File));
            if let Err(problem) = checked {
                problems.push(format!("{}:{}: {problem}", path.display(), property.line));
            }
        }
        all(problems)?;
        Ok(config)
    }

    /// Sets one setting, over what the environment, a file or an earlier call said.
    ///
    /// # Errors
    /// When the name is unknown or the value is not allowed.
    pub fn set(mut self, name: &str, value: impl ToString) -> Result<Self> {
        self.check_and_put(name, value.to_string(), Origin::Code)
            .map_err(Error::config)?;
        Ok(self)
    }

    /// Sets what this process's environment says, unless code says otherwise.
    ///
    /// # Errors
    /// With every variable that begins with `STREAMS_` and is no setting, or whose value is not allowed.
    pub fn with_environment(self) -> Result<Self> {
        self.with_variables(environment::of_this_process()?)
    }

    /// As [`with_environment`](Self::with_environment), with these variables.
    ///
    /// ```
    /// use streams_core::StreamsConfig;
    ///
    /// let config = StreamsConfig::new("weather").with_variables([
    ///     ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"),
    ///     ("STREAMS_NUM_STREAM_THREADS", "3"),
    ///     ("STREAMS_PRODUCER_LINGER_MS", "5"),
    ///     ("HOME", "/root"),
    /// ])?;
    /// assert_eq!(config.bootstrap_servers(), Some("kafka:9092"));
    /// assert_eq!(config.num_stream_threads(), 3);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`with_environment`](Self::with_environment).
    pub fn with_variables<N: AsRef<str>, V: AsRef<str>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self> {
        let mut problems = Vec::new();
        for (variable, value) in environment::by_precedence(variables) {
            let checked = environment::setting(&variable)
                .and_then(|name| self.check_and_put(&name, value, Origin::Environment));
            if let Err(problem) = checked {
                problems.push(format!("environment variable {variable}: {problem}"));
            }
        }
        all(problems)?;
        Ok(self)
    }

    fn check_and_put(
        &mut self,
        name: &str,
        mut text: String,
        origin: Origin,
    ) -> std::result::Result<(), String> {
        // Blanks around a value are slips of the pen, but may be part of a password.
        if !is_secret(name) {
            text = text.trim().to_owned();
        }
        settings::check(name, &text)?;
        self.put(name, text, origin);
        Ok(())
    }

    fn put(&mut self, name: &str, text: String, origin: Origin) {
        match self.values.get_mut(name) {
            Some(value) if value.origin > origin => {}
            Some(value) => *value = Value { text, origin },
            None => {
                self.values.insert(name.to_owned(), Value { text, origin });
            }
        }
    }

    /// What was set, without defaults.
    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.text.as_str())
    }
}

/// Nothing, or one error of all problems.
fn all(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::config(problems.join("\n")))
    }
}

/// Whether a setting's value is never shown.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 8] = [
        "password",
        "secret",
        "passphrase",
        "jaas",
        "oauthbearer.config",
        "key.pem",
        "ssl_key",
        "keystore.key",
    ];
    WORDS.iter().any(|word| name.contains(word))
}

impl fmt::Debug for StreamsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.values.iter().map(|(name, value)| {
                let text = match is_secret(name) {
                    true => "[hidden]",
                    false => value.text.as_str(),
                };
                (name, text)
            }))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("app.properties");
        std::fs::write(&path, text).expect("file");
        (directory, path)
    }

    #[test]
    fn code_wins_over_environment_over_file_over_default() {
        let (_directory, path) =
            file("application.id=app\npoll.ms=1\ncommit.interval.ms=2\ntask.timeout.ms=3\n");
        let variables = [
            ("STREAMS_POLL_MS", "10"),
            ("STREAMS_COMMIT_INTERVAL_MS", "20"),
        ];
        let from_code_first = StreamsConfig::from_file(&path)
            .and_then(|config| config.set("poll.ms", 100))
            .and_then(|config| config.with_variables(variables))
            .expect("config");
        let from_code_last = StreamsConfig::from_file(&path)
            .and_then(|config| config.with_variables(variables))
            .and_then(|config| config.set("poll.ms", 100))
            .expect("config");
        for config in [from_code_first, from_code_last] {
            assert_eq!(config.poll_interval().as_millis(), 100);
            assert_eq!(config.commit_interval().as_millis(), 20);
            assert_eq!(config.task_timeout().as_millis(), 3);
            assert_eq!(config.repartition_purge_interval().as_millis(), 30_000);
        }
    }

    #[test]
    fn a_file_tells_every_wrong_line() {
        let (_directory, path) = file("# comment\npoll.ms = soon\n\nnum.stream.thread = 3\n");
        let text = StreamsConfig::from_file(&path).unwrap_err().to_string();
        assert_eq!(
            text.replace(path.to_str().expect("UTF-8"), "app.properties"),
            "app.properties:2: poll.ms must be a whole number of milliseconds, 0 or more; got 'soon'\n\
             app.properties:4: unknown setting 'num.stream.thread'; did you mean 'num.stream.threads'?"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let text = StreamsConfig::from_file("/nowhere/app.properties")
            .unwrap_err()
            .to_string();
        assert!(text.contains("/nowhere/app.properties"), "{text}");
    }

    #[test]
    fn blanks_are_trimmed_but_not_from_secrets() {
        let (_directory, path) = file("poll.ms = 7 \nsasl.password = a b \n");
        let config = StreamsConfig::from_file(&path)
            .and_then(|config| config.set("ssl.key.password", " c "))
            .and_then(|config| config.set("client.id", " d "))
            .expect("config");
        assert_eq!(config.poll_interval().as_millis(), 7);
        assert_eq!(config.text("sasl.password"), Some("a b "));
        assert_eq!(config.text("ssl.key.password"), Some(" c "));
        assert_eq!(config.client_id(), Some("d"));
    }

    #[test]
    fn secrets_are_never_shown() {
        let config = StreamsConfig::new("app")
            .set("sasl.username", "alice")
            .and_then(|config| config.set("sasl.password", "tiger-1"))
            .and_then(|config| config.set("ssl.key.password", "tiger-2"))
            .and_then(|config| config.set("ssl.keystore.password", "tiger-3"))
            .and_then(|config| config.set("producer.sasl.oauthbearer.client.secret", "tiger-4"))
            .and_then(|config| config.set("ssl.key.pem", "tiger-5"))
            .expect("config");
        let text = format!("{config:?}");
        assert!(!text.contains("tiger"), "{text}");
        assert!(text.contains("alice"), "{text}");
        assert_eq!(text.matches("[hidden]").count(), 5);
    }
}
