//! Stores that a processor fills from a topic of its own: global and read-only ones.

use super::options::consumed;
use super::{Interpreter, Outcome};
use crate::functions;
use crate::step::{Step, Wrong};
use crate::values::{AnyValue, Key, KeySerde};
use std::sync::Arc;
use streams_core::processor::{Processor, ProcessorContext};
use streams_core::serdes::{Nullable, Utf8};
use streams_core::stores::{KeyValueStore, StoreBuilder, StoreHandle, Stores};
use streams_core::{Consumed, Error, Record, Result};

type Texts = KeyValueStore<Key, String>;

/// Puts what it gets, maybe in capitals.
#[derive(Clone)]
struct Put {
    store: StoreHandle<Texts>,
    is_upper: bool,
    /// It fails on values that contain this.
    fails_on: Option<String>,
}

impl Processor<Key, Option<String>, (), ()> for Put {
    fn process(
        &mut self,
        record: Record<'_, Key, Option<String>>,
        context: &mut ProcessorContext<'_, (), ()>,
    ) -> Result<()> {
        let value = record.value.as_deref();
        if let Some(part) = &self.fails_on
            && functions::shown(value).contains(part)
        {
            return Err(Error::data(functions::failure(value)));
        }
        let mut store = context.store(&self.store)?;
        match record.value {
            Some(value) if self.is_upper => store.put(record.key, value.to_uppercase()),
            Some(value) => store.put(record.key, value.clone()),
            None => store.delete(record.key).map(|_| ()),
        }
    }
}

/// A store of a topic, and its processor.
fn parts(step: Step<'_>) -> std::result::Result<(StoreBuilder<Texts>, Put), Wrong> {
    let store = step.options("store");
    let (name, kind) = (store.required("name")?, store.required("type")?);
    let is_long = store.text("value") == Some("long");
    if kind != "key_value" || is_long {
        return Err(Wrong::not_interpreted(format!(
            "a store of type {kind} of a topic"
        )));
    }
    let processor = step.required("processor")?;
    let fails_on = processor.strip_prefix("put_fail:").map(str::to_owned);
    let is_upper = match processor {
        "put_upper" => true,
        "put" => false,
        _ if fails_on.is_some() => false,
        other => {
            return Err(Wrong::not_interpreted(format!(
                "processor '{other}' of a topic"
            )));
        }
    };
    let mut built = Stores::key_value(name, KeySerde, Utf8);
    if store.text("store") == Some("in_memory") {
        built = built.in_memory();
    }
    let store = StoreHandle::named(name);
    Ok((
        built,
        Put {
            store,
            is_upper,
            fails_on,
        },
    ))
}

/// `add_global_store`.
pub(super) fn add_global(step: Step<'_>, all: &Interpreter) -> Outcome {
    let (store, put) = parts(step)?;
    let consumed = consumed(
        step,
        Arc::new(KeySerde),
        Arc::new(Nullable(Utf8)),
        |value: &Option<String>| value.as_ref().map(AnyValue::text),
    )?;
    let topic = step.required("topic")?;
    let supplier = move || put.clone();
    all.builder
        .add_global_store(store, topic, consumed, supplier);
    Ok(None)
}

/// `read_only_store`.
pub(super) fn add_read_only(step: Step<'_>, all: &Interpreter) -> std::result::Result<(), Wrong> {
    let (store, put) = parts(step)?;
    let name = step.required("name")?;
    if step.required("source")? != format!("{name}-source") {
        return Err(Wrong::not_interpreted(
            "a source that is not called after its processor",
        ));
    }
    all.note_reader(step.required("reader")?, put.store.name());
    let consumed = Consumed::with(KeySerde, Nullable(Utf8)).named(name);
    let topic = step.required("topic")?;
    let supplier = move || put.clone();
    all.builder
        .add_read_only_state_store(store, topic, consumed, supplier);
    Ok(())
}
