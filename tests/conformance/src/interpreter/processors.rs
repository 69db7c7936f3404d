//! `process`, `process_values` and the stores they use: the processors of `Processors.java`.

use super::processor_context::{Fixed, Free, LogicContext, Out};
use super::streams::{Partitioning, Stream, either};
use super::{Interpreter, Outcome, returns};
use crate::functions::{self, Mapper, Seen};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key, Keys};
use std::sync::Arc;
use std::time::Duration;
use streams_core::processor::{
    FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Processor, ProcessorContext,
    PunctuationType, Schedule,
};
use streams_core::stores::{StoreHandle, TimestampedWindowStore};
use streams_core::{Error, Headers, Record, Result};

/// What a processor does, as its name says.
#[derive(Clone)]
pub(super) enum Logic {
    Forward,
    /// Whether it forwards before it fails, and on what.
    Fail(bool, String),
    Drop,
    Twice,
    Map(Arc<Mapper>),
    Rekey(Arc<Mapper>),
    ToChild(String),
    ShiftMs(i64),
    Headers(String),
    Metadata,
    Count,
    Concat,
    PutIfAbsent,
    Range(Option<Key>, Option<Key>),
    Latest,
    List,
    Lookup,
    Window(i64),
    TimestampedWindow(i64),
    Session(i64),
    SessionKeys(i64, Option<Key>, Option<Key>),
    Versioned(i64),
    VersionedDelete,
    VersionedLookup(i64),
    Punctuate(PunctuationType, i64),
    PunctuateAndFail(i64),
    Put,
    PutUpper,
    PutFail(String),
}

fn logic(processor: &str) -> std::result::Result<Logic, Wrong> {
    let (name, argument) = processor.split_once(':').unwrap_or((processor, ""));
    let number_of = |text: &str| {
        let number = text.parse::<i64>();
        number.map_err(|_| Wrong::new(format!("'{processor}' needs a number")))
    };
    let number = || number_of(argument);
    let bound = |text: &str| (!text.is_empty()).then(|| Key(Some(text.to_owned())));
    Ok(match name {
        "forward" => Logic::Forward,
        "fail_if" => Logic::Fail(false, argument.to_owned()),
        "fail_after" => Logic::Fail(true, argument.to_owned()),
        "drop" => Logic::Drop,
        "twice" => Logic::Twice,
        "map" => Logic::Map(Arc::new(functions::mapper(argument)?)),
        "rekey" => Logic::Rekey(Arc::new(functions::mapper(argument)?)),
        "to_child" => Logic::ToChild(argument.to_owned()),
        "shift" => Logic::ShiftMs(number()?),
        "headers" => Logic::Headers(argument.to_owned()),
        "metadata" => Logic::Metadata,
        "count" => Logic::Count,
        "concat" => Logic::Concat,
        "put_if_absent" => Logic::PutIfAbsent,
        "range" => {
            let (from, to) = argument.split_once(',').unwrap_or((argument, ""));
            Logic::Range(bound(from), bound(to))
        }
        "latest" => Logic::Latest,
        "list" => Logic::List,
        "lookup" => Logic::Lookup,
        "window" => Logic::Window(number()?),
        "timestamped_window" => Logic::TimestampedWindow(number()?),
        "session" => Logic::Session(number()?),
        "session_keys" => {
            let (gap, keys) = argument.split_once(',').unwrap_or((argument, ""));
            let (from, to) = keys.split_once(',').unwrap_or((keys, ""));
            Logic::SessionKeys(number_of(gap)?, bound(from), bound(to))
        }
        "versioned" => Logic::Versioned(number()?),
        "versioned_delete" => Logic::VersionedDelete,
        "versioned_lookup" => Logic::VersionedLookup(number()?),
        "punctuate_stream" => Logic::Punctuate(PunctuationType::StreamTime, number()?),
        "punctuate_fail" => Logic::PunctuateAndFail(number()?),
        "punctuate_wall" => Logic::Punctuate(PunctuationType::WallClock, number()?),
        "put" => Logic::Put,
        "put_upper" => Logic::PutUpper,
        "put_fail" => Logic::PutFail(argument.to_owned()),
        _ => return Err(Wrong::not_interpreted(format!("processor '{processor}'"))),
    })
}

