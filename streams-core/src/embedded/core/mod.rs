//! The broker as a pure state machine: requests and the time go in, answers and changes to be kept come out.
//!
//! There is no thread, no socket, no file and no clock in here. A request is answered at once, or it waits (a fetch for
//! records, a member for its group) and is answered by a later request or by [`BrokerCore::tick`]. The same requests at the
//! same times from the same seed give the same answers, which is what a simulation needs.

pub(crate) mod assignors;
pub(crate) mod batch;
pub(crate) mod changes;
pub(crate) mod classic_group;
pub(crate) mod compaction;
pub(crate) mod consumer_group;
pub(crate) mod durable;
pub(crate) mod fetches;
pub(crate) mod groups;
pub(crate) mod ids;
pub(crate) mod log;
pub(crate) mod offsets;
pub(crate) mod producers;
pub(crate) mod records;
pub(crate) mod retention;
pub(crate) mod topic_config;
pub(crate) mod topics;
pub(crate) mod transactions;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FetchResponse, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;

use batch::transaction_marker;
use changes::{Change, Changes, CommittedOffset, DurableTransaction};
use compaction::Due;
use fetches::WaitingFetches;
use groups::Groups;
use ids::Ids;
use log::PartitionLog;
use topic_config::TopicConfig;
use topics::{Topic, Topics};
use transactions::{EndedTransaction, Transactions};

/// The id of the only node.
pub(crate) const NODE_ID: i32 = 1;

/// A partition forgets a producer that has been silent for so long, `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// What the driver of the core calls a request, to know the answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// What a request is beside its body.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) request_id: RequestId,
    /// The version of the API the client speaks.
    pub(crate) version: i16,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A finished response.
    Response(ResponseKind),
    /// A response to a fetch, its batches apart, partition by partition, so that they can be put together without
    /// holding up the core.
    Fetch(FetchResponse, Vec<Vec<Bytes>>),
    /// The client wants none (a produce request with `acks=0`).
    Nothing,
}

impl Answer {
    /// The response to send, if any.
    pub(crate) fn into_response(self) -> Option<ResponseKind> {
        match self {
            Self::Nothing => None,
            Self::Response(response) => Some(response),
            Self::Fetch(mut response, records) => {
                let partitions = response
                    .responses
                    .iter_mut()
                    .flat_map(|topic| topic.partitions.iter_mut());
                for (partition, batches) in partitions.zip(records) {
                    partition.records = Some(joined(batches));
                }
                Some(ResponseKind::Fetch(response))
            }
        }
    }
}

fn joined(mut batches: Vec<Bytes>) -> Bytes {
    if batches.len() == 1 {
        return batches.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(batches.iter().map(Bytes::len).sum());
    batches
        .iter()
        .for_each(|batch| joined.extend_from_slice(batch));
    joined.freeze()
}

/// Answers on their way out.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<(RequestId, Answer)>);

impl Answers {
    /// Answers a request.
    pub(crate) fn push(&mut self, request_id: RequestId, response: ResponseKind) {
        self.0.push((request_id, Answer::Response(response)));
    }

    pub(crate) fn push_answer(&mut self, request_id: RequestId, answer: Answer) {
        self.0.push((request_id, answer));
    }
}

/// The settings of a broker.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    /// The address clients are told to connect to.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Partitions of a topic that is created without saying how many.
    pub(crate) default_partitions: i32,
    /// Whether asking for an unknown topic may create it.
    pub(crate) auto_create_topics: bool,
    /// How long a group that was empty waits for more members before its first generation.
    pub(crate) group_initial_rebalance_delay_ms: i64,
    /// How long a member of the consumer protocol may be silent.
    pub(crate) consumer_session_timeout_ms: i64,
    /// How often retention and compaction look for something to do.
    pub(crate) cleaner_interval_ms: i64,
    /// Where ids start from.
    pub(crate) seed: u64,
    /// Whether [`BrokerCore::take_changes`] shall have anything to say.
    pub(crate) keeps_changes: bool,
}

