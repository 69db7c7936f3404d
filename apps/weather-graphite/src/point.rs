//! One measured value as Graphite takes it.

use std::fmt;
use std::io::Write;

/// A time in seconds that can only be milliseconds: it lies beyond the year 5000.
const TIME_S_MAX: i64 = 100_000_000_000;

/// A value of a metric at a time.
///
/// ```
/// use weather_graphite::Point;
///
/// let point = Point::new("vlvs_inf19b.u.weather.mosbach.tempAvg", 8.5, 1_637_068_200)?;
/// assert_eq!(point.to_string(), "vlvs_inf19b.u.weather.mosbach.tempAvg 8.5 1637068200");
/// assert!(Point::new("a", f64::NAN, 1_637_068_200).is_err());
/// assert!(Point::new("a", 8.5, 1_637_068_200_000).is_err(), "milliseconds");
/// # Ok::<(), weather_graphite::PointRefused>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    path: String,
    value: f64,
    time_s: i64,
}

/// Why a point cannot go to Graphite, which would lose it without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointRefused {
    /// NaN, which carbon drops, or an infinity, which breaks JSON on the way out.
    NotFinite,
    /// Before 1970, which carbon takes for "now" or refuses.
    TimeNegative,
    /// So late that it must be milliseconds or nanoseconds, which carbon takes and cannot store.
    TimeNotSeconds,
}

impl Point {
    /// A point of these parts; the time is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When carbon would lose it.
    pub fn new(path: impl Into<String>, value: f64, time_s: i64) -> Result<Self, PointRefused> {
        if !value.is_finite() {
            return Err(PointRefused::NotFinite);
        }
        match time_s {
            ..0 => Err(PointRefused::TimeNegative),
            TIME_S_MAX.. => Err(PointRefused::TimeNotSeconds),
            _ => Ok(Point {
                path: path.into(),
                value,
                time_s,
            }),
        }
    }

    /// The metric's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The time, in seconds since the Unix epoch.
    pub fn time_s(&self) -> i64 {
        self.time_s
    }

    /// Appends the line of the plaintext protocol, with its newline.
    pub(crate) fn write_line(&self, bytes: &mut Vec<u8>) {
        writeln!(bytes, "{self}").expect("writing to memory does not fail");
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.path, self.value, self.time_s)
    }
}

impl fmt::Display for PointRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PointRefused::NotFinite => "the value is NaN or infinite",
            PointRefused::TimeNegative => "the time is before 1970",
            PointRefused::TimeNotSeconds => "the time is not in seconds",
        })
    }
}

impl std::error::Error for PointRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carbon_would_lose_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Point::new("a", value, 0), Err(PointRefused::NotFinite));
        }
        assert_eq!(Point::new("a", 1.0, -1), Err(PointRefused::TimeNegative));
        for time_s in [1_637_068_200_000, 1_637_068_200_000_000_000] {
            assert_eq!(
                Point::new("a", 1.0, time_s),
                Err(PointRefused::TimeNotSeconds)
            );
        }
    }

    #[test]
    fn numbers_are_written_so_that_carbon_reads_them_back() {
        for value in [0.0, -1.5, 3.8470588235294114, 1e-7, 1e21] {
            let line = Point::new("a", value, 1).unwrap().to_string();
            let text = line.split(' ').nth(1).unwrap();
            assert_eq!(text.parse::<f64>(), Ok(value));
            assert!(!text.contains(','));
        }
    }
}
