//! [`EmbeddedBroker`] and its builder.

use std::io;

use super::clock::Clock;
use super::core::{BrokerCore, CoreConfig};
use super::server::Server;

/// Partitions of a topic that is created without saying how many, unless the builder says otherwise.
const DEFAULT_PARTITIONS: i32 = 1;

/// How long a member of the consumer protocol may be silent, unless the builder says otherwise; Kafka's default.
const CONSUMER_SESSION_TIMEOUT_MS: u32 = 45_000;

/// How often old records are looked for, unless the builder says otherwise.
const CLEANER_INTERVAL_MS: u32 = 1_000;

/// Why the embedded broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; stop what uses the port, or choose another (0 takes any free one)")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// A broker that runs in this process and listens on loopback.
///
/// It stops when it is dropped.
///
/// ```
/// # use streams_core::embedded::EmbeddedBroker;
/// let broker = EmbeddedBroker::builder().auto_create_topics(true).start()?;
/// assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EmbeddedBroker {
    server: Server,
}

impl EmbeddedBroker {
    /// A builder with the defaults: any free port, nothing kept, one partition per topic, topics created when asked for.
    pub fn builder() -> EmbeddedBrokerBuilder {
        EmbeddedBrokerBuilder::default()
    }

    /// The address for a client's `bootstrap.servers`, as `127.0.0.1:39021`.
    pub fn bootstrap_servers(&self) -> String {
        self.server.address().to_string()
    }

    /// Closes all connections and stops all threads. Dropping the broker does the same.
    pub fn shutdown(mut self) {
        self.server.stop();
    }
}

/// Says how an [`EmbeddedBroker`] shall be, and starts it.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct EmbeddedBrokerBuilder {
    port: u16,
    default_partitions: i32,
    auto_create_topics: bool,
    group_initial_rebalance_delay_ms: u32,
    consumer_session_timeout_ms: u32,
    cleaner_interval_ms: u32,
}

impl Default for EmbeddedBrokerBuilder {
    fn default() -> Self {
        Self {
            port: 0,
            default_partitions: DEFAULT_PARTITIONS,
            auto_create_topics: true,
            group_initial_rebalance_delay_ms: 0,
            consumer_session_timeout_ms: CONSUMER_SESSION_TIMEOUT_MS,
            cleaner_interval_ms: CLEANER_INTERVAL_MS,
        }
    }
}

impl EmbeddedBrokerBuilder {
    /// The port on 127.0.0.1; 0, the default, takes any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Partitions of a topic that is created without saying how many (`num.partitions`); 1 by default.
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.default_partitions = partitions;
        self
    }

    /// Whether producing to an unknown topic, or asking for it, creates it (`auto.create.topics.enable`); yes by default.
    pub fn auto_create_topics(mut self, creates: bool) -> Self {
        self.auto_create_topics = creates;
        self
    }

    /// How long the first member of a group waits for others before it gets partitions
    /// (`group.initial.rebalance.delay.ms`). 0 by default, where Kafka has 3000: here the first output counts.
    pub fn group_initial_rebalance_delay_ms(mut self, delay_ms: u32) -> Self {
        self.group_initial_rebalance_delay_ms = delay_ms;
        self
    }

    /// How long a member of a group with `group.protocol=consumer` may be silent before its partitions go to others
    /// (`group.consumer.session.timeout.ms`); 45 000 by default. With the classic protocol the clients say it.
    pub fn consumer_session_timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.consumer_session_timeout_ms = timeout_ms;
        self
    }

    /// How often retention and compaction look for something to do (`log.retention.check.interval.ms` and
    /// `log.cleaner.backoff.ms` in one); 1 000 by default.
    pub fn cleaner_interval_ms(mut self, interval_ms: u32) -> Self {
        self.cleaner_interval_ms = interval_ms.max(1);
        self
    }

    /// Starts the broker. When this returns, clients can connect.
    ///
    /// # Errors
    /// [`EmbeddedError::Listen`] when the port is taken.
    pub fn start(self) -> Result<EmbeddedBroker, EmbeddedError> {
        let clock = Clock::start();
        let make_core = |port| {
            BrokerCore::new(CoreConfig {
                host: "127.0.0.1".to_owned(),
                port,
                default_partitions: self.default_partitions,
                auto_create_topics: self.auto_create_topics,
                group_initial_rebalance_delay_ms: i64::from(self.group_initial_rebalance_delay_ms),
                consumer_session_timeout_ms: i64::from(self.consumer_session_timeout_ms),
                cleaner_interval_ms: i64::from(self.cleaner_interval_ms),
                seed: uuid::Uuid::new_v4().as_u64_pair().0,
                keeps_changes: false,
            })
        };
        let server = Server::start(self.port, clock, make_core);
        let server = server.map_err(|source| EmbeddedError::Listen { port: self.port, source })?;
        Ok(EmbeddedBroker { server })
    }
}
