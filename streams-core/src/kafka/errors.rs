//! librdkafka's errors in this crate's words: what kind of failure it is, and what to do about it.

use super::ffi::{DeliveryFailure, Refusal};
use crate::error::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::fmt::Display;
use std::time::Duration;

/// What a code means for who gets it.
pub(super) fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::BrokerTransportFailure
        | Code::Resolve
        | Code::MessageTimedOut
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::QueueFull
        | Code::WaitingForCoordinator
        | Code::InProgress
        | Code::PreviousInProgress
        | Code::WaitCache
        | Code::Interrupted
        | Code::Retry
        | Code::NodeUpdate
        | Code::BrokerDestroy
        | Code::DestroyBroker
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::RebalanceInProgress
        | Code::ConcurrentTransactions
        | Code::ReassignmentInProgress
        | Code::KafkaStorageError
        | Code::UnstableOffsetCommit
        | Code::OffsetNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::StaleMemberEpoch
        | Code::ThrottlingQuotaExceeded => ErrorKind::Retriable,

        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedMemberEpoch
        | Code::AssignmentLost
        | Code::PollExceeded
        | Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch => ErrorKind::Fenced,

        Code::OffsetOutOfRange
        | Code::AutoOffsetReset
        | Code::LogTruncation
        | Code::BadMessage
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::OffsetMetadataTooLarge => ErrorKind::Data,

        Code::SSL
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedAssignor
        | Code::InconsistentGroupProtocol
        | Code::InvalidConfig
        | Code::InvalidArgument
        | Code::InvalidGroupId
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidSessionTimeout
        | Code::InvalidTransactionTimeout
        | Code::PolicyViolation => ErrorKind::Config,

        _ => ErrorKind::Fatal,
    }
}

/// What a code means that came while a transaction was open. What may go well the next time asks for the transaction to be
/// given up and done again, which is [`ErrorKind::Fenced`] (Kafka Streams' `TaskMigratedException` and
/// `TaskCorruptedException`).
pub(super) fn kind_in_transaction(code: Code) -> ErrorKind {
    match code {
        // The queue of a transaction that failed is emptied, and takes nothing more.
        Code::State
        | Code::PurgeQueue
        | Code::PurgeInflight
        // The broker no longer knows where this producer was.
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping
        | Code::OutOfOrderSequenceNumber
        | Code::InvalidTransactionalState
        | Code::TransactionCoordinatorFenced
        // The answer of a broker that is about to stop: what was asked for may have been done or not.
        | Code::Unknown => ErrorKind::Fenced,
        code => match kind_of(code) {
            ErrorKind::Retriable => ErrorKind::Fenced,
            kind => kind,
        },
    }
}

/// What to do about it, as the end of a sentence; empty when the code says it all.
fn advice(code: Code) -> &'static str {
    match code {
        Code::TopicAuthorizationFailed => "; allow this principal to use the topic (kafka-acls)",
        Code::GroupAuthorizationFailed => "; allow this principal to read the group (kafka-acls)",
        Code::ClusterAuthorizationFailed => {
            "; allow this principal IdempotentWrite and Create on the cluster (kafka-acls)"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "; allow this principal to write with the transactional id (kafka-acls)"
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            "; create the topic, or correct its name in the topology"
        }
        Code::FencedInstanceId => {
            "; another process runs with the same group.instance.id: give each instance its own"
        }
        Code::UnreleasedInstanceId => {
            "; another process still holds this group.instance.id: stop it or wait for its session to end"
        }
        Code::InconsistentGroupProtocol => {
            "; the group's other members use another partition.assignment.strategy or group.protocol: \
             use the same everywhere, or stop them first"
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature => {
            "; the broker is too old for this: group.protocol=consumer needs Apache Kafka 4.0"
        }
        Code::GroupMaxSizeReached => "; the broker's group.max.size allows no further member",
        Code::OffsetOutOfRange | Code::AutoOffsetReset => {
            "; the log no longer has that offset: reset the group's offsets or set auto.offset.reset"
        }
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
            "; raise message.max.bytes of the producer and max.message.bytes of the topic, or write smaller records"
        }
        Code::SaslAuthenticationFailed | Code::Authentication => {
            "; check sasl.mechanisms, sasl.username, sasl.password and the certificates"
        }
        Code::SSL => "; check ssl.ca.location, ssl.certificate.location and ssl.key.location",
        Code::InvalidReplicationFactor => {
            "; set replication.factor to no more than the cluster has brokers"
        }
        Code::QueueFull => {
            "; the broker takes records too slowly, or raise queue.buffering.max.kbytes and queue.buffering.max.messages"
        }
        _ => "",
    }
}

