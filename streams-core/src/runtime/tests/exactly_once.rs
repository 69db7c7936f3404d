//! Transactions: when they begin, what a crash leaves, who is kept from committing, and that starting over changes no result.

use super::{CHANGELOG, IN, Instance, OUT, cluster, wait_until};
use crate::error::ErrorKind;
use crate::record::FetchedRecord;
use crate::runtime::lifecycle::State;
use crate::runtime::memory_broker::MemoryBroker;
use crate::runtime::memory_transactions::CommitFault;
use crate::runtime::test_topology::{count_by_key, count_by_value};
use crate::{Consumed, Produced, StreamsBuilder};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use streams_state::{StoreResources, TaskStores};

const EXACTLY_ONCE: (&str, &str) = ("processing.guarantee", "exactly_once_v2");

fn start(broker: &MemoryBroker, state_dir: &Path) -> Instance {
    Instance::start(broker, state_dir, &[EXACTLY_ONCE])
}

/// Every count of each key that a reader of committed records sees, in order.
fn all_counts(broker: &MemoryBroker) -> BTreeMap<String, Vec<i64>> {
    let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in broker.records(OUT) {
        let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
        let count = i64::from_be_bytes(record.value().unwrap().try_into().unwrap());
        counts.entry(key).or_default().push(count);
    }
    counts
}

#[track_caller]
fn wait_for_counts(broker: &MemoryBroker, count: usize) {
    wait_until("all results", || broker.records(OUT).len() >= count);
}

/// Expects that each of these keys was counted from 1 to `count`, once.
#[track_caller]
fn assert_counted_once(broker: &MemoryBroker, keys: &[&str], count: i64) {
    let expected: Vec<i64> = (1..=count).collect();
    let expected: BTreeMap<String, Vec<i64>> = keys
        .iter()
        .map(|key| ((*key).to_owned(), expected.clone()))
        .collect();
    assert_eq!(all_counts(broker), expected);
}

#[test]
fn a_transaction_begins_when_there_is_something_to_commit() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let instance = start(&broker, dir.path());
    let pause = || std::thread::sleep(Duration::from_millis(100));
    // Where the input starts is kept.
    wait_until("the start", || broker.committed(IN, 0) == Some(0));
    pause();
    assert_eq!(broker.transaction_count(), 1);
    broker.produce(IN, 0, "a", "x");
    wait_until("the commit", || broker.committed(IN, 0) == Some(1));
    pause();
    assert_eq!(broker.transaction_count(), 2);
    instance.close();
    assert_eq!(broker.transaction_count(), 2);
    assert_counted_once(&broker, &["a"], 1);
}

#[test]
fn commits_that_take_longer_than_their_interval_leave_time_to_process() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    broker.slow_commits_down(Duration::from_millis(30));
    for _ in 0..2000 {
        broker.produce(IN, 0, "a", "x");
    }
    let instance = start(&broker, dir.path());
    wait_for_counts(&broker, 2000);
    instance.close();
    assert_counted_once(&broker, &["a"], 2000);
    // Were the next commit due when one is done, a record would be processed between two.
    let transactions = broker.transaction_count();
    assert!(transactions < 500, "{transactions}");
}

#[test]
fn offsets_without_results_are_committed_in_a_transaction_too() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(IN, Consumed::new())
        .filter(|_key, _value| false)
        .to(OUT, Produced::new());
    let topology = builder.build().unwrap();
    broker.produce(IN, 0, "a", "x");
    let instance = Instance::start_topology(topology, &broker, dir.path(), &[EXACTLY_ONCE]);
    wait_until("the commit", || broker.committed(IN, 0) == Some(1));
    instance.close();
    assert!(broker.transaction_count() > 0);
    assert_eq!(broker.entry_count(OUT), 0);
}

#[test]
fn a_crash_before_the_commit_leaves_nothing_to_see_and_nothing_on_disk() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    let killed = start(&broker, dir.path());
    wait_until("the start", || broker.committed(IN, 0) == Some(0));
    broker.fail_transactions([CommitFault::Killed]);
    broker.produce(IN, 0, "a", "x");
    let error = killed.error().to_string();
    assert!(error.contains("killed"), "{error}");
    // The transaction is open still: the results are in the logs, and nobody may read them.
    assert_eq!(broker.entry_count(OUT), 1);
    assert_eq!(broker.entry_count(CHANGELOG), 1);
    assert!(broker.records(OUT).is_empty());
    assert_eq!(broker.committed(IN, 0), Some(0));
    assert_eq!(on_disk(dir.path(), b"a"), (None, None));

    broker.produce(IN, 0, "a", "x");
    let next = start(&broker, dir.path());
    wait_for_counts(&broker, 2);
    next.close();
    assert_counted_once(&broker, &["a"], 2);
    // Aborted, its marker, and what was committed; behind that is one more marker.
    let (position, stored) = on_disk(dir.path(), b"a");
    let of_changelog = broker.records(CHANGELOG).last().cloned().unwrap();
    assert_eq!(position, Some(of_changelog.offset + 1));
    assert!(stored.unwrap().ends_with(&2_i64.to_be_bytes()));
}

