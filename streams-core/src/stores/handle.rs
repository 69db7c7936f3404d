//! `StoreHandle`: how code names a store, and what it gets when it opens one.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{
    KeyValueAccess, SessionAccess, TimestampedKeyValueAccess, VersionedKeyValueAccess, WindowAccess,
};
use crate::error::{Error, Result};
use crate::task::context::Context;
use crate::task::stores::{AnyState, Cause, KeyValueState, SessionState, WindowState};

/// Names a store of a topology with its type, for [`ProcessorContext::store`](crate::processor::ProcessorContext::store).
pub struct StoreHandle<S> {
    name: Arc<str>,
    kind: PhantomData<fn() -> S>,
}

impl<S> StoreHandle<S> {
    /// A handle for the store of that name and type, for instance of a table named with `Materialized`.
    pub fn named(name: &str) -> Self {
        StoreHandle {
            name: name.into(),
            kind: PhantomData,
        }
    }

    /// The store's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<S> Clone for StoreHandle<S> {
    fn clone(&self) -> Self {
        StoreHandle {
            name: self.name.clone(),
            kind: PhantomData,
        }
    }
}

impl<S> std::fmt::Debug for StoreHandle<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreHandle({})", self.name)
    }
}

/// A kind of store, and what a processor gets when it opens one.
pub trait StoreType: sealed::Sealed + 'static {
    /// The opened store.
    type Access<'a>;

    /// How a task keeps it.
    #[doc(hidden)]
    type State: AnyState;

    /// Whether a task's store is one of these.
    #[doc(hidden)]
    fn fits(state: &mut dyn Any) -> bool {
        state.is::<Self::State>()
    }

    #[doc(hidden)]
    fn access<'a>(context: &'a mut Context, index: usize, cause: Cause<'a>) -> Self::Access<'a>;
}

/// Opens a store for code that knows it by a handle.
///
/// # Errors
/// When the store is of another type than the handle, which a handle by name alone can be.
pub(crate) fn open<'a, S: StoreType>(
    context: &'a mut Context,
    index: usize,
    store: &StoreHandle<S>,
    cause: Cause<'a>,
) -> Result<S::Access<'a>> {
    if !S::fits(context.states[index].as_any_mut()) {
        return Err(wrong_type(store));
    }
    Ok(S::access(context, index, cause))
}

#[cold]
pub(crate) fn wrong_type<S>(store: &StoreHandle<S>) -> Error {
    Error::topology(format!(
        "store '{}' is no `{}`: a handle made by name must have the types of the store's keys and values",
        store.name(),
        std::any::type_name::<S>()
    ))
}

/// Whether a store is a key-value store of these types, with or without versions.
fn is_key_value<K: 'static, V: 'static>(state: &mut dyn Any, versioned: bool) -> bool {
    let state = state.downcast_ref::<KeyValueState<K, V>>();
    state.is_some_and(|state| state.is_versioned() == versioned)
}

pub(super) mod sealed {
    pub trait Sealed {}
}

/// The type of a store with a value for each key.
pub struct KeyValueStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value and a timestamp for each key.
pub struct TimestampedKeyValueStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value for each key and window start.
pub struct WindowStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value for each key and time.
pub struct VersionedKeyValueStore<K, V>(PhantomData<fn(K) -> V>);

/// The type of a store with a value for each key and session.
pub struct SessionStore<K, V>(PhantomData<fn(K) -> V>);

impl<K, V> sealed::Sealed for SessionStore<K, V> {}

impl<K: 'static, V: 'static> StoreType for SessionStore<K, V> {
    type Access<'a> = SessionAccess<'a, K, V>;
    type State = SessionState<K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> SessionAccess<'a, K, V> {
        SessionAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

impl<K, V> sealed::Sealed for VersionedKeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for KeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for TimestampedKeyValueStore<K, V> {}
impl<K, V> sealed::Sealed for WindowStore<K, V> {}

impl<K: 'static, V: 'static> StoreType for KeyValueStore<K, V> {
    type Access<'a> = KeyValueAccess<'a, K, V>;
    type State = KeyValueState<K, V>;

    fn fits(state: &mut dyn Any) -> bool {
        is_key_value::<K, V>(state, false)
    }

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> KeyValueAccess<'a, K, V> {
        KeyValueAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

impl<K: 'static, V: 'static> StoreType for TimestampedKeyValueStore<K, V> {
    type Access<'a> = TimestampedKeyValueAccess<'a, K, V>;
    type State = KeyValueState<K, V>;

    fn fits(state: &mut dyn Any) -> bool {
        is_key_value::<K, V>(state, false)
    }

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> TimestampedKeyValueAccess<'a, K, V> {
        TimestampedKeyValueAccess(KeyValueStore::access(context, index, cause))
    }
}

impl<K: 'static, V: 'static> StoreType for WindowStore<K, V> {
    type Access<'a> = WindowAccess<'a, K, V>;
    type State = WindowState<K, V>;

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> WindowAccess<'a, K, V> {
        WindowAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}

impl<K: 'static, V: 'static> StoreType for VersionedKeyValueStore<K, V> {
    type Access<'a> = VersionedKeyValueAccess<'a, K, V>;
    type State = KeyValueState<K, V>;

    fn fits(state: &mut dyn Any) -> bool {
        is_key_value::<K, V>(state, true)
    }

    fn access<'a>(
        context: &'a mut Context,
        index: usize,
        cause: Cause<'a>,
    ) -> VersionedKeyValueAccess<'a, K, V> {
        VersionedKeyValueAccess {
            context,
            index,
            cause,
            types: PhantomData,
        }
    }
}
