//! What a left row tells the partition of the row it refers to, and its bytes (Kafka's `SubscriptionWrapper` and
//! `SubscriptionWrapperSerde`).
//!
//! `[version, or'ed with 80 without hash][instruction i8][hash, 16 bytes][primary key][primary partition i32]`; version 0, of
//! Kafka Streams before 3.4, has no partition.

use super::{Front, NO_HASH, ValueHash, ends_early, unknown_version};
use crate::serdes::{BoxSerde, Serde, SerdeError};

/// What is to be done with a subscription, and who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Remove it.
    DeleteKeyNoPropagate = 0,
    /// Remove it and respond that there is no row.
    DeleteKeyAndPropagate = 1,
    /// Keep it and respond, also if there is no row.
    PropagateNullIfNoForeignValue = 2,
    /// Keep it and respond if there is a row.
    PropagateOnlyIfForeignValue = 3,
}

impl Instruction {
    fn of(byte: u8) -> Result<Self, SerdeError> {
        Ok(match byte {
            0 => Instruction::DeleteKeyNoPropagate,
            1 => Instruction::DeleteKeyAndPropagate,
            2 => Instruction::PropagateNullIfNoForeignValue,
            3 => Instruction::PropagateOnlyIfForeignValue,
            _ => {
                return Err(SerdeError::new(format!(
                    "a subscription's instruction is 0 to 3, got {byte}"
                )));
            }
        })
    }

    /// Whether the subscription is to be removed.
    pub(crate) fn deletes(self) -> bool {
        matches!(
            self,
            Instruction::DeleteKeyNoPropagate | Instruction::DeleteKeyAndPropagate
        )
    }
}

/// A subscription of a left row with key `K`.
pub(crate) struct Subscription<K> {
    pub(crate) instruction: Instruction,
    /// That of the left row; `None` when it was deleted.
    pub(crate) hash: Option<ValueHash>,
    /// The bytes of the left row's key.
    pub(crate) key_bytes: Vec<u8>,
    /// The same key once it has been read from a topic.
    pub(crate) key: Option<K>,
    /// The left row's partition, `None` in a message of version 0.
    pub(crate) partition: Option<i32>,
}

const WHAT: &str = "a subscription of a foreign-key join";
const NEWEST_VERSION: u8 = 1;

/// The fields of a subscription's bytes.
pub(crate) struct SubscriptionFields<'a> {
    pub(crate) instruction: Instruction,
    pub(crate) hash: Option<ValueHash>,
    pub(crate) key: &'a [u8],
    pub(crate) partition: Option<i32>,
}

impl<'a> SubscriptionFields<'a> {
    /// # Errors
    /// When the bytes are no subscription.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, SerdeError> {
        let front = Front::read(bytes, 1, WHAT)?;
        let (key, partition) = match front.version {
            0 => (front.rest, None),
            NEWEST_VERSION => {
                let split = front.rest.split_last_chunk();
                let (key, partition) = split.ok_or_else(|| ends_early(WHAT, bytes))?;
                (key, Some(i32::from_be_bytes(*partition)))
            }
            version => return Err(unknown_version(WHAT, version, NEWEST_VERSION)),
        };
        Ok(SubscriptionFields {
            instruction: Instruction::of(front.fields[0])?,
            hash: front.hash,
            key,
            partition,
        })
    }
}

impl<K> Subscription<K> {
    /// One to be filled in.
    pub(crate) fn new() -> Self {
        Subscription {
            instruction: Instruction::DeleteKeyNoPropagate,
            hash: None,
            key_bytes: Vec::new(),
            key: None,
            partition: None,
        }
    }

    /// Appends its bytes.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let version = u8::from(self.partition.is_some());
        let no_hash = if self.hash.is_some() { 0 } else { NO_HASH };
        bytes.extend_from_slice(&[version | no_hash, self.instruction as u8]);
        bytes.extend(self.hash.iter().flatten());
        bytes.extend_from_slice(&self.key_bytes);
        bytes.extend(
            self.partition
                .iter()
                .flat_map(|partition| partition.to_be_bytes()),
        );
    }
}

