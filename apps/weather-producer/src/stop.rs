//! Ending a program in an orderly way.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Says whether to stop; all clones say the same.
///
/// ```
/// use std::time::Duration;
/// use weather_producer::Stop;
///
/// let stop = Stop::new();
/// stop.clone().request();
/// assert!(stop.is_requested());
/// assert!(!stop.sleep(Duration::from_secs(60)), "it does not sleep any more");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Nobody wants to stop yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// Is requested by SIGTERM and SIGINT.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Stop::new();
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits, and returns false at once when it is time to stop.
    pub fn sleep(&self, duration: Duration) -> bool {
        const SLICE: Duration = Duration::from_millis(20);
        let start = Instant::now();
        loop {
            if self.is_requested() {
                return false;
            }
            let left = duration.saturating_sub(start.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}
