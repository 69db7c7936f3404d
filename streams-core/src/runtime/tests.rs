//! Whole applications on a cluster in memory: start, stop, restore, share, lose and refuse.

mod exactly_once;
mod failed_sends;
mod lifecycle;
mod standby;

use crate::config::StreamsConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::exception_handlers::ExceptionHandlers;
use crate::record::FetchedRecord;
use crate::runtime::application::Application;
use crate::runtime::lifecycle::{Lifecycle, State};
use crate::runtime::memory_broker::MemoryBroker;
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::test_topology::{copy_but_bad, count_by_key, count_by_value, join_global};
use crate::task::TaskOptions;
use crate::topology::Topology;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const IN: &str = "in";
const OUT: &str = "out";
const CHANGELOG: &str = "app-counts-changelog";

fn config(state_dir: &Path, set: &[(&str, &str)]) -> StreamsConfig {
    let state_dir = state_dir.display().to_string();
    let common = [
        ("state.dir", state_dir.as_str()),
        ("commit.interval.ms", "20"),
        ("poll.ms", "2"),
    ];
    let all = common.iter().chain(set);
    all.fold(StreamsConfig::new("app"), |config, (name, value)| {
        config.set(name, *value).unwrap()
    })
}

/// One instance of the application, on its own threads.
struct Instance {
    lifecycle: Arc<Lifecycle>,
    thread: JoinHandle<Result<()>>,
}

impl Instance {
    /// Counts by key.
    fn start(broker: &MemoryBroker, state_dir: &Path, set: &[(&str, &str)]) -> Self {
        Self::start_topology(count_by_key(IN, "counts", OUT), broker, state_dir, set)
    }

    fn start_topology(
        topology: Topology,
        broker: &MemoryBroker,
        state_dir: &Path,
        set: &[(&str, &str)],
    ) -> Self {
        Self::start_watched(topology, broker, state_dir, set, None)
    }

    fn start_watched(
        topology: Topology,
        broker: &MemoryBroker,
        state_dir: &Path,
        set: &[(&str, &str)],
        watch: Option<&Arc<standby::Watch>>,
    ) -> Self {
        let config = config(state_dir, set);
        let mut settings = RuntimeSettings::new(&config).unwrap();
        settings.member_interval = Duration::from_millis(40);
        let handlers = ExceptionHandlers::new(&config);
        let lifecycle = Lifecycle::new(settings.thread_count);
        Self::start_all(
            topology,
            broker,
            (Arc::new(settings), handlers),
            lifecycle,
            watch,
        )
    }

    fn start_with(
        topology: Topology,
        broker: &MemoryBroker,
        config: &StreamsConfig,
        settings: Arc<RuntimeSettings>,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let handlers = ExceptionHandlers::new(config);
        Self::start_all(topology, broker, (settings, handlers), lifecycle, None)
    }

    fn start_with_handlers(
        topology: Topology,
        broker: &MemoryBroker,
        config: &StreamsConfig,
        handlers: ExceptionHandlers,
    ) -> Self {
        let settings = Arc::new(RuntimeSettings::new(config).unwrap());
        let lifecycle = Lifecycle::new(settings.thread_count);
        Self::start_all(topology, broker, (settings, handlers), lifecycle, None)
    }

    fn start_all(
        topology: Topology,
        broker: &MemoryBroker,
        (settings, handlers): (Arc<RuntimeSettings>, ExceptionHandlers),
        lifecycle: Arc<Lifecycle>,
        watch: Option<&Arc<standby::Watch>>,
    ) -> Self {
        let application = Application {
            broker: Arc::new(broker.clone()),
            topology,
            task_options: TaskOptions {
                application_id: Arc::clone(&settings.application_id),
                handlers,
                max_task_idle: None,
                cache_enabled: false,
                outer_join_emit_interval: crate::task::OUTER_JOIN_EMIT_INTERVAL,
            },
            settings,
            listener: watch.map(|watch| Arc::clone(watch) as _),
            standby_listener: watch.map(|watch| Arc::clone(watch) as _),
            lifecycle: Arc::clone(&lifecycle),
        };
        let thread = std::thread::spawn(move || application.run());
        Instance { lifecycle, thread }
    }

