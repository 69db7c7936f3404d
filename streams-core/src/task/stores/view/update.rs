//! Changing a value in place.

use super::{Cause, Updated, View, copied};
use crate::error::Result;
use crate::serdes::Serde;
use crate::task::stores::StoreIo;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

impl<V: 'static> View<V> {
    /// Changes the value of the current key in place; its timestamp becomes the later one of both.
    ///
    /// The old value of an update without a cache is read from its bytes once more, and only when `with_old` says so.
    #[inline]
    pub(in crate::task::stores) fn update(
        &mut self,
        cause: Cause<'_>,
        with_old: bool,
        io: &mut StoreIo,
        change: impl FnOnce(&mut Option<V>),
    ) -> Result<Updated<V>> {
        if self.cache.is_some() {
            let slot = self.cached_slot(io)?;
            self.own_value(slot)?;
            let cache = self.cache.as_mut().expect("checked above");
            let entry = cache.entry_mut(slot);
            let value = Rc::get_mut(&mut entry.value).expect("made the only owner above");
            let timestamp = match value {
                Some(_) => entry.timestamp.max(cause.timestamp),
                None => cause.timestamp,
            };
            change_value(
                &*self.value,
                &mut self.value_bytes,
                value,
                io.undo_updates,
                change,
            )?;
            entry.timestamp = timestamp;
            entry.origin = cause.origin;
            entry.headers.clone_from(cause.headers);
            cache.set_source(slot, &io.source);
            cache.mark_changed(slot);
            return Ok(Updated::Cached);
        }
        let (mut value, old, timestamp) = match self.load(io)? {
            None => (None, None, cause.timestamp),
            Some((value, stored)) => {
                let old = match with_old {
                    true => self.load(io)?.map(|(value, _)| value),
                    false => None,
                };
                (Some(value), old, stored.max(cause.timestamp))
            }
        };
        change(&mut value);
        let placement = self.write(value.as_ref(), timestamp, cause.origin.timestamp, io)?;
        Ok(Updated::Written {
            new: value,
            old,
            timestamp,
            placement,
        })
    }

    /// Changes a value that the cache holds, in place.
    #[inline]
    pub(in crate::task::stores) fn change(
        &mut self,
        value: &mut Option<V>,
        undo: bool,
        change: impl FnOnce(&mut Option<V>),
    ) -> Result<()> {
        change_value(&*self.value, &mut self.value_bytes, value, undo, change)
    }

    /// Makes the cache the only owner of a value that a reader up the stack may still hold, by way of its bytes.
    #[inline]
    fn own_value(&mut self, slot: u32) -> Result<()> {
        let cache = self.cache.as_mut().expect("only called with a cache");
        let entry = cache.entry_mut(slot);
        if Rc::get_mut(&mut entry.value).is_some() {
            return Ok(());
        }
        entry.value = Rc::new(match entry.value.as_ref() {
            None => None,
            Some(value) => Some(copied(&*self.value, value, &mut self.value_bytes)?),
        });
        Ok(())
    }
}

/// Changes a value in place; with `undo`, it is as before after a panic.
#[inline]
fn change_value<V: 'static>(
    serde: &dyn Serde<V>,
    bytes: &mut Vec<u8>,
    value: &mut Option<V>,
    undo: bool,
    change: impl FnOnce(&mut Option<V>),
) -> Result<()> {
    if undo {
        return change_or_undo(serde, bytes, value, change);
    }
    change(value);
    Ok(())
}

/// Changes a value in place. If that panics, the value is made again from its bytes before the panic goes on.
fn change_or_undo<V: 'static>(
    serde: &dyn Serde<V>,
    bytes: &mut Vec<u8>,
    value: &mut Option<V>,
    change: impl FnOnce(&mut Option<V>),
) -> Result<()> {
    bytes.clear();
    if let Some(value) = value {
        serde.serialize(value, bytes)?;
    }
    let was_there = value.is_some();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| change(value))) {
        *value = match was_there {
            true => Some(serde.deserialize(bytes)?),
            false => None,
        };
        resume_unwind(panic);
    }
    Ok(())
}
