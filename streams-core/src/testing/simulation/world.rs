//! The one world of a run: its time, its chance, its brokers and its processes, and the points at which something can go wrong.
//!
//! Everything happens on one thread. An actor (a stream thread, a restore thread, the regular jobs of a process) takes a turn at
//! a time. Within a turn, whatever it asks of a broker or of the disk is an *effect*: there its process may die, which unwinds
//! the turn, or stand still, in which case the world goes on inside the effect until the process wakes up.

use super::cluster::{Cluster, Isolation};
use super::faults::Faults;
use super::instance::Instance;
use super::members::Members;
use super::random::Random;
use super::scheduler::{Event, Slot};
use super::warmth::Warmth;
use super::{PlantedBug, SimulatedRecord};
use crate::config::StreamsConfig;
use crate::error::{Error, Result};
use crate::runtime::broker::Broker;
use crate::runtime::simulated::{Clock, Lifecycle};
use crate::topology::Topology;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// When the simulated clocks start, in milliseconds since 1970.
const START_MS: i64 = 1_700_000_000_000;
/// How deep effects may lie in each other: a process that stands still while another does while another does.
const DEPTH_MAX: u32 = 3;
/// The largest number of lines of a trace that are kept.
const TRACE_MAX: usize = 200_000;

/// What a process that dies unwinds with.
pub(super) struct Died;

/// One run of a process, from start to end.
pub(super) type ProcessId = u64;

/// A process that runs.
pub(super) struct Process {
    /// Which instance it is a run of.
    pub(super) instance: usize,
    pub(super) lifecycle: Arc<Lifecycle>,
    /// By how many pauses it is held.
    pub(super) held: u32,
}

/// What a run is about.
pub(super) struct Setup {
    pub(super) topology: Topology,
    pub(super) config: StreamsConfig,
    pub(super) exactly_once: bool,
    pub(super) is_classic: bool,
    pub(super) group: String,
    pub(super) topics: Vec<(String, i32)>,
    pub(super) input: Vec<SimulatedRecord>,
    pub(super) instance_count: usize,
    pub(super) planted: Option<PlantedBug>,
    pub(super) is_traced: bool,
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) faults: Faults,
    pub(super) random: RefCell<Random>,
    pub(super) cluster: RefCell<Cluster>,
    pub(super) members: RefCell<Members>,
    pub(super) warmth: RefCell<Warmth>,
    pub(super) processes: RefCell<BTreeMap<ProcessId, Process>>,
    pub(super) instances: RefCell<Vec<Instance>>,
    pub(super) slots: RefCell<BTreeMap<u64, Slot>>,
    pub(super) events: RefCell<BTreeMap<(u64, u64), Event>>,
    pub(super) next_id: Cell<u64>,
    /// The processes whose actors are in their turns, innermost last.
    pub(super) turns: RefCell<Vec<ProcessId>>,
    /// Whether things go wrong.
    pub(super) is_harsh: Cell<bool>,
    /// Whether processes that end are not started again.
    pub(super) is_ending: Cell<bool>,
    /// Until when the brokers answer nobody.
    pub(super) outage_until_us: Cell<u64>,
    /// How long the last poll of an actor would have waited.
    pub(super) idle_us: Cell<Option<u64>>,
    pub(super) crashes: Cell<u64>,
    pub(super) effects: Cell<u64>,
    violation: RefCell<Option<String>>,
    trace: RefCell<Vec<String>>,
    now_us: Cell<u64>,
    depth: Cell<u32>,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The world of this thread.
pub(super) fn world() -> Rc<World> {
    WORLD.with_borrow(|world| Rc::clone(world.as_ref().expect("a simulation runs")))
}

/// Whether a bug is planted in the run of this thread.
pub(crate) fn is_planted(bug: PlantedBug) -> bool {
    WORLD.with_borrow(|world| {
        world
            .as_ref()
            .is_some_and(|world| world.setup.planted == Some(bug))
    })
}

