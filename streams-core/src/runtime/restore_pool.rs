//! The threads that restore, shared by the stream threads of an application: a request goes to the thread with the fewest.

use crate::error::{Error, Result};
use crate::runtime::broker::Broker;
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::restore::{RestoreContext, Restorer};
use crate::runtime::restore_request::RestoreRequest;
use crate::runtime::shutdown::{Threads, catch};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

/// How long a task waits before it looks again whether its folder is free.
const FOLDER_WAIT: Duration = Duration::from_millis(50);
/// How often an idle thread looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Takes restore requests.
pub(crate) struct RestorePool {
    threads: Vec<RestoreThread>,
    lifecycle: Arc<Lifecycle>,
}

struct RestoreThread {
    requests: Sender<RestoreRequest>,
    /// How many requests it has not finished.
    load: Arc<AtomicUsize>,
}

impl RestorePool {
    /// Starts `count` threads, which register with `threads` and end when the application stops.
    pub(crate) fn start<B: Broker>(
        count: usize,
        context: &Arc<RestoreContext<B>>,
        client_id: &str,
        lifecycle: &Arc<Lifecycle>,
        threads: &mut Threads,
    ) -> Result<Arc<Self>> {
        let mut pool = Vec::with_capacity(count);
        for number in 1..=count {
            let (requests, received) = channel();
            let load = Arc::new(AtomicUsize::new(0));
            let name = format!("{client_id}-StateUpdater-{number}");
            let thread = {
                let (load, lifecycle) = (Arc::clone(&load), Arc::clone(lifecycle));
                let (context, name) = (Arc::clone(context), name.clone());
                move || {
                    catch(&name, &lifecycle, || {
                        let restorer = Restorer::new(context, format!("{name}-restore-consumer"));
                        run(restorer, &received, &load, &lifecycle);
                        Ok(())
                    });
                }
            };
            threads.spawn(name, thread)?;
            pool.push(RestoreThread { requests, load });
        }
        Ok(Arc::new(RestorePool {
            threads: pool,
            lifecycle: Arc::clone(lifecycle),
        }))
    }

    /// Hands over a request; its outcome comes through the channel in it, none when the application stops.
    pub(crate) fn submit(&self, request: RestoreRequest) -> Result<()> {
        let thread = self
            .threads
            .iter()
            .min_by_key(|thread| thread.load.load(Ordering::Relaxed))
            .ok_or_else(|| Error::fatal("there is no restore thread"))?;
        thread.load.fetch_add(1, Ordering::Relaxed);
        match thread.requests.send(request) {
            Ok(()) => Ok(()),
            // Restore threads end as soon as the application is to stop, stream threads at the end of their turn.
            Err(_) if self.lifecycle.is_stopping() => Ok(()),
            Err(_) => Err(Error::fatal("the restore thread has stopped")),
        }
    }
}

fn run<B: Broker>(
    mut restorer: Restorer<B>,
    requests: &Receiver<RestoreRequest>,
    load: &AtomicUsize,
    lifecycle: &Lifecycle,
) {
    while !lifecycle.is_stopping() {
        loop {
            match requests.try_recv() {
                Ok(request) => restorer.submit(request),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if restorer.len() == 0 => return,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        if restorer.len() > 0 {
            restorer.step();
        }
        load.store(restorer.len(), Ordering::Relaxed);
        if restorer.is_reading() {
            continue;
        }
        // Nothing to read: sleep until a request comes, or until a folder may have become free.
        let wait = if restorer.len() == 0 {
            IDLE_WAIT
        } else {
            FOLDER_WAIT
        };
        match requests.recv_timeout(wait) {
            Ok(request) => restorer.submit(request),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
    }
    restorer.abandon();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::SystemClock;
    use crate::runtime::memory_broker::MemoryBroker;
    use crate::runtime::state_directory::StateDirectory;
    use crate::task::TaskId;
    use std::sync::atomic::AtomicBool;
    use streams_state::StoreResources;

    #[test]
    fn a_request_to_a_stopping_application_is_no_error() {
        let lifecycle = Lifecycle::new(1);
        let context = Arc::new(RestoreContext {
            broker: Arc::new(MemoryBroker::default()),
            directory: StateDirectory::in_memory(),
            resources: StoreResources::in_memory(),
            listener: None,
            clock: Arc::new(SystemClock::new()),
            request_timeout: Duration::from_secs(1),
            task_timeout: Duration::from_secs(1),
        });
        let mut threads = Threads::default();
        let pool = RestorePool::start(1, &context, "app", &lifecycle, &mut threads).unwrap();
        lifecycle.request_stop();
        threads.join(Duration::from_secs(20)).unwrap();
        let (reply, _outcomes) = channel();
        pool.submit(RestoreRequest {
            task: TaskId {
                sub_topology: 0,
                partition: 0,
            },
            ticket: 0,
            stores: Vec::new(),
            cancelled: Arc::new(AtomicBool::new(false)),
            reply,
            restarts: 0,
        })
        .unwrap();
    }
}
