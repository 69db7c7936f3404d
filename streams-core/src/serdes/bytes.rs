//! Bytes as they are.

use super::{DefaultSerde, Serde, SerdeError};

/// Bytes as they are, as Kafka's `ByteArraySerializer`, `BytesSerializer` and `ByteBufferSerializer` write them.
///
/// ```
/// use streams_core::serdes::{RawBytes, Serde};
///
/// assert_eq!(RawBytes.deserialize(&[1, 2, 3])?, [1, 2, 3]);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RawBytes;

impl Serde<Vec<u8>> for RawBytes {
    fn serialize(&self, value: &Vec<u8>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.extend_from_slice(value);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Vec<u8>, SerdeError> {
        Ok(bytes.to_vec())
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Vec<u8>) -> Result<(), SerdeError> {
        value.clear();
        value.extend_from_slice(bytes);
        Ok(())
    }
}

impl DefaultSerde for Vec<u8> {
    type Serde = RawBytes;
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn bytes_are_themselves() {
        check(&RawBytes, vec![], &[], vec![9]);
        check(&RawBytes, vec![0, 255, 7], &[0, 255, 7], vec![9; 9]);
    }
}
