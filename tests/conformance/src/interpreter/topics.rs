//! Streams into topics, through them, and into tables.

use super::options::{Kept, kept, produced, repartitioned};
use super::streams::{Partitioning, Stream, either, named};
use super::tables::Table;
use super::{Outcome, not_interpreted, returns};
use crate::functions::shown;
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key};
use std::any::Any;
use streams_core::serdes::default_serde;
use streams_core::{Materialized, Record};

pub(super) fn step<K: AnyKey, V: AnyValue>(of: &Stream<K, V>, op: &str, step: Step<'_>) -> Outcome {
    match op {
        "to" => {
            let produced = produced(step, of.key_serde(), of.value_serde())?;
            let topic = step.required("topic")?;
            either!(of, step, stream => stream.to(topic, produced));
            Ok(None)
        }
        "to_extracted" => {
            let produced = produced(step, of.key_serde(), of.value_serde())?;
            let (what, argument) = split(step.required("extractor")?)?;
            let extractor =
                move |record: Record<'_, K, Option<V>>| extract(what, &argument, record);
            either!(of, step, stream => stream.to_extracted(extractor, produced));
            Ok(None)
        }
        "repartition" => {
            let repartitioned = repartitioned(step, of.key_serde(), of.value_serde())?;
            returns(
                either!(of, step, stream => Stream::new(stream.repartition(repartitioned), of.keys)),
            )
        }
        "to_table" => to_table(of, step),
        _ => not_interpreted(op, "a stream"),
    }
}

#[derive(Clone, Copy)]
enum What {
    Key,
    Value,
    Header,
}

fn split(extractor: &str) -> Result<(What, String), Wrong> {
    match extractor.split_once(':') {
        Some(("key", prefix)) => Ok((What::Key, prefix.to_owned())),
        Some(("value", prefix)) => Ok((What::Value, prefix.to_owned())),
        Some(("header", name)) => Ok((What::Header, name.to_owned())),
        _ => Err(Wrong::not_interpreted(format!("extractor '{extractor}'"))),
    }
}

fn extract<K: AnyKey, V: AnyValue>(
    what: What,
    argument: &str,
    record: Record<'_, K, Option<V>>,
) -> String {
    match what {
        What::Key => argument.to_owned() + shown(record.key.text().as_deref()),
        What::Value => {
            let value = record.value.as_ref().map(AnyValue::text);
            argument.to_owned() + shown(value.as_deref())
        }
        What::Header => {
            let headers = record
                .headers
                .iter()
                .filter(|header| &*header.key == argument);
            let value = { headers }
                .next_back()
                .and_then(|header| header.value.as_deref());
            value.map_or("none".to_owned(), |value| {
                String::from_utf8_lossy(value).into_owned()
            })
        }
    }
}

fn to_table<K: AnyKey, V: AnyValue>(of: &Stream<K, V>, step: Step<'_>) -> Outcome {
    let any: &dyn Any = of;
    match &of.stream {
        Partitioning::Partitioned(stream) => {
            let stream = named(stream, step);
            returns(match kept::<V>(step)? {
                None => Table::new(
                    stream.to_table(Materialized::new().with_value(default_serde::<V>())),
                    of.keys,
                ),
                Some(Kept::Latest(kept)) => Table::new(stream.to_table(kept), of.keys),
                Some(Kept::History(kept)) => Table::new(stream.to_table(kept), of.keys),
            })
        }
        // The serdes of its repartition topic are those of the types, which windowed keys do not have.
        Partitioning::Rekeyed(_) => match any.downcast_ref::<Stream<Key, V>>() {
            Some(Stream {
                stream: Partitioning::Rekeyed(stream),
                keys,
            }) => {
                let stream = named(stream, step);
                returns(match kept::<V>(step)? {
                    None => Table::new(
                        stream.to_table(Materialized::new().with_value(default_serde::<V>())),
                        *keys,
                    ),
                    Some(Kept::Latest(kept)) => Table::new(stream.to_table(kept), *keys),
                    Some(Kept::History(kept)) => Table::new(stream.to_table(kept), *keys),
                })
            }
            _ => not_interpreted("to_table", "a stream of rekeyed windows"),
        },
    }
}
