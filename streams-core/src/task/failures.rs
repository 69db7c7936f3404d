//! What becomes of what cannot be read, processed or written: the task's handlers are asked, and their dead letters produced.

use super::Task;
use super::context::Context;
use super::effects::Effects;
use super::stores::{Origin, SourceRecord};
use crate::error::{Error, Result};
use crate::exception_handlers::{
    DeadLetter, ErrorHandlerContext, FailedRecord, HandlerResponse, HandlerResult,
    ProductionResult, UnsentRecord, UnwritableRecord,
};
use crate::operators::children::catch;
use crate::operators::sink::NO_HEADERS;
use crate::partitioner::partition_for_key;
use crate::record::{FetchedRecord, Headers, OwnedRecord};
use std::sync::Arc;

impl Context {
    /// Asks what to do about a node that failed, on a record or in a punctuation.
    ///
    /// # Errors
    /// The error, when nobody is to be asked or the answer is to stop.
    #[cold]
    #[inline(never)]
    pub(crate) fn processing_failed(
        &mut self,
        error: Error,
        node: &str,
        record: Option<FailedRecord<'_>>,
    ) -> Result<()> {
        let Some(handler) = self.handlers.processing.clone() else {
            return Err(error.at_node(node));
        };
        if !error.is_undecided() {
            return Err(error.at_node(node));
        }
        let (headers, timestamp) = match &record {
            Some(record) => (record.headers, record.timestamp),
            None => (&NO_HEADERS, self.origin.timestamp),
        };
        let response = {
            let context = self.error_context(node, headers, timestamp);
            ask(
                || handler.handle_error(&context, record.as_ref(), &error),
                &error,
            )
        };
        self.decide(response, || error.at_node(node))
    }

    /// Asks what to do about a record that cannot be serialized; false is to fail.
    ///
    /// # Errors
    /// When the handler failed itself.
    #[cold]
    #[inline(never)]
    pub(crate) fn serialization_failed(
        &mut self,
        error: &Error,
        node: &str,
        unwritable: &UnwritableRecord<'_>,
    ) -> Result<bool> {
        let handler = self.handlers.production.clone();
        let record = &unwritable.record;
        let response = {
            let context = self.error_context(node, record.headers, record.timestamp);
            ask(
                || handler.handle_serialization_error(&context, unwritable, error),
                error,
            )?
        };
        let resumes = response.result() == ProductionResult::Resume;
        if resumes {
            tracing::warn!(
                task = %self.id, node, topic = unwritable.topic, %error,
                "a record cannot be serialized and is left out"
            );
            self.dropped_records += 1;
        }
        if !resumes {
            // The handler of processing errors may go on all the same.
            self.produce_dead_letters(response.dead_letters.clone(), false)?;
        }
        self.produce_dead_letters(response.dead_letters, true)?;
        Ok(resumes)
    }

    /// Asks what to do about a record that was not written, made of the record at `source`.
    ///
    /// # Errors
    /// When the handler failed itself.
    pub(super) fn production_failed(
        &mut self,
        error: &Error,
        node: &str,
        (origin, source): (Origin, Option<&OwnedRecord>),
        record: &UnsentRecord<'_>,
    ) -> Result<ProductionResult> {
        let handler = self.handlers.production.clone();
        let response = {
            let input = origin.input;
            let topic = input.and_then(|input| self.input_topics.get(input as usize));
            let context = ErrorHandlerContext {
                topic: topic.map(|topic| &**topic),
                partition: topic.map_or(-1, |_| self.id.partition),
                offset: origin.offset,
                headers: source.map_or(record.headers, |source| &source.headers),
                processor_node_id: node,
                task_id: self.id,
                timestamp: origin.timestamp,
                source_raw_key: source.and_then(|source| source.key.as_deref()),
                source_raw_value: source.and_then(|source| source.value.as_deref()),
                dead_letter_topic: self.handlers.dead_letter_topic.as_deref(),
            };
            ask(|| handler.handle_error(&context, record, error), error)?
        };
        let result = response.result();
        let stops = result == ProductionResult::Fail
            || result == ProductionResult::Retry && !error.is_retriable();
        if !stops && result == ProductionResult::Resume {
            self.dropped_records += 1;
        }
        self.produce_dead_letters(response.dead_letters, !stops)?;
        Ok(result)
    }

    /// Asks what to do about a record that cannot be read.
    ///
    /// # Errors
    /// The error with the record's place, when the answer is to stop.
    #[cold]
    #[inline(never)]
    pub(crate) fn deserialization_failed<R: FetchedRecord>(
        &mut self,
        error: Error,
        node: &str,
        (topic, partition): (&str, i32),
        (record, headers): (&R, &Headers),
    ) -> Result<()> {
        let handler = self.handlers.deserialization.clone();
        let response = {
            let context = ErrorHandlerContext {
                topic: Some(topic),
                partition,
                offset: record.offset(),
                headers,
                processor_node_id: node,
                task_id: self.id,
                timestamp: record.timestamp(),
                source_raw_key: record.key(),
                source_raw_value: record.value(),
                dead_letter_topic: self.handlers.dead_letter_topic.as_deref(),
            };
            ask(|| handler.handle_error(&context, &error), &error)
        };
        self.decide(response, || {
            Error::data(format!(
                "{topic}-{partition} at offset {}: {error}; set deserialization.exception.handler to LogAndContinue to skip such records",
                record.offset()
            ))
        })
    }

