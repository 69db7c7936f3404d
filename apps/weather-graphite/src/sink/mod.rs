//! The way to Graphite: every point arrives, though Graphite never says so.
//!
//! Carbon does not acknowledge, loses its last second when it stops, and the first write after its death succeeds. So a
//! point counts as delivered only when it was written [`SinkSettings::settle`] ago on a connection that is still alive.
//! Newer ones are written again, in order, when the connection was lost; carbon keeps the last value of a
//! metric and time, so writing twice changes nothing. [`GraphiteSink::oldest_pending`] says up to where Kafka offsets may be
//! committed.

mod buffer;
mod connection;
mod writer;

use crate::point::Point;
use buffer::{Buffer, SourceId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use streams_core::{Error, Result};

/// How to reach Graphite, and when to give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// Carbon's plaintext receiver, as `host:port`.
    pub address: String,
    /// A point counts as delivered when it was written this long ago on a connection that is still alive.
    /// (`graphite.settle.ms`). Carbon writes to disk once a second; 5 s leaves room.
    pub settle: Duration,
    /// How long lines are collected before they are sent, unless 16 KiB come together first (`graphite.linger.ms`).
    pub linger: Duration,
    /// How long connecting and one write may take (`graphite.timeout.ms`).
    pub timeout: Duration,
    /// After this long without a connection that holds, the sink fails and with it the app (`graphite.max.outage.ms`).
    pub outage_max: Duration,
    /// How many bytes of lines may wait or be unsettled; then reading from Kafka pauses (`graphite.buffer.max.bytes`).
    pub buffer_bytes_max: usize,
}

