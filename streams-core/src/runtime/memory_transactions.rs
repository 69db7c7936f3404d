//! Transactions of the cluster in memory: fencing by epoch and by membership, markers, what a reader of committed records sees,
//! and commits that fail on demand.

use crate::error::{Error, ErrorKind, Result};
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::{CommittedOffset, GroupEvent};
use crate::runtime::memory_broker::{Cluster, MemoryBroker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What is at one offset of a log.
pub(super) enum Entry {
    /// A record, and its transaction if it is of one.
    Record(OwnedRecord, Option<usize>),
    /// The end of a transaction.
    Marker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Committed,
    Aborted,
}

/// How the next commit of a transaction goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommitFault {
    /// It is refused.
    Refused(ErrorKind),
    /// It is done and the answer is lost.
    Unanswered,
    /// The process dies: nothing it tries to do with the transaction reaches the brokers any more.
    Killed,
}

#[derive(Default)]
pub(super) struct Transactions {
    /// By number: how each that was begun has ended.
    outcomes: Vec<Outcome>,
    producers: BTreeMap<String, ProducerState>,
    pub(super) faults: VecDeque<CommitFault>,
    /// How long every commit takes.
    pub(super) commit_time: Duration,
    /// How often offsets of an expelled member were refused.
    pub(super) zombies: usize,
}

#[derive(Default)]
struct ProducerState {
    epoch: u32,
    open: Option<Open>,
    killed: bool,
}

/// A transaction that is not over.
struct Open {
    number: usize,
    partitions: BTreeSet<TopicPartition>,
    offsets: Vec<(TopicPartition, CommittedOffset)>,
}

impl Transactions {
    /// What is before the first open transaction: the last stable offset.
    pub(super) fn stable<'a>(&self, entries: &'a [Entry]) -> &'a [Entry] {
        let is_open = |entry: &Entry| match entry {
            Entry::Record(_, Some(number)) => self.outcomes[*number] == Outcome::Open,
            _ => false,
        };
        let end = entries.iter().position(is_open).unwrap_or(entries.len());
        &entries[..end]
    }

    /// The record of an entry, unless its transaction was aborted.
    pub(super) fn committed<'a>(&self, entry: &'a Entry) -> Option<&'a OwnedRecord> {
        match entry {
            Entry::Record(record, None) => Some(record),
            Entry::Record(record, Some(number)) => {
                (self.outcomes[*number] == Outcome::Committed).then_some(record)
            }
            Entry::Marker => None,
        }
    }

    fn producer(&mut self, id: &str, epoch: u32) -> Result<&mut ProducerState> {
        let state = self.producers.get_mut(id).unwrap();
        if state.epoch != epoch {
            return Err(Error::fenced(format!("{id} has a newer producer")));
        }
        if state.killed {
            return Err(Error::fatal("killed"));
        }
        Ok(state)
    }
}

impl MemoryBroker {
    /// How many transactions were begun.
    pub(crate) fn transaction_count(&self) -> usize {
        self.lock().transactions.outcomes.len()
    }

    /// The next commits of transactions go wrong, each in one of these ways.
    pub(crate) fn fail_transactions(&self, faults: impl IntoIterator<Item = CommitFault>) {
        self.lock().transactions.faults.extend(faults);
    }

    /// Every commit of a transaction takes so long from now on.
    pub(crate) fn slow_commits_down(&self, commit_time: Duration) {
        self.lock().transactions.commit_time = commit_time;
    }

    pub(crate) fn pending_faults(&self) -> usize {
        self.lock().transactions.faults.len()
    }

    /// Aborts what killed producers left open, as the coordinator does after `transaction.timeout.ms`.
    pub(crate) fn time_out_killed(&self) {
        let mut cluster = self.lock();
        let producers = cluster.transactions.producers.values_mut();
        let killed = producers.filter(|producer| producer.killed);
        let open: Vec<Open> = killed.filter_map(|producer| producer.open.take()).collect();
        for open in open {
            cluster.end(open, Outcome::Aborted);
        }
    }

