//! The transaction coordinator, request by request.

use super::*;

fn with_open() -> (Transactions, ProducerIdentity) {
    let mut transactions = Transactions::default();
    let (producer, _) = transactions.init("t", 1_000, None).unwrap();
    transactions
        .add_partitions("t", producer, [("topic".to_owned(), 0)], 50)
        .unwrap();
    (transactions, producer)
}

#[test]
fn a_second_producer_fences_the_first_and_aborts_its_transaction() {
    let (mut transactions, first) = with_open();
    let (second, ended) = transactions.init("t", 1_000, None).unwrap();
    let ended = ended.unwrap();
    assert!(!ended.is_commit && ended.partitions.len() == 1);
    assert_eq!(
        second,
        ProducerIdentity {
            producer_id: first.producer_id,
            producer_epoch: 1
        }
    );
    assert_eq!(
        ended.producer_epoch, 1,
        "the marker carries the new epoch and fences on the partition too"
    );
    assert_eq!(
        transactions.end("t", first, true),
        Err(ResponseError::ProducerFenced)
    );
    assert_eq!(
        transactions.check_produce(first, "topic", 0),
        Err(ResponseError::InvalidProducerEpoch)
    );
}

#[test]
fn ending_twice_the_same_way_is_a_retry_and_the_other_way_an_error() {
    let (mut transactions, producer) = with_open();
    assert!(transactions.end("t", producer, true).unwrap().is_some());
    assert_eq!(transactions.end("t", producer, true), Ok(None));
    assert_eq!(
        transactions.end("t", producer, false),
        Err(ResponseError::InvalidTxnState)
    );
}

#[test]
fn only_added_partitions_and_groups_take_part() {
    let (mut transactions, producer) = with_open();
    assert_eq!(transactions.check_produce(producer, "topic", 0), Ok(()));
    assert_eq!(
        transactions.check_produce(producer, "topic", 1),
        Err(ResponseError::InvalidTxnState)
    );
    assert_eq!(
        transactions.check_offsets("t", producer, "g"),
        Err(ResponseError::InvalidTxnState)
    );
    transactions.add_group("t", producer, "g", 60).unwrap();
    assert_eq!(transactions.check_offsets("t", producer, "g"), Ok(()));
}

#[test]
fn an_overdue_transaction_is_aborted_and_its_producer_fenced() {
    let (mut transactions, producer) = with_open();
    assert_eq!(transactions.next_deadline_ms(), Some(1_050));
    assert!(transactions.expire(1_049).is_empty());
    let ended = transactions.expire(1_050);
    assert_eq!(
        (ended.len(), ended[0].is_commit, ended[0].producer_epoch),
        (1, false, 1)
    );
    assert_eq!(
        transactions.end("t", producer, true),
        Err(ResponseError::ProducerFenced)
    );
    assert_eq!(transactions.next_deadline_ms(), None);
}

#[test]
fn recovery_needs_the_current_identity() {
    let mut transactions = Transactions::default();
    let (producer, _) = transactions.init("t", 1_000, None).unwrap();
    let (bumped, _) = transactions.init("t", 1_000, Some(producer)).unwrap();
    assert_eq!(bumped.producer_epoch, 1);
    assert_eq!(
        transactions.init("t", 1_000, Some(producer)),
        Err(ResponseError::ProducerFenced)
    );
    assert_eq!(
        transactions.init("t", 0, None),
        Err(ResponseError::InvalidTransactionTimeout)
    );
}

#[test]
fn an_exhausted_epoch_brings_a_new_producer_id() {
    let mut transactions = Transactions::default();
    let (producer, _) = transactions.init("t", 1_000, None).unwrap();
    transactions.by_id.get_mut("t").unwrap().producer_epoch = EPOCH_MAX - 1;
    let (next, _) = transactions.init("t", 1_000, None).unwrap();
    assert_eq!(
        (next.producer_id, next.producer_epoch),
        (producer.producer_id + 1, 0)
    );
}
