//! JSON through serde.

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;

use super::{Serde, SerdeError};

/// Any type that implements serde's `Serialize` and `Deserialize`, as compact JSON.
///
/// `None` is the text `null`, not a null record value; for tombstones wrap it: `Nullable(Json)`.
///
/// ```
/// use streams_core::serdes::{Json, Serde};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Reading {
///     city: String,
///     temperature: f64,
/// }
///
/// let reading: Reading = Json.deserialize(br#"{"city":"Mosbach","temperature":21.5}"#)?;
/// assert_eq!(reading.temperature, 21.5);
///
/// let error = Serde::<Reading>::deserialize(&Json, br#"{"city":"Mosbach","temperature":"warm"}"#);
/// assert_eq!(
///     error.err().unwrap().to_string(),
///     "field `temperature`: invalid type: string \"warm\", expected f64 at line 1 column 38"
/// );
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Serde<T> for Json {
    fn serialize(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        let before = bytes.len();
        serde_json::to_writer(&mut *bytes, value).map_err(|error| {
            bytes.truncate(before);
            SerdeError::new("the value cannot be written as JSON").with_source(error)
        })
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes, &error))
    }
}

/// Looks a second time, now keeping track of where in the value it is: too slow for every record, right for a bad one.
#[cold]
#[inline(never)]
fn explain<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> SerdeError {
    let error_text = if bytes.is_empty() {
        "no JSON: there are no bytes".to_owned()
    } else {
        error.to_string()
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(traced) if traced.path().iter().len() > 0 => {
            SerdeError::new(error_text).context(format_args!("field `{}`", traced.path()))
        }
        _ => SerdeError::new(error_text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ::serde::Deserialize;
    use proptest::prelude::*;

    use super::super::Nullable;
    use super::super::tests::check;
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Reading {
        city: String,
        values: Vec<i32>,
        note: Option<String>,
    }

    #[track_caller]
    fn check_error(json: &str, expected: &str) {
        let error = Serde::<Reading>::deserialize(&Json, json.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn numbers_are_read_to_the_last_bit() {
        for text in ["2.0999999999999998e+46", "19.999999999999996", "5e-324"] {
            let value: f64 = Json.deserialize(text.as_bytes()).unwrap();
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }

    #[test]
    fn json_is_compact() {
        check(
            &Json,
            Reading {
                city: "Mosbach".to_owned(),
                values: vec![1, 2],
                note: None,
            },
            br#"{"city":"Mosbach","values":[1,2],"note":null}"#,
            Reading::default(),
        );
    }

    #[test]
    fn errors_name_the_field_and_the_place() {
        check_error(
            r#"{"city":"x"}"#,
            "missing field `values` at line 1 column 12",
        );
        check_error(
            "{\"city\":\"x\",\n\"values\":[1,\"two\"]}",
            "field `values[1]`: invalid type: string \"two\", expected i32 at line 2 column 17",
        );
        check_error("", "no JSON: there are no bytes");
        check_error(
            r#"{"city":"x","values":[]} rest"#,
            "trailing characters at line 1 column 26",
        );
        check_error("weather", "expected value at line 1 column 1");
    }

    #[test]
    fn a_value_without_json_leaves_no_bytes() {
        let keys_are_no_text = BTreeMap::from([((1, 2), 3)]);
        let mut bytes = b"before".to_vec();
        let error = Json.serialize(&keys_are_no_text, &mut bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value cannot be written as JSON: key must be a string"
        );
        assert_eq!(bytes, b"before");
    }

    #[test]
    fn null_is_text_and_a_tombstone_is_not() {
        check(&Json, None::<i32>, b"null", Some(1));
        let tombstone = Nullable(Json).deserialize_nullable(None).expect("null");
        assert_eq!(tombstone, None::<Reading>);
    }

    proptest! {
        #[test]
        fn every_value_comes_back(city: String, values: Vec<i32>, note: Option<String>) {
            let reading = Reading { city, values, note };
            let expected = serde_json::to_vec(&reading).expect("JSON");
            check(&Json, reading, &expected, Reading::default());
        }
    }
}
