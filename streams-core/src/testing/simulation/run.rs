//! What is simulated, and what came of it.

use super::cluster::{Isolation, NewRecord, batch};
use super::instance::Instance;
use super::scheduler::Event;
use super::world::{Setup, World};
use crate::config::{ClientKind, ProcessingGuarantee, StreamsConfig};
use crate::embedded::core::transactions::ProducerIdentity;
use crate::error::Result;
use crate::record::{Headers, OwnedRecord, TopicPartition};
use crate::runtime::simulated::RuntimeSettings;
use crate::topology::Topology;
use std::collections::BTreeMap;

/// How long everything goes wrong, at most, after the last record of the input.
const HARSH_TAIL_US: u64 = 3_000_000;
/// How far apart the records of the input are, at most.
const INPUT_EVERY_US: u64 = 250_000;
/// How long everything may take to be processed once nothing goes wrong any more.
const CALM_MAX_US: u64 = 180_000_000;
/// How often that is looked at.
const CALM_STEP_US: u64 = 250_000;

/// A bug that a simulation plants in the code it runs, to see that it would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlantedBug {
    /// Offsets are committed before the brokers have what was produced.
    CommitBeforeFlush,
    /// Stores are written before their transaction is committed.
    StateBeforeTransaction,
    /// Instances may be given tasks whose state others have.
    TasksGoAnywhere,
}

/// A record of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulatedRecord {
    /// The topic it is written to.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its time in milliseconds.
    pub timestamp: i64,
    /// The bytes of its key, `None` for null.
    pub key: Option<Vec<u8>>,
    /// The bytes of its value, `None` for null.
    pub value: Option<Vec<u8>>,
}

/// An application and the world it runs in; see the [module](super).
#[derive(Clone, Debug)]
pub struct Simulation {
    topology: Topology,
    config: StreamsConfig,
    topics: Vec<(String, i32)>,
    input: Vec<SimulatedRecord>,
    instance_count: usize,
    planted: Option<PlantedBug>,
    is_traced: bool,
}

impl Simulation {
    /// One instance of an application with the id `app`, whose intervals are short: `commit.interval.ms` is 100.
    pub fn new(topology: Topology) -> Simulation {
        let config = StreamsConfig::new("app")
            .set("commit.interval.ms", 100)
            .expect("the name and the value are right");
        Simulation {
            topology,
            config,
            topics: Vec::new(),
            input: Vec::new(),
            instance_count: 1,
            planted: None,
            is_traced: false,
        }
    }

    /// Sets a setting of the application, such as `processing.guarantee` or `num.stream.threads`.
    ///
    /// # Errors
    /// When there is no such setting, or the value does not fit it.
    pub fn set(mut self, name: &str, value: impl std::fmt::Display) -> Result<Simulation> {
        self.config = self.config.set(name, value)?;
        Ok(self)
    }

    /// Adds a topic of the user. The application makes its own itself.
    #[must_use]
    pub fn topic(mut self, name: &str, partition_count: i32) -> Simulation {
        self.topics.push((name.to_owned(), partition_count));
        self
    }

    /// Runs so many instances, each with a disk of its own.
    #[must_use]
    pub fn instances(mut self, count: usize) -> Simulation {
        self.instance_count = count;
        self
    }

    /// Adds records that are written while the application runs, in this order.
    #[must_use]
    pub fn input(mut self, records: impl IntoIterator<Item = SimulatedRecord>) -> Simulation {
        self.input.extend(records);
        self
    }

    /// Plants a bug.
    #[must_use]
    pub fn plant(mut self, bug: PlantedBug) -> Simulation {
        self.planted = Some(bug);
        self
    }

    /// Writes down what happens, for [`Run::trace`]; that takes time.
    #[must_use]
    pub fn traced(mut self) -> Simulation {
        self.is_traced = true;
        self
    }

    /// Runs it. The same seed gives the same run.
    pub fn run(&self, seed: u64) -> Run {
        let setup = Setup {
            topology: self.topology.clone().configured(&self.config),
            exactly_once: self.config.processing_guarantee() == ProcessingGuarantee::ExactlyOnceV2,
            is_classic: self
                .config
                .client_settings(ClientKind::MainConsumer)
                .get("group.protocol")
                .is_none_or(|protocol| protocol == "classic"),
            group: self.config.application_id().to_owned(),
            config: self.config.clone(),
            topics: self.topics.clone(),
            input: self.input.clone(),
            instance_count: self.instance_count,
            planted: self.planted,
            is_traced: self.is_traced,
        };
        World::with(setup, seed, |world| {
            if let Err(error) = world.live() {
                world.violate(format!("the simulation cannot start: {error}"));
            }
            let mut records = BTreeMap::new();
            for (topic, count) in &self.topics {
                let mut of_topic = Vec::new();
                for partition in 0..*count {
                    let from = TopicPartition::new(topic.clone(), partition);
                    let cluster = world.cluster.borrow();
                    if let Ok(read) = cluster.read(&from, 0, usize::MAX, Isolation::Committed) {
                        of_topic.extend(read.records.into_iter().map(|r| (partition, r)));
                    }
                }
                records.insert(topic.clone(), of_topic);
            }
            Run {
                seed,
                violation: world.take_violation(),
                trace: world.take_trace(),
                records,
                crash_count: world.crashes.get(),
                effect_count: world.effects.get(),
                simulated_ms: world.now_us() / 1000,
                placement_check_count: world.warmth.borrow().checks,
            }
        })
    }
}