/// The values of a store without timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainValue {
    Text,
    Long,
}

/// A processor: its logic, and the store it uses.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) logic: Logic,
    pub(super) store: String,
    pub(super) plain: Option<PlainValue>,
    records: u64,
}

impl Scripted {
    fn process(
        &mut self,
        key: &impl AnyKey,
        value: &Option<impl AnyValue>,
        timestamp: i64,
        context: &mut impl LogicContext,
    ) -> Result<()> {
        let seen = Seen::of(key, value.as_ref());
        let key = &Key(key.text());
        let text = seen.value.clone();
        let out = |value: Option<String>| Out {
            key,
            value,
            timestamp,
            headers: None,
            child: None,
        };
        match &self.logic {
            Logic::Forward => context.forward(out(text)),
            Logic::Fail(forwards, part) => {
                let fails = functions::shown(text.as_deref()).contains(part);
                if *forwards || !fails {
                    context.forward(out(text.clone()))?;
                }
                match fails {
                    true => Err(Error::data(functions::failure(text.as_deref()))),
                    false => Ok(()),
                }
            }
            Logic::Drop => Ok(()),
            Logic::Twice => {
                context.forward(out(text.clone()))?;
                context.forward(out(Some(format!("{}'", shown(text)))))
            }
            Logic::Map(mapper) => {
                let mapped = mapper(&seen);
                context.forward(out(mapped))
            }
            Logic::Rekey(mapper) => {
                let mapped = mapper(&seen);
                context.forward(Out {
                    key: &Key(mapped),
                    ..out(text)
                })
            }
            Logic::ToChild(child) => context.forward(Out {
                child: Some(child),
                ..out(text)
            }),
            Logic::ShiftMs(ms) => context.forward(Out {
                timestamp: timestamp + ms,
                ..out(text)
            }),
            Logic::Headers(value) => {
                let mut own = context.headers();
                own.add("own", Some(value.as_bytes()));
                context.forward(Out {
                    headers: Some(&own),
                    ..out(text.clone())
                })?;
                context.forward(Out {
                    headers: Some(&Headers::new()),
                    ..out(text)
                })
            }
            Logic::Metadata => {
                let metadata = context.metadata();
                context.forward(out(Some(metadata)))
            }
            Logic::Punctuate(..) | Logic::PunctuateAndFail(_) => {
                self.records += 1;
                context.forward(out(text))
            }
            Logic::Window(size_ms) => {
                let found = self.window(*size_ms, key, text, timestamp, context)?;
                context.forward(out(Some(found)))
            }
            Logic::Session(gap_ms) => {
                let found = self.session(*gap_ms, key, text, timestamp, context)?;
                context.forward(out(Some(found)))
            }
            Logic::SessionKeys(gap_ms, from, to) => {
                let keys = (from.as_ref(), to.as_ref());
                let found = self.session_keys(*gap_ms, keys, key, text, timestamp, context)?;
                context.forward(out(Some(found)))
            }
            Logic::Versioned(_) | Logic::VersionedDelete | Logic::VersionedLookup(_) => {
                let found = self.versioned(key, text, timestamp, context)?;
                context.forward(out(Some(found)))
            }
            Logic::TimestampedWindow(size_ms) => {
                let start_ms = timestamp / size_ms * size_ms;
                let windows: StoreHandle<TimestampedWindowStore<Key, String>> =
                    StoreHandle::named(&self.store);
                let mut windows = context.store(&windows)?;
                let before = windows.fetch(key, start_ms)?;
                match text {
                    Some(text) => windows.put(key, text, timestamp, start_ms)?,
                    None => windows.delete(key, start_ms)?,
                }
                let before = before.map(|(value, at)| format!("{value}@{at}"));
                context.forward(out(Some(shown(before))))
            }
            _ => {
                let answer = self.key_value(key, text, timestamp, context)?;
                match answer {
                    Some(answer) => context.forward(out(Some(answer))),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Text, or `null`.
pub(super) fn shown(text: Option<String>) -> String {
    functions::shown(text.as_deref()).to_owned()
}

impl<K: AnyKey, V: AnyValue> Processor<K, Option<V>, Key, Option<String>> for Scripted {
    fn init(&mut self, context: &mut ProcessorContext<'_, Key, Option<String>>) -> Result<()> {
        let (clock, interval_ms) = match &self.logic {
            Logic::Punctuate(clock, interval_ms) => (*clock, interval_ms),
            Logic::PunctuateAndFail(interval_ms) => (PunctuationType::StreamTime, interval_ms),
            _ => return Ok(()),
        };
        let interval = Duration::from_millis(interval_ms.unsigned_abs());
        context.schedule(interval, clock);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<'_, K, Option<V>>,
        context: &mut ProcessorContext<'_, Key, Option<String>>,
    ) -> Result<()> {
        Scripted::process(
            self,
            record.key,
            record.value,
            record.timestamp,
            &mut Free(context),
        )
    }

    fn punctuate(
        &mut self,
        _: Schedule,
        timestamp_ms: i64,
        context: &mut ProcessorContext<'_, Key, Option<String>>,
    ) -> Result<()> {
        let (stream, system) = (
            context.current_stream_time_ms(),
            context.current_system_time_ms(),
        );
        let value = format!("{} stream {stream} system {system}", self.records);
        let key = Key(Some("punctuated".to_owned()));
        context.forward(&key, &Some(value), timestamp_ms)?;
        match &self.logic {
            Logic::PunctuateAndFail(_) => {
                let time = format!("time {timestamp_ms}");
                Err(Error::data(functions::failure(Some(&time))))
            }
            _ => Ok(()),
        }
    }
}

impl<K: AnyKey, V: AnyValue> FixedKeyProcessor<K, Option<V>, Option<String>> for Scripted {
    fn process(
        &mut self,
        record: FixedKeyRecord<'_, K, Option<V>>,
        context: &mut FixedKeyContext<'_, '_, K, Option<String>>,
    ) -> Result<()> {
        let (key, value, timestamp) = (record.key(), record.value(), record.timestamp());
        Scripted::process(self, key, value, timestamp, &mut Fixed { context, record })
    }
}

/// `process` and `process_values`.
pub(super) fn step<K: AnyKey, V: AnyValue>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    all: &Interpreter,
) -> Outcome {
    let mut stores = step.texts("stores");
    let read_only = step.text("name").and_then(|name| all.read_only_store(name));
    stores.extend(read_only.as_deref());
    let store = stores.first().copied().unwrap_or_default();
    let logic = logic(step.required("processor")?)?;
    let plain = match all.store_kind(store).as_deref() {
        Some("key_value" | "lru") if matches!(logic, Logic::Count) => Some(PlainValue::Long),
        Some("key_value" | "lru") => Some(PlainValue::Text),
        _ => None,
    };
    let scripted = Scripted {
        logic,
        store: store.to_owned(),
        plain,
        records: 0,
    };
    let supplier = move || scripted.clone();
    match op {
        "process" => returns(either!(of, step, stream => {
            let processed = stream.process(supplier, &stores);
            Stream::<Key, String>::new(Partitioning::Rekeyed(processed), Keys::Text)
        })),
        _ => returns(either!(of, step, stream => {
            Stream::<K, String>::new(stream.process_values(supplier, &stores), of.keys)
        })),
    }
}