    fn close(self) {
        self.lifecycle.request_stop();
        self.thread.join().unwrap().unwrap();
        assert_eq!(self.lifecycle.state(), State::NotRunning);
    }

    fn error(self) -> Error {
        let error = self.thread.join().unwrap().unwrap_err();
        assert_eq!(self.lifecycle.state(), State::Error);
        error
    }
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn cluster(partition_count: usize) -> MemoryBroker {
    let broker = MemoryBroker::default();
    broker.create(IN, partition_count);
    broker.create(OUT, 1);
    broker
}

/// The last count of each key.
fn counts(broker: &MemoryBroker) -> BTreeMap<String, i64> {
    broker
        .records(OUT)
        .iter()
        .map(|record| {
            let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
            let count = i64::from_be_bytes(record.value().unwrap().try_into().unwrap());
            (key, count)
        })
        .collect()
}

#[test]
fn a_restart_goes_on_where_the_application_stopped() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let first = Instance::start(&broker, dir.path(), &[]);
    for _ in 0..3 {
        broker.produce(IN, 0, "a", "x");
    }
    wait_until("three records", || counts(&broker).get("a") == Some(&3));
    first.close();
    assert_eq!(broker.committed(IN, 0), Some(3));
    assert_eq!(broker.config(CHANGELOG)["cleanup.policy"], "compact");

    broker.produce(IN, 0, "a", "x");
    let second = Instance::start(&broker, dir.path(), &[]);
    wait_until("the fourth record", || counts(&broker).get("a") == Some(&4));
    second.close();
    assert_eq!(broker.committed(IN, 0), Some(4));
    assert_eq!(broker.records(OUT).len(), 4);
}

#[test]
fn an_empty_disk_is_restored_from_the_changelog() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let first = Instance::start(&broker, dir.path(), &[]);
    for key in 0..5000 {
        broker.produce(IN, 0, &format!("k{}", key % 2500), "x");
    }
    wait_until("the first half", || broker.records(OUT).len() == 5000);
    first.close();

    let elsewhere = tempfile::tempdir().unwrap();
    broker.produce(IN, 0, "k7", "x");
    let second = Instance::start(&broker, elsewhere.path(), &[]);
    wait_until("a third k7", || counts(&broker).get("k7") == Some(&3));
    second.close();
}

#[test]
fn instances_and_threads_share_the_tasks_and_nothing_is_counted_twice() {
    let broker = cluster(4);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut produced = 0;
    let mut produce = |broker: &MemoryBroker| {
        for partition in 0..4 {
            broker.produce(IN, partition, &format!("p{partition}"), "x");
        }
        produced += 1;
        produced
    };
    let first = Instance::start(&broker, dirs[0].path(), &[("num.stream.threads", "2")]);
    wait_until("two threads with two tasks each", || {
        broker.ownership() == [2, 2]
    });
    for _ in 0..50 {
        produce(&broker);
    }
    let second = Instance::start(&broker, dirs[1].path(), &[("num.stream.threads", "2")]);
    wait_until("four threads with one task each", || {
        produce(&broker);
        broker.ownership() == [1, 1, 1, 1]
    });
    wait_until("both to run", || {
        first.lifecycle.state() == State::Running && second.lifecycle.state() == State::Running
    });
    for _ in 0..50 {
        produce(&broker);
    }
    first.close();
    let total = produce(&broker);
    wait_until("everything counted", || {
        counts(&broker).values().filter(|&&n| n == total).count() == 4
    });
    second.close();
    assert_eq!(broker.records(OUT).len() as i64, 4 * total);
}

