//! From the bytes of a record to a reading, or to the rule it breaks.
//!
//! Senders differ, so what can be understood without guessing is accepted: numbers as text, other spellings of the names
//! ([`Attribute`]), fields in any order, `null` for a value that is missing, fields that mean nothing here. What would have
//! to be guessed is refused with a [`Reason`].

mod fields;

use crate::attribute::Attribute;
use crate::reading::Reading;
use crate::rejection::{Reason, Rejection};
use crate::rules::Rules;
use fields::Draft;
use serde::de::DeserializeSeed;

/// The most values a reading may have.
const VALUES_MAX: usize = 64;

impl Reading {
    /// Reads the JSON of the wire and checks it.
    ///
    /// # Errors
    /// The first rule it breaks, see [`Reason`].
    ///
    /// ```
    /// use weather_producer::{Attribute, Reading, Reason, Rules};
    ///
    /// let rules = Rules::default();
    /// let json = br#"{"tmpCurrent":"8.84","timeStamp":"2021-11-16T13:11:22.000+00:00","city":"Mosbach","icon":"rain"}"#;
    /// let reading = Reading::parse(json, &rules)?;
    /// assert_eq!(reading.values.get(&Attribute::TempCurrent), Some(8.84));
    /// assert_eq!(reading.time_ms, 1_637_068_282_000);
    ///
    /// let json = br#"{"tempCurrent":"n/a","timeStamp":"2021-11-16T13:11:22Z","city":"Mosbach"}"#;
    /// assert_eq!(Reading::parse(json, &rules).unwrap_err().reason, Reason::NotANumber);
    /// # Ok::<(), weather_producer::Rejection>(())
    /// ```
    pub fn parse(json: &[u8], rules: &Rules) -> Result<Reading, Rejection> {
        let mut reading = Reading::default();
        reading.parse_into(json, rules)?;
        Ok(reading)
    }

    /// [`Reading::parse`] into an existing reading, keeping its allocations. After an error its content is meaningless.
    ///
    /// # Errors
    /// The first rule it breaks, see [`Reason`].
    pub fn parse_into(&mut self, json: &[u8], rules: &Rules) -> Result<(), Rejection> {
        self.clear();
        let mut draft = Draft::new(self);
        read(json, &mut draft).map_err(|error| explain(json, error))?;
        draft.finish()?;
        self.check(rules)
    }

    /// Checks a reading that did not come from the wire, or has been read from it.
    ///
    /// # Errors
    /// The first rule it breaks, see [`Reason`].
    pub fn check(&self, rules: &Rules) -> Result<(), Rejection> {
        if self.time_ms < 0 {
            return Err(Rejection::new(
                Reason::TimeNegative,
                format!(
                    "the time is before 1970: {} ms since the Unix epoch",
                    self.time_ms
                ),
            ));
        }
        if rules.is_in_future(self.time_ms) {
            return Err(Rejection::new(
                Reason::TimeInFuture,
                format!(
                    "the time is in the future: {}",
                    crate::WireTime(self.time_ms)
                ),
            ));
        }
        for (attribute, value) in self.values.iter() {
            if !attribute.allows(value) {
                return Err(impossible(attribute, value));
            }
        }
        match self.values.len() {
            0 => Err(Rejection::new(
                Reason::NoValues,
                "there is no measured value: expected at least one, such as `tempCurrent`",
            )),
            1..=VALUES_MAX => Ok(()),
            count => Err(Rejection::new(
                Reason::TooManyValues,
                format!("there are {count} values: at most {VALUES_MAX} are read"),
            )),
        }
    }
}

fn read(json: &[u8], draft: &mut Draft<'_>) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    draft.deserialize(&mut deserializer)?;
    deserializer.end()
}

#[cold]
fn impossible(attribute: &Attribute, value: f64) -> Rejection {
    let Some((lowest, highest)) = attribute.range().filter(|_| value.is_finite()) else {
        return Rejection::new(
            Reason::NotANumber,
            format!("`{attribute}` is {value}: a finite number is expected"),
        );
    };
    let unit = attribute.unit();
    Rejection::new(
        Reason::OutOfRange,
        format!("`{attribute}` is {value} {unit}: only {lowest} to {highest} {unit} can be true"),
    )
}

/// Says what is wrong with text that is not JSON. Python and others write `NaN` and `Infinity`, which JSON does not have:
/// where they are all that is wrong, the reason is that they are no numbers.
#[cold]
fn explain(json: &[u8], error: serde_json::Error) -> Rejection {
    if let Some(quoted) = quote_non_finite(json) {
        let mut reading = Reading::default();
        let mut draft = Draft::new(&mut reading);
        if read(&quoted, &mut draft).is_ok() {
            let message = "NaN and Infinity are no JSON numbers: leave the value out instead";
            return match draft.finish() {
                Err(rejection) if rejection.reason == Reason::NotANumber => rejection,
                _ => Rejection::new(Reason::NotANumber, message),
            };
        }
    }
    let message = match json {
        [] => "the value is empty or null: a JSON object is expected".into(),
        _ => format!("the value is not a JSON object: {error}"),
    };
    Rejection::new(Reason::NotJson, message)
}

