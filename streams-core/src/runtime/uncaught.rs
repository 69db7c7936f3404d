//! What becomes of an error that ends a thread: the user is asked whether to replace the thread, to stop this instance, or to
//! stop all of them (KIP-671).

use crate::error::{Error, Result};
use crate::runtime::broker::Broker;
use crate::runtime::lifecycle::{Lifecycle, ThreadState};
use crate::runtime::notices::Notices;
use crate::runtime::worker::{Worker, WorkerContext};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a thread that failed pauses before it begins anew, so that one that fails at once does not keep its group busy.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);

/// What to do about an error that ended a thread (Kafka Streams' `StreamThreadExceptionResponse`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamThreadExceptionResponse {
    /// Begin anew: the thread gives up what it had, leaves the group, and a second later joins it again under the same name, from
    /// what was committed last. A record that always fails will fail again.
    ///
    /// The thread of global tables cannot be replaced; its errors stop this instance.
    ReplaceThread,
    /// Stop this instance; [`KafkaStreams::run`](crate::KafkaStreams::run) ends with the error. What is done where nothing else
    /// is said.
    ShutdownClient,
    /// Stop this instance and all others of the application; each ends with an error. They hear of it through the topic
    /// `<application.id>-tasks` within about a second. An instance that is cut off from the brokers does not, nor does one that is
    /// started later.
    ShutdownApplication,
}

/// Decides about errors that end a thread.
pub(crate) type UncaughtExceptionHandler =
    Arc<dyn Fn(&Error) -> StreamThreadExceptionResponse + Send + Sync>;

/// Runs a stream thread, and others in its place as long as the handler wants that.
pub(crate) fn run_stream_thread<B: Broker>(context: &Arc<WorkerContext<B>>, number: usize) {
    let name = context.thread_name(number);
    let lifecycle = &context.lifecycle;
    let removed = lifecycle.removal(number);
    loop {
        let body = || Worker::new(Arc::clone(context), number)?.run();
        let Err(error) = result_of(&name, body) else {
            break;
        };
        if !goes_on(&name, error, &context.notices, true) {
            break;
        }
        lifecycle.set_thread(number, ThreadState::Starting);
        if lifecycle.wait_for_stop(REPLACE_PAUSE) || removed.load(Ordering::Acquire) {
            break;
        }
    }
    lifecycle.set_thread(number, ThreadState::Dead);
}

/// Runs a thread that cannot be replaced.
pub(crate) fn run_once<B: Broker>(
    name: &str,
    notices: &Notices<B>,
    body: impl FnOnce() -> Result<()>,
) {
    if let Err(error) = result_of(name, body) {
        goes_on(name, error, notices, false);
    }
}

/// Asks what to do about an error that ended a thread, and does it; returns whether the thread is to be replaced.
fn goes_on<B: Broker>(
    name: &str,
    error: Error,
    notices: &Notices<B>,
    is_replaceable: bool,
) -> bool {
    let lifecycle = &notices.lifecycle;
    if !lifecycle.is_stopping() {
        match ask(lifecycle, &error) {
            StreamThreadExceptionResponse::ReplaceThread if is_replaceable => {
                tracing::error!(thread = name, %error, "the thread is replaced");
                return true;
            }
            StreamThreadExceptionResponse::ReplaceThread => {
                tracing::warn!(thread = name, "this thread cannot be replaced");
            }
            StreamThreadExceptionResponse::ShutdownClient => {}
            StreamThreadExceptionResponse::ShutdownApplication => notices.ask_all_to_stop(&error),
        }
    }
    tracing::error!(thread = name, %error, "the application stops");
    lifecycle.fail(error);
    false
}

fn ask(lifecycle: &Lifecycle, error: &Error) -> StreamThreadExceptionResponse {
    let asked = catch_unwind(AssertUnwindSafe(|| lifecycle.ask_uncaught_handler(error)));
    asked.unwrap_or_else(|panic| {
        let text = crate::error::panic_text(&*panic);
        tracing::error!("the handler of uncaught errors panicked: {text}");
        StreamThreadExceptionResponse::ShutdownClient
    })
}

/// What the body of a thread ended with; a panic is an error too.
pub(crate) fn result_of(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result.map_err(|error| error.context(format!("thread {name}"))),
        Err(panic) => Err(Error::fatal(format!(
            "thread {name} panicked: {}",
            crate::error::panic_text(&*panic)
        ))),
    }
}