/// What the store of task 0_0 has on disk: the position in its changelog, and the value of a key.
fn on_disk(state_dir: &Path, key: &[u8]) -> (Option<i64>, Option<Vec<u8>>) {
    let topology = count_by_key(IN, "counts", OUT);
    let spec = topology.sub_topologies()[0].stores[0].spec.clone();
    let path = state_dir.join("app").join("0_0");
    let stores = TaskStores::open(Some(&path), &[spec], &StoreResources::in_memory()).unwrap();
    let found = (stores.position(0), stores.key_value(0).get(key).unwrap());
    stores.close().unwrap();
    found
}

#[test]
fn a_restart_passes_the_markers_at_the_end_of_a_changelog() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    for round in 1..=3 {
        let instance = start(&broker, dir.path());
        broker.produce(IN, 0, "a", "x");
        wait_for_counts(&broker, round);
        instance.close();
    }
    assert_counted_once(&broker, &["a"], 3);
    let elsewhere = tempfile::tempdir().unwrap();
    broker.produce(IN, 0, "a", "x");
    let instance = start(&broker, elsewhere.path());
    wait_for_counts(&broker, 4);
    instance.close();
    assert_counted_once(&broker, &["a"], 4);
}

#[test]
fn a_zombie_with_an_old_generation_commits_nothing() {
    let (broker, dirs) = (
        cluster(1),
        [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
    );
    let zombie = start(&broker, dirs[0].path());
    broker.produce(IN, 0, "a", "x");
    wait_for_counts(&broker, 1);
    broker.expel_first_member();
    // It goes on with a partition that somebody else is given now.
    let owner = start(&broker, dirs[1].path());
    for _ in 0..50 {
        broker.produce(IN, 0, "a", "x");
    }
    wait_until("the zombie to be refused", || broker.zombies() == 1);
    wait_for_counts(&broker, 51);
    wait_until("the zombie to be a member again", || {
        let states = [&zombie, &owner].map(|instance| instance.lifecycle.state());
        states == [State::Running; 2]
    });
    broker.produce(IN, 0, "a", "x");
    wait_for_counts(&broker, 52);
    zombie.close();
    owner.close();
    assert_counted_once(&broker, &["a"], 52);
}

#[test]
fn starting_over_gives_the_results_of_an_uninterrupted_run() {
    let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
    let topology = || count_by_value(IN, "counts", OUT);
    let set = [EXACTLY_ONCE, ("num.stream.threads", "2")];
    let instance = Instance::start_topology(topology(), &broker, dir.path(), &set);
    let mut count = 0;
    let mut produce = || {
        for partition in 0..2 {
            for value in ["x", "y", "z"] {
                broker.produce(IN, partition, "any", value);
            }
        }
        count += 2;
        count
    };
    for faults in [
        vec![CommitFault::Refused(ErrorKind::Fenced)],
        vec![CommitFault::Unanswered],
        vec![CommitFault::Refused(ErrorKind::Retriable)],
        vec![
            CommitFault::Unanswered,
            CommitFault::Refused(ErrorKind::Fenced),
            CommitFault::Unanswered,
        ],
    ] {
        produce();
        broker.fail_transactions(faults);
        wait_until("the faults", || {
            produce();
            broker.pending_faults() == 0
        });
    }
    produce();
    broker.lose_all();
    let total = produce();
    wait_for_counts(&broker, 3 * total as usize);
    instance.close();
    assert_counted_once(&broker, &["x", "y", "z"], total);
    let repartitioned = broker.records("app-counts-repartition");
    assert_eq!(repartitioned.len() as i64, 3 * total);
}

#[test]
fn a_refused_record_ends_the_application_and_the_transaction() {
    let (broker, dir) = (cluster(1), tempfile::tempdir().unwrap());
    broker.refuse_sends((OUT, &1i64.to_be_bytes()), ErrorKind::Data, true, 1);
    let instance = start(&broker, dir.path());
    broker.produce(IN, 0, "a", "x");
    let error = instance.error().to_string();
    assert!(error.contains("task 0_0: out refuses"), "{error}");
    // The change was logged before: aborted, with its marker.
    assert_eq!(broker.entry_count(CHANGELOG), 2);
    assert!(broker.records(CHANGELOG).is_empty());
    assert_ne!(broker.committed(IN, 0), Some(1));
}
