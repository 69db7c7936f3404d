//! Verbs of streams that look at one record at a time.

use super::streams::{Partitioning, Stream, either};
use super::{Interpreter, Outcome, downcast, not_interpreted, returns};
use crate::functions::{self, Seen};
use crate::step::{Step, Wrong};
use crate::values::{AnyKey, AnyValue, Key, Keys};
use std::rc::Rc;
use streams_core::KStream;

pub(super) fn step<K: AnyKey, V: AnyValue>(
    of: &Stream<K, V>,
    op: &str,
    step: Step<'_>,
    all: &Interpreter,
) -> Outcome {
    match op {
        "filter" | "filter_not" => {
            let predicate = functions::predicate(step.required("fn")?)?;
            let is = op == "filter";
            let holds = move |key: &K, value: &Option<V>| predicate(&Seen::of(key, value.as_ref()));
            returns(either!(of, step, stream => Stream::new(match is {
                true => stream.filter(holds),
                false => stream.filter_not(holds),
            }, of.keys)))
        }
        "map" => {
            let keys = functions::mapper(step.required("key_fn")?)?;
            let values = functions::mapper(step.required("value_fn")?)?;
            let mapper = move |key: &K, value: &Option<V>| {
                let seen = Seen::of(key, value.as_ref());
                (Key(keys(&seen)), values(&seen))
            };
            returns(either!(of, step, stream => Stream::new(stream.map(mapper), Keys::Text)))
        }
        "map_values" => {
            let mapper = functions::mapper(step.required("fn")?)?;
            let mapper = move |key: &K, value: &Option<V>| mapper(&Seen::of(key, value.as_ref()));
            returns(
                either!(of, step, stream => Stream::<K, String>::new(stream.map_values_with_key(mapper), of.keys)),
            )
        }
        "flat_map" => {
            let keys = functions::mapper(step.required("key_fn")?)?;
            let values = functions::flat_mapper(step.required("values_fn")?)?;
            let mapper = move |key: &K, value: &Option<V>| {
                let pair =
                    |value: Option<String>| (Key(keys(&Seen::of(key, value.as_ref()))), value);
                let value = value.as_ref().map(AnyValue::text);
                let values = values(value.as_deref());
                values.into_iter().map(pair).collect::<Vec<_>>()
            };
            returns(either!(of, step, stream => Stream::new(stream.flat_map(mapper), Keys::Text)))
        }
        "flat_map_values" => {
            let values = functions::flat_mapper(step.required("values_fn")?)?;
            let mapper = move |value: &Option<V>| {
                let value = value.as_ref().map(AnyValue::text);
                values(value.as_deref())
            };
            returns(
                either!(of, step, stream => Stream::<K, String>::new(stream.flat_map_values(mapper), of.keys)),
            )
        }
        "select_key" => {
            let mapper = functions::mapper(step.required("fn")?)?;
            let mapper =
                move |key: &K, value: &Option<V>| Key(mapper(&Seen::of(key, value.as_ref())));
            returns(either!(of, step, stream => Stream::new(stream.select_key(mapper), Keys::Text)))
        }
        "peek" => {
            returns(either!(of, step, stream => Stream::new(stream.peek(|_, _| {}), of.keys)))
        }
        "for_each" => {
            either!(of, step, stream => stream.for_each(|_, _| {}));
            Ok(None)
        }
        "merge" => {
            let with = all.handle(step.required("with")?)?;
            let Some(other) = downcast::<Stream<K, V>>(&with) else {
                return Err(Wrong::new("streams of different types are not merged"));
            };
            let merged = either!(of, step, stream => match &other.stream {
                Partitioning::Partitioned(other) => Stream::new(stream.merge(other), of.keys),
                Partitioning::Rekeyed(other) => Stream::new(stream.merge(other), of.keys),
            });
            returns(merged)
        }
        "split" => either!(of, step, stream => split(&stream, of.keys, step, all)),
        _ => not_interpreted(op, "a stream"),
    }
}

fn split<K: AnyKey, V: AnyValue, P: streams_core::Partitioning>(
    stream: &KStream<K, Option<V>, P>,
    keys: Keys,
    step: Step<'_>,
    all: &Interpreter,
) -> Outcome
where
    Partitioning<K, V>: From<KStream<K, Option<V>, P>>,
{
    let branches = step.list("branches");
    let mut split = stream.split();
    let mut names = Vec::new();
    for (branch, number) in branches.iter().zip(1..) {
        let predicate = functions::predicate(branch.required("fn")?)?;
        let name = branch
            .text("name")
            .map_or(number.to_string(), str::to_owned);
        split = split.branch(&name, move |key: &K, value: &Option<V>| {
            predicate(&Seen::of(key, value.as_ref()))
        });
        names.push((name, *branch));
    }
    let split = match step.has("default") {
        true => {
            let default = step.options("default");
            let name = default.text("name").unwrap_or("0").to_owned();
            let split = split.default_branch(&name);
            names.push((name, default));
            split
        }
        false => split.no_default_branch(),
    };
    for (name, branch) in names {
        if let Some(handle) = branch.text("as") {
            let stream = Stream::new(split.get(&name).clone(), keys);
            all.name(handle, Rc::new(stream));
        }
    }
    Ok(None)
}
