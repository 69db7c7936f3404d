//! Stopping: signals, threads that end within a bound, panics that do not go unnoticed.

use crate::error::{Error, Result};
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::uncaught::result_of;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const JOIN_POLL: Duration = Duration::from_millis(5);

/// The threads of an application, joined at its end. Clones are the same threads.
#[derive(Clone, Default)]
pub(crate) struct Threads(Arc<Mutex<Vec<Named>>>);

/// A thread and its name.
type Named = (String, JoinHandle<()>);

impl Threads {
    /// Starts a thread.
    pub(crate) fn spawn(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let handle = thread::Builder::new()
            .name(name.clone())
            .spawn(body)
            .map_err(|error| {
                Error::fatal(format!("thread {name} could not be started: {error}"))
            })?;
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|(_, handle)| !handle.is_finished());
        threads.push((name, handle));
        Ok(())
    }

    /// Waits until all have ended; after `timeout` the names of those that have not are the error, and they are left alone.
    pub(crate) fn join(self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            running.retain(|(_, handle)| !handle.is_finished());
            if running.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let names: Vec<String> = running.drain(..).map(|(name, _)| name).collect();
                return Err(Error::fatal(format!(
                    "the threads {names:?} did not stop within {} s; end the process, what they had not committed is processed again at the next start",
                    timeout.as_secs()
                )));
            }
            drop(running);
            thread::sleep(JOIN_POLL);
        }
    }
}

/// Runs the body of a thread; an error or a panic stops the application with an error that names the thread.
pub(crate) fn catch(name: &str, lifecycle: &Lifecycle, body: impl FnOnce() -> Result<()>) {
    let Err(error) = result_of(name, body) else {
        return;
    };
    tracing::error!(thread = name, %error, "the application stops");
    lifecycle.fail(error);
}

/// Asks the application to stop at SIGTERM or SIGINT, until it is dropped. A second signal ends the process at once, with
/// the code a shell gives a process that the signal killed: 143 for SIGTERM, 130 for SIGINT.
pub(crate) struct SignalWatch {
    _cancel: oneshot::Sender<()>,
}

impl SignalWatch {
    /// Listens on a thread of its own, so that the application runs under any executor.
    pub(crate) fn start(lifecycle: Arc<Lifecycle>) -> Result<Self> {
        let (cancel, cancelled) = oneshot::channel::<()>();
        let failed = |error| Error::fatal(format!("signals cannot be waited for: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed)?;
        let signals = [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
        ];
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    watched = watch(&lifecycle, signals, |code| std::process::exit(code)) => if let Err(error) = watched {
                        tracing::warn!(%error, "signals cannot be waited for; stop through the handle");
                    },
                    _ = cancelled => {}
                }
            });
        };
        thread::Builder::new()
            .name("streams-signals".to_owned())
            .spawn(body)
            .map_err(failed)?;
        Ok(SignalWatch { _cancel: cancel })
    }
}

/// Waits for a first signal, asks to stop, waits for a second one and calls `exit` with the code for it.
async fn watch(
    lifecycle: &Lifecycle,
    [first, second]: [(&'static str, SignalKind); 2],
    exit: impl Fn(i32),
) -> std::io::Result<()> {
    // Both are kept for both waits: a signal that comes between them is not lost.
    let mut of_first = signal(first.1)?;
    let mut of_second = signal(second.1)?;
    let mut next = async || {
        tokio::select! {
            _ = of_first.recv() => first,
            _ = of_second.recv() => second,
        }
    };
    let (name, _) = next().await;
    tracing::info!(
        signal = name,
        "stopping; a second signal ends the process at once"
    );
    lifecycle.request_stop();
    let (name, kind) = next().await;
    tracing::warn!(
        signal = name,
        "ending at once; what was not committed is processed again at the next start"
    );
    exit(128 + kind.as_raw_value());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::lifecycle::State;
    use std::sync::mpsc::channel;

    #[test]
    fn a_panic_stops_the_application_and_names_the_thread() {
        let lifecycle = Lifecycle::new(1);
        lifecycle.set(State::Rebalancing);
        catch("app-StreamThread-1", &lifecycle, || {
            panic!("division by zero")
        });
        assert_eq!(lifecycle.state(), State::PendingError);
        let error = lifecycle.take_failure().unwrap().to_string();
        assert_eq!(
            error,
            "thread app-StreamThread-1 panicked: division by zero"
        );
    }

    #[test]
    fn a_second_signal_ends_the_process_with_its_code() {
        use rustix::process::{Signal, getpid, kill_process};
        use std::sync::atomic::{AtomicI32, Ordering};

        let lifecycle = Lifecycle::new(1);
        let code = AtomicI32::new(0);
        let signals = [
            ("SIGUSR1", SignalKind::user_defined1()),
            ("SIGUSR2", SignalKind::user_defined2()),
        ];
        let watched = async {
            // Polled first, so that the signals are caught when they are sent.
            tokio::join!(
                biased;
                watch(&lifecycle, signals, |c| code.store(c, Ordering::Relaxed)),
                async {
                    kill_process(getpid(), Signal::USR1).unwrap();
                    while !lifecycle.is_stopping() {
                        tokio::task::yield_now().await;
                    }
                    kill_process(getpid(), Signal::USR2).unwrap();
                }
            )
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(watched).0.unwrap();
        let expected = 128 + SignalKind::user_defined2().as_raw_value();
        assert_eq!(code.into_inner(), expected);
    }

    #[test]
    fn threads_that_do_not_end_are_named() {
        let (release, released) = channel::<()>();
        let threads = Threads::default();
        threads.spawn("quick".to_owned(), || {}).unwrap();
        threads
            .spawn("stuck".to_owned(), move || {
                released.recv().unwrap_err();
            })
            .unwrap();
        let error = threads.join(Duration::from_millis(20)).unwrap_err();
        assert!(error.to_string().contains("[\"stuck\"]"), "{error}");
        drop(release);
    }
}
