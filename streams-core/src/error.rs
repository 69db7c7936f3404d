//! The one public error: what went wrong, where, and what to do about it.

use std::error::Error as StdError;
use std::fmt;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can fail in this crate.
///
/// It is opaque: ask [`Error::kind`] what to do, print it to see what happened. Its text names the topic, partition and
/// offset of a record, or the source line of a mistake in a topology.
///
/// ```
/// use streams_core::{Error, ErrorKind};
///
/// let error = Error::config("commit.interval.ms must be a number of milliseconds, got 'soon'");
/// assert_eq!(error.kind(), ErrorKind::Config);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// Whether the message names the node where it happened.
    at_node: bool,
}

/// What an [`Error`] means for who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The topology cannot work: change the program.
    Topology,
    /// A setting is wrong: change the configuration.
    Config,
    /// A record could not be read, processed or written: fix the data or choose a handler that goes on.
    Data,
    /// The broker did not answer in time or was not ready: the same call may succeed later.
    Retriable,
    /// Another instance owns this work now: close the task and rejoin the group.
    Fenced,
    /// The state on this machine's disk could not be read or written.
    State,
    /// Nothing here can go on: stop, look at the message, restart.
    Fatal,
}

impl Error {
    /// An error of that kind with a message.
    #[cold]
    #[inline(never)]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            at_node: false,
        }))
    }

    /// A mistake in the topology.
    #[cold]
    #[inline(never)]
    pub fn topology(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Topology, message)
    }

    /// A wrong setting.
    #[cold]
    #[inline(never)]
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, message)
    }

    /// A record that cannot be handled.
    #[cold]
    #[inline(never)]
    pub fn data(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Data, message)
    }

    /// Something that may work when tried again.
    #[cold]
    #[inline(never)]
    pub fn retriable(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Retriable, message)
    }

    /// This instance no longer owns what it worked on.
    #[cold]
    #[inline(never)]
    pub fn fenced(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Fenced, message)
    }

    /// Local state failed.
    #[cold]
    #[inline(never)]
    pub fn state(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::State, message)
    }

    /// The app cannot go on.
    #[cold]
    #[inline(never)]
    pub fn fatal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Fatal, message)
    }

    /// Adds what caused it, shown by [`std::error::Error::source`].
    #[cold]
    #[inline(never)]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts words in front of the message: where it happened.
    #[cold]
    #[inline(never)]
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Names the node of the topology where it happened: the innermost one, not those it passed on its way out.
    #[cold]
    #[inline(never)]
    pub(crate) fn at_node(mut self, name: &str) -> Self {
        if !self.0.at_node {
            self = self.context(format_args!("in {name}"));
            self.0.at_node = true;
        }
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again may help.
    pub fn is_retriable(&self) -> bool {
        self.0.kind == ErrorKind::Retriable
    }
}

impl fmt::Display for Error {
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<streams_state::StoreError> for Error {
    #[cold]
    #[inline(never)]
    fn from(error: streams_state::StoreError) -> Self {
        Error::new(ErrorKind::State, error.to_string())
    }
}

impl From<crate::serdes::SerdeError> for Error {
    #[cold]
    #[inline(never)]
    fn from(error: crate::serdes::SerdeError) -> Self {
        Error::new(ErrorKind::Data, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_the_place_and_every_cause() {
        let error = Error::data("no city")
            .with_source("missing field `city`")
            .context("weather-3 at offset 17");
        assert_eq!(
            error.to_string(),
            "weather-3 at offset 17: no city: missing field `city`"
        );
        assert_eq!(error.kind(), ErrorKind::Data);
    }
}
