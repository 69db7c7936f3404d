//! The one public error: what went wrong, where, and what to do about it.

use std::any::Any;
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
    /// The type of what went wrong, for dead letters.
    type_name: &'static str,
    /// Whether the message names the node where it happened.
    at_node: bool,
    /// Whether a handler has decided that it stops the application.
    is_decided: bool,
}

/// The type of an error without a cause, under the name users know it by.
const OWN_TYPE: &str = "streams_core::Error";
/// The type of what a panic left.
const PANIC: &str = "panic";

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
            type_name: OWN_TYPE,
            at_node: false,
            is_decided: false,
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
    pub fn with_source<E: Into<Box<dyn StdError + Send + Sync>>>(mut self, source: E) -> Self {
        self.0.source = Some(source.into());
        self.0.type_name = std::any::type_name::<E>();
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
            if self.0.type_name == PANIC {
                self = self.context("panicked");
            }
            self = self.context(format_args!("in {name}"));
            self.0.at_node = true;
        }
        self
    }

    /// What user code left that panicked.
    #[cold]
    #[inline(never)]
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let mut error = Error::data(panic_text(panic));
        error.0.type_name = PANIC;
        error
    }

    /// Takes note that a handler has decided to stop the application.
    pub(crate) fn decided(mut self) -> Self {
        self.0.is_decided = true;
        self
    }

    /// Whether a handler may still decide to go on: when it is about data, and none was asked yet.
    pub(crate) fn is_undecided(&self) -> bool {
        self.0.kind == ErrorKind::Data && !self.0.is_decided
    }

    /// The message alone, without what caused it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name of the type of what caused it, `panic` for a panic, and of this type where nothing else is known.
    pub(crate) fn type_name(&self) -> &'static str {
        self.0.type_name
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
        let mut new = Error::new(ErrorKind::Data, error.to_string());
        new.0.type_name = "streams_core::serdes::SerdeError";
        new
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
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
