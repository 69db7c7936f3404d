//! Why a record is not a reading.

use std::fmt;

/// The rule a record broke. Its text is the `reason` header of the dead letter and the label of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is not a JSON object, or is null.
    NotJson,
    /// No `city`, or an empty one, or one longer than 200 bytes.
    NoCity,
    /// No `timeStamp`.
    NoTime,
    /// The time is a number, or text that is not RFC 3339 with an offset.
    TimeFormat,
    /// The time is before 1970.
    TimeNegative,
    /// The time is further ahead of the clock than clocks go wrong.
    TimeInFuture,
    /// A known value is text, not finite, or nothing a number can be read from.
    NotANumber,
    /// A value that cannot be true, such as a wind of 469 m/s.
    OutOfRange,
    /// No measured value at all.
    NoValues,
    /// More values than any station sends.
    TooManyValues,
    /// The record's key is not the reading's city.
    WrongKey,
}

impl Reason {
    /// Every reason, in the order of [`Reason::index`].
    pub const ALL: [Reason; 11] = [
        Reason::NotJson,
        Reason::NoCity,
        Reason::NoTime,
        Reason::TimeFormat,
        Reason::TimeNegative,
        Reason::TimeInFuture,
        Reason::NotANumber,
        Reason::OutOfRange,
        Reason::NoValues,
        Reason::TooManyValues,
        Reason::WrongKey,
    ];

    /// Its place in [`Reason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The reason as headers, counters and logs name it.
    ///
    /// ```
    /// assert_eq!(weather_producer::Reason::OutOfRange.as_str(), "out-of-range");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotJson => "not-json",
            Reason::NoCity => "no-city",
            Reason::NoTime => "no-time",
            Reason::TimeFormat => "time-format",
            Reason::TimeNegative => "time-negative",
            Reason::TimeInFuture => "time-in-future",
            Reason::NotANumber => "not-a-number",
            Reason::OutOfRange => "out-of-range",
            Reason::NoValues => "no-values",
            Reason::TooManyValues => "too-many-values",
            Reason::WrongKey => "wrong-key",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that was refused: the rule it broke and what exactly was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The rule.
    pub reason: Reason,
    /// What was found and what is expected, for people.
    pub message: String,
}

impl Rejection {
    /// A refusal for this reason.
    #[cold]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Rejection {
            reason,
            message: message.into(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_at_its_index() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
