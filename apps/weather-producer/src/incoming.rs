//! What the topic `weather` delivers: readings, and records that are none. Nothing in it stops a program that reads it.

use crate::reading::Reading;
use crate::rejection::{Reason, Rejection};
use crate::rules::Rules;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use streams_core::serdes::{Serde, SerdeError};
use streams_core::{ExtractorRecord, Result, TimestampExtractor};

/// The value of a record of the topic: a reading, or what it is instead.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A reading that keeps all rules.
    Reading(Reading),
    /// Anything else: the rule it breaks and its bytes, `None` for null.
    Refused(Rejection, Option<Vec<u8>>),
}

impl Incoming {
    /// The reading, if it is one.
    pub fn reading(&self) -> Option<&Reading> {
        match self {
            Incoming::Reading(reading) => Some(reading),
            Incoming::Refused(..) => None,
        }
    }

    /// The event time in milliseconds since the Unix epoch, for readings.
    pub fn time_ms(&self) -> Option<i64> {
        self.reading().map(|reading| reading.time_ms)
    }
}

/// The serde of [`Incoming`]: reading never fails, since what is wrong is part of the value.
///
/// ```
/// use streams_core::serdes::Serde;
/// use weather_producer::{Incoming, IncomingSerde, Reason};
///
/// let serde = IncomingSerde::default();
/// let Incoming::Refused(rejection, bytes) = serde.deserialize(b"hello")? else { unreachable!() };
/// assert_eq!(rejection.reason, Reason::NotJson);
/// assert_eq!(bytes.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct IncomingSerde {
    rules: Arc<Rules>,
}

impl IncomingSerde {
    /// A serde that checks by these rules.
    pub fn new(rules: Rules) -> Self {
        IncomingSerde {
            rules: Arc::new(rules),
        }
    }
}

impl Serde<Incoming> for IncomingSerde {
    fn serialize(&self, value: &Incoming, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        match value {
            Incoming::Reading(reading) => serde_json::to_writer(bytes, reading)
                .map_err(|error| SerdeError::new(error.to_string())),
            Incoming::Refused(_, original) => {
                bytes.extend_from_slice(original.as_deref().unwrap_or_default());
                Ok(())
            }
        }
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Incoming, SerdeError> {
        let mut value = Incoming::Reading(Reading::default());
        self.deserialize_into(bytes, &mut value)?;
        Ok(value)
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Incoming) -> Result<(), SerdeError> {
        if let Incoming::Refused(..) = value {
            *value = Incoming::Reading(Reading::default());
        }
        if let Incoming::Reading(reading) = value
            && let Err(rejection) = reading.parse_into(bytes, &self.rules)
        {
            *value = Incoming::Refused(rejection, Some(bytes.to_vec()));
        }
        Ok(())
    }

    fn serialize_nullable(
        &self,
        value: &Incoming,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, SerdeError> {
        if let Incoming::Refused(_, None) = value {
            return Ok(false);
        }
        self.serialize(value, bytes)?;
        Ok(true)
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<Incoming, SerdeError> {
        match bytes {
            Some(bytes) => self.deserialize(bytes),
            None => {
                let message = "the value is null: a JSON object is expected";
                let rejection = Rejection::new(Reason::NotJson, message);
                Ok(Incoming::Refused(rejection, None))
            }
        }
    }
}

/// The serde of the topic's keys: a city's name, and the empty text for a key that is null.
///
/// A key that is not UTF-8 is read with replacement characters. It is no city then, and its reading is set aside for that.
#[derive(Clone, Copy, Debug, Default)]
pub struct CityKey;

impl Serde<String> for CityKey {
    fn serialize(&self, key: &String, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.extend_from_slice(key.as_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<String, SerdeError> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn deserialize_into(&self, bytes: &[u8], key: &mut String) -> Result<(), SerdeError> {
        key.clear();
        key.push_str(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    fn serialize_nullable(&self, key: &String, bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        self.serialize(key, bytes)?;
        Ok(!key.is_empty())
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<String, SerdeError> {
        self.deserialize(bytes.unwrap_or_default())
    }
}

/// Event time is when a reading was measured. What is no reading has the time its partition has reached, so that it closes
/// no window.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventTime;

impl TimestampExtractor<String, Incoming> for EventTime {
    fn extract(
        &self,
        record: &ExtractorRecord<'_, String, Incoming>,
        partition_time_ms: i64,
    ) -> Result<i64> {
        Ok(match record.value {
            Incoming::Reading(reading) => reading.time_ms,
            Incoming::Refused(..) => partition_time_ms.max(0),
        })
    }
}

/// How many records were refused, by reason; all clones count together.
///
/// ```
/// use weather_producer::{Reason, Rejections};
///
/// let rejections = Rejections::default();
/// rejections.clone().count(Reason::NoCity);
/// assert_eq!(rejections.of(Reason::NoCity), 1);
/// assert_eq!(rejections.total(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rejections(Arc<[AtomicU64; Reason::ALL.len()]>);

impl Rejections {
    /// Counts one record, and returns how many there were of that reason before.
    pub fn count(&self, reason: Reason) -> u64 {
        self.0[reason.index()].fetch_add(1, Ordering::Relaxed)
    }

    /// How many were refused for that reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason.index()].load(Ordering::Relaxed)
    }

    /// How many were refused.
    pub fn total(&self) -> u64 {
        Reason::ALL.into_iter().map(|reason| self.of(reason)).sum()
    }

    /// The reasons that occurred and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.of(reason)))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Attribute;

    const GOOD: &[u8] =
        br#"{"tempCurrent":8.84,"timeStamp":"2021-11-16T13:11:22.000+00:00","city":"Mosbach"}"#;

    #[test]
    fn good_and_bad_records_take_turns_in_one_place() {
        let serde = IncomingSerde::default();
        let mut value = serde.deserialize(b"hello").unwrap();
        assert_eq!(value.time_ms(), None);
        serde
            .deserialize_nullable_into(Some(GOOD), &mut value)
            .unwrap();
        let expected =
            Reading::new("Mosbach", 1_637_068_282_000).with(Attribute::TempCurrent, 8.84);
        assert_eq!(value, Incoming::Reading(expected));
        serde.deserialize_nullable_into(None, &mut value).unwrap();
        assert!(matches!(&value, Incoming::Refused(why, None) if why.reason == Reason::NotJson));
        let mut bytes = Vec::new();
        assert!(!serde.serialize_nullable(&value, &mut bytes).unwrap());
    }

    #[test]
    fn what_was_refused_is_written_as_it_came() {
        let serde = IncomingSerde::default();
        for original in [&b"\xff\x00"[..], b"", GOOD] {
            let value = serde.deserialize(original).unwrap();
            let mut bytes = Vec::new();
            assert!(serde.serialize_nullable(&value, &mut bytes).unwrap());
            assert_eq!(bytes, original);
        }
    }

    #[test]
    fn keys_that_are_no_text_do_not_fail() {
        assert_eq!(CityKey.deserialize_nullable(None).unwrap(), "");
        assert_eq!(
            CityKey.deserialize(b"W\xfcrzburg").unwrap(),
            "W\u{fffd}rzburg"
        );
    }
}
