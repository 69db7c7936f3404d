//! Values that may be null.

use super::{DefaultSerde, Serde, SerdeError};
use std::any::Any;

/// `Option<T>`: null for `None`, the bytes of the inner serde for `Some`.
///
/// This is how a stream says that its keys or values may be null, tombstones for instance.
///
/// ```
/// use streams_core::serdes::{Nullable, Serde, Utf8};
///
/// let serde = Nullable(Utf8);
/// let mut bytes = Vec::new();
/// assert!(!serde.serialize_nullable(&None, &mut bytes)?);
/// assert!(serde.serialize_nullable(&Some("Mosbach".to_owned()), &mut bytes)?);
/// assert_eq!(serde.deserialize_nullable(None)?, None);
/// assert_eq!(serde.deserialize_nullable(Some(&bytes))?.as_deref(), Some("Mosbach"));
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Nullable<S>(
    /// The serde of the values that are not null.
    pub S,
);

impl<T: 'static, S: Serde<T>> Serde<Option<T>> for Nullable<S> {
    fn serialize(&self, value: &Option<T>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        match value {
            Some(value) => self.0.serialize(value, bytes),
            None => Err(SerdeError::null()),
        }
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Option<T>, SerdeError> {
        self.0.deserialize(bytes).map(Some)
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Option<T>) -> Result<(), SerdeError> {
        match value {
            Some(value) => self.0.deserialize_into(bytes, value)?,
            None => *value = Some(self.0.deserialize(bytes)?),
        }
        Ok(())
    }

    fn serialize_nullable(
        &self,
        value: &Option<T>,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, SerdeError> {
        match value {
            Some(value) => self.0.serialize_nullable(value, bytes),
            None => Ok(false),
        }
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<Option<T>, SerdeError> {
        bytes.map(|bytes| self.0.deserialize(bytes)).transpose()
    }

    fn partition_bytes<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        self.0.partition_bytes(key)
    }

    fn list_element_size_bytes(&self) -> Option<usize> {
        self.0.list_element_size_bytes()
    }

    fn serialize_content(
        &self,
        content: &dyn Any,
        bytes: &mut Vec<u8>,
    ) -> Option<Result<bool, SerdeError>> {
        Some(match content.downcast_ref::<T>() {
            Some(content) => self.0.serialize_nullable(content, bytes),
            None => Err(SerdeError::new(
                "the content of an option is of another type",
            )),
        })
    }
}

impl<T: DefaultSerde> DefaultSerde for Option<T> {
    type Serde = Nullable<T::Serde>;
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::super::{I32, Utf8};
    use super::*;

    #[test]
    fn none_is_null_and_some_is_the_inner_bytes() {
        check(&Nullable(I32), Some(7), &[0, 0, 0, 7], None);
        check(&Nullable(I32), Some(7), &[0, 0, 0, 7], Some(8));
        let mut bytes = Vec::new();
        let serde = Nullable(I32);
        assert!(!serde.serialize_nullable(&None, &mut bytes).expect("null"));
        assert!(bytes.is_empty());
        assert!(serde.serialize(&None, &mut bytes).unwrap_err().is_null());
        let mut value = Some(3);
        serde
            .deserialize_nullable_into(None, &mut value)
            .expect("null");
        assert_eq!(value, None);
    }

    #[test]
    fn some_keeps_its_allocation() {
        let serde = Nullable(Utf8);
        let mut value = Some(String::with_capacity(100));
        serde
            .deserialize_nullable_into(Some(b"abc"), &mut value)
            .expect("text");
        let text = value.expect("some");
        assert_eq!(text, "abc");
        assert!(text.capacity() >= 100);
    }
}
