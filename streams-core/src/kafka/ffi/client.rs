//! One librdkafka client and the handles of its topics.

use super::requests::{self, Requests};
use super::signals::Signals;
use super::stamps::{self, Stamps};
use super::{millis, string};
use rdkafka::bindings as sys;
use rdkafka::config::NativeClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What librdkafka said when it refused a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Refusal {
    /// The error code.
    pub(in crate::kafka) code: RDKafkaErrorCode,
    /// Its words.
    pub(in crate::kafka) text: String,
    /// The client cannot be used any more.
    pub(in crate::kafka) is_fatal: bool,
    /// The same call may succeed later.
    pub(in crate::kafka) is_retriable: bool,
    /// The transaction must be aborted.
    pub(in crate::kafka) requires_abort: bool,
}

impl Refusal {
    /// A bare code with librdkafka's description of it.
    pub(in crate::kafka) fn of(code: RDKafkaErrorCode) -> Refusal {
        Refusal {
            code,
            text: code.to_string(),
            is_fatal: code == RDKafkaErrorCode::Fatal,
            is_retriable: false,
            requires_abort: false,
        }
    }

    pub(super) fn check_code(code: sys::rd_kafka_resp_err_t) -> Result<(), Refusal> {
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => Ok(()),
            code => Err(Refusal::of(code)),
        }
    }

    /// Takes over an error object, null being success.
    pub(super) fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Refusal> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is a live error object that the call handed over to us; it is read here and destroyed once.
        unsafe {
            let refusal = Refusal {
                code: sys::rd_kafka_error_code(error).into(),
                text: string(sys::rd_kafka_error_string(error)),
                is_fatal: sys::rd_kafka_error_is_fatal(error) != 0,
                is_retriable: sys::rd_kafka_error_is_retriable(error) != 0,
                requires_abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
            };
            sys::rd_kafka_error_destroy(error);
            Err(refusal)
        }
    }
}

/// What an interceptor looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Nothing,
    /// The records that a producer queues.
    Records,
    /// What a consumer asks, and what that comes to.
    Requests,
}

/// A librdkafka client, destroyed when the last record, queue and topic of it are gone.
pub(in crate::kafka) struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    /// The callbacks' target: librdkafka holds its address as long as the client lives.
    signals: Arc<Signals>,
    /// Whether brokers have told it about a topic.
    answered: AtomicBool,
}

