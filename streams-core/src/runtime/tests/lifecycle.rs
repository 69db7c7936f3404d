//! Pausing, threads that come, go and fail, and what a failure does to other instances.

use super::{IN, Instance, OUT, cluster, config, counts, wait_until};
use crate::processor::{
    FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, ProcessorContext, PunctuationType, Schedule,
};
use crate::runtime::lifecycle::{Lifecycle, State, ThreadState};
use crate::runtime::memory_broker::MemoryBroker;
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::uncaught::StreamThreadExceptionResponse;
use crate::topology::Topology;
use crate::{Consumed, Error, Materialized, Produced, StreamsBuilder};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What a change must not bring has this long to come.
const A_WHILE: Duration = Duration::from_millis(150);

const EXACTLY_ONCE: (&str, &str) = ("processing.guarantee", "exactly_once_v2");

fn produce(broker: &MemoryBroker, count: usize) {
    for partition in 0..4 {
        for _ in 0..count {
            broker.produce(IN, partition, &format!("p{partition}"), "x");
        }
    }
}

fn all_are(broker: &MemoryBroker, count: i64) -> bool {
    let counts = counts(broker);
    counts.len() == 4 && counts.values().all(|&n| n == count)
}

#[test]
fn a_paused_application_keeps_its_tasks_and_goes_on_where_it_was() {
    let (broker, dir) = (cluster(4), tempfile::tempdir().unwrap());
    let instance = Instance::start(&broker, dir.path(), &[]);
    produce(&broker, 3);
    wait_until("three each", || all_are(&broker, 3));
    instance.lifecycle.set_paused(true);
    std::thread::sleep(A_WHILE);
    produce(&broker, 2000);
    std::thread::sleep(A_WHILE);
    assert!(all_are(&broker, 3), "{:?}", counts(&broker));
    // What was processed before is committed, and nobody took its place.
    assert_eq!(broker.committed(IN, 0), Some(3));
    assert_eq!(broker.ownership(), [4]);
    assert_eq!(instance.lifecycle.state(), State::Running);
    instance.lifecycle.set_paused(false);
    wait_until("all the others", || all_are(&broker, 2003));
    instance.close();
    assert_eq!(broker.records(OUT).len(), 4 * 2003);
}

#[test]
fn tasks_that_come_during_a_pause_wait_for_its_end() {
    let (broker, dir) = (cluster(4), tempfile::tempdir().unwrap());
    produce(&broker, 1);
    let config = config(dir.path(), &[]);
    let settings = Arc::new(RuntimeSettings::new(&config).unwrap());
    let lifecycle = Lifecycle::new(1);
    lifecycle.set_paused(true);
    let topology = super::count_by_key(IN, "counts", OUT);
    let instance = Instance::start_with(topology, &broker, &config, settings, lifecycle);
    wait_until("the assignment", || broker.ownership() == [4]);
    std::thread::sleep(A_WHILE);
    assert_eq!(instance.lifecycle.state(), State::Rebalancing);
    assert!(counts(&broker).is_empty());
    instance.lifecycle.set_paused(false);
    wait_until("one each", || all_are(&broker, 1));
    instance.close();
}

/// Counts its calls by the wall clock.
struct Ticker(Arc<AtomicUsize>);

impl FixedKeyProcessor<String, String, String> for Ticker {
    fn init(&mut self, context: &mut ProcessorContext<'_, String, String>) -> crate::Result<()> {
        context.schedule(Duration::from_millis(5), PunctuationType::WallClock);
        Ok(())
    }

    fn process(
        &mut self,
        record: FixedKeyRecord<'_, String, String>,
        context: &mut FixedKeyContext<'_, '_, String, String>,
    ) -> crate::Result<()> {
        context.forward(record)
    }