/// An error for a code, with what was tried in front: "committing offsets".
#[cold]
#[inline(never)]
pub(super) fn error(code: Code, what: impl Display) -> Error {
    error_with(kind_of(code), code, what, "")
}

/// The same with librdkafka's own words where they say more than the code.
#[cold]
#[inline(never)]
pub(super) fn error_with(kind: ErrorKind, code: Code, what: impl Display, text: &str) -> Error {
    let described = code.to_string();
    let detail = if text.is_empty() || described.contains(text) {
        described
    } else {
        format!("{text} ({code:?})")
    };
    Error::new(kind, format!("{what}: {detail}{}", advice(code)))
}

/// Whether the same call may succeed later, by its code or by what librdkafka says of a code that says nothing.
pub(super) fn is_retriable(refusal: &Refusal) -> bool {
    match kind_of(refusal.code) {
        ErrorKind::Fatal => refusal.is_retriable,
        kind => kind == ErrorKind::Retriable,
    }
}

/// An error for a refused call. `trouble` is the client's last complaint, which explains a time-out.
#[cold]
#[inline(never)]
pub(super) fn refused(refusal: &Refusal, what: impl Display, trouble: Option<String>) -> Error {
    let kind = if is_retriable(refusal) {
        ErrorKind::Retriable
    } else {
        kind_of(refusal.code)
    };
    let error = error_with(kind, refusal.code, what, &refusal.text);
    match trouble {
        Some(trouble) if kind == ErrorKind::Retriable => {
            error.with_source(format!("the client last reported: {trouble}"))
        }
        _ => error,
    }
}

/// An error of a transaction, as [`refused`].
#[cold]
#[inline(never)]
pub(super) fn in_transaction(refusal: &Refusal, what: impl Display) -> Error {
    let kind = if refusal.is_retriable && !refusal.requires_abort {
        ErrorKind::Retriable
    } else {
        kind_in_transaction(refusal.code)
    };
    error_with(kind, refusal.code, what, &refusal.text)
}

/// A call that did not finish in time.
#[cold]
#[inline(never)]
pub(super) fn timed_out(what: impl Display, timeout: Duration, trouble: Option<String>) -> Error {
    let reason = trouble.map_or_else(
        || "no broker answered".to_owned(),
        |trouble| format!("the client last reported: {trouble}"),
    );
    Error::retriable(format!(
        "{what}: not done within {} ms; {reason}; check bootstrap.servers and that the brokers run",
        timeout.as_millis()
    ))
}

/// A record that was not written. Never [`ErrorKind::Retriable`]: the producer no longer has the record, so flushing again
/// would succeed without it. Its transaction, if it has one, may be done again.
#[cold]
#[inline(never)]
pub(super) fn not_delivered(failure: &DeliveryFailure, is_transactional: bool) -> Error {
    let kind = match kind_of(failure.code) {
        _ if is_transactional => kind_in_transaction(failure.code),
        ErrorKind::Retriable => ErrorKind::Fatal,
        kind => kind,
    };
    error_with(
        kind,
        failure.code,
        format_args!(
            "a record for {}-{} was not written, so nothing since the last commit may be committed",
            failure.topic, failure.partition
        ),
        &failure.text,
    )
}