impl World {
    /// Makes the world of this thread and lives through it.
    pub(super) fn with<T>(setup: Setup, seed: u64, live: impl FnOnce(&Rc<World>) -> T) -> T {
        let mut random = Random::new(seed);
        let faults = Faults::choose(&mut random);
        let session_timeout_ms = *random.pick(&[2_000, 6_000, 15_000]);
        let world = Rc::new(World {
            cluster: RefCell::new(Cluster::new(
                random.next_u64(),
                session_timeout_ms,
                START_MS,
            )),
            setup,
            faults,
            random: RefCell::new(random),
            members: RefCell::default(),
            warmth: RefCell::default(),
            processes: RefCell::default(),
            instances: RefCell::default(),
            slots: RefCell::default(),
            events: RefCell::default(),
            next_id: Cell::new(1),
            turns: RefCell::default(),
            is_harsh: Cell::new(false),
            is_ending: Cell::new(false),
            outage_until_us: Cell::new(0),
            idle_us: Cell::new(None),
            crashes: Cell::new(0),
            effects: Cell::new(0),
            violation: RefCell::default(),
            trace: RefCell::default(),
            now_us: Cell::new(0),
            depth: Cell::new(0),
        });
        let outer = WORLD.replace(Some(Rc::clone(&world)));
        let lived = live(&world);
        // What is still there ends with the world, while there is one.
        world.end();
        WORLD.set(outer);
        lived
    }

    /// Takes everything out, dead.
    fn end(&self) {
        self.processes.borrow_mut().clear();
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        drop(slots);
    }

    // --- Time and chance

    pub(super) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    pub(super) fn now_ms(&self) -> i64 {
        START_MS + (self.now_us.get() / 1000) as i64
    }

    /// Time never goes back.
    pub(super) fn advance_to(&self, us: u64) {
        self.now_us.set(self.now_us.get().max(us));
    }