/// The broker.
#[derive(Debug)]
pub(crate) struct BrokerCore {
    pub(crate) config: CoreConfig,
    pub(crate) cluster_id: String,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) fetches: WaitingFetches,
    pub(crate) ids: Ids,
    pub(crate) answers: Answers,
    pub(crate) changes: Changes,
    /// When the logs are looked through next for what can go.
    next_cleaning_ms: Option<i64>,
}

impl BrokerCore {
    /// A broker without topics.
    pub(crate) fn new(config: CoreConfig) -> Self {
        let mut ids = Ids::new(config.seed);
        let cluster_id = ids::kafka_id(ids.uuid());
        let mut changes = Changes::new(config.keeps_changes);
        changes.push(|| Change::Cluster {
            cluster_id: cluster_id.clone(),
        });
        Self {
            config,
            cluster_id,
            topics: Topics::default(),
            groups: Groups::default(),
            transactions: Transactions::default(),
            fetches: WaitingFetches::default(),
            ids,
            answers: Answers::default(),
            changes,
            next_cleaning_ms: None,
        }
    }

    /// Takes a request in. Its answer, and those of others that it sets free, are in [`Self::take_answers`].
    pub(crate) fn handle(&mut self, context: &RequestContext, request: RequestKind, now_ms: i64) {
        if let Some(response) = self.respond(context, request, now_ms) {
            self.answers.push(context.request_id, response);
        }
        self.complete_fetches(now_ms);
    }

