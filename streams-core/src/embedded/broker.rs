//! [`EmbeddedBroker`] and its builder.

use std::io;
use std::path::PathBuf;

use tracing::info;

use super::clock::Clock;
use super::core::{BrokerCore, CoreConfig};
use super::server::Server;
use super::storage::Storage;

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
    #[error(
        "cannot listen on 127.0.0.1:{port}: {source}; stop what uses the port, or choose another (0 takes any free one)"
    )]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The directory cannot be read or written.
    #[error("cannot keep data in {}: {source}; check that the directory can be read and written", directory.display())]
    Directory {
        /// The directory asked for.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another broker uses the directory.
    #[error("another broker keeps its data in {}; stop it, or choose another directory", directory.display())]
    DirectoryInUse {
        /// The directory asked for.
        directory: PathBuf,
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

    /// The address that is listened on, for a client's `bootstrap.servers`, as `127.0.0.1:39021`.
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
    advertised_port: Option<u16>,
    directory: Option<PathBuf>,
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
            advertised_port: None,
            directory: None,
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

    /// The port clients are told to connect to (`advertised.listeners`), where that is another than the one listened on: of a
    /// tunnel or a proxy in front of the broker.
    ///
    /// ```
    /// # use streams_core::embedded::EmbeddedBroker;
    /// // Clients start with the proxy's address, 127.0.0.1:19092, and stay with it.
    /// let broker = EmbeddedBroker::builder().advertised_port(19092).start()?;
    /// assert_ne!(broker.bootstrap_servers(), "127.0.0.1:19092");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advertised_port(mut self, port: u16) -> Self {
        self.advertised_port = Some(port);
        self
    }

    /// Keeps everything in this directory, and comes back with it after a restart or a crash. Without one, the default,
    /// everything is forgotten when the broker stops. The data is held in memory as well, so it has to fit there.
    ///
    /// ```
    /// # use streams_core::embedded::EmbeddedBroker;
    /// # let directory = std::env::temp_dir().join(format!("embedded-broker-doc-{}", std::process::id()));
    /// let broker = EmbeddedBroker::builder().directory(&directory).start()?;
    /// # drop(broker);
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
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
    /// [`EmbeddedError::Listen`] when the port is taken, [`EmbeddedError::DirectoryInUse`] when another broker keeps its data
    /// in the directory, [`EmbeddedError::Directory`] when the directory cannot be used.
    pub fn start(self) -> Result<EmbeddedBroker, EmbeddedError> {
        let clock = Clock::start();
        let kept = match &self.directory {
            None => None,
            Some(directory) => Some(Storage::open(directory, clock.now_ms())?),
        };
        let make_core = |port| {
            let config = CoreConfig {
                host: "127.0.0.1".to_owned(),
                port: self.advertised_port.unwrap_or(port),
                default_partitions: self.default_partitions,
                auto_create_topics: self.auto_create_topics,
                group_initial_rebalance_delay_ms: i64::from(self.group_initial_rebalance_delay_ms),
                consumer_session_timeout_ms: i64::from(self.consumer_session_timeout_ms),
                cleaner_interval_ms: i64::from(self.cleaner_interval_ms),
                seed: uuid::Uuid::new_v4().as_u64_pair().0,
                keeps_changes: kept.is_some(),
            };
            match kept {
                None => (BrokerCore::new(config), None),
                Some((storage, segments)) => {
                    let core = BrokerCore::recovered(
                        config,
                        storage.state().clone(),
                        segments,
                        clock.now_ms(),
                    );
                    (core, Some(storage))
                }
            }
        };
        let server = Server::start(self.port, clock, make_core);
        let server = server.map_err(|source| EmbeddedError::Listen {
            port: self.port,
            source,
        })?;
        let address = server.address();
        match &self.directory {
            None => {
                info!(%address, "the embedded broker is up; it keeps everything in memory and nothing beyond that")
            }
            Some(directory) => {
                info!(%address, directory = %directory.display(), "the embedded broker is up")
            }
        }
        Ok(EmbeddedBroker { server })
    }
}
