//! Handlers that go on and write down what they were told, to the topic `handled`: the node as the key, the rest of the
//! context as the value. `Handlers.java` has the same.

use crate::functions::shown;
use crate::text;
use crate::values::{AnyKey, Key, WindowedKey};
use streams_core::{
    DeadLetter, DeserializationExceptionHandler, Error, ErrorHandlerContext, FailedRecord,
    HandlerResponse, ProcessingExceptionHandler, ProductionExceptionHandler, ProductionResponse,
    SerializationErrorOrigin, UnwritableRecord,
};

/// All three handlers.
#[derive(Clone, Copy, Debug)]
pub struct NoteDown;

fn note(context: &ErrorHandlerContext<'_>, what: &str) -> DeadLetter {
    let value = format!(
        "{}/{}/{} @{} {} {what}",
        shown(context.topic),
        context.partition,
        context.offset,
        context.timestamp,
        context.task_id
    );
    DeadLetter {
        timestamp: Some(context.timestamp.max(0)),
        key: Some(context.processor_node_id.into()),
        value: Some(value.into_bytes()),
        headers: context.headers.clone(),
        ..DeadLetter::new("handled")
    }
}

fn key(record: &FailedRecord<'_>) -> String {
    let plain = record.key::<Key>().map(AnyKey::text);
    let windowed = || record.key::<WindowedKey>().map(AnyKey::text);
    let text = plain.or_else(windowed).flatten();
    shown(text.as_deref()).to_owned()
}

impl ProcessingExceptionHandler for NoteDown {
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: Option<&FailedRecord<'_>>,
        error: &Error,
    ) -> HandlerResponse {
        let of = record.map_or("no record".to_owned(), |record| {
            format!("{} @{}", key(record), record.timestamp)
        });
        let message = Some(error.message()).filter(|message| message.starts_with("fails on "));
        let what = format!("{of}: {}", message.unwrap_or("*"));
        HandlerResponse::resume().with_dead_letter(note(context, &what))
    }
}

impl ProductionExceptionHandler for NoteDown {
    fn handle_serialization_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &UnwritableRecord<'_>,
        _error: &Error,
    ) -> ProductionResponse {
        let part = match record.origin {
            SerializationErrorOrigin::Key => "key",
            SerializationErrorOrigin::Value => "value",
        };
        let partition = record.partition.map(|partition| partition.to_string());
        let what = format!(
            "{part} of {} for {}/{} @{}",
            key(&record.record),
            record.topic,
            shown(partition.as_deref()),
            record.record.timestamp
        );
        ProductionResponse::resume().with_dead_letter(note(context, &what))
    }
}

impl DeserializationExceptionHandler for NoteDown {
    fn handle_error(&self, context: &ErrorHandlerContext<'_>, _error: &Error) -> HandlerResponse {
        let bytes = |bytes: Option<&[u8]>| bytes.map_or("null".to_owned(), text::show);
        let (key, value) = (
            bytes(context.source_raw_key),
            bytes(context.source_raw_value),
        );
        HandlerResponse::resume().with_dead_letter(note(context, &format!("{key} {value}")))
    }
}
