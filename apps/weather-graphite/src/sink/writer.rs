//! The sink's thread: connect, write, watch the connection, settle; and again after a loss.

use super::buffer::NextBatch;
use super::connection::Connection;
use super::{Shared, State};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weather_producer::Backoff;

/// How often a connection without traffic is watched.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// A connection that holds this long ends an outage: one that is accepted and closed at once does not.
const HOLDS_AFTER: Duration = Duration::from_secs(1);

pub(super) fn run(shared: &Shared) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    let mut outage_since = Some(Instant::now());
    loop {
        let opened = Connection::open(&shared.settings.address, shared.settings.timeout);
        let error = match opened {
            Ok(mut connection) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tracing::info!(address = shared.settings.address, "connected to Graphite");
                match serve(shared, &mut connection, &mut backoff, &mut outage_since) {
                    Ok(()) => return finish(shared, connection),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let since = *outage_since.get_or_insert_with(Instant::now);
        let mut state = shared.lock();
        state.buffer.disconnected();
        if state.closing {
            return;
        }
        let outage_max = shared.settings.outage_max;
        if since.elapsed() >= outage_max {
            let message = format!(
                "Graphite at {} could not be reached for {outage_max:?}: {error}; start it or correct GRAPHITE_HOST, then \
                 start again: what it has not got will be sent then",
                shared.settings.address
            );
            state.failure = Some(message);
            return;
        }
        let wait = backoff
            .next_wait()
            .min(outage_max.saturating_sub(since.elapsed()));
        tracing::warn!(
            address = shared.settings.address,
            points = state.buffer.points_len(),
            "no connection to Graphite: {error}; next try in {wait:?}"
        );
        wait_closing(shared, state, wait);
    }
}

/// Writes and watches until the connection is lost, or until all is written and the sink closes.
fn serve(
    shared: &Shared,
    connection: &mut Connection,
    backoff: &mut Backoff,
    outage_since: &mut Option<Instant>,
) -> std::io::Result<()> {
    loop {
        connection.check_alive()?;
        let now = Instant::now();
        if now.duration_since(connection.since) >= HOLDS_AFTER {
            backoff.reset();
            *outage_since = None;
        }
        match next(shared, now) {
            Next::Write(batch) => write(shared, connection, batch)?,
            Next::Watch => {}
            Next::End => return Ok(()),
        }
    }
}

enum Next {
    Write(NextBatch),
    Watch,
    End,
}

/// Settles what can be, then waits for something to do.
fn next(shared: &Shared, alive: Instant) -> Next {
    let mut state = shared.lock();
    let settled = state.buffer.settle(alive, shared.settings.settle);
    state.settled += settled;
    let linger = if state.closing {
        Duration::ZERO
    } else {
        shared.settings.linger
    };
    if let Some(batch) = state.buffer.next(Instant::now(), linger) {
        return Next::Write(batch);
    }
    if state.closing {
        return Next::End;
    }
    let wait = match state.buffer.due(linger) {
        Some(due) => due
            .saturating_duration_since(Instant::now())
            .min(WATCH_INTERVAL),
        None => WATCH_INTERVAL,
    };
    drop(shared.wake.wait_timeout(state, wait));
    Next::Watch
}

fn write(shared: &Shared, connection: &mut Connection, batch: NextBatch) -> std::io::Result<()> {
    let result = connection.write(&batch.lines);
    let written = result.is_ok().then(Instant::now);
    if written.is_some() {
        shared.written.fetch_add(batch.points, Ordering::Relaxed);
        if batch.is_replay {
            shared.replayed.fetch_add(batch.points, Ordering::Relaxed);
        }
    }
    shared.lock().buffer.give_back(batch.lines, written);
    result
}

/// All is written: what carbon has read to the end counts as delivered.
fn finish(shared: &Shared, connection: Connection) {
    match connection.finish() {
        Ok(()) => {
            let mut state = shared.lock();
            let settled = state.buffer.settle(Instant::now(), Duration::ZERO);
            state.settled += settled;
        }
        Err(error) => tracing::warn!(
            address = shared.settings.address,
            "Graphite did not close the connection in time: {error}"
        ),
    }
}

/// Waits, but not when the sink closes.
fn wait_closing(shared: &Shared, mut state: MutexGuard<'_, State>, wait: Duration) {
    let end = Instant::now() + wait;
    while !state.closing {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = match shared.wake.wait_timeout(state, left) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}