    /// Takes everything from the member that joined first, which hears of it only when it commits again.
    pub(crate) fn expel_first_member(&self) {
        let mut cluster = self.lock();
        let first = *cluster.members.keys().next().unwrap();
        cluster.expel(first);
    }

    pub(crate) fn zombies(&self) -> usize {
        self.lock().transactions.zombies
    }
}

impl Cluster {
    /// Fences the earlier producers of an id; returns the epoch of the new one.
    pub(super) fn init_transactions(&mut self, id: &str) -> u32 {
        let state = self
            .transactions
            .producers
            .entry(id.to_owned())
            .or_default();
        state.epoch += 1;
        state.killed = false;
        let epoch = state.epoch;
        if let Some(open) = state.open.take() {
            self.end(open, Outcome::Aborted);
        }
        epoch
    }

    /// The number of a new transaction.
    pub(super) fn begin_transaction(&mut self, id: &str, epoch: u32) -> Result<()> {
        let number = self.transactions.outcomes.len();
        let state = self.transactions.producer(id, epoch)?;
        assert!(state.open.is_none(), "{id} has a transaction");
        state.open = Some(Open {
            number,
            partitions: BTreeSet::new(),
            offsets: Vec::new(),
        });
        self.transactions.outcomes.push(Outcome::Open);
        Ok(())
    }

    /// The number of the open transaction, which writes to that partition from now on.
    pub(super) fn enlist(
        &mut self,
        id: &str,
        epoch: u32,
        partition: TopicPartition,
    ) -> Result<usize> {
        let open = self.transactions.producer(id, epoch)?.open.as_mut();
        let open = open.expect("records are sent in a transaction");
        open.partitions.insert(partition);
        Ok(open.number)
    }

    pub(super) fn add_offsets(
        &mut self,
        id: &str,
        epoch: u32,
        offsets: &[(TopicPartition, CommittedOffset)],
        member: u32,
    ) -> Result<()> {
        let open = self.transactions.producer(id, epoch)?.open.as_mut();
        open.expect("offsets are sent in a transaction")
            .offsets
            .extend_from_slice(offsets);
        let Some(member) = self.members.get_mut(&member) else {
            return Err(Error::fenced("no such member"));
        };
        if member.expelled {
            member.expelled = false;
            let mut lost = Vec::new();
            for topic in &member.topics {
                let count = self.topics[topic].partitions.len() as i32;
                lost.extend((0..count).map(|p| TopicPartition::new(topic.clone(), p)));
            }
            member.events.push_back(GroupEvent::Lost(lost));
            self.transactions.zombies += 1;
            self.rebalance();
            return Err(Error::fenced("an old generation"));
        }
        Ok(())
    }

    pub(super) fn commit_transaction(&mut self, id: &str, epoch: u32) -> Result<()> {
        let fault = self.transactions.faults.pop_front();
        let state = self.transactions.producer(id, epoch)?;
        match fault {
            Some(CommitFault::Refused(kind)) => return Err(Error::new(kind, "refused")),
            Some(CommitFault::Killed) => {
                state.killed = true;
                return Err(Error::fatal("killed"));
            }
            Some(CommitFault::Unanswered) | None => {}
        }
        let open = state.open.take().expect("a transaction is open");
        self.committed.extend(open.offsets.iter().cloned());
        self.end(open, Outcome::Committed);
        match fault {
            Some(_) => Err(Error::retriable("no answer")),
            None => Ok(()),
        }
    }

    pub(super) fn abort_transaction(&mut self, id: &str, epoch: u32) -> Result<()> {
        let state = self.transactions.producer(id, epoch)?;
        match state.open.take() {
            Some(open) => {
                self.end(open, Outcome::Aborted);
                Ok(())
            }
            None => Err(Error::fatal("no transaction is open")),
        }
    }

    fn end(&mut self, open: Open, outcome: Outcome) {
        self.transactions.outcomes[open.number] = outcome;
        for partition in open.partitions {
            let topic = self.topics.get_mut(&partition.topic).unwrap();
            let log = &mut topic.partitions[partition.partition as usize];
            log.entries.push(Entry::Marker);
        }
    }
}
