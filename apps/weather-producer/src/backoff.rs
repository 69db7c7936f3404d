//! How long to wait before the next try.

use std::time::Duration;

/// Waits that double from one try to the next up to a limit, each shortened by up to half at random, so that many clients
/// of a server that comes back do not all return at the same moment.
///
/// ```
/// use std::time::Duration;
/// use weather_producer::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// assert!(backoff.next_wait() <= Duration::from_millis(100));
/// for _ in 0..10 {
///     backoff.next_wait();
/// }
/// assert!(backoff.next_wait() >= Duration::from_secs(5));
/// backoff.reset();
/// assert!(backoff.next_wait() <= Duration::from_millis(100));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Waits from `first` up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Backoff {
            first,
            longest,
            next: first,
            random: fastrand::Rng::new(),
        }
    }

    /// How long to wait now; the next wait is twice as long.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(0.5 + self.random.f64() / 2.0);
        self.next = self.next.saturating_mul(2).min(self.longest);
        wait
    }

    /// Starts from the first wait again: something worked.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_never_beyond() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut expected = Duration::from_millis(100);
        for _ in 0..30 {
            let wait = backoff.next_wait();
            assert!(
                wait <= expected && wait >= expected / 2,
                "{wait:?} of {expected:?}"
            );
            expected = (expected * 2).min(Duration::from_secs(10));
        }
    }
}