// SAFETY: librdkafka's client object is thread-safe (its INTRODUCTION.md, "Threads and callbacks"), and the parts on
// our side are.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// A consumer, whose errors, and rebalances when it is a member of a group, are events on its queue.
    pub(in crate::kafka) fn consumer(config: NativeClientConfig) -> KafkaResult<Arc<Client>> {
        // SAFETY: the configuration is live; this only sets a mask in it.
        unsafe {
            sys::rd_kafka_conf_set_events(
                config.ptr(),
                sys::RD_KAFKA_EVENT_REBALANCE | sys::RD_KAFKA_EVENT_ERROR,
            );
        }
        Self::create(config, RDKafkaType::RD_KAFKA_CONSUMER, Watched::Requests)
    }

    /// A client for asking and administering only: it has no queue that must be looked at, errors are logged.
    pub(in crate::kafka) fn administrator(config: NativeClientConfig) -> KafkaResult<Arc<Client>> {
        Self::create(config, RDKafkaType::RD_KAFKA_CONSUMER, Watched::Nothing)
    }

    /// A producer that reports deliveries to its [`Signals`] while it is polled or flushed.
    pub(in crate::kafka) fn producer(config: NativeClientConfig) -> KafkaResult<Arc<Client>> {
        // SAFETY: the configuration is live; this only sets pointers to functions in it.
        unsafe {
            sys::rd_kafka_conf_set_dr_msg_cb(config.ptr(), Some(Signals::on_delivery));
            sys::rd_kafka_conf_set_error_cb(config.ptr(), Some(Signals::on_error));
        }
        Self::create(config, RDKafkaType::RD_KAFKA_PRODUCER, Watched::Records)
    }

    fn create(
        config: NativeClientConfig,
        kind: RDKafkaType,
        watched: Watched,
    ) -> KafkaResult<Arc<Client>> {
        let signals = Arc::new(Signals::default());
        let mut text = [0 as c_char; 512];
        // SAFETY: the opaque pointer is that of `signals`, which the client owns and drops only after librdkafka's client
        // is destroyed, so callbacks never see it dangling. The configuration is duplicated because a successful
        // rd_kafka_new takes it over while `config` still destroys its own; on failure the duplicate stays ours and is
        // destroyed here where that is safe. `text` outlives the call.
        let rk = unsafe {
            sys::rd_kafka_conf_set_opaque(config.ptr(), Arc::as_ptr(&signals) as *mut c_void);
            sys::rd_kafka_conf_set_log_cb(config.ptr(), Some(Signals::on_log));
            let copy = sys::rd_kafka_conf_dup(config.ptr());
            // Interceptors are not duplicated.
            match watched {
                Watched::Records => {
                    add_interceptor(copy, stamps::NAME, Stamps::on_new, signals.stamps());
                }
                Watched::Requests => {
                    add_interceptor(copy, requests::NAME, Requests::on_new, signals.requests());
                }
                Watched::Nothing => {}
            }
            let rk = sys::rd_kafka_new(kind, copy, text.as_mut_ptr(), text.len());
            // A client that fails after its interceptors were called has freed what it shares with the configuration, which
            // must not be freed again. Whether it came so far it does not say, so a configuration with interceptors is left.
            if rk.is_null() && watched == Watched::Nothing {
                sys::rd_kafka_conf_destroy(copy);
            }
            rk
        };
        NonNull::new(rk)
            .map(|rk| {
                Arc::new(Client {
                    rk,
                    signals,
                    answered: AtomicBool::new(false),
                })
            })
            .ok_or_else(|| KafkaError::ClientCreation(string(text.as_ptr())))
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// What the client told besides its records.
    pub(in crate::kafka) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Passes on something that went wrong and may pass.
    pub(in crate::kafka) fn complain(&self, text: &str) {
        // SAFETY: the client is live and so is its name.
        let name = string(unsafe { sys::rd_kafka_name(self.ptr()) });
        self.signals.complain(&name, text);
    }

    /// The error that made the client unusable, if one did.
    pub(in crate::kafka) fn fatal_error(&self) -> Option<Refusal> {
        let mut text = [0 as c_char; 512];
        // SAFETY: the client is live and `text` outlives the call.
        let code = unsafe { sys::rd_kafka_fatal_error(self.ptr(), text.as_mut_ptr(), text.len()) };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => None,
            code => Some(Refusal {
                code,
                text: string(text.as_ptr()),
                is_fatal: true,
                is_retriable: false,
                requires_abort: false,
            }),
        }
    }

    /// Whether brokers have answered [`partition_count`](Self::partition_count) before.
    pub(in crate::kafka) fn has_been_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Asks the brokers how many partitions a topic has; `None` when there is no such topic.
    pub(in crate::kafka) fn partition_count(
        self: &Arc<Self>,
        topic: &str,
        timeout: Duration,
    ) -> Result<Option<i32>, Refusal> {
        let handle = Topic::new(self, topic)?;
        let mut metadata: *const sys::rd_kafka_metadata = std::ptr::null();
        // SAFETY: client and topic handle are live; on success `metadata` points to an object that is ours to destroy,
        // with `topic_cnt` topics in it.
        unsafe {
            Refusal::check_code(sys::rd_kafka_metadata(
                self.ptr(),
                0,
                handle.ptr(),
                &raw mut metadata,
                millis(timeout),
            ))?;
            self.answered.store(true, Ordering::Relaxed);
            let found = if (*metadata).topic_cnt > 0 {
                let topic = &*(*metadata).topics;
                Ok((RDKafkaErrorCode::from(topic.err), topic.partition_cnt))
            } else {
                Err(Refusal::of(RDKafkaErrorCode::UnknownTopicOrPartition))
            };
            sys::rd_kafka_metadata_destroy(metadata);
            match found? {
                (RDKafkaErrorCode::NoError, count) => Ok(Some(count)),
                (RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic, _) => {
                    Ok(None)
                }
                (code, _) => Err(Refusal::of(code)),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: this is the last owner, so no record, queue or topic of the client is left. A consumer that wanted to
        // leave its group has done so before, within a bound; without the flag librdkafka would wait here without one.
        unsafe {
            sys::rd_kafka_destroy_flags(
                self.ptr(),
                sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int,
            );
        }
    }
}

/// librdkafka's callback for a client that is being made.
type OnNew = unsafe extern "C" fn(
    *mut sys::rd_kafka_t,
    *const sys::rd_kafka_conf_t,
    *mut c_void,
    *mut c_char,
    usize,
) -> sys::rd_kafka_resp_err_t;

/// Has `on_new` called with a pointer to `target`.
///
/// # Safety
/// The configuration is live, `on_new` takes such a pointer, and `target` outlives the client that is made.
unsafe fn add_interceptor<T>(
    config: *mut sys::rd_kafka_conf_t,
    name: &CStr,
    on_new: OnNew,
    target: &T,
) {
    let target = std::ptr::from_ref(target).cast_mut().cast();
    // SAFETY: as the caller says; the name is copied.
    unsafe {
        sys::rd_kafka_conf_interceptor_add_on_new(config, name.as_ptr(), Some(on_new), target);
    }
}

/// A topic as librdkafka knows it; two handles of the same topic and client have the same [`TopicKey`].
pub(in crate::kafka) struct Topic {
    rkt: NonNull<sys::rd_kafka_topic_t>,
    client: Arc<Client>,
}

// SAFETY: a topic handle is a counted reference to a thread-safe object of a thread-safe client.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

/// Identifies a topic of one client as long as a [`Topic`] of it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kafka) struct TopicKey(pub(super) usize);

impl Topic {
    /// A handle of that topic.
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &str) -> Result<Topic, Refusal> {
        Self::with_config(client, name, std::ptr::null_mut())
    }

    /// A handle of that topic which carries a pointer, for callbacks; the client must not have one of that topic yet.
    pub(super) fn with_opaque(
        client: &Arc<Client>,
        name: &str,
        opaque: *mut c_void,
    ) -> Result<Topic, Refusal> {
        // SAFETY: the client is live; the configuration is a copy of its own that the topic takes over.
        let config = unsafe {
            let config = sys::rd_kafka_default_topic_conf_dup(client.ptr());
            sys::rd_kafka_topic_conf_set_opaque(config, opaque);
            config
        };
        let topic = Self::with_config(client, name, config)?;
        // SAFETY: the topic is live.
        if unsafe { sys::rd_kafka_topic_opaque(topic.ptr()) } != opaque {
            // One that exists keeps its configuration.
            return Err(Refusal::of(RDKafkaErrorCode::Conflict));
        }
        Ok(topic)
    }

    fn with_config(
        client: &Arc<Client>,
        name: &str,
        config: *mut sys::rd_kafka_topic_conf_t,
    ) -> Result<Topic, Refusal> {
        let name_c = CString::new(name).map_err(|_| Refusal::of(RDKafkaErrorCode::InvalidTopic));
        let name_c = match name_c {
            Ok(name) => name,
            Err(refusal) => {
                if !config.is_null() {
                    // SAFETY: nobody has taken it over.
                    unsafe { sys::rd_kafka_topic_conf_destroy(config) }
                }
                return Err(refusal);
            }
        };
        // SAFETY: client and name are live; librdkafka copies the name and takes the configuration over, also when it fails.
        let rkt = unsafe { sys::rd_kafka_topic_new(client.ptr(), name_c.as_ptr(), config) };
        match NonNull::new(rkt) {
            Some(rkt) => Ok(Topic {
                rkt,
                client: client.clone(),
            }),
            None => {
                // SAFETY: reads the thread's last error code, as documented for rd_kafka_topic_new.
                let code = unsafe { sys::rd_kafka_last_error() };
                Err(Refusal::of(code.into()))
            }
        }
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_topic_t {
        self.rkt.as_ptr()
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// What messages of this topic carry.
    pub(in crate::kafka) fn key(&self) -> TopicKey {
        TopicKey(self.ptr() as usize)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and is given back once; the client is still alive in `client`.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr()) }
    }
}