    pub(super) fn new_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        self.is_harsh.get() && probability > 0.0 && self.random.borrow_mut().chance(probability)
    }

    pub(super) fn between(&self, first: u64, last: u64) -> u64 {
        self.random.borrow_mut().between(first, last)
    }

    // --- What happened

    /// Adds a line to the trace, if there is one.
    pub(super) fn note(&self, process: ProcessId, what: impl FnOnce() -> String) {
        if !self.setup.is_traced {
            return;
        }
        let what = what();
        let mut trace = self.trace.borrow_mut();
        if trace.len() < TRACE_MAX {
            let us = self.now_us.get();
            let mut line = format!("{:>3}.{:06} ", us / 1_000_000, us % 1_000_000);
            for _ in 0..self.depth.get() {
                line.push_str("| ");
            }
            if process == 0 {
                let _ = write!(line, "{what}");
            } else {
                let _ = write!(line, "p{process}: {what}");
            }
            trace.push(line);
        }
    }

    pub(super) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.trace.borrow_mut())
    }

    /// A check has failed: the run ends.
    pub(super) fn violate(&self, what: String) {
        self.note(0, || format!("VIOLATION: {what}"));
        self.violation.borrow_mut().get_or_insert(what);
    }

    pub(super) fn is_over(&self) -> bool {
        self.violation.borrow().is_some()
    }

    pub(super) fn take_violation(&self) -> Option<String> {
        self.violation.borrow_mut().take()
    }

    // --- Effects

    pub(super) fn is_alive(&self, process: ProcessId) -> bool {
        self.processes.borrow().contains_key(&process)
    }

    /// The process whose turn it is.
    pub(super) fn current(&self) -> ProcessId {
        self.turns.borrow().last().copied().unwrap_or(0)
    }

    fn check_alive(&self, process: ProcessId) {
        if process != 0 && (self.is_over() || !self.is_alive(process)) {
            resume_unwind(Box::new(Died));
        }
    }

    /// An effect of a process is about to happen: it may die before, or stand still. Process 0 is the world itself.
    pub(super) fn effect(&self, process: ProcessId, what: impl FnOnce() -> String) {
        if process == 0 {
            return;
        }
        self.check_alive(process);
        self.effects.set(self.effects.get() + 1);
        self.note(process, what);
        if self.chance(self.faults.crash) {
            self.kill(process, "dies");
            self.check_alive(process);
        }
        if self.depth.get() < DEPTH_MAX && self.chance(self.faults.pause) {
            let us = match self.between(0, 9) {
                0..=5 => self.between(1_000, 100_000),
                6..=8 => self.between(100_000, 3_000_000),
                _ => self.between(3_000_000, 20_000_000),
            };
            let whole = self.between(0, 1) == 0;
            self.pause(process, us, whole);
        }
    }

    /// The thread whose turn it is, or its whole process, stands still while the others go on.
    pub(super) fn pause(&self, process: ProcessId, us: u64, whole: bool) {
        self.note(process, || {
            let who = if whole { "process" } else { "thread" };
            format!("its {who} stands still for {} ms", us / 1000)
        });
        self.warmth.borrow_mut().disturb_until(self.now_us() + us);
        self.hold(process, whole, 1);
        self.depth.set(self.depth.get() + 1);
        self.run_until(self.now_us() + us);
        self.depth.set(self.depth.get() - 1);
        self.hold(process, whole, -1);
        self.check_alive(process);
        self.note(process, || "goes on".to_owned());
    }

    fn hold(&self, process: ProcessId, whole: bool, by: i32) {
        if whole && let Some(process) = self.processes.borrow_mut().get_mut(&process) {
            process.held = process.held.saturating_add_signed(by);
        }
    }

    /// Asks the brokers for something, as an effect of a process. The answer may be lost, before or after it is done.
    pub(super) fn ask<T>(
        &self,
        process: ProcessId,
        what: impl Fn() -> String,
        question: impl FnOnce(&mut Cluster, i64) -> Result<T>,
    ) -> Result<T> {
        self.effect(process, &what);
        let no_answer = || Err(Error::retriable(format!("{}: no answer", what())));
        if process != 0 && self.is_out() {
            self.note(process, || "the brokers do not answer".to_owned());
            return no_answer();
        }
        let is_lost = process != 0 && self.chance(self.faults.lost_answer);
        if is_lost && self.between(0, 1) == 0 {
            self.note(process, || "the question is lost".to_owned());
            return no_answer();
        }
        let answer = self.tell(|cluster, now_ms| question(cluster, now_ms));
        if is_lost {
            self.note(process, || "the answer is lost".to_owned());
            return no_answer();
        }
        if let Err(error) = &answer {
            self.note(process, || error.to_string());
        }
        answer
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_harsh.get() && self.now_us() < self.outage_until_us.get()
    }

    /// Does something to the brokers for sure, and looks whether what they keep is right.
    pub(super) fn tell<T>(&self, question: impl FnOnce(&mut Cluster, i64) -> T) -> T {
        let now_ms = self.now_ms();
        let mut cluster = self.cluster.borrow_mut();
        let answer = question(&mut cluster, now_ms);
        let wrong = cluster.check_offsets(&self.setup.group);
        drop(cluster);
        if let Some(wrong) = wrong {
            self.violate(wrong);
        }
        answer
    }

    pub(super) fn isolation(&self) -> Isolation {
        match self.setup.exactly_once {
            true => Isolation::Committed,
            false => Isolation::Uncommitted,
        }
    }
}

/// The clock of simulated processes.
pub(super) struct SimulatedClock;

impl Clock for SimulatedClock {
    fn wall_ms(&self) -> i64 {
        world().now_ms()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(world().now_us())
    }

    fn sleep(&self, time: Duration) {
        let world = world();
        let process = world.current();
        world.check_alive(process);
        world.pause(process, time.as_micros() as u64, false);
    }
}

/// Asserts that what [`Broker`] wants is there; the world itself stays on its thread.
const _: fn() = || {
    fn is_broker<B: Broker>() {}
    is_broker::<super::broker::SimulatedBroker>();
};
