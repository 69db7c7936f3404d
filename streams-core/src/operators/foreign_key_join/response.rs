//! What a left row is told of the row it refers to, and its bytes (Kafka's `SubscriptionResponseWrapper` and
//! `SubscriptionResponseWrapperSerde`).
//!
//! `[version, or'ed with 80 without hash][hash, 16 bytes][foreign value]`, without a value when there is no row, or when it
//! takes no bytes.

use super::{Front, NO_HASH, ValueHash, unknown_version};
use crate::serdes::{BoxSerde, Serde, SerdeError};

/// A response with a foreign value `V`.
pub(crate) struct Response<V> {
    /// That of the left row when it subscribed.
    pub(crate) hash: Option<ValueHash>,
    /// The bytes of the foreign value.
    pub(crate) value_bytes: Vec<u8>,
    /// The same value once it has been read from a topic.
    pub(crate) value: Option<V>,
    /// Where to send the response: not part of its bytes.
    pub(crate) partition: Option<i32>,
}

const WHAT: &str = "a response of a foreign-key join";
const VERSION: u8 = 0;

impl<V: 'static> Response<V> {
    /// One to be filled in.
    pub(crate) fn new() -> Self {
        Response {
            hash: None,
            value_bytes: Vec::new(),
            value: None,
            partition: None,
        }
    }

    /// Says what the foreign value is.
    pub(crate) fn set_value(
        &mut self,
        value: Option<&V>,
        serde: &BoxSerde<V>,
    ) -> Result<(), SerdeError> {
        self.value_bytes.clear();
        match value {
            Some(value) => serde.serialize_nullable(value, &mut self.value_bytes)?,
            None => false,
        };
        Ok(())
    }
}

/// The serde of responses, around that of the foreign values.
pub(crate) struct ResponseSerde<V>(pub(crate) BoxSerde<V>);

impl<V: 'static> Serde<Response<V>> for ResponseSerde<V> {
    fn serialize(&self, value: &Response<V>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        let no_hash = if value.hash.is_some() { 0 } else { NO_HASH };
        bytes.push(VERSION | no_hash);
        bytes.extend(value.hash.iter().flatten());
        bytes.extend_from_slice(&value.value_bytes);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Response<V>, SerdeError> {
        let mut response = Response::new();
        self.deserialize_into(bytes, &mut response)?;
        Ok(response)
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Response<V>) -> Result<(), SerdeError> {
        let front = Front::read(bytes, 0, WHAT)?;
        if front.version != VERSION {
            return Err(unknown_version(WHAT, front.version, VERSION));
        }
        let foreign = front.rest;
        match (&mut value.value, foreign) {
            (slot, []) => *slot = None,
            (Some(known), _) => self.0.deserialize_into(foreign, known)?,
            (slot, _) => *slot = Some(self.0.deserialize(foreign)?),
        }
        value.hash = front.hash;
        value.value_bytes.clear();
        value.value_bytes.extend_from_slice(foreign);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::{I32, Utf8};
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn bytes_are_javas() {
        let utf8: BoxSerde<String> = Arc::new(Utf8);
        let serde = ResponseSerde(utf8.clone());
        let mut read = serde.deserialize(b"\x80before").unwrap();
        for (hash, value, expected) in [
            (
                Some(*b"0123456789abcdef"),
                Some("R1"),
                &b"\x000123456789abcdefR1"[..],
            ),
            (Some(*b"0123456789abcdef"), None, b"\x000123456789abcdef"),
            (None, Some("R1"), b"\x80R1"),
            (None, None, b"\x80"),
        ] {
            let mut response = Response::new();
            let value = value.map(str::to_owned);
            response.hash = hash;
            response.set_value(value.as_ref(), &utf8).unwrap();
            let mut bytes = Vec::new();
            serde.serialize(&response, &mut bytes).unwrap();
            assert_eq!(bytes, expected);
            serde.deserialize_into(&bytes, &mut read).unwrap();
            assert_eq!((read.hash, &read.value), (hash, &value));
        }
    }

    #[test]
    fn what_is_no_response_is_an_error_that_says_why() {
        let serde = ResponseSerde(Arc::new(I32) as BoxSerde<i32>);
        for (bytes, why) in [
            (&b""[..], "ends early"),
            (b"\0", "ends early"),
            (b"\x00short", "ends early"),
            (b"\x81", "version 1"),
            (b"\x80abc", "got 3 bytes"),
        ] {
            let error = serde.deserialize(bytes).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(why), "{bytes:?}: {error}");
        }
        assert!(serde.deserialize_nullable(None).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_come_out_again(bytes: Vec<u8>) {
            let serde = ResponseSerde(Arc::new(I32) as BoxSerde<i32>);
            if let Ok(response) = serde.deserialize(&bytes) {
                let mut again = Vec::new();
                serde.serialize(&response, &mut again).unwrap();
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
