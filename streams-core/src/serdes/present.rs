//! What is inside an option, by the serde of the option.

use super::{BoxSerde, Serde, SerdeError};

/// The serde of `T` that a serde of `Option<T>` contains.
pub(crate) struct Present<T>(BoxSerde<Option<T>>);

impl<T: 'static> Present<T> {
    /// `None` when that serde cannot take the content of an option alone.
    pub(crate) fn of(nullable: BoxSerde<Option<T>>) -> Option<Self> {
        // Whatever is inside: a serde that takes contents at all answers, be it that this is none.
        nullable
            .serialize_content(&Probe, &mut Vec::new())
            .is_some()
            .then_some(Present(nullable))
    }
}

/// A type that is inside no user's option.
struct Probe;

impl<T: 'static> Serde<T> for Present<T> {
    fn serialize(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        match self.serialize_nullable(value, bytes)? {
            true => Ok(()),
            false => Err(SerdeError::null()),
        }
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.deserialize_nullable(Some(bytes))
    }

    fn serialize_nullable(&self, value: &T, bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        self.0
            .serialize_content(value, bytes)
            .expect("checked when it was made")
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<T, SerdeError> {
        self.0
            .deserialize_nullable(bytes)?
            .ok_or_else(SerdeError::null)
    }

    fn partition_bytes<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        self.0.partition_bytes(key)
    }

    fn list_element_size_bytes(&self) -> Option<usize> {
        self.0.list_element_size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::super::{Nullable, Utf8};
    use super::*;
    use std::sync::Arc;

    /// A user's own serde of options.
    struct Own;

    impl Serde<Option<u8>> for Own {
        fn serialize(&self, value: &Option<u8>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
            bytes.extend(value);
            Ok(())
        }

        fn deserialize(&self, bytes: &[u8]) -> Result<Option<u8>, SerdeError> {
            Ok(bytes.first().copied())
        }
    }

    #[test]
    fn it_is_the_serde_inside() {
        let nullable: BoxSerde<Option<String>> = Arc::new(Nullable(Utf8));
        let serde = Present::of(nullable).expect("a serde inside");
        check(&serde, "abc".to_owned(), b"abc", String::new());
        assert!(serde.deserialize_nullable(None).unwrap_err().is_null());
    }

    #[test]
    fn a_serde_without_one_says_so() {
        let own: BoxSerde<Option<u8>> = Arc::new(Own);
        assert!(Present::of(own).is_none());
    }
}