/// What came of a [`Simulation`].
#[derive(Clone, Debug)]
pub struct Run {
    seed: u64,
    violation: Option<String>,
    trace: Vec<String>,
    records: BTreeMap<String, Vec<(i32, OwnedRecord)>>,
    crash_count: u64,
    effect_count: u64,
    simulated_ms: u64,
    placement_check_count: u64,
}

impl Run {
    /// The seed it was run with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What was wrong, if anything was.
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// What happened, line by line, when the simulation was [`traced`](Simulation::traced).
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// The committed records of a topic with their partitions, partition by partition, in order.
    pub fn records(&self, topic: &str) -> &[(i32, OwnedRecord)] {
        self.records.get(topic).map_or(&[], Vec::as_slice)
    }

    /// How many processes died.
    pub fn crash_count(&self) -> u64 {
        self.crash_count
    }

    /// At how many points something could have gone wrong.
    pub fn effect_count(&self) -> u64 {
        self.effect_count
    }

    /// How often it was looked whether an instance may be given a task that it should not.
    pub fn placement_check_count(&self) -> u64 {
        self.placement_check_count
    }

    /// How long it took by the simulated clock.
    pub fn simulated_ms(&self) -> u64 {
        self.simulated_ms
    }
}

impl World {
    /// From the first topic to the end.
    fn live(&self) -> Result<()> {
        self.note(0, || format!("{:?}", self.faults));
        self.create_topics()?;
        for number in 0..self.setup.instance_count {
            let instance = Instance::new(self, number);
            self.instances.borrow_mut().push(instance);
            let after_us = self.between(0, 2_000_000);
            self.schedule(after_us, Event::Start(number));
        }
        self.schedule(0, Event::Tick);
        self.schedule(0, Event::Chaos);
        let mut at_us = self.between(0, 500_000);
        for index in 0..self.setup.input.len() {
            self.schedule(at_us, Event::Produce(index));
            // In bursts, and with gaps.
            if self.between(0, 2) == 0 {
                at_us += self.between(0, INPUT_EVERY_US);
            }
        }
        self.is_harsh.set(true);
        let tail_us = self.between(0, HARSH_TAIL_US);
        self.run_until(at_us + tail_us);
        self.is_harsh.set(false);
        self.note(0, || "all is well again".to_owned());
        let settings = RuntimeSettings::new(&self.setup.config)?;
        let (plan, _) = self.plan(&settings)?;
        let calm_from_us = self.now_us();
        while !self.is_over() && !self.is_done(&plan.counts) {
            if self.now_us() > calm_from_us + CALM_MAX_US {
                let left = self.left(&plan.counts);
                self.violate(format!("not everything is processed: {}", left.join(", ")));
            }
            self.run_until(self.now_us() + CALM_STEP_US);
        }
        self.stop();
        Ok(())
    }

    /// What is not processed yet.
    fn left(&self, sources: &BTreeMap<String, i32>) -> Vec<String> {
        let cluster = self.cluster.borrow();
        let mut left = Vec::new();
        for (topic, count) in sources {
            for partition in 0..*count {
                let partition = TopicPartition::new(topic.clone(), partition);
                let committed = cluster.committed_offset(&self.setup.group, &partition);
                let (first, end) = cluster.bounds(&partition).unwrap_or((0, 0));
                let from = committed.unwrap_or(first).max(first);
                let records = cluster.read(&partition, from, 1, Isolation::Committed);
                let is_read = records.is_ok_and(|read| read.records.is_empty());
                if !is_read || cluster.stable_offset(&partition) < end {
                    left.push(format!("{partition} from {from} to {end}"));
                }
            }
        }
        left
    }

    fn is_done(&self, sources: &BTreeMap<String, i32>) -> bool {
        self.left(sources).is_empty() && self.cluster.borrow().is_settled()
    }

    /// Stops every process in order.
    fn stop(&self) {
        self.is_ending.set(true);
        for process in self.processes.borrow().values() {
            process.lifecycle.request_stop();
        }
        self.run_until(self.now_us() + CALM_STEP_US);
    }

    /// Writes a record of the input.
    pub(super) fn produce(&self, index: usize) {
        let record = &self.setup.input[index];
        let partition = TopicPartition::new(record.topic.clone(), record.partition);
        let new = NewRecord {
            timestamp: record.timestamp,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: Headers::new(),
        };
        let nobody = ProducerIdentity {
            producer_id: -1,
            producer_epoch: -1,
        };
        let batch = batch(nobody, false, -1, &[new]);
        match self.tell(|cluster, now_ms| cluster.append(&partition, &batch, now_ms)) {
            Ok(next) => self.note(0, || format!("input: {partition} ends at {next}")),
            Err(error) => self.violate(format!("an input was refused: {error}")),
        }
    }
}
