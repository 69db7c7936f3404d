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
    requests: Sender<Vec<RestoreRequest>>,
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
        let (pool, workers) = Self::new(count, client_id, lifecycle);
        for worker in workers {
            let name = worker.name.clone();
            let (context, lifecycle) = (Arc::clone(context), Arc::clone(lifecycle));
            threads.spawn(name.clone(), move || {
                catch(&name, &lifecycle, || {
                    worker.run(context, &lifecycle);
                    Ok(())
                });
            })?;
        }
        Ok(pool)
    }

    /// The pool and what does its work, `count` times.
    pub(crate) fn new(
        count: usize,
        client_id: &str,
        lifecycle: &Arc<Lifecycle>,
    ) -> (Arc<Self>, Vec<RestoreWorker>) {
        let mut threads = Vec::with_capacity(count);
        let mut workers = Vec::with_capacity(count);
        for number in 1..=count {
            let (requests, received) = channel();
            let load = Arc::new(AtomicUsize::new(0));
            workers.push(RestoreWorker {
                name: format!("{client_id}-StateUpdater-{number}"),
                requests: received,
                load: Arc::clone(&load),
            });
            threads.push(RestoreThread { requests, load });
        }
        let lifecycle = Arc::clone(lifecycle);
        (Arc::new(RestorePool { threads, lifecycle }), workers)
    }

    /// Hands over requests, those for one thread together, so that it asks the brokers about all of them at once. The outcomes
    /// come through the channels in them, none when the application stops.
    pub(crate) fn submit(&self, requests: Vec<RestoreRequest>) -> Result<()> {
        let mut shares: Vec<Vec<RestoreRequest>> = Vec::new();
        shares.resize_with(self.threads.len(), Vec::new);
        for request in requests {
            let (thread, share) = self
                .threads
                .iter()
                .zip(&mut shares)
                .min_by_key(|(thread, _)| thread.load.load(Ordering::Relaxed))
                .ok_or_else(|| Error::fatal("there is no restore thread"))?;
            thread.load.fetch_add(1, Ordering::Relaxed);
            share.push(request);
        }
        for (thread, share) in self.threads.iter().zip(shares) {
            if share.is_empty() || thread.requests.send(share).is_ok() {
                continue;
            }
            // Restore threads end as soon as the application is to stop, stream threads at the end of their turn.
            if !self.lifecycle.is_stopping() {
                return Err(Error::fatal("the restore thread has stopped"));
            }
        }
        Ok(())
    }
}

/// One thread of the pool: where its requests come from.
pub(crate) struct RestoreWorker {
    pub(crate) name: String,
    requests: Receiver<Vec<RestoreRequest>>,
    load: Arc<AtomicUsize>,
}

/// What is left to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is something to read.
    Read,
    /// Nothing can be read before a request comes or this has passed.
    Wait(Duration),
    /// No request can come any more.
    End,
}

impl RestoreWorker {
    /// Restores what it is given.
    pub(crate) fn restorer<B: Broker>(&self, context: Arc<RestoreContext<B>>) -> Restorer<B> {
        Restorer::new(context, format!("{}-restore-consumer", self.name))
    }

    fn run<B: Broker>(self, context: Arc<RestoreContext<B>>, lifecycle: &Lifecycle) {
        let mut restorer = self.restorer(context);
        while !lifecycle.is_stopping() {
            let wait = match self.turn(&mut restorer) {
                Next::Read => continue,
                Next::Wait(wait) => wait,
                Next::End => return,
            };
            match self.requests.recv_timeout(wait) {
                Ok(requests) => requests.into_iter().for_each(|r| restorer.submit(r)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
            }
        }
        restorer.abandon();
    }

    /// Takes new requests and reads once.
    pub(crate) fn turn<B: Broker>(&self, restorer: &mut Restorer<B>) -> Next {
        loop {
            match self.requests.try_recv() {
                Ok(requests) => requests.into_iter().for_each(|r| restorer.submit(r)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if restorer.len() == 0 => return Next::End,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        if restorer.len() > 0 {
            restorer.step();
        }
        self.load.store(restorer.len(), Ordering::Relaxed);
        if restorer.is_reading() {
            Next::Read
        } else if restorer.len() == 0 {
            Next::Wait(IDLE_WAIT)
        } else {
            Next::Wait(FOLDER_WAIT)
        }
    }
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
            opened_at_once: 1,
            broker: Arc::new(MemoryBroker::default()),
            directory: StateDirectory::in_memory(),
            local_tasks: Arc::default(),
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
        let request = RestoreRequest {
            task: TaskId {
                sub_topology: 0,
                partition: 0,
            },
            ticket: 0,
            stores: Vec::new(),
            cancelled: Arc::new(AtomicBool::new(false)),
            reply,
            restarts: 0,
        };
        pool.submit(vec![request]).unwrap();
    }
}
