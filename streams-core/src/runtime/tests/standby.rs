//! Standby copies: kept up to date, never ahead of what is committed, promoted with nothing but the tail to restore.

use super::{CHANGELOG, IN, Instance, OUT, cluster, counts, wait_until};
use crate::config::StreamsConfig;
use crate::record::TopicPartition;
use crate::runtime::memory_broker::MemoryBroker;
use crate::runtime::memory_transactions::CommitFault;
use crate::runtime::test_topology::count_by_key;
use crate::runtime::{RestoreListener, StandbyUpdateListener, SuspendReason};
use crate::task::TaskId;
use crate::topology::Topology;
use crate::{Consumed, Materialized, Produced, StoreBackend, StreamsBuilder};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const STANDBY: (&str, &str) = ("num.standby.replicas", "1");
const EXACTLY_ONCE: (&str, &str) = ("processing.guarantee", "exactly_once_v2");

/// What the listeners of an instance were told.
#[derive(Default)]
pub(super) struct Watch(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// Where copies began, by task.
    started: Vec<(i32, i64)>,
    /// How many records were applied to copies.
    loaded: u64,
    /// How far copies have come, the highest.
    offset: i64,
    suspended: Vec<(SuspendReason, i64)>,
    /// How many records were restored.
    restored: u64,
    /// Whether a restoration started before the copy of its task was suspended.
    too_early: bool,
}

impl Watch {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }
}

impl RestoreListener for Watch {
    fn on_restore_start(&self, _: &str, _: &TopicPartition, _: i64, _: i64) {
        let told = &mut *self.told();
        told.too_early |= told.started.len() > told.suspended.len();
    }

    fn on_batch_restored(&self, _: &str, _: &TopicPartition, _: i64, records: u64) {
        self.told().restored += records;
    }
}

impl StandbyUpdateListener for Watch {
    fn on_update_start(&self, _: &str, changelog: &TopicPartition, start: i64) {
        self.told().started.push((changelog.partition, start));
    }

    fn on_batch_loaded(
        &self,
        _: &str,
        _: &TopicPartition,
        _: TaskId,
        offset: i64,
        records: u64,
        end_offset: i64,
    ) {
        assert!(end_offset >= offset);
        let told = &mut *self.told();
        told.loaded += records;
        told.offset = told.offset.max(offset);
    }

    fn on_update_suspended(
        &self,
        _: &str,
        _: &TopicPartition,
        offset: i64,
        _: i64,
        reason: SuspendReason,
    ) {
        self.told().suspended.push((reason, offset));
    }
}

struct Watched {
    instance: Instance,
    watch: Arc<Watch>,
}

fn start(broker: &MemoryBroker, topology: Topology, dir: &Path, set: &[(&str, &str)]) -> Watched {
    let watch = Arc::<Watch>::default();
    let set = [&[STANDBY], set].concat();
    let instance = Instance::start_watched(topology, broker, dir, &set, Some(&watch));
    Watched { instance, watch }
}

fn wait_for_count(broker: &MemoryBroker, key: &str, count: i64) {
    wait_until("the count", || counts(broker).get(key) == Some(&count));
}

fn produce(broker: &MemoryBroker, count: usize) {
    for _ in 0..count {
        broker.produce(IN, 0, "a", "x");
    }
}

/// The instance that runs the only task dies in the middle of a transaction; the other one has a copy.
fn promotion(topology: &dyn Fn() -> Topology) {
    let broker = cluster(1);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = start(&broker, topology(), dirs[0].path(), &[EXACTLY_ONCE]);
    produce(&broker, 3000);
    wait_for_count(&broker, "a", 3000);
    let second = start(&broker, topology(), dirs[1].path(), &[EXACTLY_ONCE]);
    wait_until("a copy", || second.watch.told().loaded == 3000);
    assert_eq!(second.watch.told().started, [(0, 0)]);
    assert!(first.watch.told().started.is_empty());
    produce(&broker, 10);
    wait_until("ten more", || second.watch.told().loaded == 3010);

    broker.fail_transactions([CommitFault::Killed]);
    produce(&broker, 1);
    let error = first.instance.error().to_string();
    assert!(error.contains("killed"), "{error}");
    broker.time_out_killed();
    produce(&broker, 1);
    wait_for_count(&broker, "a", 3012);
    let values: Vec<i64> = broker
        .records(OUT)
        .iter()
        .map(|record| i64::from_be_bytes(record.value.clone().unwrap().try_into().unwrap()))
        .collect();
    assert_eq!(values, (1..=3012).collect::<Vec<i64>>());
    let told = second.watch.told();
    assert_eq!(told.loaded, 3010);
    assert_eq!(told.restored, 0, "everything committed was in the copy");
    assert!(!told.too_early);
    let [(SuspendReason::Promoted, offset)] = told.suspended[..] else {
        panic!("{:?}", told.suspended);
    };
    assert!(offset > 3010, "behind the markers: {offset}");
    drop(told);
    second.instance.close();
}

#[test]
fn a_copy_is_promoted_without_restoring_what_it_has() {
    promotion(&|| count_by_key(IN, "counts", OUT));
}

