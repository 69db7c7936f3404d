//! An application under measurement: runs a workload in this process and says what it took.

use crate::data::START_MS;
use crate::load;
use crate::measure::{cpu_time, memory_kb, peak_memory_kb};
use crate::topology::{self, Seen};
use crate::workload::{Shape, Workload};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use streams_core::runtime::broker::{Broker, LogProducer, ProduceRecord};
use streams_core::{
    Error, Headers, KafkaStreams, RestoreListener, Result, State, StreamsConfig, TopicPartition,
};

/// Longer than Kafka Streams waits between two looks for windows that have closed.
const EMIT_INTERVAL: Duration = Duration::from_millis(1100);

/// Until when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until every record of the input is counted, or the store restored.
    Drain,
    /// Until it is RUNNING.
    Start,
    /// Until its standard input ends.
    Serve,
}

/// Where and how a workload runs.
#[derive(Clone, Debug)]
pub struct Run {
    /// What.
    pub workload: Workload,
    /// Until when.
    pub mode: Mode,
    /// The cluster.
    pub bootstrap: String,
    /// The group and the prefix of internal topics.
    pub application_id: String,
    /// The topics it reads.
    pub inputs: Vec<String>,
    /// The topic it writes.
    pub output: String,
    /// Where its stores are.
    pub state_dir: String,
    /// Settings of Kafka Streams by name.
    pub settings: Vec<(String, String)>,
    /// A number that no other run on the same input has: the records that close its last windows carry it.
    pub marker: u64,
}

/// CPU and wall time since the start of the process.
#[derive(Clone, Copy, Debug)]
struct Mark {
    cpu: Duration,
    wall: Duration,
}

/// What the topology, the listeners and the main thread tell each other.
struct Watch {
    started: Instant,
    count: AtomicU64,
    half: u64,
    most: u64,
    full: u64,
    is_single_thread: bool,
    marker: f64,
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    restore_start: Option<Mark>,
    half: Option<Mark>,
    most: Option<Mark>,
    full: Option<Mark>,
    running: Option<Mark>,
    running_memory_kb: u64,
    restored: u64,
    markers: u64,
    ended: bool,
}

