//! What goes wrong between a value and its bytes.

use std::error::Error as StdError;
use std::fmt;

/// A value that could not be written as bytes, or bytes that are no such value.
///
/// The topic, partition and offset are not in it: whoever reads the record adds them.
///
/// ```
/// use streams_core::serdes::{I64, Serde};
///
/// let error = I64.deserialize(b"abc").unwrap_err();
/// assert_eq!(error.to_string(), "an i64 is 8 bytes, big-endian; got 3 bytes: 616263");
/// assert!(!error.is_null());
/// ```
pub struct SerdeError(Box<Inner>);

struct Inner {
    message: String,
    null: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl SerdeError {
    /// An error with a message.
    #[cold]
    #[inline(never)]
    pub fn new(message: impl Into<String>) -> Self {
        SerdeError(Box::new(Inner {
            message: message.into(),
            null: false,
            source: None,
        }))
    }

    /// A null where the type has none.
    #[cold]
    #[inline(never)]
    pub fn null() -> Self {
        SerdeError(Box::new(Inner {
            message: "null where the type has none; use an Option type with Nullable(..)"
                .to_owned(),
            null: true,
            source: None,
        }))
    }

    /// Adds what caused it, shown by [`std::error::Error::source`] and at the end of the text.
    #[cold]
    #[inline(never)]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts words in front of the message: where in the value it happened.
    #[cold]
    #[inline(never)]
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Whether a null was met where the type has none.
    pub fn is_null(&self) -> bool {
        self.0.null
    }
}

impl fmt::Display for SerdeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for SerdeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerdeError: {self}")
    }
}

impl StdError for SerdeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The first bytes in hexadecimal, for messages: enough to recognise the data, short enough for a log line.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 16;
    let mut text: String = bytes
        .iter()
        .take(SHOWN_MAX)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if bytes.len() > SHOWN_MAX {
        text.push_str("..");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_the_place_and_the_cause() {
        let error = SerdeError::new("no JSON")
            .with_source("missing field `city`")
            .context("element 3");
        assert_eq!(
            error.to_string(),
            "element 3: no JSON: missing field `city`"
        );
        assert!(!error.is_null());
    }

    #[test]
    fn null_says_what_to_use_instead() {
        let error = SerdeError::null();
        assert!(error.is_null());
        assert!(error.to_string().contains("Nullable(..)"));
    }

    #[test]
    fn excerpt_is_short() {
        assert_eq!(excerpt(b"abc"), "616263");
        assert_eq!(excerpt(&[0; 17]), format!("{}..", "00".repeat(16)));
    }
}
