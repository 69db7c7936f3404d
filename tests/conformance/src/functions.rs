//! The functions that a topology written as data may name, as `name` or `name:argument`; the Java side has the same.

use crate::step::Wrong;
use crate::values::{AnyKey, AnyValue};

/// Of a record.
pub type Predicate = Box<dyn Fn(&Seen) -> bool + Send + Sync>;
/// Of a record.
pub type Mapper = Box<dyn Fn(&Seen) -> Option<String> + Send + Sync>;
/// Of a value.
pub type FlatMapper = Box<dyn Fn(Option<&str>) -> Vec<Option<String>> + Send + Sync>;
/// Of key, left and right; of aggregators, of key, value and aggregate.
pub type Joiner =
    Box<dyn Fn(Option<&str>, Option<&str>, Option<&str>) -> Option<String> + Send + Sync>;

/// What functions see of a record.
#[derive(Debug)]
pub struct Seen {
    /// The text of the key.
    pub key: Option<String>,
    /// That of the key inside a windowed one.
    pub inner_key: Option<String>,
    /// The text of the value.
    pub value: Option<String>,
    /// Whether the value is a long that is even, or text of even length.
    pub is_even: bool,
}

impl Seen {
    /// What functions see of a key and a value.
    pub fn of(key: &impl AnyKey, value: Option<&impl AnyValue>) -> Self {
        Seen {
            key: key.text(),
            inner_key: key.inner_text(),
            value: value.map(AnyValue::text),
            is_even: value.is_some_and(AnyValue::is_even),
        }
    }
}

fn split(function: &str) -> (&str, String) {
    match function.split_once(':') {
        Some((name, argument)) => (name, argument.to_owned()),
        None => (function, String::new()),
    }
}

fn unknown<T>(kind: &str, function: &str) -> Result<T, Wrong> {
    Err(Wrong::new(format!("there is no {kind} '{function}'")))
}

/// "null" for null.
pub fn shown(text: Option<&str>) -> &str {
    text.unwrap_or("null")
}

/// What the functions `fail_if` say; no other message begins so.
pub fn failure(value: Option<&str>) -> String {
    format!("fails on {}", shown(value))
}

/// As user code that panics on some values; nothing is printed about it.
fn fail_if(value: Option<&str>, part: &str) {
    if shown(value).contains(part) {
        std::panic::resume_unwind(Box::new(failure(value)));
    }
}

fn number(function: &str, argument: &str) -> Result<usize, Wrong> {
    argument
        .parse()
        .map_err(|_| Wrong::new(format!("'{function}' needs a number")))
}

/// A predicate by its name.
///
/// # Errors
/// When there is none of that name.
pub fn predicate(function: &str) -> Result<Predicate, Wrong> {
    let (name, argument) = split(function);
    Ok(match name {
        "all" => Box::new(|_| true),
        "none" => Box::new(|_| false),
        "value_null" => Box::new(|seen| seen.value.is_none()),
        "value_not_null" => Box::new(|seen| seen.value.is_some()),
        "key_null" => Box::new(|seen| seen.key.is_none()),
        "key_not_null" => Box::new(|seen| seen.key.is_some()),
        "value_contains" => Box::new(move |seen| is_in(&seen.value, &argument)),
        "value_longer" => {
            let length = number(function, &argument)?;
            Box::new(move |seen| seen.value.as_ref().is_some_and(|text| text.len() > length))
        }
        "key_is" => Box::new(move |seen| seen.key.as_deref() == Some(&argument)),
        "key_contains" => Box::new(move |seen| is_in(&seen.key, &argument)),
        "even" => Box::new(|seen| seen.is_even),
        "fail_if" => Box::new(move |seen| {
            fail_if(seen.value.as_deref(), &argument);
            true
        }),
        _ => return unknown("predicate", function),
    })
}

