//! The transaction coordinator: producer ids, epochs, open transactions, fencing and timeouts.
//!
//! The rules are those of Kafka's `TransactionCoordinator` before KIP-890's second part: partitions are added explicitly
//! and the epoch changes with `InitProducerId`. With one node, a transaction ends in one step: the caller writes the
//! markers of an [`EndedTransaction`] at once, so nobody ever sees it half way.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka_protocol::ResponseError;

/// The longest transaction timeout a producer may ask for, `transaction.max.timeout.ms`.
const TRANSACTION_TIMEOUT_MS_MAX: i32 = 900_000;
/// After this epoch a transactional id gets a new producer id.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// A transaction that is under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OpenTransaction {
    pub(crate) since_ms: i64,
    pub(crate) partitions: BTreeSet<(String, i32)>,
    pub(crate) groups: BTreeSet<String>,
}

/// What is known of a transactional id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transaction {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) open: Option<OpenTransaction>,
    /// How the last transaction ended: committed or not. A repeated request to end it is answered from here.
    pub(crate) last_outcome: Option<bool>,
}

impl Transaction {
    /// The name of its state that the tools show.
    pub(crate) fn state_name(&self) -> &'static str {
        match (&self.open, self.last_outcome) {
            (Some(_), _) => "Ongoing",
            (None, None) => "Empty",
            (None, Some(true)) => "CompleteCommit",
            (None, Some(false)) => "CompleteAbort",
        }
    }
}

/// A transaction that has just ended: markers go to its partitions, and its groups' offsets are committed or dropped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndedTransaction {
    pub(crate) transactional_id: String,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) is_commit: bool,
    pub(crate) partitions: BTreeSet<(String, i32)>,
    pub(crate) groups: BTreeSet<String>,
}

/// The id and epoch a producer was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProducerIdentity {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
}

/// All transactional ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    by_id: BTreeMap<String, Transaction>,
    by_producer: HashMap<i64, String>,
    next_producer_id: i64,
}