    fn punctuate(
        &mut self,
        _: Schedule,
        _: i64,
        _: &mut FixedKeyContext<'_, '_, String, String>,
    ) -> crate::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn punctuations_rest_during_a_pause() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let builder = StreamsBuilder::new();
    let counted = Arc::clone(&calls);
    builder
        .stream::<String, String>(IN, Consumed::new())
        .process_values(move || Ticker(Arc::clone(&counted)), &[])
        .to(OUT, Produced::new());
    let topology = builder.build().unwrap();
    let instance = Instance::start_topology(topology, &broker, dir.path(), &[]);
    let seen = || calls.load(Ordering::Relaxed);
    wait_until("calls", || seen() > 3);
    instance.lifecycle.set_paused(true);
    // The turn that was under way may have had one left.
    std::thread::sleep(A_WHILE);
    let before = seen();
    std::thread::sleep(A_WHILE);
    assert_eq!(seen(), before);
    instance.lifecycle.set_paused(false);
    wait_until("calls again", || seen() > before + 3);
    instance.close();
}

#[test]
fn threads_that_come_and_go_take_their_tasks_along() {
    let (broker, dir) = (cluster(4), tempfile::tempdir().unwrap());
    let instance = Instance::start(&broker, dir.path(), &[]);
    let lifecycle = &instance.lifecycle;
    produce(&broker, 1);
    wait_until("one each", || all_are(&broker, 1));

    let name = lifecycle.add_thread().unwrap().expect("a thread");
    assert!(name.ends_with("-StreamThread-2"), "{name}");
    wait_until("half of the tasks", || {
        let threads = lifecycle.threads();
        let tasks = threads.iter().map(|(_, _, tasks)| tasks.len());
        broker.ownership() == [2, 2] && tasks.eq([2, 2]) && lifecycle.state() == State::Running
    });
    produce(&broker, 1);
    wait_until("two each", || all_are(&broker, 2));

    let (number, name) = lifecycle.remove_thread().expect("a thread");
    assert!(name.ends_with("-StreamThread-1"), "{name}");
    assert!(lifecycle.wait_for_thread(number, Some(Duration::from_secs(20))));
    wait_until("all tasks at the other", || broker.ownership() == [4]);
    produce(&broker, 1);
    wait_until("three each", || all_are(&broker, 3));

    // Nobody is left, and nothing is lost.
    let (number, _) = lifecycle.remove_thread().expect("a thread");
    assert!(lifecycle.wait_for_thread(number, Some(Duration::from_secs(20))));
    assert!(lifecycle.threads().is_empty());
    produce(&broker, 1);
    assert!(lifecycle.remove_thread().is_none());
    let name = lifecycle.add_thread().unwrap().expect("a thread");
    assert!(name.ends_with("-StreamThread-1"), "{name}");
    wait_until("four each", || all_are(&broker, 4));
    wait_until("its state", || {
        lifecycle.threads()[0].1 == ThreadState::Running
    });
    instance.close();
    assert_eq!(broker.records(OUT).len(), 4 * 4);
}

/// Counts by key, and fails at the value "bad" as long as it is told to.
fn count_but(fails: &Arc<AtomicBool>) -> Topology {
    let fails = Arc::clone(fails);
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(IN, Consumed::new())
        .map_values(move |value: &String| {
            if value == "bad" && fails.load(Ordering::Relaxed) {
                std::panic::resume_unwind(Box::new("a bad value"));
            }
            value.clone()
        })
        .group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to(OUT, Produced::new());
    builder.build().unwrap()
}

fn start_with_handler(
    topology: Topology,
    broker: &MemoryBroker,
    dir: &Path,
    set: &[(&str, &str)],
    handler: impl Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync + 'static,
) -> Instance {
    let config = config(dir, set);
    let settings = Arc::new(RuntimeSettings::new(&config).unwrap());
    let lifecycle = Lifecycle::new(settings.thread_count);
    lifecycle.set_uncaught_handler(Arc::new(handler));
    Instance::start_with(topology, broker, &config, settings, lifecycle)
}