#[test]
fn lost_tasks_are_taken_up_again_from_the_last_commit() {
    let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
    let instance = Instance::start(&broker, dir.path(), &[]);
    broker.produce(IN, 0, "a", "x");
    wait_until("a first commit", || broker.committed(IN, 0) == Some(1));
    broker.lose_all();
    broker.produce(IN, 0, "a", "x");
    broker.produce(IN, 1, "b", "x");
    wait_until("both counted", || {
        let counts = counts(&broker);
        counts.get("a").is_some_and(|&n| n >= 2) && counts.get("b").is_some_and(|&n| n >= 1)
    });
    wait_until("both committed", || {
        broker.committed(IN, 0) == Some(2) && broker.committed(IN, 1) == Some(1)
    });
    instance.close();
}

#[test]
fn refused_commits_are_tried_again() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let instance = Instance::start(&broker, dir.path(), &[]);
    broker.refuse_commits([
        ErrorKind::Retriable,
        ErrorKind::Retriable,
        ErrorKind::Fenced,
        ErrorKind::Retriable,
    ]);
    broker.produce(IN, 0, "a", "x");
    wait_until("the refusals", || broker.pending_refusals() == 0);
    wait_until("the commit", || broker.committed(IN, 0) == Some(1));
    broker.produce(IN, 0, "a", "x");
    wait_until("the next commit", || broker.committed(IN, 0) == Some(2));
    instance.close();
    assert_eq!(counts(&broker)["a"], 2);
    assert_eq!(broker.records(OUT).len(), 2);
}

#[test]
fn a_refused_record_stops_the_application_before_its_offset_is_committed() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    broker.refuse_sends((OUT, &1i64.to_be_bytes()), ErrorKind::Data, true, 1);
    let instance = Instance::start(&broker, dir.path(), &[]);
    broker.produce(IN, 0, "a", "x");
    let error = instance.error().to_string();
    assert!(
        error.contains("StreamThread-1: task 0_0: out refuses"),
        "{error}"
    );
    assert_ne!(broker.committed(IN, 0), Some(1));
}

/// Values of a topic, as text.
fn texts(broker: &MemoryBroker, topic: &str) -> Vec<String> {
    let records = broker.records(topic);
    let text = |record: &crate::record::OwnedRecord| record.value.clone().unwrap();
    let texts = records.iter().map(|record| String::from_utf8(text(record)));
    texts.collect::<std::result::Result<_, _>>().unwrap()
}

#[test]
fn dead_letters_are_written_before_a_failure_stops_the_application() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    broker.create("dead", 1);
    let set = [("errors.dead.letter.queue.topic.name", "dead")];
    let topology = copy_but_bad(IN, OUT);
    let instance = Instance::start_topology(topology, &broker, dir.path(), &set);
    broker.produce(IN, 0, "a", "good");
    wait_until("a first commit", || broker.committed(IN, 0) == Some(1));
    broker.produce(IN, 0, "a", "bad");
    let error = instance.error().to_string();
    assert!(
        error.contains("in-0 at offset 1: in KSTREAM-MAPVALUES-0000000001: panicked: a bad value"),
        "{error}"
    );
    assert_eq!(texts(&broker, "dead"), ["bad"]);
    assert_eq!(texts(&broker, OUT), ["good"]);
    assert_eq!(broker.committed(IN, 0), Some(1));
}

#[test]
fn an_application_goes_on_after_a_failure_when_its_handler_says_so() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    broker.create("dead", 1);
    let set = [
        ("errors.dead.letter.queue.topic.name", "dead"),
        ("processing.exception.handler", "LogAndContinue"),
    ];
    let topology = copy_but_bad(IN, OUT);
    let instance = Instance::start_topology(topology, &broker, dir.path(), &set);
    for value in ["first", "bad", "last"] {
        broker.produce(IN, 0, "a", value);
    }
    wait_until("the commit", || broker.committed(IN, 0) == Some(3));
    instance.close();
    assert_eq!(texts(&broker, "dead"), ["bad"]);
    assert_eq!(texts(&broker, OUT), ["first", "last"]);
}

