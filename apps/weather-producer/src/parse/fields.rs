//! The fields of a reading's JSON, one after the other, straight into the reading.

use super::VALUES_MAX;
use crate::attribute::Attribute;
use crate::city::city_name;
use crate::reading::Reading;
use crate::rejection::{Reason, Rejection};
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The longest city name, in bytes.
const CITY_LENGTH_MAX: usize = 200;
/// The longest name of a value that is not in the table; longer ones are ignored.
const NAME_LENGTH_MAX: usize = 100;

/// A reading being read. The first broken rule is remembered and reading goes on, so that text that is not JSON at all is
/// reported as that.
pub(super) struct Draft<'r> {
    reading: &'r mut Reading,
    has_city: bool,
    has_time: bool,
    values_ignored: usize,
    rejection: Option<Rejection>,
}

impl<'r> Draft<'r> {
    pub(super) fn new(reading: &'r mut Reading) -> Self {
        Draft {
            reading,
            has_city: false,
            has_time: false,
            values_ignored: 0,
            rejection: None,
        }
    }

    /// What is known once the text has been read to its end.
    pub(super) fn finish(self) -> Result<(), Rejection> {
        if let Some(rejection) = self.rejection {
            return Err(rejection);
        }
        if !self.has_city {
            return Err(Rejection::new(
                Reason::NoCity,
                "`city` is missing: the city's name is expected",
            ));
        }
        if !self.has_time {
            return Err(Rejection::new(
                Reason::NoTime,
                "`timeStamp` is missing: RFC 3339 is expected",
            ));
        }
        if self.values_ignored > 0 {
            let count = VALUES_MAX + self.values_ignored;
            return Err(Rejection::new(
                Reason::TooManyValues,
                format!("there are {count} values: at most {VALUES_MAX} are read"),
            ));
        }
        Ok(())
    }

    fn refuse(&mut self, reason: Reason, message: String) {
        self.rejection
            .get_or_insert_with(|| Rejection::new(reason, message));
    }

    fn set(&mut self, field: Field, scalar: Scalar<'_>) {
        match field {
            Field::City => self.set_city(scalar),
            Field::Time => self.set_time(scalar),
            Field::CityId => self.reading.city_id = scalar.integer(),
            Field::Comment => {
                if let Scalar::Text(text) = scalar {
                    self.reading.comment = Some(text.to_owned());
                }
            }
            Field::Value(attribute) => self.set_value(attribute, scalar),
            Field::Ignored => {}
        }
    }

    fn set_city(&mut self, scalar: Scalar<'_>) {
        let name = match scalar {
            Scalar::Text(text) => city_name(text),
            Scalar::Null => return,
            _ => {
                let message = "`city` is not text: the city's name is expected";
                return self.refuse(Reason::NoCity, message.into());
            }
        };
        match name.len() {
            0 => self.refuse(
                Reason::NoCity,
                "`city` is empty: the city's name is expected".into(),
            ),
            1..=CITY_LENGTH_MAX => {
                self.has_city = true;
                self.reading.city.clear();
                self.reading.city.push_str(&name);
            }
            length => self.refuse(
                Reason::NoCity,
                format!("`city` has {length} bytes: at most {CITY_LENGTH_MAX} are accepted"),
            ),
        }
    }

    fn set_time(&mut self, scalar: Scalar<'_>) {
        if matches!(scalar, Scalar::Null) {
            return;
        }
        self.has_time = true;
        if let Scalar::Text(text) = scalar
            && let Ok(time) = text.trim().parse::<jiff::Timestamp>()
        {
            self.reading.time_ms = time.as_millisecond();
            return;
        }
        if let Scalar::Text(text) = scalar
            && is_at_the_end_of_time(text.trim())
        {
            self.refuse(
                Reason::TimeInFuture,
                format!("the time is in the future: {scalar}"),
            );
            return;
        }
        match scalar.number() {
            Some(number) if number < 0.0 => self.refuse(
                Reason::TimeNegative,
                format!("`timeStamp` is before 1970: {number}"),
            ),
            _ => self.refuse(
                Reason::TimeFormat,
                format!(
                    "`timeStamp` is {scalar}: RFC 3339 text with an offset is expected, such as \
                     \"2021-11-16T13:11:22.000+00:00\""
                ),
            ),
        }
    }

