//! Joins of two tables by a key taken from the left one's values (KIP-213).
//!
//! The two rows of a result lie in different partitions, so they are brought together by two topics. A row of the left table
//! registers with the row it refers to ([`SubscriptionSend`], [`SubscriptionReceive`]); what that row is, now
//! ([`SubscriptionJoin`]) and whenever it changes ([`ForeignTableJoin`]), is sent back; there it is joined with the left row, if
//! that is still the one which asked ([`ResponseJoin`]). The rules are those of Kafka's `kstream.internals.foreignkeyjoin`.

mod foreign_table_join;
mod murmur3;
mod response;
mod response_join;
mod subscription;
mod subscription_join;
mod subscription_receive;
mod subscription_send;
#[cfg(all(test, feature = "test-driver"))]
mod tests;

pub(crate) use foreign_table_join::ForeignTableJoin;
pub(crate) use response::{Response, ResponseSerde};
pub(crate) use response_join::{ResponseJoin, RowJoiner};
pub(crate) use subscription::{Subscription, SubscriptionSerde};
pub(crate) use subscription_join::SubscriptionJoin;
pub(crate) use subscription_receive::SubscriptionReceive;
pub(crate) use subscription_send::SubscriptionSend;

use crate::error::{Error, Result};
use crate::serdes::{BoxSerde, SerdeError};

/// Tells apart what a left row was when it registered: a response to an earlier one is stale.
pub(crate) type ValueHash = [u8; 16];

/// Which rows of the left table have a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    /// Those that refer to a row.
    Inner,
    /// All of them.
    Left,
}

/// Set in the first byte of both wire forms where there is no hash: the other bits are the version.
const NO_HASH: u8 = 0x80;

/// The front of a message.
struct Front<'a> {
    version: u8,
    /// What is between the version and the hash.
    fields: &'a [u8],
    hash: Option<ValueHash>,
    rest: &'a [u8],
}

impl<'a> Front<'a> {
    fn read(bytes: &'a [u8], fields_len: usize, what: &str) -> Result<Self, SerdeError> {
        let early = || ends_early(what, bytes);
        let (first, rest) = bytes.split_first().ok_or_else(early)?;
        let (fields, rest) = rest.split_at_checked(fields_len).ok_or_else(early)?;
        let (hash, rest) = match first & NO_HASH {
            0 => {
                let (hash, rest) = rest.split_first_chunk().ok_or_else(early)?;
                (Some(*hash), rest)
            }
            _ => (None, rest),
        };
        Ok(Front {
            version: first & !NO_HASH,
            fields,
            hash,
            rest,
        })
    }
}

#[cold]
fn ends_early(what: &str, bytes: &[u8]) -> SerdeError {
    SerdeError::new(format!("{what} ends early, after {} bytes", bytes.len()))
}

#[cold]
fn unknown_version(what: &str, version: u8, newest: u8) -> SerdeError {
    SerdeError::new(format!(
        "{what} has version {version}, and {newest} is the newest known here: an instance with a newer library wrote it"
    ))
}

/// Begins the key of a subscription in its store, `[length i32][foreign key][primary key]`, which is also what all
/// subscriptions to that foreign key begin with; false if the key is null.
fn write_prefix<KO: 'static>(
    foreign_key: &KO,
    serde: &BoxSerde<KO>,
    bytes: &mut Vec<u8>,
) -> Result<bool> {
    bytes.clear();
    bytes.extend_from_slice(&[0; 4]);
    if !serde.serialize_nullable(foreign_key, bytes)? {
        return Ok(false);
    }
    let length = i32::try_from(bytes.len() - 4)
        .map_err(|_| Error::data("a foreign key has more than 2 GiB"))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(true)
}