fn a_thread_is_replaced(set: &[(&str, &str)]) {
    let (broker, dir) = (cluster(4), tempfile::tempdir().unwrap());
    let fails = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (fails, asked) = (Arc::clone(&fails), Arc::clone(&asked));
        move |error: &Error| {
            assert!(error.to_string().contains("a bad value"), "{error}");
            fails.store(
                asked.fetch_add(1, Ordering::Relaxed) == 0,
                Ordering::Relaxed,
            );
            StreamThreadExceptionResponse::ReplaceThread
        }
    };
    let mut all = vec![("num.stream.threads", "2")];
    all.extend(set);
    let instance = start_with_handler(count_but(&fails), &broker, dir.path(), &all, handler);
    produce(&broker, 1);
    wait_until("one each", || all_are(&broker, 1));
    // What is not committed is counted again when a thread fails.
    wait_until("all to be committed", || {
        (0..4).all(|partition| broker.committed(IN, partition) == Some(1))
    });
    broker.produce(IN, 0, "p0", "bad");
    // It fails twice; meanwhile the other goes on with the tasks of both.
    wait_until("the replacement", || asked.load(Ordering::Relaxed) == 2);
    wait_until("the bad one", || counts(&broker)["p0"] == 2);
    wait_until("two members", || broker.ownership() == [2, 2]);
    wait_until("the state", || instance.lifecycle.state() == State::Running);
    produce(&broker, 1);
    wait_until("the last of each", || {
        let counts = counts(&broker);
        counts["p0"] == 3 && (1..4).all(|partition| counts[&format!("p{partition}")] == 2)
    });
    instance.close();
    let names: Vec<_> = broker.records(OUT);
    assert_eq!(names.len(), 4 + 1 + 4, "{names:?}");
}

#[test]
fn a_thread_that_fails_is_replaced() {
    a_thread_is_replaced(&[]);
}

#[test]
fn a_thread_that_fails_in_a_transaction_is_replaced() {
    a_thread_is_replaced(&[EXACTLY_ONCE]);
}

#[test]
fn one_instance_that_fails_stops_itself_or_all() {
    for (response, all_stop) in [
        (StreamThreadExceptionResponse::ShutdownClient, false),
        (StreamThreadExceptionResponse::ShutdownApplication, true),
    ] {
        let broker = cluster(2);
        let fails = Arc::new(AtomicBool::new(true));
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [first, second] = dirs.each_ref().map(|dir| {
            let fails = Arc::clone(&fails);
            let topology = count_but(&fails);
            start_with_handler(topology, &broker, dir.path(), &[], move |_| {
                // The other, which is given the record, can process it when all are to stop.
                fails.store(!all_stop, Ordering::Relaxed);
                response
            })
        });
        wait_until("a task for each", || broker.ownership() == [1, 1]);
        wait_until("both to run", || {
            [&first, &second].map(|i| i.lifecycle.state()) == [State::Running; 2]
        });
        // The jobs have looked where the topic of the tasks ends.
        std::thread::sleep(A_WHILE);
        broker.produce(IN, 0, "a", "bad");
        if all_stop {
            let errors = [first, second].map(|instance| instance.error().to_string());
            assert!(
                errors.iter().all(|error| error.contains("a bad value")),
                "{errors:?}"
            );
            let told = errors
                .iter()
                .filter(|error| error.contains("another instance"));
            assert_eq!(told.count(), 1, "{errors:?}");
            // One that is started later is not meant.
            let third = Instance::start(&broker, dirs[0].path(), &[]);
            broker.produce(IN, 1, "b", "good");
            wait_until("the good one", || counts(&broker).contains_key("b"));
            std::thread::sleep(Duration::from_millis(1200));
            third.close();
        } else {
            let stopped = |i: &Instance| i.lifecycle.state() == State::Error;
            wait_until("both, one after the other", || {
                stopped(&first) && stopped(&second)
            });
            for instance in [first, second] {
                let error = instance.error().to_string();
                assert!(error.contains("panicked: a bad value"), "{error}");
                assert!(!error.contains("another instance"), "{error}");
            }
        }
    }
}
