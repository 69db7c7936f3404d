//! `group_by` of a table: each change goes to the groups it leaves and enters, through a repartition topic.
//!
//! Old and new value travel in one record when they stay in one group, else the old one first (Kafka's
//! `KTableRepartitionMap`); the record's bytes are those of `ChangedSerializer`.

use super::{Change, StreamChildren, TableOperator};
use crate::error::Result;
use crate::record::Record;
use crate::serdes::{BoxSerde, Serde, SerdeError};
use crate::task::context::Context;
use std::sync::Arc;

/// What a group hears of a table's change: a value that left it, one that entered it, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupChange<V> {
    pub(crate) new: Option<V>,
    pub(crate) old: Option<V>,
}

pub(crate) struct TableRepartition<F, K2, V2> {
    pub(crate) mapper: Arc<F>,
    /// Whether the table is versioned: then its groups only hear of the latest version of each row (KIP-914).
    pub(crate) only_latest: bool,
    pub(crate) children: StreamChildren<K2, GroupChange<V2>>,
}

impl<K, V, K2: PartialEq, V2, F: Fn(&K, &V) -> (K2, V2)> TableOperator<K, V>
    for TableRepartition<F, K2, V2>
{
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        if self.only_latest && !change.is_latest {
            return Ok(());
        }
        let map = |value: &Option<V>| value.as_ref().map(|value| (self.mapper)(change.key, value));
        let (old, new) = (map(change.old), map(change.new));
        let mut forward = |key: K2, value: GroupChange<V2>| {
            let record = Record::new(&key, &value, change.timestamp, change.headers);
            self.children.forward(record, context)
        };
        match (old, new) {
            (Some((old_key, old)), Some((key, new))) if old_key == key => forward(
                key,
                GroupChange {
                    new: Some(new),
                    old: Some(old),
                },
            ),
            (old, new) => {
                if let Some((key, old)) = old {
                    forward(
                        key,
                        GroupChange {
                            new: None,
                            old: Some(old),
                        },
                    )?;
                }
                match new {
                    Some((key, new)) => forward(
                        key,
                        GroupChange {
                            new: Some(new),
                            old: None,
                        },
                    ),
                    None => Ok(()),
                }
            }
        }
    }
}

const ONLY_OLD: u8 = 0;
const ONLY_NEW: u8 = 1;
const BOTH: u8 = 2;
/// Reserved by Kafka for versioned tables: the same three with a byte that says whether the change is the latest.
const FIRST_WITH_LATEST: u8 = 3;

/// The bytes of a [`GroupChange`] in a repartition topic.
pub(crate) struct GroupChangeSerde<V>(pub(crate) BoxSerde<V>);

impl<V: 'static> Serde<GroupChange<V>> for GroupChangeSerde<V> {
    fn serialize(&self, change: &GroupChange<V>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        match (&change.new, &change.old) {
            (Some(new), Some(old)) => {
                let mut inner = Vec::new();
                self.0.serialize(new, &mut inner)?;
                write_varint(inner.len() as i32, bytes);
                bytes.extend_from_slice(&inner);
                self.0.serialize(old, bytes)?;
                bytes.push(BOTH);
            }
            (Some(new), None) => {
                self.0.serialize(new, bytes)?;
                bytes.push(ONLY_NEW);
            }
            (None, Some(old)) => {
                self.0.serialize(old, bytes)?;
                bytes.push(ONLY_OLD);
            }
            (None, None) => {
                return Err(SerdeError::new(
                    "a change of a group has an old value, a new one, or both",
                ));
            }
        }
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<GroupChange<V>, SerdeError> {
        let Some((flag, mut values)) = bytes.split_last() else {
            return Err(SerdeError::new("a change of a group has at least one byte"));
        };
        let mut flag = *flag;
        if flag >= FIRST_WITH_LATEST {
            flag -= FIRST_WITH_LATEST;
            let Some((_latest, rest)) = values.split_last() else {
                return Err(SerdeError::new("a change of a group ends early"));
            };
            values = rest;
        }
        match flag {
            ONLY_OLD => Ok(GroupChange {
                new: None,
                old: Some(self.0.deserialize(values)?),
            }),
            ONLY_NEW => Ok(GroupChange {
                new: Some(self.0.deserialize(values)?),
                old: None,
            }),
            BOTH => {
                let (new_len, rest) = read_varint(values)?;
                if new_len > rest.len() {
                    return Err(SerdeError::new("a change of a group ends early"));
                }
                let (new, old) = rest.split_at(new_len);
                Ok(GroupChange {
                    new: Some(self.0.deserialize(new)?),
                    old: Some(self.0.deserialize(old)?),
                })
            }
            _ => Err(SerdeError::new(format!(
                "a change of a group ends with a flag from 0 to 5, got {}",
                bytes[bytes.len() - 1]
            ))),
        }
    }
}

/// Kafka's `ByteUtils#writeVarint`: zigzag, seven bits a byte, the lowest first.
fn write_varint(value: i32, bytes: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 31)) as u32;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn read_varint(bytes: &[u8]) -> Result<(usize, &[u8]), SerdeError> {
    let mut value = 0u32;
    for (position, byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            let decoded = (value >> 1) as i32 ^ -((value & 1) as i32);
            let decoded =
                usize::try_from(decoded).map_err(|_| SerdeError::new("a length is negative"))?;
            return Ok((decoded, &bytes[position + 1..]));
        }
    }
    Err(SerdeError::new("a length ends early"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::Utf8;

    fn serde() -> GroupChangeSerde<String> {
        GroupChangeSerde(Arc::new(Utf8))
    }

    #[test]
    fn bytes_are_those_of_javas_changed_serializer() {
        let change = |new: Option<&str>, old: Option<&str>| GroupChange {
            new: new.map(str::to_owned),
            old: old.map(str::to_owned),
        };
        for (change, expected) in [
            (change(Some("x2"), Some("x1")), &b"\x04x2x1\x02"[..]),
            (change(Some("x2"), None), b"x2\x01"),
            (change(None, Some("x1")), b"x1\x00"),
        ] {
            let mut bytes = Vec::new();
            serde().serialize(&change, &mut bytes).unwrap();
            assert_eq!(bytes, expected);
            assert_eq!(serde().deserialize(&bytes).unwrap(), change);
        }
        assert_eq!(
            serde().deserialize(b"\x04x2x1\x01\x05").unwrap(),
            change(Some("x2"), Some("x1"))
        );
    }

    #[test]
    fn broken_bytes_are_errors() {
        for bytes in [
            &b""[..],
            b"\x02",
            b"\x7f\x02",
            b"\xff\xff\x02",
            b"x\x09",
            b"\x03",
        ] {
            assert!(serde().deserialize(bytes).is_err(), "{bytes:?}");
        }
    }
}