    fn error_context<'a>(
        &'a self,
        node: &'a str,
        headers: &'a Headers,
        timestamp: i64,
    ) -> ErrorHandlerContext<'a> {
        let input = self.origin.input;
        let source = self.io.source.as_deref();
        ErrorHandlerContext {
            topic: input.map(|input| &*self.input_topics[input as usize]),
            partition: input.map_or(-1, |_| self.id.partition),
            offset: self.origin.offset,
            headers,
            processor_node_id: node,
            task_id: self.id,
            timestamp,
            source_raw_key: source.and_then(SourceRecord::key),
            source_raw_value: source.and_then(SourceRecord::value),
            dead_letter_topic: self.handlers.dead_letter_topic.as_deref(),
        }
    }

    fn decide(
        &mut self,
        response: Result<HandlerResponse>,
        error: impl FnOnce() -> Error,
    ) -> Result<()> {
        let response = response?;
        let resumes = response.result() == HandlerResult::Resume;
        self.produce_dead_letters(response.dead_letters, resumes)?;
        match resumes {
            true => {
                self.last_letters.clear();
                self.dropped_records += 1;
                Ok(())
            }
            false => Err(error().decided()),
        }
    }

    /// Produces dead letters. Those of a failure that stops the application wait apart: what else the task has produced since
    /// is not sent then.
    fn produce_dead_letters(&mut self, letters: Vec<DeadLetter>, resumes: bool) -> Result<()> {
        if !self.handlers.produce && !letters.is_empty() {
            tracing::warn!(
                count = letters.len(),
                "records of global stores cannot be written to a dead letter queue"
            );
            return Ok(());
        }
        for letter in letters {
            let count = self.topics.partition_count(&letter.topic)?;
            let partition = match (letter.partition, &letter.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_for_key(key, count),
                (None, None) => Effects::ANY_PARTITION,
            };
            let effects = match resumes {
                true => &mut self.io.effects,
                false => &mut self.last_letters,
            };
            let at_hand = std::mem::replace(&mut effects.origin, Origin::DEAD_LETTER);
            effects.push(
                &letter.topic.into(),
                partition,
                letter.timestamp,
                letter.key.as_deref(),
                letter.value.as_deref(),
                &letter.headers,
            );
            effects.origin = at_hand;
        }
        Ok(())
    }

    /// Counts a record that comes too late, and writes its source record to the topic of late records where there is one: once,
    /// however many windows it is late for.
    ///
    /// # Errors
    /// When that topic does not exist.
    #[cold]
    #[inline(never)]
    pub(crate) fn drop_late(
        &mut self,
        reason: &'static str,
        timestamp: i64,
        headers: &Headers,
    ) -> Result<()> {
        self.drop_record(reason);
        let Some(topic) = self.handlers.late_topic.clone() else {
            return Ok(());
        };
        if self.last_late == Some(self.origin) {
            return Ok(());
        }
        self.last_late = Some(self.origin);
        let why = format!(
            "{reason}: its time is {timestamp}, that of the stream {}",
            self.stream_time_ms
        );
        let letter = {
            let context = self.error_context("", headers, timestamp);
            DeadLetter::of_late(&topic, &context, &why)
        };
        self.produce_dead_letters(vec![letter], true)
    }

    /// Copies the bytes of a source record for handlers, into the allocations of the one before unless the record cache
    /// holds that.
    #[inline(never)]
    pub(crate) fn keep_source(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        match self.io.source.as_mut().and_then(Arc::get_mut) {
            Some(source) => source.set(key, value),
            None => {
                let mut source = SourceRecord::default();
                source.set(key, value);
                self.io.source = Some(Arc::new(source));
            }
        }
    }
}

impl<R: FetchedRecord> Task<R> {
    /// Asks what to do about a record of this task that was not written; to stop makes the task unusable.
    ///
    /// # Errors
    /// When the handler failed itself.
    pub(crate) fn production_failed(
        &mut self,
        error: &Error,
        node: &str,
        source: (Origin, Option<&OwnedRecord>),
        record: &UnsentRecord<'_>,
    ) -> Result<ProductionResult> {
        let result = self
            .context
            .production_failed(error, node, source, record)?;
        let retries = result == ProductionResult::Retry && error.is_retriable();
        if result != ProductionResult::Resume && !retries {
            self.context.io.effects = std::mem::take(&mut self.context.last_letters);
            self.failed = true;
        }
        Ok(result)
    }
}

/// Runs a handler; one that fails itself stops the application.
fn ask<T>(handler: impl FnOnce() -> T, about: &Error) -> Result<T> {
    catch(|| Ok(handler())).map_err(|failure| {
        Error::fatal(format!(
            "an exception handler panicked: {failure}; it was asked about: {about}"
        ))
    })
}
