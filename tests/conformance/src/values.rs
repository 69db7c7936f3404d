//! Keys and values of the topologies: text that may be null, longs where something was counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use streams_core::serdes::{
    BoxSerde, DefaultSerde, Serde, SerdeError, SessionWindowed, TimeWindowed, Utf8,
};
use streams_core::windowed::Windowed;

/// A key that may be null: its serde says so, and the library drops or forwards it as Kafka Streams does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Option<String>);

/// A key in a window.
pub type WindowedKey = Windowed<Key>;

/// The two types of values: text, and longs where something was counted.
pub trait AnyValue: DefaultSerde + Clone + Send + Sync + fmt::Debug {
    /// The text that functions see.
    fn text(&self) -> String;

    /// Whether it is an even long, or text of even length.
    fn is_even(&self) -> bool;
}

impl AnyValue for String {
    fn text(&self) -> String {
        self.clone()
    }

    fn is_even(&self) -> bool {
        self.len().is_multiple_of(2)
    }
}

impl AnyValue for i64 {
    fn text(&self) -> String {
        self.to_string()
    }

    fn is_even(&self) -> bool {
        self % 2 == 0
    }
}

/// The serde of a [`Key`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KeySerde;

impl Serde<Key> for KeySerde {
    fn serialize(&self, key: &Key, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        match &key.0 {
            Some(key) => Utf8.serialize(key, bytes),
            None => Err(SerdeError::null()),
        }
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Key, SerdeError> {
        Utf8.deserialize(bytes).map(|key| Key(Some(key)))
    }

    fn serialize_nullable(&self, key: &Key, bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        match &key.0 {
            Some(key) => Utf8.serialize_nullable(key, bytes),
            None => Ok(false),
        }
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<Key, SerdeError> {
        match bytes {
            Some(bytes) => self.deserialize(bytes),
            None => Ok(Key(None)),
        }
    }
}

impl DefaultSerde for Key {
    type Serde = KeySerde;
}

/// How keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Plain text.
    Text,
    /// In time windows of a size in milliseconds.
    Time(i64),
    /// In sessions.
    Session,
}

/// The two types of keys.
pub trait AnyKey: Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The text that functions see.
    fn text(&self) -> Option<String>;

    /// That of the key inside a windowed one.
    fn inner_text(&self) -> Option<String>;

    /// The serde.
    fn serde(keys: Keys) -> BoxSerde<Self>;
}

impl AnyKey for Key {
    fn text(&self) -> Option<String> {
        self.0.clone()
    }

    fn inner_text(&self) -> Option<String> {
        self.0.clone()
    }

    fn serde(_: Keys) -> BoxSerde<Key> {
        Arc::new(KeySerde)
    }
}

impl AnyKey for WindowedKey {
    fn text(&self) -> Option<String> {
        let key = self.key.0.as_deref().unwrap_or("null");
        Some(format!(
            "[{key}@{}/{}]",
            self.window.start_ms, self.window.end_ms
        ))
    }

    fn inner_text(&self) -> Option<String> {
        self.key.0.clone()
    }

    fn serde(keys: Keys) -> BoxSerde<WindowedKey> {
        match keys {
            Keys::Time(size_ms) => Arc::new(TimeWindowed::new(
                KeySerde,
                Duration::from_millis(size_ms.unsigned_abs()),
            )),
            _ => Arc::new(SessionWindowed::new(KeySerde)),
        }
    }
}