#[test]
fn a_copy_in_memory_is_promoted_too() {
    promotion(&|| {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>(IN, Consumed::new())
            .group_by_key()
            .count_with(Materialized::named("counts").with_backend(StoreBackend::Memory))
            .to_stream()
            .to(OUT, Produced::new());
        builder.build().unwrap()
    });
}

#[test]
fn only_the_tail_is_restored_when_a_copy_is_behind() {
    let broker = cluster(1);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let topology = || count_by_key(IN, "counts", OUT);
    let first = start(&broker, topology(), dirs[0].path(), &[]);
    produce(&broker, 2000);
    wait_for_count(&broker, "a", 2000);
    let second = start(&broker, topology(), dirs[1].path(), &[]);
    wait_until("a copy", || second.watch.told().loaded == 2000);
    // With everything it has on disk and nobody to keep it up to date.
    second.instance.close();
    assert_eq!(
        second.watch.told().suspended,
        [(SuspendReason::Migrated, 2000)]
    );
    produce(&broker, 5);
    wait_for_count(&broker, "a", 2005);
    let again = start(&broker, topology(), dirs[1].path(), &[]);
    first.instance.close();
    produce(&broker, 1);
    wait_for_count(&broker, "a", 2006);
    let told = again.watch.told();
    assert_eq!(told.loaded + told.restored, 5);
    drop(told);
    again.instance.close();
}

#[test]
fn a_copy_has_nothing_that_is_not_committed() {
    let broker = cluster(1);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let set = [EXACTLY_ONCE, ("commit.interval.ms", "600000")];
    let topology = || count_by_key(IN, "counts", OUT);
    let first = start(&broker, topology(), dirs[0].path(), &set);
    wait_until("the first to have the task", || broker.ownership() == [1]);
    let second = start(&broker, topology(), dirs[1].path(), &set);
    produce(&broker, 10);
    wait_until("ten counted", || broker.entry_count(CHANGELOG) == 10);
    wait_until("a copy", || !second.watch.told().started.is_empty());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(second.watch.told().loaded, 0);
    first.instance.close();
    second.instance.close();
    let told = second.watch.told();
    assert_eq!(told.loaded + told.restored, 10);
}

/// A table that is read from its source topic, which is its changelog as well.
fn table() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .table::<String, String>(IN, Consumed::new(), Materialized::named("rows"))
        .to_stream()
        .to(OUT, Produced::new());
    let config = StreamsConfig::new("app").set("topology.optimization", "all");
    builder.build_with(&config.unwrap()).unwrap()
}

#[test]
fn a_source_topic_is_followed_up_to_what_is_committed() {
    for (commit_interval, loaded) in [("600000", 0), ("20", 10)] {
        let broker = cluster(1);
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let set = [("commit.interval.ms", commit_interval)];
        let first = start(&broker, table(), dirs[0].path(), &set);
        wait_until("the first to have the task", || broker.ownership() == [1]);
        let second = start(&broker, table(), dirs[1].path(), &set);
        wait_until("a copy", || !second.watch.told().started.is_empty());
        produce(&broker, 10);
        wait_until("ten rows", || broker.records(OUT).len() == 10);
        let told = || second.watch.told().loaded;
        wait_until("what is committed", || told() == loaded);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(told(), loaded, "{commit_interval}");
        produce(&broker, 5);
        first.instance.close();
        wait_until("all rows", || broker.records(OUT).len() == 15);
        wait_until("the second to have the task", || {
            second.instance.lifecycle.state() == crate::runtime::State::Running
                && broker.ownership() == [1]
        });
        second.instance.close();
        let told = second.watch.told();
        assert!(told.loaded + told.restored <= 15);
        let [(SuspendReason::Promoted, offset)] = told.suspended[..] else {
            panic!("{:?}", told.suspended);
        };
        assert_eq!(offset as u64, told.loaded);
    }
}

#[test]
fn a_task_that_moves_leaves_a_copy_that_goes_on_from_its_disk() {
    let broker = cluster(2);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let topology = || count_by_key(IN, "counts", OUT);
    let first = start(&broker, topology(), dirs[0].path(), &[]);
    for partition in 0..2 {
        for _ in 0..100 {
            broker.produce(IN, partition, &format!("p{partition}"), "x");
        }
    }
    wait_for_count(&broker, "p0", 100);
    wait_for_count(&broker, "p1", 100);
    let second = start(&broker, topology(), dirs[1].path(), &[]);
    wait_until("a task for each", || broker.ownership() == [1, 1]);
    // It may have begun with the other one before it was given that task.
    wait_until("the second's copy", || second.watch.told().loaded >= 100);
    wait_until("the first's copy", || {
        !first.watch.told().started.is_empty()
    });
    let (partition, start) = first.watch.told().started[0];
    assert_eq!(start, 100);
    broker.produce(IN, partition as usize, &format!("p{partition}"), "x");
    wait_until("one more", || first.watch.told().loaded == 1);
    // And back again.
    second.instance.close();
    broker.produce(IN, partition as usize, &format!("p{partition}"), "x");
    wait_for_count(&broker, &format!("p{partition}"), 102);
    assert_eq!(first.watch.told().restored, 0);
    first.instance.close();
}
