//! The subscriptions of a foreign-key join: who refers to which row.
//!
//! A row's key is `[length i32][foreign key][primary key]`, so that those of one foreign key lie together; its value is
//! `[timestamp i64][subscription]` (Kafka's `CombinedKeySchema` and `SubscriptionStoreFactory`). Never cached.

use super::{AnyState, Changelog, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::topology::store::StateArguments;
use std::any::Any;
use streams_state::{Order, timestamped};

/// The key of a row and what it holds.
pub(crate) type SubscriptionRow = (Vec<u8>, Vec<u8>);

pub(crate) struct SubscriptionState {
    index: usize,
    changelog: Option<Changelog>,
    stored: Vec<u8>,
}

impl SubscriptionState {
    pub(crate) fn new(arguments: &StateArguments) -> Self {
        SubscriptionState {
            index: arguments.index,
            changelog: arguments.changelog.clone().map(Changelog::new),
            stored: Vec::new(),
        }
    }

    /// Keeps a subscription, and logs it with time and headers of the record that brought it.
    pub(crate) fn put(
        &mut self,
        row: &[u8],
        subscription: &[u8],
        (timestamp, headers): (i64, &Headers),
        io: &mut StoreIo,
    ) -> Result<()> {
        self.stored.clear();
        self.stored.extend_from_slice(&timestamp.to_be_bytes());
        self.stored.extend_from_slice(subscription);
        io.stores
            .key_value_mut(self.index)
            .put(row, Some(&self.stored))?;
        if let Some(changelog) = &self.changelog {
            changelog.log_with_headers(io, row, Some(subscription), timestamp, headers);
        }
        Ok(())
    }

    /// Removes a subscription, which is logged even if there was none.
    pub(crate) fn delete(
        &mut self,
        row: &[u8],
        timestamp: i64,
        headers: &Headers,
        io: &mut StoreIo,
    ) -> Result<()> {
        io.stores.key_value_mut(self.index).put(row, None)?;
        if let Some(changelog) = &self.changelog {
            changelog.log_with_headers(io, row, None, timestamp, headers);
        }
        Ok(())
    }

    /// The first rows whose keys begin with the prefix, from a key on, in the order of their bytes.
    pub(crate) fn rows(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
        io: &StoreIo,
    ) -> Result<Vec<SubscriptionRow>> {
        let mut rows = Vec::new();
        let store = io.stores.key_value(self.index);
        let behind = behind(prefix);
        for entry in store.range(Some(from), behind.as_deref(), Order::Forward)? {
            let (row, stored) = entry?;
            if !row.starts_with(prefix) || rows.len() == limit {
                break;
            }
            let (_, subscription) = timestamped::decode(&stored)?;
            rows.push((row, subscription.to_vec()));
        }
        Ok(rows)
    }
}

/// The first key behind all that begin with the prefix.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

impl AnyState for SubscriptionState {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn forget_clean(&mut self) {}

    fn write_changed(&mut self, _io: &mut StoreIo) -> Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_prefix_begins_with_none_of_its_keys() {
        assert_eq!(behind(b"\0\x01a"), Some(b"\0\x01b".to_vec()));
        assert_eq!(behind(b"\0\x01\xff\xff"), Some(b"\0\x02".to_vec()));
        assert_eq!(behind(b"\xff"), None);
    }
}
