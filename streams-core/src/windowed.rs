//! Keys with the window they belong to.

use std::fmt;

/// A span of event time, in milliseconds since the Unix epoch.
///
/// ```
/// use streams_core::windowed::Window;
///
/// let window = Window { start_ms: 600_000, end_ms: 1_200_000 };
/// assert_eq!(window.to_string(), "[600000,1200000)");
/// assert!(window.overlaps(Window { start_ms: 0, end_ms: 600_001 }));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first millisecond.
    pub start_ms: i64,
    /// Of a time window, the first millisecond behind it; of a session, the timestamp of its last record.
    pub end_ms: i64,
}

impl Window {
    /// A window from its bounds, in milliseconds.
    pub const fn new(start_ms: i64, end_ms: i64) -> Self {
        Window { start_ms, end_ms }
    }

    /// Whether two time windows have a millisecond in common (Kafka Streams' `TimeWindow#overlap`).
    pub const fn overlaps(self, other: Window) -> bool {
        self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{})", self.start_ms, self.end_ms)
    }
}

/// A key and the window it was aggregated in: the key type of every windowed table.
///
/// ```
/// use streams_core::windowed::{Window, Windowed};
///
/// let key = Windowed::new("Mosbach".to_owned(), Window::new(0, 600_000));
/// assert_eq!(key.to_string(), "Mosbach@[0,600000)");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
}

impl<K> Windowed<K> {
    /// A key in a window.
    pub const fn new(key: K, window: Window) -> Self {
        Windowed { key, window }
    }
}

impl<K: fmt::Display> fmt::Display for Windowed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_touch_do_not_overlap() {
        let window = Window::new(10, 20);
        assert!(!window.overlaps(Window::new(0, 10)));
        assert!(window.overlaps(Window::new(0, 11)));
        assert!(window.overlaps(Window::new(19, 30)));
        assert!(!window.overlaps(Window::new(20, 30)));
    }

    #[test]
    fn keys_sort_before_windows() {
        let early = Windowed::new("b", Window::new(0, 10));
        let late = Windowed::new("a", Window::new(10, 20));
        assert!(late < early);
        assert!(Windowed::new("a", Window::new(0, 10)) < late);
    }
}
