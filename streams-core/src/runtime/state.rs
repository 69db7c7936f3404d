//! What an application is doing, and which states follow which.

use std::fmt;

/// What a [`KafkaStreams`](crate::KafkaStreams) is doing, in Kafka Streams' words (`KafkaStreams.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not started yet.
    Created,
    /// Starting, waiting for an assignment, or restoring state; tasks that are ready are processed meanwhile.
    Rebalancing,
    /// Every thread has its tasks and every task is processed.
    Running,
    /// Asked to stop: threads finish, commit and close.
    PendingShutdown,
    /// Stopped in order.
    NotRunning,
    /// Failed: the remaining threads are being stopped.
    PendingError,
    /// Stopped after a failure.
    Error,
}

impl State {
    /// Whether the application is starting or working: not yet asked to stop and not failed.
    pub fn is_running_or_rebalancing(self) -> bool {
        matches!(self, State::Rebalancing | State::Running)
    }

    /// Whether nothing more will happen.
    pub fn has_stopped(self) -> bool {
        matches!(self, State::NotRunning | State::Error)
    }

    pub(super) fn may_become(self, next: State) -> bool {
        use State::{
            Created, Error, NotRunning, PendingError, PendingShutdown, Rebalancing, Running,
        };
        matches!(
            (self, next),
            (Created, Rebalancing | PendingShutdown | PendingError)
                | (Rebalancing, Running | PendingShutdown | PendingError)
                | (Running, Rebalancing | PendingShutdown | PendingError)
                | (PendingShutdown, NotRunning | PendingError)
                | (PendingError, Error)
        )
    }
}

impl fmt::Display for State {
    /// As Kafka Streams writes it: `RUNNING`, `PENDING_SHUTDOWN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Created => "CREATED",
            State::Rebalancing => "REBALANCING",
            State::Running => "RUNNING",
            State::PendingShutdown => "PENDING_SHUTDOWN",
            State::NotRunning => "NOT_RUNNING",
            State::PendingError => "PENDING_ERROR",
            State::Error => "ERROR",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_stopped_stays_so() {
        for next in [State::Created, State::Rebalancing, State::Running] {
            assert!(!State::NotRunning.may_become(next));
            assert!(!State::Error.may_become(next));
            assert!(!State::PendingShutdown.may_become(next));
        }
        assert!(State::PendingError.may_become(State::Error));
    }
}
