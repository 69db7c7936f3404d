//! Queues: where messages and events wait, and how to wait for them.

use super::client::{Client, Refusal};
use super::list::ListedPartition;
use super::message::Message;
use super::{millis, string};
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wakes whoever waits for several queues at once: librdkafka's own waiting is per queue, and its batch call waits until
/// the whole batch is there.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Wake {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// Forgets earlier calls; look at the queues after this, so that nothing that comes meanwhile is missed.
    pub(in crate::kafka) fn clear(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Waits until a queue that was empty is not, or until `deadline`; false when that passed.
    pub(in crate::kafka) fn wait_until(&self, deadline: Instant) -> bool {
        let mut is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_set {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            is_set = self
                .changed
                .wait_timeout(is_set, rest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    unsafe extern "C" fn on_event(_rk: *mut sys::rd_kafka_t, opaque: *mut c_void) {
        // SAFETY: the queue that registered this holds the `Wake` and takes the registration back before it lets go.
        unsafe { &*opaque.cast::<Wake>() }.set();
    }
}

/// A queue of a client.
pub(in crate::kafka) struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    wake: Option<Arc<Wake>>,
    client: Arc<Client>,
}

// SAFETY: queues are locked inside librdkafka.
unsafe impl Send for Queue {}

impl Queue {
    fn from_raw(queue: *mut sys::rd_kafka_queue_t, client: &Arc<Client>) -> Result<Queue, Refusal> {
        NonNull::new(queue)
            .map(|queue| Queue {
                queue,
                wake: None,
                client: client.clone(),
            })
            .ok_or_else(|| Refusal::of(RDKafkaErrorCode::UnknownPartition))
    }

    /// An empty queue.
    pub(in crate::kafka) fn new(client: &Arc<Client>) -> Result<Queue, Refusal> {
        // SAFETY: the client is live.
        Self::from_raw(unsafe { sys::rd_kafka_queue_new(client.ptr()) }, client)
    }

    /// The queue of a group member's rebalances and errors; the client's other events are led there too.
    pub(in crate::kafka) fn of_group(client: &Arc<Client>) -> Result<Queue, Refusal> {
        // SAFETY: the client is live; the first call forwards its main queue to the group's.
        unsafe {
            Refusal::check_code(sys::rd_kafka_poll_set_consumer(client.ptr()))?;
            Self::from_raw(sys::rd_kafka_queue_get_consumer(client.ptr()), client)
        }
    }

    /// The queue of a client's errors.
    pub(in crate::kafka) fn of_client(client: &Arc<Client>) -> Result<Queue, Refusal> {
        // SAFETY: the client is live.
        Self::from_raw(
            unsafe { sys::rd_kafka_queue_get_main(client.ptr()) },
            client,
        )
    }

    /// Sends what is fetched for a partition here from now on, with what already waits in the partition's own queue.
    pub(in crate::kafka) fn take_partition(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(), Refusal> {
        let topic = CString::new(topic).map_err(|_| Refusal::of(RDKafkaErrorCode::InvalidTopic))?;
        // SAFETY: client and name are live; the reference to the partition's queue is given back when `source` drops.
        let source = Self::from_raw(
            unsafe {
                sys::rd_kafka_queue_get_partition(self.client.ptr(), topic.as_ptr(), partition)
            },
            &self.client,
        )?;
        // SAFETY: both queues are live and of the same client; librdkafka counts its own reference to the target.
        unsafe { sys::rd_kafka_queue_forward(source.ptr(), self.ptr()) }
        Ok(())
    }

    /// Sets `wake` whenever something comes into this queue while it is empty.
    pub(in crate::kafka) fn wake(&mut self, wake: &Arc<Wake>) {
        // SAFETY: the queue keeps `wake` alive and takes this registration back before it lets go of it.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(
                self.ptr(),
                Some(Wake::on_event),
                Arc::as_ptr(wake) as *mut c_void,
            );
        }
        self.wake = Some(wake.clone());
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Takes the messages that wait here, at most `count_max`, and shows them to `each` in order.
    pub(in crate::kafka) fn consume(
        &self,
        batch: &mut MessageBatch,
        count_max: usize,
        mut each: impl FnMut(Message),
    ) -> usize {
        let count_max = count_max.min(MESSAGE_BATCH_COUNT_MAX);
        // SAFETY: the array has room for `count_max` pointers; librdkafka fills in as many as it returns.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.ptr(), 0, batch.0.as_mut_ptr(), count_max)
        };
        let count = usize::try_from(count).unwrap_or(0).min(count_max);
        for message in batch.0[..count].iter_mut() {
            let message = std::mem::replace(message, std::ptr::null_mut());
            if let Some(message) = NonNull::new(message) {
                // SAFETY: the call above handed the message over, and the array no longer holds it.
                each(unsafe { Message::from_raw(message, &self.client) });
            }
        }
        count
    }

    /// Waits for an event.
    pub(in crate::kafka) fn poll(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue is live; an event that is returned is ours.
        let event = unsafe { sys::rd_kafka_queue_poll(self.ptr(), millis(timeout)) };
        NonNull::new(event).map(|event| Event {
            event,
            _client: self.client.clone(),
        })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the registration is taken back before `wake` goes; librdkafka holds the queue's lock both here and
        // while it calls, so no call is under way afterwards. The reference to the queue is ours and given back once.
        unsafe {
            if self.wake.is_some() {
                sys::rd_kafka_queue_cb_event_enable(self.ptr(), None, std::ptr::null_mut());
            }
            sys::rd_kafka_queue_destroy(self.ptr());
        }
    }
}

/// How many messages one call takes.
pub(in crate::kafka) const MESSAGE_BATCH_COUNT_MAX: usize = 1024;

/// Where [`Queue::consume`] puts its pointers, kept from call to call.
pub(in crate::kafka) struct MessageBatch(Box<[*mut sys::rd_kafka_message_t]>);

// SAFETY: between calls the array holds no pointers but null.
unsafe impl Send for MessageBatch {}

impl Default for MessageBatch {
    fn default() -> Self {
        MessageBatch(vec![std::ptr::null_mut(); MESSAGE_BATCH_COUNT_MAX].into())
    }
}

/// Something the client has to tell.
pub(in crate::kafka) struct Event {
    event: NonNull<sys::rd_kafka_event_t>,
    _client: Arc<Client>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum EventKind {
    /// Partitions were assigned.
    Assign,
    /// Partitions are to be given back.
    Revoke,
    /// Something went wrong.
    Error,
    /// The answer to a commit.
    Committed,
    /// Nothing that is asked for here: a message of a partition that is no input.
    Other,
}

impl Event {
    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_event_t {
        self.event.as_ptr()
    }

    /// What it is about.
    pub(in crate::kafka) fn kind(&self) -> EventKind {
        // SAFETY: the event is live.
        match unsafe { sys::rd_kafka_event_type(self.ptr()) } {
            sys::RD_KAFKA_EVENT_REBALANCE => {
                if self.error_code() == RDKafkaErrorCode::AssignPartitions {
                    EventKind::Assign
                } else {
                    EventKind::Revoke
                }
            }
            sys::RD_KAFKA_EVENT_ERROR => EventKind::Error,
            sys::RD_KAFKA_EVENT_OFFSET_COMMIT => EventKind::Committed,
            _ => EventKind::Other,
        }
    }

    /// Its error code.
    pub(in crate::kafka) fn error_code(&self) -> RDKafkaErrorCode {
        // SAFETY: the event is live.
        unsafe { sys::rd_kafka_event_error(self.ptr()) }.into()
    }

    /// Its words.
    pub(in crate::kafka) fn error_text(&self) -> String {
        // SAFETY: the event is live and so is its text.
        string(unsafe { sys::rd_kafka_event_error_string(self.ptr()) })
    }

    /// The partition an error event is about, with its offset.
    pub(in crate::kafka) fn partition(&self) -> Option<ListedPartition> {
        // SAFETY: the event is live; the entry is a copy that is ours, read and destroyed here.
        unsafe {
            let element = sys::rd_kafka_event_topic_partition(self.ptr());
            if element.is_null() {
                return None;
            }
            let partition = ListedPartition::copy(&*element);
            sys::rd_kafka_topic_partition_destroy(element);
            Some(partition)
        }
    }

    /// The partitions of a rebalance or a commit.
    pub(in crate::kafka) fn partitions(&self) -> Vec<ListedPartition> {
        // SAFETY: the event is live and owns the list, which is copied.
        unsafe { ListedPartition::copy_all(sys::rd_kafka_event_topic_partition_list(self.ptr())) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once; its client is alive.
        unsafe { sys::rd_kafka_event_destroy(self.ptr()) }
    }
}
