//! What handlers answer.

use super::DeadLetter;

/// How to go on after a record that cannot be read or processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerResult {
    /// Leave it out. Its offset is committed.
    Resume,
    /// Stop the application.
    Fail,
}

/// The answer of a [`DeserializationExceptionHandler`](super::DeserializationExceptionHandler) or
/// [`ProcessingExceptionHandler`](super::ProcessingExceptionHandler): how to go on, and what to write to a dead letter queue.
///
/// ```
/// use streams_core::{DeadLetter, HandlerResponse, HandlerResult};
///
/// let response = HandlerResponse::resume().with_dead_letter(DeadLetter::new("unreadable"));
/// assert_eq!(response.result(), HandlerResult::Resume);
/// assert_eq!(response.dead_letters().len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct HandlerResponse {
    result: HandlerResult,
    pub(crate) dead_letters: Vec<DeadLetter>,
}

impl HandlerResponse {
    /// Leave the record out.
    pub fn resume() -> Self {
        HandlerResponse {
            result: HandlerResult::Resume,
            dead_letters: Vec::new(),
        }
    }

    /// Stop the application.
    pub fn fail() -> Self {
        HandlerResponse {
            result: HandlerResult::Fail,
            dead_letters: Vec::new(),
        }
    }

    /// Writes a record to a dead letter queue too, if there is one: what
    /// [`ErrorHandlerContext::dead_letter`](super::ErrorHandlerContext::dead_letter) makes.
    pub fn with_dead_letter(mut self, dead_letter: impl Into<Option<DeadLetter>>) -> Self {
        self.dead_letters.extend(dead_letter.into());
        self
    }

    /// How to go on.
    pub fn result(&self) -> HandlerResult {
        self.result
    }

    /// What to write.
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }
}

/// How to go on after a record that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductionResult {
    /// Go on without it.
    Resume,
    /// Stop the application.
    Fail,
    /// Start over where the task was committed last, so that the record is written again with all that came with it (KIP-1065).
    /// For errors that may pass; after any other it is to fail.
    Retry,
}

/// The answer of a [`ProductionExceptionHandler`](super::ProductionExceptionHandler).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ProductionResponse {
    result: ProductionResult,
    pub(crate) dead_letters: Vec<DeadLetter>,
}

impl ProductionResponse {
    fn of(result: ProductionResult) -> Self {
        ProductionResponse {
            result,
            dead_letters: Vec::new(),
        }
    }

    /// Go on without the record.
    pub fn resume() -> Self {
        ProductionResponse::of(ProductionResult::Resume)
    }

    /// Stop the application.
    pub fn fail() -> Self {
        ProductionResponse::of(ProductionResult::Fail)
    }

    /// Start over where the task was committed last.
    pub fn retry() -> Self {
        ProductionResponse::of(ProductionResult::Retry)
    }

    /// As [`HandlerResponse::with_dead_letter`].
    pub fn with_dead_letter(mut self, dead_letter: impl Into<Option<DeadLetter>>) -> Self {
        self.dead_letters.extend(dead_letter.into());
        self
    }

    /// How to go on.
    pub fn result(&self) -> ProductionResult {
        self.result
    }

    /// What to write.
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }
}