/// The text with quotes around each bare `NaN`, `Infinity` and `-Infinity`; `None` when there is none.
fn quote_non_finite(json: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = Vec::with_capacity(json.len() + 8);
    let mut found = false;
    let mut in_string = false;
    let mut rest = json;
    while let Some(&byte) = rest.first() {
        let word = ["NaN", "Infinity", "-Infinity"]
            .into_iter()
            .find(|word| !in_string && rest.starts_with(word.as_bytes()));
        let length = match word {
            Some(word) => {
                found = true;
                quoted.push(b'"');
                quoted.extend_from_slice(word.as_bytes());
                quoted.push(b'"');
                word.len()
            }
            None => {
                let length = if in_string && byte == b'\\' { 2 } else { 1 };
                let length = length.min(rest.len());
                in_string ^= byte == b'"';
                quoted.extend_from_slice(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    found.then_some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2021-11-16T14:00:00Z.
    const NOW_MS: i64 = 1_637_071_200_000;

    fn parse(json: &str) -> Result<Reading, Rejection> {
        Reading::parse(json.as_bytes(), &Rules::at(NOW_MS))
    }

    #[track_caller]
    fn refused(json: &str, reason: Reason, words: &str) {
        let rejection = parse(json).expect_err(json);
        assert_eq!(rejection.reason, reason, "{json}: {rejection}");
        assert!(rejection.message.contains(words), "{json}: {rejection}");
    }

    fn with(field: &str) -> String {
        format!(r#"{{{field},"timeStamp":"2021-11-16T13:11:22.000+00:00","city":"Mosbach"}}"#)
    }

    fn at(time: &str) -> String {
        format!(r#"{{"tempCurrent":8.84,"timeStamp":{time},"city":"Mosbach"}}"#)
    }

    #[test]
    fn the_wire_format_is_read() {
        let json = r#"{"tempCurrent":8.84,"tempMax":10.1,"tempMin":7.2,"comment":"..","timeStamp":"2021-11-16T13:11:22.000+00:00","city":"Bad Mergentheim","cityId":2953402}"#;
        let expected = Reading::new("Bad Mergentheim", 1_637_068_282_000)
            .with(Attribute::TempCurrent, 8.84)
            .with(Attribute::TempMax, 10.1)
            .with(Attribute::TempMin, 7.2)
            .with_comment("..")
            .with_city_id(2_953_402);
        let reading = parse(json).unwrap();
        assert_eq!(reading, expected);
        assert_eq!(serde_json::to_string(&reading).unwrap(), json);
    }

    #[test]
    fn other_spellings_are_understood() {
        let json = r#"{"city":" bad \u004dergentheim ","timestamp":"2021-11-16T14:11:22+01:00","temperature":"8.84",
            "relativeHumidity":" 93 ","wind":4,"tmpMin":null,"cityId":"2953402","co2":412,"stationId":7,"icon":"rain","tags":[1,{"a":2}],"ok":true}"#;
        let expected = Reading::new("bad Mergentheim", 1_637_068_282_000)
            .with(Attribute::TempCurrent, 8.84)
            .with(Attribute::Humidity, 93.0)
            .with(Attribute::WindSpeed, 4.0)
            .with(Attribute::named("co2"), 412.0)
            .with_city_id(2_953_402);
        assert_eq!(parse(json).unwrap(), expected);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        refused("", Reason::NotJson, "empty or null");
        refused("hello", Reason::NotJson, "line 1 column 1");
        refused("[]", Reason::NotJson, "JSON object");
        refused("null", Reason::NotJson, "JSON object");
        refused(r#"{"city":"Mosbach""#, Reason::NotJson, "EOF");
        refused(
            &(with(r#""tempCurrent":1"#) + "x"),
            Reason::NotJson,
            "trailing",
        );
        let rejection = Reading::parse(b"{\"city\":\"\xff\"}", &Rules::at(NOW_MS)).unwrap_err();
        assert_eq!(rejection.reason, Reason::NotJson);
    }

    #[test]
    fn a_reading_without_city_or_time_is_refused() {
        let time = r#""timeStamp":"2021-11-16T13:11:22.000+00:00""#;
        refused(
            &format!(r#"{{"tempCurrent":1,{time}}}"#),
            Reason::NoCity,
            "`city`",
        );
        for city in [r#"null"#, r#"" ""#, "7", r#"{"name":"x"}"#] {
            let json = format!(r#"{{"tempCurrent":1,{time},"city":{city}}}"#);
            refused(&json, Reason::NoCity, "`city`");
        }
        let long = "x".repeat(201);
        let json = format!(r#"{{"tempCurrent":1,{time},"city":"{long}"}}"#);
        refused(&json, Reason::NoCity, "201 bytes");
        refused(
            r#"{"tempCurrent":1,"city":"Mosbach"}"#,
            Reason::NoTime,
            "`timeStamp`",
        );
        refused(&at("null"), Reason::NoTime, "`timeStamp`");
    }

    #[test]
    fn times_must_be_text_with_an_offset() {
        refused(&at("1637068282000"), Reason::TimeFormat, "1637068282000");
        refused(&at("\"1637068282000\""), Reason::TimeFormat, "RFC 3339");
        refused(&at("1637068282.5"), Reason::TimeFormat, "RFC 3339");
        refused(&at("\"2021-11-16T13:11:22\""), Reason::TimeFormat, "offset");
        refused(&at("\"yesterday\""), Reason::TimeFormat, "yesterday");
        refused(&at("[]"), Reason::TimeFormat, "RFC 3339");
        refused(&at("-1"), Reason::TimeNegative, "1970");
        refused(&at("\"-1\""), Reason::TimeNegative, "1970");
        refused(
            &at("\"1969-12-31T23:59:59.999Z\""),
            Reason::TimeNegative,
            "1970",
        );
        refused(
            &at("\"2021-11-16T15:00:00.001Z\""),
            Reason::TimeInFuture,
            "2021-11-16T15:00:00.001",
        );
        refused(
            &at("\"9999-01-01T00:00:00Z\""),
            Reason::TimeInFuture,
            "9999",
        );
        refused(
            &at("\"9999-12-31T23:59:59Z\""),
            Reason::TimeInFuture,
            "9999-12-31",
        );
        refused(&at("\"9999-12-3x\""), Reason::TimeFormat, "RFC 3339");
        assert!(parse(&at("\"2021-11-16T15:00:00.000Z\"")).is_ok());
        assert!(parse(&at("\"1970-01-01T00:00:00Z\"")).is_ok());
    }

    #[test]
    fn values_must_be_finite_numbers() {
        for value in [
            r#""n/a""#,
            r#""NaN""#,
            r#""inf""#,
            r#""-Infinity""#,
            r#""""#,
            "true",
            "[1]",
            "{}",
        ] {
            refused(
                &with(&format!(r#""tempCurrent":{value}"#)),
                Reason::NotANumber,
                "`tempCurrent`",
            );
        }
        for value in ["NaN", "Infinity", "-Infinity"] {
            refused(
                &with(&format!(r#""tempCurrent":{value}"#)),
                Reason::NotANumber,
                "`tempCurrent`",
            );
            refused(
                &with(&format!(r#""co2":{value}"#)),
                Reason::NotANumber,
                "JSON numbers",
            );
        }
        refused(
            &with(r#""tempCurrent":1e999"#),
            Reason::NotJson,
            "out of range",
        );
        refused(&with(r#""tempCurrent":NaN,,"#), Reason::NotJson, "line 1");
        assert!(parse(&with(r#""tempCurrent":1,"comment":"NaN \" Infinity""#)).is_ok());
    }

    #[test]
    fn values_that_cannot_be_true_are_refused() {
        refused(
            &with(r#""windSpeed":468.66"#),
            Reason::OutOfRange,
            "0 to 120 m/s",
        );
        refused(&with(r#""tempCurrent":-273.15"#), Reason::OutOfRange, "°C");
        refused(
            &with(r#""humidity":100.1"#),
            Reason::OutOfRange,
            "`humidity`",
        );
        refused(
            &with(r#""tempCurrent":null"#),
            Reason::NoValues,
            "`tempCurrent`",
        );
        let many: Vec<_> = (0..65).map(|n| format!(r#""v{n}":{n}"#)).collect();
        refused(&with(&many.join(",")), Reason::TooManyValues, "65");
    }

    #[test]
    fn allocations_are_used_again_without_leaking_values() {
        let rules = Rules::at(NOW_MS);
        let mut reading = parse(&with(r#""co2":1,"comment":"a","cityId":3"#)).unwrap();
        reading
            .parse_into(with(r#""tempCurrent":2"#).as_bytes(), &rules)
            .unwrap();
        let expected = Reading::new("Mosbach", 1_637_068_282_000).with(Attribute::TempCurrent, 2.0);
        assert_eq!(reading, expected);
    }
}