#[test]
fn an_offset_that_is_gone_is_reset_as_the_policy_says() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let first = Instance::start(&broker, dir.path(), &[]);
    broker.produce(IN, 0, "a", "x");
    wait_until("a first commit", || broker.committed(IN, 0) == Some(1));
    first.close();
    for _ in 0..4 {
        broker.produce(IN, 0, "a", "x");
    }
    broker.truncate(IN, 0, 3);
    let second = Instance::start(&broker, dir.path(), &[]);
    wait_until("the two that are left", || counts(&broker)["a"] == 3);
    wait_until("their commit", || broker.committed(IN, 0) == Some(5));
    second.close();
}

#[test]
fn input_topics_may_be_created_after_the_start() {
    let (broker, dir) = (MemoryBroker::default(), tempfile::tempdir().unwrap());
    broker.create(OUT, 1);
    let instance = Instance::start(&broker, dir.path(), &[]);
    wait_until("the start", || {
        instance.lifecycle.state() == State::Rebalancing
    });
    broker.create(IN, 1);
    broker.produce(IN, 0, "a", "x");
    wait_until("the count", || counts(&broker).get("a") == Some(&1));
    wait_until("the state", || instance.lifecycle.state() == State::Running);
    instance.close();
}

#[test]
fn a_second_instance_on_the_same_directory_is_refused() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let first = Instance::start(&broker, dir.path(), &[]);
    wait_until("the first", || first.lifecycle.state() == State::Running);
    let error = Instance::start(&broker, dir.path(), &[]).error();
    assert_eq!(error.kind(), ErrorKind::Config);
    first.close();
}

#[test]
fn a_changelog_that_was_made_anew_empties_the_store() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let first = Instance::start(&broker, dir.path(), &[]);
    for _ in 0..3 {
        broker.produce(IN, 0, "a", "x");
    }
    wait_until("three records", || counts(&broker).get("a") == Some(&3));
    first.close();
    broker.create(CHANGELOG, 1);
    broker.produce(IN, 0, "a", "x");
    let second = Instance::start(&broker, dir.path(), &[]);
    wait_until("the count to start over", || counts(&broker)["a"] == 1);
    second.close();
}

#[test]
fn a_task_topic_of_another_size_says_what_to_do() {
    let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
    broker.create("app-tasks", 3);
    let error = Instance::start(&broker, dir.path(), &[])
        .error()
        .to_string();
    assert!(error.contains("delete topic app-tasks"), "{error}");
}

#[test]
fn repartition_topics_are_purged_up_to_what_is_committed() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let topology = count_by_value(IN, "counts", OUT);
    let purge = [("repartition.purge.interval.ms", "20")];
    let instance = Instance::start_topology(topology, &broker, dir.path(), &purge);
    let repartition = "app-counts-repartition";
    for _ in 0..10 {
        broker.produce(IN, 0, "a", "x");
    }
    wait_until("ten counted", || counts(&broker).get("x") == Some(&10));
    wait_until("ten deleted", || broker.log_start(repartition, 0) == 10);
    instance.close();
    assert_eq!(broker.config(repartition)["cleanup.policy"], "delete");
    assert_eq!(broker.committed(repartition, 0), Some(10));
}

#[test]
fn a_global_table_is_complete_before_the_first_record_and_kept_up() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    broker.create("table", 2);
    for key in 0..1000 {
        broker.produce("table", key % 2, &format!("k{key}"), "old");
    }
    broker.produce(IN, 0, "k999", "first");
    let values = || -> Vec<String> {
        let records = broker.records(OUT);
        let text = |r: &crate::record::OwnedRecord| String::from_utf8(r.value.clone().unwrap());
        records.iter().map(|r| text(r).unwrap()).collect()
    };
    for start in 0..2 {
        let topology = join_global(IN, "table", OUT);
        let instance = Instance::start_topology(topology, &broker, dir.path(), &[]);
        if start == 0 {
            wait_until("the first join", || values() == ["first old"]);
            broker.produce("table", 1, "k999", "new");
        }
        wait_until("the new row", || {
            broker.produce(IN, 0, "k999", "later");
            values().last().is_some_and(|value| value == "later new")
        });
        instance.close();
    }
}