    fn set_value(&mut self, attribute: Attribute, scalar: Scalar<'_>) {
        let is_known = !matches!(attribute, Attribute::Other(_));
        let value = match scalar {
            Scalar::Number(value) => value,
            Scalar::Null => return,
            // Of a field that is not known nobody can say whether its text means a number.
            _ if !is_known => return,
            scalar => match scalar.number().filter(|value| value.is_finite()) {
                Some(value) => value,
                None => {
                    return self.refuse(
                        Reason::NotANumber,
                        format!("`{attribute}` is {scalar}: a finite number is expected"),
                    );
                }
            },
        };
        if self.reading.values.len() < VALUES_MAX {
            self.reading.values.set(attribute, value);
        } else {
            self.values_ignored += 1;
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Draft<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Draft<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(FieldName)? {
            if matches!(field, Field::Ignored) {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(FieldValue { draft: self, field })?;
            }
        }
        Ok(())
    }
}

/// What a field is for.
enum Field {
    City,
    CityId,
    Time,
    Comment,
    Value(Attribute),
    Ignored,
}

struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Field;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        if let Some(attribute) = Attribute::known(name) {
            return Ok(Field::Value(attribute));
        }
        Ok(match name {
            "city" | "cityName" => Field::City,
            "cityId" | "city_id" => Field::CityId,
            "timeStamp" | "timestamp" | "time" => Field::Time,
            "comment" => Field::Comment,
            // A number that names something is not a measurement: its mean means nothing.
            "" | "id" => Field::Ignored,
            _ if name.ends_with("Id") || name.ends_with("_id") => Field::Ignored,
            _ if name.len() > NAME_LENGTH_MAX => Field::Ignored,
            _ => Field::Value(Attribute::Other(name.into())),
        })
    }
}

/// A JSON value as far as readings have use for it.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    Null,
    Number(f64),
    Integer(i64),
    Text(&'a str),
    Bool(bool),
    /// A list or an object, skipped.
    Nested,
}

impl Scalar<'_> {
    fn number(&self) -> Option<f64> {
        match self {
            Scalar::Number(value) => Some(*value),
            Scalar::Integer(value) => Some(*value as f64),
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Scalar::Integer(value) => Some(*value),
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Null => f.write_str("null"),
            Scalar::Number(value) => write!(f, "the number {value}"),
            Scalar::Integer(value) => write!(f, "the number {value}"),
            Scalar::Text(text) => write!(f, "\"{}\"", text.chars().take(80).collect::<String>()),
            Scalar::Bool(value) => write!(f, "{value}"),
            Scalar::Nested => f.write_str("a list or an object"),
        }
    }
}

/// The value of a field on its way into the draft.
struct FieldValue<'d, 'r> {
    draft: &'d mut Draft<'r>,
    field: Field,
}

impl FieldValue<'_, '_> {
    fn take<E>(self, scalar: Scalar<'_>) -> Result<(), E> {
        // A measured value is a number, whether or not it has a fraction.
        let scalar = match (&self.field, scalar) {
            (Field::Value(_), Scalar::Integer(value)) => Scalar::Number(value as f64),
            _ => scalar,
        };
        self.draft.set(self.field, scalar);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.take(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.take(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.take(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.take(Scalar::Integer(value)),
            Err(_) => self.take(Scalar::Number(value as f64)),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.take(Scalar::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.take(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.take(Scalar::Nested)
    }
}

/// Whether it is one of the last hours of the year 9999, with which senders say "never". They are valid RFC 3339, and beyond
/// the last time that can be read.
fn is_at_the_end_of_time(text: &str) -> bool {
    text.strip_prefix("9999-12-3").is_some_and(|rest| {
        format!("2000-12-3{rest}")
            .parse::<jiff::Timestamp>()
            .is_ok()
    })
}