fn own(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn is_in(text: &Option<String>, part: &str) -> bool {
    text.as_ref().is_some_and(|text| text.contains(part))
}

fn first(text: &str) -> String {
    text.chars().take(1).collect()
}

fn last(text: &str) -> String {
    text.chars()
        .next_back()
        .map(String::from)
        .unwrap_or_default()
}

/// A mapper by its name.
///
/// # Errors
/// When there is none of that name.
pub fn mapper(function: &str) -> Result<Mapper, Wrong> {
    let (name, argument) = split(function);
    Ok(match name {
        "value" => Box::new(|seen| seen.value.clone()),
        "key" => Box::new(|seen| seen.key.clone()),
        "inner_key" => Box::new(|seen| seen.inner_key.clone()),
        "null" => Box::new(|_| None),
        "const" => Box::new(move |_| Some(argument.clone())),
        "show" => Box::new(|seen| Some(shown(seen.value.as_deref()).to_owned())),
        "upper" => Box::new(|seen| seen.value.as_ref().map(|text| text.to_uppercase())),
        "append" => Box::new(move |seen| seen.value.clone().map(|text| text + &argument)),
        "show_append" => {
            Box::new(move |seen| Some(shown(seen.value.as_deref()).to_owned() + &argument))
        }
        "key_append" => Box::new(move |seen| seen.key.clone().map(|key| key + &argument)),
        "with_key" => Box::new(|seen| {
            let (key, value) = (shown(seen.key.as_deref()), shown(seen.value.as_deref()));
            Some(format!("{key}:{value}"))
        }),
        "first" => Box::new(|seen| seen.value.as_deref().map(first)),
        "key_first" => Box::new(|seen| seen.key.as_deref().map(first)),
        "last" => Box::new(|seen| seen.value.as_deref().map(last)),
        "length" => Box::new(|seen| seen.value.as_ref().map(|text| text.len().to_string())),
        "null_if" => Box::new(move |seen| {
            let value = seen.value.clone();
            value.filter(|text| !text.contains(&argument))
        }),
        "key_null_if" => Box::new(move |seen| {
            let key = seen.key.clone();
            key.filter(|_| !is_in(&seen.value, &argument))
        }),
        "before" => Box::new(move |seen| {
            let text = seen.value.as_ref()?;
            text.find(&argument).map(|at| text[..at].to_owned())
        }),
        "fail_if" => Box::new(move |seen| {
            fail_if(seen.value.as_deref(), &argument);
            seen.value.clone()
        }),
        _ => return unknown("mapper", function),
    })
}

/// Whether a mapper of that name may make null of a value that is not.
pub fn makes_null(function: &str) -> bool {
    matches!(
        split(function).0,
        "null" | "null_if" | "key_null_if" | "before"
    )
}

/// A mapper to several values by its name.
///
/// # Errors
/// When there is none of that name.
pub fn flat_mapper(function: &str) -> Result<FlatMapper, Wrong> {
    let (name, argument) = split(function);
    Ok(match name {
        "none" => Box::new(|_| vec![]),
        "split" => Box::new(move |value| match value {
            Some(text) => text.split(&*argument).map(own).collect(),
            None => vec![],
        }),
        "twice" => Box::new(|value| vec![value.map(str::to_owned), value.map(str::to_owned)]),
        "with_null" => Box::new(|value| vec![value.map(str::to_owned), None]),
        "fail_if" => Box::new(move |value| {
            fail_if(value, &argument);
            vec![value.map(str::to_owned)]
        }),
        _ => return unknown("flat mapper", function),
    })
}

/// A joiner by its name.
///
/// # Errors
/// When there is none of that name.
pub fn joiner(function: &str) -> Result<Joiner, Wrong> {
    let (name, argument) = split(function);
    Ok(match name {
        "plus" => Box::new(|_, left, right| Some(format!("{}+{}", shown(left), shown(right)))),
        "with_key" => Box::new(|key, left, right| {
            let key = shown(key);
            Some(format!("{key}:{}+{}", shown(left), shown(right)))
        }),
        "left" => Box::new(|_, left, _| left.map(str::to_owned)),
        "right" => Box::new(|_, _, right| right.map(str::to_owned)),
        "null" => Box::new(|_, _, _| None),
        "null_if" => Box::new(move |_, left, right| {
            let left = shown(left);
            (!left.contains(&argument)).then(|| format!("{left}+{}", shown(right)))
        }),
        "fail_if" => Box::new(move |_, left, right| {
            let joined = format!("{}+{}", shown(left), shown(right));
            fail_if(Some(&joined), &argument);
            Some(joined)
        }),
        _ => return unknown("joiner", function),
    })
}

/// What an initializer makes.
///
/// # Errors
/// When there is none of that name.
pub fn initial(function: &str) -> Result<Option<String>, Wrong> {
    let (name, argument) = split(function);
    match name {
        "zero" => Ok(Some("0".to_owned())),
        "empty" => Ok(Some(String::new())),
        "null" => Ok(None),
        "const" => Ok(Some(argument)),
        _ => unknown("initializer", function),
    }
}

/// An aggregator by its name: of key, value and aggregate.
///
/// # Errors
/// When there is none of that name.
pub fn aggregator(function: &str) -> Result<Joiner, Wrong> {
    let (name, argument) = split(function);
    Ok(match name {
        "plus" => Box::new(|_, value, before| Some(format!("{}+{}", shown(before), shown(value)))),
        "minus" => Box::new(|_, value, before| Some(format!("{}-{}", shown(before), shown(value)))),
        "concat" => Box::new(|_, value, before| Some(format!("{}{}", shown(before), shown(value)))),
        "with_key" => Box::new(|key, value, before| {
            let (before, key) = (shown(before), shown(key));
            Some(format!("{before}+{key}{}", shown(value)))
        }),
        "value" => Box::new(|_, value, _| value.map(str::to_owned)),
        "aggregate" => Box::new(|_, _, before| before.map(str::to_owned)),
        "max" => Box::new(|_, value, before| {
            let value = value.map(str::to_owned);
            let Some(before) = before.map(str::to_owned) else {
                return value;
            };
            Some(value.filter(|value| *value > before).unwrap_or(before))
        }),
        "null" => Box::new(|_, _, _| None),
        "null_if" => Box::new(move |_, value, before| {
            let value = shown(value);
            (!value.contains(&argument)).then(|| format!("{}+{value}", shown(before)))
        }),
        "fail_if" => Box::new(move |_, value, before| {
            fail_if(value, &argument);
            Some(format!("{}+{}", shown(before), shown(value)))
        }),
        _ => return unknown("aggregator", function),
    })
}

/// Whether an aggregator (or joiner) of that name may answer null for values that are not: the library wants to know.
pub fn may_be_null(function: &str) -> bool {
    matches!(split(function).0, "null" | "null_if")
}

/// A merger of sessions by its name.
///
/// # Errors
/// When there is none of that name.
pub fn merger(function: &str) -> Result<Joiner, Wrong> {
    let (name, argument) = split(function);
    Ok(match name {
        "bar" => Box::new(|_, left, right| Some(format!("{}|{}", shown(left), shown(right)))),
        "left" => Box::new(|_, left, _| left.map(str::to_owned)),
        "null" => Box::new(|_, _, _| None),
        "null_if" => Box::new(move |_, left, right| {
            let right = shown(right);
            (!right.contains(&argument)).then(|| format!("{}|{right}", shown(left)))
        }),
        "fail_if" => Box::new(move |_, left, right| {
            let merged = format!("{}|{}", shown(left), shown(right));
            fail_if(Some(&merged), &argument);
            Some(merged)
        }),
        _ => return unknown("merger", function),
    })
}
