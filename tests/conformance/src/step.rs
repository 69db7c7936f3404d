//! A step of a topology, and access to its fields.

use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What is wrong with a scenario, as opposed to what the library says about its topology.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    message: String,
    is_not_interpreted: bool,
    is_refused: bool,
}

impl Wrong {
    /// A mistake.
    pub fn new(message: impl Into<String>) -> Self {
        Wrong {
            message: message.into(),
            is_not_interpreted: false,
            is_refused: false,
        }
    }

    /// Something the grammar has and this library's interpreter has not.
    pub fn not_interpreted(message: impl Into<String>) -> Self {
        Wrong {
            message: format!("not interpreted: {}", message.into()),
            is_not_interpreted: true,
            is_refused: false,
        }
    }

    /// Something that does not compile with this library, so that there is nothing to call.
    pub fn refused(message: impl Into<String>) -> Self {
        Wrong {
            message: format!("does not compile: {}", message.into()),
            is_not_interpreted: false,
            is_refused: true,
        }
    }

    /// Whether it is something that does not compile.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether it is something the interpreter does not have.
    pub fn is_not_interpreted(&self) -> bool {
        self.is_not_interpreted
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

/// An object of options, or a whole step.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a>(pub &'a Json);

impl<'a> Step<'a> {
    /// Whether the field is there and not null.
    pub fn has(self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }

    /// A text, if it is there.
    pub fn text(self, field: &str) -> Option<&'a str> {
        self.0.get(field).and_then(Json::as_str)
    }

    /// A text.
    ///
    /// # Errors
    /// When it is missing.
    pub fn required(self, field: &str) -> Result<&'a str, Wrong> {
        self.text(field)
            .ok_or_else(|| Wrong::new(format!("'{field}' is missing in {}", self.0)))
    }

    /// The texts of a list; none if it is missing.
    pub fn texts(self, field: &str) -> Vec<&'a str> {
        let list = self.0.get(field).and_then(Json::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect()
    }

    /// A number, if it is there.
    pub fn number(self, field: &str) -> Option<i64> {
        self.0.get(field).and_then(Json::as_i64)
    }

    /// A span of milliseconds, if it is there.
    pub fn ms(self, field: &str) -> Option<Duration> {
        self.number(field)
            .map(|ms| Duration::from_millis(ms.max(0).unsigned_abs()))
    }

    /// A truth value, if it is there.
    pub fn flag(self, field: &str) -> Option<bool> {
        self.0.get(field).and_then(Json::as_bool)
    }

    /// Options inside these; empty ones if they are missing.
    pub fn options(self, field: &str) -> Step<'a> {
        Step(self.0.get(field).unwrap_or(&Json::Null))
    }

    /// The objects of a list.
    pub fn list(self, field: &str) -> Vec<Step<'a>> {
        let list = self.0.get(field).and_then(Json::as_array);
        list.into_iter().flatten().map(Step).collect()
    }

    /// An object of texts, such as the settings of a topic.
    pub fn map(self, field: &str) -> BTreeMap<String, String> {
        let object = self.0.get(field).and_then(Json::as_object);
        object
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect()
    }
}

/// A text, number or truth value as text.
pub fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
