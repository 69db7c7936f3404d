//! A cluster of real Apache Kafka brokers, each a controller too, whose brokers can be killed, stopped, paused and started
//! again one by one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::kafka::{java_with_heap, libraries};
use super::ports;
use super::supervised::{self, Supervised};
use super::wait;

/// How many brokers a cluster has: the fewest that can lose one and still have two copies of everything.
pub const BROKER_COUNT: usize = 3;
const HEAP: &str = "256m";
const START_DEADLINE: Duration = Duration::from_secs(180);

/// Three brokers, killed when this is dropped.
pub struct Cluster {
    brokers: Vec<ClusterBroker>,
    libraries: PathBuf,
}

struct ClusterBroker {
    port: u16,
    directory: PathBuf,
    process: Option<Supervised>,
}

impl Cluster {
    /// Makes the brokers' directories below `directory` and starts them; `settings` are added to every `server.properties`.
    ///
    /// # Panics
    ///
    /// When Kafka is missing or does not start; the message says what to do.
    pub fn start(directory: &Path, settings: &[(&str, &str)]) -> Cluster {
        let libraries = libraries().unwrap_or_else(|message| panic!("{message}"));
        let ports: [u16; 2 * BROKER_COUNT] = ports::free();
        let (ports, controller_ports) = ports.split_at(BROKER_COUNT);
        let voters: Vec<String> = (1..)
            .zip(controller_ports)
            .map(|(id, port)| format!("{id}@127.0.0.1:{port}"))
            .collect();
        let mut brokers = Vec::new();
        for (index, (&port, &controller_port)) in ports.iter().zip(controller_ports).enumerate() {
            let id = index + 1;
            let directory = directory.join(format!("broker-{id}"));
            fs::create_dir_all(&directory).expect("a directory can be made");
            let mut properties = format!(
                "process.roles=broker,controller\n\
                 node.id={id}\n\
                 controller.quorum.voters={}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
                 log.dirs={}\n\
                 default.replication.factor=3\n\
                 min.insync.replicas=2\n\
                 auto.create.topics.enable=false\n\
                 offsets.topic.num.partitions=6\n\
                 offsets.topic.replication.factor=3\n\
                 transaction.state.log.num.partitions=6\n\
                 transaction.state.log.replication.factor=3\n\
                 transaction.state.log.min.isr=2\n\
                 group.initial.rebalance.delay.ms=0\n",
                voters.join(","),
                directory.join("data").display()
            );
            for (name, value) in settings {
                properties.push_str(&format!("{name}={value}\n"));
            }
            let file = directory.join("server.properties");
            fs::write(&file, properties).expect("the properties can be written");
            let format = java_with_heap(HEAP, &libraries, "kafka.tools.StorageTool")
                .args(["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ"])
                .arg("--config")
                .arg(&file)
                .output()
                .unwrap_or_else(|error| {
                    panic!("java cannot be started: {error}; run `./dev setup`")
                });
            assert!(
                format.status.success(),
                "Kafka's directory cannot be formatted: {}",
                String::from_utf8_lossy(&format.stderr)
            );
            brokers.push(ClusterBroker {
                port,
                directory,
                process: None,
            });
        }
        let mut cluster = Cluster { brokers, libraries };
        for broker in 0..BROKER_COUNT {
            cluster.launch(broker);
        }
        cluster
    }

    /// The bootstrap servers of all brokers.
    pub fn bootstrap(&self) -> String {
        let servers: Vec<String> = self
            .brokers
            .iter()
            .map(|broker| format!("127.0.0.1:{}", broker.port))
            .collect();
        servers.join(",")
    }

    /// Waits until `is_ready` says so.
    ///
    /// # Panics
    ///
    /// When a broker ends or it takes too long; the message has the end of the brokers' logs.
    pub fn wait_until_ready(&mut self, mut is_ready: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_ready() {
            for broker in 0..BROKER_COUNT {
                let log = self.brokers[broker].directory.join("broker.log");
                assert!(
                    !self.has_ended(broker) && start.elapsed() < START_DEADLINE,
                    "the cluster did not start; the end of the log of broker {}:\n{}",
                    broker + 1,
                    supervised::tail(&log)
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts a broker that has ended, or has never run, and does not wait until it answers.
    pub fn launch(&mut self, broker: usize) {
        let broker = &mut self.brokers[broker];
        let mut command = java_with_heap(HEAP, &self.libraries, "kafka.Kafka");
        command.arg(broker.directory.join("server.properties"));
        let log = broker.directory.join("broker.log");
        broker.process = Some(Supervised::start(&command, &log, &log, None));
    }

    /// Sends a broker a signal, named as `kill` names it.
    pub fn signal(&self, broker: usize, name: &str) {
        let process = self.brokers[broker].process.as_ref();
        process.expect("the broker has been started").signal(name);
    }

    /// Whether the process of a broker is gone.
    pub fn has_ended(&self, broker: usize) -> bool {
        let process = self.brokers[broker].process.as_ref();
        process.is_none_or(|process| process.exit_code().is_some())
    }

    /// Waits until the process of a broker is gone.
    pub fn wait_for_exit(&self, broker: usize) {
        wait::until("the end of a broker", START_DEADLINE, || {
            self.has_ended(broker)
        });
    }
}
