//! The results of the demonstration, for people and as Graphite lines.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use streams_core::{Error, Result};
use weather_averages::WindowAverages;
use weather_graphite::{GraphiteSink, Made, Output, Point, Source};
use weather_producer::{Attribute, Stop};

/// Shows the results of closed windows, and hands all points on to Graphite if there is one.
///
/// Each result is one line for people and its Graphite lines, on standard output. With `once`, only the first result of each
/// city is shown, its Graphite lines alone are on standard output, and when every expected city had one it asks to stop.
pub struct Terminal {
    graphite: Option<GraphiteSink>,
    once: bool,
    stop: Stop,
    state: Mutex<State>,
}

struct State {
    /// Cities of which a result is expected.
    awaited: BTreeSet<String>,
    /// Cities that had one.
    shown: BTreeSet<String>,
    last_result: Instant,
}

impl Terminal {
    /// Shows results, all of them or the first of each city until each of `cities` had one; then `stop` is requested.
    pub fn new(graphite: Option<GraphiteSink>, once: bool, cities: &[&str], stop: Stop) -> Self {
        Terminal {
            graphite,
            once,
            stop,
            state: Mutex::new(State {
                awaited: cities.iter().map(|city| (*city).to_owned()).collect(),
                shown: BTreeSet::new(),
                last_result: Instant::now(),
            }),
        }
    }

    /// Cities of which no result came yet.
    pub fn awaited(&self) -> Vec<String> {
        self.state().awaited.iter().cloned().collect()
    }

    /// How long ago the last result came.
    pub fn idle(&self) -> Duration {
        self.state().last_result.elapsed()
    }

    /// Waits until Graphite has read everything, if there is one.
    ///
    /// # Errors
    /// When it has not.
    pub fn close(self) -> Result<()> {
        self.graphite.map_or(Ok(()), GraphiteSink::close)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, averages: &WindowAverages, points: &[Point]) -> Result<()> {
        let mut state = self.state();
        let is_first = state.shown.insert(averages.city.clone());
        state.last_result = Instant::now();
        if self.once && (!is_first || state.awaited.is_empty()) {
            return Ok(());
        }
        let written = if self.once {
            writeln!(io::stderr(), "{}", headline(averages))
                .and_then(|()| write_lines(&mut io::stdout().lock(), points))
        } else {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", headline(averages)).and_then(|()| write_lines(&mut out, points))
        };
        match written {
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.stop.request(),
            Err(error) => {
                return Err(Error::fatal("the results cannot be shown").with_source(error));
            }
            Ok(()) => {}
        }
        state.awaited.remove(&averages.city);
        if self.once && state.awaited.is_empty() {
            self.stop.request();
        }
        Ok(())
    }
}

fn write_lines(out: &mut impl Write, points: &[Point]) -> io::Result<()> {
    for point in points {
        writeln!(out, "{point}")?;
    }
    out.flush()
}

/// A result in one line: the temperature alone, since a terminal is only so wide.
fn headline(averages: &WindowAverages) -> String {
    let start = averages.window_start.to_string();
    let start = start.replace(":00.000+00:00", "").replace('T', " ");
    let temp = match averages.values.get(&Attribute::TempCurrent) {
        Some(temp) => format!(
            "{:6.2} °C on average, {:6.2} to {:6.2} °C",
            temp.mean, temp.min, temp.max
        ),
        None => "no temperature".into(),
    };
    format!(
        "{:<16} {start}  {:>4} readings  {temp}",
        averages.city, averages.count
    )
}

impl Output for Terminal {
    fn has_room(&self) -> bool {
        self.graphite.as_ref().is_none_or(GraphiteSink::has_room)
    }

    fn take(&self, points: &[Point], made: Made<'_>, source: Source<'_>) -> Result<()> {
        if let Some(graphite) = &self.graphite {
            Output::take(graphite, points, made, source)?;
        }
        match made {
            Made::OfReading => Ok(()),
            Made::OfWindow(averages) => self.show(averages, points),
        }
    }

    fn oldest_pending(&self, topic: &str, partition: i32) -> Option<i64> {
        self.graphite.as_ref()?.oldest_pending(topic, partition)
    }

    fn restart(&self, topic: &str, partition: i32) {
        if let Some(graphite) = &self.graphite {
            graphite.restart(topic, partition);
        }
    }

    fn failure(&self) -> Option<Error> {
        self.graphite.as_ref()?.failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams_core::windowed::Window;
    use weather_averages::CityWindow;
    use weather_producer::Reading;

    fn averages(city: &str) -> WindowAverages {
        let mut state = CityWindow::default();
        state.add(&Reading::new(city, 0).with(Attribute::TempCurrent, -3.25));
        let window = Window::new(1_356_998_400_000, 1_357_084_800_000);
        WindowAverages::new(city, window, &state)
    }

    #[test]
    fn a_headline_is_short() {
        assert_eq!(
            headline(&averages("JFK")),
            "JFK              2013-01-01 00:00     1 readings   -3.25 °C on average,  -3.25 to  -3.25 °C"
        );
    }

    #[test]
    fn it_stops_after_the_first_result_of_every_city() {
        let stop = Stop::new();
        let terminal = Terminal::new(None, true, &["JFK", "EWR"], stop.clone());
        let take = |city| {
            let source = Source {
                topic: "weather-averages",
                partition: 0,
                offset: 0,
            };
            terminal
                .take(&[], Made::OfWindow(&averages(city)), source)
                .unwrap();
        };
        take("JFK");
        take("JFK");
        take("Ulm");
        assert_eq!(terminal.awaited(), ["EWR"]);
        assert!(!stop.is_requested());
        take("EWR");
        assert!(stop.is_requested());
    }
}
