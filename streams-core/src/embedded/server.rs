//! The face to the network: threads, sockets and the clock around the core.
//!
//! A thread accepts connections, one thread per connection serves it, and a timer thread wakes when the core has something
//! due. All share the core behind one lock, held only while a request is handled: reading, decoding, putting batches
//! together, encoding and writing happen outside it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use tracing::{debug, error};

use super::clock::Clock;
use super::connection;
use super::core::{Answer, BrokerCore, RequestContext, RequestId};
use super::storage::Storage;

/// How long the timer sleeps when nothing is due.
const TIMER_IDLE_MS: i64 = 1_000;

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    timer: Condvar,
    clock: Clock,
    is_stopping: AtomicBool,
    next_request_id: AtomicU64,
    connections: Mutex<Connections>,
}

#[derive(Debug)]
struct State {
    core: BrokerCore,
    storage: Option<Storage>,
    waiting: HashMap<RequestId, Sender<Answer>>,
    /// When the timer is going to wake.
    timer_deadline_ms: i64,
}

#[derive(Debug, Default)]
struct Connections {
    next_id: u64,
    streams: HashMap<u64, TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

/// A broker that listens.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on a loopback port, 0 for any, with a core made for that port.
    ///
    /// # Errors
    /// When the port is taken or a thread cannot be started.
    pub(super) fn start(
        port: u16,
        clock: Clock,
        make_core: impl FnOnce(u16) -> (BrokerCore, Option<Storage>),
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let (core, storage) = make_core(address.port());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                core,
                storage,
                waiting: HashMap::new(),
                timer_deadline_ms: i64::MAX,
            }),
            timer: Condvar::new(),
            clock,
            is_stopping: AtomicBool::new(false),
            next_request_id: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let mut server = Self {
            shared: Arc::clone(&shared),
            address,
            threads: Vec::new(),
        };
        let timer = Arc::clone(&shared);
        server.threads.push(
            thread::Builder::new()
                .name("embedded-timer".to_owned())
                .spawn(move || timer.run_timer())?,
        );
        let accept = move || accept(&listener, &shared);
        server.threads.push(
            thread::Builder::new()
                .name("embedded-accept".to_owned())
                .spawn(accept)?,
        );
        Ok(server)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and waits for every thread.
    pub(super) fn stop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        lock(&self.shared.state).waiting.clear();
        self.shared.timer.notify_all();
        // The accepting thread sits in `accept`; a connection wakes it.
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_secs(1),
        ));
        self.threads.drain(..).for_each(join);
        let (streams, threads) = {
            let mut connections = lock(&self.shared.connections);
            (
                std::mem::take(&mut connections.streams),
                std::mem::take(&mut connections.threads),
            )
        };
        for stream in streams.into_values() {
            close(&stream);
        }
        // A request may have started to wait after the first clearing.
        lock(&self.shared.state).waiting.clear();
        threads.into_iter().for_each(join);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Asks the core and waits for its answer. `None` when the broker shuts down meanwhile.
    pub(super) fn ask(
        &self,
        version: i16,
        client_id: String,
        client_host: String,
        request: RequestKind,
    ) -> Option<Answer> {
        let request_id = RequestId(self.next_request_id.fetch_add(1, Ordering::Relaxed));
        let context = RequestContext {
            request_id,
            version,
            client_id,
            client_host,
        };
        let receiver = {
            let mut state = lock(&self.state);
            if self.is_stopping.load(Ordering::SeqCst) {
                return None;
            }
            state.core.handle(&context, request, self.clock.now_ms());
            self.keep(&mut state)?;
            if let Some(answer) = state.settle(Some(request_id)) {
                self.arm_timer(&mut state);
                return Some(answer);
            }
            let (sender, receiver) = channel();
            state.waiting.insert(request_id, sender);
            self.arm_timer(&mut state);
            receiver
        };
        receiver.recv().ok()
    }

    /// Writes down what the core changed. If the disk does not take it, the broker stops and answers nobody: whoever waits
    /// must not be told that something was kept that was not.
    fn keep(&self, state: &mut State) -> Option<()> {
        let changes = state.core.take_changes();
        let Some(storage) = &mut state.storage else {
            return Some(());
        };
        if changes.is_empty() {
            return Some(());
        }
        if let Err(error) = storage.keep(changes) {
            error!(%error, "the embedded broker cannot write to its directory and stops");
            self.is_stopping.store(true, Ordering::SeqCst);
            state.waiting.clear();
            return None;
        }
        Some(())
    }

    /// Wakes the timer if something is due before it would wake by itself.
    fn arm_timer(&self, state: &mut State) {
        if state
            .core
            .next_deadline_ms()
            .is_some_and(|deadline_ms| deadline_ms < state.timer_deadline_ms)
        {
            self.timer.notify_all();
        }
    }

    fn run_timer(&self) {
        let mut state = lock(&self.state);
        while !self.is_stopping.load(Ordering::SeqCst) {
            let now_ms = self.clock.now_ms();
            state.core.tick(now_ms);
            if self.keep(&mut state).is_none() {
                return;
            }
            state.settle(None);
            let idle_until_ms = now_ms + TIMER_IDLE_MS;
            state.timer_deadline_ms = state
                .core
                .next_deadline_ms()
                .map_or(idle_until_ms, |due_ms| due_ms.min(idle_until_ms));
            let sleep_ms = u64::try_from(state.timer_deadline_ms - now_ms)
                .unwrap_or(0)
                .max(1);
            let woken = self
                .timer
                .wait_timeout(state, Duration::from_millis(sleep_ms));
            state = woken.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}

impl State {
    /// Hands out the answers there are, and returns the one to `own` request.
    fn settle(&mut self, own: Option<RequestId>) -> Option<Answer> {
        let mut own_answer = None;
        for (request_id, answer) in self.core.take_answers() {
            if own == Some(request_id) {
                own_answer = Some(answer);
            } else if let Some(waiting) = self.waiting.remove(&request_id) {
                // A client that has gone meanwhile does not miss its answer.
                let _ = waiting.send(answer);
            }
        }
        own_answer
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        match stream.and_then(|stream| serve_in_thread(stream, shared)) {
            Ok(()) => {}
            Err(error) => {
                debug!(%error, "a connection could not be accepted");
                // Out of file descriptors, most likely: they do not come back by asking faster.
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn serve_in_thread(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let mut connections = lock(&shared.connections);
    connections.threads.retain(|thread| !thread.is_finished());
    connections.next_id += 1;
    let id = connections.next_id;
    connections.streams.insert(id, stream.try_clone()?);
    let shared = Arc::clone(shared);
    let serve = move || {
        let registered = Registered {
            id,
            shared: &shared,
        };
        if let Err(error) = connection::serve(&stream, &shared) {
            debug!(%error, "a connection ended");
        }
        drop(registered);
    };
    let spawned = thread::Builder::new()
        .name(format!("embedded-connection-{id}"))
        .spawn(serve);
    match spawned {
        Ok(thread) => connections.threads.push(thread),
        Err(error) => {
            connections.streams.remove(&id);
            return Err(error);
        }
    }
    Ok(())
}

/// Takes a connection out of the list when its thread ends, however it ends.
struct Registered<'a> {
    id: u64,
    shared: &'a Shared,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if let Some(stream) = lock(&self.shared.connections).streams.remove(&self.id) {
            close(&stream);
        }
    }
}

fn close(stream: &TcpStream) {
    // It may be closed already, which is what is wanted.
    let _ = stream.shutdown(Shutdown::Both);
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        debug!("a thread of the embedded broker panicked");
    }
}

/// Locks even after a panic: one bad request must not take the broker from everybody else.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
