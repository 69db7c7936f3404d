//! What can go wrong in a store, and what to do about it.

use std::error::Error as StdError;
use std::fmt;

/// The result of every operation on a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The coarse reason of a [`StoreError`]: what the caller can do differs by kind, not by message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The disk could not be read or written.
    Io,
    /// Bytes on disk or in a changelog are not what this crate writes.
    Corruption,
    /// Another process, or another open [`TaskStores`](crate::TaskStores), holds the directory.
    Locked,
    /// The store was closed before the call.
    Closed,
    /// The caller asked for something that makes no sense.
    InvalidArgument,
    /// This build cannot do what was asked for.
    Unsupported,
}

impl StoreErrorKind {
    fn advice(self) -> &'static str {
        match self {
            Self::Io => {
                "check that the disk has space left and that the directory may be written, then start again"
            }
            Self::Corruption => {
                "delete the directory of this task (TaskStores::wipe) and let its stores be restored from their changelogs"
            }
            Self::Locked => {
                "give every instance its own state directory, or wait until the one that holds it has closed it"
            }
            Self::Closed => "open the stores of the task again",
            Self::InvalidArgument => "correct the call",
            Self::Unsupported => {
                "choose StoreBackend::Memory, or build streams-state with the feature `rocksdb`"
            }
        }
    }
}

/// An error of a store: what happened, its [kind](StoreError::kind), and in its text what to do next.
///
/// # Examples
///
/// ```
/// use streams_state::{StoreError, StoreErrorKind};
///
/// let error = StoreError::invalid_argument("retention of store `counts` is -1 ms");
/// assert_eq!(error.kind(), StoreErrorKind::InvalidArgument);
/// assert_eq!(error.to_string(), "retention of store `counts` is -1 ms; correct the call");
/// ```
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error of the given kind.
    #[cold]
    #[inline(never)]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    /// The disk could not be read or written.
    #[cold]
    #[inline(never)]
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Io, message)
    }

    /// Bytes on disk or in a changelog are not what this crate writes.
    #[cold]
    #[inline(never)]
    pub fn corruption(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Corruption, message)
    }

    /// Somebody else holds the directory.
    #[cold]
    #[inline(never)]
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Locked, message)
    }

    /// The store was closed before the call.
    #[cold]
    #[inline(never)]
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Closed, message)
    }

    /// The caller asked for something that makes no sense.
    #[cold]
    #[inline(never)]
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::InvalidArgument, message)
    }

    /// This build cannot do what was asked for.
    #[cold]
    #[inline(never)]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Unsupported, message)
    }

    /// The same error with its cause attached, for [`std::error::Error::source`].
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with the place it happened at in front of its message.
    #[must_use]
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        write!(f, "; {}", self.0.kind.advice())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_place_cause_and_what_to_do() {
        let error = StoreError::io("cannot write")
            .with_source("no space left")
            .context("store `counts`");
        assert_eq!(
            error.to_string(),
            "store `counts`: cannot write: no space left; check that the disk has space left and that the directory \
             may be written, then start again"
        );
        assert!(error.source().is_some());
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<StoreError>(), size_of::<usize>());
    }
}
