//! Nothing at all.

use super::error::excerpt;
use super::{DefaultSerde, Serde, SerdeError};

/// `()` as null, as Kafka's `VoidSerializer` writes it.
///
/// ```
/// use streams_core::serdes::{Serde, Void};
///
/// let mut bytes = Vec::new();
/// assert!(!Void.serialize_nullable(&(), &mut bytes)?);
/// Void.deserialize_nullable(None)?;
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Void;

impl Serde<()> for Void {
    fn serialize(&self, (): &(), _bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        Err(SerdeError::new(
            "`()` is null and has no bytes; use another type here",
        ))
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<(), SerdeError> {
        Err(SerdeError::new(format!(
            "`()` is null, got {} bytes: {}",
            bytes.len(),
            excerpt(bytes)
        )))
    }

    fn serialize_nullable(&self, (): &(), _bytes: &mut Vec<u8>) -> Result<bool, SerdeError> {
        Ok(false)
    }

    fn deserialize_nullable(&self, bytes: Option<&[u8]>) -> Result<(), SerdeError> {
        bytes.map_or(Ok(()), |bytes| self.deserialize(bytes))
    }
}

impl DefaultSerde for () {
    type Serde = Void;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_is_null_and_nothing_else() {
        let mut bytes = Vec::new();
        assert!(!Void.serialize_nullable(&(), &mut bytes).expect("null"));
        assert!(bytes.is_empty());
        Void.deserialize_nullable(None).expect("null");
        Void.deserialize_nullable_into(None, &mut ()).expect("null");
        assert_eq!(
            Void.deserialize_nullable(Some(b"x"))
                .unwrap_err()
                .to_string(),
            "`()` is null, got 1 bytes: 78"
        );
        assert!(Void.serialize(&(), &mut bytes).is_err());
    }
}
