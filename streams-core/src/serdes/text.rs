//! Text: strings and UUIDs.

use uuid::Uuid;

use super::error::excerpt;
use super::{DefaultSerde, Serde, SerdeError};

/// `String` as UTF-8 without a length, as Kafka's `StringSerializer` writes it.
///
/// Bytes that are no UTF-8 are an error; Kafka's `StringDeserializer` puts U+FFFD in their place.
///
/// ```
/// use streams_core::serdes::{Serde, Utf8};
///
/// let mut city = String::new();
/// Utf8.deserialize_into("Lüneburg".as_bytes(), &mut city)?;
/// assert_eq!(city, "Lüneburg");
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

fn utf8(bytes: &[u8]) -> Result<&str, SerdeError> {
    std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error))
}

#[cold]
#[inline(never)]
fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> SerdeError {
    let at = error.valid_up_to();
    SerdeError::new(format!(
        "text must be UTF-8, byte {at} of {} is not: {}",
        bytes.len(),
        excerpt(&bytes[at..])
    ))
}

impl Serde<String> for Utf8 {
    fn serialize(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<String, SerdeError> {
        utf8(bytes).map(str::to_owned)
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut String) -> Result<(), SerdeError> {
        let text = utf8(bytes)?;
        value.clear();
        value.push_str(text);
        Ok(())
    }
}

impl DefaultSerde for String {
    type Serde = Utf8;
}

/// [`Uuid`] as 36 lower-case characters, as Kafka's `UUIDSerializer` writes it.
///
/// ```
/// use streams_core::serdes::{Serde, UuidText};
/// use uuid::Uuid;
///
/// let mut bytes = Vec::new();
/// UuidText.serialize(&Uuid::from_u128(0xabc), &mut bytes)?;
/// assert_eq!(bytes, b"00000000-0000-0000-0000-000000000abc");
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidText;

/// The length of `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
const UUID_TEXT_SIZE_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;

impl Serde<Uuid> for UuidText {
    fn serialize(&self, value: &Uuid, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        let mut text = [0; UUID_TEXT_SIZE_BYTES];
        bytes.extend_from_slice(value.hyphenated().encode_lower(&mut text).as_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Uuid, SerdeError> {
        // The crate takes other forms too (braces, no hyphens, `urn:`), which Kafka's deserializer does not.
        if bytes.len() == UUID_TEXT_SIZE_BYTES
            && let Ok(uuid) = Uuid::try_parse_ascii(bytes)
        {
            return Ok(uuid);
        }
        Err(SerdeError::new(format!(
            "a UUID is text of {UUID_TEXT_SIZE_BYTES} characters with hyphens; got {} bytes: {}",
            bytes.len(),
            excerpt(bytes)
        )))
    }

    fn list_element_size_bytes(&self) -> Option<usize> {
        Some(UUID_TEXT_SIZE_BYTES)
    }
}

impl DefaultSerde for Uuid {
    type Serde = UuidText;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::check;
    use super::*;

    #[test]
    fn a_string_is_its_utf8() {
        check(&Utf8, "ä".to_owned(), &[0xc3, 0xa4], "longer".to_owned());
        check(&Utf8, String::new(), &[], "before".to_owned());
    }

    #[test]
    fn bytes_that_are_no_utf8_leave_the_value_alone() {
        let mut value = "before".to_owned();
        let error = Utf8.deserialize_into(b"a\xff", &mut value).unwrap_err();
        assert_eq!(
            error.to_string(),
            "text must be UTF-8, byte 1 of 2 is not: ff"
        );
        assert_eq!(value, "before");
    }

    #[test]
    fn a_string_keeps_its_allocation() {
        let mut value = String::with_capacity(64);
        let place = value.as_ptr();
        Utf8.deserialize_into(b"abc", &mut value).expect("text");
        assert_eq!(value, "abc");
        assert_eq!(value.as_ptr(), place);
    }

    #[test]
    fn a_uuid_is_36_characters() {
        let uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        check(
            &UuidText,
            uuid,
            b"01234567-89ab-cdef-0123-456789abcdef",
            Uuid::nil(),
        );
        // Java reads upper case too.
        let upper = b"01234567-89AB-CDEF-0123-456789ABCDEF";
        assert_eq!(UuidText.deserialize(upper).expect("upper case"), uuid);
        assert!(UuidText.deserialize(uuid.as_bytes()).is_err());
        assert!(
            UuidText
                .deserialize(b"0123456789abcdef0123456789abcdef")
                .is_err()
        );
        assert!(UuidText.deserialize(&[b'z'; 36]).is_err());
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text: String, other: String) {
            check(&Utf8, text.clone(), text.as_bytes(), other);
        }

        #[test]
        fn every_uuid_comes_back(number: u128) {
            let uuid = Uuid::from_u128(number);
            check(&UuidText, uuid, uuid.to_string().as_bytes(), Uuid::nil());
        }

        #[test]
        fn any_bytes_are_a_text_or_an_error(bytes: Vec<u8>) {
            prop_assert_eq!(Utf8.deserialize(&bytes).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