/// What became of a record whose sender takes it back: retriable and data errors are about this record, others about the
/// producer. As Kafka Streams' `RecordCollectorImpl` tells them apart.
#[cold]
#[inline(never)]
pub(super) fn failed_send(failure: &DeliveryFailure, is_transactional: bool) -> Error {
    let kind = match failure.code {
        // In Kafka Streams a topic that is not there is a time-out.
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            ErrorKind::Retriable
        }
        code => match (kind_of(code), kind_in_transaction(code)) {
            (ErrorKind::Fatal, ErrorKind::Fenced) if is_transactional => ErrorKind::Fenced,
            (kind, _) => kind,
        },
    };
    error_with(
        kind,
        failure.code,
        format_args!(
            "a record for {}-{} was not written",
            failure.topic, failure.partition
        ),
        &failure.text,
    )
}

/// A client that could not be made.
#[cold]
#[inline(never)]
pub(super) fn not_created(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, text, name, _) => Error::config(format!(
            "the Kafka client does not accept the setting {name}: {text}"
        )),
        KafkaError::ClientCreation(text) => {
            Error::config(format!("the Kafka client could not be made: {text}"))
        }
        error => from_kafka(error, "making a Kafka client"),
    }
}

/// Any other error of rust-rdkafka.
#[cold]
#[inline(never)]
pub(super) fn from_kafka(error: KafkaError, what: impl Display) -> Error {
    let code = match &error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    };
    match code {
        Some(code) => self::error(code, what),
        None => Error::fatal(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_tell_what_to_do() {
        assert_eq!(kind_of(Code::RebalanceInProgress), ErrorKind::Retriable);
        assert_eq!(kind_of(Code::IllegalGeneration), ErrorKind::Fenced);
        assert_eq!(kind_of(Code::AutoOffsetReset), ErrorKind::Data);
        assert_eq!(kind_of(Code::TopicAuthorizationFailed), ErrorKind::Fatal);
        assert_eq!(kind_of(Code::SaslAuthenticationFailed), ErrorKind::Config);
    }

    #[test]
    fn a_time_out_shows_the_last_complaint() {
        let error = timed_out(
            "asking for topics",
            Duration::from_millis(1500),
            Some("127.0.0.1:1: connection refused".into()),
        );
        assert_eq!(error.kind(), ErrorKind::Retriable);
        assert!(error.to_string().contains("1500 ms"), "{error}");
        assert!(error.to_string().contains("connection refused"), "{error}");
    }

    #[test]
    fn a_lost_record_is_never_retriable() {
        let failure = DeliveryFailure {
            code: Code::MessageTimedOut,
            text: "Local: Message timed out".into(),
            topic: "averages".into(),
            partition: 3,
            tag: 0,
            record: crate::record::OwnedRecord::default(),
        };
        let error = not_delivered(&failure, false);
        assert_eq!(error.kind(), ErrorKind::Fatal);
        assert!(error.to_string().contains("averages-3"), "{error}");
        assert_eq!(not_delivered(&failure, true).kind(), ErrorKind::Fenced);
    }

    #[test]
    fn transactions_are_done_again_unless_that_would_not_help() {
        let kind = |code, is_retriable, requires_abort| {
            let refusal = Refusal {
                is_retriable,
                requires_abort,
                ..Refusal::of(code)
            };
            in_transaction(&refusal, "committing a transaction").kind()
        };
        use Code::*;
        assert_eq!(kind(OperationTimedOut, true, false), ErrorKind::Retriable);
        assert_eq!(kind(OperationTimedOut, true, true), ErrorKind::Fenced);
        for code in [
            IllegalGeneration,
            InvalidProducerEpoch,
            UnknownProducerId,
            PurgeQueue,
            Unknown,
        ] {
            assert_eq!(kind(code, false, true), ErrorKind::Fenced, "{code}");
        }
        assert_eq!(kind(MessageSizeTooLarge, false, true), ErrorKind::Data);
        let code = TransactionalIdAuthorizationFailed;
        assert_eq!(kind(code, false, true), ErrorKind::Fatal);
    }
}