impl SinkSettings {
    /// Graphite at that `host` or `host:port` (port 2003 if not given), with 5 s to settle, 200 ms of linger, 5 s for a
    /// write, 10 minutes of outage and 64 MiB of buffer.
    ///
    /// ```
    /// use weather_graphite::SinkSettings;
    ///
    /// assert_eq!(SinkSettings::new("graphite").address, "graphite:2003");
    /// assert_eq!(SinkSettings::new("127.0.0.1:22003").address, "127.0.0.1:22003");
    /// assert_eq!(SinkSettings::new("::1").address, "[::1]:2003");
    /// ```
    pub fn new(host: &str) -> Self {
        let has_port = match host.rsplit_once(':') {
            Some((before, port)) => {
                port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
            }
            None => false,
        };
        let address = if has_port {
            host.to_owned()
        } else if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:2003")
        } else {
            format!("{host}:2003")
        };
        SinkSettings {
            address,
            settle: Duration::from_secs(5),
            linger: Duration::from_millis(200),
            timeout: Duration::from_secs(5),
            outage_max: Duration::from_secs(600),
            buffer_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// A connection to Graphite that comes back, on a thread of its own. Dropping it sends what it has and closes.
///
/// ```no_run
/// use weather_graphite::{GraphiteSink, Point, SinkSettings};
///
/// let sink = GraphiteSink::start(SinkSettings::new("localhost"));
/// let point = Point::new("vlvs_inf19b.u.weather.mosbach.tempAvg", 8.5, 1_637_068_200)?;
/// sink.push(&point, "weather-averages", 0, 17);
/// assert_eq!(sink.oldest_pending("weather-averages", 0), Some(17));
/// # Ok::<(), weather_graphite::PointRefused>(())
/// ```
pub struct GraphiteSink {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// How many points met which fate so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Points given to the sink.
    pub pushed: u64,
    /// Points written to a connection, each time counted.
    pub written: u64,
    /// Of these, how many were written before on a connection that was lost.
    pub replayed: u64,
    /// Points that count as delivered.
    pub settled: u64,
    /// How often a connection was made.
    pub connections: u64,
}

/// What the threads share.
struct Shared {
    settings: SinkSettings,
    state: Mutex<State>,
    /// Wakes the writer for points and for the end.
    wake: Condvar,
    written: AtomicU64,
    replayed: AtomicU64,
    connections: AtomicU64,
}

struct State {
    buffer: Buffer,
    sources: Vec<(String, i32)>,
    /// Set when the sink gave up.
    failure: Option<String>,
    /// Send what is there, then end.
    closing: bool,
    pushed: u64,
    settled: u64,
}

impl GraphiteSink {
    /// Starts to connect. That Graphite is down at first is an outage like any other.
    pub fn start(settings: SinkSettings) -> Self {
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(State {
                buffer: Buffer::new(),
                sources: Vec::new(),
                failure: None,
                closing: false,
                pushed: 0,
                settled: 0,
            }),
            wake: Condvar::new(),
            written: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let writer = std::thread::Builder::new()
            .name("graphite-sink".into())
            .spawn({
                let shared = shared.clone();
                move || writer::run(&shared)
            })
            .expect("the system has room for one more thread at start");
        GraphiteSink {
            shared,
            writer: Some(writer),
        }
    }

    /// Whether there is room for more points. While there is none, the caller is expected to wait; points that come all
    /// the same are taken.
    pub fn has_room(&self) -> bool {
        self.shared.lock().buffer.bytes_len() < self.shared.settings.buffer_bytes_max
    }

    /// Takes a point that came from the record at that topic, partition and offset. Offsets of one partition must not run
    /// back, except after [`GraphiteSink::restart`].
    pub fn push(&self, point: &Point, topic: &str, partition: i32, offset: i64) {
        let mut state = self.shared.lock();
        let source = state.source(topic, partition);
        let was_idle = state.buffer.is_all_written();
        state.buffer.push(point, source, offset, Instant::now());
        state.pushed += 1;
        drop(state);
        if was_idle {
            self.shared.wake.notify_one();
        }
    }

    /// The lowest offset of that partition with a point that does not count as delivered yet: nothing from there on may be
    /// committed.
    pub fn oldest_pending(&self, topic: &str, partition: i32) -> Option<i64> {
        let state = self.shared.lock();
        let index = state
            .sources
            .iter()
            .position(|(known, number)| *number == partition && known == topic)?;
        state.buffer.oldest_pending(SourceId(index))
    }

    /// Somebody reads that partition anew from its committed offset: what was pending of it comes again.
    pub fn restart(&self, topic: &str, partition: i32) {
        let mut state = self.shared.lock();
        let source = state.source(topic, partition);
        state.buffer.forget(source);
    }

    /// Why the sink gave up, once it has: Graphite was away for longer than [`SinkSettings::outage_max`].
    pub fn failure(&self) -> Option<Error> {
        let state = self.shared.lock();
        state.failure.as_ref().map(Error::fatal)
    }

    /// What happened so far.
    pub fn counts(&self) -> SinkCounts {
        let state = self.shared.lock();
        SinkCounts {
            pushed: state.pushed,
            written: self.shared.written.load(Ordering::Relaxed),
            replayed: self.shared.replayed.load(Ordering::Relaxed),
            settled: state.settled,
            connections: self.shared.connections.load(Ordering::Relaxed),
        }
    }

    /// Sends what is there, closes, and waits until carbon has read all of it.
    ///
    /// # Errors
    /// When there is no connection, or carbon did not read everything in [`SinkSettings::timeout`].
    pub fn close(mut self) -> Result<()> {
        self.stop();
        let state = self.shared.lock();
        if let Some(failure) = &state.failure {
            return Err(Error::fatal(failure));
        }
        match state.buffer.points_len() {
            0 => Ok(()),
            left => Err(Error::retriable(format!(
                "Graphite at {} did not take the last {left} points",
                self.shared.settings.address
            ))),
        }
    }

    fn stop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            self.shared.lock().failure = Some("the thread of the Graphite sink panicked".into());
        }
    }
}

impl Drop for GraphiteSink {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that change it, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn source(&mut self, topic: &str, partition: i32) -> SourceId {
        let index = self
            .sources
            .iter()
            .position(|(known, number)| *number == partition && known == topic)
            .unwrap_or_else(|| {
                self.sources.push((topic.to_owned(), partition));
                self.sources.len() - 1
            });
        SourceId(index)
    }
}

#[cfg(test)]
mod tests;