impl Watch {
    fn mark(&self) -> Mark {
        Mark {
            cpu: cpu_time(),
            wall: self.started.elapsed(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn see(&self, value: &[u8]) {
        // Readings are positive; a negative one is there to close windows.
        if value.first().is_some_and(|byte| byte & 0x80 != 0) {
            self.see_marker(value);
            return;
        }
        let count = if self.is_single_thread {
            // Nobody else writes it.
            let count = self.count.load(Ordering::Relaxed) + 1;
            self.count.store(count, Ordering::Relaxed);
            count
        } else {
            self.count.fetch_add(1, Ordering::Relaxed) + 1
        };
        if count == self.half {
            let mark = self.mark();
            self.note(|seen| seen.half = Some(mark));
        }
        if count == self.most {
            let mark = self.mark();
            self.note(|seen| seen.most = Some(mark));
        }
        if count == self.full {
            let mark = self.mark();
            self.note(|seen| seen.full = Some(mark));
        }
    }

    #[cold]
    fn see_marker(&self, value: &[u8]) {
        if value.starts_with(&self.marker.to_be_bytes()) {
            self.note(|seen| seen.markers += 1);
        }
    }

    /// Waits until something is so, or the application has ended by itself.
    fn wait(&self, is_so: impl Fn(&Progress) -> bool) -> bool {
        let mut seen = self.lock();
        while !is_so(&seen) && !seen.ended {
            seen = self
                .changed
                .wait(seen)
                .unwrap_or_else(PoisonError::into_inner);
        }
        is_so(&seen)
    }
}

/// Tells the watch when a restoration begins and how far it is.
struct Restoration(Arc<Watch>);

impl RestoreListener for Restoration {
    fn on_restore_start(&self, _store: &str, _changelog: &TopicPartition, _from: i64, _to: i64) {
        let mark = self.0.mark();
        self.0
            .note(|seen| seen.restore_start = seen.restore_start.or(Some(mark)));
    }

    fn on_restore_end(&self, _store: &str, _changelog: &TopicPartition, records: u64) {
        self.0.note(|seen| seen.restored += records);
    }
}

/// Runs the workload and gives what it took, as one JSON object.
///
/// # Errors
/// When the application fails, or ends before it is done.
pub fn run(run: &Run, started: Instant) -> Result<Value> {
    let threads = run
        .settings
        .iter()
        .find(|(name, _)| name == "num.stream.threads");
    let watch = Arc::new(Watch {
        started,
        count: AtomicU64::new(0),
        half: run.workload.counted() / 2,
        most: run.workload.counted() / 8 * 7,
        full: run.workload.counted(),
        is_single_thread: threads.is_none_or(|(_, count)| count == "1"),
        marker: -(run.marker as f64),
        state: Mutex::default(),
        changed: Condvar::new(),
    });
    let seen: Seen = {
        let watch = Arc::clone(&watch);
        Arc::new(move |value| watch.see(value))
    };
    let topology = topology::build(run.workload.shape, &run.inputs, &run.output, &seen)?;
    let mut config = StreamsConfig::new(&run.application_id)
        .set("bootstrap.servers", &run.bootstrap)?
        .set("state.dir", &run.state_dir)?;
    for (name, value) in &run.settings {
        config = config.set(name, value)?;
    }
    let streams = {
        let watch = Arc::clone(&watch);
        KafkaStreams::new(topology, config)?
            .with_restore_listener(Restoration(Arc::clone(&watch)))
            .with_state_listener(move |new, _old| {
                if new == State::Running {
                    let (mark, memory) = (watch.mark(), memory_kb());
                    watch.note(|seen| {
                        if seen.running.is_none() {
                            println!("{}", json!({"event": "running"}));
                            seen.running_memory_kb = memory;
                        }
                        seen.running = Some(mark);
                    });
                }
            })
    };
    let handle = streams.handle();
    let application = {
        let watch = Arc::clone(&watch);
        thread::spawn(move || {
            let result = streams.run_blocking();
            watch.note(|seen| seen.ended = true);
            result
        })
    };
    let is_done = drive(run, &watch);
    handle.close();
    let result = application
        .join()
        .map_err(|_| Error::fatal("the application's thread panicked"))?;
    // Why it ended is said by the application.
    result?;
    is_done?;
    let closed = watch.mark();
    Ok(report(run, &watch, closed))
}

/// Waits for what the mode says.
fn drive(run: &Run, watch: &Watch) -> Result<()> {
    let is_done = match run.mode {
        Mode::Start => watch.wait(|seen| seen.running.is_some()),
        Mode::Serve => {
            let mut line = String::new();
            while std::io::stdin()
                .read_line(&mut line)
                .is_ok_and(|len| len > 0)
            {}
            true
        }
        Mode::Drain if matches!(run.workload.shape, Shape::Restore { .. }) => {
            let records = run.workload.records;
            let is_done = watch.wait(|seen| seen.restored >= records && seen.running.is_some());
            let mark = watch.mark();
            watch.note(|seen| seen.full = Some(mark));
            is_done
        }
        Mode::Drain => {
            let mut is_done = watch.wait(|seen| seen.full.is_some());
            if let Shape::Windows {
                advance_ms,
                on_close: true,
                ..
            } = run.workload.shape
            {
                thread::sleep(EMIT_INTERVAL);
                close_windows(run, advance_ms)?;
                let partitions = run.workload.partitions as u64;
                is_done &= watch.wait(|seen| seen.markers >= partitions);
            }
            is_done
        }
    };
    match is_done {
        true => Ok(()),
        false => Err(Error::fatal("the application ended before it was done")),
    }
}

/// Writes a record into each partition that closes the windows which have ended by then. It comes soon after the others: Kafka
/// Streams forgets windows that have not been forwarded when time leaps further than a store keeps them. Those of all runs lie
/// in the same windows, so that none closes a window of another.
fn close_windows(run: &Run, advance_ms: u64) -> Result<()> {
    let last_ms = START_MS + (run.workload.records * 1000 / run.workload.rate) as i64;
    let advance_ms = advance_ms as i64;
    let beyond = (last_ms / advance_ms + 1) * advance_ms;
    let timestamp = beyond + (run.marker as i64).min(advance_ms - 1);
    let mut producer = load::broker(&run.bootstrap)?.producer("closer", None)?;
    let topic: Arc<str> = run.inputs[0].as_str().into();
    let value = (-(run.marker as f64)).to_be_bytes();
    let headers = Headers::new();
    producer.send(
        &mut (0..run.workload.partitions).map(|partition| ProduceRecord {
            topic: &topic,
            partition,
            timestamp: Some(timestamp),
            key: Some(b"closing!"),
            value: Some(&value),
            headers: &headers,
        }),
    )?;
    producer.flush(load::PATIENCE)
}

fn report(run: &Run, watch: &Watch, closed: Mark) -> Value {
    let seen = watch.lock();
    let millis = |mark: Option<Mark>| {
        mark.map(|mark| {
            json!({
                "cpu_ms": mark.cpu.as_secs_f64() * 1e3,
                "wall_ms": mark.wall.as_secs_f64() * 1e3,
            })
        })
    };
    json!({
        "event": "result",
        "workload": run.workload.name,
        "records": run.workload.records,
        "counted": watch.count.load(Ordering::Relaxed),
        "running": millis(seen.running),
        "running_memory_kb": seen.running_memory_kb,
        "restore_start": millis(seen.restore_start),
        "half": millis(seen.half),
        "most": millis(seen.most),
        "full": millis(seen.full),
        "closed": millis(Some(closed)),
        "peak_memory_kb": peak_memory_kb(),
    })
}
