//! Who is next: actors at their times, heartbeats, and what happens to the world from outside.

use super::broker::SimulatedBroker;
use super::cluster::Cluster;
use super::instance::JOBS_EVERY;
use super::world::{Died, ProcessId, World};
use crate::error::{Error, ErrorKind};
use crate::runtime::simulated::{
    Jobs, JobsDone, Next, RestoreWorker, Restorer, StandbyTasks, Worker, WorkerContext,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How often the world is looked at for what may go wrong.
const CHAOS_US: u64 = 100_000;
/// How often the brokers look for what is due.
const TICK_US: u64 = 50_000;

type Broker = SimulatedBroker;

/// A place for an actor, which is out of it during its turn.
pub(super) struct Slot {
    pub(super) process: ProcessId,
    pub(super) due_us: u64,
    pub(super) actor: Option<Actor>,
}

/// What a process does on a thread.
pub(super) enum Actor {
    /// A stream thread that has not joined its group yet.
    Starting(Arc<WorkerContext<Broker>>, usize),
    /// A stream thread.
    Stream(Box<Worker<Broker>>),
    /// A restore thread.
    Restore(RestoreWorker, Box<Restorer<Broker>>),
    /// The thread of standby copies.
    Standby(Box<StandbyTasks<Broker>>),
    /// The regular jobs.
    Jobs(Box<Jobs<Broker>>, JobsDone),
}

/// What a cluster does with a request that arrives at a time (milliseconds).
type Arrival = Box<dyn FnOnce(&mut Cluster, i64)>;

/// What happens from outside.
pub(super) enum Event {
    /// The next input is written.
    Produce(usize),
    /// A process of this instance starts.
    Start(usize),
    /// Something may go wrong.
    Chaos,
    /// A process that stood still goes on.
    Thaw(ProcessId),
    /// A question that was long on its way arrives.
    Arrive(Arrival),
    Tick,
}

enum Due {
    Actor(u64),
    Heartbeat(u64),
    Event((u64, u64)),
}

/// How a turn ended.
enum Turn {
    /// There will be another one.
    Again(Actor),
    /// The thread has ended, perhaps with an error.
    End(Option<Error>),
}

impl World {
    pub(super) fn schedule(&self, after_us: u64, event: Event) {
        let at = (self.now_us() + after_us, self.new_id());
        self.events.borrow_mut().insert(at, event);
    }

    /// Lets everything happen that is due until then.
    pub(super) fn run_until(&self, until_us: u64) {
        while !self.is_over() {
            let Some((us, due)) = self.next_due().filter(|(us, _)| *us <= until_us) else {
                self.advance_to(until_us);
                return;
            };
            self.advance_to(us);
            match due {
                Due::Actor(id) => self.turn(id),
                Due::Heartbeat(number) => self.heartbeat(number),
                Due::Event(at) => {
                    let event = self.events.borrow_mut().remove(&at);
                    if let Some(event) = event {
                        self.happen(event);
                    }
                }
            }
        }
    }

    fn next_due(&self) -> Option<(u64, Due)> {
        let processes = self.processes.borrow();
        let runs = |id: ProcessId| processes.get(&id).is_some_and(|process| process.held == 0);
        let slots = self.slots.borrow();
        let ready = slots
            .iter()
            .filter(|(_, slot)| slot.actor.is_some() && runs(slot.process));
        let actor = ready.map(|(id, slot)| (slot.due_us, *id)).min();
        let heartbeat = self.members.borrow().next_due(runs);
        let event = self.events.borrow().keys().next().copied();
        let dues = [
            actor.map(|(us, id)| (us, Due::Actor(id))),
            heartbeat.map(|(us, number)| (us, Due::Heartbeat(number))),
            event.map(|at| (at.0, Due::Event(at))),
        ];
        dues.into_iter().flatten().min_by_key(|(us, _)| *us)
    }

    /// An actor takes its turn, and may end, or die.
    fn turn(&self, id: u64) {
        let (process, actor) = {
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get_mut(&id) else {
                return;
            };
            (slot.process, slot.actor.take())
        };
        let Some(actor) = actor else { return };
        self.idle_us.set(None);
        self.turns.borrow_mut().push(process);
        let turned = catch_unwind(AssertUnwindSafe(|| self.act(process, actor)));
        self.turns.borrow_mut().pop();
        let idle_us = self.idle_us.take();
        match turned {
            Ok(Turn::Again(actor)) => {
                let cost_us = match idle_us {
                    Some(most_us) => self.between(1_000, most_us.max(1_001)),
                    None => self.between(100, 3_000),
                };
                if self.is_alive(process)
                    && let Some(slot) = self.slots.borrow_mut().get_mut(&id)
                {
                    slot.due_us = self.now_us() + cost_us;
                    slot.actor = Some(actor);
                    return;
                }
                drop(actor);
            }
            Ok(Turn::End(error)) => self.thread_ended(id, process, error),
            Err(payload) if payload.is::<Died>() => {}
            Err(payload) => {
                let text = crate::error::panic_text(&*payload);
                self.violate(format!("a thread panicked: {text}"));
            }
        }
    }

    fn act(&self, process: ProcessId, actor: Actor) -> Turn {
        let is_stopping = || {
            let processes = self.processes.borrow();
            processes
                .get(&process)
                .is_some_and(|process| process.lifecycle.is_stopping())
        };
        match actor {
            Actor::Starting(context, number) => match Worker::new(context, number) {
                Ok(worker) => Turn::Again(Actor::Stream(Box::new(worker))),
                Err(error) => Turn::End(Some(error)),
            },
            Actor::Stream(worker) if is_stopping() => {
                self.note(process, || format!("{} stops", worker.name));
                Turn::End(worker.close().err())
            }
            Actor::Stream(mut worker) => match worker.run_once() {
                Ok(()) => Turn::Again(Actor::Stream(worker)),
                Err(error) => {
                    self.note(process, || format!("{} fails: {error}", worker.name));
                    Turn::End(worker.end_after(error).err())
                }
            },
            Actor::Restore(worker, mut restorer) => {
                if is_stopping() {
                    restorer.abandon();
                    return Turn::End(None);
                }
                match worker.turn(&mut restorer) {
                    Next::Read => {}
                    Next::Wait(time) => self.idle_us.set(Some(time.as_micros() as u64)),
                    Next::End => return Turn::End(None),
                }
                Turn::Again(Actor::Restore(worker, restorer))
            }
            Actor::Standby(mut standbys) => {
                if is_stopping() {
                    standbys.close();
                    return Turn::End(None);
                }
                if let Next::Wait(time) = standbys.turn() {
                    self.idle_us.set(Some(time.as_micros() as u64));
                }
                Turn::Again(Actor::Standby(standbys))
            }
            Actor::Jobs(jobs, mut done) => {
                if is_stopping() {
                    return Turn::End(None);
                }
                jobs.turn(&mut done);
                self.idle_us.set(Some(JOBS_EVERY.as_micros() as u64));
                Turn::Again(Actor::Jobs(jobs, done))
            }
        }
    }

    /// A thread has ended. With an error its application stops; when it was the last one, the process ends.
    fn thread_ended(&self, id: u64, process: ProcessId, error: Option<Error>) {
        self.slots.borrow_mut().remove(&id);
        if let Some(error) = error {
            // A disk without space stops an application, and so do brokers that are gone for too long.
            if error.kind() != ErrorKind::State {
                self.violate(format!("a thread failed: {error}"));
                return;
            }
            let processes = self.processes.borrow();
            if let Some(process) = processes.get(&process) {
                process.lifecycle.fail(error);
            }
        }
        let left = {
            let slots = self.slots.borrow();
            slots
                .values()
                .filter(|slot| slot.process == process)
                .count()
        };
        if left == 0 {
            self.note(process, || "ends".to_owned());
            self.bury(process);
        }
    }

    fn happen(&self, event: Event) {
        match event {
            Event::Produce(index) => self.produce(index),
            Event::Start(instance) => {
                if self.instances.borrow()[instance].process.is_none()
                    && let Err(error) = self.start(instance)
                {
                    self.violate(format!("an application does not start: {error}"));
                }
            }
            Event::Chaos => {
                if self.is_harsh.get() {
                    self.chaos();
                    self.schedule(CHAOS_US, Event::Chaos);
                }
            }
            Event::Thaw(process) => {
                if let Some(process) = self.processes.borrow_mut().get_mut(&process) {
                    process.held = process.held.saturating_sub(1);
                }
            }
            Event::Arrive(question) => {
                self.note(0, || "a late question arrives".to_owned());
                self.tell(question);
            }
            Event::Tick => {
                self.tell(|cluster, now_ms| cluster.tick(now_ms));
                self.check_warmth(self.setup.config.acceptable_recovery_lag());
                self.schedule(TICK_US, Event::Tick);
            }
        }
    }

    fn some_process(&self) -> Option<ProcessId> {
        let ids: Vec<ProcessId> = self.processes.borrow().keys().copied().collect();
        (!ids.is_empty()).then(|| *self.random.borrow_mut().pick(&ids))
    }

    fn some_member(&self) -> Option<u64> {
        let numbers = self.members.borrow().numbers();
        (!numbers.is_empty()).then(|| *self.random.borrow_mut().pick(&numbers))
    }

    fn chaos(&self) {
        let share = CHAOS_US as f64 / 1_000_000.0;
        let faults = &self.faults;
        if self.chance(faults.kill * share)
            && let Some(process) = self.some_process()
        {
            self.kill(process, "is killed");
        }
        if self.chance(faults.restart * share)
            && let Some(process) = self.some_process()
            && let Some(process) = self.processes.borrow().get(&process)
        {
            self.note(0, || {
                format!("instance {} is asked to stop", process.instance)
            });
            process.lifecycle.request_stop();
        }
        if self.chance(faults.freeze * share)
            && let Some(process) = self.some_process()
        {
            let us = self.between(50_000, 12_000_000);
            self.warmth.borrow_mut().disturb_until(self.now_us() + us);
            self.note(process, || format!("stands still for {} ms", us / 1000));
            if let Some(process) = self.processes.borrow_mut().get_mut(&process) {
                process.held += 1;
            }
            self.schedule(us, Event::Thaw(process));
        }
        if self.chance(faults.expel * share)
            && let Some(member) = self.some_member()
        {
            self.expel(member);
        }
        if self.chance(faults.cut_off * share)
            && let Some(number) = self.some_member()
        {
            let us = self.between(500_000, 20_000_000);
            self.note(0, || format!("m{number} is cut off for {} ms", us / 1000));
            if let Some(member) = self.members.borrow_mut().get(number) {
                member.cut_off_until_us = self.now_us() + us;
            }
        }
        if self.chance(faults.full_disk * share) {
            let number = self.between(0, self.setup.instance_count as u64 - 1) as usize;
            let us = self.between(100_000, 3_000_000);
            self.note(0, || format!("disk {number} is full for {} ms", us / 1000));
            self.instances.borrow_mut()[number].full_until_us = self.now_us() + us;
        }
        if self.chance(faults.outage * share) {
            let us = self.between(100_000, 5_000_000);
            self.warmth.borrow_mut().disturb_until(self.now_us() + us);
            self.note(0, || format!("the brokers are out for {} ms", us / 1000));
            self.outage_until_us.set(self.now_us() + us);
        }
    }
}
