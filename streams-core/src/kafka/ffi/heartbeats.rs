//! Makes up for an answer to a group member's heartbeat that was lost.
//!
//! In the protocol of KIP-848 the coordinator tells a member of new partitions, and of partitions to give back, once: in the
//! answer to a heartbeat. When that answer is lost, as when the broker stands still for longer than a heartbeat may take, the
//! member must say all about itself in its next heartbeat to be told again. Kafka's own consumer does so after every failure
//! (`ConsumerHeartbeatRequestManager`). librdkafka does after a broken connection, but not after a time-out: the partitions
//! would have no reader until the member is thrown out for not giving them back, or for ever if they are new to it. It breaks
//! the connection itself then, but the heartbeat has come to its end by that time.
//!
//! So the connection of the next heartbeat is broken while that is under way. It is the coordinator's own; records come by
//! others.

use rdkafka::bindings as sys;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, TcpStream};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};

/// `ConsumerGroupHeartbeat`, the heartbeat of that protocol.
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

/// How the heartbeats of one client do.
#[derive(Debug)]
pub(in crate::kafka) struct Heartbeats(AtomicU8);

/// Every time something happens to a heartbeat librdkafka may say so twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// None was answered yet. One that joins says all.
    Joining,
    /// The last one was answered.
    Well,
    /// The last one was not answered, and the next one is not going to say all.
    Lost,
    /// The connection of the one under way was broken.
    Broken,
    /// librdkafka knows that the next one must say all, until one is answered.
    SaysAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    TimedOut,
    /// The connection broke.
    Disconnected,
}

impl State {
    const ALL: [State; 5] = [
        State::Joining,
        State::Well,
        State::Lost,
        State::Broken,
        State::SaysAll,
    ];

    fn after(self, end: End) -> State {
        match (self, end) {
            (State::Joining | State::Well | State::SaysAll, End::Answered) => State::Well,
            // Sooner than the connection was broken.
            (State::Broken | State::Lost, End::Answered) => State::Lost,
            (State::Joining, End::TimedOut | End::Disconnected) => State::Joining,
            (State::SaysAll, End::TimedOut) | (_, End::Disconnected) => State::SaysAll,
            (State::Well | State::Lost | State::Broken, End::TimedOut) => State::Lost,
        }
    }
}

impl Default for Heartbeats {
    fn default() -> Self {
        Heartbeats(AtomicU8::new(State::Joining as u8))
    }
}

impl Heartbeats {
    /// The next heartbeat is one to join the group. A static member that joins twice, since the first answer did not reach it,
    /// would be refused for ever.
    pub(in crate::kafka) fn start_joining(&self) {
        self.0.store(State::Joining as u8, Ordering::Relaxed);
    }

    fn note(&self, end: End) {
        let next = |state: u8| Some(State::ALL[usize::from(state)].after(end) as u8);
        let noted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        debug_assert!(noted.is_ok(), "there is always a next state");
    }

    /// Whether the connection of a heartbeat that has just been sent is to be broken.
    fn is_to_be_broken(&self) -> bool {
        let (lost, broken) = (State::Lost as u8, State::Broken as u8);
        self.0
            .compare_exchange(lost, broken, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Looks at a request that has just been sent; called in the thread of the connection, which is open.
    ///
    /// # Safety
    /// `rk` is a live client, and `socket` its connection.
    pub(super) unsafe fn on_request(&self, rk: *mut sys::rd_kafka_t, socket: c_int, api_key: i16) {
        if api_key != CONSUMER_GROUP_HEARTBEAT || !self.is_to_be_broken() {
            return;
        }
        // At once, before there is an answer. Where it fails the connection is broken already.
        // SAFETY: librdkafka's socket, open until this thread closes it. It is not closed here.
        let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(socket) });
        let _ = socket.shutdown(Shutdown::Both);
        // A subscriber that panics must not unwind into C.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the client is live and so is its name.
            let client = super::string(unsafe { sys::rd_kafka_name(rk) });
            tracing::info!(
                client,
                "a heartbeat was not answered in time; the group is asked for all partitions again"
            );
        }));
    }

    /// Looks at a response, or a request that comes to none.
    pub(super) fn on_response(&self, api_key: i16, error: sys::rd_kafka_resp_err_t) {
        use sys::rd_kafka_resp_err_t as codes;
        let end = match error {
            codes::RD_KAFKA_RESP_ERR_NO_ERROR => Some(End::Answered),
            codes::RD_KAFKA_RESP_ERR__TIMED_OUT => Some(End::TimedOut),
            codes::RD_KAFKA_RESP_ERR__TRANSPORT => Some(End::Disconnected),
            // One that was never sent is answered by nobody.
            _ => None,
        };
        if let Some(end) = end.filter(|_| api_key == CONSUMER_GROUP_HEARTBEAT) {
            self.note(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_heartbeat_counts_until_one_that_says_all_is_answered() {
        let heartbeats = Heartbeats::default();
        let twice = |end| {
            heartbeats.note(end);
            heartbeats.note(end);
        };
        let sent = |is_broken| assert_eq!(heartbeats.is_to_be_broken(), is_broken);
        sent(false);
        twice(End::TimedOut);
        sent(false);
        twice(End::Answered);
        sent(false);
        twice(End::TimedOut);
        sent(true);
        // Its answer was quicker.
        twice(End::Answered);
        sent(true);
        twice(End::Disconnected);
        sent(false);
        twice(End::TimedOut);
        sent(false);
        twice(End::Answered);
        sent(false);
        twice(End::TimedOut);
        heartbeats.start_joining();
        sent(false);
    }
}
