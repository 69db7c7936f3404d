//! To watch, pause, grow and stop an application that runs elsewhere.

use crate::error::{Error, Result};
use crate::runtime::lifecycle::{Lifecycle, State};
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::state_directory::StateDirectory;
use crate::runtime::stream_threads::ThreadMetadata;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Watches and changes a running application from anywhere; cheap to clone.
///
/// ```no_run
/// use std::time::Duration;
/// use streams_core::{CloseOptions, KafkaStreams};
///
/// # fn operate(streams: KafkaStreams) -> streams_core::Result<()> {
/// let handle = streams.handle();
/// let running = std::thread::spawn(|| streams.run_blocking());
///
/// handle.pause(); // the database behind it is being maintained
/// handle.resume();
/// handle.add_stream_thread()?; // there is more to do than one core can
/// for thread in handle.metadata_for_local_threads() {
///     println!("{} is {} with {:?}", thread.thread_name, thread.thread_state, thread.active_tasks);
/// }
///
/// if !handle.close_with(CloseOptions::timeout(Duration::from_secs(20))) {
///     eprintln!("it takes longer to stop than it should");
/// }
/// # running.join().unwrap()
/// # }
/// ```
#[derive(Clone)]
pub struct KafkaStreamsHandle {
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) settings: Arc<RuntimeSettings>,
}

/// How to stop (Kafka Streams' class of the same name, KIP-812).
#[derive(Clone, Copy, Debug, Default)]
pub struct CloseOptions {
    timeout: Option<Duration>,
    operation: GroupMembershipOperation,
}

/// Whether the members of an instance leave the group when it stops (KIP-1153).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupMembershipOperation {
    /// They leave: others take over at once. Static members, those with a `group.instance.id`, stay all the same, because the
    /// Kafka client has no way to make them leave.
    #[default]
    LeaveGroup,
    /// They stay, and the group keeps their tasks for them until `session.timeout.ms` is over. Kafka Streams' default.
    RemainInGroup,
}

impl CloseOptions {
    /// To stop within `timeout`; 30 seconds if not given, as long as Kubernetes waits.
    pub fn timeout(timeout: Duration) -> Self {
        CloseOptions::default().with_timeout(timeout)
    }

    /// To leave the group or not.
    pub fn group_membership_operation(operation: GroupMembershipOperation) -> Self {
        CloseOptions::default().with_group_membership_operation(operation)
    }

    /// As [`CloseOptions::timeout`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// As [`CloseOptions::group_membership_operation`].
    #[must_use]
    pub fn with_group_membership_operation(mut self, operation: GroupMembershipOperation) -> Self {
        self.operation = operation;
        self
    }
}

impl KafkaStreamsHandle {
    /// Asks the application to stop and returns at once; `run` resolves when it has.
    pub fn close(&self) {
        self.lifecycle.request_stop();
    }

    /// Stops the application and waits for it, at most as long as `options` say; returns whether it was in time. Threads that
    /// take longer are left alone, and `run` ends with an error that names them.
    ///
    /// It blocks: an asynchronous program calls it where that is allowed, or uses [`close`](Self::close) and awaits `run`.
    pub fn close_with(&self, options: CloseOptions) -> bool {
        let timeout = options.timeout.unwrap_or(self.settings.close_timeout);
        let leaves = options.operation == GroupMembershipOperation::LeaveGroup;
        self.lifecycle.set_close(leaves, Some(timeout));
        self.lifecycle.request_stop();
        self.lifecycle.wait_for_end(Some(timeout)) && !self.lifecycle.is_overdue()
    }

    /// What the application is doing.
    pub fn state(&self) -> State {
        self.lifecycle.state()
    }

    /// Stops processing: no record and no punctuation until [`resume`](Self::resume), in this instance (KIP-834). Its threads stay
    /// in the group, keep their tasks and commit what was processed; tasks that are assigned meanwhile are not restored yet.
    /// Global tables are kept up. Before the start it has the application begin paused.
    pub fn pause(&self) {
        self.lifecycle.set_paused(true);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.lifecycle.set_paused(false);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.lifecycle.is_paused()
    }

    /// Starts another stream thread, which gets its share of the tasks, and returns its name; `None` when the application is not
    /// running yet or any more (KIP-663).
    ///
    /// Record caches and uncommitted writes are shared out anew; the Kafka clients of a thread that was added come on top of
    /// `memory.max.bytes`.
    ///
    /// # Errors
    /// When the operating system has no more threads.
    pub fn add_stream_thread(&self) -> Result<Option<String>> {
        self.lifecycle.add_thread()
    }

    /// Ends one stream thread and waits until it has committed and closed its tasks, which go to the others; returns its name.
    /// `None` when the application is not running or has no thread left (KIP-663).
    ///
    /// Without any thread the application stays what it is, until one is added. A static member's tasks go to others only after
    /// `session.timeout.ms`.
    pub fn remove_stream_thread(&self) -> Option<String> {
        let (number, name) = self.lifecycle.remove_thread()?;
        self.lifecycle.wait_for_thread(number, None);
        Some(name)
    }

    /// As [`remove_stream_thread`](Self::remove_stream_thread), waiting for `timeout` at most.
    ///
    /// # Errors
    /// When the thread has not ended by then; it goes on to end.
    pub fn remove_stream_thread_within(&self, timeout: Duration) -> Result<Option<String>> {
        let Some((number, name)) = self.lifecycle.remove_thread() else {
            return Ok(None);
        };
        if self.lifecycle.wait_for_thread(number, Some(timeout)) {
            return Ok(Some(name));
        }
        Err(Error::retriable(format!(
            "thread {name} did not stop within {} ms; it stops when its turn is over",
            timeout.as_millis()
        )))
    }

    /// The stream threads of this instance: their names, what each is doing, their tasks and clients. Empty before the start.
    pub fn metadata_for_local_threads(&self) -> Vec<ThreadMetadata> {
        let Some(factory) = self.lifecycle.factory() else {
            return Vec::new();
        };
        let threads = self.lifecycle.threads().into_iter();
        threads
            .map(|(number, thread_state, active_tasks)| {
                let thread_name = factory.name(number);
                ThreadMetadata {
                    consumer_client_id: format!("{thread_name}-consumer"),
                    producer_client_id: format!("{thread_name}-producer"),
                    thread_name,
                    thread_state,
                    active_tasks,
                }
            })
            .collect()
    }

    /// How many records operators and deserialization handlers have dropped since the start, over all tasks this instance has
    /// had: records that came too late for their window, null keys, what cannot be read. The log names the tasks.
    pub fn dropped_records(&self) -> u64 {
        self.lifecycle.dropped_records()
    }

    /// Deletes the local state of the application, `<state.dir>/<application.id>`; the next start restores it from the
    /// changelogs.
    ///
    /// # Errors
    /// While the application runs, when another process uses the directory, or when it cannot be deleted.
    pub fn clean_up(&self) -> Result<()> {
        let state = self.state();
        if state != State::Created && !state.has_stopped() {
            return Err(Error::config(format!(
                "local state cannot be deleted while the application is {state}: do it before the start, or when it has stopped"
            )));
        }
        StateDirectory::clean_up(&self.settings.state_dir, &self.settings.application_id)
    }
}

impl fmt::Debug for KafkaStreamsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStreamsHandle")
            .field("application_id", &self.settings.application_id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