    /// Does what is due at this time.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        self.groups.tick(now_ms, &mut self.answers);
        for ended in self.transactions.expire(now_ms) {
            self.finish_transaction(&ended, now_ms);
        }
        if self.next_cleaning_ms.is_none_or(|due_ms| due_ms <= now_ms) {
            let has_more = self.clean_logs(now_ms);
            self.groups.remove_unused();
            self.next_cleaning_ms = Some(
                now_ms
                    + if has_more {
                        1
                    } else {
                        self.config.cleaner_interval_ms
                    },
            );
        }
        self.complete_fetches(now_ms);
    }

    /// Deletes what is too old and compacts the log that needs it most. One at a time, because everybody waits meanwhile;
    /// says whether there may be more to do.
    fn clean_logs(&mut self, now_ms: i64) -> bool {
        let mut dirtiest: Option<(Due, &mut PartitionLog, &TopicConfig)> = None;
        for Topic {
            partitions, config, ..
        } in self.topics.iter_mut()
        {
            for log in partitions {
                retention::enforce(log, config, now_ms, &mut self.changes);
                log.producers
                    .expire(now_ms.saturating_sub(PRODUCER_EXPIRATION_MS));
                let Some(due) = compaction::due(log, config, now_ms, &mut self.changes) else {
                    continue;
                };
                if dirtiest
                    .as_ref()
                    .is_none_or(|(other, ..)| due.dirty_ratio > other.dirty_ratio)
                {
                    dirtiest = Some((due, log, config));
                }
            }
        }
        let Some((due, log, config)) = dirtiest else {
            return false;
        };
        compaction::compact(log, due, config, now_ms, &mut self.changes);
        true
    }

    /// When [`Self::tick`] has something to do next, if nothing else happens before.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        let deadlines = [
            self.fetches.next_deadline_ms(),
            self.groups.next_deadline_ms(),
            self.transactions.next_deadline_ms(),
            self.next_cleaning_ms,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The answers since the last call.
    pub(crate) fn take_answers(&mut self) -> Vec<(RequestId, Answer)> {
        std::mem::take(&mut self.answers.0)
    }

    /// What has to be kept since the last call. Keep it before sending the answers.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.changes.take()
    }

    /// Writes the markers of a transaction that has ended and settles the offsets that were part of it.
    pub(crate) fn finish_transaction(&mut self, ended: &EndedTransaction, now_ms: i64) {
        self.note_decision(ended);
        let marker = transaction_marker(
            ended.producer_id,
            ended.producer_epoch,
            ended.is_commit,
            now_ms,
        );
        for (topic, partition) in &ended.partitions {
            if let Ok((log, config)) = self.topics.partition_mut(topic, *partition) {
                log.append_marker(&marker, config, now_ms, &mut self.changes);
                self.fetches.touch(topic, *partition);
            }
        }
        for group_id in &ended.groups {
            if let Some(group) = self.groups.get_mut(group_id) {
                group.offsets.end_transaction(
                    group_id,
                    ended.producer_id,
                    ended.is_commit,
                    &mut self.changes,
                );
            }
        }
        self.note_transaction(&ended.transactional_id);
    }

    /// Notes how a transaction ends before anything of it is written, so that it ends that way on every partition even if
    /// the broker dies in between.
    fn note_decision(&mut self, ended: &EndedTransaction) {
        let Some(transaction) = self.transactions.get(&ended.transactional_id) else {
            return;
        };
        let groups = &self.groups;
        self.changes.push(|| Change::Transaction {
            transactional_id: ended.transactional_id.clone(),
            transaction: DurableTransaction {
                producer_id: ended.producer_id,
                producer_epoch: ended.producer_epoch,
                timeout_ms: transaction.timeout_ms,
                ongoing_since_ms: None,
                partitions: ended.partitions.iter().cloned().collect(),
                groups: ended.groups.iter().cloned().collect(),
                pending_offsets: held_offsets(groups, &ended.groups, ended.producer_id),
                decided: Some(ended.is_commit),
                last_outcome: Some(ended.is_commit),
            },
        });
    }

    /// Notes the state of a transactional id as to be kept.
    pub(crate) fn note_transaction(&mut self, transactional_id: &str) {
        let Some(transaction) = self.transactions.get(transactional_id) else {
            return;
        };
        let groups = &self.groups;
        self.changes.push(|| {
            let open = transaction.open.clone().unwrap_or_default();
            Change::Transaction {
                transactional_id: transactional_id.to_owned(),
                transaction: DurableTransaction {
                    producer_id: transaction.producer_id,
                    producer_epoch: transaction.producer_epoch,
                    timeout_ms: transaction.timeout_ms,
                    ongoing_since_ms: transaction.open.as_ref().map(|open| open.since_ms),
                    pending_offsets: held_offsets(groups, &open.groups, transaction.producer_id),
                    partitions: open.partitions.into_iter().collect(),
                    groups: open.groups.into_iter().collect(),
                    decided: None,
                    last_outcome: transaction.last_outcome,
                },
            }
        });
    }

    /// Creates a topic that was asked for without being created before.
    ///
    /// # Errors
    /// When the name is not allowed.
    pub(crate) fn auto_create_topic(&mut self, name: &str) -> Result<(), ResponseError> {
        let partition_count = self
            .topics
            .check_new(name, self.config.default_partitions)
            .map_err(|(error, _)| error)?;
        let id = self.ids.uuid();
        self.topics.create(
            id,
            name,
            partition_count,
            TopicConfig::default(),
            &mut self.changes,
        );
        Ok(())
    }

    fn complete_fetches(&mut self, now_ms: i64) {
        let due: BTreeSet<RequestId> = self.fetches.take_due(now_ms);
        for request_id in due {
            self.resume_fetch(request_id, now_ms);
        }
    }
}

/// What groups hold back for a producer: group, topic, partition and offset.
fn held_offsets(
    groups: &Groups,
    group_ids: &BTreeSet<String>,
    producer_id: i64,
) -> Vec<(String, String, i32, CommittedOffset)> {
    let held = |group_id: &String| {
        let offsets = groups
            .get(group_id)
            .into_iter()
            .flat_map(|group| group.offsets.held(producer_id));
        let owned = offsets
            .map(|((topic, p), offset)| (group_id.clone(), topic.clone(), *p, offset.clone()));
        owned.collect::<Vec<_>>()
    };
    group_ids.iter().flat_map(held).collect()
}

/// A string of the protocol that keeps no request alive.
pub(crate) fn owned(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
