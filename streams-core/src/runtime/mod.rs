//! Threads that own tasks: they poll, process, commit, rebalance and restore. In reading order:
//!
//! * `app`, `application`: [`KafkaStreams`], and one application from start to stop.
//! * `partition_plan`, `internal_topics`, `assignment`: how many tasks there are, the topics they need, who runs which.
//! * `worker`, `processing`, `commit`, `rebalance`, `open_task`, `thread_end`: a stream thread.
//! * `thread_producer`, `exactly_once`: its transactions. `failed_sends`, `send_tags`: what could not be written.
//! * `restore`, `restore_pool`, `global`: state that comes out of topics, beside the stream threads.
//! * `members`, `standby`, `local_tasks`: copies of the state of tasks that run on other instances.
//! * `lifecycle`, `stream_threads`, `uncaught`, `notices`: what the application is doing, and who decides what becomes of it.
//! * `broker`: all of the above ask of a log. Only `app` names the Kafka client.

#![cfg_attr(
    not(feature = "kafka"),
    allow(dead_code, reason = "without a client nothing starts an application")
)]

pub mod broker;
mod log_producer;

#[cfg(feature = "kafka")]
mod app;
mod application;
#[cfg(feature = "kafka")]
mod handle;
mod jobs;
mod settings;

mod assignment;
mod internal_topic_check;
mod internal_topics;
pub(crate) mod partition_plan;
mod topic_metadata;

mod commit;
mod dropped_records;
mod exactly_once;
mod failed_sends;
mod open_task;
mod planted;
mod processing;
mod rebalance;
mod running_task;
mod send_tags;
mod thread_end;
mod thread_producer;
mod worker;

mod global;
mod restore;
mod restore_listener;
mod restore_open;
mod restore_pool;
mod restore_request;
pub(crate) mod restoring_store;
pub(crate) mod state_directory;

mod local_tasks;
mod member_record;
mod members;
mod standby;
mod task_layout;

mod clock;
mod closing;
mod lifecycle;
mod memory_split;
mod notices;
mod shutdown;
mod state;
mod stream_threads;
mod uncaught;

#[cfg(feature = "simulation")]
pub(crate) mod simulated;

#[cfg(test)]
mod memory_broker;
#[cfg(test)]
mod memory_clients;
#[cfg(test)]
mod memory_producer;
#[cfg(test)]
mod memory_transactions;
#[cfg(test)]
mod test_topology;
#[cfg(test)]
mod tests;

#[cfg(feature = "kafka")]
pub use app::KafkaStreams;
#[cfg(feature = "kafka")]
pub use handle::{CloseOptions, GroupMembershipOperation, KafkaStreamsHandle};
pub use lifecycle::State;
pub use restore_listener::{RestoreListener, RestoreProgress};
pub use standby::listener::{StandbyUpdateListener, SuspendReason};
pub use stream_threads::{ThreadMetadata, ThreadState};
pub use uncaught::StreamThreadExceptionResponse;