/// The serde of subscriptions, around that of the left table's keys.
pub(crate) struct SubscriptionSerde<K>(pub(crate) BoxSerde<K>);

impl<K: 'static> Serde<Subscription<K>> for SubscriptionSerde<K> {
    fn serialize(&self, value: &Subscription<K>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        value.write(bytes);
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Subscription<K>, SerdeError> {
        let mut subscription = Subscription::new();
        self.deserialize_into(bytes, &mut subscription)?;
        Ok(subscription)
    }

    fn deserialize_into(
        &self,
        bytes: &[u8],
        value: &mut Subscription<K>,
    ) -> Result<(), SerdeError> {
        let fields = SubscriptionFields::read(bytes)?;
        match &mut value.key {
            Some(key) => self.0.deserialize_into(fields.key, key)?,
            None => value.key = Some(self.0.deserialize(fields.key)?),
        }
        value.instruction = fields.instruction;
        value.hash = fields.hash;
        value.key_bytes.clear();
        value.key_bytes.extend_from_slice(fields.key);
        value.partition = fields.partition;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::{I32, Utf8};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn serde() -> SubscriptionSerde<String> {
        SubscriptionSerde(Arc::new(Utf8))
    }

    fn subscription(
        instruction: Instruction,
        hash: Option<ValueHash>,
        partition: Option<i32>,
    ) -> Subscription<String> {
        Subscription {
            instruction,
            hash,
            key_bytes: b"a".to_vec(),
            key: None,
            partition,
        }
    }

    #[test]
    fn bytes_are_javas() {
        let hash = *b"0123456789abcdef";
        for (given, expected) in [
            (
                subscription(
                    Instruction::PropagateOnlyIfForeignValue,
                    Some(hash),
                    Some(0),
                ),
                &b"\x01\x030123456789abcdefa\0\0\0\0"[..],
            ),
            (
                subscription(Instruction::DeleteKeyAndPropagate, None, Some(258)),
                b"\x81\x01a\0\0\x01\x02",
            ),
            (
                subscription(Instruction::PropagateNullIfNoForeignValue, Some(hash), None),
                b"\0\x020123456789abcdefa",
            ),
            (
                subscription(Instruction::DeleteKeyNoPropagate, None, None),
                b"\x80\0a",
            ),
        ] {
            let mut bytes = Vec::new();
            serde().serialize(&given, &mut bytes).unwrap();
            assert_eq!(bytes, expected);
            let mut read = subscription(Instruction::DeleteKeyNoPropagate, Some([7; 16]), Some(9));
            read.key = Some("before".to_owned());
            serde().deserialize_into(&bytes, &mut read).unwrap();
            assert_eq!(read.key.as_deref(), Some("a"));
            assert_eq!(read.key_bytes, given.key_bytes);
            assert_eq!(
                (read.instruction, read.hash, read.partition),
                (given.instruction, given.hash, given.partition)
            );
        }
    }

    #[test]
    fn what_is_no_subscription_is_an_error_that_says_why() {
        for (bytes, why) in [
            (&b""[..], "ends early"),
            (b"\x01", "ends early"),
            (b"\x01\x03short", "ends early"),
            (b"\x81\x01\0\0\0", "ends early"),
            (b"\x81\x04a\0\0\0\0", "instruction is 0 to 3, got 4"),
            (b"\x82\x01a\0\0\0\0", "version 2"),
            (b"\xff\x01a\0\0\0\0", "version 127"),
            (b"\x81\x01\xff\0\0\0\0", "UTF-8"),
        ] {
            let error = serde().deserialize(bytes).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(why), "{bytes:?}: {error}");
        }
        assert!(serde().deserialize_nullable(None).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_come_out_again(bytes: Vec<u8>) {
            let serde = SubscriptionSerde(Arc::new(I32) as BoxSerde<i32>);
            if let Ok(subscription) = serde.deserialize(&bytes) {
                let mut again = Vec::new();
                subscription.write(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