impl Transactions {
    /// A producer id nobody has had.
    pub(crate) fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id - 1
    }

    /// The id the next new producer gets.
    pub(crate) fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Starts giving out ids from here, after a restart.
    pub(crate) fn restore_next_producer_id(&mut self, producer_id: i64) {
        self.next_producer_id = self.next_producer_id.max(producer_id);
    }

    /// Puts back a transactional id that was kept.
    pub(crate) fn restore(&mut self, transactional_id: String, transaction: Transaction) {
        self.by_producer
            .insert(transaction.producer_id, transactional_id.clone());
        self.by_id.insert(transactional_id, transaction);
    }

    /// What is known of a transactional id.
    pub(crate) fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.by_id.get(transactional_id)
    }

    /// All transactional ids, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Transaction)> {
        self.by_id.iter()
    }

    /// A transactional producer starts, or starts over. Whoever used the id before is fenced, and its open transaction is
    /// aborted. `current` is what the producer believes to be, if it recovers from an error (KIP-360).
    ///
    /// # Errors
    /// `INVALID_TRANSACTION_TIMEOUT`, or `PRODUCER_FENCED` when `current` is out of date.
    pub(crate) fn init(
        &mut self,
        transactional_id: &str,
        timeout_ms: i32,
        current: Option<ProducerIdentity>,
    ) -> Result<(ProducerIdentity, Option<EndedTransaction>), ResponseError> {
        if timeout_ms <= 0 || timeout_ms > TRANSACTION_TIMEOUT_MS_MAX {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let Some(known) = self.by_id.get(transactional_id) else {
            let identity = ProducerIdentity {
                producer_id: self.new_producer_id(),
                producer_epoch: 0,
            };
            let transaction = Transaction {
                producer_id: identity.producer_id,
                producer_epoch: 0,
                timeout_ms,
                open: None,
                last_outcome: None,
            };
            self.restore(transactional_id.to_owned(), transaction);
            return Ok((identity, None));
        };
        let is_current = |current: ProducerIdentity| {
            current.producer_id == known.producer_id
                && current.producer_epoch == known.producer_epoch
        };
        if current.is_some_and(|current| !is_current(current)) {
            return Err(ResponseError::ProducerFenced);
        }
        let ended = self.abort_and_fence(transactional_id);
        let transaction = self
            .by_id
            .get_mut(transactional_id)
            .ok_or(ResponseError::UnknownServerError)?;
        if ended.is_none() {
            transaction.producer_epoch += 1;
        }
        transaction.timeout_ms = timeout_ms;
        transaction.last_outcome = None;
        if transaction.producer_epoch >= EPOCH_MAX {
            let producer_id = self.new_producer_id();
            let transaction = self
                .by_id
                .get_mut(transactional_id)
                .ok_or(ResponseError::UnknownServerError)?;
            self.by_producer.remove(&transaction.producer_id);
            self.by_producer
                .insert(producer_id, transactional_id.to_owned());
            (transaction.producer_id, transaction.producer_epoch) = (producer_id, 0);
        }
        let transaction = &self.by_id[transactional_id];
        let identity = ProducerIdentity {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
        };
        Ok((identity, ended))
    }

    /// Aborts the open transaction under a new epoch, so that its producer can write nothing more.
    fn abort_and_fence(&mut self, transactional_id: &str) -> Option<EndedTransaction> {
        let transaction = self.by_id.get_mut(transactional_id)?;
        transaction.open.as_ref()?;
        transaction.producer_epoch += 1;
        Some(end_open(transactional_id, transaction, false))
    }

    fn checked(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
    ) -> Result<&mut Transaction, ResponseError> {
        let transaction = self
            .by_id
            .get_mut(transactional_id)
            .ok_or(ResponseError::InvalidProducerIdMapping)?;
        if transaction.producer_id != producer.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if transaction.producer_epoch != producer.producer_epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(transaction)
    }

    /// Adds partitions to the open transaction, opening one if there is none.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, or `PRODUCER_FENCED` for an epoch of the past.
    pub(crate) fn add_partitions(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        partitions: impl IntoIterator<Item = (String, i32)>,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        open(self.checked(transactional_id, producer)?, now_ms)
            .partitions
            .extend(partitions);
        Ok(())
    }

    /// Adds the offsets of a group to the open transaction, opening one if there is none.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, or `PRODUCER_FENCED` for an epoch of the past.
    pub(crate) fn add_group(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        group_id: &str,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        open(self.checked(transactional_id, producer)?, now_ms)
            .groups
            .insert(group_id.to_owned());
        Ok(())
    }

    /// Whether offsets of this group may be committed with the open transaction.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, `INVALID_PRODUCER_EPOCH`, or `INVALID_TXN_STATE` if the group was not added.
    pub(crate) fn check_offsets(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        group_id: &str,
    ) -> Result<(), ResponseError> {
        let transaction = match self.checked(transactional_id, producer) {
            Err(ResponseError::ProducerFenced) => return Err(ResponseError::InvalidProducerEpoch),
            checked => checked?,
        };
        match &transaction.open {
            Some(open) if open.groups.contains(group_id) => Ok(()),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Whether a transactional batch of this producer may go to this partition.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, `INVALID_PRODUCER_EPOCH`, or `INVALID_TXN_STATE` if the partition is not part of an
    /// open transaction.
    pub(crate) fn check_produce(
        &self,
        producer: ProducerIdentity,
        topic: &str,
        partition: i32,
    ) -> Result<(), ResponseError> {
        let id = self
            .by_producer
            .get(&producer.producer_id)
            .ok_or(ResponseError::InvalidProducerIdMapping)?;
        let transaction = self
            .by_id
            .get(id)
            .ok_or(ResponseError::InvalidProducerIdMapping)?;
        if transaction.producer_epoch != producer.producer_epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let is_part =
            |open: &OpenTransaction| open.partitions.contains(&(topic.to_owned(), partition));
        if transaction.open.as_ref().is_some_and(is_part) {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    /// Commits or aborts the open transaction. `None` if that has been done before: the producer asks again.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, or `INVALID_TXN_STATE` if no transaction is open.
    pub(crate) fn end(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        is_commit: bool,
    ) -> Result<Option<EndedTransaction>, ResponseError> {
        let transaction = self.checked(transactional_id, producer)?;
        if transaction.open.is_some() {
            return Ok(Some(end_open(transactional_id, transaction, is_commit)));
        }
        if transaction.last_outcome == Some(is_commit) {
            Ok(None)
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    /// Aborts transactions that have been open for longer than their timeout, fencing their producers.
    pub(crate) fn expire(&mut self, now_ms: i64) -> Vec<EndedTransaction> {
        let is_due = |transaction: &Transaction| {
            deadline_ms(transaction).is_some_and(|deadline_ms| deadline_ms <= now_ms)
        };
        let due: Vec<String> = self
            .by_id
            .iter()
            .filter(|(_, t)| is_due(t))
            .map(|(id, _)| id.clone())
            .collect();
        due.iter()
            .filter_map(|transactional_id| self.abort_and_fence(transactional_id))
            .collect()
    }

    /// When [`Self::expire`] has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.by_id.values().filter_map(deadline_ms).min()
    }

    /// Takes a deleted topic out of every open transaction.
    pub(crate) fn forget_topic(&mut self, topic: &str) {
        for open in self
            .by_id
            .values_mut()
            .filter_map(|transaction| transaction.open.as_mut())
        {
            open.partitions.retain(|(name, _)| name != topic);
        }
    }
}

fn deadline_ms(transaction: &Transaction) -> Option<i64> {
    transaction
        .open
        .as_ref()
        .map(|open| open.since_ms + i64::from(transaction.timeout_ms))
}

fn open(transaction: &mut Transaction, now_ms: i64) -> &mut OpenTransaction {
    transaction.open.get_or_insert_with(|| OpenTransaction {
        since_ms: now_ms,
        ..OpenTransaction::default()
    })
}

fn end_open(
    transactional_id: &str,
    transaction: &mut Transaction,
    is_commit: bool,
) -> EndedTransaction {
    let open = transaction.open.take().unwrap_or_default();
    transaction.last_outcome = Some(is_commit);
    EndedTransaction {
        transactional_id: transactional_id.to_owned(),
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        is_commit,
        partitions: open.partitions,
        groups: open.groups,
    }
}
